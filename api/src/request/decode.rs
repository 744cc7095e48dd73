//! From a JSON tree to a typed body, with a precise refusal.
//!
//! A body of the wrong *shape* (unknown, missing or wrongly typed member) is `MALFORMED`; a member
//! of the right type whose *value* breaks its rule is `INVALID_FIELD`. `serde_json`'s error would
//! tell the two apart only by its wording, so the tree is read through a deserializer whose error
//! type records which kind serde reported.

use std::fmt;

use contracts::ErrorCode;
use serde::{
    de::{
        self, DeserializeOwned, Deserializer, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::instant;
use crate::problem::Failure;

/// Reads the whole tree.
pub fn decode<T: DeserializeOwned>(tree: &Value) -> Result<T, Failure> {
    if let Some(path) = instant::find_far(tree) {
        let pointer = pointer(&path);
        let detail = format!("A value is not valid: {pointer}: {}.", instant::BODY_RULE);
        return Err(Failure::new(ErrorCode::InvalidField, detail).at(pointer, instant::BODY_RULE));
    }
    let mut track = serde_path_to_error::Track::new();
    T::deserialize(serde_path_to_error::Deserializer::new(
        Tree(tree),
        &mut track,
    ))
    .map_err(|error: DecodeError| error.into_failure(&track.path()))
}

/// RFC 6901.
pub fn pointer<S: AsRef<str>>(path: &[S]) -> String {
    path.iter()
        .map(|step| format!("/{}", step.as_ref().replace('~', "~0").replace('/', "~1")))
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shape,
    Value,
}

#[derive(Debug)]
struct DecodeError {
    kind: Kind,
    message: String,
    /// The member below the place of the error that it is about.
    member: Option<String>,
}

impl DecodeError {
    fn new(kind: Kind, message: String) -> Self {
        Self {
            kind,
            message,
            member: None,
        }
    }

    fn about(member: &str, message: &str) -> Self {
        Self {
            kind: Kind::Shape,
            message: message.to_owned(),
            member: Some(member.to_owned()),
        }
    }

    fn into_failure(self, path: &Path) -> Failure {
        let mut steps: Vec<String> = path
            .iter()
            .filter_map(|segment| match segment {
                Segment::Seq { index } => Some(index.to_string()),
                Segment::Map { key } => Some(key.clone()),
                Segment::Enum { .. } | Segment::Unknown => None,
            })
            .collect();
        if let Some(member) = self.member
            && steps.last() != Some(&member)
        {
            steps.push(member);
        }
        let pointer = pointer(&steps);
        let place = match pointer.as_str() {
            "" => "the body",
            pointer => pointer,
        };
        let (code, detail) = match self.kind {
            Kind::Shape => (
                ErrorCode::Malformed,
                format!(
                    "The body is not of the documented shape: {place}: {}.",
                    self.message
                ),
            ),
            Kind::Value => (
                ErrorCode::InvalidField,
                format!("A value is not valid: {place}: {}.", self.message),
            ),
        };
        Failure::new(code, detail).at(pointer, self.message)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Value, message.to_string())
    }

    fn invalid_type(got: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(
            Kind::Shape,
            format!("expected {expected}, got {}", what(got)),
        )
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Kind::Value, format!("must be {expected}"))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::new(
            Kind::Shape,
            format!("expected {expected}, got {length} items"),
        )
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(
            Kind::Value,
            format!("must be one of {}", expected.join(", ")),
        )
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let known = match expected {
            [] => "none is".to_owned(),
            names => format!("known here: {}", names.join(", ")),
        };
        Self::about(field, &format!("no such member; {known}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::about(field, "is missing")
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::about(field, "is given twice")
    }
}

/// The type of a value, without the value: it may be something private.
fn what(got: Unexpected<'_>) -> &'static str {
    match got {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

/// A number without a fraction is an integer, however it is written: so JSON Schema has it. Beyond
/// 2^53 nobody knows which one is meant.
pub(super) fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// A tree as a source of typed values.
struct Tree<'de>(&'de Value);

impl<'de> IntoDeserializer<'de, DecodeError> for Tree<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Tree<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), ..) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (.., value) => match value.and_then(whole) {
                    Some(value) => visitor.visit_i64(value),
                    None => visitor.visit_f64(value.unwrap_or(f64::NAN)),
                },
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => {
                let mut access = SeqDeserializer::new(items.iter().map(Tree));
                let value = visitor.visit_seq(&mut access)?;
                access.end().map(|()| value)
            }
            Value::Object(members) => {
                let members = members
                    .iter()
                    .map(|(key, value)| (key.as_str(), Tree(value)));
                let mut access = MapDeserializer::new(members);
                let value = visitor.visit_map(&mut access)?;
                access.end().map(|()| value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Object(members) => {
                let members = members
                    .iter()
                    .map(|(key, value)| (key.as_str(), Tree(value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(members)))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::command::*;
    use serde_json::json;

    const SITE: &str = "sit_00000000000000000000000000000001";

    fn refusal<T: DeserializeOwned>(tree: Value) -> (ErrorCode, String) {
        let failure = match decode::<T>(&tree) {
            Ok(_) => panic!("{tree} was accepted"),
            Err(failure) => failure,
        };
        (failure.code(), failure.errors()[0].pointer.clone())
    }

    #[test]
    fn good_bodies_are_read() {
        let body = json!({
            "site_id": SITE, "template": "emergency_glass", "priority": "P1",
            "details": { "panes": 2, "hazard": true, "glass": "laminated" },
            "description": "The pane is cracked.", "asset_id": null,
        });
        let read = decode::<CreateTicket>(&body).unwrap();
        assert_eq!(read, serde_json::from_value(body).unwrap());
        decode::<CheckIn>(&json!({})).unwrap();
        decode::<ProposeSchedule>(&json!({"window":
            {"start": "2026-11-21T08:00:00Z", "end": "2026-11-21T09:00:00+01:00"}}))
        .unwrap();
    }

    #[test]
    fn a_wrong_shape_is_malformed() {
        use ErrorCode::Malformed;
        let create = |extra: Value| {
            let mut body = json!({"site_id": SITE, "template": "emergency_glass"});
            for (key, value) in extra.as_object().unwrap() {
                body[key] = value.clone();
            }
            refusal::<CreateTicket>(body)
        };
        assert_eq!(create(json!({"colour": 1})), (Malformed, "/colour".into()));
        assert_eq!(create(json!({"a/b~": 1})), (Malformed, "/a~1b~0".into()));
        assert_eq!(
            create(json!({"site_id": 7})),
            (Malformed, "/site_id".into())
        );
        assert_eq!(
            create(json!({"details": []})),
            (Malformed, "/details".into())
        );
        assert_eq!(
            create(json!({"priority": 1})),
            (Malformed, "/priority".into())
        );
        assert_eq!(
            refusal::<CreateTicket>(json!({"site_id": SITE})),
            (Malformed, "/template".into())
        );
        assert_eq!(refusal::<Cancel>(json!([])), (Malformed, String::new()));
        assert_eq!(
            refusal::<CheckIn>(json!({"x": 1})),
            (Malformed, "/x".into())
        );
        assert_eq!(
            refusal::<GenerateInvoice>(json!({"lines": [
                {"item": "labour", "quantity": 1, "unit_cents": 1},
                {"item": "labour", "quantity": "2", "unit_cents": 1},
            ]})),
            (Malformed, "/lines/1/quantity".into())
        );
        assert_eq!(
            refusal::<ProposeSchedule>(json!({"window": {"start": "2026-11-21T08:00:00Z"}})),
            (Malformed, "/window/end".into())
        );
    }

    #[test]
    fn a_wrong_value_is_an_invalid_field() {
        use ErrorCode::InvalidField;
        let create = |key: &str, value: Value| {
            let mut body = json!({"site_id": SITE, "template": "emergency_glass"});
            body[key] = value;
            refusal::<CreateTicket>(body)
        };
        assert_eq!(
            create("site_id", json!("tkt_1")),
            (InvalidField, "/site_id".into())
        );
        assert_eq!(
            create("template", json!("Not A Slug")),
            (InvalidField, "/template".into())
        );
        assert_eq!(
            create("priority", json!("P9")),
            (InvalidField, "/priority".into())
        );
        assert_eq!(
            create("description", json!("  ")),
            (InvalidField, "/description".into())
        );
        assert_eq!(
            create("details", json!({"glass": "Not A Slug"})),
            (InvalidField, "/details/glass".into())
        );
        assert_eq!(
            refusal::<EnRoute>(json!({"eta": "soon"})),
            (InvalidField, "/eta".into())
        );
        for quantity in [json!(-1), json!(5_000_000_000_u64)] {
            let line = json!({"item": "labour", "quantity": quantity, "unit_cents": 1});
            assert_eq!(
                refusal::<GenerateInvoice>(json!({"lines": [line]})),
                (InvalidField, "/lines/0/quantity".into())
            );
        }
    }

    #[test]
    fn an_integer_may_be_written_with_a_fraction_of_nothing() {
        let line = |quantity: &str| {
            let text =
                format!(r#"{{"lines":[{{"item":"a","quantity":{quantity},"unit_cents":-1}}]}}"#);
            decode::<GenerateInvoice>(&serde_json::from_str(&text).unwrap())
        };
        assert_eq!(line("3.0").unwrap(), line("3").unwrap());
        assert_eq!(line("3e0").unwrap(), line("3").unwrap());
        for none in ["3.5", "18446744073709551616", "1e300"] {
            assert_eq!(line(none).unwrap_err().code(), ErrorCode::Malformed);
        }
        assert!(whole(9_007_199_254_740_994.0).is_none() && whole(f64::NAN).is_none());
    }

    #[test]
    fn a_refusal_does_not_repeat_what_was_sent() {
        let failure = decode::<Cancel>(&json!({"reason": 31_41_59})).unwrap_err();
        assert!(!failure.errors()[0].message.contains("314159"));
    }
}
