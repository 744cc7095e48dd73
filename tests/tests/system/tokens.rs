//! Who does not prove who they are gets nothing, and leaves nothing on record.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{TimeDelta, Utc};
use contracts::{ActorKind, ErrorCode, Operation, Role, TicketState, actor::TokenClaims};
use dispatch_tests::{
    job::{Job, ROUTED},
    record::Footprint,
    stack::{Stack, with_api},
    who::{Who, mint},
};
use serde_json::{Value, json};

/// A token with this header and no valid signature.
fn unsigned(header: &Value, claims: &TokenClaims, signature: &str) -> String {
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = serde_json::to_value(claims).unwrap();
    format!("{}.{}.{signature}", part(header), part(&claims))
}

async fn assert_refused(stack: &Stack, what: &str, authorization: Option<&str>) {
    let mut ask = stack.http().get("/tickets");
    if let Some(authorization) = authorization {
        ask = ask.header("authorization", authorization);
    }
    let reply = ask.send().await;
    assert_eq!(reply.status, 401, "{what}: {}", reply.text());
    reply.no_attempt(ErrorCode::Unauthenticated);
    let challenge = reply.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer"), "{what}: {challenge:?}");
}

#[test]
fn a_token_that_does_not_hold_opens_nothing() {
    with_api(async |stack| {
        let now = Utc::now();
        let who = Who::Dispatcher;
        let claims = || who.claims(stack.tenant(), now);
        let changed = |change: fn(&mut TokenClaims)| {
            let mut claims = claims();
            change(&mut claims);
            mint(&claims)
        };
        let past = who.claims(stack.tenant(), now - TimeDelta::hours(2));
        let future = who.claims(stack.tenant(), now + TimeDelta::minutes(10));
        let good = mint(&claims());
        let (head, signature) = good.rsplit_once('.').unwrap();
        let (header, _) = head.split_once('.').unwrap();
        let theirs = who.claims(stack.other(), now);
        let swapped = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_string(&theirs).unwrap());
        let other_secret = api::identity::mint(&"x".repeat(40), &claims()).unwrap();
        let tokens = [
            ("expired", mint(&past)),
            ("not yet valid", mint(&future)),
            ("other audience", changed(|c| c.aud = "elsewhere".into())),
            (
                "other issuer",
                changed(|c| c.iss = "https://elsewhere.test".into()),
            ),
            ("lives for ever", changed(|c| c.exp = i64::MAX)),
            ("no subject", changed(|c| c.sub = String::new())),
            (
                "an address as subject",
                changed(|c| c.sub = "anna@example.test".into()),
            ),
            ("other secret", other_secret),
            ("tenant swapped", format!("{header}.{swapped}.{signature}")),
            ("signature cut", format!("{head}.{}", &signature[1..])),
            ("signature gone", format!("{head}.")),
            (
                "no algorithm",
                unsigned(&json!({ "alg": "none" }), &claims(), ""),
            ),
            (
                "No Algorithm",
                unsigned(&json!({ "alg": "None" }), &claims(), signature),
            ),
            (
                "another algorithm",
                unsigned(&json!({ "alg": "RS256" }), &claims(), signature),
            ),
            (
                "brings its key",
                unsigned(
                    &json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "AAAA" } }),
                    &claims(),
                    signature,
                ),
            ),
            ("garbage", "a.b.c".into()),
            ("empty", String::new()),
            ("very long", "x".repeat(9_000)),
        ];
        let before = Footprint::take(stack.admin()).await;
        assert_refused(&stack, "no header", None).await;
        assert_refused(&stack, "other scheme", Some("Basic dTpw")).await;
        assert_refused(&stack, "two tokens", Some(&format!("Bearer {good} {good}"))).await;
        for (what, token) in &tokens {
            assert_refused(&stack, what, Some(&format!("Bearer {token}"))).await;
        }
        // The same with commands: no attempt, no record.
        let body = Job::new(&stack, stack.tenant())
            .body(Operation::CreateTicket)
            .await;
        for (what, token) in &tokens {
            let ask = stack.http().command(Operation::CreateTicket, None, &body);
            let reply = ask
                .header("authorization", format!("Bearer {token}"))
                .send()
                .await;
            assert_eq!(reply.status, 401, "{what}: {}", reply.text());
            reply.no_attempt(ErrorCode::Unauthenticated);
        }
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
        assert_eq!(
            stack.http().get("/tickets").token(good).send().await.status,
            200
        );
    });
}

#[test]
fn no_command_and_no_read_goes_without_a_token() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        for &operation in ROUTED {
            let ask = stack
                .http()
                .command(operation, job.target(operation), &json!({}));
            ask.send().await.no_attempt(ErrorCode::Unauthenticated);
        }
        for read in [
            "",
            "/timeline",
            "/proposals",
            "/snapshot",
            "/advisor-input?kind=triage",
        ] {
            let ask = stack.http().get(format!("/tickets/{}{read}", job.id()));
            ask.send().await.no_attempt(ErrorCode::Unauthenticated);
        }
    });
}

#[test]
fn kind_and_roles_come_from_the_token_alone() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = job.body(Operation::Triage).await;
        // A body that claims a role is malformed, a header that does is nothing.
        let mut claiming = body.clone();
        claiming["roles"] = json!(["dispatcher"]);
        let ask = stack.command(Who::Auditor, Operation::Triage, job.id(), &claiming);
        ask.send().await.no_attempt(ErrorCode::Malformed);
        let ask = stack.command(Who::Auditor, Operation::Triage, job.id(), &body);
        let reply = ask.header("x-roles", "dispatcher").send().await;
        reply.problem(ErrorCode::Forbidden);

        let mut claims = Who::Auditor.claims(stack.tenant(), Utc::now());
        claims.roles = [Role::Dispatcher].into();
        claims.kind = ActorKind::Person;
        let ask = stack
            .http()
            .command(Operation::Triage, Some(job.id()), &body);
        ask.token(mint(&claims)).send().await.receipt();
    });
}

#[test]
fn a_tenant_that_does_not_exist_has_nothing() {
    with_api(async |stack| {
        let body = Job::new(&stack, stack.tenant())
            .body(Operation::CreateTicket)
            .await;
        let mut claims = Who::Dispatcher.claims(stack.tenant(), Utc::now());
        claims.tenant = contracts::TenantId::from_uuid(uuid::Uuid::now_v7());
        let token = mint(&claims);
        let before = Footprint::take(stack.admin()).await;
        // There is no tenant on whose record the attempt could be.
        let ask = stack.http().command(Operation::CreateTicket, None, &body);
        ask.token(&token)
            .send()
            .await
            .no_attempt(ErrorCode::Forbidden);
        for read in ["/tickets", "/kill-switch", "/tenants", "/policy/bundles"] {
            let reply = stack.http().get(read).token(&token).send().await;
            reply.no_attempt(ErrorCode::Forbidden);
        }
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
    });
}
