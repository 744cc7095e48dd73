//! The starter bundles that are trusted without a signature: today's, and those of earlier versions
//! that this program can still decide with.
//!
//! Who shipped one raises `revision` in `.manifest` before its files change again, and keeps the one
//! that was shipped as `tests/starters/<revision>.tar.gz` (`dispatch policy init`, then `build`, by the
//! program that has it).

mod keys;

use std::{collections::BTreeMap, path::PathBuf};

use dispatch_policy::{Bundle, BundleError, BundleFiles, SignatureError, Trust, VerificationKeys};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/starters.txt");

fn signed_only() -> Trust {
    Trust::SignedBy(VerificationKeys::from_pem([("key-1", keys::PUBLIC)]).unwrap())
}

/// Version → SHA-256.
fn listed(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (version, sha256) = line.split_once(' ').unwrap();
            (version.to_owned(), sha256.to_owned())
        })
        .collect()
}

/// The files of one that was shipped.
fn shipped(version: &str) -> BundleFiles {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/starters")
        .join(format!("{version}.tar.gz"));
    BundleFiles::open(&path).unwrap_or_else(|error| {
        panic!("{error}: keep the starter {version}, which is in starters.txt, there")
    })
}

#[test]
fn todays_starter_is_listed_beside_those_that_were_shipped() {
    let today = Bundle::starter().unwrap().reference().clone();
    let committed = std::fs::read_to_string(FILE).unwrap();
    let mut expected: Vec<_> = committed
        .lines()
        .filter(|line| !line.starts_with(&format!("{} ", today.version)))
        .map(str::to_owned)
        .collect();
    expected.push(format!("{} {}", today.version, today.sha256));
    let expected = expected.join("\n") + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(FILE, &expected).unwrap();
        return;
    }
    assert!(
        committed == expected,
        "the starter bundle has changed. If {} was shipped, raise `revision` in its .manifest and keep \
         the shipped one in tests/starters. Then run with UPDATE_EXPECT=1:\n{expected}",
        today.version
    );
}

#[test]
fn those_that_were_shipped_may_decide_without_a_signature() {
    let today = Bundle::starter().unwrap().reference().clone();
    let mut former = listed(&std::fs::read_to_string(FILE).unwrap());
    former.remove(&today.version);
    assert!(!former.is_empty());
    for (version, sha256) in former {
        let files = shipped(&version);
        assert_eq!(files.sha256(), sha256, "{version}");
        let bundle = Bundle::admit(files, &signed_only()).unwrap();
        assert_eq!(bundle.reference().version, version);
        assert_eq!(bundle.signer(), None);
    }
}

#[test]
fn one_that_was_changed_since_is_nobodys() {
    let files = shipped("1.2.0");
    let texts = files.iter().map(|(path, text)| match path {
        "nte/data.json" => (path, format!("{text}\n")),
        _ => (path, text.to_owned()),
    });
    let changed = BundleFiles::from_texts(texts).unwrap();
    match signed_only().accept(changed) {
        Err(BundleError::Signature(SignatureError::Unsigned { .. })) => {}
        other => panic!("{other:?}"),
    }
}
