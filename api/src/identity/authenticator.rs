//! The one way from a bearer credential to an actor.

use std::{collections::HashMap, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::Actor;

use super::{
    Refusal, TokenError, WeakSecret,
    claims::Claims,
    compact::Compact,
    issuer::{Issuer, IssuerError},
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

/// Knows who calls. A credential is a token of one of the issuers; whatever other kinds there will
/// be are told apart by their form here, before anything is asked of anybody.
pub struct Authenticator {
    own: OwnIssuer,
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
            let issuer = Issuer::new(given).map_err(refused)?;
            others.insert(given.issuer.clone(), issuer);
        }
        Ok(Self {
            own,
            others,
            verified: Verified::new(),
            leeway: TimeDelta::from_std(config.leeway).unwrap_or(TimeDelta::zero()),
        })
    }

    /// The actor that a credential stands for. Waits for an issuer's keys when they are not at hand.
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
