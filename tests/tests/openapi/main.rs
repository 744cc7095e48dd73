//! What clients were promised is kept: the document that the code makes today is compared with that
//! of the last release (`contracts/openapi/`), by oasdiff.
//!
//! The program comes from where `embedded::Oasdiff` builds it; without it the tests fail with
//! `INFRASTRUCTURE MISSING:`, they are never skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use embedded::{Oasdiff, Progress, required};
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

/// What breaks clients of `old` when `new` is served, one line each.
async fn breaks(old: &Path, new: &Path) -> Vec<String> {
    let output = Command::new(oasdiff().await.path())
        .args(["breaking", "--format", "singleline", "--fail-on", "ERR"])
        .arg("--severity-levels")
        .arg(promises().join("severity.txt"))
        .arg("--err-ignore")
        .arg(promises().join("accepted.txt"))
        .args([old, new])
        .output()
        .expect("oasdiff runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Vec::new(),
        Some(1) => text
            .lines()
            .filter(|line| line.starts_with("error"))
            .map(str::to_owned)
            .collect(),
        other => panic!("oasdiff ended with {other:?}: {told}{text}"),
    }
}

#[tokio::test]
async fn no_client_of_the_last_release_breaks() {
    let breaks = breaks(&last_release(), &root().join("api/openapi.json")).await;
    assert!(
        breaks.is_empty(),
        "clients of the last release would break (see contracts/openapi/README.md):\n{}",
        breaks.join("\n")
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
        assert!(!breaks(&old, &new).await.is_empty(), "{what}");
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
    assert_eq!(breaks(&old, &new).await, [""; 0]);
}
