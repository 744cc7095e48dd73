//! A type of the wire contract is defined once: nowhere else in the workspace does a struct or enum
//! bear the name of a public type of this crate. Two types of one name drift apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The name that a line defines as a struct or enum, and whether it is public.
fn definition(line: &str) -> Option<(bool, &str)> {
    let line = line.trim_start();
    let (public, rest) = match line.strip_prefix("pub") {
        Some(rest) => match rest.strip_prefix('(') {
            Some(rest) => (false, rest.split_once(')')?.1),
            None => (true, rest),
        },
        None => (false, line),
    };
    let rest = rest.trim_start();
    let name = rest
        .strip_prefix("struct ")
        .or_else(|| rest.strip_prefix("enum "))?;
    let end = name
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(name.len());
    (end > 0).then(|| (public, &name[..end]))
}

/// Names that this crate's macros turn into types: what stands at the begin of a line in their
/// calls, indented once.
fn made_by_macros(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if ["typed_id! {", "checked_string! {", "bodies! {"].contains(&line) {
            inside = true;
        } else if line == "}" {
            inside = false;
        } else if inside
            && let Some(line) = line.strip_prefix("    ")
            && line.starts_with(|c: char| c.is_ascii_uppercase())
            && let Some(end) = line.find([',', ' '])
        {
            names.push(&line[..end]);
        }
    }
    names.extend(
        text.split("strum_discriminants(name(")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(')')?.0)),
    );
    names
}

fn public_types(src: &Path) -> BTreeSet<String> {
    let mut files = Vec::new();
    rust_files(src, &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let plain = text
            .lines()
            .filter_map(definition)
            .filter(|(public, _)| *public)
            .map(|(_, name)| name);
        names.extend(plain.chain(made_by_macros(&text)).map(str::to_owned));
    }
    names
}

#[test]
fn contract_types_are_defined_in_contracts_only() {
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = contracts.parent().expect("the crate lies in the workspace");
    let names = public_types(&contracts.join("src"));
    // One of each way to define a type; without these the check would look for nothing.
    for known in [
        "TicketId",
        "Slug",
        "Cancel",
        "EventType",
        "ErrorCode",
        "Ticket",
        "Page",
    ] {
        assert!(names.contains(known), "{known} was not found in contracts");
    }

    let mut duplicates = BTreeMap::new();
    for member in fs::read_dir(workspace).expect("the workspace") {
        let member = member.expect("a directory entry").path();
        if member == contracts || !member.join("Cargo.toml").is_file() {
            continue;
        }
        let mut files = Vec::new();
        rust_files(&member.join("src"), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            for (number, line) in text.lines().enumerate() {
                if let Some((_, name)) = definition(line)
                    && names.contains(name)
                {
                    let place = file.strip_prefix(workspace).unwrap_or(&file).display();
                    duplicates.insert(format!("{place}:{}", number + 1), name.to_owned());
                }
            }
        }
    }
    assert!(
        duplicates.is_empty(),
        "use the type of `contracts`, or give yours another name: {duplicates:#?}"
    );
}

#[test]
fn a_definition_is_recognised() {
    assert_eq!(definition("pub struct Ticket {"), Some((true, "Ticket")));
    assert_eq!(definition("    enum Page<T> {"), Some((false, "Page")));
    assert_eq!(
        definition("pub(crate) struct Slug(String);"),
        Some((false, "Slug"))
    );
    assert_eq!(definition("// struct Ticket"), None);
    assert_eq!(definition("pub fn structure() {"), None);
}
