//! Whether readers of one schema can live with another.
//!
//! Two readers count: an old worker that gets a new event, and new code that folds an old row. So
//! what is there stays as it is, in shape and in being required; a new field may come if it is
//! optional and old readers ignore it. Words for people may change.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const FOR_PEOPLE: &[&str] = &[
    "$schema",
    "$id",
    "$defs",
    "title",
    "description",
    "examples",
];

/// Every change that a reader would notice, with its place.
pub fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison {
        old_root: old,
        new_root: new,
        seen: BTreeSet::new(),
        found: Vec::new(),
    };
    comparison.schema(old, new, "$");
    comparison.found
}

struct Comparison<'a> {
    old_root: &'a Value,
    new_root: &'a Value,
    seen: BTreeSet<(String, String)>,
    found: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn schema(&mut self, old: &'a Value, new: &'a Value, at: &str) {
        let reference = |schema: &Value| schema["$ref"].as_str().unwrap_or_default().to_owned();
        let pair = (reference(old), reference(new));
        if pair != Default::default() && !self.seen.insert(pair) {
            return;
        }
        let (old, new) = (resolve(self.old_root, old), resolve(self.new_root, new));
        let (Value::Object(old), Value::Object(new)) = (old, new) else {
            if old != new {
                self.note(at, &format!("was {old}, is {new}"));
            }
            return;
        };
        let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for keyword in keywords {
            match keyword.as_str() {
                "properties" => self.properties(old, new, at),
                "required" | "$ref" => {}
                keyword if FOR_PEOPLE.contains(&keyword) => {}
                keyword => self.keyword(
                    old.get(keyword),
                    new.get(keyword),
                    &format!("{at}.{keyword}"),
                ),
            }
        }
        self.required(old, new, at);
    }

    fn keyword(&mut self, old: Option<&'a Value>, new: Option<&'a Value>, at: &str) {
        match (old, new) {
            (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
                for (i, (old, new)) in old.iter().zip(new).enumerate() {
                    self.schema(old, new, &format!("{at}[{i}]"));
                }
            }
            (Some(old @ Value::Object(_)), Some(new @ Value::Object(_))) => {
                self.schema(old, new, at);
            }
            (old, new) if old == new => {}
            (old, new) => {
                let show = |value: Option<&Value>| value.map_or("absent".into(), Value::to_string);
                self.note(at, &format!("was {}, is {}", show(old), show(new)));
            }
        }
    }

    fn properties(&mut self, old: &'a Map<String, Value>, new: &'a Map<String, Value>, at: &str) {
        let properties = |schema: &'a Map<String, Value>| schema.get("properties")?.as_object();
        let strict = old.get("additionalProperties") == Some(&Value::Bool(false));
        let known = properties(old);
        let new = properties(new);
        for name in new.into_iter().flat_map(Map::keys) {
            if strict && known.is_none_or(|known| !known.contains_key(name)) {
                self.note(
                    at,
                    &format!("field `{name}` is new, and old readers refuse it"),
                );
            }
        }
        for (name, old) in known.into_iter().flatten() {
            match new.and_then(|new| new.get(name)) {
                Some(new) => self.schema(old, new, &format!("{at}.{name}")),
                None => self.note(at, &format!("field `{name}` has disappeared")),
            }
        }
    }

    fn required(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) {
        let (old, new) = (required(old), required(new));
        for name in old.difference(&new) {
            self.note(at, &format!("field `{name}` is no longer required"));
        }
        for name in new.difference(&old) {
            self.note(at, &format!("field `{name}` is newly required"));
        }
    }

    fn note(&mut self, at: &str, change: &str) {
        self.found.push(format!("{at}: {change}"));
    }
}

fn required(schema: &Map<String, Value>) -> BTreeSet<&str> {
    schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"]
        .as_str()
        .and_then(|target| target.strip_prefix('#'))
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema)
}

#[test]
fn what_a_reader_would_notice() {
    use serde_json::json;

    let base = json!({
        "type": "object",
        "properties": {
            "kind": { "$ref": "#/$defs/Kind" },
            "list": { "type": "array", "items": { "$ref": "#/$defs/Item" } },
            "strict": { "$ref": "#/$defs/Strict" },
        },
        "required": ["kind"],
        "$defs": {
            "Kind": { "type": "string", "enum": ["a", "b"] },
            "Item": { "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] },
            "Strict": { "type": "object", "properties": {}, "additionalProperties": false },
        },
    });
    let after = |edit: &dyn Fn(&mut Value)| {
        let mut new = base.clone();
        edit(&mut new);
        changes(&base, &new)
    };
    assert_eq!(after(&|_| {}), Vec::<String>::new());
    let harmless: [&dyn Fn(&mut Value); 3] = [
        &|s| s["description"] = json!("Better words."),
        &|s| s["properties"]["more"] = json!({ "type": "string" }),
        &|s| s["$defs"]["Item"]["properties"]["more"] = json!({ "type": "string" }),
    ];
    for (i, edit) in harmless.into_iter().enumerate() {
        assert!(after(edit).is_empty(), "{i}: {:?}", after(edit));
    }
    let breaking: [&dyn Fn(&mut Value); 9] = [
        &|s| {
            s["properties"] = json!({ "kind": { "$ref": "#/$defs/Kind" }, "strict": { "$ref": "#/$defs/Strict" } })
        },
        &|s| s["required"] = json!([]),
        &|s| s["required"] = json!(["kind", "list"]),
        &|s| s["$defs"]["Kind"]["enum"] = json!(["a", "b", "c"]),
        &|s| s["$defs"]["Kind"]["enum"] = json!(["a", "c"]),
        &|s| s["$defs"]["Kind"]["type"] = json!("integer"),
        &|s| s["$defs"]["Item"]["properties"]["n"]["type"] = json!("string"),
        &|s| s["properties"]["list"]["items"] = json!({ "$ref": "#/$defs/Kind" }),
        &|s| s["$defs"]["Strict"]["properties"]["more"] = json!({ "type": "string" }),
    ];
    for (i, edit) in breaking.into_iter().enumerate() {
        assert!(!after(edit).is_empty(), "{i}");
    }
}
