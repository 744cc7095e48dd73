//! What query parameters look like, where that is not the shape of a contract type: told in the
//! document as exactly as `request::Query` reads them.

use std::{borrow::Cow, fmt::Write, marker::PhantomData};

use contracts::event::EventType;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use strum::VariantArray;

/// Values of one type, separated by commas.
#[derive(Debug)]
pub(crate) struct Several<T>(PhantomData<T>);

/// A thing's id or its code.
#[derive(Debug)]
pub(crate) struct CodeOrId<T>(PhantomData<T>);

/// How many rows, at most so many.
#[derive(Debug)]
pub(crate) struct Rows<const MOST: u32>;

/// The name of an event.
#[derive(Debug)]
pub(crate) struct EventName;

/// A text to look for: not blank, and at most so many characters.
#[derive(Debug)]
pub(crate) struct Text<const MOST: usize>;

fn inline(schema: Value) -> Schema {
    schema.try_into().expect("an object is a schema")
}

/// The schema of a type itself, not a reference to it.
fn of<T: JsonSchema>() -> Value {
    T::json_schema(&mut SchemaGenerator::default()).to_value()
}

/// What a pattern says between its anchors.
fn pattern<T: JsonSchema>() -> String {
    let schema = of::<T>();
    let pattern = schema["pattern"].as_str().expect("the type has a pattern");
    let inner = pattern
        .strip_prefix('^')
        .and_then(|rest| rest.strip_suffix('$'));
    inner.expect("it is of the whole text").to_owned()
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Several{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        inline(json!({ "type": "array", "items": one, "minItems": 1 }))
    }
}

impl<T: JsonSchema> JsonSchema for CodeOrId<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrCode", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (id, code) = (pattern::<T>(), pattern::<contracts::Slug>());
        inline(json!({ "type": "string", "pattern": format!("^({id}|{code})$") }))
    }
}

impl<const MOST: u32> JsonSchema for Rows<MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("Rows{MOST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        inline(json!({ "type": "integer", "format": "uint32", "minimum": 1, "maximum": MOST }))
    }
}

impl JsonSchema for EventName {
    fn schema_name() -> Cow<'static, str> {
        "EventName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = EventType::VARIANTS
            .iter()
            .map(|event| event.name())
            .collect();
        inline(json!({ "type": "string", "enum": names }))
    }
}

impl<const MOST: usize> JsonSchema for Text<MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("TextOf{MOST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut blank = String::new();
        for space in ('\0'..=char::MAX).filter(|letter| letter.is_whitespace()) {
            // All of them are in the first plane.
            let _ = write!(blank, "\\u{:04x}", u32::from(space));
        }
        let pattern = format!(r"^[^\u0000]*[^\u0000{blank}][^\u0000]*$");
        inline(json!({
            "type": "string", "minLength": 1, "maxLength": MOST, "pattern": pattern,
        }))
    }
}

/// What fits into a number: types name its width as a format, which limits nothing by itself.
pub(crate) fn bounded(schema: &mut Map<String, Value>) {
    let (least, most): (Value, Value) = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => (u32::MIN.into(), u32::MAX.into()),
        Some("uint64") => (u64::MIN.into(), u64::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64") => (i64::MIN.into(), i64::MAX.into()),
        _ => return,
    };
    schema.entry("minimum").or_insert(least);
    schema.entry("maximum").or_insert(most);
}

/// What no query parameter may be, whatever its type.
pub(crate) fn narrowed(mut schema: Value) -> Value {
    let years = "(19[7-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-";
    let said = schema.get("pattern").is_some() || schema.get("enum").is_some();
    let pattern = match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("date-time" | "date")) => format!("^{years}"),
        // Postgres keeps no NUL.
        (Some("string"), None) if !said => "^[^\\u0000]*$".to_owned(),
        _ => return schema,
    };
    schema["pattern"] = pattern.into();
    schema
}

#[cfg(test)]
mod tests {
    use contracts::{SiteId, TemplateId};

    use super::*;

    #[test]
    fn what_is_read_is_told() {
        assert_eq!(of::<Several<TemplateId>>()["minItems"], 1);
        let id_or_code = of::<CodeOrId<SiteId>>();
        let pattern = id_or_code["pattern"].as_str().unwrap();
        assert!(pattern.starts_with("^(sit_[0-9a-f]{32}|"), "{pattern}");
        assert_eq!(of::<EventName>()["enum"][0], "ticket.created");
        assert_eq!(of::<Rows<200>>()["maximum"], 200);
        let text = of::<Text<100>>();
        let pattern = text["pattern"].as_str().unwrap();
        assert!(
            pattern.starts_with(r"^[^\u0000]*[^\u0000\u0009"),
            "{pattern}"
        );
        assert!(pattern.ends_with(r"\u3000][^\u0000]*$"), "{pattern}");
    }

    #[test]
    fn an_integer_says_how_far_it_goes() {
        let bounds = |schema: Value| {
            let mut schema = schema.as_object().unwrap().clone();
            bounded(&mut schema);
            (
                schema.get("minimum").cloned(),
                schema.get("maximum").cloned(),
            )
        };
        let both = |least: Value, most: Value| (Some(least), Some(most));
        for (schema, expected) in [
            (of::<u32>(), both(0.into(), u32::MAX.into())),
            (of::<Option<u64>>(), both(0.into(), u64::MAX.into())),
            (of::<i64>(), both(i64::MIN.into(), i64::MAX.into())),
            (of::<Rows<200>>(), both(1.into(), 200.into())),
            (of::<String>(), (None, None)),
        ] {
            assert_eq!(bounds(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn what_is_refused_everywhere_is_told() {
        let moment = narrowed(json!({ "type": "string", "format": "date-time" }));
        assert!(moment["pattern"].as_str().unwrap().starts_with("^(19[7-9]"));
        let word = narrowed(json!({ "type": "string", "enum": ["a"] }));
        assert_eq!(word.get("pattern"), None);
        assert_eq!(
            narrowed(json!({ "type": "string" }))["pattern"],
            "^[^\\u0000]*$"
        );
    }
}
