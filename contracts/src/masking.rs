//! What becomes of a command's body before it is kept in an audit row or shown to a policy.
//!
//! Words of people, documents that are kept elsewhere, and what says why or where somebody is are
//! masked. Which, is said once, in [`MASKINGS`]: [`masked`] makes the body by it, and [`masked_schema`]
//! tells what such a body may hold. So a rule can name what there is, and nothing else.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    actor::is_actor_id,
    canonical::canonical_sha256,
    command::Operation,
    kill_switch::KillScope,
    template::IncidentTemplate,
    value::is_sha256,
    value::{DetailValue, Slug},
};

/// The keyword of a masked schema that says when its form stands in the place of what was sent.
pub const MARK: &str = "x-masked";

/// The [`MARK`] of what a policy never sees itself.
pub const ALWAYS: &str = "always";

/// One value of a body that is masked.
struct Masking {
    operation: Operation,
    /// Members from the body on, with `/` between them; `*` is each one of a list or an object.
    at: &'static str,
    form: Form,
    when: When,
}

/// What stands there instead.
#[derive(Clone, Copy)]
enum Form {
    /// How long a text is.
    Chars,
    /// How long a document in Base64 is.
    Base64Chars,
    /// The hash of a document that is kept in full elsewhere.
    Sha256,
    /// The same, with one member that is kept.
    Sha256Beside(&'static str),
    /// That something was there: of a few words the length tells which, and their hash does too.
    Hidden,
    /// Nothing.
    Null,
}

/// When it is masked. What should be a hash or an id and is not may be anything, somebody's name too,
/// and a refused attempt is kept as well.
#[derive(Clone, Copy)]
enum When {
    Always,
    NoHash,
    NoActorId,
    NoSwitch,
    NoTimeZone,
    /// The ticket's template does not admit it: see [`admitted_details`].
    NotAdmitted,
}

const fn mask(operation: Operation, at: &'static str, form: Form, when: When) -> Masking {
    Masking {
        operation,
        at,
        form,
        when,
    }
}

const MASKINGS: &[Masking] = {
    use Form::*;
    use Operation::*;
    use When::*;
    &[
        mask(CreateTicket, "description", Chars, Always),
        mask(CreateTicket, "details/*", Null, NotAdmitted),
        mask(Triage, "details/*", Null, NotAdmitted),
        mask(RequestChange, "note", Chars, Always),
        mask(ReturnVisit, "evidence/*/sha256", Chars, NoHash),
        mask(Complete, "evidence/*/sha256", Chars, NoHash),
        // It may hold a message or a name; what it asks for is kept masked with the approval.
        mask(AmendApproval, "body", Sha256, Always),
        mask(CommentApproval, "text", Chars, Always),
        mask(AddNote, "text", Chars, Always),
        mask(RecordProposal, "input", Sha256Beside("kind"), Always),
        mask(RecordProposal, "advice", Sha256Beside("advisor"), Always),
        mask(AddEvidence, "sha256", Chars, NoHash),
        mask(CommsInbound, "provider_message_id", Chars, Always),
        mask(CommsInbound, "peer", Chars, Always),
        mask(CommsInbound, "text", Chars, Always),
        mask(CommsInbound, "raw", Chars, Always),
        mask(CommsOutbound, "text", Chars, Always),
        mask(CommsOutbound, "only_while/scope", Chars, NoSwitch),
        mask(UpsertContact, "name", Chars, Always),
        mask(UpsertContact, "phone", Chars, Always),
        mask(UpsertContact, "email", Chars, Always),
        mask(UpsertContact, "street", Chars, Always),
        // It may be where they live.
        mask(UpsertTechnician, "home_base", Hidden, Always),
        mask(UpsertTechnician, "calendar/time_zone", Chars, NoTimeZone),
        // Why somebody is away is theirs.
        mask(RecordAbsence, "reason", Hidden, Always),
        mask(DelegateApprovals, "reason", Hidden, Always),
        mask(DelegateApprovals, "to", Chars, NoActorId),
        mask(EngageKillSwitch, "scope/actor_id", Chars, NoActorId),
        mask(ReleaseKillSwitch, "scope/actor_id", Chars, NoActorId),
        mask(RecordDrill, "scope/actor_id", Chars, NoActorId),
        mask(PromoteStage, "report_sha256", Chars, NoHash),
        mask(UploadBundle, "archive", Base64Chars, Always),
        // The report itself stays: whether there is one is a fact that rules decide by.
        mask(ActivateBundle, "sha256", Chars, NoHash),
        mask(ActivateBundle, "report/report_sha256", Chars, NoHash),
        mask(ActivateBundle, "report/candidate_sha256", Chars, NoHash),
        mask(CreateTenant, "calendar/time_zone", Chars, NoTimeZone),
        mask(ConfigureTenant, "calendar/time_zone", Chars, NoTimeZone),
        mask(UpsertServiceAccount, "name", Chars, Always),
        // Of the hash only its own hash: enough to prove which one was kept.
        mask(IssueApiKey, "key_hash", Sha256, Always),
        mask(RotateApiKey, "key_hash", Sha256, Always),
    ]
};

fn of(operation: Operation) -> impl Iterator<Item = &'static Masking> {
    MASKINGS
        .iter()
        .filter(move |masking| masking.operation == operation)
}

/// The body of a command as it is kept and as a policy sees it, but for its details: what is admitted
/// there stands in the template, see [`admitted_details`]. Time zones are known to the caller.
pub fn masked(operation: Operation, mut body: Value, is_time_zone: fn(&str) -> bool) -> Value {
    for masking in of(operation) {
        each(&mut body, masking.at, &|value| {
            if masking.when.applies(value, is_time_zone) {
                *value = masking.form.of(value);
            }
        });
    }
    body
}

/// Details without what the template does not list: a refused attempt is recorded too, and such a key
/// or value may be somebody's name. The keys become their number under `?`, which is no key; a value
/// that is not admitted becomes null. The policy refuses both.
pub fn admitted_details(
    details: &BTreeMap<Slug, DetailValue>,
    template: Option<&IncidentTemplate>,
) -> Value {
    let mut kept = Map::new();
    let mut unlisted = 0_u64;
    for (name, value) in details {
        match template.and_then(|template| template.known_details.get(name)) {
            Some(kind) if kind.admits(value) => kept.insert(name.to_string(), json!(value)),
            Some(_) => kept.insert(name.to_string(), Form::Null.of(&json!(value))),
            None => {
                unlisted += 1;
                None
            }
        };
    }
    if unlisted > 0 {
        kept.insert("?".into(), unlisted.into());
    }
    kept.into()
}

/// Whether a value of a masked body tells nothing but that something was there.
pub fn is_hidden(value: &Value) -> bool {
    *value == Form::Hidden.of(value)
}

/// The schema of a masked body, made of that of the body as it is sent. What stands in the place of a
/// value bears the [`MARK`].
pub fn masked_schema(operation: Operation, mut schema: Value) -> Value {
    let definitions = schema["$defs"].clone();
    for masking in of(operation) {
        masking.describe(&mut schema, masking.at, &definitions);
    }
    schema
}

/// The first of the members, and the others.
fn first(at: &str) -> Option<(&str, &str)> {
    (!at.is_empty()).then(|| at.split_once('/').unwrap_or((at, "")))
}

/// Each value that is there.
fn each(value: &mut Value, at: &str, change: &dyn Fn(&mut Value)) {
    match (first(at), value) {
        (None, value) => change(value),
        (Some(("*", rest)), Value::Array(items)) => {
            for item in items {
                each(item, rest, change);
            }
        }
        (Some(("*", rest)), Value::Object(members)) => {
            for (_, member) in members {
                each(member, rest, change);
            }
        }
        (Some((name, rest)), value) => {
            if let Some(member) = value.get_mut(name) {
                each(member, rest, change);
            }
        }
    }
}

impl When {
    fn applies(self, value: &Value, is_time_zone: fn(&str) -> bool) -> bool {
        let is_text_but = |good: fn(&str) -> bool| value.as_str().is_some_and(|text| !good(text));
        match self {
            Self::Always => true,
            Self::NoHash => is_text_but(is_sha256),
            Self::NoActorId => is_text_but(is_actor_id),
            Self::NoSwitch => is_text_but(|text| KillScope::of_key(text).is_some()),
            Self::NoTimeZone => is_text_but(is_time_zone),
            Self::NotAdmitted => false,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Always => ALWAYS,
            Self::NoHash => "where it is no hash",
            Self::NoActorId => "where it is no actor's id",
            Self::NoSwitch => "where it names no kill switch",
            Self::NoTimeZone => "where there is no such zone",
            Self::NotAdmitted => "where the template does not admit it",
        }
    }
}

impl Form {
    fn of(self, value: &Value) -> Value {
        let hash = || canonical_sha256(value).expect("a JSON value always serialises");
        match self {
            Self::Chars => json!({ "chars": value.as_str().map(|text| text.chars().count()) }),
            Self::Base64Chars => json!({ "base64_chars": value.as_str().map(str::len) }),
            Self::Sha256 => json!({ "sha256": hash() }),
            Self::Sha256Beside(member) => json!({ member: value[member], "sha256": hash() }),
            Self::Hidden => json!({ "hidden": true }),
            Self::Null => Value::Null,
        }
    }

    /// The schema of [`Self::of`] a value that has this one.
    fn schema(self, sent: &Value, definitions: &Value) -> Value {
        let length = |says: &str| json!({ "type": "integer", "minimum": 0, "description": says });
        let hash = json!({
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "SHA-256 of its canonical JSON.",
        });
        let properties = match self {
            Self::Chars => json!({ "chars": length("How many characters it has.") }),
            Self::Base64Chars => json!({ "base64_chars": length("How long its Base64 is.") }),
            Self::Sha256 => json!({ "sha256": hash }),
            Self::Sha256Beside(name) => {
                let mut beside = Vec::new();
                member(sent, name, definitions, &mut beside);
                let beside = match beside.len() {
                    1 => beside.remove(0),
                    _ => json!({ "anyOf": beside }),
                };
                json!({ name: beside, "sha256": hash })
            }
            Self::Hidden => json!({
                "hidden": { "type": "boolean", "const": true, "description": "That it was there." },
            }),
            Self::Null => return json!({ "type": "null" }),
        };
        let required = properties.as_object().into_iter().flatten();
        let required: Vec<_> = required.map(|(name, _)| name).collect();
        json!({
            "type": "object",
            "required": required,
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

impl Masking {
    fn describe(&self, schema: &mut Value, at: &str, definitions: &Value) {
        let Some((name, rest)) = first(at) else {
            *schema = self.seen(schema, definitions);
            return;
        };
        inline(schema, definitions);
        for alternatives in ["anyOf", "oneOf", "allOf"] {
            let list = schema.get_mut(alternatives).and_then(Value::as_array_mut);
            for alternative in list.into_iter().flatten() {
                self.describe(alternative, at, definitions);
            }
        }
        let below = match name {
            "*" if schema.get("items").is_some() => schema.get_mut("items"),
            "*" => schema.get_mut("additionalProperties"),
            name => schema
                .get_mut("properties")
                .and_then(|list| list.get_mut(name)),
        };
        if let Some(below) = below.filter(|below| below.is_object()) {
            self.describe(below, rest, definitions);
        }
    }

    /// What a policy may find where a value of this schema was sent.
    fn seen(&self, sent: &Value, definitions: &Value) -> Value {
        let mut form = self.form.schema(sent, definitions);
        form[MARK] = self.when.words().into();
        let mut seen = match self.when {
            When::Always => form,
            _ => json!({ "anyOf": [sent, form] }),
        };
        if let Some(description) = sent.get("description") {
            seen["description"] = description.clone();
        }
        seen
    }
}

/// Puts the definition in the place of the reference, so that it can be changed here alone.
fn inline(schema: &mut Value, definitions: &Value) {
    let Some(definition) = referred(schema, definitions).and_then(Value::as_object) else {
        return;
    };
    if let Some(members) = schema.as_object_mut() {
        members.remove("$ref");
        for (name, value) in definition {
            members.entry(name).or_insert_with(|| value.clone());
        }
    }
}

fn referred<'a>(schema: &Value, definitions: &'a Value) -> Option<&'a Value> {
    let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
    definitions.get(name)
}

/// The schemas of a member, in each alternative.
fn member(schema: &Value, name: &str, definitions: &Value, found: &mut Vec<Value>) {
    let own = schema.get("properties").and_then(|list| list.get(name));
    if let Some(own) = own {
        found.push(own.clone());
        return;
    }
    if let Some(definition) = referred(schema, definitions) {
        member(definition, name, definitions, found);
    }
    for alternatives in ["anyOf", "oneOf", "allOf"] {
        let list = schema.get(alternatives).and_then(Value::as_array);
        for alternative in list.into_iter().flatten() {
            member(alternative, name, definitions, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use strum::VariantArray;

    use super::*;

    fn schema(operation: Operation) -> Value {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/commands");
        let text = fs::read_to_string(format!("{folder}/{operation}.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Every schema that is reached from the root, with its place.
    fn reached(
        schema: &Value,
        at: &str,
        definitions: &Value,
        seen: &mut BTreeSet<String>,
        visit: &mut dyn FnMut(&Value, &str),
    ) {
        visit(schema, at);
        if let Some(name) = schema.get("$ref").and_then(Value::as_str)
            && !seen.insert(name.to_owned())
        {
            return;
        }
        let below = referred(schema, definitions).into_iter();
        let listed = ["anyOf", "oneOf", "allOf", "prefixItems"].into_iter();
        let listed = listed.filter_map(|list| schema.get(list)?.as_array());
        let single = ["items", "additionalProperties"].into_iter();
        let single = single.filter_map(|one| schema.get(one));
        for below in below.chain(listed.flatten()).chain(single) {
            reached(below, at, definitions, seen, visit);
        }
        let members = schema.get("properties").and_then(Value::as_object);
        for (name, member) in members.into_iter().flatten() {
            let at = format!("{at}/{name}");
            reached(member, &at, definitions, &mut seen.clone(), visit);
        }
    }

    fn visit(schema: &Value, visit: &mut dyn FnMut(&Value, &str)) {
        reached(schema, "", &schema["$defs"], &mut BTreeSet::new(), visit);
    }

    #[test]
    fn each_masking_has_its_place() {
        for operation in Operation::VARIANTS {
            let mut marks = 0;
            visit(
                &masked_schema(*operation, schema(*operation)),
                &mut |s, _| {
                    marks += usize::from(s.get(MARK).is_some());
                },
            );
            assert_eq!(marks, of(*operation).count(), "{operation}");
        }
    }

    #[test]
    fn no_text_of_people_is_left_out() {
        let mut texts = 0;
        let free = |schema: &Value| {
            let rule = ["pattern", "format", "const", "enum"];
            schema["type"]
                .as_str()
                .or_else(|| schema["type"][0].as_str())
                == Some("string")
                && rule.iter().all(|rule| schema.get(*rule).is_none())
        };
        for operation in Operation::VARIANTS {
            let sent = schema(*operation);
            visit(&sent, &mut |schema, _| texts += usize::from(free(schema)));
            let mut left = Vec::new();
            let mut with_form = BTreeSet::new();
            visit(&masked_schema(*operation, sent), &mut |schema, at| {
                if schema.get(MARK).is_some() {
                    with_form.insert(at.to_owned());
                }
                if free(schema) {
                    left.push(at.to_owned());
                }
            });
            left.retain(|at| !with_form.contains(at));
            assert_eq!(left, [""; 0], "{operation}: mask it");
        }
        assert!(texts > 15, "{texts}");
    }

    #[test]
    fn a_document_is_its_hash_and_what_is_said_beside_it() {
        let advice = json!({ "advisor": "triage_v1", "ranked": [], "excluded": [] });
        let body = json!({ "applied_seq": 7, "input": { "kind": "triage" }, "advice": advice });
        let seen = masked(Operation::RecordProposal, body, |_| true);
        assert_eq!(
            seen["advice"],
            json!({ "advisor": "triage_v1", "sha256": canonical_sha256(&advice).unwrap() })
        );
        assert_eq!(
            (&seen["input"]["kind"], &seen["applied_seq"]),
            (&json!("triage"), &json!(7))
        );
    }

    #[test]
    fn what_should_be_a_hash_and_is_not_is_masked_where_it_stands() {
        let report = |hash: &str| json!({ "candidate_sha256": hash, "decisions": 9 });
        let hash = "0f".repeat(32);
        let body = |other| json!({ "sha256": hash, "report": report(other) });
        let seen = |other| masked(Operation::ActivateBundle, body(other), |_| true);
        assert_eq!(seen(&hash), body(&hash));
        let hidden = seen("Anna, 06-1234");
        assert_eq!(
            hidden["report"],
            json!({ "candidate_sha256": { "chars": 13 }, "decisions": 9 })
        );
    }
}
