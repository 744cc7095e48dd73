//! Whatever the rules of a bundle say: software stays within its stage, and stops.

mod common;

use common::*;
use contracts::{
    ActorKind, Operation, Slug,
    event::AutonomyMode,
    policy::{DenyClass, PolicyInput, PolicyResult},
};
use dispatch_policy::{Bundle, BundleFiles, Trust};
use strum::VariantArray;

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle");

/// The starter, except that its rules let everything pass.
fn lax() -> Bundle {
    let starter = BundleFiles::read(BUNDLE.as_ref()).unwrap();
    let data = starter.iter().filter(|(name, _)| !name.ends_with(".rego"));
    let rules = "package dispatch\n\ndecision := {\"result\": \"ALLOW\", \"reasons\": [], \"obligations\": []}\n";
    let files = BundleFiles::from_texts(data.chain([("dispatch/decision.rego", rules)])).unwrap();
    Bundle::load(Trust::Anybody.accept(files).unwrap()).unwrap()
}

fn asked(kind: ActorKind, operation: Operation) -> PolicyInput {
    let mut input = ask(person(contracts::Role::Dispatcher), command(operation));
    input.actor.kind = kind;
    input
}

/// Class of the refusal.
fn refused(bundle: &Bundle, input: &PolicyInput) -> Option<DenyClass> {
    let decision = bundle.evaluate(input).unwrap();
    let recorded = serde_json::to_string(input).unwrap();
    assert_eq!(bundle.evaluate_recorded(&recorded).unwrap(), decision);
    (decision.result == PolicyResult::Deny).then(|| decision.reasons[0].class)
}

#[test]
fn what_rules_let_pass_stays_within_the_stage() {
    let bundle = lax();
    for operation in Operation::VARIANTS {
        let books = bundle.autonomy().bookkeeping.contains(operation);
        for mode in AutonomyMode::VARIANTS {
            for kind in [ActorKind::Agent, ActorKind::Workflow] {
                let mut input = asked(kind, *operation);
                input.autonomy = *mode;
                let expected = (!books && *mode != AutonomyMode::Auto).then_some(DenyClass::Stage);
                assert_eq!(
                    refused(&bundle, &input),
                    expected,
                    "{operation} {mode} {kind}"
                );
            }
            let mut input = asked(ActorKind::Person, *operation);
            input.autonomy = *mode;
            assert_eq!(refused(&bundle, &input), None, "people are not staged");
        }
    }
}

#[test]
fn what_rules_let_pass_stops_with_the_kill_switch() {
    let bundle = lax();
    for operation in Operation::VARIANTS {
        for kind in [ActorKind::Agent, ActorKind::Workflow] {
            let mut input = asked(kind, *operation);
            input.autonomy = AutonomyMode::Auto;
            input.kill_switch = true;
            let through = bundle.autonomy().through_kill_switch.contains(operation);
            let books = kind == ActorKind::Workflow && through;
            let expected = (!books).then_some(DenyClass::KillSwitch);
            assert_eq!(refused(&bundle, &input), expected, "{operation} {kind}");
            input.kill_switch_override = Some(Slug::new("storm").unwrap());
            assert_eq!(refused(&bundle, &input), None, "{operation} {kind}");
        }
        let mut input = asked(ActorKind::Person, *operation);
        input.kill_switch = true;
        assert_eq!(refused(&bundle, &input), None, "people go on");
    }
}
