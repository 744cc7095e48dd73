//! The commands for people and scripts, as the real program: what they print, in both forms, how
//! they end, and that an import does nothing twice, whatever happens to it.

use std::{
    future::ready,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use chrono::{DateTime, Utc};
use contracts::{ActorKind, Operation, Role, TicketState, service_account::ApiKeyText};
use dispatch_tests::{
    fleet::program,
    flow::{Flow, FlowOptions, with_flow},
    job::Job,
    software::{account, issue},
    stack::{Stack, with_api},
    wait::{self, BOUND},
    who::{Who, mint},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

use crate::kill_switch::set_stage;

/// The program as a person of this tenant runs it.
struct Terminal {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Terminal {
    fn new(stack: &Stack, who: Who) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables: vec![
                ("DISPATCH_API_URL", format!("http://{}", stack.address())),
                ("DISPATCH_API_TOKEN", who.token(stack.tenant())),
                // Nobody listens there.
                ("TEMPORAL_ADDRESS", "127.0.0.1:1".to_owned()),
            ],
        }
    }

    fn with_temporal(flow: &Flow, who: Who) -> Self {
        let mut terminal = Self::new(flow, who);
        terminal.set("TEMPORAL_ADDRESS", flow.namespace().address());
        terminal.set("TEMPORAL_NAMESPACE", flow.namespace().name());
        terminal
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.into()));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        let output = wait::within("the program", Duration::from_secs(60), command.output());
        output.await.unwrap()
    }

    /// What it prints when all is well.
    async fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}{error}");
        // A pipe gets no colours and no marks of any other kind.
        let odd = |c: char| c == '\u{1b}' || ('\u{2061}'..='\u{2064}').contains(&c);
        assert!(!text.contains(odd), "{text:?}");
        text
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Exit code, standard output, standard error.
    async fn refused(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.run(arguments).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn errors(&self, name: &str) -> Vec<Value> {
        let path = self.folder.path().join(format!("{name}.errors.jsonl"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

async fn count(stack: &Stack, table: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(stack.admin())
        .await
        .unwrap()
}

#[test]
fn a_ticket_is_listed_shown_and_told() {
    with_flow(FlowOptions::default(), async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::Dispatched).await;
        let terminal = Terminal::with_temporal(&flow, Who::Dispatcher);
        let id = job.id().to_string();
        let short = &id[id.len() - 8..];

        let list = terminal.text(&["ticket", "list"]).await;
        let mut lines = list.lines();
        assert!(
            lines.next().unwrap().starts_with("ID        STATE"),
            "{list}"
        );
        let row = lines.next().unwrap();
        for part in [short, "DISPATCHED", "emergency_glass", "arrival", "in "] {
            assert!(row.contains(part), "no {part}: {list}");
        }
        assert!(list.ends_with("\n1 ticket: 1 DISPATCHED\n"), "{list}");
        let none = terminal
            .text(&["ticket", "list", "--state", "closed"])
            .await;
        assert!(none.starts_with("no tickets"), "{none}");
        let page = terminal
            .json(&["ticket", "list", "--waiting-for", "arrival"])
            .await;
        assert_eq!(page["items"][0]["id"], id);
        assert_eq!(page["counts"]["total"], 1);

        // By its id, by the beginning of it, by its short form.
        flow.agreed(job.id()).await;
        for given in [&id, &id[..24], short] {
            let shown = terminal.text(&["ticket", "show", given]).await;
            for part in [
                &*id,
                "DISPATCHED, version 5",
                "waits for",
                "arrival",
                "possible now",
                "check_in",
                "response",
                "running; knows what the database knows",
            ] {
                assert!(shown.contains(part), "no {part}: {shown}");
            }
        }
        let shown = terminal.json(&["ticket", "show", short]).await;
        assert_eq!(shown["status"]["ticket"]["id"], id);
        assert_eq!(shown["workflow"]["comparison"], "same");
        assert_eq!(shown["workflow"]["view"]["level"]["state"], "DISPATCHED");

        // A refused attempt is on record, and marked.
        let body = job.body(Operation::CheckIn).await;
        flow.command(Who::Billing, Operation::CheckIn, Some(job.id()), &body)
            .send()
            .await;
        let timeline = terminal.text(&["ticket", "timeline", short]).await;
        assert!(timeline.contains("refused: FORBIDDEN"), "{timeline}");
        assert!(timeline.contains("NEW → TRIAGED (v2)"), "{timeline}");
        assert!(timeline.contains("1 refused\n"), "{timeline}");
        let refused = [
            "ticket",
            "timeline",
            short,
            "--outcome",
            "refused",
            "--json",
        ];
        let refused = terminal.text(&refused).await;
        assert_eq!(refused.lines().count(), 1, "{refused}");

        // A ticket that stays new for as long as it takes software to be asked.
        let fresh = Job::at(&flow, flow.tenant(), TicketState::New).await;
        let client = flow.client(flow.tenant(), Who::Auditor);
        wait::until("a proposal", BOUND, async || {
            match client.proposals(fresh.id()).await {
                Ok(page) if !page.items.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let fresh = fresh.id().to_string();
        let proposals = terminal.text(&["ticket", "proposals", &fresh]).await;
        for part in ["triage", "would", "because", "people"] {
            assert!(proposals.contains(part), "no {part}: {proposals}");
        }
        let agreement = terminal.text(&["proposals", "agreement"]).await;
        assert!(agreement.contains("technician"), "{agreement}");
    });
}

#[test]
fn what_the_workflow_does_not_know_is_marked() {
    with_flow(FlowOptions::default(), async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::Triaged).await;
        let id = job.id().to_string();
        flow.agreed(job.id()).await;
        // As if an event had been written and never sent.
        sqlx::query("update tickets set event_seq = event_seq + 1")
            .execute(flow.admin())
            .await
            .unwrap();
        let terminal = Terminal::with_temporal(&flow, Who::Dispatcher);
        let shown = terminal.text(&["ticket", "show", &id]).await;
        assert!(shown.contains("DIFFERENT"), "{shown}");
        assert!(shown.contains("≠  events"), "{shown}");
        sqlx::query("update tickets set event_seq = event_seq - 1")
            .execute(flow.admin())
            .await
            .unwrap();

        // Without Temporal the rest is shown all the same.
        let alone = Terminal::new(&flow, Who::Dispatcher);
        let shown = alone.text(&["ticket", "show", &id]).await;
        assert!(shown.contains("not compared"), "{shown}");
        assert!(shown.contains("TRIAGED, version 2"), "{shown}");
    });
}

#[test]
fn a_watcher_sees_what_happens_and_ends_as_told() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let terminal = Terminal::new(&stack, Who::Dispatcher);
        let id = job.id().to_string();
        let quick = ["--interval", "1s"];
        let watch = [
            &["ticket", "watch", &id, "--until", "SCHEDULED"][..],
            &quick,
        ]
        .concat();
        let child = terminal
            .command(&watch)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        job.does(Operation::ProposeSchedule).await;
        job.does(Operation::ConfirmSchedule).await;
        let output = wait::within("the watch", BOUND, child.wait_with_output());
        let output = output.await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        assert!(
            text.contains("SCHEDULE_PROPOSED → SCHEDULED (v4)"),
            "{text}"
        );

        let late = [
            "ticket",
            "watch",
            &id,
            "--until",
            "CLOSED",
            "--timeout",
            "1s",
        ];
        let (code, _, error) = terminal.refused(&late).await;
        assert_eq!(code, Some(4), "{error}");
        job.does(Operation::Cancel).await;
        let over = ["ticket", "watch", &id, "--until", "CLOSED"];
        let (code, _, error) = terminal.refused(&over).await;
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("ended as CANCELLED"), "{error}");
    });
}

#[test]
fn a_kill_switch_is_engaged_over_a_ticket_in_short_and_warns_of_a_wrong_name() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let terminal = Terminal::new(&stack, Who::TenantAdmin);
        let id = job.id().to_string();
        let scope = format!("ticket:{}", &id[id.len() - 8..]);
        let with = |verb: &'static str, scope: &str| {
            let words = ["killswitch", verb, "--scope", scope, "--reason", "typo"];
            words.map(ToOwned::to_owned)
        };
        let told = async |verb, scope: &str| {
            let words = with(verb, scope);
            terminal.text(&words.each_ref().map(String::as_str)).await
        };
        let engaged = told("engage", &scope).await;
        assert!(
            engaged.starts_with(&format!("ticket:{id}: STOP")) && !engaged.contains("warning"),
            "{engaged}"
        );
        let released = told("release", &scope).await;
        assert!(
            released.contains(&format!("ticket:{id}: released")),
            "{released}"
        );

        let warned = told("engage", "agent:agt_typo").await;
        let (first, rest) = warned.split_once('\n').unwrap();
        assert_eq!(
            first,
            "warning: no software of this id has been seen in this tenant; the switch stands \
             nevertheless"
        );
        assert!(
            rest.contains("agent:agt_typo: STOP") && rest.contains("was ever seen in this tenant"),
            "{rest}"
        );
        for (scope, code) in [
            ("ticket:ffffffff".to_owned(), 1),
            (format!("ticket:tkt_{}", "f".repeat(32)), 1),
            ("ticket:".to_owned(), 2),
        ] {
            let words = with("engage", &scope);
            let refused = terminal
                .refused(&words.each_ref().map(String::as_str))
                .await;
            assert_eq!(refused.0, Some(code), "{scope}: {refused:?}");
        }
    });
}

#[test]
fn a_drill_leaves_its_attempts_at_the_ticket_that_is_named_in_short() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let newest = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let mut terminal = Terminal::new(&stack, Who::TenantAdmin);
        terminal.set("DISPATCH_DRILL_TOKEN", Who::Agent.token(stack.tenant()));
        let id = job.id().to_string();
        let drill = |ticket| ["killswitch", "drill", "--clients", "1", "--ticket", ticket];
        let told = terminal.text(&drill(&id[id.len() - 8..])).await;
        assert!(
            told.contains("1 callers; the last attempt passed"),
            "{told}"
        );
        let attempts = async |job: &Job| -> i64 {
            sqlx::query_scalar(
                "select count(*) from audit_events
                  where ticket_id = $1 and operation = 'add_note' and refused is not null",
            )
            .bind(job.id().as_uuid())
            .fetch_one(stack.admin())
            .await
            .unwrap()
        };
        assert!(attempts(&job).await > 0);
        assert_eq!(attempts(&newest).await, 0);
        let (code, _, error) = terminal.refused(&drill("ffffffff")).await;
        assert!(
            code == Some(1) && error.contains("there is no ticket"),
            "{error}"
        );
    });
}

#[test]
fn an_approval_is_listed_put_off_lent_and_passes_the_switch_by_word() {
    with_api(async |stack| {
        set_stage(&stack, "triage", "APPROVE").await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = json!({ "priority": "P3", "details": { "pane_count": 1 } });
        let ask = stack.command(Who::Workflow, Operation::Triage, job.id(), &body);
        let held = ask.send().await;
        assert_eq!(held.status, 202, "{}", held.text());
        let id = held.json()["approval"]["id"].as_str().unwrap().to_owned();
        let short = &id[id.len() - 8..];
        let dispatcher = Terminal::new(&stack, Who::Dispatcher);
        let admin = Terminal::new(&stack, Who::TenantAdmin);

        let listed = dispatcher.text(&["approvals", "list", "--all"]).await;
        assert!(
            listed.contains(short) && listed.contains("1 pending"),
            "{listed}"
        );
        let none = ["approvals", "list", "--sla-within", "1", "--all"];
        let none = dispatcher.text(&none).await;
        assert!(none.starts_with("nothing waits"), "{none}");

        let due = [
            "approvals",
            "due",
            short,
            "--until",
            "29d",
            "--reason",
            "calls_back",
        ];
        let told = dispatcher.text(&due).await;
        assert_eq!(told, format!("approval {short} has its new end\n"));
        let seen = dispatcher.json(&["approvals", "show", short]).await;
        let end: DateTime<Utc> = seen["expires_at"].as_str().unwrap().parse().unwrap();
        assert!((end - Utc::now()).num_days() >= 28, "{end}");
        let far = [
            "approvals",
            "due",
            short,
            "--until",
            "31d",
            "--reason",
            "calls_back",
        ];
        let (code, _, error) = dispatcher.refused(&far).await;
        assert!(
            code == Some(1) && error.contains("INVALID_FIELD"),
            "{error}"
        );

        let lend = [
            "approvals",
            "delegate",
            "--to",
            "usr_ben",
            "--role",
            "dispatcher",
        ];
        let lend = [&lend[..], &["--until", "7d", "--reason", "leave"]].concat();
        let told = dispatcher.text(&lend).await;
        assert!(
            told.starts_with("usr_ben may decide with dispatcher in your place until"),
            "{told}"
        );
        let lent = dispatcher.text(&["approvals", "delegations"]).await;
        let row = lent.lines().nth(1).unwrap();
        assert!(row.contains("usr_ben") && row.contains("serves"), "{lent}");
        let delegation = row.split_whitespace().next().unwrap();
        let back = ["approvals", "revoke-delegation", delegation];
        assert_eq!(
            dispatcher.text(&back).await,
            format!("{delegation} serves no longer\n")
        );
        let lent = dispatcher.text(&["approvals", "delegations"]).await;
        assert!(lent.contains("taken back"), "{lent}");

        // A no says why; nobody is asked before it does.
        let (code, _, error) = dispatcher.refused(&["approvals", "reject", short]).await;
        assert!(
            code == Some(2) && error.contains("--reason <WORD>"),
            "{error}"
        );
        let approved = dispatcher.text(&["approvals", "approve", short]).await;
        assert!(approved.contains("is approved"), "{approved}");
        admin
            .text(&["killswitch", "engage", "--reason", "storm"])
            .await;
        let by = ["approvals", "override", short, "--reason", "storm"];
        let (code, _, error) = dispatcher.refused(&by).await;
        assert!(code == Some(1) && error.contains("FORBIDDEN"), "{error}");
        let told = admin.text(&by).await;
        assert_eq!(
            told,
            format!("approval {short} was carried out although the switch is engaged\n")
        );
        assert_eq!(job.ticket().await.state, TicketState::Triaged);
        let (code, _, error) = admin.refused(&by).await;
        assert!(
            code == Some(1) && error.contains("ALREADY_DECIDED"),
            "{error}"
        );
    });
}

#[test]
fn a_tenant_is_made_suspended_exported_and_kept() {
    with_api(async |stack| {
        let mut platform = Terminal::new(&stack, Who::TenantAdmin);
        let mut claims = Who::TenantAdmin.claims(stack.other(), chrono::Utc::now());
        claims.roles = [Role::PlatformAdmin].into();
        platform.set("DISPATCH_API_TOKEN", mint(&claims));
        let made = platform
            .text(&[
                "tenant",
                "create",
                "quay_doors",
                "--time-zone",
                "Europe/Lisbon",
                "--hours",
                "Mon-Sat 07:00-19:00",
                "--quiet-hours",
                "21:00-07:30",
            ])
            .await;
        assert!(made.starts_with("quay_doors: active since "), "{made}");
        assert!(made.contains("Mon-Sat 07:00-19:00\n"), "{made}");
        assert!(made.contains("quiet hours 21:00 – 07:30\n"), "{made}");
        let set = ["tenant", "configure", "quay_doors", "--locale", "pt-PT"];
        platform.text(&set).await;
        let shown = platform.json(&["tenant", "show", "quay_doors"]).await;
        assert_eq!(
            (&shown["locale"], &shown["version"]),
            (&json!("pt-PT"), &json!(2))
        );
        assert_eq!(
            shown["calendar"]["time_zone"], "Europe/Lisbon",
            "the rest stays"
        );

        let limit = ["tenant", "limit", "quay_doors", "--open-tickets"];
        let small = [
            &limit[..],
            &["5", "--storage", "1MiB", "--reason", "small_plan"],
        ]
        .concat();
        platform.json(&small).await;
        let told = platform.text(&["tenant", "show", "quay_doors"]).await;
        assert!(
            told.contains("  open        0 of 5 tickets, set for it\n"),
            "{told}"
        );
        assert!(
            told.contains("  kept        0 of 1048576 bytes, set for it\n"),
            "{told}"
        );
        let usual = [&limit[..], &["usual", "--reason", "larger_plan"]].concat();
        platform.json(&usual).await;
        let shown = platform.json(&["tenant", "show", "quay_doors"]).await;
        // What is not said stays.
        assert_eq!(shown["limits"], json!({ "storage_bytes": 1_048_576 }));
        let suspend = ["tenant", "suspend", "quay_doors", "--reason", "unpaid"];
        let suspended = platform.text(&suspend).await;
        assert!(
            suspended.contains("tenant resume quay_doors"),
            "{suspended}"
        );
        let (code, _, error) = platform.refused(&suspend).await;
        assert_eq!(code, Some(1));
        assert!(
            error.contains("ILLEGAL_TRANSITION") && error.contains("resume_tenant"),
            "{error}"
        );
        let list = platform
            .text(&["tenant", "list", "--state", "suspended"])
            .await;
        assert!(
            list.contains("quay_doors") && list.lines().count() == 2,
            "{list}"
        );

        let copy = platform
            .json(&["tenant", "export", "quay_doors", "--out", "."])
            .await;
        let path = platform.folder.path().join("quay_doors.ndjson");
        let lines = std::fs::read_to_string(&path).unwrap().lines().count() as u64;
        assert_eq!(copy["rows"], lines - 1, "and its end");
        let again = ["tenant", "export", "quay_doors", "--out", "."];
        let (code, _, error) = platform.refused(&again).await;
        assert!(
            code == Some(2) && error.contains("is there already"),
            "{error}"
        );

        let delete = [
            "tenant",
            "delete",
            "quay_doors",
            "--reason",
            "left",
            "--grace-days",
            "3",
        ];
        let deleting = platform.text(&delete).await;
        assert!(
            deleting.contains("tenant undelete quay_doors"),
            "{deleting}"
        );
        let (code, _, error) = platform
            .refused(&["tenant", "delete", "quay_doors", "--now"])
            .await;
        assert!(
            code == Some(1) && error.contains("time of grace"),
            "{error}"
        );
        let kept = ["tenant", "undelete", "quay_doors", "--reason", "back"];
        assert!(
            platform
                .text(&kept)
                .await
                .starts_with("quay_doors: suspended")
        );

        let own = Terminal::new(&stack, Who::TenantAdmin);
        assert_eq!(own.text(&["tenant", "list"]).await.lines().count(), 2);
        let (code, _, error) = own.refused(&["tenant", "show", "quay_doors"]).await;
        assert!(code == Some(1) && error.contains("tenant list"), "{error}");
    });
}

/// Wherever the program is cut off, the file of a key holds one that dispatch-api has, or is not there.
#[test]
fn a_key_is_in_its_file_once_it_is_taken_on() {
    with_api(async |stack| {
        let admin = stack.client(stack.tenant(), Who::TenantAdmin);
        let roles = [Role::Dispatcher];
        let account = account(&admin, "erp", ActorKind::Integration, &roles, false).await;
        let of = account.to_string();
        let mut terminal = Terminal::new(&stack, Who::TenantAdmin);
        let file = terminal.folder.path().join("erp.key");
        let beside = terminal.folder.path().join("erp.key.pending");
        let create = [
            "api-key",
            "create",
            &of,
            "--expires",
            "90d",
            "--out",
            "erp.key",
        ];
        let keep = [&create[..], &["--keep"]].concat();
        let held = || {
            let text = std::fs::read_to_string(&file).unwrap();
            ApiKeyText::parse(text.trim()).unwrap()
        };
        let assert_good = async |key: &ApiKeyText| {
            let ask = stack.http().get("/tickets").token(key.expose());
            assert_eq!(ask.send().await.status, 200);
            assert!(!beside.exists());
        };

        // Killed before there was an answer: nothing is taken for a key.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nowhere = format!("http://{}", silent.local_addr().unwrap());
        terminal.set("DISPATCH_API_URL", nowhere);
        let mut child = terminal.command(&create).spawn().unwrap();
        let asked = wait::within("the request", BOUND, silent.accept()).await;
        child.kill().await.unwrap();
        drop(asked);
        assert!(beside.exists() && !file.exists());
        terminal.set("DISPATCH_API_URL", format!("http://{}", stack.address()));
        terminal.text(&keep).await;
        assert_good(&held()).await;
        let (code, _, error) = terminal.refused(&create).await;
        assert!(
            code == Some(1) && error.contains("is there already"),
            "{error}"
        );

        // Killed after it: that key is taken, and no other made.
        let key = issue(&admin, account).await;
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&beside, key.expose()).unwrap();
        terminal.text(&create).await;
        assert_eq!(held(), key);
        assert_good(&key).await;

        // That one is for a month, which is soon over; the next one stays until it is taken back.
        terminal.text(&keep).await;
        let second = held();
        assert_ne!(second, key);
        assert_good(&second).await;
        let told = terminal.text(&keep).await;
        assert!(told.contains("already, which is good until"), "{told}");
        assert_eq!(held(), second);
        let prefix = second.prefix().to_string();
        terminal
            .text(&["api-key", "revoke", &prefix, "--reason", "unused"])
            .await;
        terminal.text(&keep).await;
        assert_ne!(held(), second);
        assert_good(&held()).await;

        // A refusal leaves nothing; and what is no key is not replaced.
        std::fs::write(&file, "mine").unwrap();
        let (code, _, error) = terminal.refused(&keep).await;
        assert!(
            code == Some(1) && error.contains("holds no API key"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        std::fs::remove_file(&file).unwrap();
        let more = [&create[..], &["--scope", "command:decide_approval"]].concat();
        let (code, _, error) = terminal.refused(&more).await;
        assert!(
            code == Some(1) && error.contains("INVALID_FIELD"),
            "{error}"
        );
        assert!(!file.exists() && !beside.exists());
    });
}

#[test]
fn the_doctor_warns_of_a_worker_key_that_ends_soon() {
    with_api(async |stack| {
        let mut terminal = Terminal::new(&stack, Who::TenantAdmin);
        let key = stack.worker_key().await;
        terminal.set("DISPATCH_WORKER_API_KEY", key.expose());
        let (_, text, _) = terminal.refused(&["doctor", "--json"]).await;
        let told: Value = serde_json::from_str(&text).unwrap();
        let checks = told["checks"].as_array().unwrap();
        let check = checks.iter().find(|it| it["part"] == "key of the worker");
        let check = check.unwrap();
        assert_eq!(check["ok"], true, "{check}");
        let found = check["found"].as_str().unwrap();
        assert!(found.ends_with("is good, and ends in 29 days"), "{check}");
        assert!(
            check["to_do"].as_str().unwrap().contains("api-key rotate"),
            "{check}"
        );
    });
}

#[test]
fn what_goes_wrong_is_told_with_its_code_and_the_way_out() {
    with_api(async |stack| {
        let mut terminal = Terminal::new(&stack, Who::Dispatcher);
        let unknown = "tkt_00000000000000000000000000000001";
        let (code, _, error) = terminal.refused(&["ticket", "show", unknown]).await;
        assert_eq!(code, Some(1));
        assert!(error.contains("NOT_FOUND (404)"), "{error}");
        let (code, out, _) = terminal
            .refused(&["ticket", "show", unknown, "--json"])
            .await;
        assert_eq!(code, Some(1));
        let problem: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(problem["code"], "NOT_FOUND");
        let (code, _, error) = terminal.refused(&["ticket", "show", "deadbeef"]).await;
        assert_eq!(code, Some(1));
        assert!(error.contains("there is no ticket `deadbeef`"), "{error}");
        let (code, _, error) = terminal.refused(&["ticket", "show", "the door"]).await;
        assert_eq!(code, Some(2));
        assert!(error.contains("is no ticket"), "{error}");

        let mut expired = Who::Dispatcher.claims(stack.tenant(), chrono::Utc::now());
        expired.exp = expired.iat - 3600;
        terminal.set("DISPATCH_API_TOKEN", mint(&expired));
        let (code, _, error) = terminal.refused(&["ticket", "list"]).await;
        assert_eq!(code, Some(1));
        assert!(error.contains("UNAUTHENTICATED (401)"), "{error}");
        assert!(error.contains("DISPATCH_API_TOKEN"), "{error}");
        terminal
            .variables
            .retain(|(name, _)| *name != "DISPATCH_API_TOKEN");
        let (code, _, error) = terminal.refused(&["ticket", "list"]).await;
        assert_eq!(code, Some(2));
        assert!(
            error.contains("no token: set DISPATCH_API_TOKEN"),
            "{error}"
        );
    });
}

/// The example files, each after those that it refers to.
const EXAMPLES: [(&str, &str, i64); 5] = [
    ("sites", "sites", 3),
    ("assets", "assets", 3),
    ("contacts", "contacts", 3),
    ("technicians", "technicians", 1),
    ("tickets", "tickets", 3),
];

fn example(kind: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dispatch/examples/import");
    std::fs::read_to_string(folder.join(format!("{kind}.csv"))).unwrap()
}

fn importer(stack: &Stack, kind: &str) -> Terminal {
    let who = match kind {
        "technicians" => Who::TenantAdmin,
        _ => Who::Dispatcher,
    };
    Terminal::new(stack, who)
}

#[test]
fn the_examples_are_imported_and_nothing_twice() {
    with_api(async |stack| {
        for (kind, table, rows) in EXAMPLES {
            let terminal = importer(&stack, kind);
            let file = format!("{kind}.csv");
            terminal.write(&file, &example(kind));
            let before = count(&stack, table).await;
            let dry = terminal.json(&["import", kind, &file, "--dry-run"]).await;
            assert_eq!(dry["failed"], 0, "{dry}");
            assert_eq!(
                count(&stack, table).await,
                before,
                "a dry run changes nothing"
            );

            let first = terminal.json(&["import", kind, &file]).await;
            assert_eq!(first["written"], rows, "{first}");
            assert_eq!(count(&stack, table).await, before + rows, "{kind}");
            let accepted = count(&stack, "audit_events where refused is null").await;
            let second = terminal.json(&["import", kind, &file]).await;
            assert_eq!(second["failed"], 0, "{second}");
            assert_eq!(count(&stack, table).await, before + rows, "{kind}");
            let again = count(&stack, "audit_events where refused is null").await;
            assert_eq!(again, accepted, "{kind} had effects at the second run");
            if kind != "tickets" {
                assert_eq!(second["unchanged"], rows, "{second}");
            }
        }
        let moved = example("sites").replace("52.372800", "52.372900");
        let terminal = importer(&stack, "sites");
        terminal.write("sites.csv", &moved);
        let summary = terminal.json(&["import", "sites", "sites.csv"]).await;
        assert_eq!(
            (&summary["changed"], &summary["unchanged"]),
            (&json!(1), &json!(2))
        );
        // And back: an earlier success must not be the answer.
        terminal.write("sites.csv", &example("sites"));
        let summary = terminal.json(&["import", "sites", "sites.csv"]).await;
        assert_eq!(summary["changed"], 1, "{summary}");
    });
}

#[test]
fn bad_rows_are_told_and_the_good_ones_imported() {
    with_api(async |stack| {
        let terminal = importer(&stack, "tickets");
        let header = "external_id,site,template,priority\n";
        let rows = "A-1,harbour_shop,emergency_glass,P1\n\
                    A-2,nowhere,emergency_glass,P1\n\
                    A-3,harbour_shop,flying_carpet,P1\n\
                    A-4,harbour_shop,emergency_glass,P7\n\
                    A-1,harbour_shop,emergency_glass,P1\n\
                    A-6,harbour_shop\n\
                    A-7,harbour_shop,emergency_glass,P2\n";
        terminal.write("tickets.csv", &format!("{header}{rows}"));
        let (code, out, error) = terminal
            .refused(&["import", "tickets", "tickets.csv"])
            .await;
        assert_eq!(code, Some(1), "{out}{error}");
        assert!(out.contains("2 there, 5 failed"), "{out}");
        assert_eq!(count(&stack, "tickets").await, 2);
        let errors = terminal.errors("tickets.csv");
        let told: Vec<_> = errors
            .iter()
            .map(|error| {
                (
                    error["row"].as_u64().unwrap(),
                    error["code"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (2, "INVALID_ROW"),
                (3, "POLICY_DENIED"),
                (4, "INVALID_ROW"),
                (5, "INVALID_ROW"),
                (6, "INVALID_ROW"),
            ]
        );
        assert_eq!(errors[0]["column"], "site");
        assert_eq!(errors[1]["problem"]["errors"][0]["pointer"], "/template");
        assert_eq!(errors[2]["record"]["priority"], "P7");

        // Mended under the same name: the refusal of the first run is not the answer.
        let mended = "A-1,harbour_shop,emergency_glass,P1\nA-3,harbour_shop,emergency_glass,P1\n";
        terminal.write("tickets.csv", &format!("{header}{mended}"));
        let summary = terminal.json(&["import", "tickets", "tickets.csv"]).await;
        assert_eq!(summary["written"], 2, "{summary}");
        assert_eq!(count(&stack, "tickets").await, 3);
        assert_eq!(terminal.errors("tickets.csv"), Vec::<Value>::new());
        // A ticket is not made again from a row that says something else.
        terminal.write(
            "tickets.csv",
            &format!("{header}A-1,harbour_shop,emergency_glass,P3\n"),
        );
        let (code, ..) = terminal
            .refused(&["import", "tickets", "tickets.csv"])
            .await;
        assert_eq!(code, Some(1));
        assert_eq!(count(&stack, "tickets").await, 3);

        terminal.write("wrong.csv", "external_id,place,template\nA-1,x,y\n");
        let (code, _, error) = terminal.refused(&["import", "tickets", "wrong.csv"]).await;
        assert_eq!(code, Some(2));
        assert!(error.contains("no column `place`"), "{error}");
    });
}

const MANY: u64 = 1200;

#[test]
fn an_import_that_is_killed_goes_on_and_does_nothing_twice() {
    with_api(async |stack| {
        let terminal = importer(&stack, "tickets");
        let mut rows = String::from("external_id,site,template\n");
        for n in 1..=MANY {
            // Every hundredth is wrong, so that errors are resumed as well.
            let site = if n % 100 == 0 {
                "nowhere"
            } else {
                "harbour_shop"
            };
            rows += &format!("B-{n},{site},emergency_glass\n");
        }
        terminal.write("many.csv", &rows);
        let progress = terminal.folder.path().join("many.csv.progress");
        let mut kills = 0;
        loop {
            let mut child = terminal
                .command(&["import", "tickets", "many.csv"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let before = done(&progress);
            let ended = wait::until("progress", Duration::from_secs(60), || {
                let status = child.try_wait().unwrap();
                ready(match status {
                    Some(status) => Ok(Some(status)),
                    None if done(&progress) > before => Ok(None),
                    None => Err("no progress"),
                })
            })
            .await;
            match ended {
                None => {
                    child.kill().await.unwrap();
                    kills += 1;
                }
                Some(status) => {
                    assert_eq!(status.code(), Some(1), "the wrong rows are told");
                    break;
                }
            }
        }
        assert!(kills >= 2, "it was killed {kills} times only");
        let wrong = MANY / 100;
        assert_eq!(count(&stack, "tickets").await.cast_unsigned(), MANY - wrong);
        let errors = terminal.errors("many.csv");
        let told: Vec<_> = errors
            .iter()
            .map(|error| error["row"].as_u64().unwrap())
            .collect();
        let all: Vec<_> = (1..=wrong).map(|n| n * 100).collect();
        assert_eq!(told, all, "each wrong row once");
        assert!(!progress.exists(), "there is nothing left to go on with");
    });
}

fn done(progress: &Path) -> u64 {
    let text = std::fs::read_to_string(progress).unwrap_or_default();
    let progress: Option<Value> = serde_json::from_str(&text).ok();
    progress.map_or(0, |progress| progress["rows"].as_u64().unwrap())
}

#[test]
fn an_import_stops_where_dispatch_api_is_away_and_goes_on_later() {
    with_api(async |stack| {
        let mut terminal = importer(&stack, "sites");
        terminal.write("sites.csv", &example("sites"));
        let there = format!("http://{}", stack.address());
        terminal.set("DISPATCH_API_TOKEN", "no.such.token");
        let (code, _, error) = terminal.refused(&["import", "sites", "sites.csv"]).await;
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("row 1: UNAUTHENTICATED"), "{error}");
        assert!(error.contains("the same command goes on"), "{error}");
        assert_eq!(terminal.errors("sites.csv"), Vec::<Value>::new());
        terminal.set("DISPATCH_API_TOKEN", Who::Dispatcher.token(stack.tenant()));
        terminal.set("DISPATCH_API_URL", there);
        let summary = terminal.json(&["import", "sites", "sites.csv"]).await;
        assert_eq!(summary["written"], 3, "{summary}");
    });
}
