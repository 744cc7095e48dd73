//! Reading JSON text without trust: bounded nesting, no key twice, nothing that Postgres cannot keep.
//!
//! `serde_json` takes the last of two equal keys, so a body could mean one thing to a proxy and
//! another to us; and a string with U+0000 is JSON, but neither `text` nor `jsonb` of Postgres
//! holds one. Both are found here, in the pass that builds the tree, with the place.

use std::fmt;

use contracts::ErrorCode;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::decode::pointer;
use crate::problem::Failure;

/// Reads a document of at most `max_depth` nested arrays and objects.
pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Value, Failure> {
    let mut scan = Scan {
        room: max_depth,
        path: Vec::new(),
        violation: None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = Node(&mut scan).deserialize(&mut deserializer);
    match read.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(error) => Err(match scan.violation {
            Some((code, message)) => Failure::new(code, format!("The body is refused: {message}."))
                .at(pointer(&scan.path), message),
            None => Failure::new(
                ErrorCode::Malformed,
                format!("The body is not JSON: {error}."),
            ),
        }),
    }
}

struct Scan {
    room: usize,
    path: Vec<String>,
    violation: Option<(ErrorCode, String)>,
}

impl Scan {
    fn refuse<E: serde::de::Error>(&mut self, code: ErrorCode, message: impl Into<String>) -> E {
        self.violation = Some((code, message.into()));
        E::custom("refused")
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.room.checked_sub(1) {
            Some(room) => self.room = room,
            None => return Err(self.refuse(ErrorCode::Malformed, "it is nested too deeply")),
        }
        Ok(())
    }

    fn text<E: serde::de::Error>(&mut self, text: String) -> Result<String, E> {
        if text.contains('\0') {
            return Err(self.refuse(ErrorCode::InvalidField, "must not contain U+0000"));
        }
        Ok(text)
    }
}

struct Node<'a>(&'a mut Scan);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.0.text(text.to_owned()).map(Value::String)
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        self.0.text(text).map(Value::String)
    }

    // An error leaves the path as it is: it is where the error is.
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let scan = self.0;
        scan.enter()?;
        let mut items = Vec::new();
        loop {
            scan.path.push(items.len().to_string());
            let item = access.next_element_seed(Node(scan))?;
            scan.path.pop();
            match item {
                Some(item) => items.push(item),
                None => break,
            }
        }
        scan.room += 1;
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let scan = self.0;
        scan.enter()?;
        let mut members = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let key = scan.text::<A::Error>(key)?;
            scan.path.push(key.clone());
            if members.contains_key(&key) {
                return Err(scan.refuse(ErrorCode::Malformed, "the name is given twice"));
            }
            let value = access.next_value_seed(Node(scan))?;
            members.insert(key, value);
            scan.path.pop();
        }
        scan.room += 1;
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(text: &str) -> (ErrorCode, Option<String>) {
        let failure = parse(text.as_bytes(), 4).unwrap_err();
        let pointer = failure.errors().first().map(|error| error.pointer.clone());
        (failure.code(), pointer)
    }

    #[test]
    fn a_document_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x\u00e9"],"b":{"c":{"d":{}}}}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse(text.as_bytes(), 4).unwrap(), expected);
        assert_eq!(parse(b" 7 ", 4).unwrap(), json!(7));
    }

    #[test]
    fn nesting_is_bounded_and_siblings_are_not_nesting() {
        assert!(parse(b"[[[[]]],[[]],{\"a\":[]}]", 4).is_ok());
        assert_eq!(
            refusal(r#"{"a":[0,{"b":[[]]}]}"#),
            (ErrorCode::Malformed, Some("/a/1/b/0".into()))
        );
        let deep = "[".repeat(100_000);
        assert_eq!(refusal(&deep).0, ErrorCode::Malformed);
    }

    #[test]
    fn a_name_is_given_once_per_object() {
        assert_eq!(
            refusal(r#"{"a":{"x/y":1,"x/y":1}}"#),
            (ErrorCode::Malformed, Some("/a/x~1y".into()))
        );
        assert!(parse(br#"{"a":{"x":1},"b":{"x":1}}"#, 4).is_ok());
    }

    #[test]
    fn what_postgres_cannot_keep_is_refused_with_its_place() {
        assert_eq!(
            refusal(r#"{"a":["ok","n\u0000l"]}"#),
            (ErrorCode::InvalidField, Some("/a/1".into()))
        );
        assert_eq!(refusal(r#"{"a\u0000":1}"#).0, ErrorCode::InvalidField);
    }

    #[test]
    fn other_text_is_malformed() {
        for text in [
            "",
            "{",
            "{} {}",
            "{'a':1}",
            "[1,]",
            "nan",
            "1e999",
            r#""\ud800""#,
        ] {
            assert_eq!(refusal(text), (ErrorCode::Malformed, None), "{text}");
        }
        assert_eq!(
            parse(b"\"\xff\"", 4).unwrap_err().code(),
            ErrorCode::Malformed
        );
    }
}
