//! What a bundle is asked before it may decide anything.
//!
//! Each operation by each kind of actor, three times: knowing next to nothing (no roles, no ticket,
//! an empty body), knowing what is usual, and knowing everything that the schemas describe; a fourth
//! time with a malformed body, where one looks different to a policy. A rule
//! that fails on a value, that never ends, or that answers something else than a decision is so
//! found by its author and not by the first caller who meets it.

use contracts::{ActorKind, Operation, Role, TemplateId};
use serde_json::{Value, json};
use strum::VariantArray;

use crate::schemas::Schemas;

/// One question.
pub(crate) struct Trial {
    /// What is attempted.
    pub operation: Operation,
    /// By whom, for a message.
    pub actor: String,
    /// The whole input.
    pub input: Value,
}

impl Trial {
    fn new(operation: Operation, kind: ActorKind, knows: &str, mut input: Value) -> Self {
        input["operation"] = json!(operation);
        input["actor"]["kind"] = json!(kind);
        Self {
            operation,
            actor: format!("{kind}, knowing {knows}"),
            input,
        }
    }
}

/// The question of a caller about whom, and about which ticket, nothing is known.
pub(crate) fn bare(operation: Operation, kind: ActorKind) -> Trial {
    let mut input = Schemas::get().plain_input();
    input["ticket"] = Value::Null;
    input["approval"] = Value::Null;
    input["actor"] = json!({ "id": "trial", "roles": [], "technician_id": null });
    input["body"] = json!({});
    Trial::new(operation, kind, "nothing", input)
}

/// The question of a caller with all roles, with every field of the body.
fn known(
    operation: Operation,
    kind: ActorKind,
    template: &TemplateId,
    knows: &str,
    body: Value,
    mut input: Value,
) -> Trial {
    input["actor"]["roles"] = json!(Role::VARIANTS);
    input["body"] = body;
    for place in ["/ticket/template", "/body/template"] {
        if let Some(named) = input.pointer_mut(place) {
            *named = json!(template);
        }
    }
    Trial::new(operation, kind, knows, input)
}

/// All questions, about a ticket of this template.
pub(crate) fn all(template: &TemplateId) -> impl Iterator<Item = Trial> {
    let schemas = Schemas::get();
    let callers = Operation::VARIANTS
        .iter()
        .flat_map(|operation| ActorKind::VARIANTS.iter().map(|kind| (*operation, *kind)));
    callers.flat_map(move |(operation, kind)| {
        let known = |knows, body: &Value, input| {
            known(operation, kind, template, knows, body.clone(), input)
        };
        let name = operation.to_string();
        let body = schemas.sample_body(&name);
        let malformed = Some(schemas.malformed_body(&name)).filter(|other| *other != body);
        let malformed =
            malformed.map(|body| known("a malformed body", &body, schemas.full_input()));
        [
            bare(operation, kind),
            known("what is usual", &body, schemas.plain_input()),
            known("everything", &body, schemas.full_input()),
        ]
        .into_iter()
        .chain(malformed)
    })
}
