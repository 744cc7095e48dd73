//! What both are asked: documents made from the published schemas and from the words and numbers of
//! the bundle, so that a new field, command or rule is asked about without a change here.
//!
//! Documents that are random in every place would nearly all be denied for many reasons at once.
//! So each operation is walked: one place of a document is made anew, and the change stays when no
//! more conditions fail than before. So a walk comes to what is allowed and from there looks at what
//! one change makes of it: where decisions turn. All that it passes is part of the corpus, with
//! random documents in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use contracts::{
    Operation,
    policy::{PolicyDecision, PolicyInput},
};
use policy::Bundle;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/schemas");
/// The same corpus in every run.
const SEED: u64 = 2026;
/// Documents per operation.
const STEPS: usize = 200;
/// Changes of one document before another one is begun.
const PATIENCE: usize = 60;
/// Walks of all operations beyond the first, for rules that were not met.
const MORE_WALKS: usize = 2;
/// Documents of which the one with the fewest failed conditions is changed.
const BEGINNINGS: usize = 20;

/// Where clocks change, in zones below, and the turn of a year.
const TURNS: &[&str] = &[
    "2026-03-08T07:00:00Z",
    "2026-03-29T01:00:00Z",
    "2026-10-25T01:00:00Z",
    "2026-11-01T06:00:00Z",
    "2026-12-31T23:00:00Z",
];
const ZONES: &[&str] = &[
    "Europe/Amsterdam",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "UTC",
];
/// Few, so that two places often name the same one; and what a text may hold besides.
const NAMES: &[&str] = &["person:1", "person:2", "é \"%v\" \\ \u{1F6AA}"];

/// An input and what ours decides about it.
pub struct Asked {
    pub input: PolicyInput,
    pub decision: PolicyDecision,
}

impl Asked {
    /// How far it is from being allowed. A command on a ticket without one is so little judged that
    /// no walk would ever leave it.
    fn failed(&self) -> usize {
        let bare = self.input.operation.path().contains("{id}") && self.input.ticket.is_none();
        self.decision.reasons.len() + if bare { 10 } else { 0 }
    }
}

/// The corpus for this bundle, which lies in this folder: about these commands, and with these codes
/// among the answers.
pub fn corpus(
    bundle: &Bundle,
    folder: &Path,
    operations: &[Operation],
    codes: &BTreeSet<String>,
) -> Vec<Asked> {
    let mut maker = Maker::new(bundle, folder);
    let mut asked = Vec::new();
    for operation in operations {
        maker.walk(bundle, *operation, &mut asked);
    }
    // Chance may pass a rule by; then it is looked for, and only what is new is taken.
    let mut missed = codes.clone();
    let meets_one_of = |missed: &mut BTreeSet<String>, asked: &Asked| {
        let reasons = asked.decision.reasons.iter();
        reasons.filter(|r| missed.remove(&r.code)).count() > 0
    };
    for asked in &asked {
        meets_one_of(&mut missed, asked);
    }
    for _ in 0..MORE_WALKS {
        if missed.is_empty() {
            break;
        }
        let mut more = Vec::new();
        for operation in operations {
            maker.walk(bundle, *operation, &mut more);
        }
        asked.extend(
            more.into_iter()
                .filter(|asked| meets_one_of(&mut missed, asked)),
        );
    }
    asked
}

/// Codes that a rule of the bundle may give: `name("A_CODE", …)`.
pub fn codes_of_rules(folder: &Path) -> BTreeSet<String> {
    let code = |rest: &str| {
        let code = rest.split_once('"')?.0;
        let capital = |c: char| c.is_ascii_uppercase() || c == '_';
        (code.len() > 3 && code.chars().all(capital)).then(|| code.to_owned())
    };
    let mut codes = BTreeSet::new();
    for entry in fs::read_dir(folder.join("dispatch")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with("_test.rego") {
            let text = fs::read_to_string(path).unwrap();
            codes.extend(text.split("(\"").skip(1).filter_map(code));
        }
    }
    codes
}

fn ask(bundle: &Bundle, document: &Value) -> Asked {
    let mut input: PolicyInput = serde_json::from_value(document.clone())
        .unwrap_or_else(|e| panic!("the schema admits it, the type does not: {e}: {document}"));
    // An amount that is agreed on is never below nothing, and the two write such differently.
    if let Some(ticket) = &mut input.ticket {
        ticket.nte_cents = ticket.nte_cents.max(0);
    }
    let decision = bundle
        .evaluate(&input)
        .unwrap_or_else(|e| panic!("no decision about {document}: {e}"));
    Asked { input, decision }
}

struct Maker {
    rng: StdRng,
    input: Value,
    /// Each template with the words in it.
    templates: BTreeMap<String, Vec<String>>,
    /// Each template with what it says of details.
    details: BTreeMap<String, Vec<(String, Value)>>,
    /// The template that a walk is about.
    focus: String,
    words: Vec<String>,
    numbers: Vec<i64>,
    /// All that stands in quotes in a rule.
    in_rules: BTreeSet<String>,
    /// The figures of reports that rules read.
    figures: Vec<String>,
    /// What the reasons of the document at hand name.
    hints: Vec<String>,
}

/// A schema in the document that its references point into.
#[derive(Clone, Copy)]
struct Schema<'a> {
    root: &'a Value,
    at: &'a Value,
}

impl<'a> Schema<'a> {
    fn whole(root: &'a Value) -> Self {
        Self { root, at: root }
    }

    fn of(self, at: &'a Value) -> Self {
        Self { at, ..self }
    }

    /// The name of the definition, and what it says.
    fn resolved(self) -> (Option<&'a str>, Self) {
        match self.at["$ref"].as_str() {
            Some(target) => {
                let name = target.rsplit('/').next();
                let at = &self.root["$defs"][name.unwrap_or_default()];
                assert!(at.is_object(), "{target} is defined");
                (name, self.of(at))
            }
            None => (None, self),
        }
    }

    /// The same without the choice of being absent.
    fn present(self) -> Self {
        let (_, schema) = self.resolved();
        match schema.at["anyOf"].as_array().map(Vec::as_slice) {
            Some([one, other]) if other["type"] == "null" => schema.of(one).resolved().1,
            _ => schema,
        }
    }

    fn properties(self) -> Option<&'a Map<String, Value>> {
        self.at["properties"].as_object()
    }

    fn requires(self, name: &str) -> bool {
        let required = self.at["required"].as_array();
        required.is_some_and(|required| required.iter().any(|r| r == name))
    }
}

fn schema(file: &str) -> Value {
    let text = fs::read_to_string(format!("{SCHEMAS}/{file}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

impl Maker {
    fn new(bundle: &Bundle, folder: &Path) -> Self {
        let (mut words, mut numbers) = (Vec::new(), vec![0, 1, i64::from(i32::MAX)]);
        for entry in fs::read_dir(folder).unwrap() {
            if let Ok(text) = fs::read_to_string(entry.unwrap().path().join("data.json")) {
                let document = serde_json::from_str(&text).unwrap();
                collect(&document, &mut words, &mut numbers);
            }
        }
        words.sort();
        words.dedup();
        let (mut in_rules, mut figures) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(folder.join("dispatch")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            in_rules.extend(text.split('"').skip(1).step_by(2).map(str::to_owned));
            for before in ["figures.", "at_least(\"", "at_most(\"", "figures, \""] {
                let named = text.split(before).skip(1);
                let ends = |c: char| !c.is_ascii_lowercase() && c != '_';
                let names = named.filter_map(|rest| rest.split(ends).next());
                figures.extend(names.filter(|name| is_word(name)).map(str::to_owned));
            }
        }
        // What lies on both sides of each limit.
        numbers = numbers.iter().flat_map(|n| [n - 1, *n, n + 1]).collect();
        numbers.sort();
        numbers.dedup();
        let (mut templates, mut details) = (BTreeMap::new(), BTreeMap::new());
        for template in bundle.templates() {
            let (id, document) = (template.id.to_string(), json!(template));
            let mut words = Vec::new();
            collect(&document, &mut words, &mut Vec::new());
            let known = document["known_details"].as_object().unwrap().clone();
            templates.insert(id.clone(), words);
            details.insert(id, known.into_iter().collect());
        }
        Self {
            rng: StdRng::seed_from_u64(SEED),
            input: schema("policy/input.json"),
            focus: String::new(),
            templates,
            details,
            words,
            numbers,
            in_rules,
            figures: figures.into_iter().collect(),
            hints: Vec::new(),
        }
    }

    fn walk(&mut self, bundle: &Bundle, operation: Operation, asked: &mut Vec<Asked>) {
        let body = schema(&format!("commands/{operation}.json"));
        let input = self.input.clone();
        let mut begun: Option<(Value, usize, usize)> = None;
        for _ in 0..STEPS {
            if self.chance(30) {
                let focus = self.focus.clone();
                asked.push(ask(bundle, &self.begin(&input, &body, operation)));
                self.focus = focus;
                continue;
            }
            let document = match &begun {
                Some((document, _, changes)) if *changes < PATIENCE => {
                    self.alike(document).unwrap_or_else(|| {
                        let mut document = document.clone();
                        self.change(Schema::whole(&input), "", &body, &mut document);
                        document
                    })
                }
                _ => {
                    begun = None;
                    (0..BEGINNINGS)
                        .map(|_| self.begin(&input, &body, operation))
                        .min_by_key(|document| ask(bundle, document).failed())
                        .unwrap()
                }
            };
            let answer = ask(bundle, &document);
            let failed = answer.failed();
            if begun
                .as_ref()
                .is_none_or(|(_, fewest, _)| failed <= *fewest)
            {
                self.hints = named(&answer.decision);
            }
            begun = Some(match begun {
                Some((before, fewest, changes)) if failed > fewest => (before, fewest, changes + 1),
                Some((_, _, changes)) => (document, failed, changes + 1),
                None => (document, failed, 0),
            });
            asked.push(answer);
        }
    }

    fn begin(&mut self, input: &Value, body: &Value, operation: Operation) -> Value {
        let templates: Vec<_> = self.templates.keys().cloned().collect();
        self.focus = templates.choose(&mut self.rng).unwrap().clone();
        let mut document = self.make(Schema::whole(input), "");
        document["operation"] = json!(operation);
        document["body"] = self.make(Schema::whole(body), "");
        self.fit_report(&mut document);
        document
    }

    /// Often: the report that the body names is about what the body is about. Chance puts the two
    /// together too rarely for all that is asked of such a report.
    fn fit_report(&mut self, document: &mut Value) {
        let target = &document["body"]["target"];
        let Some(operation) = target["operation"].as_str() else {
            return;
        };
        let subject = match target["risk"].as_str() {
            Some(risk) => format!("{operation}/{risk}"),
            None => operation.to_owned(),
        };
        if document["report"].is_object() && self.chance(70) {
            document["report"]["kind"] = json!("gate");
            document["report"]["subject"] = json!(subject);
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Sometimes: two places hold the same text, or numbers that are as good as the same; nothing
    /// when the type refuses it.
    fn alike(&mut self, document: &Value) -> Option<Value> {
        if !self.chance(15) {
            return None;
        }
        let mut leaves = Vec::new();
        collect_leaves(document, String::new(), &mut leaves);
        let by_name = self.chance(60);
        let name = |place: &str| place.rsplit('/').next().map(str::to_owned);
        if by_name {
            let names: Vec<_> = leaves.iter().map(|(place, _)| name(place)).collect();
            leaves.retain(|(place, _)| names.iter().filter(|n| **n == name(place)).count() > 1);
        }
        let (from, value) = leaves.choose(&mut self.rng)?;
        let others: Vec<_> = leaves
            .iter()
            .filter(|(to, other)| to != from && other.is_number() == value.is_number())
            // No type refuses a body, and dispatch-api hands on no moment that is none.
            .filter(|(_, other)| !is_moment(other) || is_moment(value))
            .filter(|(to, _)| !by_name || name(to) == name(from))
            .collect();
        let (to, _) = others.choose(&mut self.rng)?;
        let mut document = document.clone();
        *document.pointer_mut(to)? = match value.as_i64() {
            Some(number) => json!(number.saturating_add(self.rng.random_range(-1..=1))),
            None => (*value).clone(),
        };
        serde_json::from_value::<PolicyInput>(document.clone())
            .is_ok()
            .then_some(document)
    }

    /// Makes one place of a document anew.
    fn change(&mut self, schema: Schema<'_>, name: &str, body: &Value, document: &mut Value) {
        let schema = schema.present();
        let Some(properties) = schema.properties() else {
            return self.change_parts(schema, name, document);
        };
        // What has parts has more to change.
        let weight = |name: &str| if document[name].is_object() { 4 } else { 1 };
        let names: Vec<_> = properties
            .keys()
            .filter(|name| *name != "operation")
            .flat_map(|name| std::iter::repeat_n(name, weight(name)))
            .collect();
        let (Some(name), Value::Object(map)) = (names.choose(&mut self.rng), document) else {
            return;
        };
        let name = name.as_str();
        let inner = match name {
            "body" => Schema::whole(body),
            _ => schema.of(&properties[name]),
        };
        let now = map.get_mut(name).filter(|value| !value.is_null());
        match now {
            Some(value) if (value.is_object() || value.is_array()) && self.chance(85) => {
                self.change(inner, name, body, value);
            }
            _ if !schema.requires(name) && self.chance(30) => {
                map.remove(name);
            }
            _ => {
                let value = self.make(inner, name);
                map.insert(name.to_owned(), value);
            }
        }
    }

    /// Adds, takes away or replaces an entry of a list or of a map.
    fn change_parts(&mut self, schema: Schema<'_>, name: &str, document: &mut Value) {
        match document {
            Value::Array(items) if schema.at["items"].is_object() => {
                let item = self.make(schema.of(&schema.at["items"]), "");
                let unique = schema.at["uniqueItems"] == true;
                match self.rng.random_range(0..3) {
                    0 if !items.is_empty() && schema.at["minItems"].is_null() => {
                        items.remove(self.rng.random_range(0..items.len()));
                    }
                    1 if !items.is_empty() && !unique => {
                        let index = self.rng.random_range(0..items.len());
                        items[index] = item;
                    }
                    _ if !(unique && items.contains(&item)) => items.push(item),
                    _ => {}
                }
            }
            Value::Object(map) if schema.at["additionalProperties"].is_object() => {
                let keys: Vec<_> = map.keys().cloned().collect();
                match keys.choose(&mut self.rng) {
                    Some(key) if self.chance(30) => {
                        map.remove(key);
                    }
                    _ => {
                        let (key, value) = self.entry(schema, name);
                        map.insert(key, value);
                    }
                }
            }
            _ => *document = self.make(schema, ""),
        }
    }

    /// A value that the schema admits.
    fn make(&mut self, schema: Schema<'_>, name: &str) -> Value {
        let (definition, schema) = schema.resolved();
        match definition {
            Some("TemplateId") => return json!(self.template()),
            // As dispatch-api hands texts over.
            Some("FreeText" | "MessageText") => return json!({ "chars": self.number() }),
            _ => {}
        }
        let at = schema.at;
        if let Some(value) = at.get("const") {
            return value.clone();
        }
        if let Some(values) = at["enum"].as_array() {
            return self.one_of(values.iter());
        }
        if let Some(choices) = at["oneOf"].as_array()
            && choices.iter().all(|choice| choice["const"].is_string())
        {
            return self.one_of(choices.iter().map(|choice| &choice["const"]));
        }
        if let Some(choices) = at["oneOf"].as_array().or(at["anyOf"].as_array()) {
            let choice = choices.choose(&mut self.rng).unwrap();
            return self.make(schema.of(choice), name);
        }
        let kind = match &at["type"] {
            Value::Array(kinds) => kinds.choose(&mut self.rng).unwrap(),
            kind => kind,
        };
        match kind.as_str() {
            Some("null") => Value::Null,
            Some("boolean") => json!(self.chance(50)),
            Some("integer") => self.integer(at),
            Some("string") => json!(self.string(at, name)),
            Some("array") => self.list(schema),
            Some("object") => self.object(schema, name),
            // Anything: only `body` is, and it gets its own.
            _ => Value::Null,
        }
    }

    /// Often one that a rule names.
    fn one_of<'v>(&mut self, values: impl Iterator<Item = &'v Value>) -> Value {
        let all: Vec<_> = values.collect();
        let in_rules = |value: &&&Value| {
            let word = value.as_str();
            word.is_some_and(|word| self.in_rules.contains(word))
        };
        let named: Vec<_> = all.iter().filter(in_rules).copied().collect();
        let values = if named.is_empty() || self.chance(65) {
            all
        } else {
            named
        };
        (*values.choose(&mut self.rng).unwrap()).clone()
    }

    fn object(&mut self, schema: Schema<'_>, name: &str) -> Value {
        let mut map = Map::new();
        for (member, inner) in schema.properties().into_iter().flatten() {
            if schema.requires(member) || self.chance(70) {
                map.insert(member.clone(), self.make(schema.of(inner), member));
            }
        }
        if schema.at["additionalProperties"].is_object() {
            let most = if name == "figures" { 12 } else { 4 };
            for _ in 0..self.rng.random_range(0..most) {
                let (key, value) = self.entry(schema, name);
                map.insert(key, value);
            }
        }
        Value::Object(map)
    }

    /// An entry of a map; of details mostly one that the template knows, of figures one that is read.
    fn entry(&mut self, schema: Schema<'_>, name: &str) -> (String, Value) {
        let inner = schema.of(&schema.at["additionalProperties"]);
        if name == "figures" {
            let figure = self.figures.choose(&mut self.rng).unwrap().clone();
            let value = match figure.ends_with("_mode") {
                true => json!(self.rng.random_range(0..5)),
                false => self.make(inner, ""),
            };
            return (figure, value);
        }
        if inner.resolved().0 != Some("DetailValue") || self.chance(20) {
            let key = if self.chance(60) {
                self.in_rule()
            } else {
                self.word()
            };
            return (key, self.make(inner, ""));
        }
        let (key, kind) = self.details[&self.focus]
            .choose(&mut self.rng)
            .unwrap()
            .clone();
        let value = match (kind["number"]["max"].as_i64(), &kind["word"]["one_of"]) {
            _ if self.chance(10) => self.make(inner, ""),
            (Some(max), _) => {
                let values = [-1, 0, 1, max - 1, max, max + 1];
                json!(values.choose(&mut self.rng).unwrap())
            }
            (_, Value::Array(words)) => words.choose(&mut self.rng).unwrap().clone(),
            _ => json!(self.chance(50)),
        };
        (key, value)
    }

    fn list(&mut self, schema: Schema<'_>) -> Value {
        let at = schema.at;
        if let Some(items) = at["prefixItems"].as_array() {
            return items
                .iter()
                .map(|item| self.make(schema.of(item), ""))
                .collect();
        }
        let least = at["minItems"].as_u64().unwrap_or(0);
        let most = at["maxItems"].as_u64().unwrap_or(3).min(least + 3);
        let mut items = Vec::new();
        for _ in 0..self.rng.random_range(least..=most) {
            let item = self.make(schema.of(&at["items"]), "");
            if !(at["uniqueItems"] == true && items.contains(&item)) {
                items.push(item);
            }
        }
        Value::Array(items)
    }

    fn integer(&mut self, at: &Value) -> Value {
        let format = at["format"].as_str().unwrap_or_default();
        let most = match format {
            "int32" => i64::from(i32::MAX),
            "uint32" => i64::from(u32::MAX),
            _ => i64::MAX,
        };
        let least = at["minimum"].as_i64().unwrap_or(i64::MIN);
        let most = at["maximum"].as_i64().unwrap_or(most).min(most);
        json!(self.number().clamp(least, most))
    }

    fn number(&mut self) -> i64 {
        *self.numbers.choose(&mut self.rng).unwrap()
    }

    fn string(&mut self, at: &Value, name: &str) -> String {
        let pick = |rng: &mut StdRng, list: &[&str]| (*list.choose(rng).unwrap()).to_owned();
        match at["format"].as_str() {
            Some("date-time") => return self.time(),
            Some("date") => return self.time()[..10].to_owned(),
            _ => {}
        }
        match (at["pattern"].as_str(), name) {
            (Some(pattern), _) if pattern.contains("[0-9a-f]{32}") => {
                let prefix = &pattern[1..pattern.find('[').unwrap()];
                format!("{prefix}{:032x}", self.rng.random_range(1..=3))
            }
            (_, "sha256") => "0".repeat(64),
            (_, "time_zone") => pick(&mut self.rng, ZONES),
            (_, "currency") => pick(&mut self.rng, &["EUR", "JPY"]),
            (Some(_), _) => self.word(),
            (None, _) if self.chance(50) => pick(&mut self.rng, NAMES),
            (None, _) if self.chance(60) => self.in_rule(),
            (None, _) => self.word(),
        }
    }

    fn template(&mut self) -> String {
        match self.rng.random_range(0..20) {
            0 => "moon_landing".to_owned(),
            1..=3 => {
                let all: Vec<_> = self.templates.keys().collect();
                (*all.choose(&mut self.rng).unwrap()).clone()
            }
            _ => self.focus.clone(),
        }
    }

    /// A word that stands in a rule.
    fn in_rule(&mut self) -> String {
        let all: Vec<_> = self.in_rules.iter().filter(|w| is_word(w)).collect();
        (*all.choose(&mut self.rng).unwrap()).clone()
    }

    /// Mostly one that means something in the template at hand, or that was asked for.
    fn word(&mut self) -> String {
        if let Some(hint) = self.hints.choose(&mut self.rng).cloned()
            && self.chance(30)
        {
            return hint;
        }
        let words = if self.chance(80) {
            &self.templates[&self.focus]
        } else {
            &self.words
        };
        words.choose(&mut self.rng).unwrap().clone()
    }

    /// Near a turn of the clock, or on a half hour of some day, or a second beside one.
    fn time(&mut self) -> String {
        let base: DateTime<Utc> = if self.chance(40) {
            TURNS.choose(&mut self.rng).unwrap().parse().unwrap()
        } else {
            let day = self.rng.random_range(0..366 * 48);
            "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(30 * day)
        };
        let aside = [0, 0, 1, -1, 1800, -1800, 3600, -3600];
        let time = base + TimeDelta::seconds(*aside.choose(&mut self.rng).unwrap());
        time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    }
}

/// The words that stand in backticks in the reasons, such as `details.pane_count`.
fn named(decision: &PolicyDecision) -> Vec<String> {
    let mut words = Vec::new();
    for reason in &decision.reasons {
        for quoted in reason.to_pass.split('`').skip(1).step_by(2) {
            collect(
                &json!(quoted.rsplit('.').next()),
                &mut words,
                &mut Vec::new(),
            );
        }
    }
    words
}

/// Texts and numbers of a document with their places, but not what it is about.
fn collect_leaves(document: &Value, place: String, leaves: &mut Vec<(String, Value)>) {
    match document {
        Value::String(_) | Value::Number(_) if place != "/operation" => {
            leaves.push((place, document.clone()));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_leaves(item, format!("{place}/{index}"), leaves);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                collect_leaves(value, format!("{place}/{key}"), leaves);
            }
        }
        _ => {}
    }
}

fn is_moment(value: &Value) -> bool {
    let text = value.as_str();
    text.is_some_and(|text| text.parse::<DateTime<Utc>>().is_ok())
}

fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 64
        && text.chars().all(plain)
}

/// Words and numbers of a document: its keys, and what is a word among its strings.
fn collect(document: &Value, words: &mut Vec<String>, numbers: &mut Vec<i64>) {
    let mut take = |text: &str| {
        if is_word(text) {
            words.push(text.to_owned());
        }
    };
    match document {
        Value::String(text) => take(text),
        Value::Number(number) => numbers.extend(number.as_i64()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words, numbers)),
        Value::Object(map) => {
            map.keys().for_each(|key| take(key));
            map.values()
                .for_each(|value| collect(value, words, numbers));
        }
        Value::Null | Value::Bool(_) => {}
    }
}
