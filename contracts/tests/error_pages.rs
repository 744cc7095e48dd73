//! Each error code has its page, and the page says what the code says.

use std::{collections::BTreeSet, fs, path::PathBuf};

use dispatch_contracts::{ErrorCode, Problem};
use strum::VariantArray;

fn pages() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/errors")
}

fn page(name: &str) -> String {
    let path = pages().join(format!("{name}.md"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("docs/errors/{name}.md: {error}"))
}

/// The JSON that the page shows as its example.
fn example(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("```json\n")?;
    Some(rest.split_once("\n```")?.0)
}

#[test]
fn every_code_has_its_page() {
    for code in ErrorCode::VARIANTS {
        let text = page(&code.to_string());
        let heading = format!("# {code} · {} · {}", code.status(), code.title());
        assert_eq!(text.lines().next(), Some(heading.as_str()));
        for part in [
            "## When it happens",
            "## What to do",
            "## Retry",
            "## What is recorded",
            "## Example",
        ] {
            assert!(text.contains(part), "{code}: `{part}` is missing");
        }
        let problem: Problem = serde_json::from_str(example(&text).expect("an example"))
            .unwrap_or_else(|error| panic!("the example of {code} is no problem: {error}"));
        assert_eq!(
            (
                problem.code,
                problem.status,
                problem.title.as_str(),
                problem.type_uri
            ),
            (*code, code.status(), code.title(), code.type_uri())
        );
        assert_eq!(
            problem.command_id.is_some(),
            problem.decision_id.is_some(),
            "{code}: an attempt has both ids or none"
        );
    }
}

#[test]
fn every_page_has_its_code_and_the_index_lists_it() {
    let expected: BTreeSet<String> = ErrorCode::VARIANTS
        .iter()
        .map(ToString::to_string)
        .collect();
    let found: BTreeSet<String> = fs::read_dir(pages())
        .expect("docs/errors")
        .filter_map(|entry| {
            let name = entry.expect("a directory entry").file_name();
            Some(name.to_str()?.strip_suffix(".md")?.to_owned())
        })
        .filter(|name| name != "README")
        .collect();
    assert_eq!(found, expected);
    let index = page("README");
    for code in ErrorCode::VARIANTS {
        let row = format!(
            "| [{code}]({code}.md) | {} | {} |",
            code.status(),
            code.title()
        );
        assert!(index.contains(&row), "the index lacks `{row}`");
    }
}
