//! How much a tenant may send and keep: what it is told, what it can still do, and that nobody else
//! notices.

use std::time::{Duration, Instant};

use api::{Limits, Quotas};
use chrono::Utc;
use contracts::{
    ErrorCode, Operation, Role, TenantId, TicketState,
    command::HeldReceipt,
    filing::{Filed, FilingReceipt},
    tenant::{Rate, TenantLimits, TenantQuotas, TenantView},
};
use dispatch_tests::{
    filing::receipt,
    http::{Ask, Reply, key, patiently},
    job::{HELD_CENTS, Job},
    record::{Footprint, REFUSAL, attempt},
    stack::{ApiOptions, Stack, with_api, with_api_options},
    wait::{self, BOUND},
    who::{Who, mint},
    world::Tenant,
};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

const HEADERS: [&str; 5] = [
    "ratelimit-policy",
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
];

/// The telephone of the tenant's one contact.
const OWNER: &str = "+31205550199";

/// A token of somebody who runs the installation, of another tenant than the one that is limited.
fn platform(stack: &Stack) -> String {
    let mut claims = Who::TenantAdmin.claims(stack.other(), Utc::now());
    claims.sub = "usr_platform".to_owned();
    claims.roles = [Role::PlatformAdmin].into();
    mint(&claims)
}

fn with_quotas<F>(quotas: Quotas, test: impl FnOnce(Stack) -> F + Send)
where
    F: Future<Output = ()>,
{
    let limits = Limits {
        quotas,
        ..Limits::default()
    };
    with_api_options(
        ApiOptions {
            limits,
            ..ApiOptions::default()
        },
        test,
    );
}

fn limit(stack: &Stack, token: &str, tenant: TenantId, limits: &Value) -> Ask {
    let path = Operation::LimitTenant
        .path()
        .replace("{id}", &tenant.to_string());
    let body = json!({ "limits": limits, "reason": "tests" });
    stack.http().post(path).token(token).key(key()).json(&body)
}

/// What is set for the first tenant from now on.
async fn set(stack: &Stack, limits: &Value) -> FilingReceipt {
    let ask = limit(stack, &platform(stack), stack.tenant().id, limits);
    receipt(&ask.send().await)
}

async fn view(stack: &Stack) -> TenantView {
    let path = format!("/tenants/{}", stack.tenant().id);
    let reply = stack.http().get(path).token(platform(stack)).send().await;
    serde_json::from_value(reply.json()).unwrap()
}

async fn uses(stack: &Stack) -> TenantQuotas {
    view(stack).await.quotas.expect("this version tells")
}

fn creation(stack: &Stack, tenant: &Tenant) -> Ask {
    let body = json!({ "site_id": tenant.site, "template": "emergency_glass" });
    let token = Who::Dispatcher.token(tenant);
    stack
        .http()
        .command(Operation::CreateTicket, None, &body)
        .token(token)
}

fn message(stack: &Stack, peer: &str, text: &str) -> Ask {
    let body = json!({
        "channel": "sms", "provider": "voxbridge", "provider_message_id": key(), "peer": peer,
        "provider_time": "2026-11-21T08:00:00Z", "text": text, "raw": text,
    });
    stack.command(Who::Intake, Operation::CommsInbound, None, &body)
}

#[track_caller]
fn used_up(reply: &Reply, quota: &str) -> (u64, u64) {
    let problem = reply.no_attempt(ErrorCode::QuotaExceeded);
    assert_eq!(problem.meta["quota"], quota, "{}", reply.text());
    assert_eq!(reply.header("retry-after"), Some("10"));
    let number = |name: &str| problem.meta[name].as_u64().unwrap();
    (number("used"), number("limit"))
}

#[test]
fn a_flood_is_told_to_wait_and_stops_nobody_else() {
    let rate = |burst| Rate {
        per_second: 1,
        burst,
    };
    let quotas = Quotas {
        commands: rate(5),
        reads: rate(3),
        ..Quotas::boundless()
    };
    with_quotas(quotas, async |stack| {
        let begun = Instant::now();
        let keys: Vec<_> = (0..40).map(|_| key()).collect();
        let flood = keys
            .iter()
            .map(|key| creation(&stack, stack.tenant()).key(key).send());
        let answers = join_all(flood).await;
        // One more each second: what came back while it went on.
        let most = 6 + begun.elapsed().as_secs();
        let (passed, refused): (Vec<_>, Vec<_>) = answers
            .iter()
            .zip(&keys)
            .partition(|(it, _)| it.status == 201);
        assert!(
            (5..=most).contains(&(passed.len() as u64)),
            "{}",
            passed.len()
        );
        for (reply, _) in &passed {
            assert_eq!(reply.header(HEADERS[0]), Some("\"commands\";q=5;w=5"));
            assert_eq!(reply.header("ratelimit-limit"), Some("5"));
            let left = reply.header("ratelimit-remaining").unwrap();
            let reset = reply.header("ratelimit-reset").unwrap();
            let both = format!("\"commands\";r={left};t={reset}");
            assert_eq!(reply.header("ratelimit"), Some(both.as_str()));
        }
        for (reply, _) in &refused {
            let problem = reply.no_attempt(ErrorCode::RateLimited);
            assert_eq!(problem.meta["policy"], "commands");
            assert_eq!(reply.header("ratelimit-remaining"), Some("0"));
            let after = reply.header("retry-after");
            assert!(after.is_some() && after == reply.header("ratelimit-reset"));
        }

        // Another tenant, the same tenant's reads, its software and its health checks go on.
        let other = creation(&stack, stack.other()).send().await;
        assert_eq!(other.status, 201, "{}", other.text());
        let read = stack.ask(Who::Dispatcher, reqwest::Method::GET, "/tickets");
        let read = read.send().await;
        assert_eq!(read.status, 200);
        assert_eq!(read.header(HEADERS[0]), Some("\"reads\";q=3;w=3"));
        let agent = stack.command(
            Who::Agent,
            Operation::CreateTicket,
            None,
            &json!({ "site_id": stack.tenant().site, "template": "emergency_glass" }),
        );
        let agent = agent.send().await;
        assert_ne!(agent.status, 429, "{}", agent.text());
        assert_eq!(
            agent.header(HEADERS[0]),
            Some("\"software_commands\";q=5;w=5")
        );
        let health = stack.http().get("/health/live").send().await;
        assert!(health.status == 200 && HEADERS.iter().all(|it| health.header(it).is_none()));

        // A refusal is no answer that was kept: the same request is carried out when its time comes.
        let (_, key) = refused[0];
        let later = patiently(|| creation(&stack, stack.tenant()).key(key)).await;
        assert_eq!(later.status, 201, "{}", later.text());
        assert_eq!(later.header("idempotent-replayed"), None);
    });
}

#[test]
fn software_that_runs_wild_is_stopped_in_the_middle_of_its_flood() {
    let rate = Rate {
        per_second: 1,
        burst: 1,
    };
    let quotas = Quotas {
        commands: rate,
        reads: rate,
        ..Quotas::boundless()
    };
    let limits = Limits {
        in_flight: 8,
        quotas,
        ..Limits::default()
    };
    let options = ApiOptions {
        limits,
        pool_size: 2,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let agent = Who::Agent.token(stack.tenant());
        let body = json!({ "site_id": stack.tenant().site, "template": "emergency_glass" });
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let flood = join_all((0..30).map(|_| {
            let (stack, agent, body) = (&stack, &agent, &body);
            let stopped = stopped.clone();
            async move {
                let mut refused = 0_u32;
                while !*stopped.borrow() {
                    let http = stack.http();
                    let ask = http.command(Operation::CreateTicket, None, body);
                    let reply = ask.token(agent).send().await;
                    refused += u32::from([429, 503].contains(&reply.status.as_u16()));
                }
                refused
            }
        }));
        let calm = async {
            // People have used up their own rate too.
            let spent = wait::until("a refusal", BOUND, || async {
                let reply = creation(&stack, stack.tenant()).send().await;
                match reply.status.as_u16() {
                    429 => Ok(()),
                    other => Err(other),
                }
            });
            spent.await;
            // One after the other: none is held up by a rate.
            let mut turns = Vec::new();
            for _ in 0..3 {
                let body = json!({ "reason": "runs_wild" });
                let operation = Operation::EngageKillSwitch;
                let reply = stack.command(Who::TenantAdmin, operation, None, &body);
                let reply = reply.send().await;
                assert!(HEADERS.iter().all(|it| reply.header(it).is_none()));
                turns.push(reply.status.as_u16());
            }
            stop.send(true).unwrap();
            turns
        };
        let (refused, turns) = tokio::join!(flood, calm);
        assert!(
            turns.iter().all(|status| ![429, 503].contains(status)),
            "{turns:?}"
        );
        assert_eq!(turns[0], 200);
        assert!(refused.iter().sum::<u32>() > 0, "it was a flood");
    });
}

#[test]
fn what_is_set_for_a_tenant_holds_within_seconds_and_is_shown() {
    with_api(async |stack| {
        let (tenant, token) = (stack.tenant().id, platform(&stack));
        let before = view(&stack).await;
        assert_eq!(before.limits, TenantLimits::default());
        let most = Quotas::boundless();
        assert_eq!(before.quotas.unwrap().commands, most.commands);

        let wanted = json!({ "commands_per_second": 7, "open_tickets": 1000 });
        let key = key();
        let ask = || {
            limit(&stack, &token, tenant, &wanted)
                .key(&key)
                .expecting(1)
        };
        let first = ask().send().await;
        let made = receipt(&first);
        assert_eq!((made.applied_to_version, made.produced_version), (1, 2));
        assert!(matches!(made.filed, Filed::Tenant { tenant_id, .. } if tenant_id == tenant));
        let row = attempt(stack.admin(), made.command_id).await.unwrap();
        assert_eq!(row.tenant_id, tenant.as_uuid());
        assert_eq!(row.payload["of_tenant"], json!(stack.other().id));
        assert_eq!(row.payload["limits"], wanted);
        let footprint = Footprint::take(stack.admin()).await;
        assert_eq!(ask().send().await.body, first.body);
        assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);

        let now = view(&stack).await;
        assert_eq!(json!(now.limits), wanted);
        let quotas = now.quotas.unwrap();
        assert_eq!((quotas.commands.per_second, quotas.commands.burst), (7, 35));
        assert_eq!(
            (quotas.open_tickets.used, quotas.open_tickets.limit),
            (Some(0), 1_000)
        );
        assert_eq!(quotas.storage_bytes.limit, most.storage_bytes);

        // The process hears of it by itself, and of its end.
        let holds = async |limit: String| {
            wait::until("another rate", BOUND, || async {
                let reply = creation(&stack, stack.tenant()).send().await;
                match reply.header("ratelimit-limit") {
                    Some(told) if told == limit => Ok(()),
                    told => Err(format!("{} {told:?}", reply.status)),
                }
            })
            .await;
        };
        holds("35".to_owned()).await;
        set(&stack, &json!({})).await;
        holds(most.commands.burst.to_string()).await;
        assert_eq!(view(&stack).await.limits, TenantLimits::default());
    });
}

#[test]
fn only_who_runs_the_installation_sets_limits() {
    with_api(async |stack| {
        let (own, other) = (stack.tenant().id, stack.other().id);
        let wanted = json!({ "reads_per_second": 10 });
        for (who, code) in [
            (Who::TenantAdmin, ErrorCode::Forbidden),
            (Who::Dispatcher, ErrorCode::Forbidden),
            (Who::Registry, ErrorCode::Forbidden),
            (Who::Agent, ErrorCode::Stage),
        ] {
            let token = who.token(stack.tenant());
            let reply = limit(&stack, &token, own, &wanted).send().await;
            reply.problem(code);
        }
        let nobodys = TenantId::from_uuid(Uuid::now_v7());
        let stranger = Who::TenantAdmin.token(stack.tenant());
        for (token, meant, home) in [
            (&stranger, other, own),
            (&stranger, nobodys, own),
            (&platform(&stack), nobodys, other),
        ] {
            let footprint = Footprint::take(stack.admin()).await;
            let reply = limit(&stack, token, meant, &wanted).send().await;
            let problem = reply.problem(ErrorCode::NotFound);
            assert_eq!(footprint.changes(stack.admin()).await, REFUSAL);
            let row = attempt(stack.admin(), problem.command_id.unwrap()).await;
            assert_eq!(row.unwrap().tenant_id, home.as_uuid());
        }
        for (wrong, pointer) in [
            (
                json!({ "commands_per_second": 0 }),
                "/limits/commands_per_second",
            ),
            (
                json!({ "command_burst": 1_000_001 }),
                "/limits/command_burst",
            ),
            (
                json!({ "reads_per_second": 100_001 }),
                "/limits/reads_per_second",
            ),
            (json!({ "read_burst": 0 }), "/limits/read_burst"),
            (
                json!({ "open_tickets": 100_000_001 }),
                "/limits/open_tickets",
            ),
            (
                json!({ "storage_bytes": 1_000_000_000_000_001_u64 }),
                "/limits/storage_bytes",
            ),
            (json!({ "subscribers": 100_001 }), "/limits/subscribers"),
        ] {
            let reply = limit(&stack, &platform(&stack), own, &wrong).send().await;
            let problem = reply.problem(ErrorCode::InvalidField);
            assert_eq!(problem.errors[0].pointer, pointer);
        }
        for unread in [
            json!({ "commands_per_second": -1 }),
            json!({ "commands_per_second": "many" }),
            json!({ "commands_per_minute": 1 }),
        ] {
            let reply = limit(&stack, &platform(&stack), own, &unread).send().await;
            let code = match reply.status.as_u16() {
                400 => ErrorCode::Malformed,
                _ => ErrorCode::InvalidField,
            };
            let problem = reply.no_attempt(code);
            assert!(problem.errors[0].pointer.starts_with("/limits"));
        }
        let stale = limit(&stack, &platform(&stack), own, &wanted).expecting(2);
        stale.send().await.problem(ErrorCode::VersionConflict);
        assert_eq!(view(&stack).await.limits, TenantLimits::default());
    });
}

#[test]
fn no_more_tickets_than_may_be_open_until_one_is_closed() {
    let quotas = Quotas {
        open_tickets: 2,
        ..Quotas::boundless()
    };
    with_quotas(quotas, async |stack| {
        let first_key = key();
        let create = |key: &str| creation(&stack, stack.tenant()).key(key).send();
        let first = create(&first_key).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let second = creation(&stack, stack.tenant()).send().await.receipt();
        let does = async |operation: Operation, body: Value| {
            let ask = stack.command(Who::Dispatcher, operation, second.ticket.id, &body);
            ask.send().await.receipt()
        };

        let (footprint, third) = (Footprint::take(stack.admin()).await, key());
        assert_eq!(used_up(&create(&third).await, "open_tickets"), (2, 2));
        let trial = creation(&stack, stack.tenant()).dry_run().send().await;
        assert_eq!(used_up(&trial, "open_tickets"), (2, 2));
        // A message that would open one is sent again by its provider.
        let opens = message(&stack, OWNER, "The door is stuck").send().await;
        assert_eq!(used_up(&opens, "open_tickets"), (2, 2));
        assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);
        // What is there goes on, and what was answered is answered the same.
        let again = create(&first_key).await;
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        does(Operation::AddNote, json!({ "text": "still here" })).await;
        let other = creation(&stack, stack.other()).send().await;
        assert_eq!(other.status, 201, "{}", other.text());
        assert_eq!(quotas_of(&stack).await, (Some(2), 2));

        does(Operation::Cancel, json!({ "reason": "no_longer_needed" })).await;
        assert_eq!(quotas_of(&stack).await, (Some(1), 2));
        let released = create(&third).await;
        assert_eq!(released.status, 201, "{}", released.text());
        used_up(&create(&key()).await, "open_tickets");

        // It is counted, not remembered.
        stack.stop_api().await;
        stack.start_api().await;
        used_up(&create(&key()).await, "open_tickets");
        // More is let in within seconds of being allowed.
        set(&stack, &json!({ "open_tickets": 3 })).await;
        let fourth = key();
        wait::until("room for one more", BOUND, || async {
            let reply = create(&fourth).await;
            match reply.status.as_u16() {
                201 => Ok(()),
                _ => Err(reply.text()),
            }
        })
        .await;
        used_up(&create(&key()).await, "open_tickets");
    });
}

async fn quotas_of(stack: &Stack) -> (Option<u64>, u64) {
    let open = uses(stack).await.open_tickets;
    (open.used, open.limit)
}

#[test]
fn what_is_kept_of_messages_is_bounded() {
    let quotas = Quotas {
        storage_bytes: 1_000,
        ..Quotas::boundless()
    };
    with_quotas(quotas, async |stack| {
        let text = "x".repeat(200);
        let mut kept = 0;
        let refused = loop {
            let reply = message(&stack, "+31687654321", &text).send().await;
            if reply.status == 429 {
                break reply;
            }
            assert!(reply.status.is_success(), "{}", reply.text());
            kept += 400;
            assert!(kept <= 1_000, "nothing bounds it");
        };
        assert_eq!(used_up(&refused, "storage_bytes"), (kept, 1_000));
        assert_eq!(kept, 800);
        let used = uses(&stack).await.storage_bytes;
        assert_eq!((used.used, used.limit), (Some(800), 1_000));
        // A smaller one fits, and tickets are opened by people.
        let small = message(&stack, "+31687654321", "stuck").send().await;
        assert!(small.status.is_success(), "{}", small.text());
        assert_eq!(creation(&stack, stack.tenant()).send().await.status, 201);

        stack.stop_api().await;
        stack.start_api().await;
        let refused = message(&stack, "+31687654321", &text).send().await;
        assert_eq!(used_up(&refused, "storage_bytes"), (810, 1_000));
    });
}

#[test]
fn who_may_not_wait_is_answered_at_once() {
    let quotas = Quotas {
        subscribers: 1,
        ..Quotas::boundless()
    };
    with_quotas(quotas, async |stack| {
        let dear = async |wait: &str| {
            let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
            let body = json!({ "scope": "shopfront", "price_delta_cents": HELD_CENTS });
            let operation = Operation::RequestChange;
            let ask = stack.command(Who::Technician, operation, job.id(), &body);
            ask.header("prefer", wait)
        };
        let long = dear("wait=20").await;
        let waits = tokio::spawn(long.send());
        wait::until("one that waits", BOUND, || async {
            match uses(&stack).await.subscribers.used {
                Some(1) => Ok(()),
                other => Err(other),
            }
        })
        .await;
        let begun = Instant::now();
        let reply = dear("wait=20").await.send().await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        assert_eq!(reply.header("preference-applied"), None);
        assert!(begun.elapsed() < Duration::from_secs(15));
        let held: HeldReceipt = serde_json::from_slice(&reply.body).unwrap();
        assert!(!held.dry_run);
        // The end of the process ends the wait.
        stack.stop_api().await;
        let first = waits.await.unwrap();
        assert_eq!(first.status, 202, "{}", first.text());
        assert_eq!(first.header("preference-applied"), Some("wait=20"));
        stack.start_api().await;
    });
}
