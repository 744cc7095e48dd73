//! JSON in the one form over which OPA takes the digest of a file: keys sorted, no white space,
//! numbers as they are written, strings as Go's encoder escapes them. So a signature made here is
//! good there, and the other way round.

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};

/// The canonical form of a JSON document.
pub(crate) fn canonical(text: &str) -> Result<String, serde_json::Error> {
    // Bounds the depth, which a raw value does not.
    serde_json::from_str::<Value>(text)?;
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
    fn what_is_no_json_or_too_deep_is_refused() {
        for bad in ["", "{", "[1,]", "{} {}", r#""\ud800""#] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
        assert!(canonical(&"[".repeat(100_000)).is_err());
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(canonical(&deep).is_err());
    }
}
