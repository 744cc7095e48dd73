//! Two dispatch-api of one installation: what is done at one holds at the other, at once where the
//! database says so, and within a stated time where a process remembers.

use std::time::{Duration, Instant};

use chrono::Utc;
use contracts::{ErrorCode, Operation, Role, TicketState};
use dispatch_tests::{
    filing::receipt,
    http::{Ask, Http, Reply, key},
    job::Job,
    software::{account, issue, platform_token},
    stack::{Stack, with_api},
    who::{Who, mint},
};
use reqwest::Method;
use serde_json::{Value, json};

/// How long a key may be good after it was taken back (docs/api-keys.md).
const KEYS: Duration = Duration::from_secs(5);
/// How long a process may go by other limits than were set (docs/limits.md), and a slow machine besides.
const LIMITS: Duration = Duration::from_secs(2 + 3);
/// After this long a process will not hear of it any more.
const NEVER: Duration = Duration::from_secs(30);

/// A read of the other process.
fn read(http: &Http, credential: &str, path: &str) -> Ask {
    http.get(path).token(credential)
}

/// Asks until the answer is another one: how long after `done` the last request began that was still
/// answered as before.
async fn heard_after(
    done: Instant,
    ask: impl Fn() -> Ask,
    as_before: impl Fn(&Reply) -> bool,
) -> (Duration, Reply) {
    let mut last = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let reply = ask().send().await;
        if !as_before(&reply) {
            return (last, reply);
        }
        last = begun.saturating_duration_since(done);
        assert!(last < NEVER, "the other process never hears of it");
    }
}

async fn turn(stack: &Stack, operation: Operation, body: &Value) {
    let tenant = stack.tenant().id.to_string();
    let path = operation.path().replace("{id}", &tenant);
    let ask = stack.http().post(path).key(key()).json(body);
    receipt(&ask.token(platform_token(stack.other().id)).send().await);
}

#[test]
fn what_is_taken_back_at_one_is_refused_by_the_other_within_five_seconds() {
    with_api(async |stack| {
        let beside = stack.beside().await;
        let admin = stack.client(stack.tenant(), Who::TenantAdmin);
        let kind = contracts::ActorKind::Integration;
        let make = async |code: &str| {
            let account = account(&admin, code, kind, &[Role::Dispatcher], false).await;
            (account, issue(&admin, account).await)
        };
        let (first, leaked) = make("erp").await;
        let second = issue(&admin, first).await;
        let (_, narrowed) = make("crm").await;
        let prefix = leaked.prefix();
        let page = admin.api_keys(None, Some(&prefix), None, None).await;
        let id = page.unwrap().items[0].id;
        let roles = json!({
            "code": "crm", "name": "Customers", "kind": kind, "roles": [], "active": true,
        });
        // Contacts are for integrations with a role that names them.
        for (what, key, path, operation, body, status) in [
            (
                "a key",
                &leaked,
                "/tickets",
                Operation::RevokeApiKey,
                json!({ "api_key_id": id, "reason": "leaked" }),
                401,
            ),
            (
                "an account",
                &second,
                "/tickets",
                Operation::DisableServiceAccount,
                json!({ "service_account_id": first, "reason": "leaked" }),
                401,
            ),
            (
                "a role",
                &narrowed,
                "/contacts",
                Operation::UpsertServiceAccount,
                roles,
                403,
            ),
        ] {
            let ask = || read(beside.http(), key.expose(), path);
            // It is remembered there from now on.
            let before = ask().send().await;
            assert_eq!(before.status, 200, "{what}: {}", before.text());
            let taken = stack.command(Who::TenantAdmin, operation, None, &body);
            receipt(&taken.send().await);
            let done = Instant::now();
            let (after, reply) = heard_after(done, ask, |reply| reply.status == 200).await;
            assert_eq!(reply.status, status, "{what}: {}", reply.text());
            println!("{what}: used for {after:?} more at the other process");
            assert!(after < KEYS, "{what}: good for {after:?} more");
        }
        beside.stop().await;
    });
}

#[test]
fn a_tenant_that_one_turns_is_turned_at_the_other_at_once() {
    with_api(async |stack| {
        let beside = stack.beside().await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let note = json!({ "text": "The key is under the mat." });
        let dispatcher = Who::Dispatcher.token(stack.tenant());
        let writes = async || {
            let http = beside.http();
            let ask = http.command(Operation::AddNote, Some(job.id()), &note);
            ask.token(&dispatcher).send().await
        };
        let reads = async || {
            let ask = read(beside.http(), &dispatcher, "/tickets");
            ask.send().await
        };
        writes().await.receipt();
        turn(
            &stack,
            Operation::SuspendTenant,
            &json!({ "reason": "unpaid" }),
        )
        .await;
        writes().await.problem(ErrorCode::TenantSuspended);
        assert_eq!(reads().await.status, 200);
        turn(
            &stack,
            Operation::ResumeTenant,
            &json!({ "reason": "paid" }),
        )
        .await;
        writes().await.receipt();
        let leave = json!({ "reason": "left", "grace_days": 1 });
        turn(&stack, Operation::RequestTenantDeletion, &leave).await;
        sqlx::query(
            "update tenants set erase_after = now() - interval '1 second' where tenant_id = $1",
        )
        .bind(stack.tenant().id.as_uuid())
        .execute(stack.admin())
        .await
        .unwrap();
        turn(&stack, Operation::EraseTenant, &json!({})).await;
        reads().await.no_attempt(ErrorCode::NotFound);
        assert_eq!(writes().await.status, 403);
        beside.stop().await;
    });
}

#[test]
fn limits_that_are_set_at_one_hold_at_the_other_within_two_seconds() {
    with_api(async |stack| {
        let beside = stack.beside().await;
        let mut claims = Who::TenantAdmin.claims(stack.other(), Utc::now());
        claims.sub = "usr_platform".into();
        claims.roles = [Role::PlatformAdmin].into();
        let platform = mint(&claims);
        let dispatcher = Who::Dispatcher.token(stack.tenant());
        let tenant = stack.tenant().id.to_string();
        let path = Operation::LimitTenant.path().replace("{id}", &tenant);
        let told = |reply: &Reply| reply.header("ratelimit-limit").map(str::to_owned);
        let mut before = told(&read(beside.http(), &dispatcher, "/tickets").send().await);
        for limits in [
            json!({ "reads_per_second": 1000, "read_burst": 100_000 }),
            json!({}),
        ] {
            let body = json!({ "limits": limits, "reason": "tests" });
            let ask = stack.http().post(&path).key(key()).json(&body);
            receipt(&ask.token(&platform).send().await);
            let done = Instant::now();
            let ask = || read(beside.http(), &dispatcher, "/tickets");
            let (after, reply) = heard_after(done, ask, |reply| told(reply) == before).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            println!("{limits}: other limits for {after:?} at the other process");
            assert!(after < LIMITS, "{limits}: {after:?}");
            before = told(&reply);
        }
        assert_eq!(before.as_deref(), Some("1000000"), "what is usual in tests");
        beside.stop().await;
    });
}

#[test]
fn what_one_has_answered_the_other_repeats_and_what_one_has_signed_the_other_reads() {
    with_api(async |stack| {
        let beside = stack.beside().await;
        let token = Who::Dispatcher.token(stack.tenant());
        let body = json!({ "site_id": stack.tenant().site, "template": "emergency_glass" });
        let create = async |http: &Http, key: &str| {
            let ask = http.command(Operation::CreateTicket, None, &body);
            ask.token(&token).key(key).send().await
        };
        let (one, another) = (key(), key());
        let first = create(stack.http(), &one).await;
        let again = create(beside.http(), &one).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(create(beside.http(), &another).await.status, 201);

        let list = |http: &Http| http.request(Method::GET, "/tickets").token(&token);
        let page = list(stack.http()).query("limit", "1").send().await.json();
        let cursor = page["next_cursor"].as_str().unwrap();
        let next = list(beside.http()).query("limit", "1");
        let next = next.query("cursor", cursor).send().await;
        assert_eq!(next.status, 200, "{}", next.text());
        assert_ne!(next.json()["items"], page["items"]);
        beside.stop().await;
    });
}
