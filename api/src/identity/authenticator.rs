//! The one way from a bearer credential to an actor.

use std::{collections::HashMap, fmt, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{Actor, TenantId};

use super::{
    KeyDirectory, Refusal, Scopes, TokenError, WeakSecret,
    api_key::{ApiKeys, is_key},
    claims::Claims,
    compact::Compact,
    issuer::{Issuer, IssuerError},
    jwks::waiting_for_each,
    own::OwnIssuer,
    verified::Verified,
};
use crate::config::TokenConfig;

/// Why nobody could be authenticated with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The shared secret is too short.
    #[error(transparent)]
    Secret(#[from] WeakSecret),
    /// An issuer is configured in a way that means nothing, or too much.
    #[error("the issuer {name}: {error}")]
    Issuer {
        /// Its name in the configuration.
        name: String,
        /// What is wrong with it.
        error: Box<IssuerError>,
    },
}

/// Who calls, and how far the credential goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub actor: Actor,
    /// What the credential is good for, of what they may do.
    pub scopes: Scopes,
    /// The API key that it was, if it was one.
    pub key: Option<KeyOfCall>,
}

/// What may be told of the key that somebody calls with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOfCall {
    /// The part of it that may be shown.
    pub prefix: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// The tenant that a request names beside its credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedTenant {
    /// None.
    None,
    /// This one.
    One(TenantId),
    /// It is no tenant's id, or there is more than one.
    Unreadable,
}

/// Knows who calls. A credential is a token of one of the issuers or an API key; they are told apart
/// by their form here, before anything is asked of anybody.
pub struct Authenticator {
    own: OwnIssuer,
    keys: Option<ApiKeys>,
    others: HashMap<String, Issuer>,
    verified: Verified,
    leeway: TimeDelta,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Trusts these issuers. Asks nothing of them yet. With issuers beside our own the process has
    /// to have chosen its TLS implementation before.
    pub fn new(config: &TokenConfig) -> Result<Self, IdentityError> {
        let own = OwnIssuer::new(config)?;
        let mut others: HashMap<String, Issuer> = HashMap::new();
        for given in &config.issuers {
            let refused = |error| IdentityError::Issuer {
                name: given.name.to_string(),
                error: Box::new(error),
            };
            if given.issuer == own.issuer() || others.contains_key(&given.issuer) {
                return Err(refused(IssuerError::SameIssuer));
            }
            if others.values().any(|known| *known.name() == given.name) {
                return Err(refused(IssuerError::SameName));
            }
            let waiting = waiting_for_each(config.issuers.len());
            let issuer = Issuer::new(given, waiting).map_err(refused)?;
            others.insert(given.issuer.clone(), issuer);
        }
        Ok(Self {
            own,
            keys: None,
            others,
            verified: Verified::new(),
            leeway: TimeDelta::from_std(config.leeway).unwrap_or(TimeDelta::zero()),
        })
    }

    /// Knows API keys, too.
    #[must_use]
    pub fn with_keys(mut self, directory: Arc<dyn KeyDirectory>) -> Self {
        self.keys = Some(ApiKeys::new(directory));
        self
    }

    /// Who a credential stands for, and how far it goes; `named` is the tenant that the request names
    /// beside it.
    pub async fn identify(
        &self,
        credential: &str,
        named: NamedTenant,
        now: DateTime<Utc>,
    ) -> Result<Identity, Refusal> {
        if is_key(credential) {
            let keys = self.keys.as_ref().ok_or(TokenError::UnknownKey)?;
            return keys.identify(credential, named, now).await;
        }
        let actor = self.authenticate(credential, now).await?;
        match named {
            NamedTenant::None => Ok(Identity {
                actor,
                scopes: Scopes::ALL,
                key: None,
            }),
            NamedTenant::One(_) | NamedTenant::Unreadable => Err(Refusal::NamesTenant),
        }
    }

    /// The actor that a token stands for. Waits for an issuer's keys when they are not at hand.
    pub async fn authenticate(
        &self,
        credential: &str,
        now: DateTime<Utc>,
    ) -> Result<Actor, Refusal> {
        let token = Compact::parse(credential)?;
        let claims = Claims::parse(token.payload())?;
        let issuer = claims.issuer()?;
        if issuer == self.own.issuer() {
            return Ok(self.own.actor(&token, claims, now, self.leeway)?);
        }
        let issuer = self.others.get(issuer).ok_or(TokenError::Issuer)?;
        if !token.names(issuer.algorithm().as_ref()) {
            return Err(TokenError::Signature.into());
        }
        let key = issuer.keys().key(token.kid(), now).await?;
        if !self.verified.is_signed_by(credential, &token, &key) {
            return Err(TokenError::Signature.into());
        }
        Ok(issuer.actor(&claims, now, self.leeway)?)
    }
}
