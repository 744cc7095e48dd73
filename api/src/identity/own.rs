//! Our own issuer: HS256 with one shared secret, for development, tests and `dispatch token`.
//!
//! Stricter than what other issuers must keep to: every claim of [`TokenClaims`] has to be there.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Actor,
    actor::{TokenClaims, is_actor_id},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::{TokenError, claims::Claims, compact::Compact, key::Key};
use crate::config::TokenConfig;

/// Shortest secret that is taken: RFC 7518 §3.2 wants 256 bits for HS256.
pub const MIN_SECRET_BYTES: usize = 32;
/// Longest life of a token, in seconds: 366 days.
pub const MAX_LIFETIME_SECONDS: i64 = 366 * 86_400;

/// The secret is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token secret has {0} bytes, HS256 needs at least {MIN_SECRET_BYTES}; `openssl rand -hex 32` makes one"
)]
pub struct WeakSecret(pub usize);

/// Signs claims.
pub fn mint(secret: &str, claims: &TokenClaims) -> Result<String, WeakSecret> {
    let key = EncodingKey::from_secret(strong(secret)?);
    let token = encode(&Header::new(Algorithm::HS256), claims, &key);
    Ok(token.expect("claims of strings and numbers serialise, and HMAC takes every key"))
}

fn strong(secret: &str) -> Result<&[u8], WeakSecret> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(WeakSecret(secret.len()));
    }
    Ok(secret.as_bytes())
}

/// Checks tokens of our own.
#[derive(Debug)]
pub(super) struct OwnIssuer {
    issuer: String,
    audience: String,
    key: Key,
}

impl OwnIssuer {
    /// Refuses a secret that is too short.
    pub(super) fn new(config: &TokenConfig) -> Result<Self, WeakSecret> {
        Ok(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            key: Key::secret(strong(config.secret.expose())?),
        })
    }

    /// What `iss` says in its tokens.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The caller that a token of this issuer stands for.
    pub(super) fn actor(
        &self,
        token: &Compact<'_>,
        claims: Claims,
        now: DateTime<Utc>,
        leeway: TimeDelta,
    ) -> Result<Actor, TokenError> {
        if !token.is_signed_by(&self.key) {
            return Err(TokenError::Signature);
        }
        let claims: TokenClaims = claims.read()?;
        if claims.aud != self.audience {
            return Err(TokenError::Audience);
        }
        let (now, leeway) = (now.timestamp(), leeway.num_seconds());
        // It ends on that second, not after it (RFC 7519 §4.1.4).
        if claims.exp <= now - leeway {
            return Err(TokenError::Expired);
        }
        if claims.nbf.max(claims.iat) > now + leeway {
            return Err(TokenError::NotYetValid);
        }
        let lifetime = claims.exp.saturating_sub(claims.iat);
        if !(1..=MAX_LIFETIME_SECONDS).contains(&lifetime) {
            return Err(TokenError::Claims);
        }
        if !is_actor_id(&claims.sub) {
            return Err(TokenError::Subject);
        }
        Ok(Actor {
            tenant_id: claims.tenant,
            id: claims.sub,
            kind: claims.kind,
            roles: claims.roles,
            technician_id: claims.technician_id,
        })
    }
}
