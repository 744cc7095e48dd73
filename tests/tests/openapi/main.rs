//! What clients were promised is kept: the document that the code makes today is compared with that
//! of the last release (`contracts/openapi/`), by oasdiff.
//!
//! The program comes from where `embedded::Oasdiff` builds it; without it the tests fail with
//! `INFRASTRUCTURE MISSING:`, they are never skipped.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use embedded::{Oasdiff, Progress, required};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn promises() -> PathBuf {
    root().join("contracts/openapi")
}

/// The document of the last release.
fn last_release() -> PathBuf {
    let documents = fs::read_dir(promises()).expect("a folder of documents");
    let newest = documents
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .max_by_key(|path| version(path));
    newest.expect("a release")
}

fn version(path: &Path) -> Vec<u32> {
    let name = path.file_stem().and_then(|name| name.to_str());
    let parts = name.expect("a version").split('.');
    parts.map(|part| part.parse().expect("a number")).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a document")).expect("JSON")
}

async fn oasdiff() -> &'static Oasdiff {
    static OASDIFF: OnceCell<Oasdiff> = OnceCell::const_new();
    OASDIFF
        .get_or_init(async || {
            let progress = Progress::new(|line| eprintln!("{line}"));
            required(Oasdiff::resolve(&progress).await)
        })
        .await
}

/// Something that breaks clients, as oasdiff tells it.
#[derive(Debug, Deserialize)]
struct Break {
    level: u8,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    path: String,
    text: String,
}

/// What oasdiff calls an error.
const ERROR: u8 = 3;

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.operation, self.path, self.text)
    }
}

/// A line of `accepted.txt`: a break of one operation, or (`*`) the same of whichever has it.
#[derive(Debug)]
struct Accepted(String);

impl Accepted {
    fn all() -> Vec<Self> {
        let text = fs::read_to_string(promises().join("accepted.txt")).expect("accepted.txt");
        let mut reason = false;
        let mut all = Vec::new();
        for line in text.lines() {
            let is_reason = line.starts_with("# ");
            assert!(is_reason || reason, "no reason stands above: {line}");
            reason = true;
            if !is_reason {
                all.push(Self(line.to_owned()));
            }
        }
        all
    }

    fn is(&self, found: &Break) -> bool {
        match self.0.strip_prefix("* ") {
            Some(text) => text == found.text,
            None => self.0 == found.to_string(),
        }
    }
}

/// A number's format says how far it goes, and said so before the bounds stood beside it.
fn with_bounds(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let (least, most): (Value, Value) = match members.get("format").and_then(Value::as_str)
            {
                Some("uint32") => (u32::MIN.into(), u32::MAX.into()),
                Some("uint64") => (u64::MIN.into(), u64::MAX.into()),
                Some("int32") => (i32::MIN.into(), i32::MAX.into()),
                Some("int64") => (i64::MIN.into(), i64::MAX.into()),
                _ => return members.values_mut().for_each(with_bounds),
            };
            members.entry("minimum").or_insert(least);
            members.entry("maximum").or_insert(most);
        }
        Value::Array(items) => items.iter_mut().for_each(with_bounds),
        _ => {}
    }
}

/// What breaks clients of `old` when `new` is served.
async fn breaks(old: &Path, new: &Path) -> Vec<Break> {
    let folder = tempfile::tempdir().expect("a folder");
    let bounded = |path, name| {
        let mut document = read(path);
        with_bounds(&mut document);
        let path = folder.path().join(name);
        fs::write(&path, document.to_string()).expect("a file");
        path
    };
    let output = Command::new(oasdiff().await.path())
        .args(["breaking", "--format", "json"])
        .arg("--severity-levels")
        .arg(promises().join("severity.txt"))
        .args([bounded(old, "old.json"), bounded(new, "new.json")])
        .output()
        .expect("oasdiff runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", output.status);
    let mut all: Vec<Break> = serde_json::from_slice(&output.stdout).expect("a list of changes");
    all.retain(|found| found.level == ERROR);
    all
}

/// What nobody has accepted.
async fn unaccepted(old: &Path, new: &Path) -> Vec<String> {
    let accepted = Accepted::all();
    let found = breaks(old, new).await;
    let found = found
        .iter()
        .filter(|found| !accepted.iter().any(|line| line.is(found)));
    found.map(ToString::to_string).collect()
}

#[tokio::test]
async fn no_client_of_the_last_release_breaks() {
    let breaks = unaccepted(&last_release(), &root().join("api/openapi.json")).await;
    assert!(
        breaks.is_empty(),
        "clients of the last release would break (see contracts/openapi/README.md):\n{}",
        breaks.join("\n")
    );
}

/// What is accepted and does not happen would let it in some day, without a reason.
#[tokio::test]
async fn nothing_is_accepted_in_advance() {
    let found = breaks(&last_release(), &root().join("api/openapi.json")).await;
    let accepted = Accepted::all();
    let unused: Vec<_> = accepted
        .iter()
        .filter(|line| !found.iter().any(|found| line.is(found)))
        .collect();
    assert!(
        unused.is_empty(),
        "lines of accepted.txt to delete: {unused:#?}"
    );
}

/// The plants: a check that finds nothing could as well not look.
#[tokio::test]
async fn a_break_is_found() {
    type Plant = (&'static str, fn(&mut Value));
    const TRIAGE: &str = "/api/v1/tickets/{id}/triage";
    fn body(document: &mut Value) -> &mut Value {
        &mut document["paths"][TRIAGE]["post"]["requestBody"]["content"]["application/json"]["schema"]
    }
    fn receipt(document: &mut Value) -> &mut Value {
        &mut document["components"]["schemas"]["CommandReceipt"]
    }
    let plants: &[Plant] = &[
        ("an operation has gone", |document| {
            document["paths"].as_object_mut().unwrap().remove(TRIAGE);
        }),
        ("a member is newly required", |document| {
            body(document)["required"] = json!(["priority", "template"]);
        }),
        ("a member of the request has another type", |document| {
            body(document)["properties"]["details"] = json!({ "type": "string" });
        }),
        ("a parameter has gone", |document| {
            let list = &mut document["paths"]["/api/v1/tickets"]["get"]["parameters"];
            list.as_array_mut()
                .unwrap()
                .retain(|one| one["name"] != "state");
        }),
        ("a member of the answer has gone", |document| {
            let schema = receipt(document);
            schema["properties"]
                .as_object_mut()
                .unwrap()
                .remove("ticket");
            schema["required"]
                .as_array_mut()
                .unwrap()
                .retain(|name| name != "ticket");
        }),
        ("a member of the answer has another type", |document| {
            receipt(document)["properties"]["applied_to_version"]["type"] = json!("string");
        }),
        ("a value is not taken any more", |document| {
            let values = &mut document["components"]["schemas"]["Priority"]["enum"];
            values.as_array_mut().unwrap().pop();
        }),
        ("a number may not be as large", |document| {
            body(document)["properties"]["expected_version"]["maximum"] = u32::MAX.into();
        }),
        ("a parameter has a form", |document| {
            let list = &mut document["paths"]["/api/v1/tickets"]["get"]["parameters"];
            let mut list = list.as_array_mut().unwrap().iter_mut();
            let technician = list.find(|one| one["name"] == "technician").unwrap();
            technician["schema"]["pattern"] = "^tec_".into();
        }),
    ];
    let old = last_release();
    let folder = tempfile::tempdir().expect("a folder");
    for (what, plant) in plants {
        let mut document = read(&old);
        let before = document.clone();
        plant(&mut document);
        assert_ne!(document, before, "{what}: nothing was planted");
        let new = folder.path().join("planted.json");
        fs::write(&new, document.to_string()).expect("a file");
        assert!(!unaccepted(&old, &new).await.is_empty(), "{what}");
    }
}

/// What may grow is not taken for a break.
#[tokio::test]
async fn an_answer_may_grow() {
    let old = last_release();
    let mut document = read(&old);
    let schemas = &mut document["components"]["schemas"];
    schemas["CommandReceipt"]["properties"]["news"] = json!({ "type": "string" });
    let values = &mut schemas["ErrorCode"]["oneOf"];
    match values.as_array_mut() {
        Some(codes) => codes.push(json!({ "type": "string", "const": "NEWS" })),
        None => schemas["ErrorCode"]["enum"]
            .as_array_mut()
            .expect("codes")
            .push(json!("NEWS")),
    }
    let folder = tempfile::tempdir().expect("a folder");
    let new = folder.path().join("grown.json");
    fs::write(&new, document.to_string()).expect("a file");
    assert_eq!(unaccepted(&old, &new).await, [""; 0]);
}
