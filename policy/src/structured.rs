//! JSON in the one form over which OPA takes the digest of a file: keys sorted, no white space,
//! numbers as they are written, strings as Go's encoder escapes them. So a signature made here is
//! good there, and the other way round.
//!
//! JSON lets a name stand twice in one object, and its readers take the last one while people see the
//! first. Here that is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Any JSON in whose objects each name stands once; read for that alone.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            map.next_value::<Self>()?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format_args!(
                    "`{name}` stands there twice"
                )));
            }
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

/// Refuses a document in which a name stands twice in one object.
pub(crate) fn check_names(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str(text).map(|Unambiguous| ())
}

/// The canonical form of a JSON document.
pub(crate) fn canonical(text: &str) -> Result<String, serde_json::Error> {
    // Bounds the depth, too, which a raw value does not.
    check_names(text)?;
    let mut out = String::with_capacity(text.len());
    write(serde_json::from_str(text)?, &mut out)?;
    Ok(out)
}

fn write(value: &RawValue, out: &mut String) -> Result<(), serde_json::Error> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            out.push('{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&quoted(&key)?);
                out.push(':');
                write(value, out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            out.push('[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Some(b'"') => out.push_str(&quoted(&serde_json::from_str::<String>(text)?)?),
        _ => out.push_str(text),
    }
    Ok(())
}

fn quoted(text: &str) -> Result<String, serde_json::Error> {
    let quoted = serde_json::to_string(text)?;
    Ok(quoted
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_and_order_carry_no_meaning() {
        let one =
            canonical("{\"b\": [1, 2.50, 1e3],\n \"a\": {\"y\": null, \"x\": true}}").unwrap();
        assert_eq!(one, r#"{"a":{"x":true,"y":null},"b":[1,2.50,1e3]}"#);
        assert_eq!(canonical(&one).unwrap(), one);
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let text = r#""A\/<&>\u0007\b\f\n\u007f\u2028é""#;
        assert_eq!(
            canonical(text).unwrap(),
            "\"A/<&>\\u0007\\b\\f\\n\u{7f}\\u2028é\""
        );
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_where_it_does() {
        let text = "{\"a\": 1,\n \"b\": [{\"c\": -1.5, \"d\": null, \"c\": \"x\"}]}";
        let error = canonical(text).unwrap_err().to_string();
        assert!(
            error.starts_with("`c` stands there twice at line 2"),
            "{error}"
        );
        assert!(check_names(r#"{"a": {"b": true}, "b": [{"a": 1}, {"a": 2}]}"#).is_ok());
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        for bad in ["", "{", "[1,]", "{} {}", r#""\ud800""#] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
        assert!(canonical(&"[".repeat(100_000)).is_err());
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(canonical(&deep).is_err());
    }
}
