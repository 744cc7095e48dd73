//! The documents name files and headings: each of them is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All documents that people start from.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["README.md", "SECURITY.md", "CHANGELOG.md"]
        .map(|name| root().join(name))
        .into();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of documents") {
            let path = entry.expect("an entry").path();
            match path.extension() {
                Some(ending) if ending == "md" => found.push(path),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    found
}

/// Targets of Markdown links, without those to elsewhere.
fn links(text: &str) -> Vec<&str> {
    let parts = text.split("](").skip(1);
    parts
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://"))
        .collect()
}

/// The anchors of a document's headings, as they are made from their words.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
            words.chars().filter(kept).collect::<String>()
        })
        .map(|words| words.replace(' ', "-"))
        .collect()
}

/// What is wrong with a link, if anything is.
fn fault(document: &Path, text: &str, target: &str) -> Option<String> {
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let there = document.parent().expect("a folder").join(path);
    if !path.is_empty() && !there.exists() {
        return Some(format!("{}: no {target}", document.display()));
    }
    let anchor = anchor?;
    let linked = match path {
        "" => text.to_owned(),
        _ => fs::read_to_string(&there).expect("a document"),
    };
    let known = anchors(&linked);
    (!known.iter().any(|a| a == anchor))
        .then(|| format!("{}: no heading {target}", document.display()))
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut count = 0;
    let mut faults = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        for target in links(&text) {
            count += 1;
            faults.extend(fault(&document, &text, target));
        }
    }
    assert!(count > 60, "{count} links");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_link_to_nowhere_is_found() {
    let document = root().join("README.md");
    let text = "# The day\nsee [a](docs) and [b](#the-day)";
    let found = |target| fault(&document, text, target);
    assert_eq!(links(text), ["docs", "#the-day"]);
    assert_eq!(found("docs"), None);
    assert_eq!(found("#the-day"), None);
    assert!(found("docs/no_such_page.md").is_some());
    assert!(found("#the-night").is_some());
    assert!(found("docs/errors/README.md#nothing").is_some());
}
