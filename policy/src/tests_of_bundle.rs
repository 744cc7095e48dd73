//! Runs the tests that a bundle brings along (`*_test.rego`, rules `test_…`), as `opa test` would.
//!
//! Tests replace the input (`with input as …`), which the virtual machine cannot; they run in the
//! interpreter. The machine and the interpreter so check each other. A test names what it tests by
//! its full path (`data.dispatch.deny`): through an imported package alias, regorus 0.14 evaluates
//! rules under `with` in the wrong order.

use crate::{error::BundleError, evaluator::rego, files::BundleFiles};

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// Full name, for example `data.dispatch.roles_test.test_default_deny`.
    pub name: String,
    /// Whether it held; otherwise what it gave instead.
    pub failure: Option<String>,
}

/// All tests of a bundle, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestReport {
    /// One entry per test.
    pub outcomes: Vec<TestOutcome>,
}

impl TestReport {
    /// The tests that did not hold.
    pub fn failures(&self) -> impl Iterator<Item = &TestOutcome> {
        self.outcomes.iter().filter(|test| test.failure.is_some())
    }
}

pub(crate) fn run(
    files: &BundleFiles,
    data: &serde_json::Value,
) -> Result<TestReport, BundleError> {
    let mut engine = regorus::Engine::new();
    for (path, text) in files.modules().chain(files.test_modules()) {
        engine
            .add_policy(path.to_owned(), text.to_owned())
            .map_err(|e| rego(&e))?;
    }
    engine
        .add_data(regorus::Value::from(data.clone()))
        .map_err(|e| rego(&e))?;
    let compiled = engine
        .compile_with_entrypoint(&"data.dispatch.decision".into())
        .map_err(|e| rego(&e))?;
    let mut names: Vec<&String> = compiled
        .get_rules()
        .keys()
        .filter(|name| {
            name.rsplit('.')
                .next()
                .is_some_and(|rule| rule.starts_with("test_"))
        })
        .collect();
    names.sort();
    let outcomes = names
        .into_iter()
        .map(|name| {
            let failure = match engine.eval_rule(name.clone()) {
                Ok(regorus::Value::Bool(true)) => None,
                Ok(other) => Some(format!("gave {other}")),
                Err(error) => Some(error.to_string()),
            };
            TestOutcome {
                name: name.clone(),
                failure,
            }
        })
        .collect();
    Ok(TestReport { outcomes })
}
