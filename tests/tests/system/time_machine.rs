//! The record looked at again: by a login that cannot write, with the same bytes each time, and a
//! candidate bundle that differs exactly where its rules do.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
    time::Instant,
};

use chrono::{DateTime, Utc};
use client::CallOptions;
use contracts::{
    Operation, TicketState,
    command::RecordProposal,
    proposal::{PairingOutcome, ProposalKind},
};
use dispatch_tests::{
    database::Database,
    fleet::program,
    job::{Job, SECRET_WORDS},
    servers,
    stack::{ApiOptions, Stack, with_api},
    who::Who,
    world::Tenant,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder as Connections,
};
use policy::{Bundle, Trust};
use replay::{
    AdviceChange, DecisionChange, DecisionLine, ProposalLine, Range, Snapshot,
    artifact::{DECISIONS, FILES, PROPOSALS, REPORT, SUMMARY},
    diff::DiffReport,
    s3::Store,
    summary::Summary,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tempfile::TempDir;

const CODE: &str = "of the tests";

/// As the login that only reads.
async fn reader(database: &Database) -> PgPool {
    let settings = store::PoolSettings::new("dispatch-tests");
    store::connect(&database.addresses.reader, &settings)
        .await
        .expect("the shared server answers")
}

fn starter() -> Arc<Bundle> {
    Arc::new(Bundle::starter().expect("the starter bundle is valid"))
}

fn all_of(tenant: &Tenant) -> Range {
    Range::new(vec![tenant.id], None, DateTime::UNIX_EPOCH, None)
}

async fn replayed(stack: &Stack, range: &Range) -> (TempDir, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let pool = reader(stack.database()).await;
    let told = std::cell::Cell::new((0, 0));
    let summary =
        replay::shadow::replay(&pool, &starter(), range, CODE, folder.path(), |done, of| {
            told.set((done, of));
        })
        .await
        .unwrap();
    let chains = summary.looked_at.tickets + summary.looked_at.other_chains;
    assert_eq!(told.get(), (chains, chains), "progress ends at the end");
    pool.close().await;
    (folder, summary)
}

fn lines<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Vec<T> {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// Advice of the workflow, spoilt before it is recorded: that of another version of the advisor.
async fn propose(
    stack: &Stack,
    job: &Job,
    kind: ProposalKind,
    spoil: impl FnOnce(&mut RecordProposal),
) {
    let workflow = stack.client(stack.tenant(), Who::Workflow);
    let input = workflow.advisor_input(job.id(), kind).await.unwrap();
    let mut body = RecordProposal {
        based_on_version: input.version(),
        applied_seq: 1,
        advice: domain::advise(&input),
        input,
    };
    spoil(&mut body);
    let options = CallOptions::default();
    let recorded = workflow.record_proposal(job.id(), &body, &options).await;
    recorded.unwrap();
}

/// Does as the newest proposal of triage recommends.
async fn triage_as_advised(job: &mut Job, advised: &RecordProposal) {
    let best = serde_json::to_value(domain::advise(&advised.input).best()).unwrap();
    let body = json!({ "priority": best["priority"], "details": { "pane_count": 1 } });
    job.sends(Operation::Triage, &body).await;
}

/// A ticket whose advice was followed, one whose advice was another than today's, and one that went
/// its whole way without any.
async fn recorded(stack: &Stack) -> [Job; 3] {
    let mut followed = Job::at(stack, stack.tenant(), TicketState::New).await;
    let mut advised = None;
    propose(stack, &followed, ProposalKind::Triage, |body| {
        advised = Some(body.clone())
    })
    .await;
    triage_as_advised(&mut followed, &advised.unwrap()).await;

    let mut other = Job::at(stack, stack.tenant(), TicketState::New).await;
    let mut advised = None;
    propose(stack, &other, ProposalKind::Triage, |body| {
        advised = Some(body.clone());
        body.advice.ranked.clear();
    })
    .await;
    triage_as_advised(&mut other, &advised.unwrap()).await;

    let mut alone = Job::at(stack, stack.tenant(), TicketState::Closed).await;
    alone.does(Operation::AddNote).await;
    [followed, other, alone]
}

#[test]
fn the_reader_cannot_write() {
    servers::run(async || {
        let database = Database::create().await;
        let mut reader = PgConnection::connect(&database.addresses.reader)
            .await
            .unwrap();
        let read_only: String = sqlx::query_scalar("show default_transaction_read_only")
            .fetch_one(&mut reader)
            .await
            .unwrap();
        assert_eq!(read_only, "on");
        // That much a session may switch off; its rights it cannot.
        let tables: Vec<(String, String)> = sqlx::query_as(
            "select c.oid::regclass::text, (select quote_ident(attname) from pg_attribute
                        where attrelid = c.oid and attnum > 0 and not attisdropped
                          and attidentity = '' and attgenerated = '' limit 1)
             from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')",
        )
        .fetch_all(&database.admin)
        .await
        .unwrap();
        assert!(tables.len() >= 30, "{tables:?}");
        let mut statements = vec![
            "create table mine (n integer)".to_owned(),
            "create temporary table mine (n integer)".to_owned(),
            "select lo_create(0)".to_owned(),
            "select lo_from_bytea(0, 'x')".to_owned(),
            "alter table audit_events disable trigger append_only".to_owned(),
            "set role dispatch_app".to_owned(),
        ];
        // Held, each of these would keep a kill switch from being engaged.
        for lock in [
            "pg_advisory_lock",
            "pg_advisory_lock_shared",
            "pg_advisory_xact_lock",
            "pg_advisory_xact_lock_shared",
            "pg_try_advisory_lock",
            "pg_try_advisory_lock_shared",
            "pg_try_advisory_xact_lock",
            "pg_try_advisory_xact_lock_shared",
        ] {
            statements.extend([
                format!("select {lock}(hashtextextended('kill switch everything', 0))"),
                format!("select {lock}(1, 1)"),
            ]);
        }
        for (table, column) in &tables {
            statements.extend([
                format!("insert into {table} default values"),
                format!("update {table} set {column} = {column}"),
                format!("delete from {table}"),
                format!("truncate {table}"),
            ]);
        }
        let functions: Vec<(String, bool)> = sqlx::query_as(
            "select format('select %s(%s)', p.oid::regproc, (
                        select string_agg(format('null::%s', format_type(t, null)), ', ')
                        from unnest(p.proargtypes) t)),
                    has_function_privilege('dispatch_reader', p.oid, 'execute')
             from pg_proc p where p.pronamespace = 'public'::regnamespace
               and p.prorettype <> 'trigger'::regtype and not p.proisstrict",
        )
        .fetch_all(&database.admin)
        .await
        .unwrap();
        assert!(functions.len() >= 8, "{functions:?}");
        for (call, may) in functions {
            assert!(!may, "{call}");
            statements.push(call);
        }
        for sql in statements {
            sqlx::raw_sql("begin read write")
                .execute(&mut reader)
                .await
                .unwrap();
            let done = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
                .execute(&mut reader)
                .await;
            let error = done.expect_err(&sql);
            let refused = error.as_database_error().and_then(|error| error.code());
            assert_eq!(refused.as_deref(), Some("42501"), "{sql}: {error}");
            sqlx::raw_sql("rollback")
                .execute(&mut reader)
                .await
                .unwrap();
        }
        reader.close().await.unwrap();
        database.remove().await;
    });
}

#[test]
fn the_reader_sees_what_was_recorded_and_no_words() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        Job::at(&stack, stack.other(), TicketState::New).await;
        let mut reader = PgConnection::connect(&stack.database().addresses.reader)
            .await
            .unwrap();
        let tenants: i64 = sqlx::query_scalar("select count(distinct tenant_id) from audit_events")
            .fetch_one(&mut reader)
            .await
            .unwrap();
        assert_eq!(tenants, 2);
        for table in [
            "contacts",
            "notes",
            "comms_contents",
            "comms_messages",
            "idempotency_keys",
        ] {
            let sql = format!("select * from {table}");
            let read = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut reader).await;
            let error = read.expect_err(table);
            let refused = error.as_database_error().and_then(|error| error.code());
            assert_eq!(refused.as_deref(), Some("42501"), "{table}");
        }
        // A right that somebody gives it is found.
        sqlx::raw_sql("grant insert (id) on visits to dispatch_reader")
            .execute(stack.admin())
            .await
            .unwrap();
        let found = stack.violations().await;
        assert!(found.iter().any(|v| v.place == "visits"), "{found:?}");
        sqlx::raw_sql("revoke insert (id) on visits from dispatch_reader")
            .execute(stack.admin())
            .await
            .unwrap();
        let locking = "pg_advisory_xact_lock_shared(bigint)";
        let sql = format!("grant execute on function {locking} to dispatch_reader");
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(stack.admin())
            .await
            .unwrap();
        let found = stack.violations().await;
        assert!(found.iter().any(|v| v.place == locking), "{found:?}");
        let sql = format!("revoke execute on function {locking} from dispatch_reader");
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(stack.admin())
            .await
            .unwrap();
        drop(job);
    });
}

#[test]
fn a_replay_folds_advises_and_decides_again() {
    with_api(async |stack| {
        let [followed, other, alone] = recorded(&stack).await;
        Job::at(&stack, stack.other(), TicketState::New).await;
        let (folder, summary) = replayed(&stack, &all_of(stack.tenant())).await;

        // Every decision of the tenant and no other, each the same under the same bundle.
        let decisions: Vec<DecisionLine> = lines(folder.path(), DECISIONS);
        let on_record: i64 =
            sqlx::query_scalar("select count(*) from policy_decisions where tenant_id = $1")
                .bind(stack.tenant().id.as_uuid())
                .fetch_one(stack.admin())
                .await
                .unwrap();
        assert_eq!(decisions.len() as i64, on_record);
        for line in &decisions {
            assert_eq!(line.compared, DecisionChange::Same, "{line:?}");
            assert_eq!(line.tenant_id, stack.tenant().id);
        }
        let key = |line: &DecisionLine| (line.ticket_id.is_none(), line.ticket_id, line.position);
        assert!(decisions.is_sorted_by_key(key), "by ticket and position");

        // What is due at each version, whether it was recorded or not.
        let proposals: Vec<ProposalLine> = lines(folder.path(), PROPOSALS);
        assert!(proposals.is_sorted_by_key(|line| (line.ticket_id, line.position)));
        let of = |job: &Job| {
            let id = job.id();
            proposals.iter().filter(move |line| line.ticket_id == id)
        };
        let due: Vec<_> = of(&alone).map(|line| (line.version, line.kind)).collect();
        let ticket = alone.ticket().await;
        assert_eq!(due.first(), Some(&(1, ProposalKind::Triage)));
        assert_eq!(
            due.last().map(|(_, kind)| *kind),
            Some(ProposalKind::InvoiceLines)
        );
        assert!(due.iter().all(|(version, _)| *version <= ticket.version));
        assert!(of(&alone).all(|line| line.compared == AdviceChange::NotRecorded));

        // Recorded advice: the same as today's, met in the same way.
        let line = of(&followed).next().unwrap();
        let (then, now) = (
            line.recorded.as_ref().unwrap(),
            line.replayed.as_ref().unwrap(),
        );
        assert_eq!((line.compared, line.due), (AdviceChange::Same, true));
        assert_eq!(then.advice.as_ref(), Some(&now.advice));
        assert_eq!(then.outcome, Some(PairingOutcome::Same));
        assert_eq!(now.outcome, then.outcome);

        // Another advice than today's: today's would have been followed.
        let line = of(&other).next().unwrap();
        let (then, now) = (
            line.recorded.as_ref().unwrap(),
            line.replayed.as_ref().unwrap(),
        );
        assert_eq!(line.compared, AdviceChange::OtherChoice);
        assert_eq!(then.outcome, Some(PairingOutcome::Different));
        assert_eq!(now.outcome, Some(PairingOutcome::Same));

        let triage = &summary.proposals[&ProposalKind::Triage];
        assert_eq!((triage.due, triage.not_due), (3, 0));
        assert_eq!(triage.recorded.all.agreement_permille, Some(500));
        assert_eq!(triage.replayed.unseen.agreement_permille, Some(1000));
        assert_eq!(summary.looked_at.tickets, 3);
        assert_eq!(summary.looked_at.attempts, decisions.len() as u64);
        assert_eq!(summary.unreadable, []);
        for file in &summary.files {
            let bytes = fs::read(folder.path().join(&file.name)).unwrap();
            assert_eq!(
                file.sha256,
                hex::encode(Sha256::digest(&bytes)),
                "{}",
                file.name
            );
        }
        let page = fs::read_to_string(folder.path().join(REPORT)).unwrap();
        assert!(
            page.contains(&other.id().short()) && !page.contains("<script"),
            "{page}"
        );
        for name in FILES {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            for word in SECRET_WORDS.split(", ") {
                assert!(!text.contains(word), "{name} holds {word}");
            }
        }
    });
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    with_api(async |stack| {
        let [followed, ..] = recorded(&stack).await;
        let until = Utc::now();
        let range = Range {
            until: Some(until),
            ..all_of(stack.tenant())
        };
        let (first, _) = replayed(&stack, &range).await;
        // What comes later is not in range, also what people do about proposals in it.
        let mut later = Job::at(&stack, stack.tenant(), TicketState::New).await;
        later.does(Operation::Triage).await;
        let mut followed = followed;
        followed.does(Operation::ProposeSchedule).await;
        let (second, _) = replayed(&stack, &range).await;
        for name in FILES {
            let bytes = |folder: &TempDir| fs::read(folder.path().join(name)).unwrap();
            assert!(bytes(&first) == bytes(&second), "{name}");
        }
        let (third, all) = replayed(&stack, &all_of(stack.tenant())).await;
        assert_eq!(all.looked_at.tickets, 4);
        let name = DECISIONS;
        let bytes = |folder: &TempDir| fs::read(folder.path().join(name)).unwrap();
        assert!(bytes(&first) != bytes(&third), "the range matters");

        let one = Range {
            ticket: Some(followed.id()),
            ..all_of(stack.tenant())
        };
        let (folder, summary) = replayed(&stack, &one).await;
        assert_eq!(
            (summary.looked_at.tickets, summary.looked_at.other_chains),
            (1, 0)
        );
        let decisions: Vec<DecisionLine> = lines(folder.path(), DECISIONS);
        assert!(
            decisions
                .iter()
                .all(|line| line.ticket_id == Some(followed.id()))
        );

        // Before the range a timeline is folded, and not told of.
        let late = Range {
            since: until,
            ..all_of(stack.tenant())
        };
        let (folder, summary) = replayed(&stack, &late).await;
        assert_eq!(summary.looked_at.tickets, 2);
        let proposals: Vec<ProposalLine> = lines(folder.path(), PROPOSALS);
        let of: Vec<_> = proposals
            .iter()
            .filter(|line| line.ticket_id == followed.id())
            .map(|line| (line.version, line.kind))
            .collect();
        assert_eq!(of, [(3, ProposalKind::Reminder)]);
    });
}

#[test]
fn a_timeline_that_cannot_be_folded_is_named() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        Job::at(&stack, stack.tenant(), TicketState::New).await;
        let mut connection = stack.admin().acquire().await.unwrap();
        sqlx::raw_sql("set session_replication_role = replica")
            .execute(&mut *connection)
            .await
            .unwrap();
        sqlx::query(
            "update audit_events set changes = '[{}]' where ticket_id = $1 and position = 2",
        )
        .bind(job.id().as_uuid())
        .execute(&mut *connection)
        .await
        .unwrap();
        drop(connection);
        let (_folder, summary) = replayed(&stack, &all_of(stack.tenant())).await;
        let [lost] = &summary.unreadable[..] else {
            panic!("{:?}", summary.unreadable);
        };
        assert_eq!(lost.stream, job.id().to_string());
        assert!(lost.reason.starts_with("#2: "), "{}", lost.reason);
        assert_eq!(
            summary.proposals[&ProposalKind::Triage].due,
            2,
            "what came before is told"
        );
        stack.end().await;
    });
}

/// An object store of its own, in memory as far as this test is concerned.
struct Objects {
    folder: TempDir,
    address: SocketAddr,
}

impl Objects {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("records")).unwrap();
        let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = service.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let connections = Connections::new(TokioExecutor::new());
                    // A client that goes away is no matter here.
                    let _ = connections
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { folder, address }
    }

    fn variables(&self, secret: &str) -> BTreeMap<String, String> {
        [
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_ENDPOINT_URL_S3", &format!("http://{}", self.address)),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn store(&self, place: &str, tenant: &Tenant, secret: &str) -> Store {
        let variables = self.variables(secret);
        let place = place.parse().unwrap();
        Store::new(place, tenant.id, |name| variables.get(name).cloned()).unwrap()
    }

    /// What lies there below a prefix for a tenant.
    fn object(&self, prefix: &str, tenant: &Tenant, name: &str) -> PathBuf {
        let records = self.folder.path().join("records");
        let folder = records.join(prefix).join(format!("tenant={}", tenant.id));
        folder.join(name)
    }

    /// The keys of all objects in the bucket.
    fn keys(&self) -> Vec<String> {
        fn walk(at: &Path, keys: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => walk(&path, keys),
                    false => keys.push(path),
                }
            }
        }
        let records = self.folder.path().join("records");
        let mut keys = Vec::new();
        walk(&records, &mut keys);
        let keys = keys.iter().map(|path| path.strip_prefix(&records));
        keys.map(|key| key.unwrap().to_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn an_artifact_goes_to_an_object_store_whole() {
    with_api(async |stack| {
        recorded(&stack).await;
        let (folder, _) = replayed(&stack, &all_of(stack.tenant())).await;
        let (objects, tenant) = (Objects::start().await, stack.tenant());
        let store = objects.store("s3://records/shadow/first", tenant, "secret");
        store.check().await.unwrap();
        store.upload(folder.path()).await.unwrap();
        for name in FILES {
            let stored = fs::read(objects.object("shadow/first", tenant, name)).unwrap();
            assert!(
                stored == fs::read(folder.path().join(name)).unwrap(),
                "{name}"
            );
        }
        let again = store.check().await.unwrap_err().to_string();
        assert!(again.contains("holds an artifact already"), "{again}");
        objects
            .store("s3://records/shadow", tenant, "secret")
            .check()
            .await
            .unwrap();
        // Another tenant's beside it, in a place of its own.
        let beside = objects.store("s3://records/shadow/first", stack.other(), "secret");
        beside.check().await.unwrap();
        beside.upload(folder.path()).await.unwrap();
        let (mut of, ids) = (BTreeMap::new(), [tenant.id, stack.other().id]);
        for key in objects.keys() {
            let whose = ids.iter().find(|id| {
                let place = format!("shadow/first/tenant={id}/");
                key.strip_prefix(&place)
                    .is_some_and(|name| FILES.contains(&name))
            });
            *of.entry(*whose.unwrap_or_else(|| panic!("{key}")))
                .or_insert(0) += 1;
        }
        assert_eq!(of, BTreeMap::from(ids.map(|id| (id, FILES.len()))));

        // Two at once that both found nothing there: the second writes over nothing of the first.
        fs::write(folder.path().join(SUMMARY), "of another run").unwrap();
        let late = store.upload(folder.path()).await.unwrap_err().to_string();
        assert!(late.contains("(proposals.jsonl is there)"), "{late}");
        let stored = fs::read(objects.object("shadow/first", tenant, SUMMARY)).unwrap();
        assert_ne!(stored, b"of another run");

        // One that ends in the middle has no summary, and is not mixed with another.
        fs::remove_file(folder.path().join(REPORT)).unwrap();
        let cut = objects.store("s3://records/shadow/cut", tenant, "secret");
        cut.upload(folder.path()).await.unwrap_err();
        let there = |name| objects.object("shadow/cut", tenant, name).is_file();
        assert!(there(DECISIONS) && !there(SUMMARY));
        let left = cut.check().await.unwrap_err().to_string();
        assert!(left.contains("(decisions.jsonl is there)"), "{left}");
        assert!(left.contains("did not end"), "{left}");

        let said = async |place: &str, secret: &str| {
            let refused = objects.store(place, tenant, secret).check().await;
            refused.unwrap_err().to_string()
        };
        let error = said("s3://elsewhere/a", "secret").await;
        assert!(error.contains("there is no bucket `elsewhere`"), "{error}");
        let error = said("s3://records/a", "wrong").await;
        assert!(
            error.contains("AWS_SECRET_ACCESS_KEY does not belong"),
            "{error}"
        );
        let nobody = "http://127.0.0.1:1";
        let variables = BTreeMap::from([("AWS_ENDPOINT_URL", nobody)]);
        let store = Store::new("s3://records/a".parse().unwrap(), tenant.id, |name| {
            Some(variables.get(name).copied().unwrap_or("x").to_owned())
                .filter(|_| name != "AWS_ENDPOINT_URL_S3")
        });
        let error = store.unwrap().check().await.unwrap_err().to_string();
        let begin = format!("looking at s3://records/a/tenant={}: ", tenant.id);
        assert!(error.starts_with(&begin), "{error}");
    });
}

/// The starter bundle with something changed.
fn candidate(change: impl FnOnce(&Path)) -> (TempDir, Arc<Bundle>) {
    let folder = tempfile::tempdir().unwrap();
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/bundle");
    copy(&starter, folder.path());
    change(folder.path());
    let bundle = Bundle::open(folder.path(), &Trust::Anybody).unwrap();
    (folder, Arc::new(bundle))
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Rewrites the table of who may do what.
fn roles(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("roles/data.json");
    let mut roles: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut roles);
    fs::write(path, roles.to_string()).unwrap();
}

async fn compared(stack: &Stack, candidate: &Arc<Bundle>, range: &Range) -> DiffReport {
    let pool = reader(stack.database()).await;
    let report = replay::diff::diff(&pool, candidate, range, CODE, |_, _| {})
        .await
        .unwrap();
    pool.close().await;
    report
}

#[test]
fn a_diff_shows_exactly_what_a_rule_changes() {
    with_api(async |stack| {
        let triaged = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let closed = Job::at(&stack, stack.tenant(), TicketState::Closed).await;
        Job::at(&stack, stack.other(), TicketState::Triaged).await;
        let cancel = json!({ "reason": "customer_request" });
        for _ in 0..2 {
            let reply = stack.command(Who::Auditor, Operation::Cancel, triaged.id(), &cancel);
            assert_eq!(reply.send().await.status, 403);
        }
        let range = all_of(stack.tenant());

        let (_folder, same) = candidate(|_| {});
        let report = compared(&stack, &same, &range).await;
        assert_eq!(report.count(DecisionChange::Same), report.total);
        assert_eq!(report.groups, []);
        assert_eq!(report.decided_by.len(), 1);
        let (summary, decided) = (replayed(&stack, &range).await.1, report.total);
        assert_eq!(summary.looked_at.attempts, decided, "both look at the same");

        let (_folder, changed) = candidate(|folder| {
            roles(folder, |roles| {
                roles["triage"]["person"] = json!(["qa"]);
                roles["cancel"]["person"] = json!(["auditor", "dispatcher"]);
            });
        });
        let report = compared(&stack, &changed, &range).await;
        assert_eq!(report.candidate, *changed.reference());
        assert_eq!(report.count(DecisionChange::NewlyDenied), 2);
        assert_eq!(report.count(DecisionChange::NewlyAllowed), 2);
        assert_eq!(report.count(DecisionChange::Same), report.total - 4);
        let [allowed, denied] = &report.groups[..] else {
            panic!("{:#?}", report.groups);
        };
        assert_eq!(allowed.change, DecisionChange::NewlyAllowed);
        assert_eq!(
            (allowed.rule.as_str(), allowed.operation.as_str()),
            ("NOT_PERMITTED", "cancel")
        );
        assert_eq!((allowed.count, allowed.examples.len()), (2, 2));
        assert_eq!(allowed.examples[0].ticket_id, Some(triaged.id()));
        assert_eq!(denied.change, DecisionChange::NewlyDenied);
        assert_eq!(
            (denied.rule.as_str(), denied.operation.as_str()),
            ("NOT_PERMITTED", "triage")
        );
        let tickets: Vec<_> = denied.examples.iter().map(|of| of.ticket_id).collect();
        assert_eq!(
            tickets,
            [Some(closed.id()), Some(triaged.id())],
            "the newest first"
        );
        assert!(denied.examples[0].to_pass.contains("qa"), "{denied:?}");

        // Everybody's, and only a part of it.
        let both = Range::new(
            vec![stack.tenant().id, stack.other().id],
            None,
            DateTime::UNIX_EPOCH,
            None,
        );
        let all = compared(&stack, &changed, &both).await;
        assert_eq!(all.count(DecisionChange::NewlyDenied), 3);
        let again = compared(&stack, &changed, &both).await;
        assert_eq!(all.bytes().unwrap(), again.bytes().unwrap());
        let none = Range {
            since: Utc::now(),
            ..range
        };
        let none = compared(&stack, &changed, &none).await;
        assert_eq!((none.total, none.first, none.groups.len()), (0, None, 0));
    });
}

#[test]
fn older_inputs_are_decided_and_what_cannot_be_is_told() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        // As a version would have written it that knew neither stages nor a kill switch.
        let older = sqlx::query(
            "insert into policy_decisions
             select tenant_id, gen_random_uuid(), command_id, ticket_id, correlation_id, trace_id,
                    operation, at, result, reasons, obligations, bundle_version, bundle_sha256,
                    (input::jsonb - 'kill_switch' - 'autonomy' - 'approval')::text, evaluation_micros
             from policy_decisions",
        )
        .execute(stack.admin())
        .await
        .unwrap();
        let range = all_of(stack.tenant());
        let mut snapshot = Snapshot::begin(&reader(stack.database()).await)
            .await
            .unwrap();
        assert_eq!(snapshot.tenants().await.unwrap().len(), 2);
        drop(snapshot);
        let report = compared(&stack, &starter(), &range).await;
        assert_eq!(
            report.count(DecisionChange::NotEvaluable),
            0,
            "{:#?}",
            report.groups
        );
        assert!(report.total >= older.rows_affected(), "{}", report.total);

        // A rule whose reason is none that anybody could act on: there is no decision.
        let (_folder, broken) = candidate(|folder| {
            let rule = "package dispatch\n\ndeny contains unmet(\"odd\", \"Odd.\", \"Never.\") if {\n\
                        \tinput.ticket.state == \"NEW\"\n}\n";
            fs::write(folder.join("dispatch/odd.rego"), rule).unwrap();
        });
        let report = compared(&stack, &broken, &range).await;
        let failed: Vec<_> = report
            .groups
            .iter()
            .filter(|group| group.change == DecisionChange::NotEvaluable)
            .collect();
        let [failed] = failed[..] else {
            panic!("{:#?}", report.groups);
        };
        assert_eq!(
            (failed.rule.as_str(), failed.operation.as_str()),
            ("OUTPUT", "triage")
        );
        assert_eq!(failed.count, report.count(DecisionChange::NotEvaluable));
        assert_eq!(failed.examples[0].would_be, None);
        stack.end().await;
    });
}

/// The program as an operator runs it.
async fn dispatch(
    stack: &Stack,
    folder: &Path,
    arguments: &[&str],
    more: &BTreeMap<String, String>,
) -> Output {
    tokio::process::Command::new(program())
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env(
            "DISPATCH_DATABASE_READER_URL",
            &stack.database().addresses.reader,
        )
        .envs(more)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

#[test]
fn the_program_replays_and_compares() {
    with_api(async |stack| {
        recorded(&stack).await;
        let tenant = stack.tenant().id.to_string();
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::start().await;
        let run = async |arguments: &[&str], code: i32| {
            let output = dispatch(
                &stack,
                folder.path(),
                arguments,
                &objects.variables("secret"),
            )
            .await;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(
                output.status.code(),
                Some(code),
                "{arguments:?}: {out}{err}"
            );
            (out, err)
        };
        let replay = ["shadow", "replay", "--since", "1h", "--tenant", &tenant];
        let (out, err) = run(&replay, 0).await;
        assert!(
            out.contains("looked at") && out.contains("summary.json"),
            "{out}"
        );
        assert_eq!(err, "", "no progress where nobody looks");
        let artifact = folder.path().join("shadow-replay");
        let names = fs::read_dir(&artifact)
            .unwrap()
            .map(|of| of.unwrap().file_name());
        assert_eq!(names.count(), FILES.len());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
        let (_, err) = run(&replay, 2).await;
        assert!(err.contains("not empty"), "{err}");
        let to = |place: &'static str| [&replay[..], &["--out", place, "--json"]].concat();
        let (out, _) = run(&to("s3://records/one"), 0).await;
        let summary: Summary = serde_json::from_str(&out).unwrap();
        let stored = fs::read(objects.object("one", stack.tenant(), SUMMARY)).unwrap();
        assert_eq!(summary, serde_json::from_slice(&stored).unwrap());
        // What it says is the same wherever it goes.
        for name in [PROPOSALS, DECISIONS] {
            let stored = fs::read(objects.object("one", stack.tenant(), name)).unwrap();
            assert!(stored == fs::read(artifact.join(name)).unwrap(), "{name}");
        }
        let both = format!("{tenant},{}", stack.other().id);
        let both = ["shadow", "replay", "--since", "1h", "--tenant", &both];
        let to_store = [&both[..], &["--out", "s3://records/both"]].concat();
        let (_, err) = run(&to_store, 2).await;
        assert!(err.contains("is of one tenant"), "{err}");
        run(&[&both[..], &["--out", "both"]].concat(), 0).await;
        let (_, err) = run(&to("s3://records/tenant=ten_0"), 2).await;
        assert!(err.contains("names a tenant"), "{err}");
        assert_eq!(objects.keys().len(), FILES.len());
        let (_, err) = run(&to("s3://nowhere/one"), 3).await;
        assert!(err.contains("there is no bucket `nowhere`"), "{err}");
        let (_, err) = run(
            &[
                "shadow", "replay", "--since", "1h", "--tenant", "nobody", "--out", "x",
            ],
            2,
        )
        .await;
        assert!(err.contains("there is no tenant `nobody`"), "{err}");
        let unknown = "0".repeat(64);
        let other = [&replay[..], &["--out", "x", "--bundle", &unknown]].concat();
        let (_, err) = run(&other, 2).await;
        assert!(err.contains("no bundle with sha256"), "{err}");

        let (bundle, _) = candidate(|folder| {
            roles(folder, |roles| roles["triage"]["person"] = json!(["qa"]));
        });
        let path = bundle.path().to_str().unwrap();
        let diff = ["policy", "diff", "--since", "1h", "--candidate", path];
        let (out, _) = run(&[&diff[..], &["--out", "report.json"]].concat(), 0).await;
        assert!(
            out.contains("NOT_PERMITTED") && out.contains("newly denied"),
            "{out}"
        );
        let report = fs::read(folder.path().join("report.json")).unwrap();
        let sha256 = hex::encode(Sha256::digest(&report));
        assert!(out.contains(&format!("report sha256 {sha256}")), "{out}");
        let (out, _) = run(&[&diff[..], &["--tenant", &tenant, "--json"]].concat(), 0).await;
        let report: DiffReport = serde_json::from_str(&out).unwrap();
        assert_eq!(report.count(DecisionChange::NewlyDenied), 3);
        let (_, err) = run(
            &["policy", "diff", "--since", "1h", "--candidate", "nowhere"],
            2,
        )
        .await;
        assert!(err.contains("nowhere"), "{err}");
    });
}

/// What this process has in memory, in bytes, where the system tells.
fn resident() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// A diff looks at every decision and holds few of them at a time, however many there are. It tells
/// how fast: run it with `--ignored --nocapture`.
#[test]
#[ignore = "a long proof: a minute, alone in its process"]
fn a_hundred_thousand_decisions() {
    const DECISIONS: u64 = 100_000;
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        Job::at(&stack, stack.tenant(), TicketState::Closed).await;
        sqlx::query(
            "insert into policy_decisions
             select tenant_id, gen_random_uuid(), command_id, ticket_id, correlation_id, trace_id,
                    operation, at, result, reasons, obligations, bundle_version, bundle_sha256, input,
                    evaluation_micros
             from policy_decisions, generate_series(1, $1) limit $1 - (select count(*) from policy_decisions)",
        )
        .bind(DECISIONS as i64)
        .execute(stack.admin())
        .await
        .unwrap();
        let weight: i64 =
            sqlx::query_scalar("select sum(length(input::text)) from policy_decisions")
                .fetch_one(stack.admin())
                .await
                .unwrap();
        // Random ids lie behind those of the time: the range begins before any of them.
        let pool = reader(stack.database()).await;
        let range = all_of(stack.tenant());
        let began = Instant::now();
        let (mut at_first, mut most, mut last) = (None, None, 0);
        let tell = |done, total| {
            assert_eq!(total, DECISIONS);
            assert!(last <= done && done - last <= 2_000, "{last}, then {done}");
            last = done;
            // The machine and its caches are warm by then.
            if done >= DECISIONS / 10 {
                let now = resident();
                at_first = at_first.or(now);
                most = most.max(now);
            }
        };
        let report = replay::diff::diff(&pool, &starter(), &range, CODE, tell)
            .await
            .unwrap();
        let took = began.elapsed();
        pool.close().await;
        assert_eq!((last, report.total), (DECISIONS, DECISIONS));
        for change in DecisionChange::ALL {
            let counted = if change == DecisionChange::Same {
                DECISIONS
            } else {
                0
            };
            assert_eq!(report.count(change), counted, "{change:?}");
        }
        if let (Some(first), Some(most)) = (at_first, most) {
            let grown = most - first;
            println!("{grown} bytes more in memory, inputs of {weight} bytes looked at");
            // Nine tenths of them were read since.
            assert!(
                grown < weight.unsigned_abs() / 8,
                "{grown} bytes for {weight}"
            );
        }
        let rate = DECISIONS as f64 / took.as_secs_f64();
        println!(
            "{DECISIONS} decisions in {:.1} s: {rate:.0} decisions/s",
            took.as_secs_f64()
        );
        stack.end().await;
    });
}
