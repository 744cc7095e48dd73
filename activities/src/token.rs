//! Tokens of the workflows' actors: one actor per tenant, short-lived tokens minted on demand.
//!
//! The kind is `workflow` and the roles are empty, so whatever the policy says, dispatch-api lets
//! such a caller do bookkeeping only.

use std::{collections::BTreeSet, fmt, sync::Arc, time::SystemTime};

use client::{TokenError, TokenProvider};
use contracts::{
    ActorKind, TenantId,
    actor::{TokenClaims, workflow_actor_id},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

/// A token is used at once; this covers a slow network and clocks that differ a little.
const LIFETIME_SECONDS: i64 = 300;
/// How far dispatch-api's clock may be behind ours.
const LEEWAY_SECONDS: i64 = 30;

/// Mints tokens for the workflows of any tenant from the shared secret.
#[derive(Clone)]
pub struct TokenSource(Arc<Shared>);

struct Shared {
    key: EncodingKey,
    issuer: String,
    audience: String,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("issuer", &self.0.issuer)
            .field("audience", &self.0.audience)
            .finish_non_exhaustive()
    }
}

impl TokenSource {
    /// Signs with HS256; secret, issuer and audience are those that dispatch-api checks.
    pub fn new(secret: &[u8], issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self(Arc::new(Shared {
            key: EncodingKey::from_secret(secret),
            issuer: issuer.into(),
            audience: audience.into(),
        }))
    }

    pub(crate) fn of(&self, tenant: TenantId) -> TenantTokens {
        TenantTokens {
            source: self.clone(),
            tenant,
        }
    }

    fn mint(&self, tenant: TenantId, now: i64) -> Result<String, TokenError> {
        let claims = TokenClaims {
            iss: self.0.issuer.clone(),
            aud: self.0.audience.clone(),
            sub: workflow_actor_id(tenant),
            iat: now,
            nbf: now - LEEWAY_SECONDS,
            exp: now + LIFETIME_SECONDS,
            tenant,
            kind: ActorKind::Workflow,
            roles: BTreeSet::new(),
            technician_id: None,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0.key)
            .map_err(|error| TokenError(format!("it cannot be signed: {error}")))
    }
}

/// Tokens of one tenant's workflows.
#[derive(Debug)]
pub(crate) struct TenantTokens {
    source: TokenSource,
    tenant: TenantId,
}

impl TokenProvider for TenantTokens {
    fn token(&self) -> Result<String, TokenError> {
        let now = SystemTime::UNIX_EPOCH
            .elapsed()
            .map_err(|_| TokenError("this machine's clock is before 1970; set it".into()))?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX / 2);
        self.source.mint(self.tenant, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};
    use uuid::Uuid;

    #[test]
    fn a_token_names_the_tenants_workflow_and_no_role() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(7));
        let secret = b"a secret of more than thirty-two bytes";
        let source = TokenSource::new(secret, "issuer", "audience");
        let token = source.of(tenant).token().unwrap();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&["issuer"]);
        validation.set_audience(&["audience"]);
        validation.validate_nbf = true;
        let key = DecodingKey::from_secret(secret);
        let claims = jsonwebtoken::decode::<TokenClaims>(&token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims.sub, workflow_actor_id(tenant));
        assert_eq!((claims.tenant, claims.kind), (tenant, ActorKind::Workflow));
        assert!(claims.roles.is_empty());
        assert!(!format!("{source:?}").contains("secret of more"));
    }
}
