//! What the checks of a bundle know about a body is what the pipeline makes of one: the masked body
//! of each example fits the masked schema, in which every fact of a rule is looked up.

use std::fs;

use contracts::{Command, Operation, masking::masked_schema, value::is_sha256};
use serde_json::{Value, json};
use strum::VariantArray;

use super::{Example, bundle, common};
use crate::pipeline::intent::{Intent, body};

/// Whether a value fits a schema, as far as the schemas of commands go; a keyword that this does not
/// know is no reason to pass.
fn fits(value: &Value, schema: &Value, document: &Value) -> bool {
    let Some(keywords) = schema.as_object() else {
        return *schema != json!(false);
    };
    let list = |keyword: &Value| keyword.as_array().cloned().unwrap_or_default();
    let below = |value: &Value, schema: &Value| fits(value, schema, document);
    keywords.iter().all(|(name, keyword)| match name.as_str() {
        "$ref" => {
            let place = keyword.as_str().unwrap().trim_start_matches('#');
            below(value, document.pointer(place).unwrap())
        }
        "anyOf" | "oneOf" => list(keyword).iter().any(|schema| below(value, schema)),
        "const" => value == keyword,
        "enum" => list(keyword).contains(value),
        "type" => {
            let kinds = match keyword {
                Value::Array(kinds) => kinds.clone(),
                kind => vec![kind.clone()],
            };
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            kinds.contains(&json!(kind))
        }
        "required" => list(keyword)
            .iter()
            .all(|name| value.get(name.as_str().unwrap()).is_some()),
        "properties" => keyword
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, schema)| value.get(name).is_none_or(|member| below(member, schema))),
        "additionalProperties" => {
            let known = |name: &str| keywords.get("properties").and_then(|list| list.get(name));
            let members = value.as_object().into_iter().flatten();
            let mut others = members.filter(|(name, _)| known(name).is_none());
            others.all(|(_, member)| below(member, keyword))
        }
        "items" => {
            let before = keywords
                .get("prefixItems")
                .map_or(0, |items| list(items).len());
            let items = value.as_array().into_iter().flatten();
            items.skip(before).all(|item| below(item, keyword))
        }
        "prefixItems" => {
            let items = value.as_array().into_iter().flatten();
            items
                .zip(list(keyword))
                .all(|(item, schema)| below(item, &schema))
        }
        // Hashes and ids; what else has a pattern was checked when it was read.
        "pattern" if keyword == "^[0-9a-f]{64}$" => value.as_str().is_none_or(is_sha256),
        "minimum" => value
            .as_i64()
            .is_none_or(|n| keyword.as_i64().is_some_and(|m| n >= m)),
        "uniqueItems" => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            items
                .iter()
                .enumerate()
                .all(|(n, item)| !items[..n].contains(item))
        }
        "pattern" | "format" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems"
        | "default" | "description" | "title" | "$schema" | "$id" | "$defs" | "x-masked" => true,
        other => panic!("what does `{other}` ask for?"),
    })
}

/// As the policy's check has it.
fn schema(operation: Operation) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/schemas/commands");
    let text = fs::read_to_string(format!("{folder}/{operation}.json")).unwrap();
    masked_schema(operation, serde_json::from_str(&text).unwrap())
}

#[test]
fn a_masked_body_is_what_rules_are_checked_against() {
    let bundle = bundle();
    let mut unlike_the_sent = 0;
    for operation in Operation::VARIANTS {
        let schema = schema(*operation);
        for example in Example::all(*operation) {
            let (sent, masked) = (body(&example.command), example.masked(&bundle));
            assert!(
                fits(&masked, &schema, &schema),
                "{operation}: {masked} in {schema:#}"
            );
            unlike_the_sent += usize::from(!fits(&sent, &schema, &schema));
        }
    }
    assert!(unlike_the_sent >= 40, "{unlike_the_sent}");
}

/// What a rule is refused for it does not find, and what it may name is there.
#[test]
fn a_proposal_and_an_archive_are_known_by_their_masked_form() {
    for (operation, text) in [
        (Operation::RecordProposal, "advice"),
        (Operation::RecordProposal, "input"),
        (Operation::UploadBundle, "archive"),
        (Operation::AmendApproval, "body"),
    ] {
        let schema = schema(operation);
        let masked = Intent::of_held(&common::command(operation), None);
        let members = masked[text].as_object().unwrap().keys();
        let known = schema["properties"][text]["properties"]
            .as_object()
            .unwrap();
        assert!(
            members.eq(known.keys()),
            "{operation}: {masked} and {known:?}"
        );
    }
}

#[test]
fn why_and_where_somebody_is_is_not_even_measured() {
    for (operation, member) in [
        (Operation::RecordAbsence, "reason"),
        (Operation::DelegateApprovals, "reason"),
        (Operation::UpsertTechnician, "home_base"),
    ] {
        let held: Command = common::command(operation);
        assert_eq!(
            Intent::of_held(&held, None)[member],
            json!({ "hidden": true }),
            "{operation}"
        );
    }
}

/// A report that is malformed is a report, and not about this bundle.
#[test]
fn a_report_of_no_hashes_does_not_pass_for_none() {
    let bundle = bundle();
    let said = |change: Value| {
        let mut report = json!({
            "report_sha256": "0".repeat(64), "candidate_sha256": "0".repeat(64),
            "until": common::at(), "decisions": 9, "newly_allowed": 1, "newly_denied": 1,
            "newly_held": 1, "undecided": 0,
        });
        super::merge(&mut report, &change);
        let document = json!({ "sha256": "0".repeat(64), "reason": "rules", "report": report });
        let command = Command::from_parts(Operation::ActivateBundle, document).unwrap();
        let actor = common::person(contracts::Role::PlatformAdmin);
        let mut asked = common::ask(actor, command.clone());
        asked.body = Intent::of_held(&command, None);
        let reasons = bundle.evaluate(&asked).unwrap().reasons;
        let codes = reasons.into_iter().map(|reason| reason.code);
        (asked.body["report"].clone(), codes.collect::<Vec<_>>())
    };
    let (report, codes) = said(json!({ "candidate_sha256": "Anna, 06-1234" }));
    assert_eq!(report["candidate_sha256"], json!({ "chars": 13 }));
    assert!(codes.contains(&"DIFF_OTHER".to_owned()), "{codes:?}");
    let (report, codes) = said(json!({ "report_sha256": "Anna", "undecided": 3 }));
    assert_eq!(
        (&report["report_sha256"], &report["undecided"]),
        (&json!({ "chars": 4 }), &json!(3))
    );
    assert!(codes.contains(&"DIFF_UNDECIDED".to_owned()), "{codes:?}");
}
