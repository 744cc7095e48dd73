//! The OpenAPI 3.1 document, made from the list of endpoints and the contract types.
//!
//! The committed copy is `api/openapi.json`; a test compares the two. OpenAPI 3.1 schemas are JSON
//! Schema 2020-12, so the schemas of the contract types go in unchanged.

use std::{collections::BTreeMap, sync::LazyLock};

use contracts::{
    ErrorCode, Operation, Problem, TenantId, TicketId,
    approval::ApprovalKind,
    command::{CommandClass, HeldReceipt},
    kill_switch::KILL_SWITCH_HEADER,
    service_account::{KEY_EXPIRES_HEADER, TENANT_HEADER},
};

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    endpoint::{Endpoint, PREFIX, endpoints, is_about_approval, is_about_tenant},
    limits,
    problem::PROBLEM_JSON,
    request::{
        APPROVAL_MEMBER, EXPECTED_VERSION_MEMBER, LONGEST_WAIT, PREFER, PREFERENCE_APPLIED,
        REQUEST_ID_MEMBER, TENANT_MEMBER,
    },
    shapes::{bounded, narrowed},
};

/// The whole document, with the paths under one of [`crate::endpoint::PREFIXES`].
pub fn document(prefix: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut shared = SharedResponses::default();
    let mut paths = Map::new();
    for endpoint in endpoints() {
        let item = paths
            .entry(format!("{prefix}{}", endpoint.below()))
            .or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_ascii_lowercase()] =
            operation(&endpoint, &mut generator, &mut shared);
    }
    generator.subschema_for::<Problem>();
    let parameters = parameters(&mut generator);
    let mut schemas = generator.take_definitions(true);
    for schema in schemas.values_mut() {
        tidy(schema);
    }
    tidy_map(&mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Real Dispatch",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Field-service jobs from the first message to the paid invoice.",
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "tags": [
            { "name": "commands", "description": "Everything that can change a ticket." },
            { "name": "reads", "description": "What is known about tickets." },
            { "name": "service", "description": "The service itself; no token needed." },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": shared.0,
            "parameters": parameters,
            "headers": headers(),
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "description": CREDENTIAL,
            }},
        },
    })
}

const DESCRIPTION: &str = "\
Every command needs a request id (`Idempotency-Key` or the member `request_id`): the same id with \
the same body gives the same answer, byte for byte, however often it is sent; with another body it \
is a 409. `expected_version` (or `If-Match`) refuses a command on a ticket that has changed. Every \
answer that is not a success is a problem (RFC 9457) with a stable `code`; the operations list the \
codes they can answer. A correlation id and a W3C trace context are taken, assigned when absent, and \
given back. Every operation is served below /api/v1 and below /api, which names no version and leads to \
the newest; each of the two has a document of its own.";

const CREDENTIAL: &str = "\
Either a JWT of an issuer that this installation trusts, signed as that issuer is configured (HS256, \
RS256, ES256 or EdDSA), or an API key of a service account (`rdk_…`). Kind and roles of the caller come \
from it alone, and so does the tenant, but for the keys of accounts that act in any tenant: these come \
with the header `dispatch-tenant`, and nothing else does.";

/// Exchanges that were had with the real system, by operation; `ID 202` for one that was held. A test
/// of the whole system writes them and holds them to the schemas.
static EXAMPLES: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../examples.json");
    serde_json::from_str(text).expect("api/examples.json is JSON")
});

/// The body with which the operation answered with this status, if that is among the examples.
fn example_of(endpoint: &Endpoint, status: &str) -> Option<&'static Value> {
    let plain = EXAMPLES.get(&endpoint.id);
    let held = EXAMPLES.get(format!("{} {status}", endpoint.id));
    let mut both = plain.into_iter().chain(held);
    let status: u16 = status.parse().ok()?;
    let found = both.find(|example| example["status"] == status)?;
    found.get("response")
}

/// The body of each code's page, by code.
fn examples_of(codes: &[ErrorCode]) -> Value {
    let example = |code: &ErrorCode| {
        let (_, rest) = code.page().split_once("```json\n")?;
        let text = rest.split_once("\n```")?.0;
        let value: Value = serde_json::from_str(text).ok()?;
        Some((code.to_string(), json!({ "value": value })))
    };
    Value::Object(codes.iter().filter_map(example).collect())
}

fn operation(
    endpoint: &Endpoint,
    generator: &mut SchemaGenerator,
    shared: &mut SharedResponses,
) -> Value {
    let public = endpoint.is_public();
    let tag = match (endpoint.command, public) {
        (Some(_), _) => "commands",
        (None, false) => "reads",
        (None, true) => "service",
    };
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "tags": [tag],
        "parameters": operation_parameters(endpoint, generator),
        "responses": responses(endpoint, generator, shared),
    });
    let permission = endpoint.permission.map(|permission| permission.to_string());
    let needs = permission
        .as_ref()
        .map(|permission| format!("Needs the permission `{permission}`."));
    let told = [Some(endpoint.description.to_owned()), needs];
    let told: Vec<_> = told
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .collect();
    if !told.is_empty() {
        operation["description"] = told.join(" ").into();
    }
    if let Some(permission) = permission {
        operation["x-permission"] = permission.into();
    }
    if public {
        operation["security"] = json!([]);
    }
    if let Some(schema) = endpoint.request {
        let schema = command_body(endpoint, schema(generator).to_value());
        let mut content = json!({ "schema": schema });
        if let Some(example) = EXAMPLES.get(&endpoint.id) {
            content["example"] = example["request"].clone();
        }
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": content } });
    }
    operation
}

/// The command's members and the two that belong to the request.
fn command_body(endpoint: &Endpoint, mut schema: Value) -> Value {
    let object = schema.as_object_mut().expect("a body is an object");
    object.remove("components");
    object.remove("$defs");
    let properties = object
        .entry("properties")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .expect("properties are an object");
    properties.insert(
        REQUEST_ID_MEMBER.into(),
        json!({
            "type": "string", "pattern": "^[!-~]{1,128}$",
            "description": "The request id, unless Idempotency-Key says it.",
        }),
    );
    // Of many commands each has a version of its own.
    if endpoint.command.is_some() {
        properties.insert(
            EXPECTED_VERSION_MEMBER.into(),
            json!({
                "type": ["integer", "null"], "format": "uint64", "minimum": 0,
                "description": "Refuse unless the ticket has this version; If-Match says the same.",
            }),
        );
    }
    // The path says it.
    let said = match &endpoint.path {
        path if is_about_approval(path) => Some(APPROVAL_MEMBER),
        path if is_about_tenant(path) => Some(TENANT_MEMBER),
        _ => None,
    };
    if let (Some(said), Some(Value::Array(required))) = (said, schema.get_mut("required")) {
        required.retain(|name| name != said);
    }
    schema
}

fn operation_parameters(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
    let mut list = Vec::new();
    if endpoint.path.contains("{id}") {
        list.push(match endpoint.path_id {
            None => reference("TicketId"),
            Some(id) => json!({
                "name": "id", "in": "path", "required": true, "description": id.description,
                "schema": (id.schema)(generator),
            }),
        });
    }
    for parameter in &endpoint.parameters {
        let schema = narrowed((parameter.schema)(generator).to_value());
        let mut described = json!({
            "name": parameter.name, "in": "query", "required": parameter.required,
            "description": parameter.description,
        });
        if schema["type"] == "array" {
            // Separated by commas, not given again and again.
            described["style"] = "form".into();
            described["explode"] = false.into();
        }
        described["schema"] = schema;
        list.push(described);
    }
    if endpoint.command.is_some() {
        list.extend(["IdempotencyKey", "IfMatch", "ToolName"].map(reference));
    } else if endpoint.request.is_some() {
        // Of many commands each has a version of its own.
        list.extend(["IdempotencyKey", "ToolName"].map(reference));
    }
    if endpoint.can_wait() {
        list.push(reference("Prefer"));
    }
    if endpoint.success.etag {
        list.push(reference("IfNoneMatch"));
    }
    if !endpoint.is_public() {
        let of_all = ["Tenant", "CorrelationId", "Traceparent", "Tracestate"];
        list.extend(of_all.map(reference));
    }
    list.into()
}

fn responses(
    endpoint: &Endpoint,
    generator: &mut SchemaGenerator,
    shared: &mut SharedResponses,
) -> Value {
    let common = common_headers(endpoint);
    let success = &endpoint.success;
    let mut success_headers = common.clone();
    if endpoint.can_wait() {
        success_headers[PREFERENCE_APPLIED] = header("PreferenceApplied");
    }
    let can_be_held = endpoint
        .command
        .is_some_and(|operation| ApprovalKind::of_held(operation).is_some());
    if success.etag {
        success_headers["etag"] = header("ETag");
    }
    let waits = success_headers.clone();
    let mut responses = Map::new();
    let content = |status: &str, schema: Value| match example_of(endpoint, status) {
        Some(example) => json!({ "schema": schema, "example": example }),
        None => json!({ "schema": schema }),
    };
    let mut done = |status: &str, description: &str, generator: &mut SchemaGenerator| {
        let content = content(status, (success.schema)(generator).to_value());
        responses.insert(
            status.to_owned(),
            json!({
                "description": description,
                "headers": success_headers,
                "content": { success.media_type: content },
            }),
        );
    };
    match success.creates {
        true => {
            done("201", success.description, generator);
            let class = endpoint.command.map(Operation::class);
            let there = match class {
                Some(CommandClass::Filing) => "A trial: what would happen; or it was there before.",
                _ => "A trial: what would happen.",
            };
            done("200", there, generator);
        }
        false => done("200", success.description, generator),
    }
    if can_be_held {
        responses.insert(
            "202".into(),
            json!({
                "description": "Held until people decide; nothing else was done. To who waited: how \
                                it ended, in `approval.state`.",
                "headers": waits,
                "content": { "application/json": content(
                    "202",
                    generator.subschema_for::<HeldReceipt>().to_value(),
                )},
            }),
        );
    }
    if success.etag {
        responses.insert(
            "304".into(),
            json!({ "description": "If-None-Match names this version.", "headers": success_headers }),
        );
    }
    let mut by_status = BTreeMap::<u16, Vec<ErrorCode>>::new();
    for code in &endpoint.problems {
        by_status.entry(code.status()).or_default().push(*code);
    }
    for (status, codes) in by_status {
        responses.insert(
            status.to_string(),
            shared.reference(endpoint, status, &codes),
        );
    }
    if success.health {
        responses.insert(
            "503".into(),
            json!({
                "description": "A part is not there; `parts` says which.",
                "headers": common,
                "content": { "application/json": { "schema": (success.schema)(generator) } },
            }),
        );
    }
    Value::Object(responses)
}

/// Problem answers, each written once however many operations give it.
#[derive(Default)]
struct SharedResponses(Map<String, Value>);

impl SharedResponses {
    fn reference(&mut self, endpoint: &Endpoint, status: u16, codes: &[ErrorCode]) -> Value {
        let kind = match endpoint.command {
            Some(_) => "command",
            None => "read",
        };
        let examples = examples_of(codes);
        let codes: Vec<_> = codes
            .iter()
            .map(|code| (code.to_string(), code.title()))
            .collect();
        let names: Vec<_> = codes.iter().map(|(name, _)| name.as_str()).collect();
        let key = format!("{kind}.{}", names.join("."));
        if !self.0.contains_key(&key) {
            let mut headers = common_headers(endpoint);
            match status {
                401 => headers["www-authenticate"] = header("WwwAuthenticate"),
                409 | 429 | 503 => headers["retry-after"] = header("RetryAfter"),
                _ => {}
            }
            let sentences: Vec<_> = codes
                .iter()
                .map(|(name, title)| format!("`{name}`: {title}."))
                .collect();
            let response = json!({
                "description": sentences.join(" "),
                "headers": headers,
                "content": { PROBLEM_JSON: {
                    "schema": { "allOf": [
                        { "$ref": "#/components/schemas/Problem" },
                        { "properties": { "code": { "enum": names } } },
                    ]},
                    "examples": examples,
                }},
            });
            self.0.insert(key.clone(), response);
        }
        json!({ "$ref": format!("#/components/responses/{key}") })
    }
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn common_headers(endpoint: &Endpoint) -> Value {
    let mut headers = json!({
        "x-correlation-id": header("CorrelationId"),
        "traceparent": header("Traceparent"),
    });
    if endpoint.is_limited() {
        for name in limits::HEADERS {
            headers[name] = header(name);
        }
    }
    if !endpoint.is_public() {
        headers[KEY_EXPIRES_HEADER] = header(KEY_EXPIRES_HEADER);
    }
    if endpoint.command.is_some() {
        for name in [
            "x-command-id",
            "x-decision-id",
            "idempotent-replayed",
            KILL_SWITCH_HEADER,
        ] {
            headers[name] = header(name);
        }
    }
    headers
}

fn parameters(generator: &mut SchemaGenerator) -> Value {
    let visible = json!({ "type": "string", "pattern": "^[!-~]{1,128}$" });
    let header = |name: &str, description: &str, schema: &Value| {
        json!({
            "name": name, "in": "header", "required": false,
            "description": description, "schema": schema,
        })
    };
    let text = json!({ "type": "string" });
    let tenant = generator.subschema_for::<TenantId>().to_value();
    json!({
        "TicketId": {
            "name": "id", "in": "path", "required": true, "description": "The ticket.",
            "schema": generator.subschema_for::<TicketId>(),
        },
        "IdempotencyKey": header(
            "idempotency-key",
            "The request id, unless the body's `request_id` says it: new for each intent, the same \
             for each repetition.",
            &visible,
        ),
        "IfMatch": header(
            "if-match",
            "The version that the ticket must have, in quotes: its ETag as it came, or the number alone. \
             None has more than 19 digits.",
            &json!({ "type": "string", "pattern": "^\"[0-9]{1,19}(\\.[0-9a-f]{8})?\"$" }),
        ),
        "Prefer": header(
            PREFER,
            &format!(
                "`wait=n` (RFC 7240): what is held, or released by this, is waited for up to n seconds, \
                 {} at most; in time the answer tells how it ended.",
                LONGEST_WAIT.as_secs()
            ),
            &text,
        ),
        "IfNoneMatch": header("if-none-match", "An ETag that is known already.", &text),
        "ToolName": header("x-tool-name", "The tool an agent used; recorded.", &visible),
        "Tenant": header(
            TENANT_HEADER,
            "The tenant that is meant, with the API key of an account that acts in any tenant: then it \
             is needed. With any other credential it is refused.",
            &tenant,
        ),
        "CorrelationId": header(
            "x-correlation-id",
            "The conversation; assigned when absent, and kept end to end.",
            &visible,
        ),
        "Traceparent": header("traceparent", "W3C Trace Context; a malformed one starts anew.", &text),
        "Tracestate": header("tracestate", "W3C Trace Context; passed on unread.", &text),
    })
}

fn headers() -> Value {
    let header =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "CorrelationId": header("The conversation."),
        "Traceparent": header("Our span in the trace."),
        "x-command-id": header("The recorded attempt."),
        "x-decision-id": header("The recorded policy decision."),
        "idempotent-replayed": header("`true`: the stored answer to an earlier request."),
        KILL_SWITCH_HEADER: header(
            "To agents and workflows: how the kill switches stand, `generation=7` and what is stopped \
             of it, `; stopped=all` or `; stopped=dispatch,triage`.",
        ),
        KEY_EXPIRES_HEADER: header(
            "To a caller with an API key: when the key ends, `2027-11-22T03:15:00Z`.",
        ),
        "ETag": header("The version, in quotes."),
        "PreferenceApplied": header("`wait=n`: for how many seconds this was waited for at most."),
        "WwwAuthenticate": header("RFC 6750."),
        "ratelimit-policy": header(
            "How many requests of this kind may come at once (`q`), and in how many seconds as many come \
             back (`w`): `\"commands\";q=1000;w=5`.",
        ),
        "ratelimit": header(
            "How many are left (`r`), and in how many seconds all are there again (`t`); of a refusal, \
             when to ask again: `\"commands\";r=997;t=1`.",
        ),
        "ratelimit-limit": header("`q` of RateLimit-Policy, for clients that read this."),
        "ratelimit-remaining": header("`r` of RateLimit."),
        "ratelimit-reset": header("`t` of RateLimit: seconds."),
        "RetryAfter": header("Seconds to wait before the same request is sent again."),
    })
}

/// `schemars` repeats a type's name as its title, which only lengthens the document, and leaves the
/// bounds of most integers to their format.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => tidy_map(map),
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn tidy_map(map: &mut Map<String, Value>) {
    if map.get("title").is_some_and(Value::is_string) && map.contains_key("type") {
        map.remove("title");
    }
    if map.contains_key("type") {
        bounded(map);
    }
    map.values_mut().for_each(tidy);
}

/// The document as it is committed.
pub fn text() -> String {
    text_under(PREFIX)
}

/// The document with the paths under this prefix.
pub fn text_under(prefix: &str) -> String {
    let document = document(prefix);
    let mut text = serde_json::to_string_pretty(&document).expect("the document is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contracts::service_account::KEY_MARK;
    use http::Method;
    use serde_json::Number;

    use super::*;

    #[test]
    fn the_committed_document_is_the_current_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, text()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == text(),
            "api/openapi.json is not what the code says: run `UPDATE_OPENAPI=1 cargo test -p \
             dispatch-api openapi` and commit it"
        );
    }

    #[test]
    fn each_operation_says_what_it_is() {
        let document = document(PREFIX);
        let mut ids = BTreeSet::new();
        for endpoint in endpoints() {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][&endpoint.path][&method];
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{id}");
            assert_eq!(
                operation["requestBody"].is_object(),
                endpoint.method == Method::POST,
                "{id}"
            );
            assert_eq!(
                operation["responses"]["401"].is_object(),
                !endpoint.is_public(),
                "{id}"
            );
        }
    }

    #[test]
    fn how_to_call_is_told_as_it_is() {
        let document = document(PREFIX);
        let bearer = &document["components"]["securitySchemes"]["bearer"];
        assert_eq!(bearer.get("bearerFormat"), None, "a key is no JWT");
        let told = bearer["description"].as_str().unwrap();
        for word in ["HS256", "RS256", "ES256", "EdDSA", KEY_MARK, TENANT_HEADER] {
            assert!(told.contains(word), "{word}");
        }
        let named = json!({ "$ref": "#/components/parameters/Tenant" });
        for endpoint in endpoints() {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][&endpoint.path][&method];
            let parameters = operation["parameters"].as_array().unwrap();
            let guarded = !endpoint.is_public();
            assert_eq!(parameters.contains(&named), guarded, "{}", endpoint.id);
        }
        let parameter = &document["components"]["parameters"]["Tenant"];
        assert_eq!(parameter["name"], TENANT_HEADER);
        assert_eq!(parameter["required"], false);
    }

    /// What a schema's integers are told to be, each with its place.
    fn integers<'a>(
        document: &'a Value,
        schema: &'a Value,
        at: &str,
        found: &mut BTreeMap<String, &'a Value>,
    ) {
        if let Some(target) = schema["$ref"].as_str() {
            let (place, within) = (target.strip_prefix('#').unwrap(), format!("{target} "));
            if !at.contains(&within) {
                let schema = document.pointer(place).unwrap();
                integers(document, schema, &format!("{at}{within}"), found);
            }
        }
        let kinds = &schema["type"];
        let kinds = [kinds]
            .into_iter()
            .chain(kinds.as_array().into_iter().flatten());
        if kinds.into_iter().any(|kind| kind == "integer") {
            found.insert(at.to_owned(), schema);
        }
        for choice in ["anyOf", "oneOf", "allOf", "prefixItems"] {
            for schema in schema[choice].as_array().into_iter().flatten() {
                integers(document, schema, at, found);
            }
        }
        for rest in ["items", "additionalProperties"] {
            if let Some(schema) = schema.get(rest) {
                integers(document, schema, &format!("{at}/*"), found);
            }
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            integers(document, schema, &format!("{at}/{name}"), found);
        }
    }

    #[test]
    fn an_integer_of_a_body_is_taken_as_far_as_it_is_told() {
        let document = document(PREFIX);
        let (mut told, mut tried) = (0, 0);
        for endpoint in endpoints() {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][&endpoint.path][&method];
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let mut found = BTreeMap::new();
            integers(&document, schema, "", &mut found);
            told += found.len();
            let (id, mut body) = (&endpoint.id, EXAMPLES[&endpoint.id]["request"].clone());
            if is_about_approval(&endpoint.path) {
                body[APPROVAL_MEMBER] = format!("apr_{}", "0".repeat(32)).into();
            }
            if is_about_tenant(&endpoint.path) {
                body[TENANT_MEMBER] = format!("ten_{}", "0".repeat(32)).into();
            }
            for (place, schema) in found {
                let bound = |name: &str| {
                    let number = schema[name].as_number().and_then(Number::as_i128);
                    number.unwrap_or_else(|| panic!("{id}{place} has no {name}"))
                };
                let (least, most) = (bound("minimum"), bound("maximum"));
                let member = place.strip_prefix('/').filter(|name| !name.contains('/'));
                // One is of the request, not of the command.
                let member = member.filter(|name| *name != EXPECTED_VERSION_MEMBER);
                let (Some(member), Some(parse)) = (member, endpoint.parse) else {
                    continue;
                };
                let is_taken = |number: i128| {
                    let mut body = body.clone();
                    body[member] = serde_json::from_str(&number.to_string()).unwrap();
                    parse(&body).is_ok()
                };
                assert!(is_taken(least) && is_taken(most), "{id}{place}");
                if [u32::MAX.into(), u64::MAX.into(), i64::MAX.into()].contains(&most) {
                    assert!(!is_taken(least - 1) && !is_taken(most + 1), "{id}{place}");
                    tried += 1;
                }
            }
        }
        assert!(told > 100 && tried >= 10, "{told} told, {tried} tried");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        found.insert(target.clone());
                    }
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document(PREFIX);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }
}
