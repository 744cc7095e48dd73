//! The key of `dispatch dev`'s own worker: made at the first start, as an operator would make it, and
//! replaced when it comes near its end.

use std::{fs, path::Path};

use chrono::{DateTime, TimeDelta, Utc};
use client::{CallOptions, Client, draw_api_key};
use contracts::{
    ActorKind, Role, ServiceAccountId, Slug,
    command::{IssueApiKey, RotateApiKey, UpsertServiceAccount},
    filing::Filed,
    service_account::{ApiKeyRecord, ApiKeyText, KEY_WARNING_DAYS},
    value::AccountName,
};

use super::state::StateDir;
use crate::{
    demo::World,
    exit::Failure,
    secret::Secret,
    token::{Caller, Minter},
};

const FILE: &str = "worker.key";
const CODE: &str = "worker";
const LIFE: TimeDelta = TimeDelta::days(365);
/// A key that ends sooner is replaced at the start.
const LEFT: TimeDelta = TimeDelta::days(KEY_WARNING_DAYS);
/// The token that makes it is used at once.
const TTL: TimeDelta = TimeDelta::minutes(5);

/// The key that is kept in the folder, or one that is made now. dispatch-api serves.
pub async fn ensure(state: &StateDir, api: &Client, minter: &Minter) -> Result<Secret, Failure> {
    let now = Utc::now();
    let caller = Caller {
        tenant: World::seeded().tenant,
        sub: "dev_platform_admin".to_owned(),
        kind: ActorKind::Person,
        roles: [Role::PlatformAdmin].into(),
        technician: None,
    };
    let api = api.with_token(minter.mint(&caller, now, TTL)?);
    let kept = kept(&state.path(FILE));
    let known = match &kept {
        Some(key) => known(&api, key, now).await?,
        None => None,
    };
    let key = match (kept, known) {
        (Some(key), Some(known)) if known.expires_at - now > LEFT => key,
        (_, Some(known)) => replace(&api, &known, now).await?,
        (_, None) => issue(&api, now).await?,
    };
    state.write_private(FILE, key.expose())?;
    Ok(Secret::new(key.expose()))
}

fn kept(path: &Path) -> Option<ApiKeyText> {
    let text = fs::read_to_string(path).ok()?;
    ApiKeyText::parse(text.trim()).ok()
}

/// What dispatch-api knows of the key, if it is good there.
async fn known(
    api: &Client,
    key: &ApiKeyText,
    now: DateTime<Utc>,
) -> Result<Option<ApiKeyRecord>, Failure> {
    let page = api.api_keys(None, Some(&key.prefix()), None, None).await?;
    Ok(page.items.into_iter().find(|key| key.is_good(now)))
}

async fn replace(
    api: &Client,
    known: &ApiKeyRecord,
    now: DateTime<Utc>,
) -> Result<ApiKeyText, Failure> {
    let key = draw_api_key();
    let body = RotateApiKey {
        api_key_id: known.id,
        prefix: key.prefix(),
        key_hash: key.hash(),
        expires_at: now + LIFE,
        overlap_seconds: 3_600,
    };
    api.rotate_api_key(&body, &CallOptions::default()).await?;
    Ok(key)
}

async fn issue(api: &Client, now: DateTime<Utc>) -> Result<ApiKeyText, Failure> {
    let key = draw_api_key();
    let body = IssueApiKey {
        service_account_id: account(api).await?,
        prefix: key.prefix(),
        key_hash: key.hash(),
        scopes: [].into(),
        expires_at: now + LIFE,
    };
    api.issue_api_key(&body, &CallOptions::default()).await?;
    Ok(key)
}

async fn account(api: &Client) -> Result<ServiceAccountId, Failure> {
    let body = UpsertServiceAccount {
        code: Slug::new(CODE).map_err(Failure::failed)?,
        name: AccountName::new("The worker of dispatch dev").map_err(Failure::failed)?,
        kind: ActorKind::Workflow,
        roles: [].into(),
        any_tenant: true,
        active: Some(true),
    };
    let options = CallOptions::default();
    match api.upsert_service_account(&body, &options).await?.filed {
        Filed::ServiceAccount {
            service_account_id, ..
        } => Ok(service_account_id),
        _ => Err(Failure::failed("dispatch-api wrote no service account")),
    }
}
