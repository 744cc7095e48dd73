//! Runs the tests that a bundle brings along (`*_test.rego`, rules `test_…`), as `opa test` would.
//!
//! Tests replace the input (`with input as …`), which the virtual machine cannot; they run in the
//! interpreter. The machine and the interpreter so check each other. A test names what it tests by
//! its full path (`data.dispatch.deny`): through an imported package alias, regorus 0.14 evaluates
//! rules under `with` in the wrong order.
//!
//! The interpreter counts no instructions, so a time limit ends a test that would not; it is far
//! beyond what any needs, and the first test that reaches it is the last one that runs. Tests may
//! call what rules may call and nothing else: they are run by whoever is asked to admit the bundle.

use std::{num::NonZeroU32, time::Duration};

use regorus::{
    LimitError, Source,
    unstable::{BUILTINS, TokenKind},
    utils::limits::ExecutionTimerConfig,
};

use crate::{builtins, error::BundleError, evaluator::rego, files::BundleFiles, schemas::tokens};

/// The rule that decides; the modules compile only with it.
const ENTRY_POINT: &str = "data.dispatch.decision";
const TIME_LIMIT: ExecutionTimerConfig = ExecutionTimerConfig {
    limit: Duration::from_secs(5),
    check_interval: NonZeroU32::new(16).expect("16 is not 0"),
};

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
    check_builtins(files)?;
    check_formats(files)?;
    let mut engine = regorus::Engine::new();
    engine.set_execution_timer_config(TIME_LIMIT);
    for (path, text) in files.modules().chain(files.test_modules()) {
        engine
            .add_policy(path.to_owned(), text.to_owned())
            .map_err(|e| rego(&e))?;
    }
    engine
        .add_data(regorus::Value::from(data.clone()))
        .map_err(|e| rego(&e))?;
    let compiled = engine
        .compile_with_entrypoint(&ENTRY_POINT.into())
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
    let mut outcomes = Vec::new();
    for name in names {
        let answer = engine.eval_rule(name.clone());
        let endless = matches!(&answer, Err(error) if error.is::<LimitError>());
        outcomes.push(TestOutcome {
            name: name.clone(),
            failure: match answer {
                Ok(regorus::Value::Bool(true)) => None,
                Ok(other) => Some(format!("gave {other}")),
                Err(error) => Some(error.to_string()),
            },
        });
        if endless {
            break;
        }
    }
    Ok(TestReport { outcomes })
}

/// Refuses a test that calls what no rule may call. What rules call was checked when they compiled.
fn check_builtins(files: &BundleFiles) -> Result<(), BundleError> {
    for (path, text) in files.test_modules() {
        let source = Source::from_contents(path.to_owned(), text.to_owned())
            .map_err(|error| rego(&error))?;
        let mut name = String::new();
        for token in tokens(&source)? {
            match (&token.0, token.1.text()) {
                (TokenKind::Ident, word) if name.ends_with('.') => name.push_str(word),
                (TokenKind::Ident, word) => name = word.to_owned(),
                (TokenKind::Symbol, ".") if !name.is_empty() => name.push('.'),
                (TokenKind::Symbol, "(") if is_foreign(&name) => {
                    return Err(BundleError::ForbiddenBuiltin { name });
                }
                _ => name.clear(),
            }
        }
    }
    Ok(())
}

/// Refuses a format that makes much out of little: the interpreter would make it, whatever its size.
fn check_formats(files: &BundleFiles) -> Result<(), BundleError> {
    for (path, text) in files.modules().chain(files.test_modules()) {
        let source = Source::from_contents(path.to_owned(), text.to_owned())
            .map_err(|error| rego(&error))?;
        let tokens = tokens(&source)?;
        let wide = tokens.iter().find(|token| {
            matches!(token.0, TokenKind::String | TokenKind::RawString)
                && builtins::is_wide(token.1.text())
        });
        if let Some(token) = wide {
            let (line, text) = (token.1.line, token.1.text());
            return Err(BundleError::Rego {
                message: format!(
                    "{path}:{line}: {text} has a width or precision of more than three digits"
                ),
            });
        }
    }
    Ok(())
}

fn is_foreign(name: &str) -> bool {
    (BUILTINS.contains_key(name) || name.starts_with("__builtin")) && !builtins::is_allowed(name)
}
