//! Whether a value fits a schema of the API's document: JSON Schema 2020-12 as far as our types use
//! it. A keyword that is not known here is no reason to pass.

use serde_json::Value;

/// What is wrong with the value, each with its place; empty when it fits.
pub fn faults(value: &Value, schema: &Value, document: &Value) -> Vec<String> {
    let mut check = Check {
        document,
        found: Vec::new(),
    };
    check.value(value, schema, "");
    check.found
}

struct Check<'a> {
    document: &'a Value,
    found: Vec<String>,
}

fn list(keyword: &Value) -> &[Value] {
    keyword.as_array().map_or(&[], Vec::as_slice)
}

impl Check<'_> {
    fn fits(&self, value: &Value, schema: &Value) -> bool {
        faults(value, schema, self.document).is_empty()
    }

    fn wrong(&mut self, at: &str, what: &str) {
        self.found.push(format!("{at}: {what}"));
    }

    fn value(&mut self, value: &Value, schema: &Value, at: &str) {
        let Some(keywords) = schema.as_object() else {
            if *schema == Value::Bool(false) {
                self.wrong(at, "nothing may be here");
            }
            return;
        };
        for (name, keyword) in keywords {
            self.keyword(value, schema, name, keyword, at);
        }
    }

    fn keyword(&mut self, value: &Value, schema: &Value, name: &str, keyword: &Value, at: &str) {
        let size = |text: &Value| text.as_str().map(|text| text.chars().count() as u64);
        let items = value.as_array().map(|items| items.len() as u64);
        let most = keyword.as_u64();
        match name {
            "$ref" => {
                let target = keyword.as_str().and_then(|place| place.strip_prefix('#'));
                let target = target.and_then(|place| self.document.pointer(place));
                self.value(value, target.expect("a reference leads somewhere"), at);
            }
            "allOf" => {
                for schema in list(keyword) {
                    self.value(value, schema, at);
                }
            }
            "anyOf" | "oneOf" => {
                let fitting = list(keyword)
                    .iter()
                    .filter(|schema| self.fits(value, schema));
                let count = fitting.count();
                if count == 0 || (name == "oneOf" && count > 1) {
                    let text: String = value.to_string().chars().take(300).collect();
                    self.wrong(at, &format!("{text} fits {count} of {name}"));
                }
            }
            "const" if value != keyword => self.wrong(at, &format!("{value} is not {keyword}")),
            "enum" if !list(keyword).contains(value) => {
                self.wrong(at, &format!("{value} is none of {keyword}"));
            }
            "type" if !is_of(value, keyword) => {
                self.wrong(at, &format!("{value} is not of type {keyword}"));
            }
            "required" => {
                for name in list(keyword).iter().filter_map(Value::as_str) {
                    if value.is_object() && value.get(name).is_none() {
                        self.wrong(at, &format!("`{name}` is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in keyword.as_object().into_iter().flatten() {
                    if let Some(member) = value.get(name) {
                        self.value(member, schema, &format!("{at}/{name}"));
                    }
                }
            }
            "additionalProperties" | "unevaluatedProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if schema["properties"].get(name).is_none() {
                        self.value(member, keyword, &format!("{at}/{name}"));
                    }
                }
            }
            "items" => {
                let before = list(&schema["prefixItems"]).len();
                for (i, item) in list(value).iter().enumerate().skip(before) {
                    self.value(item, keyword, &format!("{at}/{i}"));
                }
            }
            "prefixItems" => {
                for (i, (item, schema)) in list(value).iter().zip(list(keyword)).enumerate() {
                    self.value(item, schema, &format!("{at}/{i}"));
                }
            }
            "minimum" if below(value, keyword) => self.wrong(at, &format!("{value} < {keyword}")),
            "maximum" if below(keyword, value) => self.wrong(at, &format!("{value} > {keyword}")),
            "minLength" if size(value) < most && value.is_string() => self.wrong(at, "too short"),
            "maxLength" if size(value) > most => self.wrong(at, "too long"),
            "minItems" if items.is_some() && items < most => self.wrong(at, "too few"),
            "maxItems" if items > most => self.wrong(at, "too many"),
            "uniqueItems" => {
                let items = list(value);
                if (1..items.len()).any(|i| items[..i].contains(&items[i])) {
                    self.wrong(at, "twice the same");
                }
            }
            // Texts of a form are read by the types that they are of.
            "const" | "enum" | "type" | "minimum" | "maximum" | "minLength" | "maxLength"
            | "minItems" | "maxItems" | "pattern" | "format" | "default" | "description"
            | "title" | "examples" | "deprecated" | "x-masked" => {}
            other => self.wrong(at, &format!("what does `{other}` ask for?")),
        }
    }
}

fn is_of(value: &Value, kinds: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    match kinds {
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}

fn below(one: &Value, other: &Value) -> bool {
    one.as_f64()
        .zip(other.as_f64())
        .is_some_and(|(one, other)| one < other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_found_with_its_place() {
        let document = json!({ "components": { "schemas": { "Word": {
            "type": "string", "minLength": 1, "maxLength": 3,
        }}}});
        let word = json!({ "$ref": "#/components/schemas/Word" });
        let schema = json!({
            "type": "object",
            "properties": {
                "word": word,
                "words": { "type": "array", "items": word, "maxItems": 2, "uniqueItems": true },
                "either": { "oneOf": [{ "const": 1 }, { "type": "integer", "minimum": 5 }] },
                "may": { "type": ["integer", "null"], "maximum": 9 },
            },
            "required": ["word"],
            "additionalProperties": false,
        });
        let good = json!({ "word": "one", "words": ["a", "b"], "either": 7, "may": null });
        assert_eq!(faults(&good, &schema, &document), [""; 0]);
        for (name, bad, place) in [
            ("word", json!("four"), "/word"),
            ("word", json!(""), "/word"),
            ("words", json!(["a", 1]), "/words/1"),
            ("words", json!(["a", "a"]), "/words"),
            ("words", json!(["a", "b", "c"]), "/words"),
            ("either", json!(3), "/either"),
            ("may", json!(10), "/may"),
            ("other", json!(1), "/other"),
        ] {
            let mut value = good.clone();
            value[name] = bad;
            let found = faults(&value, &schema, &document);
            assert!(
                found.iter().any(|fault| fault.starts_with(place)),
                "{value}: {found:?}"
            );
        }
        assert_eq!(
            faults(&json!({}), &schema, &document),
            [": `word` is missing"]
        );
        assert_eq!(faults(&json!([]), &schema, &document).len(), 1);
    }
}
