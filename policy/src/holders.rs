//! Who has a permission: kind of actor → roles. `data.roles` and `data.reads` are tables of this.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use contracts::{ActorKind, Role};
use serde_json::Value;

/// In place of a role: none is needed.
const ANY: &str = "any";

/// Who has one permission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders(BTreeMap<ActorKind, Held>);

/// Which callers of one kind have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Each, whatever their roles.
    Anybody,
    /// Those with one of these roles.
    Roles(BTreeSet<Role>),
}

/// Nobody has it.
pub(crate) static NOBODY: Holders = Holders(BTreeMap::new());

impl Holders {
    /// Whether a caller of this kind with these roles is one of them.
    pub fn include(&self, kind: ActorKind, roles: &BTreeSet<Role>) -> bool {
        match self.0.get(&kind) {
            None => false,
            Some(Held::Anybody) => true,
            Some(Held::Roles(may)) => !may.is_disjoint(roles),
        }
    }

    /// Which callers of this kind.
    pub fn of(&self, kind: ActorKind) -> Option<&Held> {
        self.0.get(&kind)
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        // Kinds with the same roles are told together: the text is read by somebody who was refused.
        let mut told = Vec::<(&Held, Vec<String>)>::new();
        for (kind, held) in &self.0 {
            match told.iter_mut().find(|(same, _)| *same == held) {
                Some((_, kinds)) => kinds.push(kind.to_string()),
                None => told.push((held, vec![kind.to_string()])),
            }
        }
        for (index, (held, kinds)) in told.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            match held {
                Held::Anybody => write!(f, "any {}", listed(kinds))?,
                Held::Roles(roles) => {
                    let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
                    write!(f, "{} with role {}", listed(kinds), listed(&roles))?;
                }
            }
        }
        Ok(())
    }
}

/// `a`, `a or b`, `a, b or c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [word] => word.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What is wrong with a table.
pub(crate) struct Wrong {
    /// The row, `*` for the table itself.
    pub row: String,
    pub reason: String,
}

/// Reads a table. `what` is what a row is about; `bound` says why a kind may not have it, if so.
pub(crate) fn table<P: FromStr + Ord + Copy>(
    value: &Value,
    what: &str,
    bound: impl Fn(P, ActorKind) -> Option<&'static str>,
) -> Result<BTreeMap<P, Holders>, Wrong> {
    let rows = value
        .as_object()
        .ok_or_else(|| wrong("*", "the table must be an object"))?;
    let mut read = BTreeMap::new();
    for (name, kinds) in rows {
        let Ok(row) = name.parse::<P>() else {
            return Err(wrong(name, format!("there is no such {what}")));
        };
        let Some(kinds) = kinds.as_object() else {
            return Err(wrong(name, "must be an object of kinds"));
        };
        let mut holders = BTreeMap::new();
        for (kind, roles) in kinds {
            let Ok(known) = kind.parse::<ActorKind>() else {
                return Err(wrong(name, format!("`{kind}` is no kind of actor")));
            };
            if let Some(reason) = bound(row, known) {
                return Err(wrong(name, format!("{reason}, not for `{kind}`")));
            }
            let held = held(kind, roles).map_err(|reason| wrong(name, reason))?;
            holders.insert(known, held);
        }
        read.insert(row, Holders(holders));
    }
    Ok(read)
}

fn held(kind: &str, roles: &Value) -> Result<Held, String> {
    let Some(roles) = roles.as_array().filter(|roles| !roles.is_empty()) else {
        return Err(format!("`{kind}` needs a list of roles, or [\"any\"]"));
    };
    let mut known = BTreeSet::new();
    let mut anybody = false;
    for role in roles {
        match role.as_str().map(|name| (name, name.parse())) {
            Some((ANY, _)) => anybody = true,
            Some((_, Ok(role))) => {
                known.insert(role);
            }
            _ => return Err(format!("{role} is no role")),
        }
    }
    Ok(match anybody {
        true => Held::Anybody,
        false => Held::Roles(known),
    })
}

fn wrong(row: &str, reason: impl Into<String>) -> Wrong {
    Wrong {
        row: row.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use contracts::ReadPermission;
    use serde_json::json;

    use super::*;

    fn holders(kinds: &Value) -> Holders {
        let rows = table::<ReadPermission>(&json!({ "tickets": kinds }), "permission", |_, _| None);
        rows.ok()
            .and_then(|mut rows| rows.remove(&ReadPermission::Tickets))
            .unwrap()
    }

    #[test]
    fn one_of_the_roles_is_enough_and_another_kinds_is_not() {
        let some = holders(&json!({
            "person": ["qa", "billing"], "integration": ["tenant_admin"], "agent": ["any"],
        }));
        let may = |kind, roles: &[Role]| some.include(kind, &roles.iter().copied().collect());
        assert!(may(ActorKind::Person, &[Role::Auditor, Role::Billing]));
        assert!(!may(ActorKind::Person, &[Role::Auditor]));
        assert!(!may(ActorKind::Person, &[]));
        assert!(!may(ActorKind::Integration, &[Role::Billing]));
        assert!(may(ActorKind::Agent, &[]));
        assert!(!may(ActorKind::Workflow, &[Role::Billing]));
    }

    #[test]
    fn who_has_it_is_told_in_words() {
        for (kinds, words) in [
            (json!({}), "nobody"),
            (json!({ "workflow": ["any"] }), "any workflow"),
            (
                json!({ "person": ["qa"], "agent": ["qa"], "workflow": ["any"] }),
                "person or agent with role qa; any workflow",
            ),
            (
                json!({ "person": ["tenant_admin", "dispatcher", "qa"] }),
                "person with role dispatcher, qa or tenant_admin",
            ),
        ] {
            assert_eq!(holders(&kinds).to_string(), words);
        }
    }
}
