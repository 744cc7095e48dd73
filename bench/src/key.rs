//! API keys, made as an operator makes them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use chrono::{TimeDelta, Utc};
use contracts::{
    Actor, ActorKind, Operation, Role,
    service_account::{ApiKeyText, SECRET_CHARS},
    value::KeyPrefix,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{http::Http, life::Who, service::token};

/// A key of an account that acts in any tenant.
pub async fn worker_key(address: SocketAddr) -> Result<ApiKeyText> {
    let account = json!({
        "code": "worker", "name": "The worker", "kind": "workflow", "any_tenant": true,
    });
    let mut keys = keys(address, &account, 1).await?;
    keys.pop().context("the worker's key")
}

/// So many keys of this account, which is made.
pub async fn keys(address: SocketAddr, account: &Value, count: usize) -> Result<Vec<ApiKeyText>> {
    let token = token(&Actor {
        id: "usr_platform".to_owned(),
        kind: ActorKind::Person,
        roles: [Role::PlatformAdmin].into(),
        technician_id: None,
        ..Who::Dispatcher.actor()
    })?;
    let mut http = Http::connect(address).await?;
    let operation = Operation::UpsertServiceAccount;
    let made = http
        .command(&token, operation, None, &account.to_string())
        .await?;
    let made: Value = serde_json::from_slice(made)?;
    let id = &made["filed"]["data"]["service_account_id"];
    let random = || Uuid::new_v4().simple().to_string();
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        let prefix = KeyPrefix::new(&random()[..10])?;
        let secret = [random(), random()].concat();
        let key = ApiKeyText::assemble(&prefix, &secret[..SECRET_CHARS])?;
        let body = json!({
            "service_account_id": id, "prefix": prefix, "key_hash": key.hash(),
            "expires_at": Utc::now() + TimeDelta::days(7),
        });
        http.command(&token, Operation::IssueApiKey, None, &body.to_string())
            .await
            .with_context(|| format!("a key of {account}"))?;
        keys.push(key);
    }
    Ok(keys)
}
