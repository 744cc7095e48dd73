//! What dispatch-api counts: each refusal under its own name, and nothing under a name that a caller or a
//! tenant chose.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api::{Limits, Quotas};
use contracts::{ErrorCode, Operation, TicketState};
use dispatch_tests::{
    filing::receipt,
    http::{Ask, Reply, key},
    job::{HELD_CENTS, Job},
    software::platform_token,
    stack::{ApiOptions, Stack, with_api, with_api_options},
    wait::{self, BOUND},
    who::Who,
    world::Tenant,
};
use reqwest::Method;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Why a request is limited, each.
const REASONS: [&str; 12] = [
    "commands",
    "in_flight",
    "open_tickets",
    "reads",
    "room",
    "software_commands",
    "software_reads",
    "storage_bytes",
    "subscribers",
    "urgent",
    "workflow_commands",
    "workflow_reads",
];

/// The reason that an answer gives.
fn reason(reply: &Reply) -> Option<String> {
    if reply.status == 503 {
        return Some("room".to_owned());
    }
    if reply.status != 429 {
        return None;
    }
    let problem = reply.json();
    let told = ["policy", "quota"].map(|name| problem["meta"][name].as_str().map(str::to_owned));
    told.into_iter().flatten().next()
}

/// What callers were told, counted by them.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, u64>);

impl Told {
    async fn send(&mut self, ask: Ask) -> Reply {
        let reply = ask.send().await;
        if let Some(reason) = reason(&reply) {
            self.add(&reason);
        }
        reply
    }

    fn add(&mut self, reason: &str) {
        *self.0.entry(reason.to_owned()).or_default() += 1;
    }

    fn count(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or_default()
    }

    /// Asks until it is refused for this reason.
    async fn until(&mut self, reason: &str, ask: impl Fn() -> Ask) {
        for _ in 0..500 {
            if self.count(reason) > 0 {
                return;
            }
            self.send(ask()).await;
        }
        panic!("never refused for {reason}: {self:?}");
    }
}

/// What was counted.
fn limited(metrics: &str) -> BTreeMap<String, u64> {
    let begin = "dispatch_limited_total{reason=\"";
    let counts = metrics.lines().filter_map(|line| {
        let (reason, count) = line.strip_prefix(begin)?.split_once("\"} ")?;
        Some((reason.to_owned(), count.parse().ok()?))
    });
    counts.collect()
}

/// Every series but its value.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.rsplit_once(' '));
    names.map(|(name, _)| name.to_owned()).collect()
}

fn creation(stack: &Stack, who: Who, tenant: &Tenant) -> Ask {
    let body = json!({ "site_id": tenant.site, "template": "emergency_glass" });
    let ask = stack.http().command(Operation::CreateTicket, None, &body);
    ask.token(who.token(tenant))
}

/// A command whose body does not come: it is under way until the socket is gone.
async fn hold(stack: &Stack, tenant: &Tenant) -> TcpStream {
    let head = format!(
        "POST /api/v1/tickets HTTP/1.1\r\nhost: tests\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\nidempotency-key: {}\r\ncontent-length: 10\r\n\r\n",
        Who::Dispatcher.token(tenant),
        key(),
    );
    let mut socket = TcpStream::connect(stack.address()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

async fn under_way(stack: &Stack, wanted: u64) {
    wait::until("requests under way", BOUND, async || {
        let metrics = stack.metrics().await;
        let line = format!("dispatch_http_in_flight {wanted}");
        metrics
            .lines()
            .any(|it| it == line)
            .then_some(())
            .ok_or(metrics)
    })
    .await;
}

/// Somebody would wait for people, and is answered at once.
async fn would_wait(stack: &Stack) {
    let job = Job::at(stack, stack.tenant(), TicketState::OnSite).await;
    let body = json!({ "scope": "shopfront", "price_delta_cents": HELD_CENTS });
    let dear = stack.command(Who::Technician, Operation::RequestChange, job.id(), &body);
    let held = dear.header("prefer", "wait=20").send().await;
    assert_eq!(held.status, 202, "{}", held.text());
    assert_eq!(held.header("preference-applied"), None);
}

#[test]
fn each_kind_of_refusal_is_counted_under_its_own_name() {
    let limits = Limits {
        in_flight: 4,
        body_timeout: Duration::from_secs(25),
        quotas: Quotas {
            open_tickets: 2,
            storage_bytes: 1_000,
            subscribers: 0,
            ..Quotas::boundless()
        },
        ..Limits::default()
    };
    let options = ApiOptions {
        limits,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let mut told = Told::default();
        let tenant = stack.tenant();
        assert_eq!(limited(&stack.metrics().await), BTreeMap::new());

        would_wait(&stack).await;
        told.add("subscribers");
        told.until("open_tickets", || creation(&stack, Who::Dispatcher, tenant))
            .await;
        let long = "x".repeat(600);
        let message = json!({
            "channel": "sms", "provider": "voxbridge", "provider_message_id": key(),
            "peer": "+31687654321", "provider_time": "2026-11-21T08:00:00Z", "text": long, "raw": long,
        });
        told.until("storage_bytes", || {
            stack.command(Who::Intake, Operation::CommsInbound, None, &message)
        })
        .await;

        // Four places: two of this tenant leave no third to it, one each of two others none to anybody.
        let third = Tenant::seed(stack.admin()).await;
        let mut held = Vec::new();
        for n in 1..=2 {
            held.push(hold(&stack, tenant).await);
            under_way(&stack, n).await;
        }
        told.until("in_flight", || creation(&stack, Who::Dispatcher, tenant))
            .await;
        for (n, another) in [(3, stack.other()), (4, &third)] {
            held.push(hold(&stack, another).await);
            under_way(&stack, n).await;
        }
        told.until("room", || creation(&stack, Who::Dispatcher, stack.other()))
            .await;
        drop(held);
        under_way(&stack, 0).await;

        let no_key = json!({ "api_key_id": format!("key_{}", "0".repeat(32)), "reason": "leaked" });
        told.until("urgent", || {
            stack.command(Who::TenantAdmin, Operation::RevokeApiKey, None, &no_key)
        })
        .await;

        let limits = json!({
            "commands_per_second": 1, "command_burst": 1, "reads_per_second": 1, "read_burst": 1,
        });
        let path = Operation::LimitTenant.path();
        let path = path.replace("{id}", &tenant.id.to_string());
        let body = json!({ "limits": limits, "reason": "tests" });
        let ask = stack.http().post(path).key(key()).json(&body);
        receipt(&ask.token(platform_token(stack.other().id)).send().await);
        for (who, prefix) in [
            (Who::Dispatcher, ""),
            (Who::Agent, "software_"),
            (Who::Workflow, "workflow_"),
        ] {
            told.until(&format!("{prefix}commands"), || {
                creation(&stack, who, tenant)
            })
            .await;
            told.until(&format!("{prefix}reads"), || {
                stack.ask(who, Method::GET, "/tickets")
            })
            .await;
        }

        let metrics = stack.metrics().await;
        let counted = limited(&metrics);
        assert_eq!(counted, told.0);
        let reasons: Vec<_> = counted.keys().map(String::as_str).collect();
        assert_eq!(reasons, REASONS);
        let page = include_str!("../../../docs/limits.md");
        for reason in REASONS {
            assert!(
                page.contains(&format!("`{reason}`")),
                "{reason} is on no page"
            );
        }
    });
}

/// In a process of two places there is none for those who wait.
#[test]
fn whoever_is_not_let_wait_in_a_full_process_is_counted() {
    let limits = Limits {
        in_flight: 2,
        quotas: Quotas::boundless(),
        ..Limits::default()
    };
    let options = ApiOptions {
        limits,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        would_wait(&stack).await;
        let counted = limited(&stack.metrics().await);
        assert_eq!(counted, BTreeMap::from([("subscribers".to_owned(), 1)]));
    });
}

/// Each of these is a series for ever: nobody else may make one.
#[test]
fn whatever_callers_write_makes_no_series() {
    with_api(async |stack| {
        let round = async |tenant: &Tenant, word: &str| {
            let token = Who::Dispatcher.token(tenant);
            let done = creation(&stack, Who::Dispatcher, tenant)
                .header("x-correlation-id", word)
                .header("x-tool-name", word)
                .header("user-agent", word)
                .send()
                .await;
            assert_eq!(done.status, 201, "{}", done.text());
            let ticket = done.json()["ticket"]["id"].as_str().unwrap().to_owned();
            let http = stack.http();
            for (method, path, status) in [
                ("GET", format!("/api/v1/tickets/{ticket}"), 200),
                ("GET", format!("/api/tickets/{ticket}"), 200),
                ("GET", format!("/api/v1/tickets/{word}"), 400),
                ("GET", format!("/api/v1/tickets?{word}={word}"), 400),
                ("GET", format!("/api/v1/problems/{word}"), 404),
                ("GET", format!("/{word}"), 404),
                ("GET", format!("/api/v1/{word}/{ticket}"), 404),
                ("GET", format!("/%2e%2e/{word}"), 404),
                (word, format!("/{word}"), 404),
                (word, "/api/v1/tickets".to_owned(), 405),
            ] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let ask = http.bare(method, &path).token(&token);
                let reply = ask.header("host", format!("{word}.test")).send().await;
                assert_eq!(reply.status, status, "{path}: {}", reply.text());
            }
            let nobody = http.get("/tickets").token(word).send().await;
            nobody.no_attempt(ErrorCode::Unauthenticated);
        };
        round(stack.tenant(), "CANARY").await;
        let before = series(&stack.metrics().await);
        let another = Tenant::seed(stack.admin()).await;
        for n in 0..20 {
            let tenant = [stack.other(), &another][n % 2];
            round(tenant, &format!("CANARY{n}")).await;
        }
        let after = stack.metrics().await;
        let new: Vec<_> = series(&after).difference(&before).cloned().collect();
        assert_eq!(new, [""; 0]);
        assert!(before.len() > 50, "{before:#?}");
        let lower = after.to_lowercase();
        assert!(!lower.contains("canary"), "{after}");
        for tenant in [stack.tenant(), stack.other(), &another] {
            let id = tenant.id.as_uuid().simple().to_string();
            assert!(!lower.contains(&id), "{after}");
        }
    });
}
