//! Tokens that hold, and all the others.

mod api_key;
mod attacks;
mod cache;
mod own;
mod provider;
mod trust;
mod wycheproof;

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use contracts::{Actor, ActorKind, Role, Slug, TenantId, actor::TokenClaims};
use jsonwebtoken::{EncodingKey, crypto::sign};
use serde_json::{Value, json};
use uuid::Uuid;

use self::provider::{Pair, Provider};
use super::*;
use crate::config::{Secret, TokenConfig};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// `aud` of the issuers beside our own.
const API: &str = "https://dispatch.test/api";

pub(crate) fn config() -> TokenConfig {
    TokenConfig {
        secret: Secret::new(SECRET),
        issuer: "issuer".into(),
        audience: "audience".into(),
        leeway: Duration::from_secs(5),
        issuers: Vec::new(),
    }
}

pub(crate) fn claims(now: DateTime<Utc>) -> TokenClaims {
    TokenClaims {
        iss: "issuer".into(),
        aud: "audience".into(),
        sub: "usr_1".into(),
        iat: now.timestamp(),
        nbf: now.timestamp(),
        exp: now.timestamp() + 600,
        tenant: tenant(7),
        kind: ActorKind::Person,
        roles: [Role::Dispatcher].into(),
        technician_id: None,
    }
}

fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(n))
}

/// An issuer at this address, with what a test changes least.
fn issuer(name: &str, url: &str, algorithm: Algorithm) -> IssuerConfig {
    IssuerConfig {
        name: Slug::new(name).unwrap(),
        issuer: url.to_owned(),
        audiences: vec![API.to_owned()],
        algorithm,
        keys: KeysAt::Discovery,
        tenants: Tenants::One(tenant(7)),
        kinds: [ActorKind::Person].into(),
        default_kind: ActorKind::Person,
        roles: BTreeMap::from([("desk".to_owned(), vec![Role::Dispatcher])]),
        claims: ClaimNames {
            kind: Some(ClaimName::new("kind")),
            roles: Some(ClaimName::new("/realm_access/roles")),
            ..ClaimNames::default()
        },
        max_lifetime: Duration::from_secs(86_400),
    }
}

fn trusting(issuers: impl IntoIterator<Item = IssuerConfig>) -> Authenticator {
    let config = TokenConfig {
        issuers: issuers.into_iter().collect(),
        ..config()
    };
    Authenticator::new(&config).unwrap()
}

/// What an OpenID provider's access token says.
fn access_claims(issuer: &str, now: DateTime<Utc>) -> Value {
    json!({
        "iss": issuer,
        "aud": API,
        "sub": "8f2c",
        "iat": now.timestamp(),
        "exp": now.timestamp() + 600,
        "realm_access": { "roles": ["desk", "offline_access"] },
    })
}

fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of exactly this header and payload, signed.
fn signed(
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
    key: &EncodingKey,
    algorithm: jsonwebtoken::Algorithm,
) -> String {
    let message = format!("{}.{}", part(header), part(payload));
    let signature = sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// The same with our shared secret.
fn with_secret(header: &Value, payload: impl AsRef<[u8]>) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    signed(
        header.to_string(),
        payload,
        &key,
        jsonwebtoken::Algorithm::HS256,
    )
}

async fn ask(known: &Authenticator, token: &str, now: DateTime<Utc>) -> Result<Actor, Refusal> {
    known.authenticate(token, now).await
}
