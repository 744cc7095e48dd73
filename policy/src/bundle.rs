//! A bundle: loaded once, checked as a whole, immutable.
//!
//! There are two ways to one. [`Bundle::admit`] is the whole check, before a bundle is let decide:
//! trust, manifest, data, rules, facts, the bundle's own tests, and a trial evaluation of every
//! operation by every kind of actor. [`Bundle::load`] is for a bundle that was admitted before: a
//! process that starts needs no second opinion on it, only the certainty that it can answer.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use contracts::{
    ActorKind, ApiPermission, Operation, TemplateId,
    approval::ApprovalNeed,
    autonomy::AutonomyRules,
    comms::CommsRules,
    policy::{BundleRef, PolicyDecision, PolicyInput},
    template::IncidentTemplate,
};
use serde_json::{Map, Value};
use strum::VariantArray;

use crate::{
    approvals::{self, Approvals},
    autonomy, bounds, comms, decision,
    error::{BundleError, EvaluationError},
    evaluator::Evaluator,
    files::BundleFiles,
    holders::{Holders, NOBODY},
    limits::{self, Peace},
    manifest::Manifest,
    reads::{self, Reads},
    roles,
    schemas::Schemas,
    signature::{AcceptedFiles, Trust},
    starter, structured,
    templates::{self, Templates},
    tests_of_bundle::{self, TestReport},
    trial::{self, Trial},
    values,
};

/// How often a trial evaluation may be slow.
const TRIES: usize = 3;

/// A policy bundle that passed all checks.
pub struct Bundle {
    reference: BundleRef,
    roots: Vec<String>,
    signer: Option<String>,
    templates: Templates,
    comms: CommsRules,
    peace: Option<Peace>,
    autonomy: AutonomyRules,
    approvals: Approvals,
    change_order: ApprovalNeed,
    roles: BTreeMap<Operation, Holders>,
    reads: Arc<Reads>,
    evaluator: Evaluator,
    files: BundleFiles,
    data: Value,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let BundleRef { version, sha256 } = &self.reference;
        write!(f, "Bundle({version} {sha256})")
    }
}

impl Bundle {
    /// The bundle that comes with the program.
    pub fn starter() -> Result<Self, BundleError> {
        Self::load(AcceptedFiles::built_in(starter::files()?))
    }

    /// Loads the bundle that stands at a path, a directory or an archive.
    pub fn open(path: &Path, trust: &Trust) -> Result<Self, BundleError> {
        Self::load(trust.accept(BundleFiles::open(path)?)?)
    }

    /// Makes a bundle of files that were admitted before.
    pub fn load(files: AcceptedFiles) -> Result<Self, BundleError> {
        let bundle = Self::compile(files)?;
        let bare = |operation: &Operation| trial::bare(*operation, ActorKind::Person);
        bundle.try_out(Operation::VARIANTS.iter().map(bare))?;
        Ok(bundle)
    }

    /// The full check of a bundle that is to decide from now on.
    pub fn admit(files: BundleFiles, trust: &Trust) -> Result<Self, BundleError> {
        let bundle = Self::compile(trust.accept(files)?)?;
        Schemas::get().check(&bundle.files)?;
        let tests = bundle.run_tests()?;
        if tests.outcomes.is_empty() {
            return Err(BundleError::NoTests);
        }
        let failed: Vec<_> = tests
            .failures()
            .map(|test| match &test.failure {
                Some(failure) => format!("{} ({failure})", test.name),
                None => test.name.clone(),
            })
            .collect();
        if !failed.is_empty() {
            return Err(BundleError::TestsFailed { failed });
        }
        for template in bundle.templates.keys() {
            bundle.try_out(trial::all(template))?;
        }
        Ok(bundle)
    }

    /// Everything but evaluating.
    fn compile(files: AcceptedFiles) -> Result<Self, BundleError> {
        let (files, signer) = files.into_parts();
        let manifest = Manifest::parse(files.manifest())?;
        let data = documents(&files, &manifest)?;
        let templates = templates::parse(&data)?;
        let comms = comms::parse(&data, &templates)?;
        let autonomy = autonomy::parse(&data, &templates)?;
        let approvals = approvals::parse(&data, &files)?;
        let change_order = approvals.change_order()?;
        let peace = limits::parse(&data, &templates)?;
        let roles = roles::parse(&data)?;
        let reads = reads::parse(&data)?;
        Ok(Self {
            evaluator: Evaluator::compile(&files, &manifest, &data)?,
            reference: BundleRef {
                version: manifest.revision,
                sha256: files.sha256(),
            },
            roots: manifest.roots,
            signer,
            templates,
            comms,
            peace,
            autonomy,
            approvals,
            change_order,
            roles,
            reads,
            files,
            data,
        })
    }

    /// Version and hash, as they are recorded with each decision.
    pub fn reference(&self) -> &BundleRef {
        &self.reference
    }

    /// Its files.
    pub fn files(&self) -> &BundleFiles {
        &self.files
    }

    /// The parts of `data` that it owns.
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// The key whose signature over it was verified; none where no key is asked for.
    pub fn signer(&self) -> Option<&str> {
        self.signer.as_deref()
    }

    /// Full names of the rules that decide, sorted: `data.dispatch.deny` and what it is made of.
    pub fn rules(&self) -> &[String] {
        self.evaluator.rules()
    }

    /// The template of that name.
    pub fn template(&self, id: &TemplateId) -> Option<&IncidentTemplate> {
        self.templates.get(id)
    }

    /// All templates, by name.
    pub fn templates(&self) -> impl Iterator<Item = &IncidentTemplate> {
        self.templates.values()
    }

    /// The rules for messages.
    pub fn comms(&self) -> &CommsRules {
        &self.comms
    }

    /// When customers are left in peace; none where its data do not say.
    pub fn peace(&self) -> Option<&Peace> {
        self.peace.as_ref()
    }

    /// How far software may go by itself.
    pub fn autonomy(&self) -> &AutonomyRules {
        &self.autonomy
    }

    /// Who releases what a condition holds; `None`: the bundle does not say.
    pub fn approval_need(&self, code: &str, operation: Operation) -> Option<ApprovalNeed> {
        self.approvals.need(code, operation)
    }

    /// Who decides a change order.
    pub fn change_order_need(&self) -> ApprovalNeed {
        self.change_order.clone()
    }

    /// Who may read what.
    pub fn reads(&self) -> &Arc<Reads> {
        &self.reads
    }

    /// Who has a permission, as its tables say. The rules may ask for more; of commands they alone
    /// decide.
    pub fn holders(&self, permission: ApiPermission) -> &Holders {
        match permission {
            ApiPermission::Command(operation) => self.roles.get(&operation).unwrap_or(&NOBODY),
            ApiPermission::Read(read) => self.reads.holders(read),
        }
    }

    /// What is no mistake, and what its author should know before it decides.
    pub fn notes(&self) -> Vec<String> {
        self.reads.notes()
    }

    /// Decides. The same input gives the same decision, always.
    pub fn evaluate(&self, input: &PolicyInput) -> Result<PolicyDecision, EvaluationError> {
        let input = values::of(input).map_err(|error| EvaluationError::Input {
            reason: error.to_string(),
        })?;
        self.decide(input)
    }

    /// Decides on an input as it was recorded, whatever version's shape it has: fields that came
    /// later are missing, and a rule finds them undefined.
    pub fn evaluate_recorded(&self, input: &str) -> Result<PolicyDecision, EvaluationError> {
        let input = regorus::Value::from_json_str(input).map_err(|error| {
            let reason = error.to_string();
            EvaluationError::Input { reason }
        })?;
        self.decide(input)
    }

    /// Runs the bundle's own tests.
    pub fn run_tests(&self) -> Result<TestReport, BundleError> {
        tests_of_bundle::run(&self.files, &self.data)
    }

    fn decide(&self, input: regorus::Value) -> Result<PolicyDecision, EvaluationError> {
        let decision = self.answer(&input)?;
        match bounds::unreleased(&input, &decision) {
            Some(bare) => {
                let bare = self.answer(&bare)?;
                Ok(bounds::ask_for_the_rest(&input, decision, bare))
            }
            None => Ok(decision),
        }
    }

    fn answer(&self, input: &regorus::Value) -> Result<PolicyDecision, EvaluationError> {
        let answer = self.evaluator.run(input.clone())?;
        let decision = decision::decode(&answer, &self.reference)?;
        Ok(bounds::keep(input, &self.autonomy, decision))
    }

    /// Asks these questions: a bundle that cannot answer them must not get as far as being active.
    fn try_out(&self, trials: impl Iterator<Item = Trial>) -> Result<(), BundleError> {
        for trial in trials {
            let input = regorus::Value::from(trial.input);
            patiently(|| self.decide(input.clone())).map_err(|source| BundleError::Trial {
                operation: trial.operation.to_string(),
                actor: trial.actor,
                source,
            })?;
        }
        Ok(())
    }
}

/// A busy machine is slow now and then, a bundle each time: whoever is slow may try again.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, EvaluationError>) -> Result<T, EvaluationError> {
    let mut answer = ask();
    for _ in 1..TRIES {
        if !matches!(answer, Err(EvaluationError::Slow { .. })) {
            break;
        }
        answer = ask();
    }
    answer
}

/// Hangs each `data.json` where its directory says.
pub(crate) fn documents(files: &BundleFiles, manifest: &Manifest) -> Result<Value, BundleError> {
    let mut data = Value::Object(Map::new());
    for (path, parents, text) in files.data() {
        let refused = |reason: &str| BundleError::Data {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let document: Map<String, Value> = structured::check_names(text)
            .and_then(|()| serde_json::from_str(text))
            .map_err(|error| refused(&error.to_string()))?;
        let mut place = &mut data;
        for parent in &parents {
            place = place
                .as_object_mut()
                .ok_or_else(|| refused("another document stands in its place"))?
                .entry(*parent)
                .or_insert_with(|| Value::Object(Map::new()));
        }
        let place = place
            .as_object_mut()
            .ok_or_else(|| refused("another document stands in its place"))?;
        for (key, value) in document {
            let mut full = parents.clone();
            full.push(&key);
            manifest.check_covers(&full)?;
            if place.contains_key(&key) {
                return Err(refused(&format!("`{key}` is defined in another file too")));
            }
            place.insert(key, value);
        }
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers in this order; says how it ended, and after how many.
    fn asked(answers: &[Result<(), bool>]) -> (Result<(), EvaluationError>, usize) {
        let reason = || "in a test".to_owned();
        let mut given = 0;
        let answer = patiently(|| {
            given += 1;
            answers[given - 1].map_err(|slow| match slow {
                true => EvaluationError::Slow { reason: reason() },
                false => EvaluationError::Budget { reason: reason() },
            })
        });
        (answer, given)
    }

    #[test]
    fn who_was_slow_is_asked_again_and_nobody_else() {
        let (slow, costly) = (Err(true), Err(false));
        assert!(matches!(asked(&[slow, slow, Ok(())]), (Ok(()), 3)));
        assert!(matches!(
            asked(&[slow, slow, slow, Ok(())]),
            (Err(EvaluationError::Slow { .. }), 3)
        ));
        assert!(matches!(
            asked(&[costly, Ok(())]),
            (Err(EvaluationError::Budget { .. }), 1)
        ));
        assert!(matches!(asked(&[Ok(())]), (Ok(()), 1)));
    }
}
