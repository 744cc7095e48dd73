//! `dispatch policy` as an author meets it: from an empty folder to a signed archive, with each
//! mistake on the way. No server is needed.

#[path = "../../policy/tests/keys/mod.rs"]
mod keys;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder in which an author works.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("key.pem", keys::PRIVATE),
            ("key.pub", keys::PUBLIC),
            ("other.pub", keys::OTHER_PUBLIC),
        ] {
            fs::write(desk.path(name), text).unwrap();
        }
        desk
    }

    /// With the starter bundle in `rules`.
    fn with_rules() -> Self {
        let desk = Self::new();
        desk.ok(&["init", "rules"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn edit(&self, name: &str, from: &str, to: &str) {
        let path = self.path(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no {from:?} in {name}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dispatch"))
            .arg("policy")
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        out(&output)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// It ended so, and said all these parts.
    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let output = self.run(arguments);
        let text = err(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An invoice above the not-to-exceed amount.
fn invoice() -> Value {
    json!({
        "v": 1,
        "operation": "generate_invoice",
        "at": "2026-11-21T09:00:00Z",
        "actor": {
            "id": "billing-1", "kind": "person", "roles": ["billing"], "technician_id": null,
        },
        "body": { "lines": [{ "item": "labour", "quantity": 3, "unit_cents": 30_000 }] },
        "ticket": {
            "id": "tkt_00000000000000000000000000000001",
            "state": "VERIFIED",
            "version": 7,
            "template": "emergency_glass",
            "priority": "P1",
            "details": {},
            "nte_cents": 80_000,
            "technician_id": null,
            "visit": 1,
            "evidence": [],
            "customer_awaited": false,
        },
        "approval": null,
        "tenant": {
            "calendar": { "time_zone": "Europe/Amsterdam", "week": [], "days_off": [] },
            "currency": "EUR",
        },
        "autonomy": "SHADOW",
    })
}

#[test]
fn from_an_empty_folder_to_a_signed_archive() {
    let desk = Desk::with_rules();
    assert!(desk.ok(&["test", "rules"]).contains("tests passed"));
    let starter = desk.json(&["show", "--json"]);
    let copied = desk.json(&["show", "rules", "--json"]);
    assert_eq!(copied, starter);

    let version = starter["bundle"]["version"].as_str().unwrap();
    desk.edit("rules/.manifest", version, "2026-11-acme");
    desk.ok(&["check", "rules"]);
    let built = desk.ok(&["build", "rules", "-o", "acme.tar.gz"]);
    assert!(built.contains("bundle 2026-11-acme"), "{built}");
    let first = fs::read(desk.path("acme.tar.gz")).unwrap();
    desk.ok(&["build", "rules", "-o", "acme.tar.gz"]);
    assert_eq!(fs::read(desk.path("acme.tar.gz")).unwrap(), first);

    let trusting = [
        "check",
        "acme.tar.gz",
        "--verification-key",
        "2026-1=key.pub",
    ];
    desk.refused(&trusting, 1, &["not signed", "dispatch policy sign"]);
    let sign = ["sign", "acme.tar.gz", "--key", "key.pem", "--kid", "2026-1"];
    desk.ok(&sign);
    let checked = desk.ok(&trusting);
    assert!(checked.contains("signed with key 2026-1"), "{checked}");

    let shown = desk.json(&["show", "acme.tar.gz", "--json"]);
    assert_eq!(shown["bundle"]["version"], "2026-11-acme");
    assert_eq!(
        shown["signature"],
        json!({ "signed_by": "2026-1", "verified": false })
    );
    assert_ne!(shown["bundle"]["sha256"], starter["bundle"]["sha256"]);
    let text = desk.ok(&["show", "acme.tar.gz"]);
    assert!(text.contains("data.dispatch.deny"), "{text}");
    assert!(text.contains("dispatch/decision.rego"), "{text}");

    let other = [
        "check",
        "acme.tar.gz",
        "--verification-key",
        "2026-1=other.pub",
    ];
    desk.refused(&other, 1, &["not made with key `2026-1`"]);
}

#[test]
fn a_changed_rule_decides_otherwise() {
    let desk = Desk::with_rules();
    fs::write(desk.path("invoice.json"), invoice().to_string()).unwrap();
    let text = desk.ok(&["explain", "rules", "--input", "invoice.json"]);
    for part in ["DENY", "NTE_EXCEEDED", "to pass: "] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let before = desk.json(&["explain", "rules", "--input", "invoice.json", "--json"]);
    assert_eq!(before["result"], "DENY");
    assert_eq!(before["reasons"][0]["pointer"], "/lines");

    desk.edit(
        "rules/dispatch/billing.rego",
        "total > input.ticket.nte_cents",
        "total * 100 > input.ticket.nte_cents * 115",
    );
    let after = desk.json(&["explain", "rules", "--input", "invoice.json", "--json"]);
    assert_eq!(after["result"], "ALLOW");
    assert_ne!(after["bundle"]["sha256"], before["bundle"]["sha256"]);

    // A recorded decision holds what was asked.
    let recorded = json!({ "id": "dec_1", "operation": "generate_invoice", "input": invoice() });
    fs::write(desk.path("decision.json"), recorded.to_string()).unwrap();
    let again = desk.json(&["explain", "rules", "--input", "decision.json", "--json"]);
    assert_eq!(again, after);
}

#[test]
fn what_people_may_waive_names_who_and_until_when() {
    let desk = Desk::new();
    let mut input = invoice();
    input["operation"] = json!("request_change");
    input["actor"] = json!({
        "id": "technician-1", "kind": "person", "roles": ["technician"],
        "technician_id": "tec_00000000000000000000000000000001",
    });
    input["body"] = json!({ "scope": "second_pane", "price_delta_cents": 300_000 });
    input["ticket"]["state"] = json!("ON_SITE");
    input["ticket"]["technician_id"] = input["actor"]["technician_id"].clone();
    fs::write(desk.path("change.json"), input.to_string()).unwrap();
    let text = desk.ok(&["explain", "--input", "change.json"]);
    for part in [
        "REQUIRE_APPROVAL",
        "NTE_DELTA: 1 of account_manager",
        "min without a decision: deny",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("answered as"), "{text}");
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    let desk = Desk::with_rules();
    let rule = "rules/dispatch/mine.rego";
    let write = |text: &str| fs::write(desk.path(rule), text).unwrap();
    write("package dispatch\n\ndeny contains x if {\n");
    desk.refused(&["check", "rules"], 1, &["dispatch/mine.rego:"]);
    write("package dispatch\n\ndeny contains unmet(\"X\", \"x\", \"y\") if input.tickt\n");
    desk.refused(
        &["check", "rules"],
        1,
        &["dispatch/mine.rego:3:39", "`input.tickt`", "ticket"],
    );
    write("package dispatch\n\nnow := time.now_ns()\n");
    desk.refused(&["check", "rules"], 1, &["`time.now_ns` is not allowed"]);
    fs::remove_file(desk.path(rule)).unwrap();
    desk.edit("rules/roles/data.json", "billing", "biling");
    desk.refused(&["check", "rules"], 1, &["\"biling\" is no role"]);
    let output = desk.run(&["check", "rules", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(report["ok"], false);
    assert!(report["error"].as_str().unwrap().contains("biling"));
    // What is refused is not packed either.
    desk.refused(&["build", "rules", "-o", "out.tar.gz"], 1, &["biling"]);
    assert!(!Path::new(&desk.path("out.tar.gz")).exists());
}

#[test]
fn who_may_read_is_the_bundles_to_say() {
    let desk = Desk::with_rules();
    let may = |desk: &Desk, permission: &str| desk.ok(&["who-may", permission, "rules"]);
    assert_eq!(
        may(&desk, "read:raw_messages"),
        "read:raw_messages: person or integration with role tenant_admin\n"
    );
    let told = desk.json(&["who-may", "command:qa_verify", "--json"]);
    let holders = json!({ "person": ["qa"], "agent": ["any"], "workflow": ["any"] });
    assert_eq!(told["holders"], holders);
    desk.refused(&["who-may", "read:everything"], 2, &["read:tickets"]);
    assert!(!desk.ok(&["check", "rules"]).contains("note:"));

    // What the table leaves out nobody may read, and its author is told.
    desk.edit(
        "rules/reads/data.json",
        "\"raw_messages\": {\n    \"person\": [\"tenant_admin\"],\n    \"integration\": [\"tenant_admin\"]\n  },",
        "",
    );
    let checked = desk.ok(&["check", "rules"]);
    assert!(
        checked.contains("note: ") && checked.contains("`raw_messages`"),
        "{checked}"
    );
    assert_eq!(
        may(&desk, "read:raw_messages"),
        "read:raw_messages: nobody\n"
    );

    // Without a table the program's own holds, and that is told too.
    let table = desk.path("rules/reads/data.json");
    let text = fs::read_to_string(&table).unwrap();
    fs::remove_file(&table).unwrap();
    let notes = desk.json(&["check", "rules", "--json"])["notes"].clone();
    assert!(
        notes[0].as_str().unwrap().contains("reads/data.json"),
        "{notes}"
    );
    assert!(may(&desk, "read:raw_messages").contains("tenant_admin"));

    // Software does not read about people, whoever writes that it does.
    let spoilt = text.replacen("\"contacts\": {", "\"contacts\": {\"agent\": [\"any\"],", 1);
    fs::write(&table, spoilt).unwrap();
    desk.refused(&["check", "rules"], 1, &["`contacts`", "not for `agent`"]);
}

#[test]
fn a_failing_test_is_named() {
    let desk = Desk::with_rules();
    let text = "package dispatch_test.mine\n\ntest_mine if 1 == 2\n\ntest_other if 1 == 1\n";
    fs::write(desk.path("rules/dispatch/mine_test.rego"), text).unwrap();
    let output = desk.run(&["test", "rules"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("FAIL  data.dispatch_test.mine.test_mine"));
    let name = "data.dispatch_test.mine.test_mine";
    desk.refused(
        &["check", "rules"],
        1,
        &["1 of the bundle's own tests failed", name],
    );

    let output = desk.run(&["test", "rules", "--run", "dispatch_test.mine.", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(report["tests"][0]["name"], name);

    let verbose = desk.ok(&["test", "rules", "--run", "test_other", "-v"]);
    assert!(
        verbose.contains("pass  data.dispatch_test.mine.test_other"),
        "{verbose}"
    );
    desk.refused(
        &["test", "rules", "--run", "no_such_test"],
        1,
        &["no test to run", "--run"],
    );
}

#[test]
fn wrong_usage_says_what_to_do() {
    let desk = Desk::with_rules();
    desk.refused(
        &["init", "rules"],
        2,
        &["not empty", "nothing is overwritten"],
    );
    desk.refused(&["check", "nowhere"], 2, &["cannot read `nowhere`"]);
    desk.refused(&["check", "key.pem"], 1, &["archive cannot be read"]);
    desk.refused(
        &["check", "rules", "--verification-key", "key.pub"],
        2,
        &["give an id and a file"],
    );
    desk.refused(
        &["check", "rules", "--verification-key", "a=key.pem"],
        2,
        &["no public ed25519 key", "openssl pkey"],
    );
    desk.refused(
        &["sign", "rules", "--key", "key.pem", "--kid", "a"],
        2,
        &["is a folder", "dispatch policy build rules"],
    );
    desk.ok(&["build", "rules", "-o", "a.tar.gz"]);
    desk.refused(
        &["sign", "a.tar.gz", "--key", "key.pub", "--kid", "a"],
        2,
        &["no private ed25519 key", "openssl genpkey"],
    );
    desk.refused(
        &["build", "rules", "-o", "no/such/folder.tar.gz"],
        2,
        &["cannot write no/such/folder.tar.gz"],
    );
    fs::write(desk.path("input.json"), "{\"v\": 1}").unwrap();
    desk.refused(
        &["explain", "rules", "--input", "input.json"],
        2,
        &["input.json is no policy input", "missing field"],
    );
}

const PAGE: &str = include_str!("../../docs/policy-authoring.md");

/// The blocks of a language that the page shows, in its order.
fn blocks(language: &str) -> Vec<&'static str> {
    let open = format!("```{language}\n");
    let blocks = PAGE.split(open.as_str()).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// What the page tells an author to do is done, word for word.
#[test]
fn the_ten_minutes_of_the_page_work() {
    let desk = Desk::new();
    desk.ok(&["init", "acme"]);
    desk.ok(&["test", "acme"]);

    let manifest = desk.path("acme/.manifest");
    let mut edited: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    edited["revision"] = json!("acme-1");
    edited["roots"]
        .as_array_mut()
        .unwrap()
        .push(json!("prices"));
    fs::write(&manifest, edited.to_string()).unwrap();

    let json = blocks("json");
    let threshold = json
        .iter()
        .find(|block| block.starts_with("{ \"unit_cents\""))
        .unwrap();
    fs::create_dir(desk.path("acme/prices")).unwrap();
    fs::write(desk.path("acme/prices/data.json"), threshold).unwrap();
    let modules = blocks("rego");
    assert_eq!(modules.len(), 2);
    for module in modules {
        let (path, _) = module.strip_prefix("# ").unwrap().split_once('\n').unwrap();
        fs::write(desk.path(path), module).unwrap();
    }
    let tests = desk.ok(&["test", "acme", "--run", "unit_price", "-v"]);
    assert!(PAGE.contains(&tests), "{tests}");
    desk.ok(&["check", "acme"]);

    let input = json
        .iter()
        .find(|block| block.contains("\"operation\""))
        .unwrap();
    fs::write(desk.path("invoice.json"), input).unwrap();
    let explain = ["explain", "acme", "--input", "invoice.json"];
    let shown = desk.ok(&explain);
    let (shown, _) = shown.rsplit_once("bundle").unwrap();
    assert!(PAGE.contains(shown), "{shown}");
    desk.edit("acme/prices/data.json", "60000", "80000");
    assert!(desk.ok(&explain).contains("ALLOW"));
    desk.edit("acme/prices/data.json", "80000", "60000");

    desk.ok(&["build", "acme", "-o", "acme-1.tar.gz"]);
    let sign = "sign acme-1.tar.gz --key key.pem --kid 2026-1";
    let check = "check acme-1.tar.gz --verification-key 2026-1=key.pub";
    for line in [sign, check] {
        assert!(
            PAGE.contains(&format!("$ dispatch policy {line}\n")),
            "{line}"
        );
        desk.ok(&line.split(' ').collect::<Vec<_>>());
    }

    desk.edit(
        "acme/dispatch/unit_price.rego",
        "input.body.lines",
        "input.body.line",
    );
    desk.refused(
        &["check", "acme"],
        1,
        &[
            "dispatch/unit_price.rego:",
            "there is no `input.body.line` in what",
        ],
    );
}

#[test]
fn the_page_lists_the_builtins_that_there_are() {
    let listed: Vec<_> = policy::builtins::ALLOWED
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    let page: Vec<_> = PAGE.split_whitespace().collect();
    let page = page.join(" ");
    assert!(page.contains(&listed.join(" ")), "{listed:?}");
}
