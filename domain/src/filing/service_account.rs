//! Service accounts and their keys: made, replaced and taken back by people.
//!
//! An account and its keys have one version and one chain. What an account may do is no more than the
//! active bundle gives its kind and roles, asked anew with each request. Besides: whoever runs the
//! installation alone makes what could act as a workflow, in any tenant or for the installation, and
//! gives keys to it; otherwise an administrator of a tenant could get there by a key. A key of fewer
//! scopes is replaced by one of the same, so nobody gets more by replacing.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ActorKind, ApiKeyId, ApiPermission, Role, ServiceAccountId, Slug,
    command::{
        DisableServiceAccount, IssueApiKey, RevokeApiKey, RotateApiKey, UpsertServiceAccount,
    },
    filing::Filed,
    service_account::AccountState,
    value::{KeyHash, KeyPrefix},
};
use serde_json::{Value, json};

use super::{Filing, FilingFacts, check};
use crate::Rejection;

/// The longest that a key is good for.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(366);
/// The longest that a replaced key is still good.
const LONGEST_OVERLAP: u32 = 7 * 86_400;
/// One per program that calls with the account, and those that are being replaced.
const MOST_KEYS: u64 = 20;

/// A service account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountFacts {
    /// Which.
    pub id: ServiceAccountId,
    /// Its name.
    pub code: Slug,
    /// What it is.
    pub kind: ActorKind,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Whether it acts in any tenant.
    pub any_tenant: bool,
    /// Whether its keys are good.
    pub state: AccountState,
    /// Rises with each command about it.
    pub version: u64,
    /// Whether a key of the tenant, of whichever account, shows what the new one would show.
    pub prefix_taken: bool,
    /// How many of its keys are good.
    pub good_keys: u64,
    /// The key that the command names.
    pub key: Option<KeyFacts>,
}

/// A key as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// Which.
    pub id: ApiKeyId,
    /// What it is good for.
    pub scopes: BTreeSet<ApiPermission>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// Whether it was taken back.
    pub revoked: bool,
}

pub(super) fn upsert(
    body: &UpsertServiceAccount,
    facts: &FilingFacts,
) -> Result<Filing, Rejection> {
    let known = facts.account.as_ref();
    check::expected_version(facts, known.map_or(0, |account| account.version))?;
    formed(body)?;
    if let Some(known) = known {
        let for_ever = "is what it was made as, for ever: make another account";
        if known.kind != body.kind {
            return Err(Rejection::invalid("/kind", for_ever));
        }
        if known.any_tenant != body.any_tenant {
            return Err(Rejection::invalid("/any_tenant", for_ever));
        }
        may(facts, known.kind, &known.roles, known.any_tenant)?;
    }
    may(facts, body.kind, &body.roles, body.any_tenant)?;
    let state = match (body.active, known) {
        (Some(true), _) | (None, None) => AccountState::Active,
        (Some(false), _) => AccountState::Disabled,
        (None, Some(known)) => known.state,
    };
    let id = known.map_or_else(
        || ServiceAccountId::from_uuid(facts.fresh),
        |account| account.id,
    );
    let row = json!({
        "code": body.code, "name": body.name, "kind": body.kind, "roles": body.roles,
        "any_tenant": body.any_tenant, "state": state, "by": facts.who.actor_id,
    });
    let filed = Filed::ServiceAccount {
        service_account_id: id,
        code: body.code.clone(),
        state,
    };
    Ok(written(
        filed,
        id,
        known.map_or(0, |account| account.version),
        row,
    ))
}

pub(super) fn disable(_: &DisableServiceAccount, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let account = governed(facts)?;
    let state = AccountState::Disabled;
    let filed = Filed::ServiceAccount {
        service_account_id: account.id,
        code: account.code.clone(),
        state,
    };
    let row = json!({ "state": state });
    Ok(written(filed, account.id, account.version, row))
}

pub(super) fn issue(body: &IssueApiKey, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let account = governed(facts)?;
    let expires_at = life(facts, body.expires_at)?;
    usable(facts, account, "/service_account_id")?;
    let fresh = Fresh {
        prefix: &body.prefix,
        key_hash: &body.key_hash,
        scopes: &body.scopes,
        expires_at,
    };
    let filed = Filed::ApiKeyIssued {
        service_account_id: account.id,
        api_key_id: ApiKeyId::from_uuid(facts.fresh),
        prefix: body.prefix.clone(),
        expires_at,
    };
    let row = fresh.row(facts);
    Ok(written(filed, account.id, account.version, row))
}

pub(super) fn rotate(body: &RotateApiKey, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let account = governed(facts)?;
    let key = named(account)?;
    let expires_at = life(facts, body.expires_at)?;
    if body.overlap_seconds > LONGEST_OVERLAP {
        return Err(Rejection::invalid(
            "/overlap_seconds",
            "must be 0 to 604800: seven days",
        ));
    }
    if key.revoked || key.expires_at <= facts.now {
        return Err(Rejection::invalid(
            "/api_key_id",
            "is not good any more: issue another key",
        ));
    }
    usable(facts, account, "/api_key_id")?;
    let overlap = TimeDelta::seconds(body.overlap_seconds.into());
    let ends_at = key.expires_at.min(check::kept_instant(facts.now + overlap));
    let fresh = Fresh {
        prefix: &body.prefix,
        key_hash: &body.key_hash,
        scopes: &key.scopes,
        expires_at,
    };
    let mut row = fresh.row(facts);
    row["replaces"] = json!(key.id.as_uuid());
    row["replaced_ends_at"] = json!(ends_at);
    let filed = Filed::ApiKeyRotated {
        service_account_id: account.id,
        api_key_id: ApiKeyId::from_uuid(facts.fresh),
        prefix: body.prefix.clone(),
        expires_at,
        replaces: key.id,
        replaced_ends_at: ends_at,
    };
    Ok(written(filed, account.id, account.version, row))
}

pub(super) fn revoke(_: &RevokeApiKey, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let account = governed(facts)?;
    let key = named(account)?;
    if key.revoked {
        return Err(Rejection::invalid("/api_key_id", "was taken back before"));
    }
    let filed = Filed::ApiKeyRevoked {
        service_account_id: account.id,
        api_key_id: key.id,
    };
    let row = json!({ "key_id": key.id.as_uuid() });
    Ok(written(filed, account.id, account.version, row))
}

/// What is to be kept of a new key.
struct Fresh<'a> {
    prefix: &'a KeyPrefix,
    key_hash: &'a KeyHash,
    scopes: &'a BTreeSet<ApiPermission>,
    expires_at: DateTime<Utc>,
}

impl Fresh<'_> {
    fn row(&self, facts: &FilingFacts) -> Value {
        json!({
            "key_id": facts.fresh, "by": facts.who.actor_id, "prefix": self.prefix, "key_hash": self.key_hash, "scopes": self.scopes,
            "expires_at": self.expires_at,
        })
    }
}

/// The account, if it is there, the caller saw it as it is and may turn it.
fn governed(facts: &FilingFacts) -> Result<&AccountFacts, Rejection> {
    let account = facts.account.as_ref().ok_or(Rejection::NotFound)?;
    check::expected_version(facts, account.version)?;
    may(facts, account.kind, &account.roles, account.any_tenant)?;
    Ok(account)
}

fn named(account: &AccountFacts) -> Result<&KeyFacts, Rejection> {
    account.key.as_ref().ok_or(Rejection::NotFound)
}

/// Whether such an account is the caller's to make and to give keys to.
fn may(
    facts: &FilingFacts,
    kind: ActorKind,
    roles: &BTreeSet<Role>,
    any_tenant: bool,
) -> Result<(), Rejection> {
    let of_platform =
        kind == ActorKind::Workflow || any_tenant || roles.contains(&Role::PlatformAdmin);
    match of_platform && !facts.who.actor_roles.contains(&Role::PlatformAdmin) {
        true => Err(Rejection::OfThePlatform),
        false => Ok(()),
    }
}

/// What no account can be.
fn formed(body: &UpsertServiceAccount) -> Result<(), Rejection> {
    if body.kind == ActorKind::Person {
        return Err(Rejection::invalid(
            "/kind",
            "must be `agent`, `integration` or `workflow`: people have tokens of their own",
        ));
    }
    if body.any_tenant && body.kind != ActorKind::Workflow {
        return Err(Rejection::invalid(
            "/any_tenant",
            "is for accounts of kind `workflow`",
        ));
    }
    if body.kind == ActorKind::Workflow && !body.roles.is_empty() {
        return Err(Rejection::invalid(
            "/roles",
            "must be empty: a workflow has none",
        ));
    }
    Ok(())
}

/// When a new key ends.
fn life(facts: &FilingFacts, expires_at: DateTime<Utc>) -> Result<DateTime<Utc>, Rejection> {
    let expires_at = check::kept_instant(expires_at);
    let life = expires_at - facts.now;
    match life > TimeDelta::zero() && life <= LONGEST_LIFE {
        true => Ok(expires_at),
        false => Err(Rejection::invalid(
            "/expires_at",
            "must be in the future, and at most 366 days from now",
        )),
    }
}

/// Whether the account may have another key.
fn usable(facts: &FilingFacts, account: &AccountFacts, pointer: &str) -> Result<(), Rejection> {
    if account.state == AccountState::Disabled {
        return Err(Rejection::invalid(
            pointer,
            "is of an account that is disabled: write it as active first",
        ));
    }
    if account.prefix_taken {
        return Err(Rejection::PrefixTaken);
    }
    if facts.taken {
        return Err(Rejection::KeyTaken);
    }
    if account.good_keys >= MOST_KEYS {
        return Err(Rejection::invalid(
            pointer,
            format!("has {MOST_KEYS} good keys already: take one back first"),
        ));
    }
    Ok(())
}

fn written(filed: Filed, id: ServiceAccountId, before: u64, row: Value) -> Filing {
    Filing {
        row: Some(row),
        ..Filing::written(filed, id.as_uuid(), before)
    }
}
