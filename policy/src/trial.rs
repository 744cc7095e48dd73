//! What a bundle is asked before it may decide anything.
//!
//! Each operation by each kind of actor, twice: knowing next to nothing (no roles, no ticket, an
//! empty body) and knowing everything that the schemas describe. A rule that fails on a value, that
//! never ends, or that answers something else than a decision is so found by its author and not by
//! the first caller who meets it.

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

fn named(how: &str, kind: ActorKind) -> String {
    format!("{kind}, {how}")
}

/// The question of a caller about whom, and about which ticket, nothing is known.
pub(crate) fn bare(operation: Operation, kind: ActorKind) -> Trial {
    let mut input = Schemas::get().sample_input();
    input["ticket"] = Value::Null;
    input["approval"] = Value::Null;
    input["actor"] = json!({
        "id": "trial", "kind": kind, "roles": [], "technician_id": null,
    });
    input["body"] = json!({});
    input["operation"] = json!(operation);
    Trial {
        operation,
        actor: named("knowing nothing", kind),
        input,
    }
}

/// The question of a caller with all roles, about all that there can be.
fn full(operation: Operation, kind: ActorKind, template: &TemplateId) -> Trial {
    let mut input = Schemas::get().sample_input();
    input["actor"]["kind"] = json!(kind);
    input["actor"]["roles"] = json!(Role::VARIANTS);
    input["body"] = Schemas::get().sample_body(&operation.to_string());
    input["operation"] = json!(operation);
    for place in ["/ticket/template", "/body/template"] {
        if let Some(named) = input.pointer_mut(place) {
            *named = json!(template);
        }
    }
    Trial {
        operation,
        actor: named("knowing everything", kind),
        input,
    }
}

/// All questions, about a ticket of this template.
pub(crate) fn all(template: &TemplateId) -> impl Iterator<Item = Trial> {
    Operation::VARIANTS.iter().flat_map(move |operation| {
        ActorKind::VARIANTS
            .iter()
            .flat_map(move |kind| [bare(*operation, *kind), full(*operation, *kind, template)])
    })
}
