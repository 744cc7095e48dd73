//! What a token claims, read strictly: no name twice, no value of another type than expected.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::TokenError;
use crate::request::json;

const MAX_DEPTH: usize = 16;

/// Where an issuer puts something: the name of a claim, or, beginning with `/`, a JSON pointer
/// (RFC 6901) into nested ones. `https://example.com/roles` is a name, `/realm_access/roles` a
/// pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimName(String);

impl ClaimName {
    /// A name or a pointer.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

/// A token's claims. Whether they are true, nobody has checked yet.
#[derive(Debug)]
pub(super) struct Claims(Value);

impl Claims {
    /// Reads a payload: one JSON object.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, TokenError> {
        match json::parse(payload, MAX_DEPTH) {
            Ok(claims @ Value::Object(_)) => Ok(Self(claims)),
            _ => Err(TokenError::Malformed),
        }
    }

    /// What `iss` says.
    pub(super) fn issuer(&self) -> Result<&str, TokenError> {
        self.text(&ClaimName::new("iss"))?.ok_or(TokenError::Claims)
    }

    /// All claims as this type.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, TokenError> {
        serde_json::from_value(self.0).map_err(|_| TokenError::Claims)
    }

    /// A claim.
    pub(super) fn at(&self, name: &ClaimName) -> Option<&Value> {
        match name.0.starts_with('/') {
            true => self.0.pointer(&name.0),
            false => self.0.get(&name.0),
        }
    }

    /// A claim that has to be text where it is.
    pub(super) fn text(&self, name: &ClaimName) -> Result<Option<&str>, TokenError> {
        match self.at(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Claims),
        }
    }

    /// A moment in whole seconds since the epoch; nobody issues fractions.
    pub(super) fn instant(&self, name: &str) -> Result<Option<i64>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(seconds) if seconds >= 0 => Ok(Some(seconds)),
                _ => Err(TokenError::Claims),
            },
        }
    }

    /// Whether there is such a claim.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// Several words: a list of texts, or one text with blanks between them (RFC 6749 §3.3).
    pub(super) fn words(&self, name: &ClaimName) -> Result<Vec<&str>, TokenError> {
        match self.at(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text.split(' ').collect()),
            Some(list) => texts(list),
        }
    }

    /// Whom the token is for: a text or a list of them.
    pub(super) fn audiences(&self) -> Result<Vec<&str>, TokenError> {
        match self.0.get("aud") {
            None => Err(TokenError::Claims),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(list) => texts(list),
        }
    }
}

fn texts(list: &Value) -> Result<Vec<&str>, TokenError> {
    let items = list.as_array().ok_or(TokenError::Claims)?;
    items
        .iter()
        .map(|item| item.as_str().ok_or(TokenError::Claims))
        .collect()
}
