//! Service accounts and their keys: made and taken back by people, good for what they are for and for
//! nothing else, and nowhere to be found.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use client::{CallOptions, Client, draw_api_key};
use contracts::{
    ActorKind, ApiKeyId, ErrorCode, Operation, Role, ServiceAccountId, TenantId, TicketState,
    actor::workflow_actor_id,
    command::{IssueApiKey, RotateApiKey},
    filing::Filed,
    service_account::{ApiKeyText, KEY_EXPIRES_HEADER, SECRET_CHARS, TENANT_HEADER},
};
use dispatch_tests::{
    filing::receipt,
    http::{Ask, Reply, key as request_id},
    job::Job,
    record::Footprint,
    software::{account, bare_tenant, issue, platform_token, worker_key},
    stack::{Stack, with_api},
    wait,
    who::Who,
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// What every command about an account needs.
const ALL: [Operation; 5] = [
    Operation::UpsertServiceAccount,
    Operation::DisableServiceAccount,
    Operation::IssueApiKey,
    Operation::RotateApiKey,
    Operation::RevokeApiKey,
];

/// How long a key that was taken back may still be good, and a slow machine besides.
const GONE: Duration = Duration::from_secs(5 + 5);

fn admin(stack: &Stack) -> Client {
    stack.client(stack.tenant(), Who::TenantAdmin)
}

async fn erp(stack: &Stack) -> ServiceAccountId {
    let roles = [Role::Dispatcher];
    account(&admin(stack), "erp", ActorKind::Integration, &roles, false).await
}

/// A key with these scopes.
async fn scoped(stack: &Stack, account: ServiceAccountId, scopes: &[&str]) -> ApiKeyText {
    let (key, body) = fresh(account, scopes);
    admin(stack)
        .issue_api_key(&body, &CallOptions::default())
        .await
        .unwrap();
    key
}

fn fresh(account: ServiceAccountId, scopes: &[&str]) -> (ApiKeyText, IssueApiKey) {
    let key = draw_api_key();
    let body = IssueApiKey {
        service_account_id: account,
        prefix: key.prefix(),
        key_hash: key.hash(),
        scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
        expires_at: Utc::now() + TimeDelta::days(30),
    };
    (key, body)
}

fn with_key(stack: &Stack, key: &ApiKeyText, path: &str) -> Ask {
    stack.http().get(path).token(key.expose())
}

async fn key_id(stack: &Stack, key: &ApiKeyText) -> ApiKeyId {
    let (admin, prefix) = (admin(stack), key.prefix());
    let page = admin.api_keys(None, Some(&prefix), None, None).await;
    page.unwrap().items[0].id
}

fn send(stack: &Stack, token: &str, operation: Operation, body: &Value) -> Ask {
    stack.http().command(operation, None, body).token(token)
}

#[track_caller]
fn assert_refused(what: &str, reply: &Reply) {
    assert_eq!(reply.status, 401, "{what}: {}", reply.text());
    reply.no_attempt(ErrorCode::Unauthenticated);
    let challenge = reply.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer"), "{what}: {challenge:?}");
}

async fn until_refused(stack: &Stack, key: &ApiKeyText) {
    wait::until("the end of a key", GONE, async || {
        let reply = with_key(stack, key, "/tickets").send().await;
        match reply.status.as_u16() {
            401 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

/// A good body of each, with the account that it is about; a key of it is there.
async fn body(stack: &Stack, operation: Operation) -> Value {
    let admin = admin(stack);
    let code = format!("a{}", Uuid::now_v7().simple());
    if operation == Operation::UpsertServiceAccount {
        return json!({
            "code": code, "name": "Accounting", "kind": "integration", "roles": ["dispatcher"],
        });
    }
    let roles = [Role::Dispatcher];
    let account = account(&admin, &code, ActorKind::Integration, &roles, false).await;
    let key = issue(&admin, account).await;
    let new = draw_api_key();
    let id = key_id(stack, &key).await;
    let expires_at = Utc::now() + TimeDelta::days(7);
    match operation {
        Operation::DisableServiceAccount => {
            json!({ "service_account_id": account, "reason": "unused" })
        }
        Operation::IssueApiKey => json!({
            "service_account_id": account, "prefix": new.prefix(), "key_hash": new.hash(),
            "scopes": ["read:tickets"], "expires_at": expires_at,
        }),
        Operation::RotateApiKey => json!({
            "api_key_id": id, "prefix": new.prefix(), "key_hash": new.hash(),
            "expires_at": expires_at, "overlap_seconds": 60,
        }),
        _ => json!({ "api_key_id": id, "reason": "leaked" }),
    }
}

#[test]
fn each_is_done_once_however_often_it_is_sent() {
    with_api(async |stack| {
        for operation in ALL {
            let body = body(&stack, operation).await;
            let key = request_id();
            let send = || {
                stack
                    .command(Who::TenantAdmin, operation, None, &body)
                    .key(&key)
            };
            let first = receipt(&send().send().await);
            let footprint = Footprint::take(stack.admin()).await;
            let again = send().send().await;
            assert_eq!(receipt(&again), first, "{operation}");
            assert_eq!(
                again.header("idempotent-replayed"),
                Some("true"),
                "{operation}"
            );
            assert_eq!(
                footprint.changes(stack.admin()).await,
                [""; 0],
                "{operation}"
            );
            assert_eq!(
                first.produced_version,
                first.applied_to_version + 1,
                "{operation}"
            );
            let stale = stack
                .command(Who::TenantAdmin, operation, None, &body)
                .expecting(first.applied_to_version);
            stale.send().await.problem(ErrorCode::VersionConflict);
        }
    });
}

#[test]
fn each_is_for_administrators_of_the_tenant_alone() {
    with_api(async |stack| {
        for operation in ALL {
            let body = body(&stack, operation).await;
            for who in [Who::Dispatcher, Who::Auditor, Who::Registry, Who::Intake] {
                let reply = stack.command(who, operation, None, &body).send().await;
                let problem = reply.problem(ErrorCode::Forbidden);
                assert_eq!(problem.meta["permission"], format!("command:{operation}"));
            }
            for who in [Who::Agent, Who::Workflow] {
                let reply = stack.command(who, operation, None, &body).send().await;
                assert_eq!(
                    reply.status,
                    403,
                    "{operation} by {who:?}: {}",
                    reply.text()
                );
            }
            let without = stack.http().command(operation, None, &body).send().await;
            assert_refused("no token", &without);
        }
    });
}

#[test]
fn another_tenants_and_nobodys_are_not_there() {
    with_api(async |stack| {
        let stranger = Who::TenantAdmin.token(stack.other());
        for operation in &ALL[1..] {
            let mut body = body(&stack, *operation).await;
            let theirs = send(&stack, &stranger, *operation, &body).send().await;
            theirs.problem(ErrorCode::NotFound);
            for (member, prefix) in [("service_account_id", "sva"), ("api_key_id", "key")] {
                if body.get(member).is_some() {
                    body[member] = format!("{prefix}_{}", Uuid::now_v7().simple()).into();
                }
            }
            let ask = stack.command(Who::TenantAdmin, *operation, None, &body);
            ask.send().await.problem(ErrorCode::NotFound);
        }
        let account = erp(&stack).await;
        let path = format!("/service-accounts/{account}");
        let reply = stack.http().get(&path).token(&stranger).send().await;
        reply.no_attempt(ErrorCode::NotFound);
        for path in ["/service-accounts", "/api-keys"] {
            let reply = stack.http().get(path).token(&stranger).send().await;
            assert_eq!(reply.json()["items"], json!([]), "{path}");
        }
    });
}

#[test]
fn bad_input_is_told_where_it_is_bad() {
    with_api(async |stack| {
        let expires_at = |at: DateTime<Utc>| json!(at);
        let cases: &[(Operation, &str, Value, &str)] = &[
            (
                Operation::UpsertServiceAccount,
                "kind",
                json!("person"),
                "/kind",
            ),
            (
                Operation::UpsertServiceAccount,
                "kind",
                json!("robot"),
                "/kind",
            ),
            (Operation::UpsertServiceAccount, "name", json!(" "), "/name"),
            (
                Operation::UpsertServiceAccount,
                "code",
                json!("No Slug"),
                "/code",
            ),
            (
                Operation::UpsertServiceAccount,
                "roles",
                json!(["boss"]),
                "/roles/0",
            ),
            (
                Operation::UpsertServiceAccount,
                "any_tenant",
                json!(true),
                "/any_tenant",
            ),
            // The starter bundle gives integrations nothing for it.
            (
                Operation::UpsertServiceAccount,
                "roles",
                json!(["qa"]),
                "/roles",
            ),
            (Operation::IssueApiKey, "prefix", json!("short"), "/prefix"),
            (Operation::IssueApiKey, "key_hash", json!("00"), "/key_hash"),
            (
                Operation::IssueApiKey,
                "scopes",
                json!(["tickets"]),
                "/scopes/0",
            ),
            // The account may not do it itself.
            (
                Operation::IssueApiKey,
                "scopes",
                json!(["command:decide_approval"]),
                "/scopes",
            ),
            (
                Operation::IssueApiKey,
                "expires_at",
                expires_at(Utc::now() + TimeDelta::days(367)),
                "/expires_at",
            ),
            (
                Operation::IssueApiKey,
                "expires_at",
                expires_at(Utc::now() - TimeDelta::seconds(1)),
                "/expires_at",
            ),
            (
                Operation::RotateApiKey,
                "overlap_seconds",
                json!(604_801),
                "/overlap_seconds",
            ),
            (
                Operation::RevokeApiKey,
                "reason",
                json!("It leaked!"),
                "/reason",
            ),
        ];
        for (operation, member, value, pointer) in cases {
            let mut body = body(&stack, *operation).await;
            body[*member] = value.clone();
            let ask = stack.command(Who::TenantAdmin, *operation, None, &body);
            let problem = ask.send().await.problem(ErrorCode::InvalidField);
            assert_eq!(problem.errors[0].pointer, *pointer, "{operation} {value}");
        }
        let account = erp(&stack).await;
        let other = json!({ "code": "erp", "name": "x", "kind": "agent", "roles": [] });
        let ask = stack.command(
            Who::TenantAdmin,
            Operation::UpsertServiceAccount,
            None,
            &other,
        );
        let problem = ask.send().await.problem(ErrorCode::InvalidField);
        assert_eq!(problem.errors[0].pointer, "/kind");
        // The same key twice, here and in another tenant.
        let (_, twice) = fresh(account, &[]);
        let twice = serde_json::to_value(&twice).unwrap();
        let issue = Operation::IssueApiKey;
        receipt(
            &stack
                .command(Who::TenantAdmin, issue, None, &twice)
                .send()
                .await,
        );
        let again = stack
            .command(Who::TenantAdmin, issue, None, &twice)
            .send()
            .await;
        again.problem(ErrorCode::AlreadyExists);
        let theirs = stack.client(stack.other(), Who::TenantAdmin);
        let theirs = self::account(&theirs, "erp", ActorKind::Integration, &[], false).await;
        let mut copied = twice.clone();
        copied["service_account_id"] = json!(theirs);
        let stranger = Who::TenantAdmin.token(stack.other());
        let copied = send(&stack, &stranger, issue, &copied).send().await;
        let problem = copied.problem(ErrorCode::AlreadyExists);
        assert!(problem.detail.contains("this hash"), "{}", problem.detail);
        // What is shown of a key is another one's in the tenant; elsewhere it may be.
        let (_, other) = fresh(account, &[]);
        let mut shown = serde_json::to_value(&other).unwrap();
        shown["prefix"] = twice["prefix"].clone();
        let ask = stack.command(Who::TenantAdmin, issue, None, &shown);
        let problem = ask.send().await.problem(ErrorCode::AlreadyExists);
        assert!(problem.detail.contains("this prefix"), "{}", problem.detail);
        let mut rotated = body(&stack, Operation::RotateApiKey).await;
        rotated["prefix"] = twice["prefix"].clone();
        let ask = stack.command(Who::TenantAdmin, Operation::RotateApiKey, None, &rotated);
        let problem = ask.send().await.problem(ErrorCode::AlreadyExists);
        assert!(problem.detail.contains("this prefix"), "{}", problem.detail);
        shown["service_account_id"] = json!(theirs);
        receipt(&send(&stack, &stranger, issue, &shown).send().await);
    });
}

/// Whoever administers a tenant gets nowhere else by a key.
#[test]
fn an_administrator_of_a_tenant_makes_nothing_of_the_installations() {
    with_api(async |stack| {
        let write = Operation::UpsertServiceAccount;
        let base = |change: Value| {
            let mut body =
                json!({ "code": "up", "name": "Up", "kind": "integration", "roles": [] });
            body.as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            body
        };
        let attempts = [
            base(json!({ "roles": ["platform_admin"] })),
            base(json!({ "kind": "agent", "roles": ["platform_admin", "dispatcher"] })),
            base(json!({ "kind": "workflow" })),
            base(json!({ "kind": "workflow", "any_tenant": true })),
        ];
        for body in &attempts {
            let reply = stack
                .command(Who::TenantAdmin, write, None, body)
                .send()
                .await;
            reply.problem(ErrorCode::Forbidden);
        }
        // Nor does one get there by what the platform made in the tenant.
        let platform = platform_token(stack.tenant().id);
        let client = admin(&stack).with_token(platform.clone());
        for (code, kind, roles, any) in [
            ("flow", ActorKind::Workflow, &[][..], false),
            ("worker", ActorKind::Workflow, &[], true),
            ("ops", ActorKind::Integration, &[Role::PlatformAdmin], false),
        ] {
            let account = account(&client, code, kind, roles, any).await;
            let key = issue(&client, account).await;
            let id = key_id(&stack, &key).await;
            let (_, body) = fresh(account, &[]);
            let new = draw_api_key();
            for (operation, body) in [
                (Operation::IssueApiKey, serde_json::to_value(&body).unwrap()),
                (
                    Operation::RotateApiKey,
                    json!({
                        "api_key_id": id, "prefix": new.prefix(), "key_hash": new.hash(),
                        "expires_at": Utc::now() + TimeDelta::days(1),
                    }),
                ),
                (
                    write,
                    json!({
                        "code": code, "name": "Mine", "kind": kind, "roles": [], "any_tenant": any,
                    }),
                ),
            ] {
                let reply = stack
                    .command(Who::TenantAdmin, operation, None, &body)
                    .send()
                    .await;
                reply.problem(ErrorCode::Forbidden);
            }
        }
        // A replaced key has no more scopes than the one before.
        let account = erp(&stack).await;
        let narrow = scoped(&stack, account, &["read:tickets"]).await;
        let new = draw_api_key();
        let body = RotateApiKey {
            api_key_id: key_id(&stack, &narrow).await,
            prefix: new.prefix(),
            key_hash: new.hash(),
            expires_at: Utc::now() + TimeDelta::days(1),
            overlap_seconds: 0,
        };
        let options = CallOptions::default();
        admin(&stack).rotate_api_key(&body, &options).await.unwrap();
        let reply = with_key(&stack, &new, "/sites").send().await;
        reply.no_attempt(ErrorCode::OutOfScope);
    });
}

#[test]
fn a_key_does_what_its_account_may_and_its_scopes_let_it() {
    with_api(async |stack| {
        let account = erp(&stack).await;
        let whole = issue(&admin(&stack), account).await;
        let narrow = scoped(&stack, account, &["read:tickets", "command:add_note"]).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let note = json!({ "text": "Called the shop." });
        let add = |key: &ApiKeyText, id: &str| {
            let ask = stack
                .http()
                .command(Operation::AddNote, Some(job.id()), &note);
            ask.token(key.expose()).key(id)
        };
        for key in [&whole, &narrow] {
            assert_eq!(with_key(&stack, key, "/tickets").send().await.status, 200);
            add(key, &request_id()).send().await.receipt();
        }
        let who: Option<String> = sqlx::query_scalar(
            "select max(actor_id) from audit_events where operation = 'add_note'",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(who.as_deref(), Some("service:erp"));

        // Neither a read nor a command beyond, and each is told what it lacks.
        assert_eq!(with_key(&stack, &whole, "/sites").send().await.status, 200);
        let reply = with_key(&stack, &narrow, "/sites").send().await;
        let problem = reply.no_attempt(ErrorCode::OutOfScope);
        assert_eq!(problem.meta["permission"], "read:directory");
        let site = json!({ "code": "annex", "location": { "lat_e6": 1, "lon_e6": 2 } });
        let key = request_id();
        let upsert = |by: &ApiKeyText| {
            let ask = stack.http().command(Operation::UpsertSite, None, &site);
            ask.token(by.expose()).key(&key)
        };
        let problem = upsert(&narrow).send().await.problem(ErrorCode::OutOfScope);
        assert_eq!(problem.meta["permission"], "command:upsert_site");
        // It is no stored answer: a key that may does it under the same request id, and what was
        // answered to that one is not told to the other.
        let done = receipt(&upsert(&whole).send().await);
        upsert(&narrow).send().await.problem(ErrorCode::OutOfScope);
        assert_eq!(receipt(&upsert(&whole).send().await), done);
        // What the account may not do is refused with any scopes.
        let reply = with_key(&stack, &whole, "/api-keys").send().await;
        reply.no_attempt(ErrorCode::Forbidden);
    });
}

#[test]
fn a_key_that_is_taken_back_is_refused_within_five_seconds() {
    with_api(async |stack| {
        let account = erp(&stack).await;
        let admin = admin(&stack);
        let (first, second) = (issue(&admin, account).await, issue(&admin, account).await);
        for key in [&first, &second] {
            assert_eq!(with_key(&stack, key, "/tickets").send().await.status, 200);
        }
        let body = json!({ "api_key_id": key_id(&stack, &first).await, "reason": "leaked" });
        let revoke = Operation::RevokeApiKey;
        receipt(
            &stack
                .command(Who::TenantAdmin, revoke, None, &body)
                .send()
                .await,
        );
        until_refused(&stack, &first).await;
        assert_eq!(
            with_key(&stack, &second, "/tickets").send().await.status,
            200
        );
        let twice = stack
            .command(Who::TenantAdmin, revoke, None, &body)
            .send()
            .await;
        twice.problem(ErrorCode::InvalidField);

        let body = json!({ "service_account_id": account, "reason": "unused" });
        let disable = Operation::DisableServiceAccount;
        receipt(
            &stack
                .command(Who::TenantAdmin, disable, None, &body)
                .send()
                .await,
        );
        until_refused(&stack, &second).await;
        let (_, fresh) = fresh(account, &[]);
        let fresh = serde_json::to_value(fresh).unwrap();
        let ask = stack.command(Who::TenantAdmin, Operation::IssueApiKey, None, &fresh);
        ask.send().await.problem(ErrorCode::InvalidField);
        // Written again without a word about it, it stays disabled; as active its keys are good.
        let mut again = json!({
            "code": "erp", "name": "Accounting", "kind": "integration", "roles": ["dispatcher"],
        });
        let write = Operation::UpsertServiceAccount;
        let filed = receipt(
            &stack
                .command(Who::TenantAdmin, write, None, &again)
                .send()
                .await,
        );
        assert!(matches!(
            filed.filed,
            Filed::ServiceAccount { state, .. } if state.to_string() == "disabled"
        ));
        again["active"] = json!(true);
        receipt(
            &stack
                .command(Who::TenantAdmin, write, None, &again)
                .send()
                .await,
        );
        wait::until("the account", GONE, async || {
            let reply = with_key(&stack, &second, "/tickets").send().await;
            (reply.status == 200).then_some(()).ok_or(reply.status)
        })
        .await;
        let reply = with_key(&stack, &first, "/tickets").send().await;
        assert_refused("revoked before", &reply);
    });
}

#[test]
fn a_replaced_key_goes_on_for_its_overlap_and_no_longer() {
    with_api(async |stack| {
        let account = erp(&stack).await;
        let admin = admin(&stack);
        let old = issue(&admin, account).await;
        let id = key_id(&stack, &old).await;
        let rotate = async |of: ApiKeyId, overlap_seconds| {
            let new = draw_api_key();
            let body = RotateApiKey {
                api_key_id: of,
                prefix: new.prefix(),
                key_hash: new.hash(),
                expires_at: Utc::now() + TimeDelta::days(1),
                overlap_seconds,
            };
            let done = admin.rotate_api_key(&body, &CallOptions::default()).await;
            (new, done)
        };
        let (new, done) = rotate(id, 3_600).await;
        let Filed::ApiKeyRotated {
            replaced_ends_at,
            replaces,
            ..
        } = done.unwrap().filed
        else {
            panic!("something else was filed");
        };
        assert_eq!(replaces, id);
        assert!(replaced_ends_at > Utc::now() + TimeDelta::minutes(59));
        for key in [&old, &new] {
            assert_eq!(with_key(&stack, key, "/tickets").send().await.status, 200);
        }
        let view = admin.service_account(account).await.unwrap();
        assert_eq!(view.keys.len(), 2);
        assert_eq!(view.keys[1].replaced_by, Some(view.keys[0].id));
        assert_eq!(view.keys[1].expires_at, replaced_ends_at);

        // Without overlap the old one ends at once, and what has ended is not replaced.
        let (_, done) = rotate(view.keys[0].id, 0).await;
        done.unwrap();
        until_refused(&stack, &new).await;
        let (_, refused) = rotate(view.keys[0].id, 0).await;
        assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::InvalidField));
    });
}

#[test]
fn what_is_not_a_key_opens_nothing() {
    with_api(async |stack| {
        let key = issue(&admin(&stack), erp(&stack).await).await;
        let good = key.expose();
        let own = ApiKeyText::assemble(&key.prefix(), &"a".repeat(SECRET_CHARS)).unwrap();
        let unknown = draw_api_key();
        let mut flipped = good.to_owned().into_bytes();
        // Of a digit this would be no character of a header.
        let letter = flipped.iter().rposition(u8::is_ascii_alphabetic).unwrap();
        flipped[letter] ^= 0x20;
        let bearer = |text: &str| format!("Bearer {text}");
        let attempts = [
            ("cut", bearer(&good[..40])),
            ("checksum cut", bearer(&good[..good.len() - 1])),
            ("lengthened", bearer(&format!("{good}0"))),
            ("capitals", bearer(&good.to_uppercase())),
            (
                "one letter's case",
                bearer(&String::from_utf8_lossy(&flipped)),
            ),
            ("prefix with another secret", bearer(own.expose())),
            ("made up", bearer(unknown.expose())),
            ("basic", format!("Basic {good}")),
            ("no scheme", good.to_owned()),
            ("twice", bearer(&format!("{good}, {good}"))),
            ("the hash", bearer(key.hash().as_str())),
            ("mark alone", bearer("rdk_")),
        ];
        let footprint = Footprint::take(stack.admin()).await;
        for (what, header) in attempts {
            let ask = stack.http().get("/tickets").header("authorization", header);
            assert_refused(what, &ask.send().await);
        }
        for name in ["api_key", "token", "access_token"] {
            let ask = stack.http().get(format!("/tickets?{name}={good}"));
            assert_refused("in the address", &ask.send().await);
        }
        assert_refused(
            "x-api-key",
            &stack
                .http()
                .get("/tickets")
                .header("x-api-key", good)
                .send()
                .await,
        );
        assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);
        assert_eq!(with_key(&stack, &key, "/tickets").send().await.status, 200);
    });
}

#[test]
fn a_key_of_all_tenants_names_one_each_time_and_no_other_credential_does() {
    with_api(async |stack| {
        let home = bare_tenant(stack.admin()).await;
        let worker = worker_key(&admin(&stack), home).await;
        let erp = issue(&admin(&stack), erp(&stack).await).await;
        let (own, other) = (stack.tenant().id, stack.other().id);
        let named = |credential: &str, tenant: &str| {
            let ask = stack.http().get("/kill-switch").token(credential);
            ask.header(TENANT_HEADER, tenant)
        };
        for tenant in [own, other, home] {
            let reply = named(worker.expose(), &tenant.to_string()).send().await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let token = Who::TenantAdmin.token(stack.tenant());
        let own_id = own.to_string();
        let both = named(worker.expose(), &format!("{own}, {other}"));
        let cases = [
            ("none", with_key(&stack, &worker, "/kill-switch")),
            ("no id", named(worker.expose(), "canal_glass")),
            ("empty", named(worker.expose(), "")),
            ("two", both),
            ("a tenant's key", named(erp.expose(), &own_id)),
            (
                "a tenant's key, another tenant",
                named(erp.expose(), &other.to_string()),
            ),
            ("a token", named(&token, &own_id)),
            ("a token, another tenant", named(&token, &other.to_string())),
            ("a token, no id", named(&token, "x")),
        ];
        for (what, ask) in cases {
            let reply = ask.send().await;
            let problem = reply.no_attempt(ErrorCode::InvalidParameter);
            assert_eq!(problem.meta["parameter"], TENANT_HEADER, "{what}");
        }
        // It is that tenant's workflow, and nothing more.
        let job = Job::at(&stack, stack.other(), TicketState::New).await;
        let snapshot = stack
            .http()
            .get(format!("/tickets/{}/snapshot", job.id()))
            .token(worker.expose());
        let reply = snapshot.header(TENANT_HEADER, &own_id).send().await;
        reply.no_attempt(ErrorCode::NotFound);
        let cancel = |tenant: TenantId| {
            let ask = stack.http().command(
                Operation::Cancel,
                Some(job.id()),
                &json!({ "reason": "duplicate" }),
            );
            ask.token(worker.expose())
                .header(TENANT_HEADER, tenant.to_string())
        };
        cancel(own).send().await.problem(ErrorCode::NotFound);
        let refused = cancel(other).send().await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        let actor: String = sqlx::query_scalar(
            "select actor_id from audit_events where operation = 'cancel' and tenant_id = $1",
        )
        .bind(other.as_uuid())
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(actor, workflow_actor_id(other));
        let nobody = TenantId::from_uuid(Uuid::now_v7());
        let reply = cancel(nobody).send().await;
        reply.no_attempt(ErrorCode::Forbidden);
    });
}

#[test]
fn a_key_stands_and_falls_with_its_tenant_as_a_token_does() {
    with_api(async |stack| {
        let key = issue(&admin(&stack), erp(&stack).await).await;
        let platform = platform_token(stack.other().id);
        let turn = async |operation: Operation, body: Value| {
            let path = operation
                .path()
                .replace("{id}", &stack.tenant().id.to_string());
            let ask = stack.http().post(path).token(&platform);
            receipt(&ask.key(request_id()).json(&body).send().await);
        };
        turn(Operation::SuspendTenant, json!({ "reason": "unpaid" })).await;
        let site = json!({ "code": "annex", "location": { "lat_e6": 1, "lon_e6": 2 } });
        let token = Who::Registry.token(stack.tenant());
        let answers = async || {
            let mut all = Vec::new();
            for credential in [key.expose(), &token] {
                let read = stack.http().get("/tickets").token(credential).send().await;
                let wrote = send(&stack, credential, Operation::UpsertSite, &site);
                let wrote = wrote.send().await;
                all.push((read.status, wrote.json()["code"].clone()));
            }
            all
        };
        let told = answers().await;
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0].0, 200);
        assert_eq!(told[0].1, "TENANT_SUSPENDED");

        let body = json!({ "reason": "left", "grace_days": 1 });
        turn(Operation::RequestTenantDeletion, body).await;
        sqlx::query(
            "update tenants set erase_after = now() - interval '1 second' where tenant_id = $1",
        )
        .bind(stack.tenant().id.as_uuid())
        .execute(stack.admin())
        .await
        .unwrap();
        // What the chain tells of it is another moment now, which is not what is looked at here.
        turn(Operation::EraseTenant, json!({})).await;
        let told = answers().await;
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0].0, 404);
        let names: i64 =
            sqlx::query_scalar("select count(name) from service_accounts where tenant_id = $1")
                .bind(stack.tenant().id.as_uuid())
                .fetch_one(stack.admin())
                .await
                .unwrap();
        assert_eq!(names, 0, "somebody may have put a person's name there");
    });
}

/// A key reads on while its tenant stands still; when it leaked, it ends then, too.
#[test]
fn a_leaked_key_of_a_tenant_that_stands_still_is_taken_back() {
    with_api(async |stack| {
        let account = erp(&stack).await;
        let admin = admin(&stack);
        let (first, second) = (issue(&admin, account).await, issue(&admin, account).await);
        let (_, third) = fresh(account, &[]);
        let third = serde_json::to_value(third).unwrap();
        let revoke = json!({ "api_key_id": key_id(&stack, &first).await, "reason": "leaked" });
        let disable = json!({ "service_account_id": account, "reason": "leaked" });
        let again = json!({
            "code": "erp", "name": "Accounting", "kind": "integration", "roles": ["dispatcher"],
            "active": true,
        });
        let platform = platform_token(stack.other().id);
        let turn = async |operation: Operation, body: Value| {
            let path = operation
                .path()
                .replace("{id}", &stack.tenant().id.to_string());
            let ask = stack.http().post(path).token(&platform);
            receipt(&ask.key(request_id()).json(&body).send().await);
        };
        let by_admin = async |operation: Operation, body: &Value| {
            let ask = stack.command(Who::TenantAdmin, operation, None, body);
            ask.send().await
        };
        let stands_still = async || {
            for (operation, body) in [
                (Operation::IssueApiKey, &third),
                (Operation::UpsertServiceAccount, &again),
            ] {
                let reply = by_admin(operation, body).await;
                reply.problem(ErrorCode::TenantSuspended);
            }
        };

        turn(Operation::SuspendTenant, json!({ "reason": "unpaid" })).await;
        stands_still().await;
        for key in [&first, &second] {
            assert_eq!(with_key(&stack, key, "/tickets").send().await.status, 200);
        }
        receipt(&by_admin(Operation::RevokeApiKey, &revoke).await);
        until_refused(&stack, &first).await;
        assert_eq!(
            with_key(&stack, &second, "/tickets").send().await.status,
            200
        );

        let body = json!({ "reason": "left", "grace_days": 1 });
        turn(Operation::RequestTenantDeletion, body).await;
        receipt(&by_admin(Operation::DisableServiceAccount, &disable).await);
        until_refused(&stack, &second).await;
        stands_still().await;
    });
}

#[test]
fn whoever_calls_with_a_key_is_told_when_it_ends() {
    with_api(async |stack| {
        let key = issue(&admin(&stack), erp(&stack).await).await;
        let (admin, prefix) = (admin(&stack), key.prefix());
        let page = admin.api_keys(None, Some(&prefix), None, None).await;
        let end = page.unwrap().items[0].expires_at;
        let end = end.to_rfc3339_opts(SecondsFormat::Secs, true);
        for (path, status) in [("/tickets", 200), ("/api-keys", 403)] {
            let reply = with_key(&stack, &key, path).send().await;
            assert_eq!(reply.status, status, "{path}");
            assert_eq!(reply.header(KEY_EXPIRES_HEADER), Some(&*end), "{path}");
        }
        let token = Who::TenantAdmin.token(stack.tenant());
        let reply = stack.http().get("/tickets").token(&token).send().await;
        assert_eq!(reply.header(KEY_EXPIRES_HEADER), None);
        let reply = with_key(&stack, &draw_api_key(), "/tickets").send().await;
        assert_eq!(reply.header(KEY_EXPIRES_HEADER), None);
    });
}

#[test]
fn when_a_key_was_used_last_is_shown_and_the_key_itself_never() {
    with_api(async |stack| {
        let account = erp(&stack).await;
        let key = issue(&admin(&stack), account).await;
        let used = async || {
            let view = admin(&stack).service_account(account).await.unwrap();
            view.keys[0].last_used_at
        };
        assert_eq!(used().await, None);
        let before = Utc::now();
        assert_eq!(with_key(&stack, &key, "/tickets").send().await.status, 200);
        let first = wait::until("the note of a use", wait::BOUND, async || {
            used().await.ok_or("none yet")
        })
        .await;
        assert!(first >= before - TimeDelta::seconds(1) && first <= Utc::now());
        for _ in 0..20 {
            assert_eq!(with_key(&stack, &key, "/tickets").send().await.status, 200);
        }
        assert_eq!(used().await, Some(first), "once a minute is enough");

        // An auditor may look, a dispatcher may not; and nobody sees a hash.
        for path in [
            "/service-accounts".to_owned(),
            format!("/service-accounts/{account}"),
            "/api-keys".to_owned(),
        ] {
            let reply = stack.ask(Who::Auditor, Method::GET, &path).send().await;
            assert_eq!(reply.status, 200, "{path}");
            assert!(!reply.text().contains(key.hash().as_str()), "{path}");
            let reply = stack.ask(Who::Dispatcher, Method::GET, &path).send().await;
            reply.no_attempt(ErrorCode::Forbidden);
        }
        let page = admin(&stack)
            .api_keys(None, None, None, Some(1))
            .await
            .unwrap();
        assert_eq!((page.items.len(), page.next_cursor), (1, None));
    });
}

/// Every row of every table, as text.
async fn whole_database(stack: &Stack) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "select quote_ident(relname) from pg_class
          where relkind = 'r' and relnamespace = 'public'::regnamespace",
    )
    .fetch_all(stack.admin())
    .await
    .unwrap();
    let mut all = String::new();
    for table in tables {
        let sql = format!("select coalesce(string_agg(to_jsonb(t)::text, '|'), '') from {table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(stack.admin())
            .await
            .unwrap();
        all += &rows;
    }
    all
}

#[test]
fn a_key_is_in_no_table_and_its_hash_in_no_export() {
    with_api(async |stack| {
        let account = erp(&stack).await;
        let admin = admin(&stack);
        let key = issue(&admin, account).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let note = json!({ "text": "Called." });
        let ask = stack
            .http()
            .command(Operation::AddNote, Some(job.id()), &note);
        ask.token(key.expose()).send().await.receipt();
        let secret = key.expose().split('_').nth(2).unwrap();
        let everything = whole_database(&stack).await;
        assert!(
            everything.contains(key.prefix().as_str()),
            "the search finds what is there"
        );
        assert!(
            everything.contains(key.hash().as_str()),
            "the search finds what is there"
        );
        assert!(!everything.contains(secret));

        let id = stack.tenant().id;
        let mut export = admin.export_tenant(id).await.unwrap();
        let mut text = Vec::new();
        while let Some(part) = export.part().await.unwrap() {
            text.extend(part);
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\"api_keys\"") && text.contains(key.prefix().as_str()));
        assert!(!text.contains(key.hash().as_str()) && !text.contains("key_hash\":\""));
        // The audit log has the hash of the hash, and no name of the account.
        let payloads: String = sqlx::query_scalar(
            "select string_agg(payload::text, '|') from audit_events
              where operation in ('issue_api_key', 'upsert_service_account')",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert!(!payloads.contains(key.hash().as_str()));
        assert!(!payloads.contains("Software of the tests"));
    });
}

/// A key that somebody with the database puts there, or makes their own, is found.
#[test]
fn a_key_that_was_put_there_past_the_api_is_found() {
    dispatch_tests::servers::run(async || {
        let stack = Stack::api(dispatch_tests::stack::ApiOptions::default()).await;
        let account = erp(&stack).await;
        let key = issue(&admin(&stack), account).await;
        assert_eq!(stack.violations().await, []);
        let mine = draw_api_key();
        for (plant, place) in [
            (
                "update api_keys set key_hash = $1 where prefix = $2",
                "api_keys",
            ),
            (
                "insert into api_keys (tenant_id, id, account_id, prefix, key_hash, scopes,
                                       expires_at, created_by, created_at, command_id)
                 select tenant_id, gen_random_uuid(), account_id, reverse($2), $1, scopes, expires_at,
                        created_by, created_at, command_id from api_keys",
                "api_keys",
            ),
            (
                "update service_accounts set roles = '{platform_admin}'
                  where $1::bytea is not null and $2::text is not null",
                "service_accounts",
            ),
            (
                "update api_keys set revoked_at = null, expires_at = expires_at + interval '1 year'
                  where $1::bytea is not null and $2::text is not null",
                "api_keys",
            ),
        ] {
            let prefix = key.prefix().to_string();
            let before: Vec<Value> =
                sqlx::query_scalar("select to_jsonb(k) from api_keys k order by id")
                    .fetch_all(stack.admin())
                    .await
                    .unwrap();
            sqlx::query(plant)
                .bind(mine.digest().as_slice())
                .bind(prefix)
                .execute(stack.admin())
                .await
                .unwrap();
            let found = stack.violations().await;
            assert!(
                found.iter().any(|it| it.place.starts_with(place)),
                "{plant}: {found:#?}"
            );
            // As it was.
            sqlx::raw_sql(
                "delete from api_keys; update service_accounts set roles = '{dispatcher}'",
            )
            .execute(stack.admin())
            .await
            .unwrap();
            for row in before {
                sqlx::query(
                    "insert into api_keys select * from jsonb_populate_record(null::api_keys, $1)",
                )
                .bind(row)
                .execute(stack.admin())
                .await
                .unwrap();
            }
            assert_eq!(stack.violations().await, [], "{plant}");
        }
        stack.end().await;
    });
}
