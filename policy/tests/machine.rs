//! The virtual machine that decides and the interpreter that runs the bundle's tests agree; and
//! what a decision costs.

mod common;

use std::{path::Path, time::Instant};

use common::*;
use contracts::{Operation, Role, TicketState};
use dispatch_policy::Bundle;
use regorus::Engine;
use strum::VariantArray;

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle");

fn interpreter() -> Engine {
    let mut engine = Engine::new();
    for entry in std::fs::read_dir(Path::new(BUNDLE).join("dispatch")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().ends_with("_test.rego") {
            engine.add_policy_from_file(path).unwrap();
        }
    }
    for entry in std::fs::read_dir(BUNDLE).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap();
        let Ok(text) = std::fs::read_to_string(folder.join("data.json")) else {
            continue;
        };
        engine
            .add_data_json(&format!("{{\"{name}\":{text}}}"))
            .unwrap();
    }
    engine
}

#[test]
fn machine_and_interpreter_agree() {
    let bundle = Bundle::starter().unwrap();
    let mut interpreter = interpreter();
    for operation in Operation::VARIANTS {
        for role in Role::VARIANTS {
            for state in TicketState::VARIANTS {
                let mut input = ask(person(*role), command(*operation));
                if let Some(ticket) = &mut input.ticket {
                    ticket.state = *state;
                    ticket.nte_cents = 1;
                    ticket.evidence.clear();
                    ticket.details.clear();
                }
                let decision = bundle.evaluate(&input).unwrap();
                interpreter.set_input(regorus::Value::from(serde_json::to_value(&input).unwrap()));
                let answer = interpreter
                    .eval_rule("data.dispatch.decision".to_owned())
                    .unwrap();
                let answer = serde_json::to_value(answer).unwrap();
                assert_eq!(
                    answer["result"],
                    serde_json::to_value(decision.result).unwrap()
                );
                let mut reasons: Vec<_> =
                    serde_json::from_value(answer["reasons"].clone()).unwrap();
                reasons.sort();
                assert_eq!(decision.reasons, reasons, "{operation} {role} {state}");
            }
        }
    }
}

/// `cargo test -p dispatch-policy --release --test machine -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn what_a_decision_costs() {
    const ROUNDS: u32 = 20_000;
    let bundle = Bundle::starter().unwrap();
    let measure = |name: &str, role, operation| {
        let input = ask(person(role), command(operation));
        let start = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(bundle.evaluate(std::hint::black_box(&input)).unwrap());
        }
        println!("{name}: {:?} per decision", start.elapsed() / ROUNDS);
    };
    measure("allowed", Role::Technician, Operation::Complete);
    measure("denied", Role::Auditor, Operation::Complete);
    let start = Instant::now();
    Bundle::starter().unwrap();
    println!("loading: {:?}", start.elapsed());
}
