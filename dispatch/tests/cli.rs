//! The program as a person or a script meets it: help, version, wrong configuration, exit codes.
//! No server is needed; what needs one is in the workspace's `tests/`.

use std::process::{Command, Output};

/// Runs it in an empty folder with nothing in its environment but these variables.
fn dispatch(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = std::env::temp_dir().join(format!("dispatch-cli-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .args(arguments)
        .current_dir(&folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    output
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It ended so, with one message that holds all these parts, and printed nothing else.
#[track_caller]
fn refused(output: &Output, code: i32, parts: &[&str]) {
    let text = err(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(out(output), "");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn help_and_version_are_answers() {
    for arguments in [
        &["--help"][..],
        &["relay", "--help"],
        &["relay", "parked", "--help"],
    ] {
        let output = dispatch(arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(out(&output).contains("Usage: dispatch"), "{}", out(&output));
    }
    let help = out(&dispatch(&["--help"], &[]));
    for command in [
        "dev", "demo", "api", "relay", "worker", "migrate", "token", "doctor", "verify",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "no {command} in {help}"
        );
    }
    assert!(help.contains("Exit codes:"), "{help}");
    for arguments in [&["--version"][..], &["api", "--version"], &["-V"]] {
        let output = dispatch(arguments, &[]);
        assert_eq!(output.status.code(), Some(0));
        let said = out(&output);
        let version = said.split_whitespace().last().expect("a version");
        let (number, commit) = version.split_once('+').unwrap_or((version, ""));
        assert_eq!(number, env!("CARGO_PKG_VERSION"), "{said}");
        // Built from a checkout, the long form names the commit.
        let long = arguments != ["-V"];
        assert_eq!(!commit.is_empty(), long && is_checkout(), "{said}");
        let digits = commit.strip_suffix(".modified").unwrap_or(commit);
        let is_hash = digits.len() >= 12 && digits.chars().all(|c| c.is_ascii_hexdigit());
        assert!(commit.is_empty() || is_hash, "{said}");
    }
}

/// Whether git knows this very file.
fn is_checkout() -> bool {
    let asked = Command::new("git")
        .args(["ls-files", "--error-unmatch", "tests/cli.rs"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    asked.is_ok_and(|output| output.status.success())
}

#[test]
fn wrong_usage_is_exit_code_2() {
    refused(&dispatch(&[], &[]), 2, &["Usage: dispatch"]);
    refused(
        &dispatch(&["fly"], &[]),
        2,
        &["unrecognized subcommand 'fly'"],
    );
    refused(
        &dispatch(&["token", "--role", "boss"], &[]),
        2,
        &["there are: dispatcher, technician"],
    );
    refused(&dispatch(&["token"], &[]), 2, &["--role"]);
    refused(&dispatch(&["relay", "new-epoch"], &[]), 2, &[]);
    refused(
        &dispatch(&["relay", "parked", "replay"], &[]),
        2,
        &["--ticket", "--all"],
    );
}

#[test]
fn wrong_configuration_names_the_key_and_the_way_out() {
    let output = dispatch(&["api"], &[]);
    refused(
        &output,
        2,
        &["`database.app_url` is not set", "DISPATCH_DATABASE_APP_URL"],
    );
    let output = dispatch(&["config", "show"], &[("DISPATCH_API_LISTNE", "x")]);
    refused(
        &output,
        2,
        &[
            "no variable DISPATCH_API_LISTNE, did you mean `DISPATCH_API_LISTEN`?",
            "dispatch config show",
        ],
    );
    let output = dispatch(&["config", "show", "--set", "api.pool=many"], &[]);
    refused(&output, 2, &["`api.pool`"]);
    let output = dispatch(&["config", "show", "--set", "relay.lease_seconds=0"], &[]);
    refused(&output, 2, &["`relay.lease_seconds`"]);
    let output = dispatch(&["--config", "nowhere.toml", "api"], &[]);
    refused(&output, 2, &["there is no configuration file nowhere.toml"]);
    let short = [("DISPATCH_AUTH_JWT_SECRET", "too-short")];
    refused(
        &dispatch(&["token", "--role", "qa"], &short),
        2,
        &["auth.jwt_secret", "9 bytes"],
    );
}

#[test]
fn missing_infrastructure_is_exit_code_3() {
    // Port 1 of this machine: nobody listens there.
    let nowhere = [
        (
            "DISPATCH_DATABASE_MAINTENANCE_URL",
            "postgres://x:geheim@127.0.0.1:1/dispatch",
        ),
        (
            "DISPATCH_DATABASE_RELAY_URL",
            "postgres://x:geheim@127.0.0.1:1/dispatch",
        ),
    ];
    for arguments in [&["verify"][..], &["relay", "parked", "list"]] {
        let output = dispatch(arguments, &nowhere);
        refused(&output, 3, &["error: the database of `database."]);
        assert!(!err(&output).contains("geheim"), "{}", err(&output));
    }
}

#[test]
fn secrets_are_masked_and_sources_told() {
    let variables = [
        (
            "DISPATCH_AUTH_JWT_SECRET",
            "a-secret-of-at-least-thirty-two-bytes",
        ),
        (
            "DISPATCH_DATABASE_APP_URL",
            "postgres://app:geheim@db/dispatch",
        ),
        ("DISPATCH_API_LISTEN", "127.0.0.1:4711"),
    ];
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let output = dispatch(arguments, &variables);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let text = out(&output);
        assert!(
            !text.contains("thirty-two") && !text.contains("geheim"),
            "{text}"
        );
        assert!(
            text.contains("127.0.0.1:4711") && text.contains("DISPATCH_API_LISTEN"),
            "{text}"
        );
    }
}

#[test]
fn a_token_is_all_that_is_printed() {
    let secret = [(
        "DISPATCH_AUTH_JWT_SECRET",
        "a-secret-of-at-least-thirty-two-bytes",
    )];
    let output = dispatch(&["token", "--role", "dispatcher", "--ttl", "15m"], &secret);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let token = out(&output);
    assert_eq!(token.trim_end().split('.').count(), 3, "{token}");
    assert_eq!(token.lines().count(), 1);
}

#[test]
fn the_openapi_document_is_json() {
    let output = dispatch(&["openapi"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(
        document["paths"]
            .get("/api/v1/tickets/{id}/triage")
            .is_some()
    );
}

#[test]
fn a_demo_without_a_system_says_what_is_missing() {
    let variables = [
        (
            "DISPATCH_AUTH_JWT_SECRET",
            "a-secret-of-at-least-thirty-two-bytes",
        ),
        ("TEMPORAL_ADDRESS", "127.0.0.1:1"),
    ];
    let output = dispatch(&["demo"], &variables);
    refused(&output, 3, &["127.0.0.1:1", "refused", "TEMPORAL_ADDRESS"]);
}

#[test]
fn a_doctor_without_a_system_says_what_to_do_about_each_part() {
    let nowhere = [
        ("TEMPORAL_ADDRESS", "127.0.0.1:1"),
        ("DISPATCH_API_URL", "http://127.0.0.1:1"),
        ("DISPATCH_RELAY_METRICS_LISTEN", "127.0.0.1:1"),
        ("DISPATCH_WORKER_METRICS_LISTEN", "127.0.0.1:1"),
    ];
    let output = dispatch(&["doctor", "--json"], &nowhere);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(report["ok"], false);
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() >= 8, "{report}");
    // That nobody else's tokens are trusted needs nothing to be there.
    for check in checks.iter().filter(|it| it["part"] != "token issuers") {
        assert_eq!(check["ok"], false, "{check}");
        assert!(check["to_do"].is_string(), "{check}");
    }
}

#[test]
fn completions_are_scripts_that_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = dispatch(&["completions", shell], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let script = out(&output);
        for word in ["ticket", "timeline", "import", "killswitch"] {
            assert!(script.contains(word), "no {word} for {shell}");
        }
    }
    refused(
        &dispatch(&["completions", "dos"], &[]),
        2,
        &["possible values: bash"],
    );
}

#[test]
fn looking_without_a_token_or_a_server_says_what_to_do() {
    let list = ["ticket", "list"];
    refused(&dispatch(&list, &[]), 2, &["DISPATCH_API_TOKEN"]);
    let away = [
        ("DISPATCH_API_TOKEN", "a.b.c"),
        ("DISPATCH_API_URL", "http://127.0.0.1:1"),
    ];
    refused(
        &dispatch(&list, &away),
        3,
        &["http://127.0.0.1:1", "dispatch doctor"],
    );
    refused(
        &dispatch(&["ticket", "list", "--as", "qa"], &away),
        2,
        &["--as", "api.token"],
    );
    refused(
        &dispatch(&["ticket", "list", "--state", "flying"], &away),
        2,
        &["there are: NEW, TRIAGED"],
    );
    refused(
        &dispatch(&["ticket", "watch", "deadbeef", "--state", "new"], &away),
        2,
        &["cannot be used"],
    );
    refused(
        &dispatch(&["ticket", "watch", "--until", "closed"], &away),
        2,
        &["required"],
    );
}

#[test]
fn an_import_is_checked_before_anything_is_sent() {
    let token = [("DISPATCH_API_TOKEN", "a.b.c")];
    let import = |arguments: &[&str]| dispatch(&[&["import"][..], arguments].concat(), &token);
    refused(
        &import(&["sites", "nowhere.csv"]),
        2,
        &["cannot read nowhere.csv"],
    );
    refused(&import(&["sites", "sites.xls"]), 2, &["--format csv"]);
    refused(&import(&["doors", "a.csv"]), 2, &["possible values: sites"]);
    let file = std::env::temp_dir().join(format!("dispatch-{}.csv", uuid::Uuid::now_v7()));
    std::fs::write(&file, "code,lat,lng\n").unwrap();
    let output = import(&["sites", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
    refused(&output, 2, &["no column `lng`, did you mean `lon`?"]);
}

#[test]
fn what_a_key_or_a_clock_must_be_is_said_before_anything_is_started() {
    let good = "0123456789abcdef0123456789abcdef";
    let settings = |key: &str, value: &str| {
        let mut settings = [
            ("DISPATCH_DATABASE_APP_URL", "postgres://a:x@127.0.0.1:1/d"),
            (
                "DISPATCH_DATABASE_MAINTENANCE_URL",
                "postgres://a:x@127.0.0.1:1/d",
            ),
            ("DISPATCH_AUTH_JWT_SECRET", good),
            ("DISPATCH_AUTH_LEEWAY_SECONDS", "300"),
            ("DISPATCH_AUDIT_SEAL_KEY", good),
            ("DISPATCH_API_CURSOR_KEY", good),
            ("DISPATCH_API_EARLIER_CURSOR_KEY", good),
            ("DISPATCH_API_LISTEN", "127.0.0.1:0"),
            ("DISPATCH_API_METRICS_LISTEN", "127.0.0.1:0"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        if let Some(setting) = settings.iter_mut().find(|setting| setting.0 == key) {
            value.clone_into(&mut setting.1);
        }
        settings
    };
    let api = |key: &str, value: &str| {
        let settings = settings(key, value);
        let settings = settings.each_ref().map(|(key, value)| (&**key, &**value));
        dispatch(&["api"], &settings)
    };
    let short = &good[1..];
    for (key, name) in [
        ("DISPATCH_AUDIT_SEAL_KEY", "`audit.seal_key` has 31 bytes"),
        ("DISPATCH_API_CURSOR_KEY", "`api.cursor_key` has 31 bytes"),
        (
            "DISPATCH_API_EARLIER_CURSOR_KEY",
            "`api.earlier_cursor_key` has 31 bytes",
        ),
    ] {
        let parts = [name, "at least 32", "openssl rand -hex 32"];
        refused(&api(key, short), 2, &parts);
    }
    refused(&api("DISPATCH_AUTH_JWT_SECRET", short), 2, &["31 bytes"]);
    let parts = ["`auth.leeway_seconds` is 301", "300 at most"];
    refused(&api("DISPATCH_AUTH_LEEWAY_SECONDS", "301"), 2, &parts);
    // Nothing is wrong with these: what is missing is the database.
    refused(&api("", ""), 3, &[]);
}

#[test]
fn what_is_for_development_only_is_refused_in_production() {
    let off = [
        ("DISPATCH_DATABASE_RLS", "off"),
        (
            "DISPATCH_DATABASE_APP_URL",
            "postgres://dispatch_app:x@127.0.0.1:1/d",
        ),
        (
            "DISPATCH_DATABASE_OWNER_URL",
            "postgres://dispatch_owner:x@127.0.0.1:1/d",
        ),
        (
            "DISPATCH_DATABASE_RELAY_URL",
            "postgres://dispatch_relay:x@127.0.0.1:1/d",
        ),
        (
            "DISPATCH_DATABASE_COMMS_URL",
            "postgres://dispatch_comms:x@127.0.0.1:1/d",
        ),
        (
            "DISPATCH_DATABASE_MAINTENANCE_URL",
            "postgres://dispatch_maintenance:x@127.0.0.1:1/d",
        ),
        (
            "DISPATCH_DATABASE_READER_URL",
            "postgres://dispatch_reader:x@127.0.0.1:1/d",
        ),
        (
            "DISPATCH_DATABASE_ADMIN_URL",
            "postgres://postgres:x@127.0.0.1:1/d",
        ),
    ];
    for arguments in [&["api"][..], &["migrate", "--bootstrap"]] {
        let parts = ["`database.rls` is off", "production", "set it to on"];
        refused(&dispatch(arguments, &off), 2, &parts);
    }
    let mut armed = off.to_vec();
    armed[0] = ("DISPATCH_SYSTEM_FAILPOINTS", "true");
    for process in ["api", "relay", "comms"] {
        let parts = ["`system.failpoints` is on", "production"];
        refused(&dispatch(&[process], &armed), 2, &parts);
    }
    let shown = out(&dispatch(&["config", "show"], &off));
    assert!(shown.contains("WARNING: `database.rls` is off"), "{shown}");
    let shown = out(&dispatch(&["config", "show"], &[]));
    assert!(!shown.contains("WARNING"), "{shown}");
    let output = dispatch(&["config", "show"], &[("DISPATCH_DATABASE_RLS", "maybe")]);
    refused(&output, 2, &["`database.rls`"]);
}
