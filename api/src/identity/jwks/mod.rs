//! The keys that an issuer publishes (RFC 7517), fetched when they are needed and kept.

mod fetch;
mod jwk;
mod roca;
mod set;
mod source;

use contracts::Slug;

#[cfg(test)]
pub(super) use self::source::PATIENCE;
pub use self::{
    fetch::{FetchError, KeysAt},
    set::SetError,
};
pub(super) use self::{
    set::KeySet,
    source::{KeySource, waiting_for_each},
};
use super::IssuerConfig;

/// What was found at an issuer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The issuer's name here.
    pub name: Slug,
    /// Keys that can be used with the issuer's algorithm.
    pub keys: usize,
    /// What is wrong with keys that could not, one sentence each.
    pub refused: Vec<&'static str>,
}

/// Looks whether an issuer's keys can be fetched and used. For an operator, not for requests.
pub async fn look(config: &IssuerConfig) -> Result<Found, FetchError> {
    let (document, _) = fetch::Fetcher::new(config)?.fetch().await?;
    let set = KeySet::parse(&document, config.algorithm)?;
    Ok(Found {
        name: config.name.clone(),
        keys: set.len(),
        refused: set.refused().to_vec(),
    })
}
