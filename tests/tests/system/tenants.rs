//! The life of a tenant by commands: made, set up, suspended, resumed, exported, erased.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use contracts::{
    ErrorCode, Operation, Role, TenantId, TicketState,
    autonomy::ControlDue,
    filing::{Filed, FilingReceipt},
    proposal::ProposalKind,
    tenant::{ExportLine, TenantPage, TenantState, TenantView},
};
use dispatch_tests::{
    filing::{PERSONAL, done, example, receipt},
    http::{Ask, Reply, key},
    job::{HELD_CENTS, Job, SECRET_WORDS},
    record::{Footprint, PASSING_REFUSAL, REFUSAL, attempt},
    stack::{ApiOptions, Stack, with_api, with_api_options},
    wait::{self, BOUND},
    who::{Who, mint},
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use store::{
    PoolSettings,
    sending::{self, Begun, Lease, Target},
};
use tokio::sync::watch;
use uuid::Uuid;

const TURNS: [Operation; 5] = [
    Operation::SuspendTenant,
    Operation::ResumeTenant,
    Operation::RequestTenantDeletion,
    Operation::CancelTenantDeletion,
    Operation::EraseTenant,
];

/// A token of somebody who runs the installation: of a tenant that is none of the tests'.
fn platform(stack: &Stack) -> String {
    let mut claims = Who::TenantAdmin.claims(stack.other(), Utc::now());
    claims.sub = "usr_platform".to_owned();
    claims.roles = [Role::PlatformAdmin].into();
    mint(&claims)
}

/// A good body for a command about a tenant.
fn body(operation: Operation) -> Value {
    match operation {
        Operation::ConfigureTenant => json!({
            "calendar": {
                "time_zone": "America/New_York",
                "week": [[[480, 1020]], [[480, 1020]], [], [], [], [], []],
            },
            "currency": "USD", "locale": "en-US",
            "quiet_hours": { "from_minute": 1_200, "until_minute": 420 },
        }),
        Operation::RequestTenantDeletion => json!({ "reason": "left", "grace_days": 7 }),
        Operation::EraseTenant => json!({}),
        _ => json!({ "reason": "tests" }),
    }
}

fn ask(stack: &Stack, token: &str, operation: Operation, tenant: TenantId, body: &Value) -> Ask {
    let path = operation.path().replace("{id}", &tenant.to_string());
    stack.http().post(path).token(token).key(key()).json(body)
}

/// What somebody of the platform does about the first tenant; it must succeed.
async fn turn(stack: &Stack, operation: Operation) -> FilingReceipt {
    let ask = ask(
        stack,
        &platform(stack),
        operation,
        stack.tenant().id,
        &body(operation),
    );
    receipt(&ask.send().await)
}

async fn view(stack: &Stack, token: &str, tenant: TenantId) -> Reply {
    let path = format!("/tenants/{tenant}");
    stack.http().get(path).token(token).send().await
}

async fn stands(stack: &Stack) -> TenantView {
    serde_json::from_value(
        view(stack, &platform(stack), stack.tenant().id)
            .await
            .json(),
    )
    .unwrap()
}

/// Its time of grace is over: tests have no days to wait.
async fn grace_is_over(stack: &Stack) {
    sqlx::query(
        "update tenants set erase_after = now() - interval '1 second' where tenant_id = $1",
    )
    .bind(stack.tenant().id.as_uuid())
    .execute(stack.admin())
    .await
    .unwrap();
}

#[test]
fn a_tenant_is_made_once_and_set_up() {
    with_api(async |stack| {
        let token = platform(&stack);
        let slug = format!("t{}", Uuid::now_v7().simple());
        let new = json!({ "slug": slug });
        let key = key();
        let create = |body: &Value, key: &str| {
            stack
                .http()
                .post("/tenants")
                .token(&token)
                .key(key)
                .json(body)
                .send()
        };
        let first = create(&new, &key).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let made = receipt(&first);
        let Filed::Tenant {
            tenant_id,
            state: TenantState::Active,
            ..
        } = made.filed
        else {
            panic!("{made:?}");
        };
        assert_eq!((made.applied_to_version, made.produced_version), (0, 1));
        let row = attempt(stack.admin(), made.command_id).await.unwrap();
        assert_eq!(
            row.tenant_id,
            stack.other().id.as_uuid(),
            "the platform's own"
        );
        assert_eq!(row.stream, tenant_id.to_string());
        let footprint = Footprint::take(stack.admin()).await;
        assert_eq!(create(&new, &key).await.body, first.body);
        assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);

        let taken = create(&new, &dispatch_tests::http::key()).await;
        let problem = taken.problem(ErrorCode::AlreadyExists);
        let row = attempt(stack.admin(), problem.command_id.unwrap())
            .await
            .unwrap();
        assert_eq!(row.tenant_id, stack.other().id.as_uuid());
        assert_eq!(footprint.changes(stack.admin()).await, REFUSAL);

        let usual: TenantView =
            serde_json::from_value(view(&stack, &token, tenant_id).await.json()).unwrap();
        assert_eq!(usual.summary.slug.as_str(), slug);
        assert_eq!(
            (usual.calendar.time_zone.as_str(), usual.version),
            ("UTC", 1)
        );
        assert_eq!(
            (usual.currency.as_str(), usual.locale.as_str()),
            ("EUR", "en")
        );

        // By the platform in the tenant's own records, where the stranger is named.
        let operation = Operation::ConfigureTenant;
        let set = ask(&stack, &token, operation, tenant_id, &body(operation));
        let set = receipt(&set.send().await);
        assert_eq!((set.applied_to_version, set.produced_version), (1, 2));
        let row = attempt(stack.admin(), set.command_id).await.unwrap();
        assert_eq!(row.tenant_id, tenant_id.as_uuid());
        assert_eq!(row.actor_id, "usr_platform");
        assert_eq!(row.payload["of_tenant"], json!(stack.other().id));
        let now: TenantView =
            serde_json::from_value(view(&stack, &token, tenant_id).await.json()).unwrap();
        assert_eq!(now.calendar.time_zone, "America/New_York");
        assert_eq!(
            (now.currency.as_str(), now.locale.as_str()),
            ("USD", "en-US")
        );
        assert_eq!(now.quiet_hours.map(|quiet| quiet.from_minute), Some(1_200));
        assert_eq!(now.templates, None);
    });
}

#[test]
fn its_own_administrator_sets_a_tenant_up_and_a_new_job_has_a_template_of_it() {
    with_api(async |stack| {
        let tenant = stack.tenant();
        let token = Who::TenantAdmin.token(tenant);
        let mut body = body(Operation::ConfigureTenant);
        body["templates"] = json!(["emergency_door"]);
        let set = ask(&stack, &token, Operation::ConfigureTenant, tenant.id, &body);
        let set = receipt(&set.expecting(1).send().await);
        let row = attempt(stack.admin(), set.command_id).await.unwrap();
        assert_eq!(row.payload.get("of_tenant"), None);
        let again = ask(&stack, &token, Operation::ConfigureTenant, tenant.id, &body);
        again
            .expecting(1)
            .send()
            .await
            .problem(ErrorCode::VersionConflict);

        let create = async |template: &str| {
            let body = json!({ "site_id": tenant.site, "template": template });
            let ask = stack.command(Who::Dispatcher, Operation::CreateTicket, None, &body);
            ask.send().await
        };
        let problem = create("emergency_glass")
            .await
            .problem(ErrorCode::InvalidField);
        assert!(
            problem.detail.contains("emergency_door"),
            "{}",
            problem.detail
        );
        assert_eq!(create("emergency_door").await.status, 201);

        body["calendar"]["time_zone"] = json!("Atlantis/Center");
        let wrong = ask(&stack, &token, Operation::ConfigureTenant, tenant.id, &body);
        let problem = wrong.send().await.problem(ErrorCode::InvalidField);
        assert_eq!(problem.errors[0].pointer, "/calendar/time_zone");
        assert!(!problem.detail.contains("Atlantis"));
    });
}

#[test]
fn only_the_platform_turns_a_tenant_and_to_others_it_is_not_there() {
    with_api(async |stack| {
        let (own, other) = (stack.tenant().id, stack.other().id);
        let all: Vec<_> = TURNS
            .iter()
            .copied()
            .chain([Operation::ConfigureTenant])
            .collect();
        for operation in all {
            let body = body(operation);
            // The workflow may erase it when its time has come, and that is not now.
            for who in [Who::TenantAdmin, Who::Dispatcher, Who::Registry, Who::Agent] {
                if (who, operation) == (Who::TenantAdmin, Operation::ConfigureTenant) {
                    continue;
                }
                let code = match (who, operation) {
                    (Who::Agent, Operation::EraseTenant) => ErrorCode::Forbidden,
                    (Who::Agent, _) => ErrorCode::Stage,
                    _ => ErrorCode::Forbidden,
                };
                let token = who.token(stack.tenant());
                let reply = ask(&stack, &token, operation, own, &body).send().await;
                reply.problem(code);
            }
            // Another tenant's, and nobody's: the attempt is on record where it came from.
            let stranger = Who::TenantAdmin.token(stack.tenant());
            let nobodys = TenantId::from_uuid(Uuid::now_v7());
            for (token, meant, home) in [
                (&stranger, other, own),
                (&stranger, nobodys, own),
                (&platform(&stack), nobodys, other),
            ] {
                let footprint = Footprint::take(stack.admin()).await;
                let reply = ask(&stack, token, operation, meant, &body).send().await;
                let problem = reply.problem(ErrorCode::NotFound);
                assert_eq!(
                    footprint.changes(stack.admin()).await,
                    REFUSAL,
                    "{operation}"
                );
                let row = attempt(stack.admin(), problem.command_id.unwrap()).await;
                assert_eq!(row.unwrap().tenant_id, home.as_uuid(), "{operation}");
            }
        }
        let create = json!({ "slug": "somebody" });
        for who in [Who::TenantAdmin, Who::Dispatcher, Who::Registry] {
            let ask = stack.command(who, Operation::CreateTenant, None, &create);
            ask.send().await.problem(ErrorCode::Forbidden);
        }
        // Software with the role is no person of the platform.
        let mut agent = Who::Agent.claims(stack.other(), Utc::now());
        agent.roles = [Role::PlatformAdmin].into();
        let turn = ask(
            &stack,
            &mint(&agent),
            Operation::SuspendTenant,
            own,
            &body(TURNS[0]),
        );
        turn.send().await.problem(ErrorCode::NotFound);

        let list = async |token: &str| {
            let reply = stack.http().get("/tenants").token(token).send().await;
            let page: TenantPage = serde_json::from_value(reply.json()).unwrap();
            page.items
                .into_iter()
                .map(|it| it.tenant_id)
                .collect::<BTreeSet<_>>()
        };
        let both: BTreeSet<_> = [own, other].into();
        assert!(list(&platform(&stack)).await.is_superset(&both));
        let dispatcher = Who::Dispatcher.token(stack.tenant());
        assert_eq!(list(&dispatcher).await, [own].into());
        assert_eq!(view(&stack, &dispatcher, own).await.status, 200);
        view(&stack, &dispatcher, other)
            .await
            .no_attempt(ErrorCode::NotFound);
        let paged = stack.http().get("/tenants?limit=1").token(platform(&stack));
        let page: TenantPage = serde_json::from_value(paged.send().await.json()).unwrap();
        assert_eq!(page.items.len(), 1);
        let next = format!("/tenants?limit=1000&after={}", page.next_after.unwrap());
        let rest = stack.http().get(next).token(platform(&stack)).send().await;
        let rest: TenantPage = serde_json::from_value(rest.json()).unwrap();
        assert!(rest.items.iter().all(|it| it.slug > page.items[0].slug));
        assert_eq!(rest.items.len() + 1, list(&platform(&stack)).await.len());
    });
}

#[test]
fn a_tenant_is_led_only_where_it_can_go_and_each_turn_once() {
    with_api(async |stack| {
        let token = platform(&stack);
        let tenant = stack.tenant().id;
        let legal = |operation| match operation {
            Operation::SuspendTenant => "active",
            Operation::ResumeTenant => "suspended",
            Operation::RequestTenantDeletion => "active suspended",
            Operation::CancelTenantDeletion | Operation::EraseTenant => "deleting",
            other => panic!("{other}"),
        };
        for (state, by) in [
            ("active", None),
            ("suspended", Some(Operation::SuspendTenant)),
            ("deleting", Some(Operation::RequestTenantDeletion)),
        ] {
            if let Some(by) = by {
                turn(&stack, by).await;
            }
            assert_eq!(stands(&stack).await.summary.state.to_string(), state);
            for operation in TURNS {
                if legal(operation).contains(state) && operation != Operation::EraseTenant {
                    continue;
                }
                let reply = ask(&stack, &token, operation, tenant, &body(operation));
                let problem = reply.send().await.problem(ErrorCode::IllegalTransition);
                match (state, operation) {
                    ("deleting", Operation::EraseTenant) => {
                        assert!(problem.meta["erase_after"].is_string());
                    }
                    _ => assert_eq!(problem.meta["state"], state, "{operation}"),
                }
            }
        }
        let key = key();
        let operation = Operation::CancelTenantDeletion;
        let undelete = || ask(&stack, &token, operation, tenant, &body(operation)).key(&key);
        let first = undelete().send().await;
        receipt(&first);
        assert_eq!(undelete().send().await.body, first.body);
        assert_eq!(stands(&stack).await.summary.state, TenantState::Suspended);
        turn(&stack, Operation::ResumeTenant).await;
        let tenant = stands(&stack).await;
        assert_eq!(
            (tenant.summary.state, tenant.version),
            (TenantState::Active, 5)
        );
        assert_eq!(
            (tenant.summary.reason, tenant.summary.erase_after),
            (None, None)
        );
    });
}

#[test]
fn a_suspended_tenant_is_read_and_not_changed_and_goes_on_where_it_was() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let note = json!({ "text": SECRET_WORDS });
        let triage = job.body(Operation::Triage).await;
        turn(&stack, Operation::SuspendTenant).await;

        let held = key();
        let send = |who, operation, key: &str, body: &Value| {
            stack
                .command(who, operation, job.id(), body)
                .key(key)
                .send()
        };
        for (who, operation, body) in [
            (Who::Dispatcher, Operation::AddNote, &note),
            (Who::Dispatcher, Operation::Triage, &triage),
            (Who::Agent, Operation::AddNote, &note),
        ] {
            let footprint = Footprint::take(stack.admin()).await;
            let reply = send(who, operation, &held, body).await;
            let problem = reply.problem(ErrorCode::TenantSuspended);
            assert_eq!(problem.meta["state"], "suspended");
            assert_eq!(footprint.changes(stack.admin()).await, PASSING_REFUSAL);
            let row = attempt(stack.admin(), problem.command_id.unwrap())
                .await
                .unwrap();
            assert_eq!(row.refused.as_deref(), Some("TENANT_SUSPENDED"));
        }
        let unknown = stack.command(
            Who::Dispatcher,
            Operation::AddNote,
            contracts::TicketId::from_uuid(Uuid::now_v7()),
            &note,
        );
        unknown.send().await.problem(ErrorCode::NotFound);
        let site = example(&stack, Operation::UpsertSite).await;
        let site = stack.command(site.who, Operation::UpsertSite, None, &site.body);
        site.send().await.problem(ErrorCode::TenantSuspended);

        let paths = [
            "/tickets".to_owned(),
            format!("/tickets/{}/timeline", job.id()),
        ];
        for path in paths {
            let read = stack.ask(Who::Dispatcher, Method::GET, &path).send().await;
            assert_eq!(read.status, 200, "{path}");
        }
        // Software may be stopped anywhere, and let go again once the tenant works.
        let reason = json!({ "reason": "careful" });
        done(
            &stack,
            Operation::EngageKillSwitch,
            Who::TenantAdmin,
            &reason,
        )
        .await;
        // Nothing is due in a tenant that stands still.
        let due = stack
            .ask(Who::Workflow, Method::GET, "/control/due")
            .send()
            .await;
        let due: ControlDue = serde_json::from_value(due.json()).unwrap();
        assert_eq!(due.commands, []);

        turn(&stack, Operation::ResumeTenant).await;
        let told: Vec<String> =
            sqlx::query_scalar("select kind from control_events where for_tenant = $1 order by id")
                .bind(stack.tenant().id.as_uuid())
                .fetch_all(stack.admin())
                .await
                .unwrap();
        assert_eq!(told, ["kill_switch", "tenant"]);
        let reply = send(Who::Dispatcher, Operation::Triage, &held, &triage).await;
        assert_eq!(reply.status, 200, "the same request id: {}", reply.text());
    });
}

#[test]
fn nothing_is_changed_from_the_answer_to_a_suspension_on() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let note = json!({ "text": "x" });
        let (stop, stopped) = watch::channel(false);
        let writers = (0..6).map(|_| async {
            let mut passed = 0;
            while !*stopped.borrow() {
                let ask = stack.command(Who::Dispatcher, Operation::AddNote, job.id(), &note);
                let reply = ask.send().await;
                match reply.status.as_u16() {
                    200 => passed += 1,
                    _ => drop(reply.problem(match reply.status.as_u16() {
                        409 => ErrorCode::InFlight,
                        _ => ErrorCode::TenantSuspended,
                    })),
                }
            }
            passed
        });
        let turns = async {
            let mut turned = Vec::new();
            for _ in 0..5 {
                let suspended = turn(&stack, Operation::SuspendTenant).await;
                turned.push(suspended.command_id);
                turn(&stack, Operation::ResumeTenant).await;
            }
            turned.push(turn(&stack, Operation::SuspendTenant).await.command_id);
            stop.send(true).unwrap();
            turned
        };
        let (passed, turned) = futures::join!(join_all(writers), turns);
        assert!(passed.iter().sum::<u32>() > 0, "there was a load");
        assert_eq!(turned.len(), 6);
        // By the order in which rows were written: none was accepted between a suspension and its end.
        let slipped: i64 = sqlx::query_scalar(
            "with turns as (
                 select written, operation,
                        lead(written) over (order by written) as until
                   from audit_events
                  where tenant_id = $1 and refused is null
                    and operation in ('suspend_tenant', 'resume_tenant'))
             select count(*) from audit_events a join turns t
                 on t.operation = 'suspend_tenant' and a.written > t.written
                and a.written < coalesce(t.until, a.written + 1)
              where a.tenant_id = $1 and a.refused is null and a.operation = 'add_note'",
        )
        .bind(stack.tenant().id.as_uuid())
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(slipped, 0);
    });
}

#[test]
fn messages_of_a_suspended_tenant_stay_queued() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        job.does(Operation::CommsOutbound).await;
        turn(&stack, Operation::SuspendTenant).await;
        let comms = &stack.database().addresses.comms;
        let settings = PoolSettings::new("tests");
        let pool = store::connect(comms, &settings).await.unwrap();
        let lease = Lease {
            worker: Uuid::from_u128(7),
            lasts: Duration::from_secs(60),
        };
        let begin = async || {
            sqlx::query("update comms_queue set next_at = now() where state = 'queued'")
                .execute(stack.admin())
                .await
                .unwrap();
            let claimed = sending::claim(&pool, lease, 1)
                .await
                .unwrap()
                .pop()
                .unwrap();
            let target = Target {
                endpoint: "provider",
                keyed: true,
                retry_unknown: true,
            };
            sending::begin(&pool, claimed.key, lease, target)
                .await
                .unwrap()
        };
        let held = Begun::Held {
            scope: "tenant_suspended".to_owned(),
        };
        assert_eq!(begin().await, held);
        turn(&stack, Operation::ResumeTenant).await;
        assert!(matches!(begin().await, Begun::Sending(_)));
        pool.close().await;
    });
}

async fn exported(stack: &Stack, token: &str, tenant: TenantId) -> Reply {
    let path = format!("/tenants/{tenant}/export");
    stack.http().get(path).token(token).send().await
}

#[test]
fn an_export_is_all_of_one_tenant_and_nothing_of_another() {
    // Checkpoints are rows, too: none is made while rows are counted.
    let options = ApiOptions {
        sealing_interval: Duration::from_secs(3_600),
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        job.does(Operation::AddNote).await;
        Job::at(&stack, stack.other(), TicketState::New).await;
        let contact = example(&stack, Operation::UpsertContact).await;
        done(&stack, Operation::UpsertContact, contact.who, &contact.body).await;
        let tenant = stack.tenant().id;

        let admin = Who::TenantAdmin.token(stack.tenant());
        let reply = exported(&stack, &admin, tenant).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
        let text = reply.text();
        let lines: Vec<ExportLine> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let mut counted: BTreeMap<String, i64> = BTreeMap::new();
        let Some((ExportLine::End { rows }, lines)) = lines.split_last() else {
            panic!("no end: {text}");
        };
        assert_eq!(*rows, lines.len() as u64);
        for line in lines {
            let ExportLine::Row { table, row } = line else {
                panic!("an end in the middle");
            };
            assert_eq!(row["tenant_id"], json!(tenant.as_uuid()), "{table}");
            assert!(
                store::tenants::SECRET
                    .iter()
                    .all(|name| !row.contains_key(*name))
            );
            *counted.entry(table.clone()).or_default() += 1;
        }
        assert!(text.contains(PERSONAL[0]) && text.contains(SECRET_WORDS));

        // Every table of tenants' rows that there is, whole.
        let tables: Vec<String> = sqlx::query_scalar(
            "select c.table_name::text from information_schema.columns c
              join information_schema.tables t using (table_schema, table_name)
              where c.table_schema = 'public' and c.column_name = 'tenant_id'
                and t.table_type = 'BASE TABLE'",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        assert!(tables.len() > 30);
        for table in tables {
            let sql = format!("select count(*) from \"{table}\" where tenant_id = $1");
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
                .bind(tenant.as_uuid())
                .fetch_one(stack.admin())
                .await
                .unwrap();
            // That it ended is on record since.
            let since = ["audit_events", "policy_decisions"].contains(&&*table);
            let expected = match store::tenants::LEFT_OUT.contains(&&*table) {
                true => 0,
                false => rows - i64::from(since),
            };
            let found = counted.get(&table).copied().unwrap_or_default();
            assert_eq!(found, expected, "{table}");
        }
        // As of another moment with the same rows it is the same, whoever asks. (That there was one
        // before is on record.)
        let again = exported(&stack, &platform(&stack), tenant).await.text();
        let of_record = ["audit_events", "audit_streams", "policy_decisions"];
        let rest = |text: &str| -> Vec<String> {
            let is_of_record = |line: &str| {
                let of = |table: &&str| line.contains(&format!("\"table\":\"{table}\""));
                of_record.iter().any(of) || line.starts_with("{\"rows\"")
            };
            let lines = text.lines().filter(|line| !is_of_record(line));
            lines.map(str::to_owned).collect()
        };
        assert!(rest(&text).len() > 10);
        assert_eq!(rest(&again), rest(&text));

        // What software can never have is not there for it.
        for (who, code) in [
            (Who::Dispatcher, ErrorCode::Forbidden),
            (Who::Auditor, ErrorCode::Forbidden),
            (Who::Registry, ErrorCode::Forbidden),
            (Who::Agent, ErrorCode::NotFound),
            (Who::Workflow, ErrorCode::NotFound),
        ] {
            let token = who.token(stack.tenant());
            exported(&stack, &token, tenant).await.no_attempt(code);
        }
        exported(&stack, &admin, stack.other().id)
            .await
            .no_attempt(ErrorCode::NotFound);
        let nobodys = TenantId::from_uuid(Uuid::now_v7());
        let nobodys = exported(&stack, &platform(&stack), nobodys).await;
        nobodys.no_attempt(ErrorCode::NotFound);
    });
}

/// What is on record of exports of the first tenant, oldest first.
async fn on_record(stack: &Stack) -> Vec<Value> {
    sqlx::query_scalar(
        "select jsonb_build_object('actor', actor_id, 'stream', stream, 'home',
                    payload -> 'of_tenant', 'command', wire_id('cmd', command_id),
                    'refused', refused) || coalesce(changes #> '{0,data}', '{}')
           from audit_events where tenant_id = $1 and operation = 'record_tenant_export'
          order by written",
    )
    .bind(stack.tenant().id.as_uuid())
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

#[test]
fn an_export_is_on_record_in_the_tenants_chain() {
    with_api(async |stack| {
        Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let tenant = stack.tenant().id;
        let own = Who::TenantAdmin.token(stack.tenant());
        let (of_platform, of_tenant) = (platform(&stack), json!(stack.other().id));
        let actor = |token: &str| match token == own {
            true => ("usr_tenantadmin", Value::Null),
            false => ("usr_platform", of_tenant.clone()),
        };
        // Wherever it stands: it changes nothing.
        let mut known = 0;
        for (state, turned) in [
            (TenantState::Active, None),
            (TenantState::Suspended, Some(Operation::SuspendTenant)),
            (
                TenantState::Deleting,
                Some(Operation::RequestTenantDeletion),
            ),
        ] {
            if let Some(operation) = turned {
                turn(&stack, operation).await;
            }
            let before = stands(&stack).await;
            assert_eq!(before.summary.state, state);
            for token in [&own, &of_platform] {
                let text = exported(&stack, token, tenant).await.text();
                let end = text.lines().last().unwrap();
                let Ok(ExportLine::End { rows }) = serde_json::from_str(end) else {
                    panic!("no end: {end}");
                };
                let told = on_record(&stack).await;
                let [begun, ended] = &told[known..] else {
                    panic!("{:?}", &told[known..]);
                };
                known = told.len();
                let (who, home) = actor(token);
                for row in [begun, ended] {
                    assert_eq!(row["tenant_id"], json!(tenant), "{row}");
                    assert_eq!(row["stream"], json!(tenant), "{row}");
                    assert_eq!(
                        (&row["refused"], &row["home"]),
                        (&Value::Null, &home),
                        "{row}"
                    );
                    assert!(row["actor"].as_str().unwrap().starts_with(who), "{row}");
                }
                assert_eq!(begun["step"], "begun");
                assert_eq!(
                    (&begun["begun_by"], &begun["rows"]),
                    (&Value::Null, &Value::Null)
                );
                assert_eq!(ended["step"], "completed");
                assert_eq!(ended["begun_by"], begun["command"]);
                assert_eq!(ended["rows"], rows);
            }
            assert_eq!(stands(&stack).await, before, "nothing of it has changed");
        }

        // The command by itself: for a copy that was made by other means.
        let operation = Operation::RecordTenantExport;
        let dump = ask(&stack, &own, operation, tenant, &json!({ "step": "begun" }));
        let begun = receipt(&dump.send().await);
        for (body, pointer) in [
            (json!({ "step": "completed", "rows": 1 }), "/begun_by"),
            (
                json!({ "step": "broken_off", "begun_by": begun.command_id }),
                "/rows",
            ),
            (json!({ "step": "begun", "rows": 1 }), "/rows"),
        ] {
            let wrong = ask(&stack, &own, operation, tenant, &body).send().await;
            let problem = wrong.problem(ErrorCode::InvalidField);
            assert_eq!(problem.errors[0].pointer, pointer);
        }
        for who in [Who::Dispatcher, Who::Auditor, Who::Registry] {
            let token = who.token(stack.tenant());
            let body = json!({ "step": "begun" });
            let refused = ask(&stack, &token, operation, tenant, &body).send().await;
            refused.problem(ErrorCode::Forbidden);
        }
    });
}

#[test]
fn a_copy_that_cannot_be_put_on_record_is_not_made() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        job.does(Operation::AddNote).await;
        let right = async |sql: &str| {
            let sql = format!("{sql} dispatch_app");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(stack.admin())
                .await
                .unwrap();
        };
        right("revoke insert on policy_decisions from").await;
        let reply = exported(&stack, &platform(&stack), stack.tenant().id).await;
        right("grant insert on policy_decisions to").await;
        assert_eq!(reply.status, 500);
        assert!(!reply.text().contains(SECRET_WORDS), "nothing was read");
        assert!(on_record(&stack).await.is_empty());
    });
}

#[test]
fn who_leaves_an_export_leaves_it_broken_off() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        job.does(Operation::AddNote).await;
        // More than all that is on its way can hold.
        sqlx::query("update notes set text = repeat('long ', 10000000) where tenant_id = $1")
            .bind(stack.tenant().id.as_uuid())
            .execute(stack.admin())
            .await
            .unwrap();
        let client = stack.client(stack.tenant(), Who::TenantAdmin);
        let mut export = client.export_tenant(stack.tenant().id).await.unwrap();
        assert!(export.part().await.unwrap().is_some());
        assert_eq!(
            on_record(&stack).await.len(),
            1,
            "its beginning comes first"
        );
        drop(export);
        let told = wait::until("its end", BOUND, async || {
            let told = on_record(&stack).await;
            (told.len() == 2).then_some(told.clone()).ok_or(told)
        })
        .await;
        assert_eq!(told[1]["step"], "broken_off");
        assert_eq!(told[1]["begun_by"], told[0]["command"]);
    });
}

#[test]
fn reading_in_a_tenant_that_is_not_active_writes_nothing() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Scheduled).await;
        propose_a_technician(&stack, &job).await;
        let read = async || {
            let path = format!("/tickets/{}/proposals", job.id());
            let reply = stack.ask(Who::Dispatcher, Method::GET, path).send().await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert!(reply.text().contains("technician"));
        };
        let noted = async || -> i64 {
            sqlx::query_scalar("select count(*) from proposal_views")
                .fetch_one(stack.admin())
                .await
                .unwrap()
        };
        turn(&stack, Operation::SuspendTenant).await;
        let footprint = Footprint::take(stack.admin()).await;
        read().await;
        assert_eq!(noted().await, 0);
        assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);
        turn(&stack, Operation::ResumeTenant).await;
        read().await;
        assert_eq!(noted().await, 1);
    });
}

/// In which tables a text stands, in any column.
async fn tables_with(stack: &Stack, text: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables
          where table_schema = 'public' and table_type = 'BASE TABLE' order by 1",
    )
    .fetch_all(stack.admin())
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!(
            "select exists (select from \"{table}\" t where position($1 in to_jsonb(t)::text) > 0)"
        );
        let is_in: bool = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(text)
            .fetch_one(stack.admin())
            .await
            .unwrap();
        if is_in {
            found.push(table);
        }
    }
    found
}

/// Columns in which people's words, names or addresses may stand: an erasure takes them.
const WORDS: &[&str] = &[
    "approval_comments.text",
    "comms_contents.peer",
    "comms_contents.raw",
    "comms_contents.text",
    "comms_messages.provider_message_id",
    "contacts.email",
    "contacts.name",
    "contacts.phone",
    "contacts.street",
    "delegations.reason",
    "held_commands.command",
    // Of refusals.
    "idempotency_keys.body",
    "notes.text",
    "service_accounts.name",
    "technician_absences.reason",
];

/// Columns in which nobody writes freely: ids, codes and words of a list, hashes, addresses of conversations,
/// and documents of those (what is personal in them is masked, or erased by its place).
const NO_WORDS: &[&str] = &[
    "api_keys: created_by key_hash prefix scopes",
    "approval_comments: author_id",
    "approvals: claimed_by decided_by demands facts_sha256 kind on_expiry operation reason request \
     request_sha256 requested_by requested_by_kind required_roles state steps votes",
    "assets: code kind",
    "audit_checkpoints: hash heads key_id prev_hash signature",
    "audit_events: actor_id actor_kind actor_roles after before bundle_sha256 chain_hash changes \
     correlation_id decision_sha256 operation payload refused request_id stream tool_name trace_id",
    "audit_sealed_heads: stream",
    "audit_streams: head stream",
    "autonomy_hours: operation",
    "autonomy_stages: mode operation reason risk set_by",
    "comms_attempts: endpoint key on_unknown result",
    "comms_messages: by_software channel correlation_id direction only_while overridden provider purpose \
     recipient routing stage_risk traceparent",
    "comms_queue: last_result state",
    "contacts: code",
    "delegations: from_actor roles to_actor",
    "evidence: added_by kind media_type sha256",
    "held_commands: operation proposer sha256",
    "idempotency_keys: actor_id intent_sha256 operation request_id",
    "invoice_counters: series",
    "kill_switches: reason scope turned_by",
    "notes: author_id",
    "outbox_events: correlation_id event_type last_error level parked_reason payload traceparent \
     tracestate",
    "policy_decisions: approval bundle_sha256 bundle_version correlation_id input obligations operation \
     reasons result trace_id",
    "proposal_views: actor_id",
    "proposals: advice input input_sha256 kind paired_actor_id paired_outcome",
    "reports: document figures kind sha256 subject",
    "service_accounts: code created_by kind roles state",
    "sites: code",
    "sla_records: clock kind",
    "stage_changes: decided_by from_mode operation reason report_sha256 risk to_mode",
    "technicians: calendar code skills",
    "tenants: limits locale reason settings slug state templates",
    "tickets: chain_head doc invoice_number priority short_id state template waiting_for",
    "visits: stage",
];

/// Each column that can hold words, of each table with rows of tenants.
async fn columns(stack: &Stack) -> Vec<String> {
    sqlx::query_scalar(
        "select c.table_name || '.' || c.column_name from information_schema.columns c
           join information_schema.tables t using (table_schema, table_name)
          where c.table_schema = 'public' and t.table_type = 'BASE TABLE'
            and c.data_type in ('text', 'jsonb', 'bytea', 'ARRAY')
            and exists (select from information_schema.columns o
                         where (o.table_schema, o.table_name) = (c.table_schema, c.table_name)
                           and o.column_name = 'tenant_id')
          order by 1",
    )
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

#[test]
fn no_column_of_words_outlives_its_tenant() {
    with_api(async |stack| {
        // A new column has to be looked at: what an erasure does with it is said here.
        let mut known: Vec<String> = WORDS.iter().map(|&name| name.to_owned()).collect();
        for line in NO_WORDS {
            let (table, names) = line.split_once(": ").unwrap();
            known.extend(
                names
                    .split_whitespace()
                    .map(|name| format!("{table}.{name}")),
            );
        }
        known.sort();
        let mut there = columns(&stack).await;
        there.sort();
        assert_eq!(there, known);

        // Something of everything.
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        for operation in [Operation::AddNote, Operation::CommsOutbound] {
            job.does(operation).await;
        }
        let message = json!({
            "channel": "sms", "provider": "carrier", "provider_message_id": "m1",
            "peer": PERSONAL[1], "text": "The pane is out.", "raw": "{}",
        });
        let inbound = stack.command(Who::Intake, Operation::CommsInbound, None, &message);
        assert!(inbound.send().await.status.is_success());
        for operation in [Operation::UpsertContact, Operation::RecordAbsence] {
            let example = example(&stack, operation).await;
            done(&stack, operation, example.who, &example.body).await;
        }
        let site =
            json!({ "site_id": format!("sit_{}", "0".repeat(32)), "template": "emergency_door" });
        let refused = stack.command(Who::Dispatcher, Operation::CreateTicket, None, &site);
        let refused = refused
            .key("refused")
            .send()
            .await
            .problem(ErrorCode::InvalidField);

        // What people say about approvals and call things stands where it is to stand, and nowhere else.
        const MARK: &str = "Zwanenburgwal Zoutkeetsgracht";
        const WORD: &str = "zwanenburgwal_zoutkeetsgracht";
        speak(&stack, MARK, WORD).await;
        let spoken = ["approval_comments", "held_commands", "service_accounts"];
        assert_eq!(tables_with(&stack, MARK).await, spoken);
        assert_eq!(tables_with(&stack, WORD).await, ["delegations"]);

        // What its column lets stand there, marked, past every command.
        let tenant = stack.tenant().id.as_uuid();
        let mut marked = BTreeSet::new();
        for column in WORDS {
            let (table, name) = column.split_once('.').unwrap();
            let value = match *column {
                "idempotency_keys.body" => {
                    format!("replace({name}, '\"detail\":\"', '\"detail\":\"{MARK} ')")
                }
                "contacts.phone" => format!("'{MARK}'"),
                "technician_absences.reason" | "delegations.reason" => format!("'{WORD}'"),
                // Of what came in; the others have none.
                "comms_messages.provider_message_id" => {
                    format!("case when provider is not null then '{MARK} ' || id end")
                }
                _ => format!("'{MARK} ' || {table}.{key}::text", key = key_of(table)),
            };
            let sql = format!("update \"{table}\" set \"{name}\" = {value} where tenant_id = $1");
            let done = sqlx::query(AssertSqlSafe(sql))
                .bind(tenant)
                .execute(stack.admin())
                .await;
            let done = done.unwrap_or_else(|error| panic!("{column}: {error}"));
            if done.rows_affected() > 0 {
                marked.insert(*column);
            }
        }
        let all: BTreeSet<_> = WORDS.iter().copied().collect();
        assert_eq!(marked, all, "nothing is there in which to leave words");

        turn(&stack, Operation::RequestTenantDeletion).await;
        grace_is_over(&stack).await;
        turn(&stack, Operation::EraseTenant).await;
        for mark in [MARK, WORD] {
            assert_eq!(tables_with(&stack, mark).await, [""; 0], "{mark}");
        }
        let body: String = sqlx::query_scalar(
            "select body from idempotency_keys where tenant_id = $1 and request_id = 'refused'",
        )
        .bind(tenant)
        .fetch_one(stack.admin())
        .await
        .unwrap();
        let kept: contracts::Problem = serde_json::from_str(&body).unwrap();
        assert_eq!((kept.code, kept.status), (refused.code, refused.status));
        assert_eq!(kept.command_id, refused.command_id);
        assert!(kept.errors.is_empty() && kept.detail != refused.detail);
    });
}

/// A command is held, an approval commented on, a right lent and an account made, by people who write
/// this text, or where they have one word, this word.
async fn speak(stack: &Stack, text: &str, word: &str) {
    let job = Job::at(stack, stack.tenant(), TicketState::OnSite).await;
    let dear = json!({ "scope": "shopfront", "price_delta_cents": HELD_CENTS, "note": text });
    let operation = Operation::RequestChange;
    let ask = stack.command(Who::Technician, operation, job.id(), &dear);
    let held = ask.send().await;
    assert_eq!(held.status, 202, "{}", held.text());
    let comment = json!({ "approval_id": held.json()["approval"]["id"], "text": text });
    let now = Utc::now();
    let lent = json!({
        "to": "usr_helper", "roles": ["account_manager"], "from": now,
        "until": now + TimeDelta::days(7), "reason": word,
    });
    let account = json!({ "code": "machine", "name": text, "kind": "integration" });
    for (who, operation, body) in [
        (Who::AccountManager, Operation::CommentApproval, comment),
        (Who::AccountManager, Operation::DelegateApprovals, lent),
        (Who::TenantAdmin, Operation::UpsertServiceAccount, account),
    ] {
        let reply = stack.command(who, operation, None, &body).send().await;
        assert!(reply.status.is_success(), "{operation}: {}", reply.text());
    }
}

/// What tells rows of a table apart.
fn key_of(table: &str) -> &'static str {
    match table {
        "comms_contents" => "message_id",
        "held_commands" => "approval_id",
        _ => "id",
    }
}

/// With what advisors are told of those who could be sent.
async fn propose_a_technician(stack: &Stack, job: &Job) {
    let workflow = stack.client(stack.tenant(), Who::Workflow);
    let input = workflow
        .advisor_input(job.id(), ProposalKind::Technician)
        .await
        .unwrap();
    let body = json!({
        "based_on_version": job.ticket().await.version, "applied_seq": 1,
        "advice": domain::advise(&input), "input": input,
    });
    let command = stack.command(
        Who::Workflow,
        Operation::RecordProposal,
        Some(job.id()),
        &body,
    );
    command.send().await.receipt();
}

/// How many places where a technician starts from proposals of the tenant know.
async fn homes_in_proposals(stack: &Stack) -> i64 {
    sqlx::query_scalar(
        "select count(*) from proposals p, jsonb_array_elements(p.input -> 'candidates') c
          where p.tenant_id = $1 and jsonb_typeof(p.input -> 'candidates') = 'array'
            and c #>> '{base,lat_e6}' <> '0'",
    )
    .bind(stack.tenant().id.as_uuid())
    .fetch_one(stack.admin())
    .await
    .unwrap()
}

#[test]
fn what_is_personal_of_a_deleted_tenant_goes_and_its_chains_stay() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Scheduled).await;
        for operation in [Operation::AddNote, Operation::CommsOutbound] {
            job.does(operation).await;
        }
        let message = json!({
            "channel": "sms", "provider": "carrier", "provider_message_id": "quillfeather-7",
            "peer": PERSONAL[1], "text": "Quillfeather's pane is out.",
        });
        let inbound = stack.command(Who::Intake, Operation::CommsInbound, None, &message);
        assert!(inbound.send().await.status.is_success());
        let contact = example(&stack, Operation::UpsertContact).await;
        done(&stack, Operation::UpsertContact, contact.who, &contact.body).await;
        propose_a_technician(&stack, &job).await;
        assert!(homes_in_proposals(&stack).await > 0);
        let kept = ["Quillfeather", "quillfeather-7", SECRET_WORDS];
        for text in PERSONAL.iter().chain(&kept) {
            assert!(
                !tables_with(&stack, text).await.is_empty(),
                "{text} is there"
            );
        }
        let other = Job::at(&stack, stack.other(), TicketState::New).await;
        let note = json!({ "text": "The dog is friendly." });
        let note = async || {
            let ask = stack.command(Who::Dispatcher, Operation::AddNote, job.id(), &note);
            ask.key("told-twice").send().await
        };
        assert!(note().await.status.is_success());
        assert_eq!(note().await.header("idempotent-replayed"), Some("true"));

        let deletion = turn(&stack, Operation::RequestTenantDeletion).await;
        let Filed::Tenant { erase_after, .. } = deletion.filed else {
            panic!("{deletion:?}");
        };
        let days = erase_after.unwrap() - Utc::now();
        assert!(days > TimeDelta::hours(7 * 24 - 1) && days < TimeDelta::days(7));
        let due = async || {
            let due = stack
                .ask(Who::Workflow, Method::GET, "/control/due")
                .send()
                .await;
            serde_json::from_value::<ControlDue>(due.json())
                .unwrap()
                .commands
        };
        assert_eq!(due().await, []);
        let slug = stands(&stack).await.summary.slug;
        grace_is_over(&stack).await;

        // The tenant's own control does it.
        let commands = due().await;
        let [erase] = commands.as_slice() else {
            panic!("{commands:?}");
        };
        assert_eq!(erase.operation, Operation::EraseTenant);
        let token = Who::Workflow.token(stack.tenant());
        let path = erase
            .operation
            .path()
            .replace("{id}", &stack.tenant().id.to_string());
        let ask = async || {
            let ask = stack.http().post(&path).token(&token);
            let ask = ask.key(&erase.request_id).json(&erase.body);
            ask.send().await
        };
        let erased = receipt(&ask().await);
        assert!(matches!(
            erased.filed,
            Filed::Tenant {
                state: TenantState::Erased,
                erase_after: None,
                ..
            }
        ));

        for text in PERSONAL.iter().chain(&["quillfeather-7"]) {
            assert_eq!(tables_with(&stack, text).await, [""; 0], "{text}");
        }
        assert_eq!(homes_in_proposals(&stack).await, 0);
        let left: Vec<Uuid> = sqlx::query_scalar(
            "select tenant_id from contacts where name is not null
             union select tenant_id from notes where text <> ''
             union select tenant_id from comms_contents where text is not null",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        assert!(!left.contains(&stack.tenant().id.as_uuid()));
        // Nobody else's: the checks of `dispatch verify` over both come at the end of the test.
        assert!(left.contains(&stack.other().id.as_uuid()));
        assert_eq!(other.ticket().await.state, TicketState::New);

        // What was answered before is told no more; whoever erased it learns that it is done.
        let problem = note().await.problem(ErrorCode::TenantSuspended);
        assert_eq!(problem.meta["state"], "erased");
        assert!(problem.command_id.is_some(), "it is on record");
        assert_eq!(
            note().await.problem(ErrorCode::TenantSuspended).meta,
            problem.meta
        );
        assert_eq!(receipt(&ask().await), erased);

        // Of its callers nobody reads or does anything any more.
        let read = stack
            .ask(Who::TenantAdmin, Method::GET, "/tickets")
            .send()
            .await;
        read.no_attempt(ErrorCode::NotFound);
        let snapshot = format!("/tickets/{}/snapshot", job.id());
        let snapshot = stack.ask(Who::Workflow, Method::GET, snapshot).send().await;
        snapshot.no_attempt(ErrorCode::NotFound);
        let note = json!({ "text": "x" });
        let note = stack.command(Who::Dispatcher, Operation::AddNote, job.id(), &note);
        let problem = note.send().await.problem(ErrorCode::TenantSuspended);
        assert_eq!(problem.meta["state"], "erased");
        for operation in TURNS {
            let body = body(operation);
            let again = ask_again(&stack, operation, &body).await;
            again.problem(ErrorCode::IllegalTransition);
        }
        // Whoever runs the installation sees that it was there; its name is used.
        assert_eq!(stands(&stack).await.summary.state, TenantState::Erased);
        let taken = stack
            .http()
            .post("/tenants")
            .token(platform(&stack))
            .key(key());
        let taken = taken.json(&json!({ "slug": slug })).send().await;
        taken.problem(ErrorCode::AlreadyExists);
        let rest = exported(&stack, &platform(&stack), stack.tenant().id)
            .await
            .text();
        assert!(rest.contains("\"audit_events\"") && !rest.contains(PERSONAL[0]));
    });
}

async fn ask_again(stack: &Stack, operation: Operation, body: &Value) -> Reply {
    ask(stack, &platform(stack), operation, stack.tenant().id, body)
        .send()
        .await
}
