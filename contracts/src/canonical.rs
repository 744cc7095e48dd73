//! Canonical JSON and its hash.
//!
//! Keys sorted by code point, no white space, numbers as `serde_json` prints them. All our hashed
//! documents hold integers, strings, booleans and arrays only, where this equals RFC 8785 (JCS).

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The canonical text of a document.
///
/// `serde_json`'s map is ordered by key unless a crate in the build turns `preserve_order` on, so
/// the order is made here rather than relied upon.
pub fn canonical_json<T: Serialize>(document: &T) -> serde_json::Result<String> {
    let mut out = String::new();
    write(&serde_json::to_value(document)?, &mut out);
    Ok(out)
}

/// SHA-256 over the canonical text, in lowercase hex.
pub fn canonical_sha256<T: Serialize>(document: &T) -> serde_json::Result<String> {
    Ok(hex::encode(Sha256::digest(
        canonical_json(document)?.as_bytes(),
    )))
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_and_space_do_not_matter() {
        let a: Value = serde_json::from_str(r#"{"b":1,"a":[{"y":2,"x":null}]}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{ "a":[ {"x":null,"y":2} ], "b":1 }"#).unwrap();
        assert_eq!(
            canonical_json(&a).unwrap(),
            r#"{"a":[{"x":null,"y":2}],"b":1}"#
        );
        assert_eq!(canonical_sha256(&a).unwrap(), canonical_sha256(&b).unwrap());
    }

    #[test]
    fn a_changed_value_changes_the_hash() {
        let hash = |n: i64| canonical_sha256(&json!({ "n": n })).unwrap();
        assert_ne!(hash(1), hash(2));
    }
}
