//! The published JSON Schemas are what the code says, and an event never changes under its readers.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p dispatch-contracts --test schemas` writes them; it refuses to
//! write a change that needs a new event version, so the check cannot be updated away.

mod compatibility;
mod documents;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use dispatch_contracts::event::{Audience, EventType};
use serde_json::{Value, json};
use strum::VariantArray;

const CATALOGUE: &str = "events/catalogue.json";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The committed entries by name and version.
fn committed_catalogue() -> BTreeMap<(String, u64), Value> {
    let text = read(&root().join(CATALOGUE)).unwrap_or_else(|| "[]".into());
    let entries: Vec<Value> = serde_json::from_str(&text).expect("the catalogue is JSON");
    entries
        .into_iter()
        .map(|entry| {
            let name = entry["name"].as_str().expect("name").to_owned();
            let version = entry["version"].as_u64().expect("version");
            ((name, version), entry)
        })
        .collect()
}

fn current_catalogue() -> BTreeMap<(String, u64), Value> {
    EventType::VARIANTS
        .iter()
        .map(|event| {
            let audience = match event.audience() {
                Audience::Workflow => "workflow",
                Audience::Waits => "waits",
                Audience::Readers => "readers",
            };
            let (name, version) = (event.name().to_owned(), u64::from(event.version()));
            let entry = json!({ "name": name, "version": version, "audience": audience });
            ((name, version), entry)
        })
        .collect()
}

/// What would break a reader of the committed events.
fn broken_promises() -> Vec<String> {
    let (committed, current) = (committed_catalogue(), current_catalogue());
    let mut broken = Vec::new();
    for ((name, version), entry) in &committed {
        let Some(newest) = current.keys().filter(|(n, _)| n == name).map(|k| k.1).max() else {
            broken.push(format!("{name} has disappeared; events are never removed"));
            continue;
        };
        if newest < *version {
            broken.push(format!(
                "{name} went back from version {version} to {newest}"
            ));
        }
        if newest != *version {
            continue;
        }
        let now = &current[&(name.clone(), *version)];
        if now != entry {
            broken.push(format!("{name} v{version} was {entry}, is {now}"));
        }
        let file = documents::event_file(name, *version);
        let Some(text) = read(&root().join(&file)) else {
            broken.push(format!("{file} is missing"));
            continue;
        };
        let old: Value = serde_json::from_str(&text).expect("a committed schema is JSON");
        let new = &documents::events()[&file];
        broken.extend(
            compatibility::changes(&old, new)
                .into_iter()
                .map(|change| format!("{name} v{version}: {change}")),
        );
    }
    broken
}

/// Every file that should be there.
fn expected() -> BTreeMap<String, String> {
    let mut documents = documents::all();
    let mut catalogue = committed_catalogue();
    catalogue.extend(current_catalogue());
    // The schema of a version that was superseded stays: there are rows and histories with it.
    for (name, version) in catalogue.keys() {
        let file = documents::event_file(name, *version);
        documents.entry(file).or_insert_with_key(|file| {
            let text = read(&root().join(file)).expect("the schema of an older version is kept");
            serde_json::from_str(&text).expect("a committed schema is JSON")
        });
    }
    documents.insert(CATALOGUE.into(), catalogue.into_values().collect());
    documents
        .into_iter()
        .map(|(file, mut document)| {
            // Another crate of the build may have turned `preserve_order` on.
            document.sort_all_objects();
            let text = serde_json::to_string_pretty(&document).expect("JSON prints");
            (file, text + "\n")
        })
        .collect()
}

fn files_below(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.expect("a directory entry");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files_below(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name);
        }
    }
}

#[test]
fn the_committed_schemas_are_those_of_the_code() {
    let broken = broken_promises();
    assert!(
        broken.is_empty(),
        "readers of these events would break; give the event a new version in contracts/src/event.rs:\n{}",
        broken.join("\n")
    );
    let expected = expected();
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        for (file, text) in &expected {
            let path = root().join(file);
            fs::create_dir_all(path.parent().expect("a file has a directory")).expect("mkdir");
            fs::write(path, text).expect("write a schema");
        }
    }
    let mut found = BTreeSet::new();
    files_below(&root(), "", &mut found);
    let differing: Vec<_> = expected
        .iter()
        .filter(|(file, text)| read(&root().join(file)).as_ref() != Some(text))
        .map(|(file, _)| file.clone())
        .chain(
            found
                .into_iter()
                .filter(|file| !expected.contains_key(file)),
        )
        .collect();
    assert!(
        differing.is_empty(),
        "these files of contracts/schemas are not what the code says; run with UPDATE_SCHEMAS=1 and delete what has no source: {differing:#?}"
    );
}

#[test]
fn an_event_that_is_written_fits_its_name() {
    for event in EventType::VARIANTS {
        let (family, what) = event.name().split_once('.').expect("family.what");
        for part in [family, what] {
            assert!(
                part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{part}"
            );
        }
        assert!(event.version() >= 1);
    }
}
