//! Keys of bundles: who may sign them, and whose signature a process takes.
//!
//! Ed25519 only, as PEM. A key has an id (`kid`) that the signature names, so that an old and a new
//! key can be good at the same time.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::{error::BundleError, files::io};

const PUBLIC_KEY_BYTES: usize = 32;
const MAX_KID_BYTES: usize = 128;

/// The public keys whose signatures are good, by id. There is at least one.
#[derive(Clone)]
pub struct VerificationKeys(BTreeMap<String, DecodingKey>);

impl VerificationKeys {
    /// Takes ids and PEM texts (`-----BEGIN PUBLIC KEY-----`).
    pub fn from_pem<K: Into<String>, P: AsRef<[u8]>>(
        keys: impl IntoIterator<Item = (K, P)>,
    ) -> Result<Self, BundleError> {
        let mut known = BTreeMap::new();
        for (kid, pem) in keys {
            let kid = kid.into();
            check_kid(&kid)?;
            let key = DecodingKey::from_ed_pem(pem.as_ref())
                .ok()
                .filter(|key| {
                    key.try_get_as_bytes()
                        .is_ok_and(|bytes| bytes.len() == PUBLIC_KEY_BYTES)
                })
                .ok_or_else(|| {
                    refused(
                        &kid,
                        "it is no public ed25519 key in PEM; `openssl pkey -in key.pem -pubout` \
                         prints that of a private key",
                    )
                })?;
            if known.insert(kid.clone(), key).is_some() {
                return Err(refused(&kid, "there are two keys of this id"));
            }
        }
        if known.is_empty() {
            return Err(refused("", "there is no key: nothing could be verified"));
        }
        Ok(Self(known))
    }

    /// Takes ids and files with such texts.
    pub fn from_files<K: Into<String>, P: AsRef<Path>>(
        keys: impl IntoIterator<Item = (K, P)>,
    ) -> Result<Self, BundleError> {
        let mut texts = Vec::new();
        for (kid, path) in keys {
            let path = path.as_ref();
            texts.push((kid, fs::read(path).map_err(io(path))?));
        }
        Self::from_pem(texts)
    }

    /// The ids, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, kid: &str) -> Option<&DecodingKey> {
        self.0.get(kid)
    }

    /// The ids for a message.
    pub(crate) fn names(&self) -> String {
        let ids: Vec<_> = self.ids().map(|id| format!("`{id}`")).collect();
        ids.join(", ")
    }
}

impl fmt::Debug for VerificationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKeys({})", self.names())
    }
}

/// A private key with the id of its public half.
pub struct SigningKey {
    pub(crate) kid: String,
    pub(crate) key: EncodingKey,
}

impl SigningKey {
    /// Takes an id and a PEM text (`-----BEGIN PRIVATE KEY-----`).
    pub fn from_pem(kid: &str, pem: &[u8]) -> Result<Self, BundleError> {
        check_kid(kid)?;
        let key = EncodingKey::from_ed_pem(pem).map_err(|_| no_private_key(kid))?;
        Ok(Self {
            kid: kid.to_owned(),
            key,
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

pub(crate) fn no_private_key(kid: &str) -> BundleError {
    refused(
        kid,
        "it is no private ed25519 key in PEM; `openssl genpkey -algorithm ed25519 -out key.pem` \
         makes one",
    )
}

fn check_kid(kid: &str) -> Result<(), BundleError> {
    let plain = |c: char| c.is_ascii_graphic() && c != '`';
    if (1..=MAX_KID_BYTES).contains(&kid.len()) && kid.chars().all(plain) {
        Ok(())
    } else {
        Err(refused(
            &kid.escape_default().to_string(),
            "an id is 1 to 128 visible ASCII characters",
        ))
    }
}

fn refused(kid: &str, reason: &'static str) -> BundleError {
    BundleError::Key {
        kid: kid.to_owned(),
        reason,
    }
}
