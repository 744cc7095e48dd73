//! Bundles that must not decide anything.

use std::{fs, path::Path};

use dispatch_policy::{
    Bundle, BundleError, BundleFiles, BundleSource, DirectoryBundles, EvaluationError,
    StarterBundles, Trust,
};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle");

/// The starter bundle with one file replaced, or removed.
fn spoilt_files(path: &str, text: Option<&str>) -> Result<BundleFiles, BundleError> {
    let starter = BundleFiles::read(BUNDLE.as_ref())?;
    let others = starter.iter().filter(|(name, _)| *name != path);
    BundleFiles::from_texts(others.chain(text.map(|text| (path, text))))
}

/// What a process that reads it makes of it.
fn spoilt(path: &str, text: Option<&str>) -> Result<Bundle, BundleError> {
    Bundle::load(Trust::Anybody.accept(spoilt_files(path, text)?)?)
}

/// What comes of letting it decide.
fn admitted(path: &str, text: &str) -> Result<Bundle, BundleError> {
    Bundle::admit(spoilt_files(path, Some(text))?, &Trust::Anybody)
}

fn from_dir(dir: &Path) -> Result<Bundle, BundleError> {
    Bundle::open(dir, &Trust::Anybody)
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
    assert_refused!(
        "roles/data.json",
        Some("{\"close\":{\"person\":[\"qa\"]},\n\"close\":{\"person\":[\"any\"]}}"),
        BundleError::Data { reason, .. } if reason.contains("`close` stands there twice at line 2")
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
fn the_starter_bundle_is_admitted() {
    let files = BundleFiles::read(Path::new(BUNDLE)).unwrap();
    let bundle = Bundle::admit(files, &Trust::Anybody).unwrap();
    assert!(bundle.rules().contains(&"data.dispatch.deny".to_owned()));
    assert!(bundle.roots().contains(&"dispatch".to_owned()));
    assert_eq!(bundle.signer(), None);
}

#[test]
fn a_bundle_whose_tests_fail_is_not_admitted() {
    let text = "package dispatch_test.more\n\ntest_wrong if 1 == 2\n\ntest_right if 1 == 1\n";
    match admitted("dispatch/more_test.rego", text) {
        Err(BundleError::TestsFailed { failed }) => {
            assert_eq!(failed.len(), 1);
            assert!(failed[0].starts_with("data.dispatch_test.more.test_wrong"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_format_that_makes_much_out_of_little_is_refused() {
    let text =
        "package dispatch_test.more\n\ntest_wide if sprintf(\"%2000000000d\", [1]) != \"\"\n";
    match admitted("dispatch/more_test.rego", text) {
        Err(BundleError::Rego { message }) => {
            assert!(
                message.starts_with("dispatch/more_test.rego:3"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bundle_without_tests_is_not_admitted() {
    let starter = BundleFiles::read(BUNDLE.as_ref()).unwrap();
    let rules = starter
        .iter()
        .filter(|(name, _)| !name.ends_with("_test.rego"));
    let files = BundleFiles::from_texts(rules).unwrap();
    assert!(matches!(
        Bundle::admit(files, &Trust::Anybody),
        Err(BundleError::NoTests)
    ));
}

#[test]
fn a_test_that_never_ends_or_looks_outside_is_refused() {
    let endless = r#"package dispatch_test.more

numbers := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]

test_busy if busy

test_busy_too if busy

busy if {
	some a in numbers
	some b in numbers
	some c in numbers
	some d in numbers
	some e in numbers
	some f in numbers
	a + b + c + d + e + f < 0
}
"#;
    match admitted("dispatch/more_test.rego", endless) {
        Err(BundleError::TestsFailed { failed }) => {
            let mut endless = failed.iter().filter(|test| test.contains("time limit"));
            assert!(
                endless.next().unwrap().contains("test_busy ("),
                "{failed:?}"
            );
            assert_eq!(endless.next(), None);
        }
        other => panic!("{other:?}"),
    }
    for call in ["time.now_ns()", "numbers.range(1, 1000000000)"] {
        let text = format!("package dispatch_test.more\n\ntest_more if {call}\n");
        match admitted("dispatch/more_test.rego", &text) {
            Err(BundleError::ForbiddenBuiltin { name }) => assert!(call.starts_with(&name)),
            other => panic!("{call}: {other:?}"),
        }
    }
}

#[test]
fn a_rule_that_asks_for_what_is_never_there_is_not_admitted() {
    let text = "package dispatch\n\ndeny contains unmet(\"X\", \"x\", \"y\") if {\n\tinput.ticket.nte > 1\n}\n";
    match admitted("dispatch/more.rego", text) {
        Err(BundleError::UnknownFact {
            path,
            line,
            nearest,
            ..
        }) => {
            assert_eq!((path.as_str(), line), ("dispatch/more.rego", 4));
            assert!(nearest.contains("nte_cents"), "{nearest}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_trial_asks_for_every_kind_of_actor_and_for_full_bodies() {
    for (condition, who) in [
        (
            "input.actor.kind == \"integration\"",
            "integration, knowing nothing",
        ),
        (
            "input.actor.kind == \"agent\"\n\tinput.body.priority",
            "agent, knowing what is usual",
        ),
        (
            "input.actor.kind == \"workflow\"\n\tinput.kill_switch == false",
            "workflow, knowing everything",
        ),
    ] {
        let text = format!(
            "package dispatch\n\ndeny contains \"because\" if {{\n\tinput.operation == \"triage\"\n\t{condition}\n}}\n"
        );
        match admitted("dispatch/more.rego", &text) {
            Err(BundleError::Trial {
                operation,
                actor,
                source,
            }) => {
                assert_eq!((operation.as_str(), actor.as_str()), ("triage", who));
                assert!(matches!(source, EvaluationError::Output { .. }), "{source}");
            }
            other => panic!("{condition}: {other:?}"),
        }
    }
}

#[test]
fn a_directory_is_the_same_bundle_as_the_embedded_one() {
    let starter = StarterBundles::new().unwrap();
    let sha256 = &starter.starter().reference().sha256;
    assert_eq!(
        from_dir(Path::new(BUNDLE)).unwrap().reference(),
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
        for (path, text) in BundleFiles::read(BUNDLE.as_ref()).unwrap().iter() {
            let target = root.path().join(name).join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, text.replace("1.0.0", revision)).unwrap();
        }
        from_dir(&root.path().join(name))
            .unwrap()
            .reference()
            .clone()
    };
    let (one, two) = (copy("one", "1.0.0"), copy("two", "2.0.0"));
    fs::create_dir(root.path().join("broken")).unwrap();
    fs::write(root.path().join("broken/.manifest"), "").unwrap();
    fs::write(root.path().join("broken/x.wasm"), "").unwrap();

    let source = DirectoryBundles::new(root.path(), Trust::Anybody);
    assert_eq!(*source.load(&two.sha256).unwrap().reference(), two);
    assert_eq!(*source.load(&one.sha256).unwrap().reference(), one);
    assert!(matches!(
        source.load(&"f".repeat(64)),
        Err(BundleError::NotFound { .. })
    ));

    let dir = root.path().join("one");
    let packed = BundleFiles::read(&dir).unwrap().to_archive().unwrap();
    fs::remove_dir_all(dir).unwrap();
    fs::write(root.path().join("one.tar.gz"), packed).unwrap();
    let archives = DirectoryBundles::new(root.path(), Trust::Anybody);
    assert_eq!(*archives.load(&one.sha256).unwrap().reference(), one);
    fs::remove_dir_all(root.path()).unwrap();
    assert!(source.load(&one.sha256).is_ok());
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_refused() {
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/hosts", root.path().join("data.json")).unwrap();
    assert!(matches!(
        from_dir(root.path()),
        Err(BundleError::UnexpectedFile { .. })
    ));
}
