//! The API's document as tests read it: every operation with an example of its body and the places
//! where it names things. What walks this list covers an operation from the day it is documented.

use contracts::ApiPermission;
use reqwest::Method;
use serde_json::{Map, Value};

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// Its id.
    pub id: String,
    /// HTTP method.
    pub method: Method,
    /// Path template as it is served.
    pub path: String,
    /// What its callers need; `None` when it needs no token.
    pub permission: Option<ApiPermission>,
    /// Of which kind the id in the path is: `tkt` for a ticket.
    pub names: Option<String>,
    /// Query parameters that must be there, with a value that will do.
    pub required: Vec<(String, String)>,
    /// Query parameters that are ids, with their kind.
    pub query_ids: Vec<(String, String)>,
    /// Whether it is a list that is read page by page.
    pub has_pages: bool,
    /// Whether the caller may say how long a page is.
    pub takes_limit: bool,
    /// Whether the caller may name the version of what it changes.
    pub takes_version: bool,
    /// An example of the body.
    pub body: Option<Value>,
    /// Where the body names things: pointers into the example, with the kind. A member at the top
    /// need not be in the example.
    pub body_ids: Vec<(String, String)>,
}

impl Described {
    /// Whether it is a command: an attempt at it leaves a record.
    pub fn is_command(&self) -> bool {
        matches!(self.permission, Some(ApiPermission::Command(_)))
    }
}

/// All operations of a document; or what is missing for a test to cover them, one line each.
pub fn operations(document: &Value) -> Result<Vec<Described>, Vec<String>> {
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    let paths = document["paths"].as_object().expect("paths");
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("a path has operations") {
            match described(document, path, method, operation) {
                Ok(described) => all.push(described),
                Err(what) => missing.push(format!("{method} {path}: {what}")),
            }
        }
    }
    match missing.is_empty() {
        true => Ok(all),
        false => Err(missing),
    }
}

fn described(
    document: &Value,
    path: &str,
    method: &str,
    operation: &Value,
) -> Result<Described, String> {
    let id = operation["operationId"].as_str().ok_or("has no id")?;
    let public = operation["security"] == Value::Array(Vec::new());
    let permission = match (&operation["x-permission"], public) {
        (Value::String(name), false) => {
            let permission = name.parse();
            Some(permission.map_err(|_| format!("`{name}` is no permission"))?)
        }
        (Value::Null, true) => None,
        _ => return Err("says neither a permission nor that it needs no token".into()),
    };
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes());
    let mut described = Described {
        id: id.to_owned(),
        method: method.map_err(|error| error.to_string())?,
        path: path.to_owned(),
        permission,
        names: None,
        required: Vec::new(),
        query_ids: Vec::new(),
        has_pages: false,
        takes_limit: false,
        takes_version: false,
        body: None,
        body_ids: Vec::new(),
    };
    for parameter in list(&operation["parameters"]) {
        let parameter = resolved(document, parameter);
        let (schema, name) = (&parameter["schema"], parameter["name"].as_str());
        let name = name.ok_or("a parameter has no name")?.to_owned();
        let kind = kind(document, schema);
        match parameter["in"].as_str() {
            Some("path") if public => {}
            Some("path") => match kind {
                Some(kind) if name == "id" => described.names = Some(kind),
                _ => return Err(format!("the path names a {name}, which is no id of ours")),
            },
            Some("query") => {
                if parameter["required"] == true {
                    described
                        .required
                        .push((name.clone(), some(document, schema)));
                }
                described.has_pages |= name == "cursor";
                described.takes_limit |= name == "limit";
                described.query_ids.extend(kind.map(|kind| (name, kind)));
            }
            Some("header") => described.takes_version |= name == "if-match",
            _ => {}
        }
    }
    if path.contains('{') != described.names.is_some() && !public {
        return Err("the path's id is not described".into());
    }
    let takes = &operation["requestBody"]["content"]["application/json"];
    if takes.is_object() {
        let example = takes
            .get("example")
            .ok_or("takes a body and shows no example of it")?;
        let mut found = Vec::new();
        ids(document, &takes["schema"], example, "", &mut found);
        described.body_ids = found;
        described.body = Some(example.clone());
    }
    Ok(described)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What a reference leads to.
fn resolved<'a>(document: &'a Value, mut value: &'a Value) -> &'a Value {
    while let Some(target) = value.get("$ref").and_then(Value::as_str) {
        let pointer = target.strip_prefix('#').unwrap_or(target);
        value = document
            .pointer(pointer)
            .expect("a reference leads somewhere");
    }
    value
}

/// Of which kind of id a schema is: the letters before its `_`. Also when it may be left out.
fn kind(document: &Value, schema: &Value) -> Option<String> {
    let schema = resolved(document, schema);
    let choices = ["anyOf", "oneOf", "allOf"].map(|name| list(&schema[name]));
    if let Some(found) = choices.concat().iter().find_map(|one| kind(document, one)) {
        return Some(found);
    }
    let pattern = schema["pattern"].as_str()?.strip_prefix('^')?;
    let kind = pattern.strip_suffix("_[0-9a-f]{32}$")?;
    Some(kind.to_owned())
}

/// Something that fits a schema of a parameter.
fn some(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    let first = list(&schema["oneOf"]).first();
    let told = [
        first.map(|one| &one["const"]),
        list(&schema["enum"]).first(),
        schema.get("const"),
    ];
    let told = told.into_iter().flatten().find_map(Value::as_str);
    told.unwrap_or("none").to_owned()
}

fn ids(
    document: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
    found: &mut Vec<(String, String)>,
) {
    if let Some(kind) = kind(document, schema) {
        let place = (at.to_owned(), kind);
        // A schema may say the same in several of its parts.
        if value.is_string() && !found.contains(&place) {
            found.push(place);
        }
        return;
    }
    let schema = resolved(document, schema);
    for choice in ["anyOf", "oneOf", "allOf"] {
        for schema in list(&schema[choice]) {
            ids(document, schema, value, at, found);
        }
    }
    let none = Map::new();
    for (name, schema) in schema["properties"].as_object().unwrap_or(&none) {
        let place = format!("{at}/{name}");
        match value.get(name) {
            Some(member) => ids(document, schema, member, &place, found),
            None if at.is_empty() => {
                found.extend(kind(document, schema).map(|kind| (place, kind)));
            }
            None => {}
        }
    }
    if let Some(first) = value.get(0) {
        ids(document, &schema["items"], first, &format!("{at}/0"), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(operation: Value) -> Value {
        json!({
            "paths": { "/api/v1/widgets/{id}/turn": { "post": operation } },
            "components": {
                "schemas": {
                    "WidgetId": { "type": "string", "pattern": "^wid_[0-9a-f]{32}$" },
                    "Part": { "type": "object", "properties": {
                        "of": { "$ref": "#/components/schemas/WidgetId" },
                    }},
                },
                "parameters": { "Widget": {
                    "name": "id", "in": "path", "schema": { "$ref": "#/components/schemas/WidgetId" },
                }},
            },
        })
    }

    fn turn() -> Value {
        let id = json!({ "$ref": "#/components/schemas/WidgetId" });
        json!({
            "operationId": "turn_widget",
            "x-permission": "command:triage",
            "parameters": [
                { "$ref": "#/components/parameters/Widget" },
                { "name": "beside", "in": "query", "schema": id },
                { "name": "way", "in": "query", "required": true, "schema": {
                    "oneOf": [{ "const": "left" }, { "const": "right" }],
                }},
            ],
            "requestBody": { "content": { "application/json": {
                "schema": { "type": "object", "properties": {
                    "parts": { "type": "array", "items": { "$ref": "#/components/schemas/Part" } },
                    "under": { "anyOf": [id, { "type": "null" }] },
                    "turns": { "type": "integer" },
                }},
                "example": { "parts": [{ "of": "wid_1" }], "turns": 3 },
            }}},
        })
    }

    #[test]
    fn an_operation_is_known_with_every_place_of_an_id() {
        let all = operations(&document(turn())).unwrap();
        let [turn] = all.as_slice() else {
            panic!("{all:?}");
        };
        let wid = |place: &str| (place.to_owned(), "wid".to_owned());
        assert!(turn.is_command());
        assert_eq!(turn.names.as_deref(), Some("wid"));
        assert_eq!(turn.query_ids, [wid("beside")]);
        assert_eq!(turn.required, [("way".to_owned(), "left".to_owned())]);
        assert_eq!(turn.body_ids, [wid("/parts/0/of"), wid("/under")]);
    }

    #[test]
    fn what_cannot_be_covered_is_told() {
        type Spoil = fn(&mut Value);
        let spoils: [(&str, Spoil); 4] = [
            ("permission", |turn| turn["x-permission"] = Value::Null),
            ("permission", |turn| {
                turn["x-permission"] = "command:lunch".into()
            }),
            ("example", |turn| {
                let body = &mut turn["requestBody"]["content"]["application/json"];
                body.as_object_mut().unwrap().remove("example");
            }),
            ("path", |turn| turn["parameters"] = json!([])),
        ];
        for (word, spoil) in spoils {
            let mut turn = turn();
            spoil(&mut turn);
            let missing = operations(&document(turn)).unwrap_err();
            assert!(missing[0].contains(word), "{missing:?}");
        }
    }
}
