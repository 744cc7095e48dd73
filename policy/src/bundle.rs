//! A bundle: loaded once, checked as a whole, immutable.

use std::path::Path;

use contracts::{
    Operation, TemplateId,
    comms::CommsRules,
    policy::{BundleRef, PolicyDecision, PolicyInput},
    template::IncidentTemplate,
};
use serde_json::{Map, Value, json};
use strum::VariantArray;

use crate::{
    comms, decision,
    error::{BundleError, EvaluationError},
    evaluator::Evaluator,
    files::BundleFiles,
    manifest::Manifest,
    roles, starter,
    templates::{self, Templates},
    tests_of_bundle::{self, TestReport},
};

/// A policy bundle that passed all checks.
pub struct Bundle {
    reference: BundleRef,
    templates: Templates,
    comms: CommsRules,
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
        Self::load(starter::files()?)
    }

    /// Loads the bundle in a directory.
    pub fn from_dir(dir: &Path) -> Result<Self, BundleError> {
        Self::load(BundleFiles::read(dir)?)
    }

    /// Checks files and makes a bundle of them.
    pub fn load(files: BundleFiles) -> Result<Self, BundleError> {
        let manifest = Manifest::parse(files.manifest())?;
        let data = documents(&files, &manifest)?;
        let templates = templates::parse(&data)?;
        let comms = comms::parse(&data, &templates)?;
        roles::check(&data)?;
        let bundle = Self {
            evaluator: Evaluator::compile(&files, &manifest, &data)?,
            reference: BundleRef {
                version: manifest.revision,
                sha256: files.sha256(),
            },
            templates,
            comms,
            files,
            data,
        };
        bundle.try_out()?;
        Ok(bundle)
    }

    /// Version and hash, as they are recorded with each decision.
    pub fn reference(&self) -> &BundleRef {
        &self.reference
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

    /// Decides. The same input gives the same decision, always.
    pub fn evaluate(&self, input: &PolicyInput) -> Result<PolicyDecision, EvaluationError> {
        let input = serde_json::to_value(input).map_err(|error| EvaluationError::Input {
            reason: error.to_string(),
        })?;
        self.decide(input)
    }

    /// Runs the bundle's own tests.
    pub fn run_tests(&self) -> Result<TestReport, BundleError> {
        tests_of_bundle::run(&self.files, &self.data)
    }

    fn decide(&self, input: Value) -> Result<PolicyDecision, EvaluationError> {
        let answer = self.evaluator.run(regorus::Value::from(input))?;
        decision::decode(&answer, &self.reference)
    }

    /// Asks once about each operation: a bundle that cannot answer a caller without any rights
    /// must not get as far as being active.
    fn try_out(&self) -> Result<(), BundleError> {
        for operation in Operation::VARIANTS {
            let input = json!({
                "v": 1,
                "operation": operation,
                "at": "2026-01-01T00:00:00Z",
                "actor": { "id": "trial", "kind": "person", "roles": [], "technician_id": null },
                "body": {},
                "ticket": null,
                "approval": null,
                "tenant": {
                    "calendar": { "time_zone": "UTC", "week": [], "days_off": [] },
                    "currency": "EUR",
                },
                "autonomy": "SHADOW",
                "kill_switch": false,
            });
            self.decide(input).map_err(|source| BundleError::Trial {
                operation: operation.to_string(),
                source,
            })?;
        }
        Ok(())
    }
}

/// Hangs each `data.json` where its directory says.
fn documents(files: &BundleFiles, manifest: &Manifest) -> Result<Value, BundleError> {
    let mut data = Value::Object(Map::new());
    for (path, parents, text) in files.data() {
        let refused = |reason: &str| BundleError::Data {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let document: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| refused(&error.to_string()))?;
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
