//! The catalogue of facts, `docs/policy-facts.md`: what a rule may ask for, for each command. Made of
//! the published schemas with their masked values, so that it cannot say anything else than what a
//! policy is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use contracts::{
    Operation,
    approval::ApprovalKind,
    command::CommandClass,
    masking::{ALWAYS, MARK, masked_schema},
};
use serde_json::Value;
use strum::VariantArray;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy-facts.md");
const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/schemas");

/// What tells of a masked value so little that it needs no row of its own.
const LITTLE: [&str; 2] = ["chars", "hidden"];
/// More words than this are listed once, at the end.
const MOST_WORDS: usize = 5;

const INTRODUCTION: &str = "\
# What a policy is asked

Every fact that a rule may name. Made of the schemas by
`UPDATE_EXPECT=1 cargo test -p dispatch-policy --test facts`; a rule that names anything else is
refused when its bundle is checked. How to write one: [policy-authoring.md](policy-authoring.md).

A fact that is not there (*optional*, or null) is undefined in Rego: a condition that names it does
not hold. The document holds no names, phones, streets or free text. What is masked is an object of
what a rule may know: of a text `chars`, its length; of a document that is kept elsewhere its `sha256`
or its length; of what says why or where somebody is that it is there (`hidden`). What should be a hash
or an id and is not is masked too, and a detail that the template does not admit is null.
";

struct Schema(Value);

fn read(path: &str) -> Schema {
    let text = fs::read_to_string(format!("{SCHEMAS}/{path}.json"))
        .unwrap_or_else(|error| panic!("{path}: {error}; generate the schemas"));
    Schema(serde_json::from_str(&text).unwrap())
}

fn named(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// The members of what stands in the place of a masked value.
fn masked(schema: &Value) -> Option<Vec<&str>> {
    schema.get(MARK)?;
    let members = schema.get("properties").and_then(Value::as_object);
    Some(
        members
            .into_iter()
            .flatten()
            .map(|(name, _)| &**name)
            .collect(),
    )
}

fn tells_little(schema: &Value) -> bool {
    masked(schema).is_some_and(|members| members.iter().all(|name| LITTLE.contains(name)))
}

impl Schema {
    /// What a schema stands for: what it refers to, each of its alternatives but null.
    fn variants<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(name) = named(schema) {
            return self.variants(&self.0["$defs"][name]);
        }
        for alternatives in ["anyOf", "oneOf", "allOf"] {
            if let Some(list) = schema.get(alternatives).and_then(Value::as_array) {
                return list
                    .iter()
                    .flat_map(|schema| self.variants(schema))
                    .collect();
            }
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("null") => Vec::new(),
            _ => vec![schema],
        }
    }

    /// The first name by which a schema is referred to, through `anyOf` too.
    fn name<'a>(&self, schema: &'a Value) -> Option<&'a str> {
        named(schema).or_else(|| schema.get("anyOf")?.as_array()?.iter().find_map(named))
    }

    /// One row per fact below `path`.
    fn rows(&self, schema: &Value, path: &str, rows: &mut Vec<[String; 3]>) {
        for variant in self.variants(schema) {
            if tells_little(variant) {
                continue;
            }
            let required: BTreeSet<&str> = variant
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let fields = variant.get("properties").and_then(Value::as_object);
            for (field, schema) in fields.into_iter().flatten() {
                let path = format!("{path}.{field}");
                if rows.iter().any(|[known, ..]| *known == path) {
                    continue;
                }
                let optional = if required.contains(field.as_str()) {
                    ""
                } else {
                    ", optional"
                };
                let meaning = schema.get("description").and_then(Value::as_str);
                rows.push([
                    path.clone(),
                    format!("{}{optional}", self.kind(schema)),
                    meaning
                        .unwrap_or_default()
                        .replace('|', "\\|")
                        .replace('\n', " ")
                        .replace("  ", " "),
                ]);
                self.below(schema, &path, rows);
            }
        }
    }

    fn below(&self, schema: &Value, path: &str, rows: &mut Vec<[String; 3]>) {
        self.rows(schema, path, rows);
        for variant in self.variants(schema) {
            if let Some(items) = variant.get("items").filter(|items| items.is_object()) {
                self.below(items, &format!("{path}[_]"), rows);
            }
        }
    }

    fn kind(&self, schema: &Value) -> String {
        let words = self.words(schema);
        if !words.is_empty() {
            return match words.len() <= MOST_WORDS {
                true => format!("`{}`", words.join("`, `")),
                false => self
                    .name(schema)
                    .map_or("a word".into(), |name| format!("`{name}`")),
            };
        }
        let variants = self.variants(schema);
        let mut kinds: Vec<String> = variants
            .iter()
            .map(|variant| self.kind_of_one(schema, variant))
            .collect();
        kinds.dedup();
        kinds.join(" or ")
    }

    /// The words that a fact may be.
    fn words<'a>(&'a self, schema: &'a Value) -> Vec<&'a str> {
        let variants = self.variants(schema);
        let words = variants.iter().flat_map(|variant| {
            let listed = variant.get("enum").and_then(Value::as_array);
            listed.into_iter().flatten().chain(variant.get("const"))
        });
        words.filter_map(Value::as_str).collect()
    }

    /// The names of long lists of words.
    fn long_lists(&self, found: &mut BTreeMap<String, String>) {
        for (name, schema) in self.0["$defs"].as_object().into_iter().flatten() {
            let words = self.words(schema);
            if words.len() > MOST_WORDS {
                found.insert(name.clone(), words.join("`, `"));
            }
        }
    }

    fn kind_of_one(&self, schema: &Value, variant: &Value) -> String {
        let says = |key: &str| variant.get(key).and_then(Value::as_str);
        if let Some(members) = masked(variant) {
            let members = format!("`{{{}}}`", members.join(", "));
            return match says(MARK) {
                Some(ALWAYS) => format!("masked: {members}"),
                when => format!("{members} {}", when.unwrap_or_default()),
            };
        }
        let kind = match variant.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            kind => kind.and_then(Value::as_str),
        };
        let kind = match (kind, says("format")) {
            (Some("string"), Some("date-time")) => "moment, RFC 3339",
            (Some("string"), Some("date")) => "date",
            (Some("string"), _) => match self.name(schema) {
                Some(name) => return format!("`{name}`"),
                None => "string",
            },
            (Some("integer"), _) => "whole number",
            (Some("boolean"), _) => "true or false",
            (Some("array"), _) => match variant.get("items") {
                Some(items) if items.is_object() => return format!("list of {}", self.kind(items)),
                _ => "list",
            },
            (Some("object"), _) => match variant.get("additionalProperties") {
                Some(values) if values.is_object() => {
                    return format!("object of {}", self.kind(values));
                }
                _ => "object",
            },
            _ => "anything",
        };
        kind.into()
    }
}

fn table(text: &mut String, rows: &[[String; 3]]) {
    text.push_str("\n| Fact | Is | Meaning |\n|---|---|---|\n");
    for [path, kind, meaning] in rows {
        writeln!(text, "| `{path}` | {kind} | {meaning} |").unwrap();
    }
}

/// What else is known when this command is attempted.
fn about(operation: Operation) -> String {
    let ticket = match operation.class() {
        _ if operation == Operation::CreateTicket => "`input.ticket` is null.",
        CommandClass::Filing => "It is about no ticket: `input.ticket` is null.",
        CommandClass::Waiting => "`input.approval` is there, and `input.ticket` if it has one.",
        _ if operation.path().starts_with("/approvals") => {
            "`input.approval` is there, and `input.ticket` if it has one."
        }
        CommandClass::Change | CommandClass::Bookkeeping => "`input.ticket` is there.",
    };
    let held = match ApprovalKind::of_held(operation) {
        Some(kind) => format!("It can be held for an approval (`{kind}`)."),
        None => "It cannot be held for an approval.".to_owned(),
    };
    format!("`{}`. {ticket} {held}", operation.path())
}

fn render() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## For every command\n");
    let input = read("policy/input");
    let mut rows = Vec::new();
    input.rows(&input.0, "input", &mut rows);
    table(&mut text, &rows);
    let mut lists = BTreeMap::new();
    input.long_lists(&mut lists);
    text.push_str("\n## By command\n\n`input.body` is what the caller sent, masked.\n");
    for operation in Operation::VARIANTS {
        write!(text, "\n### `{operation}`\n\n{}\n", about(*operation)).unwrap();
        let sent = read(&format!("commands/{operation}")).0;
        let body = Schema(masked_schema(*operation, sent));
        body.long_lists(&mut lists);
        let mut rows = Vec::new();
        body.rows(&body.0, "input.body", &mut rows);
        if rows.is_empty() {
            text.push_str("\nIts body is empty.\n");
        } else {
            table(&mut text, &rows);
        }
    }
    lists.retain(|name, _| text.contains(&format!("`{name}`")));
    text.push_str("\n## Lists of words\n\n| List | Words |\n|---|---|\n");
    for (name, words) in lists {
        writeln!(text, "| `{name}` | `{words}` |").unwrap();
    }
    text
}

#[test]
fn the_catalogue_is_that_of_the_schemas() {
    let text = render();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(FILE, &text).unwrap();
    }
    assert!(
        fs::read_to_string(FILE).unwrap_or_default() == text,
        "docs/policy-facts.md is not what a policy is asked; run with UPDATE_EXPECT=1"
    );
}

/// Codes that the rules of the starter give, and those that hold.
fn codes() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle/dispatch");
    let mut codes = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with("_test.rego") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for constructor in ["unmet", "forbidden", "stage", "stopped", "held"] {
            let call = format!("{constructor}(\"");
            let calls = text.split(&call).skip(1);
            codes.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    codes
}

#[test]
fn the_page_about_the_starter_names_every_code() {
    let page = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/starter-policy.md"
    ))
    .unwrap();
    let codes = codes();
    assert!(codes.len() > 40, "{codes:?}");
    let unnamed: Vec<_> = codes
        .iter()
        .filter(|code| !page.contains(&format!("`{code}`")))
        .collect();
    assert!(
        unnamed.is_empty(),
        "docs/starter-policy.md lacks {unnamed:?}"
    );
    let capitals = |word: &&str| {
        word.contains('_') && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let gone: Vec<_> = page
        .split('`')
        .filter(capitals)
        .filter(|word| *word != "CHANGE_ORDER" && !codes.contains(*word))
        .collect();
    assert!(gone.is_empty(), "docs/starter-policy.md names {gone:?}");
}

#[test]
fn it_names_what_the_rules_of_the_starter_name() {
    let catalogue = render();
    for fact in [
        "input.ticket.nte_cents",
        "input.body.lines[_].unit_cents",
        "input.release.votes[_].actor_id",
        "input.tenant.quiet_hours.from_minute",
        "input.hour.spends_cents",
        "input.lent[_].roles",
        "input.body.advice.sha256",
        "input.body.input.kind",
        "input.body.archive.base64_chars",
    ] {
        assert!(catalogue.contains(&format!("| `{fact}` |")), "{fact}");
    }
    for gone in ["input.body.advice.ranked", "input.body.home_base.lat_e6"] {
        assert!(!catalogue.contains(gone), "{gone}");
    }
}
