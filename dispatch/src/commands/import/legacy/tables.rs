//! What a row of the old system becomes: the columns of the import of its kind.
//!
//! The old system had one customer and no tenants: its tables are `sites`, `contacts`, `assets`,
//! `technicians` and `tickets`, by number. A number becomes a code (`legacy_17`) or, for a ticket, its
//! external id, so that the same row is the same thing in every run. What has no place here is left
//! where it is and told.

use serde_json::{Map, Value};

use super::super::args::Kind;

/// What becomes of a row.
#[derive(Debug, PartialEq)]
pub enum Taken {
    /// These, in this order.
    As(Vec<(Kind, Map<String, Value>)>),
    /// Nothing, and that is right.
    Skipped(&'static str),
}

/// A table of the old system.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns that are taken; others are left.
    pub columns: &'static [&'static str],
    read: fn(&Old<'_>) -> Result<Taken, String>,
}

/// Those that are taken, each after what it refers to.
pub const TABLES: &[Table] = &[
    Table {
        name: "sites",
        columns: &["id", "tenant_id", "lat", "lon", "active"],
        read: site,
    },
    Table {
        name: "contacts",
        columns: &[
            "id",
            "tenant_id",
            "site_id",
            "name",
            "phone",
            "email",
            "street",
        ],
        read: contact,
    },
    Table {
        name: "assets",
        columns: &["id", "tenant_id", "site_id", "kind", "active"],
        read: asset,
    },
    Table {
        name: "technicians",
        columns: &[
            "id",
            "tenant_id",
            "name",
            "phone",
            "email",
            "skills",
            "home_lat",
            "home_lon",
            "time_zone",
            "working_hours",
            "active",
        ],
        read: technician,
    },
    Table {
        name: "tickets",
        columns: &[
            "id",
            "tenant_id",
            "state",
            "site_id",
            "contact_id",
            "asset_id",
            "template",
            "priority",
            "description",
            "details",
        ],
        read: ticket,
    },
];

/// States of the old system whose work is still to be done.
const OPEN: &[&str] = &[
    "NEW",
    "TRIAGED",
    "SCHEDULE_PROPOSED",
    "SCHEDULED",
    "DISPATCHED",
    "ON_SITE",
    "CHANGE_REQUESTED",
    "RETURN_PENDING",
];
/// And those whose work is done, or never will be.
const ENDED: &[&str] = &[
    "WORK_COMPLETE",
    "VERIFIED",
    "INVOICED",
    "CLOSED",
    "CANCELLED",
];

impl Table {
    /// What becomes of this row.
    pub fn take(&self, record: &Map<String, Value>) -> Result<Taken, String> {
        if record.contains_key("tenant_id") {
            return Ok(Taken::Skipped("has a tenant already"));
        }
        (self.read)(&Old(record))
    }
}

/// A row of the old system.
struct Old<'a>(&'a Map<String, Value>);

impl Old<'_> {
    fn text(&self, column: &str) -> Option<&str> {
        self.0.get(column)?.as_str()
    }

    fn id(&self) -> Result<String, String> {
        let id = self.text("id").ok_or("has no id")?;
        code(id)
    }

    /// The code of what another column refers to.
    fn reference(&self, column: &str) -> Result<Option<Value>, String> {
        let code = self.text(column).map(code).transpose()?;
        Ok(code.map(Value::from))
    }

    /// The values of these columns under their new names, where they are set.
    fn same(&self, names: &[(&str, &str)]) -> Map<String, Value> {
        names
            .iter()
            .filter_map(|(old, new)| Some(((*new).to_owned(), self.text(old)?.into())))
            .collect()
    }
}

/// Postgres writes flags as one letter.
fn flag(record: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = record.get_mut("active") {
        match text.as_str() {
            "t" => "true".clone_into(text),
            "f" => "false".clone_into(text),
            _ => {}
        }
    }
}

/// Numbers and UUIDs, as a code.
fn code(id: &str) -> Result<String, String> {
    let plain: String = id
        .trim()
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    match !plain.is_empty() && plain.chars().all(|c| c.is_ascii_alphanumeric()) {
        true => Ok(format!("legacy_{plain}")),
        false => Err(format!("id `{id}` is neither a number nor a UUID")),
    }
}

fn site(row: &Old<'_>) -> Result<Taken, String> {
    let mut record = row.same(&[("lat", "lat"), ("lon", "lon"), ("active", "active")]);
    flag(&mut record);
    record.insert("code".to_owned(), row.id()?.into());
    Ok(Taken::As(vec![(Kind::Sites, record)]))
}

fn contact(row: &Old<'_>) -> Result<Taken, String> {
    let mut record = row.same(&[
        ("name", "name"),
        ("phone", "phone"),
        ("email", "email"),
        ("street", "street"),
    ]);
    record.insert("code".to_owned(), row.id()?.into());
    record.extend(
        row.reference("site_id")?
            .map(|site| ("site".to_owned(), site)),
    );
    Ok(Taken::As(vec![(Kind::Contacts, record)]))
}

fn asset(row: &Old<'_>) -> Result<Taken, String> {
    let mut record = row.same(&[("active", "active")]);
    flag(&mut record);
    record.insert("code".to_owned(), row.id()?.into());
    record.extend(
        row.reference("site_id")?
            .map(|site| ("site".to_owned(), site)),
    );
    record.extend(
        row.text("kind")
            .map(|kind| ("kind".to_owned(), word(kind).into())),
    );
    Ok(Taken::As(vec![(Kind::Assets, record)]))
}

/// A technician, and the contact that has their name and numbers.
fn technician(row: &Old<'_>) -> Result<Taken, String> {
    let id = row.id()?;
    let own = format!("{id}_technician");
    let mut contact = row.same(&[("name", "name"), ("phone", "phone"), ("email", "email")]);
    contact.insert("code".to_owned(), own.clone().into());
    let mut record = row.same(&[
        ("home_lat", "lat"),
        ("home_lon", "lon"),
        ("time_zone", "time_zone"),
        ("working_hours", "hours"),
        ("active", "active"),
    ]);
    flag(&mut record);
    // An array, as Postgres writes it.
    let skills = row.text("skills").unwrap_or_default();
    let skills: Vec<_> = skills
        .trim_matches(['{', '}'])
        .split(',')
        .filter(|skill| !skill.trim().is_empty())
        .map(|skill| Value::from(word(skill.trim_matches('"'))))
        .collect();
    record.insert("skills".to_owned(), skills.into());
    record.insert("code".to_owned(), id.into());
    record.insert("contact".to_owned(), own.into());
    Ok(Taken::As(vec![
        (Kind::Contacts, contact),
        (Kind::Technicians, record),
    ]))
}

/// A ticket begins anew: what was planned is planned again here, and no command says otherwise.
fn ticket(row: &Old<'_>) -> Result<Taken, String> {
    let number = row.text("id").ok_or("has no id")?;
    let state = row.text("state").unwrap_or("NEW");
    if ENDED.contains(&state) {
        return Ok(Taken::Skipped(
            "has ended: its record stays in the old system",
        ));
    }
    if !OPEN.contains(&state) {
        return Err(format!(
            "state `{state}` is none of {}, {}",
            OPEN.join(", "),
            ENDED.join(", ")
        ));
    }
    let mut record = row.same(&[("template", "template"), ("priority", "priority")]);
    record.insert("external_id".to_owned(), format!("legacy/{number}").into());
    for (old, new) in [
        ("site_id", "site"),
        ("contact_id", "contact"),
        ("asset_id", "asset"),
    ] {
        record.extend(row.reference(old)?.map(|code| (new.to_owned(), code)));
    }
    let said = row.text("description").unwrap_or_default();
    record.insert(
        "description".to_owned(),
        format!("Ticket {number} of the old system, where it was {state}.\n{said}")
            .trim_end()
            .into(),
    );
    if let Some(details) = row.text("details") {
        let details: Map<String, Value> = serde_json::from_str(details)
            .map_err(|error| format!("column `details` is no JSON object: {error}"))?;
        for (name, value) in details {
            record.insert(format!("details.{name}"), value);
        }
    }
    Ok(Taken::As(vec![(Kind::Tickets, record)]))
}

/// A word as codes are written.
fn word(text: &str) -> String {
    let mut word = String::new();
    for c in text.trim().chars() {
        match c.is_ascii_alphanumeric() {
            true => word.push(c.to_ascii_lowercase()),
            false if !word.is_empty() && !word.ends_with('_') => word.push('_'),
            false => {}
        }
    }
    word.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn take(table: &str, record: Value) -> Result<Taken, String> {
        let table = TABLES.iter().find(|known| known.name == table).unwrap();
        table.take(record.as_object().unwrap())
    }

    fn taken(table: &str, record: Value) -> Vec<(Kind, Value)> {
        match take(table, record) {
            Ok(Taken::As(records)) => records
                .into_iter()
                .map(|(kind, record)| (kind, record.into()))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_become_codes() {
        assert_eq!(code("17").unwrap(), "legacy_17");
        assert_eq!(code("A0EE-bc99").unwrap(), "legacy_a0eebc99");
        assert!(code("a b").is_err() && code("").is_err());
        assert_eq!(word(" Shopfront Pane (left)"), "shopfront_pane_left");
    }

    #[test]
    fn a_site_is_a_place() {
        let record =
            json!({"id": "1", "name": "Harbour", "lat": "52.3", "lon": "4.9", "active": "f"});
        assert_eq!(
            taken("sites", record),
            [(
                Kind::Sites,
                json!({"code": "legacy_1", "lat": "52.3", "lon": "4.9", "active": "false"})
            )]
        );
    }

    #[test]
    fn a_technician_has_a_contact_of_their_own() {
        let record = json!({"id": "7", "name": "T", "phone": "1", "skills": "{Glazing,\"door repair\"}",
            "home_lat": "52", "home_lon": "4", "time_zone": "UTC", "working_hours": "always"});
        let all = taken("technicians", record);
        assert_eq!(all[0].0, Kind::Contacts);
        assert_eq!(all[0].1["code"], "legacy_7_technician");
        assert_eq!(all[1].1["contact"], "legacy_7_technician");
        assert_eq!(all[1].1["skills"], json!(["glazing", "door_repair"]));
    }

    #[test]
    fn an_open_ticket_begins_anew_and_an_ended_one_stays() {
        let ticket = |state: &str| {
            json!({"id": "9", "state": state, "site_id": "1", "template": "emergency_glass",
                "description": "broken", "details": "{\"pane_count\": 2}"})
        };
        let all = taken("tickets", ticket("SCHEDULED"));
        assert_eq!(all[0].1["external_id"], "legacy/9");
        assert_eq!(all[0].1["site"], "legacy_1");
        assert_eq!(all[0].1["details.pane_count"], 2);
        let said = all[0].1["description"].as_str().unwrap();
        assert!(said.contains("it was SCHEDULED.\nbroken"), "{said}");
        assert!(matches!(
            take("tickets", ticket("CLOSED")),
            Ok(Taken::Skipped(why)) if why.contains("ended")
        ));
        assert!(
            take("tickets", ticket("LOST"))
                .unwrap_err()
                .contains("`LOST`")
        );
    }

    #[test]
    fn a_row_that_has_a_tenant_is_not_the_defaults() {
        let record = json!({"id": "1", "tenant_id": "5", "lat": "1", "lon": "1"});
        assert_eq!(
            take("sites", record),
            Ok(Taken::Skipped("has a tenant already"))
        );
    }
}
