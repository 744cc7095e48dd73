//! A set of published keys, of which the usable ones are kept.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    super::{Algorithm, key::Key},
    jwk::{self, Read},
};

/// Why a set is not used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SetError {
    #[error("it is no set of keys: an object with a list `keys`")]
    Form,
    #[error(
        "it publishes a secret (a private or symmetric key): whoever read it can sign; the provider \
         has to replace its keys"
    )]
    Secret,
    #[error("two of its keys that could be used have the same `kid`, or a `kid` is no text")]
    Ambiguous,
    #[error("none of its keys can be used with the issuer's algorithm")]
    Empty,
}

/// The usable keys of an issuer: never none.
#[derive(Debug)]
pub(in super::super) struct KeySet {
    keys: BTreeMap<Option<String>, Arc<Key>>,
    refused: Vec<&'static str>,
}

impl KeySet {
    /// Reads a set for this algorithm. A key for something else is passed over, as RFC 7517 §5 says;
    /// one that is unfit is passed over and told; a set that cannot be meant is refused as a whole.
    pub(in super::super) fn parse(
        document: &Value,
        algorithm: Algorithm,
    ) -> Result<Self, SetError> {
        let list = document.get("keys").and_then(Value::as_array);
        let mut set = Self {
            keys: BTreeMap::new(),
            refused: Vec::new(),
        };
        for item in list.ok_or(SetError::Form)? {
            let Value::Object(item) = item else {
                return Err(SetError::Form);
            };
            match jwk::read(item, algorithm) {
                Read::Usable(key) => {
                    let kid = match item.get("kid") {
                        None => None,
                        Some(Value::String(kid)) => Some(kid.clone()),
                        Some(_) => return Err(SetError::Ambiguous),
                    };
                    if set.keys.insert(kid, Arc::from(key)).is_some() {
                        return Err(SetError::Ambiguous);
                    }
                }
                Read::Other => {}
                Read::Unfit(reason) => set.refused.push(reason),
                Read::Secret => return Err(SetError::Secret),
            }
        }
        match set.keys.is_empty() {
            true => Err(SetError::Empty),
            false => Ok(set),
        }
    }

    /// The key of this name; without a name the only one there is.
    pub(in super::super) fn find(&self, kid: Option<&str>) -> Option<Arc<Key>> {
        match kid {
            Some(kid) => self.keys.get(&Some(kid.to_owned())).cloned(),
            None if self.keys.len() == 1 => self.keys.values().next().cloned(),
            None => None,
        }
    }

    /// How many keys can be used.
    pub(in super::super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What is wrong with those that cannot.
    pub(in super::super) fn refused(&self) -> &[&'static str] {
        &self.refused
    }
}
