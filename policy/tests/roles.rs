//! The whole table of who may do what, rendered for review in `roles.txt`: what the rules decide,
//! not what the table's data says.

mod common;

use std::fmt::Write;

use common::*;
use contracts::{
    ActorKind, ApiPermission, Operation, Role,
    policy::{PolicyActor, PolicyResult},
};
use dispatch_policy::{Bundle, primary_code};
use strum::VariantArray;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/roles.txt");

/// Everybody who may call: a person of each role, a person of none, and software.
fn callers() -> Vec<(String, PolicyActor)> {
    let people = Role::VARIANTS
        .iter()
        .map(|role| (role.to_string(), person(*role)));
    let nobody = ("no role".to_owned(), actor(ActorKind::Person, &[]));
    let software = ActorKind::VARIANTS
        .iter()
        .filter(|kind| **kind != ActorKind::Person)
        .map(|kind| (format!("({kind})"), actor(*kind, &[])));
    people.chain([nobody]).chain(software).collect()
}

fn render() -> String {
    let bundle = Bundle::starter().unwrap();
    let mut table = String::from(
        "# Who may do what under the starter bundle, all other conditions met.\n\
         # yes: allowed; approval: held until people say yes; -: FORBIDDEN; stage: STAGE, at SHADOW.\n\
         # (…): software of that kind, without roles.\n\
         # Made by `UPDATE_EXPECT=1 cargo test -p dispatch-policy --test roles`.\n\n",
    );
    write!(table, "{:20}", "").unwrap();
    for (name, _) in callers() {
        write!(table, " {name:>width$}", width = name.len().max(5)).unwrap();
    }
    table.push('\n');
    for operation in Operation::VARIANTS {
        write!(table, "{:20}", operation.to_string()).unwrap();
        for (name, caller) in callers() {
            let decision = bundle.evaluate(&ask(caller, command(*operation))).unwrap();
            let cell = match decision.result {
                PolicyResult::Allow => "yes".to_owned(),
                PolicyResult::RequireApproval => "approval".to_owned(),
                PolicyResult::Deny => match primary_code(&decision).to_string().as_str() {
                    "FORBIDDEN" => "-".to_owned(),
                    code => code.to_lowercase(),
                },
            };
            write!(table, " {cell:>width$}", width = name.len().max(5)).unwrap();
        }
        table.push('\n');
    }
    table
}

#[test]
fn the_committed_table_is_what_the_rules_decide() {
    let table = render();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(FILE, &table).unwrap();
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == table,
        "who may do what has changed; review the difference, then run with UPDATE_EXPECT=1:\n{table}"
    );
}

/// `docs/permissions.md` shows the table: it says what the rules do.
#[test]
fn the_rules_refuse_whom_the_table_does_not_name_and_nobody_else() {
    let bundle = Bundle::starter().unwrap();
    for operation in Operation::VARIANTS {
        let holders = bundle.holders(ApiPermission::Command(*operation));
        for (name, caller) in callers() {
            let named = holders.include(caller.kind, &caller.roles);
            let decision = bundle.evaluate(&ask(caller, command(*operation))).unwrap();
            let mut reasons = decision.reasons.iter();
            let refused = reasons.any(|reason| reason.code == "NOT_PERMITTED");
            assert_eq!(refused, !named, "{operation} by {name}");
        }
    }
}

#[test]
fn the_roles_table_names_every_operation() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/bundle/roles/data.json"
    ))
    .unwrap();
    let table: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let expected: std::collections::BTreeSet<_> = Operation::VARIANTS
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        table
            .into_iter()
            .map(|(name, _)| name)
            .collect::<std::collections::BTreeSet<_>>(),
        expected
    );
}
