//! Software that calls with API keys, made as operators make it: through dispatch-api.

use chrono::{TimeDelta, Utc};
use client::{CallOptions, Client, draw_api_key};
use contracts::{
    ActorKind, Role, ServiceAccountId, Slug, TenantId,
    actor::TokenClaims,
    command::{IssueApiKey, UpsertServiceAccount},
    filing::Filed,
    service_account::ApiKeyText,
    value::AccountName,
};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::who::{AUDIENCE, ISSUER, mint};

/// A token of somebody who runs the installation, at home in this tenant.
pub fn platform_token(home: TenantId) -> String {
    let now = Utc::now();
    mint(&TokenClaims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: "usr_platform".into(),
        iat: now.timestamp(),
        nbf: now.timestamp(),
        exp: (now + TimeDelta::hours(1)).timestamp(),
        tenant: home,
        kind: ActorKind::Person,
        roles: [Role::PlatformAdmin].into(),
        technician_id: None,
    })
}

/// A tenant with nothing in it: where those are at home who run the installation.
pub async fn bare_tenant(admin: &PgPool) -> TenantId {
    let id = TenantId::from_uuid(Uuid::now_v7());
    let office =
        json!({ "time_zone": "UTC", "week": [[], [], [], [], [], [], []], "days_off": [] });
    sqlx::query("insert into tenants (tenant_id, slug, settings) values ($1, $2, $3)")
        .bind(id.as_uuid())
        .bind(format!("p{}", id.as_uuid().simple()))
        .bind(json!({ "calendar": office, "currency": "EUR" }))
        .execute(admin)
        .await
        .expect("the superuser may");
    id
}

/// What a worker calls with: a key of an account that acts in any tenant.
pub async fn worker_key(client: &Client, home: TenantId) -> ApiKeyText {
    let client = client.with_token(platform_token(home));
    let account = account(&client, "worker", ActorKind::Workflow, &[], true).await;
    issue(&client, account).await
}

/// Writes an account; it must succeed.
pub async fn account(
    client: &Client,
    code: &str,
    kind: ActorKind,
    roles: &[Role],
    any_tenant: bool,
) -> ServiceAccountId {
    let body = UpsertServiceAccount {
        code: Slug::new(code).expect("a slug"),
        name: AccountName::new("Software of the tests").expect("a name"),
        kind,
        roles: roles.iter().copied().collect(),
        any_tenant,
        active: None,
    };
    let made = client
        .upsert_service_account(&body, &CallOptions::default())
        .await
        .expect("the caller may");
    match made.filed {
        Filed::ServiceAccount {
            service_account_id, ..
        } => service_account_id,
        other => panic!("{other:?}"),
    }
}

/// A key for all that the account may do, good for a month; it must succeed.
pub async fn issue(client: &Client, account: ServiceAccountId) -> ApiKeyText {
    let key = draw_api_key();
    let body = IssueApiKey {
        service_account_id: account,
        prefix: key.prefix(),
        key_hash: key.hash(),
        scopes: [].into(),
        expires_at: Utc::now() + TimeDelta::days(30),
    };
    client
        .issue_api_key(&body, &CallOptions::default())
        .await
        .expect("the caller may");
    key
}
