//! What a rule may ask for: the JSON Schemas of the input, as `contracts` publishes them.
//!
//! In Rego a misspelt fact is undefined, so the rule that names it never holds: a condition that
//! was meant to refuse lets everything pass, and no evaluation ever says so. Therefore each
//! reference below `input` is looked up here when a bundle is admitted. The same holds of a body's
//! masked values: what stands in their place is no text, so that nothing is ever equal to it.

use std::{collections::BTreeMap, sync::LazyLock};

use contracts::masking::{ALWAYS, MARK, masked_schema};
use regorus::{
    Source,
    unstable::{Lexer, Token, TokenKind},
};
use serde_json::{Value, json};

use crate::{error::BundleError, evaluator::rego, files::BundleFiles};

const INPUT: &str = include_str!("../../contracts/schemas/policy/input.json");

/// The body of each command that has a schema.
const COMMANDS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/command_schemas.rs"));

/// Facts that dispatch-api always hands over, if only as `null`.
const HANDED_OVER: [&str; 2] = ["ticket", "approval"];

/// All schemas, parsed once.
pub(crate) struct Schemas {
    input: Value,
    bodies: BTreeMap<&'static str, Value>,
}

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| Schemas {
    input: parse(INPUT),
    bodies: COMMANDS
        .iter()
        .filter_map(|(name, text)| {
            let operation = name.parse().ok()?;
            Some((*name, masked_schema(operation, parse(text))))
        })
        .collect(),
});

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("a published schema is JSON")
}

/// A schema and the document that its references point into.
#[derive(Clone, Copy)]
struct Node<'a> {
    document: &'a Value,
    schema: &'a Value,
}

/// The next part of a reference.
enum Piece<'a> {
    Key(&'a str),
    Any,
}

impl Schemas {
    /// The schemas of this version.
    pub(crate) fn get() -> &'static Self {
        &SCHEMAS
    }

    /// Refuses a rule that names what no input holds.
    pub(crate) fn check(&self, files: &BundleFiles) -> Result<(), BundleError> {
        for (path, text) in files.modules() {
            let source = Source::from_contents(path.to_owned(), text.to_owned())
                .map_err(|error| rego(&error))?;
            let tokens = tokens(&source)?;
            for index in 0..tokens.len() {
                if imports_input(&tokens, index) {
                    let span = &tokens[index].1;
                    return Err(BundleError::ImportedFact {
                        path: path.to_owned(),
                        line: span.line,
                        column: span.col,
                    });
                }
                if begins_reference(&tokens, index) {
                    self.check_reference(path, &tokens, index)?;
                }
            }
        }
        Ok(())
    }

    /// The token at `index` is `input`.
    fn check_reference(
        &self,
        path: &str,
        tokens: &[Token],
        index: usize,
    ) -> Result<(), BundleError> {
        let (before, tokens) = tokens.split_at(index);
        let mut nodes = vec![Node {
            document: &self.input,
            schema: &self.input,
        }];
        let mut fact = String::from("input");
        let span = &tokens[0].1;
        let mut rest = &tokens[1..];
        let mut end = tokens[0].1.end;
        while let Some((part, length)) = next_part(rest, end) {
            let below_body = fact == "input" && matches!(part, Piece::Key("body"));
            let found = if below_body {
                Some(self.bodies().collect())
            } else {
                step(&nodes, &part)
            };
            let name = match part {
                Piece::Key(key) => key,
                Piece::Any => "_",
            };
            let Some(found) = found else {
                return Err(BundleError::UnknownFact {
                    path: path.to_owned(),
                    line: span.line,
                    column: span.col,
                    fact: format!("{fact}.{name}"),
                    nearest: there_is(&fact, &nodes),
                });
            };
            if found.is_empty() {
                return Ok(());
            }
            fact = format!("{fact}.{name}");
            nodes = found;
            end = rest[length - 1].1.end;
            rest = &rest[length..];
        }
        if is_masked(&nodes) && is_compared(before, rest) {
            return Err(BundleError::MaskedFact {
                path: path.to_owned(),
                line: span.line,
                column: span.col,
                nearest: there_is(&fact, &nodes),
                fact,
            });
        }
        Ok(())
    }

    fn bodies(&self) -> impl Iterator<Item = Node<'_>> {
        self.bodies.values().map(|schema| Node {
            document: schema,
            schema,
        })
    }

    /// An input that has every field, as the schemas describe them.
    pub(crate) fn full_input(&self) -> Value {
        let mut input = sample(Node {
            document: &self.input,
            schema: &self.input,
        });
        input["v"] = json!(1);
        input
    }

    /// The same without what is there on occasion only.
    pub(crate) fn plain_input(&self) -> Value {
        let mut input = self.full_input();
        let required = self.input["required"].as_array();
        if let (Some(fields), Some(required)) = (input.as_object_mut(), required) {
            fields.retain(|name, _| {
                HANDED_OVER.contains(&name.as_str()) || required.iter().any(|field| field == name)
            });
        }
        input
    }

    /// A body of a command that has every field; empty for one that has no schema.
    pub(crate) fn sample_body(&self, operation: &str) -> Value {
        self.body(operation, sample)
    }

    /// The same where nothing is what it should be: what may be masked is.
    pub(crate) fn malformed_body(&self, operation: &str) -> Value {
        self.body(operation, malformed)
    }

    fn body(&self, operation: &str, sample: fn(Node<'_>) -> Value) -> Value {
        self.bodies.get(operation).map_or_else(
            || json!({}),
            |schema| {
                sample(Node {
                    document: schema,
                    schema,
                })
            },
        )
    }
}

pub(crate) fn tokens(source: &Source) -> Result<Vec<Token>, BundleError> {
    let mut lexer = Lexer::new(source);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token().map_err(|error| rego(&error))?;
        if token.0 == TokenKind::Eof {
            return Ok(tokens);
        }
        tokens.push(token);
    }
}

fn is(tokens: &[Token], index: usize, kind: TokenKind, text: &str) -> bool {
    tokens
        .get(index)
        .is_some_and(|token| token.0 == kind && token.1.text() == text)
}

fn begins_reference(tokens: &[Token], index: usize) -> bool {
    is(tokens, index, TokenKind::Ident, "input")
        && !(index > 0 && is(tokens, index - 1, TokenKind::Symbol, "."))
}

/// Under the name that an import gives it, a fact could not be looked up here.
fn imports_input(tokens: &[Token], index: usize) -> bool {
    is(tokens, index, TokenKind::Ident, "import")
        && is(tokens, index + 1, TokenKind::Ident, "input")
}

/// `.name`, `["name"]` or `[anything]` right after `end`, and how many tokens it takes.
fn next_part(tokens: &[Token], end: u32) -> Option<(Piece<'_>, usize)> {
    let open = tokens.first().filter(|token| token.1.start == end)?;
    let second = tokens.get(1)?;
    match (open.1.text(), &second.0) {
        (".", TokenKind::Ident) => Some((Piece::Key(second.1.text()), 2)),
        ("[", kind) => {
            let closed = tokens.get(2).is_some_and(|token| token.1.text() == "]");
            match kind {
                _ if !closed => None,
                TokenKind::String | TokenKind::RawString => Some((Piece::Key(second.1.text()), 3)),
                _ => Some((Piece::Any, 3)),
            }
        }
        _ => None,
    }
}

/// Whether a policy never sees the value itself, whichever command it is asked about.
fn is_masked(nodes: &[Node<'_>]) -> bool {
    let mut variants = nodes.iter().flat_map(|node| variants(*node)).peekable();
    variants.peek().is_some()
        && variants.all(|node| node.schema.get(MARK).and_then(Value::as_str) == Some(ALWAYS))
}

/// Whether the reference between these tokens is compared, looked up or counted as what it is not.
/// That something is there at all may be asked by a comparison with null.
fn is_compared(before: &[Token], after: &[Token]) -> bool {
    let is_null = |token: Option<&Token>| {
        token.is_some_and(|token| token.0 == TokenKind::Ident && token.1.text() == "null")
    };
    let compares = |token: Option<&Token>| {
        token.is_some_and(|token| {
            token.0 == TokenKind::Symbol
                && ["==", "!=", "<", "<=", ">", ">="].contains(&token.1.text())
        })
    };
    let text = |token: Option<&Token>| token.map_or("", |token| token.1.text()).to_owned();
    let (left, operator) = match before {
        [.., left, operator] => (Some(left), Some(operator)),
        rest => (None, rest.last()),
    };
    compares(operator) && !is_null(left)
        || compares(after.first()) && !is_null(after.get(1))
        || text(after.first()) == "in"
        || text(operator) == "(" && text(left) == "count"
}

/// What stands below; `Some` and empty: anything may. `None`: nothing does.
fn step<'a>(nodes: &[Node<'a>], part: &Piece<'_>) -> Option<Vec<Node<'a>>> {
    let mut below = Vec::new();
    let mut possible = false;
    for node in nodes.iter().flat_map(|node| variants(*node)) {
        let at = |schema| Node { schema, ..node };
        let fields = node.schema.get("properties").and_then(Value::as_object);
        let others = node.schema.get("additionalProperties");
        let items = node.schema.get("items");
        match (part, fields, others, items) {
            (Piece::Key(key), Some(fields), ..) if fields.contains_key(*key) => {
                below.push(at(&fields[*key]));
            }
            (_, _, Some(others @ Value::Object(_)), _) => below.push(at(others)),
            (Piece::Any, _, _, Some(items)) => below.push(at(items)),
            (Piece::Any, Some(_), ..) | (_, _, Some(Value::Bool(true)), _) => {
                return Some(Vec::new());
            }
            (_, None, _, None) if node.schema.get("type").is_none() => return Some(Vec::new()),
            _ => continue,
        }
        possible = true;
    }
    possible.then_some(below)
}

/// The schemas that a schema stands for: what it refers to, each of its alternatives.
fn variants(node: Node<'_>) -> Vec<Node<'_>> {
    if let Some(name) = node.schema.get("$ref").and_then(Value::as_str) {
        let target = name
            .strip_prefix('#')
            .and_then(|at| node.document.pointer(at));
        return target.map_or_else(Vec::new, |schema| variants(Node { schema, ..node }));
    }
    for alternatives in ["anyOf", "oneOf", "allOf"] {
        if let Some(list) = node.schema.get(alternatives).and_then(Value::as_array) {
            let each = list.iter().map(|schema| Node { schema, ..node });
            return each.flat_map(variants).collect();
        }
    }
    // A constant or an enumeration says its type by its values.
    vec![node]
}

/// "`input.ticket` has: …".
fn there_is(fact: &str, nodes: &[Node<'_>]) -> String {
    let mut names: Vec<&str> = nodes
        .iter()
        .flat_map(|node| variants(*node))
        .filter_map(|node| node.schema.get("properties")?.as_object())
        .flat_map(|fields| fields.keys().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        format!("`{fact}` has no fields")
    } else {
        format!("`{fact}` has: {}", names.join(", "))
    }
}

/// Fields of which not every text is one: the schema does not say so, and builtins mind.
const KNOWN: [(&str, &str); 2] = [("time_zone", "Europe/Amsterdam"), ("currency", "EUR")];

/// A value that fits the schema, with every field that there may be.
fn sample(node: Node<'_>) -> Value {
    sample_of(node, false)
}

/// The same, masked where that may be.
fn malformed(node: Node<'_>) -> Value {
    sample_of(node, true)
}

fn sample_of(node: Node<'_>, malformed: bool) -> Value {
    let mut variants = variants(node);
    variants.retain(|node| node.schema.get("type") != Some(&json!("null")));
    let masked = variants
        .iter()
        .find(|node| malformed && node.schema.get(MARK).is_some());
    let Some(&node) = masked.or(variants.first()) else {
        return Value::Null;
    };
    let Node { schema, .. } = node;
    if let Some(value) = schema.get("const").or_else(|| schema.pointer("/enum/0")) {
        return value.clone();
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().find(|kind| **kind != json!("null")),
        kind => kind,
    };
    match kind.and_then(Value::as_str) {
        Some("object") => {
            let fields = schema.get("properties").and_then(Value::as_object);
            let fields = fields.into_iter().flatten();
            fields
                .map(|(name, schema)| {
                    let known = KNOWN.iter().find(|(known, _)| known == name);
                    let value = match known {
                        Some((_, text)) if !malformed => json!(text),
                        _ => sample_of(Node { schema, ..node }, malformed),
                    };
                    (name.clone(), value)
                })
                .collect()
        }
        Some("array") => {
            let tuple = schema.get("prefixItems").and_then(Value::as_array);
            let items = tuple.into_iter().flatten().chain(schema.get("items"));
            items
                .filter(|schema| schema.is_object())
                .map(|schema| sample_of(Node { schema, ..node }, malformed))
                .collect()
        }
        Some("string") => json!(sample_text(schema)),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

fn sample_text(schema: &Value) -> String {
    let says = |key: &str| schema.get(key).and_then(Value::as_str);
    match says("format") {
        Some("date-time") => return "2026-01-01T00:00:00Z".to_owned(),
        Some("date") => return "2026-01-01".to_owned(),
        _ => {}
    }
    // Ids are `^tkt_[0-9a-f]{32}$`.
    match says("pattern").and_then(|pattern| pattern.strip_prefix('^')?.split_once('_')) {
        Some((prefix, _)) if prefix.len() == 3 && prefix.is_ascii() => {
            format!("{prefix}_{}", "0".repeat(32))
        }
        _ => "sample".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use contracts::{Operation, policy::PolicyInput};
    use strum::VariantArray;

    use super::*;

    fn check(rule: &str) -> Result<(), BundleError> {
        let text = format!("package dispatch\n\nx if {rule}\n");
        Schemas::get().check(&BundleFiles::from_texts([("x.rego", text)]).unwrap())
    }

    #[test]
    fn every_command_has_its_schema() {
        for operation in Operation::VARIANTS {
            assert!(
                Schemas::get()
                    .bodies
                    .contains_key(operation.to_string().as_str()),
                "{operation}: generate its schema"
            );
        }
    }

    #[test]
    fn the_samples_are_inputs() {
        for sample in [Schemas::get().full_input(), Schemas::get().plain_input()] {
            let input = serde_json::from_value::<PolicyInput>(sample.clone());
            input.unwrap_or_else(|error| panic!("{error}: {sample:#}"));
        }
    }

    #[test]
    fn the_sample_of_a_body_is_what_a_policy_sees_of_one() {
        let note = Schemas::get().sample_body("add_note");
        assert_eq!(note, json!({ "text": { "chars": 0 } }));
        let invoice = Schemas::get().sample_body("generate_invoice");
        assert!(invoice["lines"][0]["unit_cents"].is_i64(), "{invoice}");
        let proposal = Schemas::get().sample_body("record_proposal");
        assert_eq!(proposal["input"]["kind"], "triage", "{proposal}");
        let bundle = Schemas::get().malformed_body("activate_bundle");
        assert_eq!(bundle["report"]["report_sha256"], json!({ "chars": 0 }));
        assert!(bundle["report"]["decisions"].is_i64(), "{bundle}");
    }

    #[test]
    fn what_an_input_may_hold_can_be_asked_for() {
        for fine in [
            "input.ticket.nte_cents > 1",
            "input.ticket[\"state\"] == \"NEW\"",
            "input.ticket.details.pane_count > 1",
            "input.ticket.details[name] == 1",
            "input.ticket.evidence[_] == \"photo\"",
            "input.body.lines[0].unit_cents > 1",
            "input.body.text.chars > 1",
            "input.body.advice.sha256 != \"\"",
            "input.body.input.kind == \"triage\"",
            "input.body.archive.base64_chars > 100",
            "input.body.sha256.chars != 64",
            "input.body.report.candidate_sha256 != input.body.sha256",
            "input.body.reason == \"sick\"",
            "not input.body.note",
            "input.body.note != null",
            "null != input.body.note",
            "some x in input.body.text",
            "input.actor.roles[_] == \"qa\"",
            "some line in input.body.lines; line.anything",
            "other.input.nothing",
            "input == {}",
        ] {
            check(fine).unwrap_or_else(|error| panic!("{fine}: {error}"));
        }
    }

    #[test]
    fn a_misspelt_fact_is_refused_where_it_stands() {
        for (wrong, fact) in [
            ("input.tiket.state", "input.tiket"),
            ("input.ticket.nte > 1", "input.ticket.nte"),
            ("not input.ticket[\"stat\"]", "input.ticket.stat"),
            ("input.ticket.state.name", "input.ticket.state.name"),
            ("input.body.prise", "input.body.prise"),
            ("input.body.lines[_].unit", "input.body.lines._.unit"),
            ("input.body.text.length", "input.body.text.length"),
            (
                "count(input.body.advice.ranked) > 1",
                "input.body.advice.ranked",
            ),
            (
                "input.body.home_base.lat_e6 > 1",
                "input.body.home_base.lat_e6",
            ),
        ] {
            match check(wrong) {
                Err(BundleError::UnknownFact {
                    path,
                    line,
                    fact: named,
                    ..
                }) => {
                    assert_eq!((path.as_str(), line), ("x.rego", 3));
                    assert_eq!(named, fact);
                }
                other => panic!("{wrong}: {other:?}"),
            }
        }
        for import in ["input", "input.ticket", "input.ticket as asked"] {
            let text = format!("package dispatch\n\nimport {import}\n\nx if asked.nte > 1\n");
            let files = BundleFiles::from_texts([("x.rego", text)]).unwrap();
            match Schemas::get().check(&files) {
                Err(BundleError::ImportedFact { path, line, column }) => {
                    assert_eq!((path.as_str(), line, column), ("x.rego", 3, 1));
                }
                other => panic!("{import}: {other:?}"),
            }
        }
        // Each of these would never hold.
        for wrong in [
            "input.body.provider_message_id == \"sandbox\"",
            "\"sandbox\" != input.body.peer",
            "input.body.raw in {\"a\"}",
            "count(input.body.archive) > 100",
            "input.body.home_base == data.home",
        ] {
            match check(wrong) {
                Err(BundleError::MaskedFact { path, line, .. }) => {
                    assert_eq!((path.as_str(), line), ("x.rego", 3));
                }
                other => panic!("{wrong}: {other:?}"),
            }
        }
        let message = check("input.body.raw <= 7").unwrap_err().to_string();
        assert!(
            message.ends_with("`input.body.raw` has: chars"),
            "{message}"
        );
        let message = check("input.ticket.nte > 1").unwrap_err().to_string();
        assert!(message.starts_with("x.rego:3:6: "), "{message}");
        assert!(message.contains("nte_cents"), "{message}");
    }
}
