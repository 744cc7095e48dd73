//! The Open Policy Agent itself agrees with our evaluation: on thousands of inputs, and on the tests
//! that the bundle brings along. A rule that means something else to OPA than to us is a rule that
//! its author did not mean.
//!
//! The program comes from where `embedded::Opa` finds it; without it the tests fail with
//! `INFRASTRUCTURE MISSING:`, they are never skipped.

mod agreement;
mod corpus;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use agreement::{answers, differences, output, shown};
use contracts::{ActorKind, Operation, Role, TicketState, policy::PolicyResult};
use corpus::{Asked, codes_of_rules, corpus};
use embedded::{Opa, OpaOptions, Progress, required};
use policy::{Bundle, BundleFiles, Trust};
use serde_json::{Value, json};
use strum::VariantArray;
use tokio::sync::OnceCell;

/// Where the starter bundle lies. Without `..`, which OPA does not take out of the path of a bundle.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../policy/bundle")
        .canonicalize()
        .unwrap()
}

async fn opa() -> &'static Opa {
    static OPA: OnceCell<Opa> = OnceCell::const_new();
    OPA.get_or_init(async || {
        required(
            Opa::resolve(OpaOptions {
                progress: Progress::new(|line| eprintln!("{line}")),
                ..OpaOptions::from_env()
            })
            .await,
        )
    })
    .await
}

static CORPUS: LazyLock<Vec<Asked>> = LazyLock::new(made);

/// What no input can be refused for, because no bundle of which it would be true can be loaded: it
/// holds for a code, and `approvals.rules` does not say who releases that.
const NEVER: [&str; 1] = ["NO_APPROVAL_RULE"];

/// What the starter asks for once somebody sets its switches so ([`switched_on`]).
const SWITCHED_OFF: [&str; 8] = [
    "BUNDLE_ACTIVATION",
    "DIFF_MISSING",
    "DIFF_OLD",
    "DIFF_OTHER",
    "DIFF_SAMPLE",
    "DIFF_UNDECIDED",
    "DIFF_WINDOW",
    "REARM",
];

/// The codes of the rules without these.
fn codes_but(others: &[&str]) -> BTreeSet<String> {
    let mut codes = codes_of_rules(&folder());
    for other in others {
        assert!(codes.remove(*other), "{other} is no code of a rule");
    }
    codes
}

fn made() -> Vec<Asked> {
    let codes = codes_but(&[&NEVER[..], &SWITCHED_OFF].concat());
    corpus(
        &Bundle::starter().unwrap(),
        &folder(),
        Operation::VARIANTS,
        &codes,
    )
}

/// The starter in this folder with all its switches on, and what it is asked about what they are for.
fn switched_on(folder: &Path) -> Vec<Asked> {
    copy(&self::folder(), folder);
    let set = |file: &str, name: &str, value: Value| {
        let file = folder.join(file);
        let mut data: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_ne!(data[name], value);
        data[name] = value;
        fs::write(file, data.to_string()).unwrap();
    };
    set("activation/data.json", "needs_approval", json!(true));
    set("activation/data.json", "require_report", json!(true));
    let scopes = json!(["tenant", "operation", "channel", "agent", "ticket"]);
    set("approvals/data.json", "rearm_scopes", scopes);
    let files = Trust::Anybody.accept(BundleFiles::read(folder).unwrap());
    let bundle = Bundle::load(files.unwrap()).unwrap();
    let codes = SWITCHED_OFF.map(str::to_owned).into();
    let operations = [Operation::ActivateBundle, Operation::ReleaseKillSwitch];
    corpus(&bundle, folder, &operations, &codes)
}

async fn agrees_with_opa(folder: &Path, asked: &[Asked]) {
    let answers = answers(opa().await, folder, asked).await;
    let differences = differences(asked, answers);
    assert!(
        differences.is_empty(),
        "{}",
        shown(&differences, asked.len())
    );
}

#[tokio::test]
async fn every_decision_is_that_of_opa() {
    let asked = &CORPUS;
    assert!(asked.len() >= 5_000, "{} inputs", asked.len());
    agrees_with_opa(&folder(), asked).await;
}

#[tokio::test]
async fn so_it_is_with_the_switches_on() {
    let other = tempfile::tempdir().unwrap();
    let asked = switched_on(other.path());
    let codes = codes_of(&asked);
    let missed: Vec<_> = SWITCHED_OFF
        .iter()
        .filter(|it| !codes.contains(**it))
        .collect();
    assert!(missed.is_empty(), "no input is refused for {missed:?}");
    agrees_with_opa(other.path(), &asked).await;
}

fn codes_of(asked: &[Asked]) -> BTreeSet<String> {
    let reasons = asked.iter().flat_map(|asked| &asked.decision.reasons);
    reasons.map(|reason| reason.code.clone()).collect()
}

/// A rule that no input meets would be one about which nobody was asked.
#[test]
fn the_corpus_meets_every_rule_and_every_result() {
    let asked = &CORPUS;
    let codes = codes_of(asked);
    let rules = codes_but(&[&NEVER[..], &SWITCHED_OFF].concat());
    assert!(rules.len() >= 40, "{rules:?}");
    let missed: Vec<_> = rules.difference(&codes).collect();
    assert!(missed.is_empty(), "no input is refused for {missed:?}");
    let impossible = NEVER.iter().chain(&SWITCHED_OFF);
    let met: Vec<_> = impossible.filter(|it| codes.contains(**it)).collect();
    assert!(met.is_empty(), "{met:?} can be met after all");

    let mut allowed = BTreeMap::new();
    for Asked { input, decision } in asked.iter() {
        *allowed.entry(input.operation).or_insert(0) +=
            u32::from(decision.result == PolicyResult::Allow);
    }
    assert_eq!(allowed.len(), Operation::VARIANTS.len());
    let never: Vec<_> = allowed.iter().filter(|(_, n)| **n == 0).collect();
    // What needs many things at once is rarely met by chance.
    assert!(
        never.len() * 8 < allowed.len(),
        "none allowed for {never:?}"
    );

    let count = |holds: &dyn Fn(&Asked) -> bool| asked.iter().filter(|a| holds(a)).count();
    for kind in ActorKind::VARIANTS {
        assert!(count(&|a| a.input.actor.kind == *kind) > 100, "{kind}");
    }
    for role in Role::VARIANTS {
        assert!(
            count(&|a| a.input.actor.roles.contains(role)) > 100,
            "{role}"
        );
    }
    for state in TicketState::VARIANTS {
        let of = |a: &Asked| a.input.ticket.as_ref().is_some_and(|t| t.state == *state);
        assert!(count(&of) > 50, "{state}");
    }
}

#[test]
fn the_corpus_is_the_same_in_every_run() {
    let again = made();
    let inputs = |asked: &[Asked]| asked.iter().map(|a| a.input.clone()).collect::<Vec<_>>();
    assert!(inputs(&CORPUS) == inputs(&again));
}

/// OPA gets a bundle with one character less than ours, and is found out.
#[tokio::test]
async fn a_rule_that_differs_in_one_character_is_found() {
    let other = tempfile::tempdir().unwrap();
    copy(&folder(), other.path());
    let module = other.path().join("dispatch/details.rego");
    let text = fs::read_to_string(&module).unwrap();
    let spoilt = text.replace("value <= kind.number.max", "value < kind.number.max");
    assert_ne!(text, spoilt);
    fs::write(&module, spoilt).unwrap();

    let asked = &CORPUS;
    let answers = answers(opa().await, other.path(), asked).await;
    let differences = differences(asked, answers);
    assert!(!differences.is_empty());
    let text = shown(&differences, asked.len());
    let with_details = ["create_ticket", "triage"];
    assert!(
        differences
            .iter()
            .all(|d| with_details.contains(&d.operation())),
        "{text}"
    );
    assert!(text.contains("a reason of OPA only: {"), "{text}");
    assert!(text.contains("UNKNOWN_DETAIL"), "{text}");
}

#[test]
fn each_part_of_a_decision_is_compared() {
    let denied = CORPUS
        .iter()
        .position(|a| a.decision.reasons.len() == 2)
        .unwrap();
    let asked = &CORPUS[denied..=denied];
    let mut same = serde_json::to_value(&asked[0].decision).unwrap();
    same.as_object_mut().unwrap().remove("bundle");
    let found = |answer: Option<Value>| differences(asked, vec![answer]);
    assert!(found(Some(same.clone())).is_empty());
    let mut turned = same.clone();
    turned["reasons"].as_array_mut().unwrap().reverse();
    assert!(found(Some(turned)).is_empty(), "a set has no order");

    let spoilt = |place: &str, value: Value| {
        let mut answer = same.clone();
        match answer.pointer_mut(place) {
            Some(old) => *old = value,
            None => answer[&place[1..]] = value,
        }
        shown(&found(Some(answer)), 1)
    };
    for (place, value, says) in [
        (
            "/result",
            json!("ALLOW"),
            "result: ours \"DENY\", OPA \"ALLOW\"",
        ),
        (
            "/obligations",
            json!(["log"]),
            "obligations: ours [], OPA [\"log\"]",
        ),
        ("/reasons/0/message", json!("x"), "a reason of ours only: "),
        ("/reasons/0/to_pass", json!("x"), "a reason of OPA only: "),
        (
            "/reasons/1",
            same["reasons"][0].clone(),
            "a reason of ours only: ",
        ),
        ("/more", json!(1), "OPA decides otherwise about 1 of 1"),
    ] {
        let text = spoilt(place, value);
        assert!(text.contains(says), "{place}: {text}");
    }
    assert!(shown(&found(None), 1).contains("OPA gives no decision"));
}

#[tokio::test]
async fn the_bundles_tests_end_as_with_opa() {
    let ours: BTreeMap<String, bool> = Bundle::starter()
        .unwrap()
        .run_tests()
        .unwrap()
        .outcomes
        .into_iter()
        .map(|test| (test.name, test.failure.is_none()))
        .collect();
    // It ends with 2 when a test fails.
    let arguments = ["test", "--format", "json", "--bundle"];
    let output = output(opa().await, &arguments, &folder(), Vec::new(), &[0, 2]).await;
    let output: Vec<Value> = serde_json::from_slice(&output).unwrap();
    let theirs: BTreeMap<String, bool> = output
        .iter()
        .map(|test| {
            let part = |name: &str| test[name].as_str().unwrap();
            let failed = ["fail", "error", "skip"].iter().any(|f| !test[f].is_null());
            (format!("{}.{}", part("package"), part("name")), !failed)
        })
        .collect();
    assert_eq!(ours, theirs);
    assert!(ours.len() > 50);
}

#[tokio::test]
async fn opa_finds_nothing_to_complain_of() {
    let opa = opa().await;
    for arguments in [
        &["check", "--strict", "--bundle"][..],
        &["fmt", "--list", "--fail"],
    ] {
        output(opa, arguments, &folder(), Vec::new(), &[0]).await;
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
