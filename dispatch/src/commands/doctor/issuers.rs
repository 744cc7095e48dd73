//! Issuers of tokens: can their keys be fetched, and is there one for their algorithm?

use api::{
    Secret, TokenConfig,
    identity::{Authenticator, Found, IssuerConfig, MIN_SECRET_BYTES, look},
};
use futures::future::join_all;

use super::Check;
use crate::{config::Settings, exit::chain, parts};

const PART: &str = "token issuers";

/// One check for each issuer beside our own; they are asked beside each other.
pub async fn check(settings: &Settings) -> Vec<Check> {
    let issuers = match parts::issuers(&settings.auth) {
        Ok(issuers) => issuers,
        Err(failure) => return vec![Check::ill(PART, failure.message, "correct `auth.issuers`")],
    };
    if issuers.is_empty() {
        return vec![Check::ok(
            PART,
            "none but our own (`auth.issuers` is empty)",
        )];
    }
    if let Err(error) = together(settings, &issuers) {
        return vec![Check::ill(PART, error, "correct `auth.issuers`")];
    }
    join_all(issuers.iter().map(keys)).await
}

/// What dispatch-api says of all of them, which each by itself does not show.
fn together(settings: &Settings, issuers: &[IssuerConfig]) -> Result<(), String> {
    let config = TokenConfig {
        // Ours is checked where it is used; here it is about the others.
        secret: Secret::new("-".repeat(MIN_SECRET_BYTES)),
        issuer: settings.auth.issuer.clone(),
        audience: settings.auth.audience.clone(),
        leeway: std::time::Duration::ZERO,
        issuers: issuers.to_vec(),
    };
    Authenticator::new(&config)
        .map(drop)
        .map_err(|error| chain(&error))
}

async fn keys(issuer: &IssuerConfig) -> Check {
    let part = format!("issuer {}", issuer.name);
    match look(issuer).await {
        Ok(found) => usable(part, issuer, &found),
        Err(error) => Check::ill(
            part,
            chain(&error),
            "check `issuer` (or `jwks_url`) and `algorithm` in `auth.issuers`, and whether this \
             machine reaches the provider",
        ),
    }
}

fn usable(part: String, issuer: &IssuerConfig, found: &Found) -> Check {
    let keys = format!(
        "{} of {}: {} {} key(s)",
        issuer.issuer, issuer.name, found.keys, issuer.algorithm
    );
    if !found.refused.is_empty() {
        return Check::ill(
            part,
            format!("{keys}; not usable: {}", found.refused.join("; ")),
            "let the provider replace those keys: what they sign is refused",
        );
    }
    if issuer.roles.is_empty() || issuer.claims.roles.is_none() {
        return Check::ill(
            part,
            format!("{keys}; nobody gets a role"),
            "say where it puts roles or groups (`claims.roles`) and what they mean (`roles`)",
        );
    }
    Check::ok(part, keys)
}
