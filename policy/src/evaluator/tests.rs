//! What is left of the rules for an operation and a kind of actor decides as all of them do.

// The inputs of the other tests: each of them meets every rule.
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../../tests/common/mod.rs"]
mod common;

use std::{collections::BTreeMap, path::Path};

use contracts::{ActorKind, Operation, Role, event::AutonomyMode, policy::BundleRef};
use serde_json::{Value as Json, json};
use strum::VariantArray;

use super::*;
use crate::{AcceptedFiles, bundle, decision, starter, templates, trial};

/// Documents that are made of one that meets every rule.
const STEPS: usize = 12;
/// Documents that are made of one that every bundle is tried with.
const STEPS_OF_TRIAL: usize = 4;

fn compiled(files: BundleFiles) -> (Evaluator, Json) {
    let (files, _) = AcceptedFiles::built_in(files).into_parts();
    let manifest = Manifest::parse(files.manifest()).unwrap();
    let data = bundle::documents(&files, &manifest).unwrap();
    let evaluator = Evaluator::compile(&files, &manifest, &data).unwrap();
    (evaluator, data)
}

fn starter() -> (Evaluator, Json) {
    compiled(starter::files().unwrap())
}

/// The starters of before: they still decide somewhere.
fn former() -> Vec<(Evaluator, Json)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/starters");
    let archives = std::fs::read_dir(folder).unwrap();
    archives
        .map(|archive| compiled(BundleFiles::open(&archive.unwrap().path()).unwrap()))
        .collect()
}

/// The decision as it is kept, or why there is none.
fn decided(answer: Result<Value, EvaluationError>) -> String {
    let bundle = BundleRef {
        version: "1".into(),
        sha256: "0".repeat(64),
    };
    let decision = answer.and_then(|answer| decision::decode(&answer, &bundle));
    match decision {
        Ok(decision) => serde_json::to_string(&decision).unwrap(),
        Err(error) => error.to_string(),
    }
}

/// Numbers that only look like chance: the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Every place of a document, as JSON pointers.
fn places(document: &Json, at: &str, all: &mut Vec<String>) {
    let mut down = |key: &str, value: &Json| {
        let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        places(value, &place, all);
        all.push(place);
    };
    match document {
        Json::Object(fields) => fields.iter().for_each(|(key, value)| down(key, value)),
        Json::Array(list) => {
            let numbered = list.iter().enumerate();
            numbered.for_each(|(n, value)| down(&n.to_string(), value));
        }
        _ => {}
    }
}

/// All that stands in a document.
fn words(document: &Json, all: &mut Vec<Json>) {
    match document {
        Json::Object(fields) => {
            all.extend(fields.keys().map(|key| json!(key)));
            fields.values().for_each(|value| words(value, all));
        }
        Json::Array(list) => list.iter().for_each(|value| words(value, all)),
        other => all.push(other.clone()),
    }
}

/// One place of it made anew, or gone. What makes the choice of rules stays: that they are chosen for
/// what is asked another test shows.
fn changed(document: &Json, pool: &[Json], chance: &mut Chance) -> Json {
    let mut all = Vec::new();
    places(document, "", &mut all);
    all.retain(|place| !matches!(&**place, "/operation" | "/actor" | "/actor/kind"));
    let place = chance.one_of(&all).clone();
    let mut new = document.clone();
    let other = match chance.below(4) {
        0 => {
            let (whole, key) = place.rsplit_once('/').unwrap();
            if let Some(Json::Object(fields)) = new.pointer_mut(whole) {
                fields.remove(&key.replace("~1", "/").replace("~0", "~"));
                return new;
            }
            Json::Null
        }
        1 => {
            let from = chance.one_of(&all);
            document.pointer(from).unwrap().clone()
        }
        _ => chance.one_of(pool).clone(),
    };
    *new.pointer_mut(&place).unwrap() = other;
    new
}

/// A question that meets every rule: by somebody with all roles, or by software that may act.
fn fitting(operation: Operation, kind: ActorKind) -> Json {
    let mut input = common::ask(
        match kind {
            ActorKind::Person => common::actor(kind, Role::VARIANTS),
            _ => common::actor(kind, &[]),
        },
        common::command(operation),
    );
    input.autonomy = AutonomyMode::Auto;
    serde_json::to_value(&input).unwrap()
}

/// Asks all rules and what is left of them, about this document and about ones made of it: one place is
/// made anew, and the change stays when no more conditions fail. Answers with the results that it met.
fn agree(
    evaluator: &Evaluator,
    (document, steps): (Json, usize),
    pool: &[Json],
    met: &mut BTreeMap<String, usize>,
) {
    let seed = document
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let mut chance = Chance(seed | 1);
    let mut best = (document.clone(), usize::MAX);
    let mut next = document;
    for _ in 0..=steps {
        let input = Value::from(next.clone());
        let part = evaluator.programs.of(&input);
        let whole = evaluator.programs.whole();
        assert!(!std::ptr::eq(part, whole), "nothing is left out: {next}");
        let all = decided(evaluator.run_part(whole, input.clone()));
        let some = decided(evaluator.run_part(part, input));
        assert_eq!(all, some, "{next}");
        let decision: Json = serde_json::from_str(&all).unwrap_or_default();
        let result = decision["result"].as_str().unwrap_or("none").to_owned();
        *met.entry(result).or_default() += 1;
        let failed = decision["reasons"].as_array().map_or(usize::MAX, Vec::len);
        if failed <= best.1 {
            best = (next, failed);
        }
        next = changed(&best.0, pool, &mut chance);
    }
}

/// Each operation by each kind of actor: what every bundle is tried with, a question that meets every
/// rule, and what a change makes of them.
fn decides_the_same(evaluator: &Evaluator, data: &Json) {
    let mut pool = vec![
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(-1),
        json!(""),
    ];
    words(data, &mut pool);
    let template = templates::parse(data).unwrap().into_keys().next().unwrap();
    let tried = trial::all(&template).map(|trial| (trial.input, STEPS_OF_TRIAL));
    let pairs = Operation::VARIANTS
        .iter()
        .flat_map(|operation| ActorKind::VARIANTS.iter().map(|kind| (*operation, *kind)));
    let fitting = pairs.map(|(operation, kind)| (fitting(operation, kind), STEPS));
    let mut met = BTreeMap::new();
    for document in tried.chain(fitting) {
        agree(evaluator, document, &pool, &mut met);
    }
    for result in ["ALLOW", "DENY", "REQUIRE_APPROVAL"] {
        let times = met.get(result).copied().unwrap_or_default();
        assert!(times > 20, "{result} {times} times: {met:?}");
    }
}

#[test]
fn what_is_left_of_the_rules_decides_as_all_of_them_do() {
    let (evaluator, data) = starter();
    decides_the_same(&evaluator, &data);
}

#[test]
fn so_it_is_under_the_starters_of_before() {
    let all = former();
    assert!(all.len() >= 3, "{}", all.len());
    for (evaluator, data) in all {
        decides_the_same(&evaluator, &data);
    }
}

#[test]
fn much_is_left_out() {
    let (evaluator, data) = starter();
    let whole = evaluator.programs.whole();
    let definitions = |part: &Prepared<Idle>| -> usize {
        let rules = part.program.rule_infos.iter();
        rules.map(|rule| rule.definitions.len()).sum()
    };
    let rules = whole.program.rule_infos.iter();
    let deny = rules.map(|rule| rule.definitions.len()).max().unwrap();
    for template in templates::parse(&data).unwrap().keys() {
        for trial in trial::all(template) {
            let part = evaluator.programs.of(&Value::from(trial.input));
            assert!(
                definitions(part) + deny / 2 < definitions(whole),
                "{} by {}",
                trial.operation,
                trial.actor
            );
        }
    }
}

#[test]
fn an_operation_that_nobody_knows_is_asked_about_all_rules() {
    let (evaluator, _) = starter();
    let is_whole = |input| {
        let part = evaluator.programs.of(&Value::from(input));
        std::ptr::eq(part, evaluator.programs.whole())
    };
    let person = json!({ "kind": "person" });
    assert!(!is_whole(json!({ "operation": "close", "actor": person })));
    assert!(is_whole(json!({ "operation": "Close", "actor": person })));
    assert!(is_whole(json!({ "operation": ["close"], "actor": person })));
    assert!(is_whole(json!({ "operation": "close", "actor": "person" })));
    assert!(is_whole(
        json!({ "operation": "close", "actor": { "kind": "ghost" } })
    ));
    assert!(is_whole(json!(7)));
}
