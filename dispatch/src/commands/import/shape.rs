//! What a row must look like, kind by kind: each column, and what is expected in it.
//!
//! A row is checked here as far as it can be without asking: what is wrong is told with its column,
//! before anything is sent. References stay as they stand in the file until they are looked up.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use chrono::NaiveDate;
use contracts::{
    AssetId, ContactId, FreeText, PeerAddress, Priority, SiteId, Slug, TemplateId,
    read::IdOrCode,
    schedule::{GeoPoint, WorkCalendar},
    value::DetailValue,
};
use serde_json::{Map, Value};
use strum::VariantArray;

use super::{args::Kind, hours};

/// Columns of the details of a ticket begin so.
const DETAILS: &str = "details.";
/// What tickets are called in the system that they come from.
const LONGEST_EXTERNAL_ID: usize = 200;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// In which column; `None`: the whole row.
    pub column: Option<String>,
    /// What, and what is expected.
    pub detail: String,
}

impl Wrong {
    /// In a column.
    pub fn new(column: &str, detail: impl Display) -> Self {
        Self {
            column: Some(column.to_owned()),
            detail: format!("column `{column}`: {detail}"),
        }
    }

    /// The whole row.
    pub fn row(detail: impl Into<String>) -> Self {
        Self {
            column: None,
            detail: detail.into(),
        }
    }
}

/// A row that is well formed.
#[derive(Debug, Clone, PartialEq)]
pub enum Draft {
    Site {
        code: Slug,
        location: GeoPoint,
        active: bool,
    },
    Asset {
        code: Slug,
        site: IdOrCode<SiteId>,
        kind: Slug,
        active: bool,
    },
    Contact {
        code: Slug,
        site: Option<IdOrCode<SiteId>>,
        name: Option<FreeText>,
        phone: Option<PeerAddress>,
        email: Option<PeerAddress>,
        street: Option<FreeText>,
    },
    Technician {
        code: Slug,
        contact: IdOrCode<ContactId>,
        skills: Vec<Slug>,
        home_base: GeoPoint,
        calendar: WorkCalendar,
        active: bool,
    },
    Ticket {
        external_id: String,
        site: IdOrCode<SiteId>,
        asset: Option<IdOrCode<AssetId>>,
        contact: Option<IdOrCode<ContactId>>,
        template: TemplateId,
        priority: Option<Priority>,
        details: BTreeMap<Slug, DetailValue>,
        description: Option<FreeText>,
    },
}

impl Draft {
    /// What the row is called; no other row of the file may be called so.
    pub fn name(&self) -> &str {
        match self {
            Self::Site { code, .. }
            | Self::Asset { code, .. }
            | Self::Contact { code, .. }
            | Self::Technician { code, .. } => code.as_str(),
            Self::Ticket { external_id, .. } => external_id,
        }
    }
}

impl Kind {
    /// The columns, those that must be there first; how many must.
    pub const fn columns(self) -> (&'static [&'static str], usize) {
        match self {
            Self::Sites => (&["code", "lat", "lon", "active"], 3),
            Self::Assets => (&["code", "site", "kind", "active"], 3),
            Self::Contacts => (&["code", "site", "name", "phone", "email", "street"], 1),
            Self::Technicians => (
                &[
                    "code",
                    "contact",
                    "lat",
                    "lon",
                    "time_zone",
                    "hours",
                    "skills",
                    "days_off",
                    "active",
                ],
                6,
            ),
            Self::Tickets => (
                &[
                    "external_id",
                    "site",
                    "template",
                    "asset",
                    "contact",
                    "priority",
                    "description",
                    "details.NAME",
                ],
                3,
            ),
        }
    }

    /// The column that names a row.
    pub const fn name_column(self) -> &'static str {
        self.columns().0[0]
    }

    fn knows(self, column: &str) -> bool {
        let detail = self == Self::Tickets
            && column
                .strip_prefix(DETAILS)
                .is_some_and(|name| !name.is_empty());
        detail || self.columns().0.contains(&column)
    }

    /// Checks the header of a file.
    pub fn check_header(self, headers: &[String]) -> Result<(), String> {
        let (columns, needed) = self.columns();
        let all = columns.join(", ");
        for (index, header) in headers.iter().enumerate() {
            if !self.knows(header) {
                let nearest = columns
                    .iter()
                    .filter(|known| !headers.iter().any(|header| header == *known))
                    .map(|known| (strsim::damerau_levenshtein(known, header), known))
                    .min()
                    .filter(|(distance, _)| *distance <= 3)
                    .map_or_else(String::new, |(_, known)| {
                        format!(", did you mean `{known}`?")
                    });
                return Err(format!(
                    "there is no column `{header}`{nearest}; there are: {all}"
                ));
            }
            if headers[..index].contains(header) {
                return Err(format!("column `{header}` stands there twice"));
            }
        }
        let missing: Vec<_> = columns[..needed]
            .iter()
            .filter(|column| !headers.iter().any(|header| header == *column))
            .map(|column| format!("`{column}`"))
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "missing in the header: {}; columns: {all}",
                missing.join(", ")
            )),
        }
    }

    /// Reads a row.
    pub fn read(self, record: &Map<String, Value>) -> Result<Draft, Wrong> {
        if let Some(unknown) = record.keys().find(|column| !self.knows(column)) {
            let all = self.columns().0.join(", ");
            return Err(Wrong::new(
                unknown,
                format!("there is none; there are: {all}"),
            ));
        }
        let row = Columns(record);
        match self {
            Self::Sites => Ok(Draft::Site {
                code: row.needed("code")?,
                location: row.location()?,
                active: row.active()?,
            }),
            Self::Assets => Ok(Draft::Asset {
                code: row.needed("code")?,
                site: row.reference("site")?.ok_or_else(|| missing("site"))?,
                kind: row.needed("kind")?,
                active: row.active()?,
            }),
            Self::Contacts => Ok(Draft::Contact {
                code: row.needed("code")?,
                site: row.reference("site")?,
                name: row.parsed("name")?,
                phone: row.parsed("phone")?,
                email: row.parsed("email")?,
                street: row.parsed("street")?,
            }),
            Self::Technicians => Ok(Draft::Technician {
                code: row.needed("code")?,
                contact: row
                    .reference("contact")?
                    .ok_or_else(|| missing("contact"))?,
                skills: row.list("skills")?,
                home_base: row.location()?,
                calendar: row.calendar()?,
                active: row.active()?,
            }),
            Self::Tickets => Ok(Draft::Ticket {
                external_id: row.external_id()?,
                site: row.reference("site")?.ok_or_else(|| missing("site"))?,
                asset: row.reference("asset")?,
                contact: row.reference("contact")?,
                template: row.needed("template")?,
                priority: row.priority()?,
                details: row.details()?,
                description: row.parsed("description")?,
            }),
        }
    }
}

fn missing(column: &str) -> Wrong {
    Wrong::new(column, "is missing")
}

/// The columns of one row.
struct Columns<'a>(&'a Map<String, Value>);

impl Columns<'_> {
    /// The text of a column; numbers and flags of JSON are text here like in a CSV file.
    fn text(&self, column: &str) -> Result<Option<String>, Wrong> {
        match self.0.get(column) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(flag)) => Ok(Some(flag.to_string())),
            Some(Value::Array(_) | Value::Object(_)) => Err(Wrong::new(
                column,
                "expected one value, not a list or an object",
            )),
        }
    }

    fn parsed<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, Wrong> {
        let Some(text) = self.text(column)? else {
            return Ok(None);
        };
        let parsed = text.parse().map_err(|error| {
            let shown: String = text.chars().take(40).collect();
            Wrong::new(column, format!("`{shown}` {error}"))
        })?;
        Ok(Some(parsed))
    }

    fn needed<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, Wrong> {
        self.parsed(column)?.ok_or_else(|| missing(column))
    }

    fn reference<I>(&self, column: &str) -> Result<Option<IdOrCode<I>>, Wrong>
    where
        IdOrCode<I>: FromStr<Err: Display>,
    {
        let Some(text) = self.text(column)? else {
            return Ok(None);
        };
        let parsed = text.parse().map_err(|error| {
            Wrong::new(
                column,
                format!("expected a code (a-z, 0-9, _) or an id: {error}"),
            )
        })?;
        Ok(Some(parsed))
    }

    fn active(&self) -> Result<bool, Wrong> {
        let Some(text) = self.text("active")? else {
            return Ok(true);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" => Ok(false),
            _ => Err(Wrong::new(
                "active",
                format!("`{text}` is neither true nor false"),
            )),
        }
    }

    fn location(&self) -> Result<GeoPoint, Wrong> {
        Ok(GeoPoint {
            lat_e6: self.degrees("lat", 90)?,
            lon_e6: self.degrees("lon", 180)?,
        })
    }

    /// Degrees with a decimal point; up to six decimals count.
    fn degrees(&self, column: &str, most: i32) -> Result<i32, Wrong> {
        let text = self.text(column)?.ok_or_else(|| missing(column))?;
        let wrong = || {
            Wrong::new(
                column,
                format!("`{text}` is no number of degrees from -{most} to {most}, such as 52.3702"),
            )
        };
        let (negative, plain) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let (whole, decimals) = plain.split_once('.').unwrap_or((plain, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || !digits(whole) || !digits(decimals) {
            return Err(wrong());
        }
        let decimals: String = decimals.chars().chain("000000".chars()).take(6).collect();
        let e6: i32 = format!("{whole}{decimals}").parse().map_err(|_| wrong())?;
        match e6 <= most * 1_000_000 {
            true => Ok(if negative { -e6 } else { e6 }),
            false => Err(wrong()),
        }
    }

    /// A list: `a;b;c`, or one of JSON.
    fn list<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Vec<T>, Wrong> {
        let texts: Vec<String> = match self.0.get(column) {
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| {
                    let text = item.as_str().map(|text| text.trim().to_owned());
                    text.ok_or_else(|| Wrong::new(column, "expected a list of words"))
                })
                .collect::<Result<_, _>>()?,
            _ => self
                .text(column)?
                .unwrap_or_default()
                .split(';')
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
                .collect(),
        };
        texts
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|error| Wrong::new(column, format!("`{text}` {error}")))
            })
            .collect()
    }

    fn calendar(&self) -> Result<WorkCalendar, Wrong> {
        let hours = self.text("hours")?.ok_or_else(|| missing("hours"))?;
        let time_zone = self
            .text("time_zone")?
            .ok_or_else(|| missing("time_zone"))?;
        let calendar = WorkCalendar {
            week: hours::parse(&hours).map_err(|error| Wrong::new("hours", error))?,
            days_off: self.list::<NaiveDate>("days_off")?,
            time_zone,
        };
        hours::check(&calendar).map_err(|error| Wrong::new("time_zone", error))?;
        Ok(calendar)
    }

    fn external_id(&self) -> Result<String, Wrong> {
        const COLUMN: &str = "external_id";
        let id = self.text(COLUMN)?.ok_or_else(|| missing(COLUMN))?;
        match id.chars().count() <= LONGEST_EXTERNAL_ID {
            true => Ok(id),
            false => Err(Wrong::new(
                COLUMN,
                format!("is longer than {LONGEST_EXTERNAL_ID} characters"),
            )),
        }
    }

    fn priority(&self) -> Result<Option<Priority>, Wrong> {
        let Some(text) = self.text("priority")? else {
            return Ok(None);
        };
        text.to_ascii_uppercase().parse().map(Some).map_err(|_| {
            let all: Vec<_> = Priority::VARIANTS.iter().map(ToString::to_string).collect();
            Wrong::new(
                "priority",
                format!("`{text}` is none of {}", all.join(", ")),
            )
        })
    }

    fn details(&self) -> Result<BTreeMap<Slug, DetailValue>, Wrong> {
        let mut details = BTreeMap::new();
        for column in self.0.keys() {
            let Some(name) = column.strip_prefix(DETAILS) else {
                continue;
            };
            let Some(text) = self.text(column)? else {
                continue;
            };
            let name = name
                .parse()
                .map_err(|error| Wrong::new(column, format!("the name of a detail {error}")))?;
            let value = match text.as_str() {
                "true" => DetailValue::Flag(true),
                "false" => DetailValue::Flag(false),
                text => match text.parse() {
                    Ok(number) => DetailValue::Number(number),
                    Err(_) => DetailValue::Word(text.parse().map_err(|_| {
                        Wrong::new(
                            column,
                            "must be true or false, a whole number, or a word (a-z, 0-9, _)",
                        )
                    })?),
                },
            };
            details.insert(name, value);
        }
        Ok(details)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: Kind, row: Value) -> Result<Draft, Wrong> {
        let Value::Object(record) = row else {
            panic!("no row: {row}");
        };
        kind.read(&record)
    }

    fn wrong(kind: Kind, row: Value) -> Wrong {
        read(kind, row).unwrap_err()
    }

    #[test]
    fn degrees_become_millionths_without_rounding() {
        let at = |lat: &str, lon: &str| {
            read(Kind::Sites, json!({"code": "a", "lat": lat, "lon": lon})).map(|draft| match draft
            {
                Draft::Site { location, .. } => (location.lat_e6, location.lon_e6),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(at("52.3702", "-4.8952"), Ok((52_370_200, -4_895_200)));
        assert_eq!(at("-90", "180.000000"), Ok((-90_000_000, 180_000_000)));
        assert_eq!(at("0.0000019", "0"), Ok((1, 0)));
        for (lat, lon, column) in [
            ("90.000001", "0", "lat"),
            ("0", "181", "lon"),
            ("52,37", "0", "lat"),
            ("north", "0", "lat"),
            ("", "0", "lat"),
            ("--1", "0", "lat"),
            ("1e3", "0", "lat"),
        ] {
            let wrong = at(lat, lon).unwrap_err();
            assert_eq!(wrong.column.as_deref(), Some(column), "{lat} {lon}");
        }
    }

    #[test]
    fn a_wrong_column_is_named_with_what_is_expected() {
        for (kind, row, column, told) in [
            (
                Kind::Sites,
                json!({"code": "Canal House", "lat": "1", "lon": "1"}),
                "code",
                "a-z, 0-9 or _",
            ),
            (
                Kind::Sites,
                json!({"lat": "1", "lon": "1"}),
                "code",
                "missing",
            ),
            (
                Kind::Sites,
                json!({"code": "a", "lat": "1", "lon": "1", "active": "maybe"}),
                "active",
                "neither true nor false",
            ),
            (
                Kind::Sites,
                json!({"code": "a", "lat": "1", "lon": "1", "colour": "red"}),
                "colour",
                "there are: code, lat, lon, active",
            ),
            (
                Kind::Assets,
                json!({"code": "a", "site": "Canal House", "kind": "door"}),
                "site",
                "expected a code",
            ),
            (
                Kind::Tickets,
                json!({"external_id": "1", "site": "a", "template": "t", "priority": "P9"}),
                "priority",
                "P1, P2, P3, P4",
            ),
            (
                Kind::Tickets,
                json!({"external_id": "1", "site": "a", "template": "t", "details.x": "Anna Jansen"}),
                "details.x",
                "a whole number",
            ),
            (
                Kind::Technicians,
                json!({"code": "a", "contact": "c", "lat": 1, "lon": 1, "skills": "glazing;Big",
                       "time_zone": "Europe/Amsterdam", "hours": "always"}),
                "skills",
                "`Big`",
            ),
            (
                Kind::Technicians,
                json!({"code": "a", "contact": "c", "lat": 1, "lon": 1,
                       "time_zone": "Mars/Olympus", "hours": "always"}),
                "time_zone",
                "Mars/Olympus",
            ),
        ] {
            let wrong = wrong(kind, row);
            assert_eq!(wrong.column.as_deref(), Some(column), "{wrong:?}");
            assert!(wrong.detail.contains(told), "{wrong:?}");
        }
    }

    #[test]
    fn csv_and_json_rows_mean_the_same() {
        let csv = json!({"code": "jip", "contact": "jip", "lat": "52.1", "lon": "4.9",
            "skills": "glazing; door_repair", "time_zone": "Europe/Amsterdam",
            "hours": "mon-fri 08:00-17:00", "days_off": "2026-12-25;2026-12-26", "active": "no"});
        let jsonl = json!({"code": "jip", "contact": "jip", "lat": 52.1, "lon": 4.9,
            "skills": ["glazing", "door_repair"], "time_zone": "Europe/Amsterdam",
            "hours": "mon-fri 08:00-17:00", "days_off": ["2026-12-25", "2026-12-26"],
            "active": false});
        let draft = read(Kind::Technicians, csv).unwrap();
        assert_eq!(draft, read(Kind::Technicians, jsonl).unwrap());
        assert_eq!(draft.name(), "jip");

        let csv = json!({"external_id": "A-1", "site": "canal", "template": "emergency_glass",
            "priority": "p1", "details.pane_count": "2", "details.public_hazard": "true",
            "details.glass": "laminated"});
        let jsonl = json!({"external_id": "A-1", "site": "canal", "template": "emergency_glass",
            "priority": "P1", "details.pane_count": 2, "details.public_hazard": true,
            "details.glass": "laminated"});
        let draft = read(Kind::Tickets, csv).unwrap();
        assert_eq!(draft, read(Kind::Tickets, jsonl).unwrap());
        let Draft::Ticket { details, .. } = draft else {
            panic!("no ticket");
        };
        assert_eq!(
            details["pane_count".parse::<Slug>().as_ref().unwrap()],
            DetailValue::Number(2)
        );
    }

    #[test]
    fn a_header_is_checked_before_any_row() {
        let check = |kind: Kind, header: &str| {
            let header: Vec<_> = header.split(',').map(str::to_owned).collect();
            kind.check_header(&header)
        };
        assert_eq!(check(Kind::Sites, "lon,lat,code"), Ok(()));
        assert_eq!(
            check(
                Kind::Tickets,
                "external_id,site,template,details.pane_count"
            ),
            Ok(())
        );
        for (header, told) in [
            ("code,lat", "missing in the header: `lon`"),
            ("code,lat,lng", "no column `lng`, did you mean `lon`?"),
            ("code,lat,lon,details.x", "no column `details.x`"),
            ("code,lat,lon,lat", "`lat` stands there twice"),
        ] {
            let error = check(Kind::Sites, header).unwrap_err();
            assert!(error.contains(told), "{header}: {error}");
        }
    }
}
