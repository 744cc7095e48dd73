//! Bundles that must not decide anything.

use std::{fs, path::Path};

use dispatch_policy::{
    Bundle, BundleError, BundleFiles, BundleSource, DirectoryBundles, EvaluationError,
    StarterBundles,
};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle");

/// The starter bundle with one file replaced, or removed.
fn spoilt(path: &str, text: Option<&str>) -> Result<Bundle, BundleError> {
    let mut files = Vec::new();
    collect(Path::new(BUNDLE), "", &mut files);
    files.retain(|(name, _)| name != path);
    files.extend(text.map(|text| (path.to_owned(), text.to_owned())));
    Bundle::load(BundleFiles::from_texts(files)?)
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push((name, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

macro_rules! assert_refused {
    ($path:literal, $text:expr, $pattern:pat $(if $guard:expr)?) => {
        match spoilt($path, $text) {
            Err($pattern) $(if $guard)? => {}
            other => panic!("{other:?}"),
        }
    };
}

#[test]
fn an_additional_module_is_no_harm() {
    let text = "package dispatch\n\nharmless := upper(\"x\")\n";
    assert!(spoilt("dispatch/more.rego", Some(text)).is_ok());
}

#[test]
fn a_syntax_error() {
    assert_refused!(
        "dispatch/billing.rego",
        Some("package dispatch\n\ndeny contains x if {"),
        BundleError::Rego { message } if message.contains("billing.rego")
    );
}

#[test]
fn rego_v0() {
    assert_refused!(
        "dispatch/more.rego",
        Some("package dispatch\n\nold { true }\n"),
        BundleError::Rego { .. }
    );
}

#[test]
fn a_missing_or_odd_manifest() {
    assert_refused!(".manifest", None, BundleError::Manifest { .. });
    assert_refused!(".manifest", Some("[]"), BundleError::Manifest { .. });
}

#[test]
fn code_or_data_outside_the_roots() {
    assert_refused!(
        "other/x.rego",
        Some("package other\n\nx := 1\n"),
        BundleError::OutsideRoots { path } if path == "other"
    );
    assert_refused!(
        "data.json",
        Some(r#"{"elsewhere":1}"#),
        BundleError::OutsideRoots { path } if path == "elsewhere"
    );
}

#[test]
fn data_that_is_no_object_or_comes_twice() {
    assert_refused!("roles/data.json", Some("[]"), BundleError::Data { .. });
    assert_refused!(
        "data.json",
        Some(r#"{"roles":{"close":{"person":["qa"]}}}"#),
        BundleError::Data { path, .. } if path == "roles/data.json"
    );
}

#[test]
fn templates_that_do_not_parse() {
    let template = |edit: &dyn Fn(&mut serde_json::Value)| {
        let text = fs::read_to_string(format!("{BUNDLE}/templates/data.json")).unwrap();
        let mut templates: serde_json::Value = serde_json::from_str(&text).unwrap();
        edit(&mut templates["emergency_glass"]);
        templates.to_string()
    };
    let edits: [&dyn Fn(&mut serde_json::Value); 15] = [
        &|t| t["id"] = "emergency_door".into(),
        &|t| t["colour"] = "red".into(),
        &|t| t["default_priority"] = "P0".into(),
        &|t| t["title"] = " ".into(),
        &|t| t["nte_cents"] = (-1).into(),
        &|t| t["visit_minutes"] = 0.into(),
        &|t| t["required_details"][0] = "door_kind".into(),
        &|t| t["known_details"]["glass_kind"]["word"]["one_of"] = serde_json::json!([]),
        &|t| t["known_details"]["pane_count"] = "text".into(),
        &|t| t["known_details"]["pane_count"]["number"]["max"] = (-1).into(),
        &|t| t["evidence"]["compleet"] = serde_json::json!(["photo"]),
        &|t| t["verified_evidence"] = serde_json::json!(["photo"]),
        &|t| t["clocks"][0]["name"] = "make_safe".into(),
        &|t| t["clocks"][0]["minutes"]["P1"] = 0.into(),
        &|t| t["clocks"][0]["stops_at"] = serde_json::json!([]),
    ];
    for (i, edit) in edits.into_iter().enumerate() {
        match spoilt("templates/data.json", Some(&template(edit))) {
            Err(BundleError::Template { id, .. }) => assert_eq!(id, "emergency_glass"),
            other => panic!("edit {i}: {other:?}"),
        }
    }
    assert_refused!("templates/data.json", None, BundleError::Template { .. });
}

#[test]
fn a_misspelt_role() {
    assert_refused!(
        "roles/data.json",
        Some(r#"{"close":{"person":["biling"]}}"#),
        BundleError::Roles { operation, .. } if operation == "close"
    );
}

#[test]
fn a_builtin_that_looks_outside_even_in_an_unused_rule() {
    for call in [
        "time.now_ns()",
        "http.send({})",
        "rand.intn(\"x\", 6)",
        "uuid.rfc4122(\"x\")",
        "opa.runtime()",
        "trace(\"x\")",
        "__builtin_host_await(1, 2)",
        "numbers.range(1, 1000000000)",
    ] {
        let name = call.split('(').next().unwrap();
        let text = format!("package dispatch\n\nunused := {call}\n\nf(x) := [x, {call}]\n");
        match spoilt("dispatch/more.rego", Some(&text)) {
            Err(BundleError::ForbiddenBuiltin { name: refused }) => assert_eq!(refused, name),
            other => panic!("{call}: {other:?}"),
        }
    }
}

#[test]
fn rules_that_give_no_decision() {
    assert_refused!(
        "dispatch/decision.rego",
        Some("package dispatch\n\nother := 1\n"),
        BundleError::Rego { .. }
    );
    assert_refused!(
        "dispatch/more.rego",
        Some("package dispatch\n\ndeny contains \"because\" if input.operation == \"close\"\n"),
        BundleError::Trial { operation, .. } if operation == "close"
    );
}

#[test]
fn rules_that_never_end() {
    let text = r#"package dispatch

numbers := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]

deny contains "busy" if {
	some a in numbers
	some b in numbers
	some c in numbers
	some d in numbers
	a + b + c + d < 0
}
"#;
    match spoilt("dispatch/more.rego", Some(text)) {
        Err(BundleError::Trial { source, .. }) => {
            assert!(matches!(source, EvaluationError::Budget { .. }), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failing_test_is_reported() {
    let text = "package dispatch_test.more\n\ntest_wrong if 1 == 2\n\ntest_right if 1 == 1\n";
    let report = spoilt("dispatch/more_test.rego", Some(text))
        .unwrap()
        .run_tests()
        .unwrap();
    let failures: Vec<_> = report.failures().map(|test| test.name.as_str()).collect();
    assert_eq!(failures, ["data.dispatch_test.more.test_wrong"]);
}

#[test]
fn a_directory_is_the_same_bundle_as_the_embedded_one() {
    let starter = StarterBundles::new().unwrap();
    let sha256 = &starter.starter().reference().sha256;
    assert_eq!(
        Bundle::from_dir(Path::new(BUNDLE)).unwrap().reference(),
        starter.starter().reference()
    );
    assert!(starter.load(sha256).is_ok());
    assert!(matches!(
        starter.load("0"),
        Err(BundleError::NotFound { .. })
    ));
}

#[test]
fn a_directory_gives_the_bundle_with_the_hash_and_keeps_it() {
    let root = tempfile::tempdir().unwrap();
    let copy = |name: &str, revision: &str| {
        let mut files = Vec::new();
        collect(Path::new(BUNDLE), "", &mut files);
        for (path, text) in files {
            let target = root.path().join(name).join(&path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, text.replace("1.0.0", revision)).unwrap();
        }
        Bundle::from_dir(&root.path().join(name))
            .unwrap()
            .reference()
            .clone()
    };
    let (one, two) = (copy("one", "1.0.0"), copy("two", "2.0.0"));
    fs::create_dir(root.path().join("broken")).unwrap();
    fs::write(root.path().join("broken/.manifest"), "").unwrap();
    fs::write(root.path().join("broken/x.wasm"), "").unwrap();

    let source = DirectoryBundles::new(root.path());
    assert_eq!(*source.load(&two.sha256).unwrap().reference(), two);
    assert_eq!(*source.load(&one.sha256).unwrap().reference(), one);
    assert!(matches!(
        source.load(&"f".repeat(64)),
        Err(BundleError::NotFound { .. })
    ));
    fs::remove_dir_all(root.path()).unwrap();
    assert!(source.load(&one.sha256).is_ok());
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_refused() {
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/hosts", root.path().join("data.json")).unwrap();
    assert!(matches!(
        Bundle::from_dir(root.path()),
        Err(BundleError::UnexpectedFile { .. })
    ));
}
