//! The reads table `data.reads`: permission → kind of actor → roles.
//!
//! No rule reads it: a read changes nothing and is asked for often, so dispatch-api looks the caller
//! up in the parsed table of the active bundle. A bundle of a version that had none goes by the
//! program's own. What the table does not name, nobody may read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use contracts::{Actor, ActorKind, ReadPermission};
use serde_json::Value;
use strum::VariantArray;

use crate::{
    error::BundleError,
    holders::{Holders, NOBODY, table},
};

/// Where it stands in a bundle.
const ROOT: &str = "reads";

static OWN: LazyLock<Arc<Reads>> = LazyLock::new(|| {
    let text = include_str!("../bundle/reads/data.json");
    let rows: Value = serde_json::from_str(text).expect("a test reads the program's own table");
    let read = of_bundle(&rows).expect("a test reads the program's own table");
    Arc::new(Reads {
        rows: read,
        is_own: false,
    })
});

/// Who may read what.
#[derive(Debug)]
pub struct Reads {
    rows: BTreeMap<ReadPermission, Holders>,
    /// Whether the bundle said it.
    is_own: bool,
}

impl Reads {
    /// The table of the starter bundle, which stands in where no bundle says anything.
    pub fn of_program() -> Arc<Self> {
        Arc::clone(&OWN)
    }

    /// Whether the actor may read this.
    pub fn allow(&self, permission: ReadPermission, actor: &Actor) -> bool {
        self.holders(permission).include(actor.kind, &actor.roles)
    }

    /// Who may read this.
    pub fn holders(&self, permission: ReadPermission) -> &Holders {
        self.rows.get(&permission).unwrap_or(&NOBODY)
    }

    /// What its author should know before it decides.
    pub(crate) fn notes(&self) -> Vec<String> {
        if !self.is_own {
            return vec![format!(
                "there is no {ROOT}/data.json: the program's own table says who may read what"
            )];
        }
        let named: BTreeSet<_> = self.rows.keys().collect();
        let left_out = ReadPermission::VARIANTS
            .iter()
            .filter(|read| !named.contains(read));
        left_out
            .map(|read| format!("{ROOT}/data.json does not name `{read}`: nobody may read that"))
            .collect()
    }
}

/// Reads the table of a bundle, or takes the program's own.
pub(crate) fn parse(data: &Value) -> Result<Arc<Reads>, BundleError> {
    match data.get(ROOT) {
        None => Ok(Reads::of_program()),
        Some(rows) => Ok(Arc::new(Reads {
            rows: of_bundle(rows)?,
            is_own: true,
        })),
    }
}

fn of_bundle(rows: &Value) -> Result<BTreeMap<ReadPermission, Holders>, BundleError> {
    let refused = |permission: &str, reason: &str| BundleError::Reads {
        permission: permission.to_owned(),
        reason: reason.to_owned(),
    };
    let bound = |read: ReadPermission, kind| {
        let reason = "who people are and what they wrote is for people and other systems";
        read.is_barred(kind).then_some(reason)
    };
    let rows =
        table(rows, "permission", bound).map_err(|wrong| refused(&wrong.row, &wrong.reason))?;
    // A workflow that cannot read its ticket stands still, and with it every promise.
    let machinery = rows.get(&ReadPermission::Machinery).unwrap_or(&NOBODY);
    match machinery.include(ActorKind::Workflow, &BTreeSet::new()) {
        true => Ok(rows),
        false => Err(refused(
            &ReadPermission::Machinery.to_string(),
            "the ticket's workflow works by it: add `\"workflow\": [\"any\"]`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(rows: Value) -> Result<Arc<Reads>, BundleError> {
        parse(&json!({ ROOT: rows }))
    }

    #[test]
    fn what_is_misspelt_or_barred_refuses_the_table() {
        let with = |name: &str, kinds: Value| {
            let mut rows = json!({ "machinery": { "workflow": ["any"] } });
            rows[name] = kinds;
            read(rows)
        };
        assert!(
            with(
                "contacts",
                json!({ "person": ["any"], "integration": ["qa"] })
            )
            .is_ok()
        );
        assert!(with("tickets", json!({ "agent": ["any"] })).is_ok());
        assert!(with("tickets", json!({})).is_ok(), "nobody");
        for (name, kinds) in [
            ("ticket", json!({ "person": ["any"] })),
            ("tickets", json!(["any"])),
            ("tickets", json!({ "persons": ["any"] })),
            ("tickets", json!({ "person": [] })),
            ("tickets", json!({ "person": ["dispatch"] })),
            ("contacts", json!({ "agent": ["any"] })),
            ("messages", json!({ "workflow": ["any"] })),
            ("ticket_messages", json!({ "agent": ["dispatcher"] })),
            ("raw_messages", json!({ "workflow": ["tenant_admin"] })),
            ("machinery", json!({ "workflow": ["auditor"] })),
            ("machinery", json!({ "person": ["any"] })),
        ] {
            let refused = with(name, kinds.clone());
            assert!(
                matches!(&refused, Err(BundleError::Reads { permission, .. }) if permission == name),
                "{name} {kinds}: {refused:?}"
            );
        }
        assert!(matches!(read(json!([])), Err(BundleError::Reads { .. })));
        assert!(matches!(read(json!({})), Err(BundleError::Reads { .. })));
    }

    #[test]
    fn what_a_table_does_not_name_nobody_reads_and_its_author_is_told() {
        let own = read(json!({ "machinery": { "workflow": ["any"] } })).unwrap();
        assert_eq!(own.holders(ReadPermission::Tickets), &NOBODY);
        assert_eq!(own.notes().len(), ReadPermission::VARIANTS.len() - 1);
        assert!(own.notes()[0].contains("`tickets`"), "{:?}", own.notes());
        let none = parse(&json!({})).unwrap();
        assert!(Arc::ptr_eq(&none, &Reads::of_program()));
        assert_eq!(none.notes().len(), 1);
    }

    #[test]
    fn the_programs_own_table_names_everything() {
        let own = Reads::of_program();
        for read in ReadPermission::VARIANTS {
            assert_ne!(own.holders(*read), &NOBODY, "{read}");
        }
    }
}
