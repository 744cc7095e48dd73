//! Policy bundles: uploaded, checked, activated, taken back; and that each decision was made by the
//! bundle that was active then, in every process.

use std::{
    cell::RefCell, collections::BTreeMap, net::SocketAddr, path::Path, process::Stdio, sync::Arc,
    time::Duration,
};

use api::{ApiConfig, Limits, Secret, Server, TokenConfig, Watched};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::Utc;
use contracts::{
    CommandId, ErrorCode, Operation, ReadPermission, Role, TicketState,
    approval::ApprovalState,
    command::HeldReceipt,
    filing::{Filed, FilingReceipt},
    policy::BundleRef,
    read::{BundleActivations, StoredBundles},
};
use dispatch_tests::{
    database::bundles,
    filing::receipt,
    fleet::program,
    http::{Ask, Http, Reply, key, pointers},
    job::Job,
    part::RunningPart,
    record::{Footprint, REFUSAL, attempt},
    stack::{SEALING_KEY, Stack, with_api},
    wait::{self, BOUND},
    who::{AUDIENCE, ISSUER, SECRET, Who, mint},
};
use futures::future::join_all;
use policy::{
    Bundle, BundleFiles, BundleSource, DirectoryBundles, SigningKey, Trust, VerificationKeys,
};
use serde_json::{Value, json};
use tokio::time::Instant;

#[path = "../../../policy/tests/keys/mod.rs"]
mod keys;

/// Only the strict bundle minds a note of this length.
const NOTE: &str = "notable";
const STRICT: &str = r#"package dispatch

deny contains unmet("STRICT", "A note has no seven letters.", "Write more, or less.") if {
	input.operation == "add_note"
	input.body.text.chars == 7
}
"#;
const STRICT_TEST: &str = r#"package dispatch_test.strict

import data.dispatch_test.fixtures as f

test_seven_letters_are_denied if {
	ask := f.ask("add_note", f.person("dispatcher"), {"text": {"chars": 7}}, f.ticket)
	deny := data.dispatch.deny with input as ask
	{reason.code | some reason in deny} == {"STRICT"}
}
"#;

const PLAIN_TEST: &str = r#"package dispatch_test.plain

import data.dispatch_test.fixtures as f

test_seven_letters_pass if {
	ask := f.ask("add_note", f.person("dispatcher"), {"text": {"chars": 7}}, f.ticket)
	deny := data.dispatch.deny with input as ask
	count(deny) == 0
}
"#;

fn starter() -> String {
    Bundle::starter().unwrap().reference().sha256.clone()
}

/// The starter bundle under another name, with these files in place of its own or beside them.
fn variant(revision: &str, changed: &[(&str, &str)]) -> BundleFiles {
    let bundle = Bundle::starter().unwrap();
    let version = format!("\"{}\"", bundle.reference().version);
    let kept = bundle.files().iter().filter(|(path, _)| {
        let is_changed = changed.iter().any(|(other, _)| other == path);
        !is_changed
    });
    let texts = kept.chain(changed.iter().copied()).map(|(path, text)| {
        let text = match path {
            ".manifest" => text.replace(&version, &format!("\"{revision}\"")),
            _ => text.to_owned(),
        };
        (path, text)
    });
    BundleFiles::from_texts(texts).unwrap()
}

/// The starter's text of a file, with something in it replaced.
fn with(path: &str, from: &str, to: &str) -> String {
    let bundle = Bundle::starter().unwrap();
    let (_, text) = bundle.files().iter().find(|(p, _)| *p == path).unwrap();
    assert!(text.contains(from), "no {from} in {path}");
    text.replacen(from, to, 1)
}

/// As [`variant`], without the starter's own tests: a debug build takes long for them.
fn quick(revision: &str, changed: &[(&str, &str)]) -> BundleFiles {
    let files = variant(revision, changed);
    let kept = files.iter().filter(|(path, _)| {
        let is_changed = changed.iter().any(|(other, _)| other == path);
        is_changed || path.ends_with("fixtures_test.rego") || !path.ends_with("_test.rego")
    });
    BundleFiles::from_texts(kept).unwrap()
}

fn strict() -> BundleFiles {
    let files = [
        ("dispatch/strict.rego", STRICT),
        ("dispatch/strict_test.rego", STRICT_TEST),
    ];
    variant("strict-1", &files)
}

/// The starter with something asked for before another bundle decides.
fn careful(revision: &str, asks: &str) -> BundleFiles {
    careful_of(revision, asks, 0, 0)
}

/// A report has to look back so many days, at so many decisions.
fn careful_of(revision: &str, asks: &str, days: u32, decisions: u32) -> BundleFiles {
    let (from, to) = (format!("\"{asks}\": false"), format!("\"{asks}\": true"));
    let data = with("activation/data.json", &from, &to);
    let data = data.replace(
        "\"report_min_days\": 7",
        &format!("\"report_min_days\": {days}"),
    );
    let least = format!("\"report_min_decisions\": {decisions}");
    let data = data.replace("\"report_min_decisions\": 1000", &least);
    variant(revision, &[("activation/data.json", &*data)])
}

fn packed(files: &BundleFiles) -> Value {
    json!({ "archive": BASE64_STANDARD.encode(files.to_archive().unwrap()) })
}

/// Whoever runs the installation: `n` tells several apart.
fn platform(stack: &Stack, n: u8) -> String {
    let mut claims = Who::TenantAdmin.claims(stack.tenant(), Utc::now());
    claims.sub = format!("usr_platform{n}");
    claims.roles = [Role::PlatformAdmin].into();
    mint(&claims)
}

fn command(stack: &Stack, http: &Http, operation: Operation, body: &Value) -> Ask {
    let ask = http.command(operation, None, body);
    ask.token(platform(stack, 1))
}

/// Sends it again while a trial evaluation takes too long, as the answer asks for: so it may in a debug
/// build on a busy machine.
async fn in_time(ask: impl Fn() -> Ask) -> Reply {
    wait::until("a check that is in time", BOUND, async || {
        let reply = ask().send().await;
        match reply.status.as_u16() {
            503 => Err(reply.text()),
            _ => Ok(reply),
        }
    })
    .await
}

async fn upload(stack: &Stack, http: &Http, files: &BundleFiles) -> Reply {
    let body = packed(files);
    in_time(|| command(stack, http, Operation::UploadBundle, &body)).await
}

async fn activate(stack: &Stack, http: &Http, sha256: &str) -> Reply {
    let body = json!({ "sha256": sha256, "reason": "tests" });
    in_time(|| command(stack, http, Operation::ActivateBundle, &body)).await
}

/// Uploads and activates it.
async fn decides(stack: &Stack, http: &Http, files: &BundleFiles) -> FilingReceipt {
    assert_eq!(upload(stack, http, files).await.status, 201);
    receipt(&activate(stack, http, &files.sha256()).await)
}

fn note_to(stack: &Stack, http: &Http, job: &Job) -> Ask {
    let body = json!({ "text": NOTE });
    let ask = http.command(Operation::AddNote, Some(job.id()), &body);
    ask.token(Who::Dispatcher.token(stack.tenant()))
}

async fn note(stack: &Stack, http: &Http, job: &Job) -> Reply {
    note_to(stack, http, job).send().await
}

/// Which bundle decided about a command.
async fn decided_by(stack: &Stack, command: CommandId) -> String {
    attempt(stack.admin(), command).await.unwrap().bundle_sha256
}

async fn active(stack: &Stack) -> Option<String> {
    sqlx::query_scalar("select bundle_sha256 from deployment")
        .fetch_one(stack.admin())
        .await
        .unwrap()
}

async fn count(stack: &Stack, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(stack.admin())
        .await
        .unwrap()
}

/// Where a bundle says who may read what.
const READS: &str = "reads/data.json";
const KEPT: &str = "select count(*) from policy_bundles";
const ACTIVATIONS: &str = "select count(*) from bundle_activations";

/// As superuser, past the trigger that keeps the record as it is.
async fn sql(stack: &Stack, text: &'static str) {
    sqlx::raw_sql(text).execute(stack.admin()).await.unwrap();
}

/// Another process on the same database, which takes only what `trust` trusts.
async fn process(stack: &Stack, trust: Trust) -> (RunningPart, Http) {
    process_with(stack, bundles(), trust).await
}

/// The same with these bundles at hand, in place of the program's.
async fn process_with(
    stack: &Stack,
    near: Arc<dyn BundleSource>,
    trust: Trust,
) -> (RunningPart, Http) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let addresses = &stack.database().addresses;
    let config = ApiConfig {
        listen: any,
        metrics_listen: any,
        database_url: Secret::new(&addresses.app),
        row_level_security: true,
        maintenance_url: Secret::new(&addresses.maintenance),
        pool_size: 8,
        tokens: TokenConfig {
            secret: Secret::new(SECRET),
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
            leeway: Duration::from_secs(5),
            issuers: Vec::new(),
        },
        sealing_key: Secret::new(SEALING_KEY),
        cursor_keys: Vec::new(),
        sealing_interval: Duration::from_millis(200),
        bundles: near,
        trust,
        ceiling: contracts::event::AutonomyMode::Auto,
        watched: Watched::default(),
        limits: Limits::default(),
        failpoints: false,
    };
    let (tell, told) = tokio::sync::oneshot::channel();
    let part = RunningPart::start("dispatch-api 2", |shutdown| async move {
        let server = Server::bind(config).await.map_err(|e| e.to_string())?;
        let _ = tell.send(server.api_address().map_err(|e| e.to_string())?);
        server.run(shutdown).await;
        Ok(())
    });
    let address = wait::within("another dispatch-api", BOUND, told)
        .await
        .unwrap();
    (part, Http::new(format!("http://{address}")))
}

fn signed_by(id: &str, public: &str) -> Trust {
    Trust::SignedBy(VerificationKeys::from_pem([(id, public)]).unwrap())
}

#[test]
fn a_good_bundle_is_kept_and_decides_nothing_yet() {
    with_api(async |stack| {
        let files = strict();
        let body = packed(&files);
        let key = key();
        let send = || command(&stack, stack.http(), Operation::UploadBundle, &body).key(&key);
        let first = send().send().await;
        assert_eq!(first.status, 201, "{}", first.text());
        let done = receipt(&first);
        let Filed::BundleUploaded { bundle } = &done.filed else {
            panic!("{done:?}");
        };
        assert_eq!(
            (&*bundle.version, &bundle.sha256),
            ("strict-1", &files.sha256())
        );
        // The archive is in its table and nowhere else.
        let row = attempt(stack.admin(), done.command_id).await.unwrap();
        let sent = body["archive"].as_str().unwrap();
        assert_eq!(
            row.payload["archive"],
            json!({ "base64_chars": sent.len() })
        );
        assert!(!row.input.contains(&sent[..40]));

        let footprint = Footprint::take(stack.admin()).await;
        let again = send().send().await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);
        // The same content under another key is no second bundle.
        assert_eq!(upload(&stack, stack.http(), &files).await.status, 201);
        assert_eq!(count(&stack, KEPT).await, 2);
        assert_eq!(active(&stack).await, Some(starter()));

        let list = async |token: String| -> StoredBundles {
            let ask = stack.http().get("/policy/bundles").token(token);
            serde_json::from_value(ask.send().await.json()).unwrap()
        };
        // Who brought them may be somebody of another tenant.
        for tenant in [stack.tenant(), stack.other()] {
            let seen = list(Who::Dispatcher.token(tenant)).await.bundles;
            assert_eq!(seen.len(), 2);
            assert!(seen.iter().all(|bundle| bundle.uploaded_by.is_none()));
        }
        let list = list(platform(&stack, 1)).await;
        assert_eq!(
            list.bundles[0].uploaded_by.as_deref(),
            Some("usr_platform1")
        );
        let list: Vec<_> = list
            .bundles
            .iter()
            .map(|b| (&*b.bundle.version, b.active))
            .collect();
        let version = Bundle::starter().unwrap().reference().version.clone();
        assert_eq!(list, [("strict-1", false), (&*version, true)]);
    });
}

#[test]
fn a_bad_bundle_is_refused_on_the_record_and_not_kept() {
    with_api(async |stack| {
        let rego = |text| variant("bad", &[("dispatch/bad.rego", text)]);
        let failing = STRICT_TEST.replace("== {\"STRICT\"}", "== set()");
        let failing = [
            ("dispatch/strict.rego", STRICT),
            ("dispatch/strict_test.rego", &*failing),
        ];
        let silence = with(
            "approvals/data.json",
            r#""on_expiry": "deny""#,
            r#""on_expiry": "allow""#,
        );
        let data = with("templates/data.json", "{", r#"{ "odd": 1, "#);
        let untested = Bundle::starter().unwrap();
        let untested = untested
            .files()
            .iter()
            .filter(|(path, _)| !path.ends_with("_test.rego"));
        let untested = BundleFiles::from_texts(untested).unwrap();
        let garbage = json!({ "archive": BASE64_STANDARD.encode("no archive at all") });
        let cases = [
            (json!({ "archive": "%%%" }), "base64"),
            (json!({ "archive": "" }), "archive"),
            (garbage, "archive"),
            (
                packed(&variant("bad", &failing)),
                "test_seven_letters_are_denied",
            ),
            (packed(&untested), "no test"),
            (
                packed(&rego("package dispatch\n\nx := time.now_ns()\n")),
                "time.now_ns",
            ),
            (
                packed(&rego("package dispatch\n\nx := input.bdy.text\n")),
                "input.bdy",
            ),
            (packed(&rego("package dispatch\n\nx :=\n")), "compile"),
            (
                packed(&variant("bad", &[("approvals/data.json", &silence)])),
                "expected `deny` or `escalate`",
            ),
            (
                packed(&variant("bad", &[("templates/data.json", &data)])),
                "odd",
            ),
        ];
        for (body, says) in cases {
            let footprint = Footprint::take(stack.admin()).await;
            let ask = command(&stack, stack.http(), Operation::UploadBundle, &body);
            let problem = ask.send().await.problem(ErrorCode::InvalidBundle);
            assert_eq!(problem.status, 422);
            assert!(
                problem.detail.contains(says),
                "no {says}: {}",
                problem.detail
            );
            assert_eq!(pointers(&problem), ["/archive"], "{says}");
            assert_eq!(footprint.changes(stack.admin()).await, REFUSAL, "{says}");
            let row = attempt(stack.admin(), problem.command_id.unwrap())
                .await
                .unwrap();
            assert_eq!(row.refused.as_deref(), Some("INVALID_BUNDLE"));
            assert_eq!((&*row.result, row.bundle_sha256), ("ALLOW", starter()));
        }
        // Somebody who may not is told so before anything is looked at.
        let body = json!({ "archive": "%%%" });
        let ask = stack.command(Who::TenantAdmin, Operation::UploadBundle, None, &body);
        ask.send().await.problem(ErrorCode::Forbidden);
        assert_eq!(count(&stack, KEPT).await, 1);
    });
}

#[test]
fn the_next_command_of_every_process_is_decided_by_the_active_bundle() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        // It decides already, and has never seen the other bundle.
        let (part, second) = process(&stack, Trust::Anybody).await;
        note(&stack, &second, &job).await.receipt();
        let files = strict();
        let sha256 = files.sha256();

        let unknown = activate(&stack, stack.http(), &sha256).await;
        let unknown = unknown.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&unknown), ["/sha256"]);
        let already = activate(&stack, stack.http(), &starter()).await;
        already.problem(ErrorCode::InvalidField);
        assert_eq!(upload(&stack, stack.http(), &files).await.status, 201);
        let body = json!({ "sha256": sha256, "reason": "tests" });
        let ask = stack.command(Who::TenantAdmin, Operation::ActivateBundle, None, &body);
        ask.send().await.problem(ErrorCode::Forbidden);
        let ask = command(&stack, stack.http(), Operation::ActivateBundle, &body);
        assert_eq!(ask.dry_run().send().await.status, 200);
        assert_eq!(active(&stack).await, Some(starter()));

        let done = activate(&stack, stack.http(), &sha256).await;
        assert_eq!(done.status, 200);
        let done = receipt(&done);
        let Filed::BundleActivated { bundle, previous } = &done.filed else {
            panic!("{done:?}");
        };
        assert_eq!((&bundle.sha256, previous), (&sha256, &Some(starter())));
        // The switch itself was decided by the one before.
        assert_eq!(decided_by(&stack, done.command_id).await, starter());
        for http in [&second, stack.http()] {
            let problem = note(&stack, http, &job)
                .await
                .problem(ErrorCode::PolicyDenied);
            assert_eq!(problem.reasons[0].code, "STRICT");
            assert_eq!(
                decided_by(&stack, problem.command_id.unwrap()).await,
                sha256
            );
        }
        // Workflows are told.
        let told: i64 = sqlx::query_scalar(
            "select count(*) from control_events
             where kind = 'bundle' and for_tenant is null and command_id = $1",
        )
        .bind(done.command_id.as_uuid())
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(told, 1);

        // And back, by the other process.
        receipt(&activate(&stack, &second, &starter()).await);
        for http in [&second, stack.http()] {
            let receipt = note(&stack, http, &job).await.receipt();
            assert_eq!(decided_by(&stack, receipt.command_id).await, starter());
        }
        let ask = second.get("/policy/activations").token(platform(&stack, 1));
        let history: BundleActivations = serde_json::from_value(ask.send().await.json()).unwrap();
        let history: Vec<_> = history
            .activations
            .iter()
            .map(|a| {
                (
                    &*a.bundle.sha256,
                    a.previous_sha256.as_deref(),
                    a.activated_by.as_deref().unwrap(),
                )
            })
            .collect();
        let first = starter();
        assert_eq!(
            history,
            [
                (&*first, Some(&*sha256), "usr_platform1"),
                (&*sha256, Some(&*first), "usr_platform1"),
                (&*first, None, "tests"),
            ]
        );
        let ask = second
            .get("/policy/activations")
            .token(Who::Dispatcher.token(stack.other()));
        let history: BundleActivations = serde_json::from_value(ask.send().await.json()).unwrap();
        assert_eq!(history.activations.len(), 3);
        for row in history.activations {
            assert_eq!((row.activated_by, row.reason), (None, None));
        }
        part.stop().await;
    });
}

/// What was sent and answered when, and what it was about.
struct Span<T> {
    sent: Instant,
    answered: Instant,
    about: T,
}

#[test]
fn while_bundles_change_each_command_is_decided_by_the_one_that_is_active() {
    const ACTORS: usize = 2;
    const TURNS: usize = 4;
    with_api(async |stack| {
        let (part, second) = process(&stack, Trust::Anybody).await;
        let strict = [
            ("dispatch/strict.rego", STRICT),
            ("dispatch/strict_test.rego", STRICT_TEST),
        ];
        let (strict, plain) = (
            quick("strict-2", &strict),
            quick("plain-1", &[("dispatch/plain_test.rego", PLAIN_TEST)]),
        );
        for files in [&strict, &plain] {
            assert_eq!(upload(&stack, stack.http(), files).await.status, 201);
        }
        let (strict, plain) = (strict.sha256(), plain.sha256());
        let began = Instant::now();
        let turns = RefCell::new(vec![Span {
            sent: began,
            answered: began,
            about: starter(),
        }]);
        let acts = RefCell::new(Vec::new());
        let jobs = (0..ACTORS).map(|_| Job::at(&stack, stack.tenant(), TicketState::New));
        let jobs = join_all(jobs).await;
        let done = std::cell::Cell::new(false);
        let act = async |(n, job): (usize, &Job)| {
            let http = if n % 2 == 0 { stack.http() } else { &second };
            while !done.get() {
                let sent = Instant::now();
                let reply = note(&stack, http, job).await;
                let answered = Instant::now();
                let allowed = reply.status == 200;
                let command = match allowed {
                    true => reply.receipt().command_id,
                    false => {
                        let problem = reply.problem(ErrorCode::PolicyDenied);
                        assert_eq!(problem.reasons[0].code, "STRICT");
                        problem.command_id.unwrap()
                    }
                };
                acts.borrow_mut().push(Span {
                    sent,
                    answered,
                    about: (command, allowed),
                });
            }
        };
        let turning = async {
            for turn in 0..TURNS {
                let before = acts.borrow().len();
                wait::until("acts between turns", BOUND, async || {
                    let now = acts.borrow().len();
                    (now >= before + 2 * ACTORS).then_some(()).ok_or(now)
                })
                .await;
                let sha256 = if turn % 2 == 0 { &strict } else { &plain };
                let http = if turn % 3 == 0 { stack.http() } else { &second };
                let sent = Instant::now();
                receipt(&activate(&stack, http, sha256).await);
                let answered = Instant::now();
                turns.borrow_mut().push(Span {
                    sent,
                    answered,
                    about: sha256.clone(),
                });
            }
            done.set(true);
        };
        futures::join!(turning, join_all(jobs.iter().enumerate().map(act)));

        // Active at some moment between the question and the answer.
        let (turns, acts) = (turns.into_inner(), acts.into_inner());
        let decided: Vec<(uuid::Uuid, String)> =
            sqlx::query_as("select command_id, bundle_sha256 from policy_decisions")
                .fetch_all(stack.admin())
                .await
                .unwrap();
        let decided: BTreeMap<_, _> = decided.into_iter().collect();
        let mut by_strict = 0;
        for act in &acts {
            let (command, allowed) = act.about;
            let sha256 = &decided[&command.as_uuid()];
            assert_eq!(allowed, *sha256 != strict);
            by_strict += usize::from(!allowed);
            let fits = turns.iter().enumerate().any(|(n, turn)| {
                let until = turns.get(n + 1).map(|next| next.answered);
                turn.about == *sha256
                    && turn.sent <= act.answered
                    && until.is_none_or(|until| act.sent <= until)
            });
            assert!(fits, "{command} was decided by {sha256} out of its time");
        }
        // Each denial by the strict bundle, each passage by another; nothing between.
        let odd: i64 = sqlx::query_scalar(
            "select count(*) from policy_decisions d
               join audit_events a using (tenant_id, command_id)
              where d.operation = 'add_note'
                and ((d.result = 'DENY') <> (d.bundle_sha256 = $1)
                     or (a.refused is null) = (d.bundle_sha256 = $1)
                     or a.bundle_sha256 <> d.bundle_sha256)",
        )
        .bind(&strict)
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(odd, 0);
        assert!(by_strict >= TURNS && acts.len() - by_strict >= TURNS);
        assert_eq!(count(&stack, ACTIVATIONS).await, 1 + TURNS as i64);
        part.stop().await;
    });
}

#[test]
fn of_two_activations_at_once_each_names_the_bundle_before_it() {
    with_api(async |stack| {
        let (part, second) = process(&stack, Trust::Anybody).await;
        let other = variant("other-1", &[]);
        let files = strict();
        for files in [&files, &other] {
            assert_eq!(upload(&stack, stack.http(), files).await.status, 201);
        }
        let (first_sha256, other_sha256) = (files.sha256(), other.sha256());
        let (one, two) = futures::join!(
            activate(&stack, stack.http(), &first_sha256),
            activate(&stack, &second, &other_sha256),
        );
        for reply in [&one, &two] {
            // One may find that the other was faster, and is to try again.
            assert!(
                [200, 409].contains(&reply.status.as_u16()),
                "{}",
                reply.text()
            );
        }
        let broken: i64 = count(
            &stack,
            "select count(*) from (
                 select previous_sha256, lag(sha256) over (order by position) as before
                   from bundle_activations) a
              where previous_sha256 is distinct from before",
        )
        .await;
        assert_eq!(broken, 0);
        let last: String = sqlx::query_scalar(
            "select sha256 from bundle_activations order by position desc limit 1",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(active(&stack).await, Some(last));
        part.stop().await;
    });
}

#[test]
fn an_activation_that_comes_second_is_decided_by_the_first() {
    with_api(async |stack| {
        let own = [("dispatch/plain_test.rego", PLAIN_TEST)];
        let (late, first) = (quick("late-1", &own), quick("first-1", &own));
        for files in [&late, &first] {
            assert_eq!(upload(&stack, stack.http(), files).await.status, 201);
        }
        let mut other = stack.admin().begin().await.unwrap();
        sqlx::query(
            "with turned as (
                 update deployment set bundle_sha256 = $1, bundle_version = 'first-1')
             insert into bundle_activations
                 (sha256, version, previous_sha256, activated_at, activated_by, reason)
             values ($1, 'first-1', $2, now(), 'tests', 'tests')",
        )
        .bind(first.sha256())
        .bind(starter())
        .execute(&mut *other)
        .await
        .unwrap();
        // Ours has read that the starter decides, and finds somebody at changing that.
        let sha256 = late.sha256();
        let let_go = async {
            wait::until("an activation that waits", BOUND, async || {
                let waiting = count(
                    &stack,
                    "select count(*) from pg_locks l join pg_stat_activity a using (pid)
                      where not l.granted and a.datname = current_database()",
                );
                match waiting.await {
                    0 => Err("nobody waits"),
                    _ => Ok(()),
                }
            })
            .await;
            other.commit().await.unwrap();
        };
        let (late, ()) = futures::join!(activate(&stack, stack.http(), &sha256), let_go);
        let late = receipt(&late);
        let Filed::BundleActivated { previous, .. } = &late.filed else {
            panic!("{late:?}");
        };
        assert_eq!(*previous, Some(first.sha256()));
        assert_eq!(decided_by(&stack, late.command_id).await, first.sha256());
    });
}

#[test]
fn what_cannot_be_loaded_never_decides_and_nothing_is_lost_over_it() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        // A row whose content is not what its name says.
        let named = "0f".repeat(32);
        sqlx::query(
            "insert into policy_bundles (sha256, version, archive, uploaded_at, uploaded_by)
             select $1, 'tampered', archive, now(), 'somebody' from policy_bundles",
        )
        .bind(&named)
        .execute(stack.admin())
        .await
        .unwrap();
        let footprint = Footprint::take(stack.admin()).await;
        let refused = activate(&stack, stack.http(), &named).await;
        let problem = refused.problem(ErrorCode::InvalidBundle);
        assert_eq!(pointers(&problem), ["/sha256"]);
        assert!(problem.detail.contains("was changed"), "{}", problem.detail);
        assert_eq!(footprint.changes(stack.admin()).await, REFUSAL);
        assert_eq!(active(&stack).await, Some(starter()));

        // Somebody makes it decide nevertheless, or nothing.
        let key = key();
        let send = || note_to(&stack, stack.http(), &job).key(&key).send();
        let footprint = Footprint::take(stack.admin()).await;
        let broken = "update deployment set bundle_sha256 = repeat('0f', 32)";
        let none = "update deployment set bundle_sha256 = null, bundle_version = null";
        for (text, reason) in [(broken, "BUNDLE_UNUSABLE"), (none, "NO_ACTIVE_BUNDLE")] {
            sql(&stack, text).await;
            for _ in 0..2 {
                let problem = send().await.problem(ErrorCode::PolicyUnavailable);
                assert_eq!(problem.meta["reason"], reason);
                assert_eq!(problem.command_id, None);
            }
            assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);
            wait::until("a process that is not ready", BOUND, async || {
                let reply = stack.http().get("/health/ready").send().await;
                let ill = reply.status == 503 && reply.json()["parts"]["policy"] != "ok";
                ill.then_some(()).ok_or(reply.text())
            })
            .await;
        }
        // The same request takes effect, once, when a bundle decides again.
        sqlx::query("update deployment set bundle_version = $1, bundle_sha256 = $2")
            .bind(&Bundle::starter().unwrap().reference().version)
            .bind(starter())
            .execute(stack.admin())
            .await
            .unwrap();
        let done = send().await;
        let first = done.receipt();
        assert_eq!(send().await.body, done.body);
        assert_eq!(decided_by(&stack, first.command_id).await, starter());
    });
}

#[test]
fn where_keys_are_known_only_what_they_signed_decides() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let (part, keyed) = process(&stack, signed_by("2026-1", keys::PUBLIC)).await;
        let (other_part, other) = process(&stack, signed_by("2027-1", keys::OTHER_PUBLIC)).await;
        let sign = |kid, pem: &str| {
            let key = SigningKey::from_pem(kid, pem.as_bytes()).unwrap();
            strict().sign(&key).unwrap()
        };
        let signed = sign("2026-1", keys::PRIVATE);
        let more = [("dispatch/more.rego", "package dispatch\n")];
        let partly = signed.iter().chain(more);
        let partly = partly.chain([(".signatures.json", signed.signatures().unwrap())]);
        let partly = BundleFiles::from_texts(partly).unwrap();
        for (files, says) in [
            (strict(), "not signed"),
            (partly, "`dispatch/more.rego` is not signed"),
            (
                sign("2027-1", keys::OTHER_PRIVATE),
                "made with key `2027-1`",
            ),
            (
                sign("2026-1", keys::OTHER_PRIVATE),
                "not made with key `2026-1`",
            ),
        ] {
            let problem = upload(&stack, &keyed, &files).await;
            let problem = problem.problem(ErrorCode::InvalidBundle);
            assert!(
                problem.detail.contains(says),
                "no {says}: {}",
                problem.detail
            );
        }
        assert_eq!(count(&stack, KEPT).await, 1);

        // Where no key is known it is kept unsigned; that is not enough where one is.
        assert_eq!(upload(&stack, stack.http(), &strict()).await.status, 201);
        let unsigned = activate(&stack, &keyed, &strict().sha256()).await;
        unsigned.problem(ErrorCode::InvalidBundle);
        assert_eq!(upload(&stack, &keyed, &signed).await.status, 201);
        let ask = keyed.get("/policy/bundles").token(platform(&stack, 1));
        let list: StoredBundles = serde_json::from_value(ask.send().await.json()).unwrap();
        assert_eq!(list.bundles.len(), 2);
        assert_eq!(list.bundles[0].signed_by.as_deref(), Some("2026-1"));
        receipt(&activate(&stack, &keyed, &signed.sha256()).await);

        for http in [&keyed, stack.http()] {
            let problem = note(&stack, http, &job)
                .await
                .problem(ErrorCode::PolicyDenied);
            assert_eq!(problem.reasons[0].code, "STRICT");
        }
        // A process that knows another key decides nothing rather than by it.
        let key = key();
        let elsewhere = || note_to(&stack, &other, &job).key(&key).send();
        let problem = elsewhere().await.problem(ErrorCode::PolicyUnavailable);
        assert_eq!(problem.meta["reason"], "BUNDLE_UNUSABLE");
        // What came with the program needs no signature.
        receipt(&activate(&stack, &keyed, &starter()).await);
        elsewhere().await.receipt();
        part.stop().await;
        other_part.stop().await;
    });
}

/// The starter's reads table with another row for one permission.
fn reads(permission: ReadPermission, holders: Value) -> String {
    let bundle = Bundle::starter().unwrap();
    let (_, text) = bundle
        .files()
        .iter()
        .find(|(path, _)| *path == READS)
        .unwrap();
    let mut table: Value = serde_json::from_str(text).unwrap();
    table[permission.to_string()] = holders;
    table.to_string()
}

#[test]
fn a_bundle_that_takes_a_read_away_takes_it_away_at_once_and_everywhere() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let path = format!("/tickets/{}", job.id());
        let (part, other) = process(&stack, Trust::Anybody).await;
        let status = async |http: &Http, who: Who| {
            let ask = http.get(&path).token(who.token(stack.tenant()));
            let reply = ask.send().await;
            if reply.status == 403 {
                let problem = reply.no_attempt(ErrorCode::Forbidden);
                assert_eq!(problem.meta["permission"], "read:tickets");
                assert!(
                    problem.detail.contains("person with role dispatcher"),
                    "{problem:?}"
                );
            }
            reply.status.as_u16()
        };
        for http in [stack.http(), &other] {
            assert_eq!(status(http, Who::Technician).await, 200);
        }
        let narrow = reads(ReadPermission::Tickets, json!({ "person": ["dispatcher"] }));
        let narrow = quick(
            "narrow-1",
            &[(READS, &narrow), ("dispatch/p_test.rego", PLAIN_TEST)],
        );
        decides(&stack, stack.http(), &narrow).await;
        for http in [stack.http(), &other] {
            for who in [Who::Technician, Who::Intake, Who::Workflow, Who::Agent] {
                assert_eq!(status(http, who).await, 403, "{who:?}");
            }
            assert_eq!(status(http, Who::Dispatcher).await, 200);
            // Another permission is another matter.
            let timeline = format!("{path}/timeline");
            let ask = http
                .get(timeline)
                .token(Who::Technician.token(stack.tenant()));
            assert_eq!(ask.send().await.status, 200);
        }
        receipt(&activate(&stack, &other, &starter()).await);
        for http in [stack.http(), &other] {
            assert_eq!(status(http, Who::Technician).await, 200);
        }
        part.stop().await;
    });
}

#[test]
fn a_bundle_that_lets_software_read_about_people_is_refused() {
    with_api(async |stack| {
        for (permission, holders, says) in [
            (
                ReadPermission::Contacts,
                json!({ "agent": ["any"] }),
                "permission `contacts`",
            ),
            (
                ReadPermission::Machinery,
                json!({ "person": ["any"] }),
                "permission `machinery`",
            ),
            (
                ReadPermission::Tickets,
                json!({ "person": ["dispatch"] }),
                "\"dispatch\" is no role",
            ),
        ] {
            let table = reads(permission, holders);
            let files = quick(
                "spoilt-1",
                &[(READS, &table), ("dispatch/p_test.rego", PLAIN_TEST)],
            );
            let problem = upload(&stack, stack.http(), &files).await;
            let problem = problem.problem(ErrorCode::InvalidBundle);
            assert!(problem.detail.contains(says), "{}", problem.detail);
        }
        assert_eq!(count(&stack, KEPT).await, 1);
    });
}

#[test]
fn a_starter_of_an_earlier_version_needs_no_signature_either() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let former = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../policy/tests/starters/1.2.0.tar.gz"
        );
        let former = BundleFiles::open(Path::new(former)).unwrap();
        // As an upgrade finds it: kept by an earlier `dispatch migrate`, and active.
        let owner = sqlx::PgPool::connect(&stack.database().addresses.owner)
            .await
            .unwrap();
        let (named, archive) = (
            BundleRef {
                version: "1.2.0".into(),
                sha256: former.sha256(),
            },
            former.to_archive().unwrap(),
        );
        let by = "dispatch migrate";
        store::bundles::install(&owner, &named, &archive, None, by, "migrated", Utc::now())
            .await
            .unwrap();
        owner.close().await;

        let (part, keyed) = process(&stack, signed_by("2026-1", keys::PUBLIC)).await;
        let done = note(&stack, &keyed, &job).await.receipt();
        assert_eq!(decided_by(&stack, done.command_id).await, named.sha256);
        // It says nothing about reads: they are as they were when it was made.
        let contact = format!("/contacts/{}", stack.tenant().contact);
        for (who, status) in [(Who::Dispatcher, 200), (Who::Qa, 403), (Who::Agent, 404)] {
            let ask = keyed.get(&contact).token(who.token(stack.tenant()));
            assert_eq!(ask.send().await.status, status, "{who:?}");
        }
        // Over to today's, and back.
        for sha256 in [starter(), named.sha256] {
            receipt(&activate(&stack, &keyed, &sha256).await);
            let done = note(&stack, &keyed, &job).await.receipt();
            assert_eq!(decided_by(&stack, done.command_id).await, sha256);
        }
        part.stop().await;
    });
}

#[test]
fn what_lies_in_the_programs_folder_is_checked_as_what_is_uploaded() {
    with_api(async |stack| {
        let folder = tempfile::tempdir().unwrap();
        let failing = STRICT_TEST.replace("== {\"STRICT\"}", "== set()");
        let files = quick(
            "near-1",
            &[
                ("dispatch/strict.rego", STRICT),
                ("dispatch/strict_test.rego", &failing),
            ],
        );
        lay_out(folder.path(), &files);
        let near = DirectoryBundles::new(folder.path(), Trust::Anybody);
        let (part, http) = process_with(&stack, Arc::new(near), Trust::Anybody).await;
        // What is kept under its name cannot be used.
        sqlx::query(
            "insert into policy_bundles (sha256, version, archive, uploaded_at, uploaded_by)
             values ($1, 'near-1', 'x', now(), 'somebody')",
        )
        .bind(files.sha256())
        .execute(stack.admin())
        .await
        .unwrap();
        let refused = activate(&stack, &http, &files.sha256()).await;
        refused.problem(ErrorCode::InvalidBundle);
        assert_eq!(active(&stack).await, Some(starter()));
        part.stop().await;
    });
}

#[test]
fn an_operator_rolls_back_on_a_report_where_one_is_asked_for() {
    with_api(async |stack| {
        let folder = tempfile::tempdir().unwrap();
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        note(&stack, stack.http(), &job).await.receipt();
        let careful = careful("careful-4", "require_report");
        decides(&stack, stack.http(), &careful).await;
        let run = async |arguments: &[&str], exit: i32| {
            let (code, out, err) = dispatch(&stack, folder.path(), arguments).await;
            assert_eq!(code, Some(exit), "{arguments:?}: {out}{err}");
            format!("{out}{err}")
        };
        let back = ["policy", "rollback", "--reason", "tests"];
        let missing = run(&back, 1).await;
        assert!(missing.contains("DIFF_MISSING"), "{missing}");
        let diff = ["policy", "diff", "--since", "1h", "--out", "back.json"];
        run(&[&diff[..], &["--candidate", &starter()]].concat(), 0).await;
        run(&[&back[..], &["--report", "back.json"]].concat(), 0).await;
        assert_eq!(active(&stack).await, Some(starter()));
    });
}

#[test]
fn a_bundle_may_ask_for_a_report_of_what_would_be_different() {
    with_api(async |stack| {
        decides(
            &stack,
            stack.http(),
            &careful("careful-1", "require_report"),
        )
        .await;
        let send = async |candidate: &str, undecided: u32, hours: i64| {
            let body = json!({ "sha256": starter(), "reason": "tests", "report": {
                "report_sha256": "0a".repeat(32), "candidate_sha256": candidate,
                "until": Utc::now() - chrono::TimeDelta::hours(hours), "decisions": 9,
                "newly_allowed": 1, "newly_denied": 0, "newly_held": 0, "undecided": undecided,
            } });
            let ask = command(&stack, stack.http(), Operation::ActivateBundle, &body);
            ask.send().await
        };
        let code = |reply: Reply| {
            reply.problem(ErrorCode::PolicyDenied).reasons[0]
                .code
                .clone()
        };
        let without = activate(&stack, stack.http(), &starter()).await;
        assert_eq!(code(without), "DIFF_MISSING");
        assert_eq!(code(send(&"0b".repeat(32), 0, 0).await), "DIFF_OTHER");
        assert_eq!(code(send(&starter(), 1, 0).await), "DIFF_UNDECIDED");
        assert_eq!(code(send(&starter(), 0, 25).await), "DIFF_OLD");
        // Of a range that has not been no age is too old.
        let to_come = send(&starter(), 0, -1)
            .await
            .problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&to_come), ["/report/until"]);
        receipt(&send(&starter(), 0, 1).await);
        assert_eq!(active(&stack).await, Some(starter()));
    });
}

#[test]
fn a_report_over_nearly_nothing_is_too_little_where_more_is_asked_for() {
    with_api(async |stack| {
        let folder = tempfile::tempdir().unwrap();
        let careful = careful_of("careful-5", "require_report", 2, 3);
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        note(&stack, stack.http(), &job).await.receipt();
        decides(&stack, stack.http(), &careful).await;
        let back = async |since: &str| {
            let diff = ["policy", "diff", "--since", since, "--out", "back.json"];
            let starter = starter();
            let diff = [&diff[..], &["--candidate", &starter]].concat();
            let (code, out, err) = dispatch(&stack, folder.path(), &diff).await;
            assert_eq!(code, Some(0), "{out}{err}");
            let back = [
                "policy",
                "rollback",
                "--reason",
                "tests",
                "--report",
                "back.json",
            ];
            let (code, out, err) = dispatch(&stack, folder.path(), &back).await;
            (code, format!("{out}{err}"))
        };
        // What was decided is all of today.
        let (code, told) = back("1d").await;
        assert!(code == Some(1) && told.contains("DIFF_WINDOW"), "{told}");
        assert!(told.contains("--since 3d"), "{told}");
        let (code, told) = back("3d").await;
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(active(&stack).await, Some(starter()));
    });
}

#[test]
fn a_bundle_may_ask_for_a_second_person() {
    with_api(async |stack| {
        let careful = careful("careful-2", "needs_approval");
        decides(&stack, stack.http(), &careful).await;
        assert_eq!(upload(&stack, stack.http(), &strict()).await.status, 201);
        let before = count(&stack, ACTIVATIONS).await;
        let held = activate(&stack, stack.http(), &strict().sha256()).await;
        assert_eq!(held.status, 202, "{}", held.text());
        let held: HeldReceipt = serde_json::from_value(held.json()).unwrap();
        assert_eq!(held.reasons[0].code, "BUNDLE_ACTIVATION");
        assert_eq!(active(&stack).await, Some(careful.sha256()));

        let vote = |n: u8| {
            let path = format!("/approvals/{}/decide", held.approval.id);
            let ask = stack
                .http()
                .post(path)
                .key(key())
                .json(&json!({ "verdict": "approve" }));
            ask.token(platform(&stack, n)).send()
        };
        // Not the one who proposed it.
        let own = vote(1).await;
        assert_eq!(own.status, 403, "{}", own.text());
        assert_eq!(count(&stack, ACTIVATIONS).await, before);
        // Of many who say yes at once, one lets it decide.
        let votes = join_all((2..8).map(vote)).await;
        let (yes, late): (Vec<_>, Vec<_>) = votes.into_iter().partition(|v| v.status == 200);
        assert_eq!(yes.len(), 1);
        for reply in late {
            reply.problem(ErrorCode::AlreadyDecided);
        }
        let done = receipt(&yes[0]);
        let Filed::ApprovalChanged {
            state, executed, ..
        } = &done.filed
        else {
            panic!("{done:?}");
        };
        assert_eq!(*state, ApprovalState::Executed);
        let is_activation = matches!(executed.as_deref(), Some(Filed::BundleActivated { .. }));
        assert!(is_activation, "{executed:?}");
        assert_eq!(active(&stack).await, Some(strict().sha256()));
        assert_eq!(count(&stack, ACTIVATIONS).await, before + 1);
        let released = count(
            &stack,
            "select count(*) from policy_decisions d join audit_events a using (tenant_id, command_id)
              where d.operation = 'activate_bundle' and d.result = 'ALLOW'
                and a.operation = 'decide_approval' and a.changes #>> '{0,data,state}' = 'executed'",
        );
        assert_eq!(released.await, 1, "the decision on what the yes released");
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        note(&stack, stack.http(), &job)
            .await
            .problem(ErrorCode::PolicyDenied);
    });
}

#[test]
fn what_cannot_be_loaded_any_more_is_not_released() {
    with_api(async |stack| {
        let careful = careful("careful-3", "needs_approval");
        decides(&stack, stack.http(), &careful).await;
        assert_eq!(upload(&stack, stack.http(), &strict()).await.status, 201);
        let held = activate(&stack, stack.http(), &strict().sha256()).await;
        assert_eq!(held.status, 202, "{}", held.text());
        let held: HeldReceipt = serde_json::from_value(held.json()).unwrap();
        sql(
            &stack,
            "alter table policy_bundles disable trigger user;
             update policy_bundles set archive = 'x' where version = 'strict-1';
             alter table policy_bundles enable trigger user;",
        )
        .await;
        let path = format!("/approvals/{}/decide", held.approval.id);
        let ask = stack
            .http()
            .post(path)
            .key(key())
            .json(&json!({ "verdict": "approve" }));
        let done = receipt(&ask.token(platform(&stack, 2)).send().await);
        let Filed::ApprovalChanged {
            state,
            executed: None,
            ..
        } = &done.filed
        else {
            panic!("{done:?}");
        };
        assert_eq!(*state, ApprovalState::Stale);
        assert_eq!(active(&stack).await, Some(careful.sha256()));
    });
}

/// The program as an operator runs it.
async fn dispatch(
    stack: &Stack,
    folder: &Path,
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let addresses = &stack.database().addresses;
    let mut command = tokio::process::Command::new(program());
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("DISPATCH_API_URL", format!("http://{}", stack.address()))
        .env("DISPATCH_API_TOKEN", platform(stack, 1))
        .env("DISPATCH_DATABASE_OWNER_URL", &addresses.owner)
        .env("DISPATCH_DATABASE_READER_URL", &addresses.reader)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = wait::within("the program", Duration::from_secs(120), command.output());
    let output = output.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn lay_out(folder: &Path, files: &BundleFiles) {
    for (path, text) in files.iter() {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn an_operator_activates_and_rolls_back() {
    with_api(async |stack| {
        let folder = tempfile::tempdir().unwrap();
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        note(&stack, stack.http(), &job).await.receipt();
        lay_out(&folder.path().join("acme"), &strict());
        let run = async |arguments: &[&str]| {
            let (code, out, err) = dispatch(&stack, folder.path(), arguments).await;
            assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
            out
        };
        let refused = async |arguments: &[&str], exit: i32| {
            let (code, out, err) = dispatch(&stack, folder.path(), arguments).await;
            assert_eq!(code, Some(exit), "{arguments:?}: {out}{err}");
            format!("{out}{err}")
        };

        let nothing = refused(&["policy", "rollback", "--reason", "tests"], 1).await;
        assert!(nothing.contains("nothing to go back to"), "{nothing}");
        let diff = [
            "policy",
            "diff",
            "--candidate",
            "acme",
            "--since",
            "1h",
            "--out",
            "diff.json",
        ];
        let diff = run(&diff).await;
        assert!(diff.contains("newly denied"), "{diff}");
        let activate = [
            "policy",
            "activate",
            "acme",
            "--reason",
            "tests",
            "--report",
            "diff.json",
        ];
        let done = run(&activate).await;
        assert!(done.contains("decides from now on"), "{done}");
        assert_eq!(active(&stack).await, Some(strict().sha256()));
        let again = refused(&activate, 1).await;
        assert!(again.contains("decides already"), "{again}");

        let list = run(&["policy", "list"]).await;
        let row = list.lines().find(|line| line.contains("strict-1")).unwrap();
        assert!(
            row.starts_with("yes") && row.contains("usr_platform1"),
            "{list}"
        );
        let history = run(&["policy", "list", "--history"]).await;
        assert_eq!(
            history
                .lines()
                .filter(|line| line.contains("tests"))
                .count(),
            2,
            "{history}"
        );
        let list: Value = serde_json::from_str(&run(&["policy", "list", "--json"]).await).unwrap();
        assert_eq!(list["bundles"][0]["active"], true);

        let back = run(&["policy", "rollback", "--reason", "too_strict", "--json"]).await;
        let back: Value = serde_json::from_str(&back).unwrap();
        assert_eq!(back["filed"]["data"]["bundle"]["sha256"], starter());
        assert_eq!(active(&stack).await, Some(starter()));
        // By its hash: it is there.
        run(&[
            "policy",
            "activate",
            &strict().sha256(),
            "--reason",
            "again",
        ])
        .await;
        assert_eq!(active(&stack).await, Some(strict().sha256()));

        // What is wrong is said as `policy check` says it.
        lay_out(
            &folder.path().join("bad"),
            &variant("bad", &[("dispatch/bad.rego", "package x\n")]),
        );
        let bad = refused(&["policy", "activate", "bad", "--reason", "tests"], 1).await;
        assert!(
            bad.contains("INVALID_BUNDLE (422)") && bad.contains("roots"),
            "{bad}"
        );
        let unknown = "0a".repeat(32);
        let unknown = refused(&["policy", "activate", &unknown, "--reason", "tests"], 1).await;
        assert!(unknown.contains("no bundle that was uploaded"), "{unknown}");
        let no_report = [
            "policy",
            "activate",
            "acme",
            "--reason",
            "x",
            "--report",
            "acme/.manifest",
        ];
        let no_report = refused(&no_report, 2).await;
        assert!(
            no_report.contains("is no report of `dispatch policy diff"),
            "{no_report}"
        );
    });
}

#[test]
fn a_migration_keeps_the_bundle_that_it_activates() {
    with_api(async |stack| {
        let folder = tempfile::tempdir().unwrap();
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        lay_out(&folder.path().join("acme"), &strict());
        lay_out(
            &folder.path().join("bad"),
            &variant(
                "bad-1",
                &[(
                    "dispatch/bad_test.rego",
                    "package dispatch_test.bad\n\ntest_x if false\n",
                )],
            ),
        );
        let migrate = async |bundle: &str, more: &[&str]| {
            let dir = format!("policy.bundle_dir={bundle}");
            let arguments = [&["migrate", "--skip-temporal", "--set", &dir][..], more].concat();
            dispatch(&stack, folder.path(), &arguments).await
        };
        // Not without being told to.
        let (code, out, err) = migrate("acme", &[]).await;
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.contains("stays active"), "{out}");
        assert_eq!(active(&stack).await, Some(starter()));
        let (code, _, err) = migrate("bad", &["--activate-bundle"]).await;
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("own tests failed"), "{err}");
        assert_eq!(active(&stack).await, Some(starter()));

        let (code, out, err) = migrate("acme", &["--activate-bundle"]).await;
        assert_eq!(code, Some(0), "{out}{err}");
        assert_eq!(active(&stack).await, Some(strict().sha256()));
        // Nobody signed it: a program that asks for signatures says what becomes of it.
        let public = folder.path().join("keys");
        std::fs::create_dir(&public).unwrap();
        std::fs::write(public.join("2026-1.pem"), keys::PUBLIC).unwrap();
        let (code, out, err) = migrate("acme", &["--set", "policy.keys_dir=keys"]).await;
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(
            out.contains("strict-1 stays active") && out.contains("cannot decide with it"),
            "{out}"
        );
        assert!(out.contains("not signed"), "{out}");
        // This process has the starter bundle only, and decides with the one of the database.
        note(&stack, stack.http(), &job)
            .await
            .problem(ErrorCode::PolicyDenied);
        receipt(&activate(&stack, stack.http(), &starter()).await);
        note(&stack, stack.http(), &job).await.receipt();

        // Where a key is known, it is on record that it signed what is kept now.
        let key = SigningKey::from_pem("2026-1", keys::PRIVATE.as_bytes()).unwrap();
        let signed = strict().sign(&key).unwrap();
        let place = folder.path().join("signed");
        lay_out(&place, &signed);
        std::fs::write(place.join(".signatures.json"), signed.signatures().unwrap()).unwrap();
        let with_keys = ["--activate-bundle", "--set", "policy.keys_dir=keys"];
        let (code, out, err) = migrate("signed", &with_keys).await;
        assert_eq!(code, Some(0), "{out}{err}");
        let signers: Vec<Option<String>> = sqlx::query_scalar(
            "select signed_by from policy_bundles where sha256 = $1 order by uploaded_at",
        )
        .bind(strict().sha256())
        .fetch_all(stack.admin())
        .await
        .unwrap();
        assert_eq!(signers, [None, Some("2026-1".to_owned())]);
    });
}
