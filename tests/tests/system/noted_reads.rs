//! Reads that leave something on record: only where somebody was told something, and as commands where they
//! are some.

use contracts::{ErrorCode, Operation, TicketState};
use dispatch_tests::{
    http::Reply,
    job::Job,
    record::Footprint,
    stack::{Stack, with_api},
    who::Who,
};
use reqwest::Method;

/// How often somebody is on record as having read a proposal, and how many exports there are.
async fn noted(stack: &Stack) -> (i64, i64) {
    sqlx::query_as(
        "select (select count(*) from proposal_views),
                (select count(*) from audit_events where operation = 'record_tenant_export')",
    )
    .fetch_one(stack.admin())
    .await
    .unwrap()
}

async fn ask(stack: &Stack, method: Method, who: Who, path: &str) -> Reply {
    stack.ask(who, method, path).send().await
}

#[test]
fn who_was_not_answered_has_read_nothing() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        job.does(Operation::RecordProposal).await;
        let changed = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let paths = [
            (Who::Dispatcher, format!("/tickets/{}/proposals", job.id())),
            (
                Who::AccountManager,
                format!("/approvals/{}", changed.approval()),
            ),
            (
                Who::TenantAdmin,
                format!("/tenants/{}/export", stack.tenant().id),
            ),
        ];
        let before = Footprint::take(stack.admin()).await;
        for (who, path) in &paths {
            let reply = ask(&stack, Method::HEAD, *who, path).await;
            assert_eq!(reply.status, 405, "{path}");
            let allowed = reply.header("allow").unwrap_or_default();
            assert!(
                allowed.split(',').all(|it| it != "HEAD"),
                "{path}: {allowed}"
            );
            assert_eq!(reply.body, b"", "{path}");
        }
        assert_eq!(noted(&stack).await, (0, 0));
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
        for (who, path) in &paths {
            let reply = ask(&stack, Method::GET, *who, path).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        }
        assert_eq!(noted(&stack).await, (1, 2), "a beginning and an end");
    });
}

/// An export that cannot be put on record is refused as any other command, and says so in the document.
#[test]
fn an_export_waits_for_whoever_turns_its_tenant_and_not_for_long() {
    with_api(async |stack| {
        let mut turning = stack.admin().begin().await.unwrap();
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('tenant ' || $1::uuid, 0))")
            .bind(stack.tenant().id.as_uuid())
            .execute(&mut *turning)
            .await
            .unwrap();
        let path = format!("/tenants/{}/export", stack.tenant().id);
        let reply = ask(&stack, Method::GET, Who::TenantAdmin, &path).await;
        reply.no_attempt(ErrorCode::InFlight);
        assert!(reply.header("retry-after").is_some());
        turning.rollback().await.unwrap();
        assert_eq!(noted(&stack).await, (0, 0));

        let document = ask(&stack, Method::GET, Who::TenantAdmin, "/openapi.json").await;
        let export = &document.json()["paths"]["/api/v1/tenants/{id}/export"]["get"];
        let told = export["responses"]["409"].to_string();
        assert!(told.contains("IN_FLIGHT"), "{told}");
    });
}
