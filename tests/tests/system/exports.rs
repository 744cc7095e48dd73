//! Exports that are being read when the credential that asked for them ends: no more is read for it.

use chrono::{TimeDelta, Utc};
use client::{CallOptions, Client, ClientError, Export};
use contracts::{
    ActorKind, ErrorCode, Role, Slug, TicketState, command::RevokeApiKey, read::DecisionFilter,
};
use dispatch_tests::{
    job::Job,
    software::{account, issue},
    stack::{Stack, with_api},
    wait::{self, BOUND},
    who::{Who, mint},
};

/// Copies of a decision, and the bytes of each: more than all that is on its way can hold.
const COPIES: i32 = 4_000;
const BYTES: i32 = 16_000;

async fn pad(stack: &Stack) {
    Job::at(stack, stack.tenant(), TicketState::New).await;
    let copied = sqlx::query(
        "insert into policy_decisions
         select r.* from policy_decisions d, generate_series(1, $2) n,
                lateral jsonb_populate_record(d, jsonb_build_object(
                    'id', substr(d.id::text, 1, 24) || lpad(to_hex(n), 12, '0'),
                    'input', jsonb_build_object('pad', repeat('x', $3))::text)) r
          where d.tenant_id = $1
            and d.id = (select id from policy_decisions where tenant_id = $1 order by id limit 1)",
    )
    .bind(stack.tenant().id.as_uuid())
    .bind(COPIES)
    .bind(BYTES)
    .execute(stack.admin())
    .await
    .unwrap();
    assert_eq!(copied.rows_affected(), COPIES as u64);
}

/// Nobody made those: what is looked at when the test ends would say so.
async fn unpad(stack: &Stack) {
    let mut tx = stack.admin().begin().await.unwrap();
    for sql in [
        "set local session_replication_role = replica",
        "delete from policy_decisions where input like '{\"pad\"%'",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn until_refused(reader: &Client) {
    wait::until("the end of a credential", BOUND, async || {
        match reader.decisions(&DecisionFilter::default()).await {
            Err(error) if error.code() == Some(ErrorCode::Unauthenticated) => Ok(()),
            other => Err(other.map(|page| page.items.len())),
        }
    })
    .await;
}

/// What is still to come of it.
async fn rest(export: &mut Export) -> Result<usize, ClientError> {
    let mut bytes = 0;
    while let Some(part) = export.part().await? {
        bytes += part.len();
    }
    Ok(bytes)
}

#[test]
fn an_export_of_decisions_ends_with_the_key_that_asked_for_it() {
    with_api(async |stack| {
        pad(&stack).await;
        let admin = stack.client(stack.tenant(), Who::TenantAdmin);
        let roles = [Role::Auditor];
        let auditor = account(&admin, "audits", ActorKind::Integration, &roles, false).await;
        let key = issue(&admin, auditor).await;
        let reader = admin.with_token(key.expose());
        let filter = DecisionFilter::default();
        let mut whole = reader.export_decisions(&filter).await.unwrap();
        let all = rest(&mut whole).await.unwrap();
        assert!(all > (COPIES * BYTES) as usize, "{all}");

        let mut export = reader.export_decisions(&filter).await.unwrap();
        assert!(export.part().await.unwrap().is_some());
        let keys = admin.api_keys(None, Some(&key.prefix()), None, None).await;
        let revoke = RevokeApiKey {
            api_key_id: keys.unwrap().items[0].id,
            reason: Slug::new("leaked").unwrap(),
        };
        let options = CallOptions::default();
        admin.revoke_api_key(&revoke, &options).await.unwrap();
        until_refused(&reader).await;
        let ended = rest(&mut export).await;
        assert!(ended.is_err(), "{ended:?} bytes were read on, of {all}");
        unpad(&stack).await;
    });
}

#[test]
fn an_export_of_a_tenant_ends_with_the_token_that_asked_for_it() {
    with_api(async |stack| {
        pad(&stack).await;
        let (tenant, now) = (stack.tenant(), Utc::now());
        let mut claims = Who::TenantAdmin.claims(tenant, now);
        claims.exp = (now + TimeDelta::seconds(2)).timestamp();
        let admin = stack.client(tenant, Who::TenantAdmin);
        let reader = admin.with_token(mint(&claims));
        let mut export = reader.export_tenant(tenant.id).await.unwrap();
        assert!(export.part().await.unwrap().is_some());
        until_refused(&reader).await;
        let ended = rest(&mut export).await;
        assert!(ended.is_err(), "{ended:?} bytes were read on");
        let step = wait::until("its end on record", BOUND, async || {
            let steps: Vec<String> = sqlx::query_scalar(
                "select payload ->> 'step' from audit_events
                  where tenant_id = $1 and operation = 'record_tenant_export' order by written",
            )
            .bind(tenant.id.as_uuid())
            .fetch_all(stack.admin())
            .await
            .unwrap();
            match steps.as_slice() {
                [_, ended] => Ok(ended.clone()),
                _ => Err(steps),
            }
        });
        assert_eq!(step.await, "broken_off");
        unpad(&stack).await;
    });
}
