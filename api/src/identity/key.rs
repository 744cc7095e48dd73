//! A key, bound to the one algorithm that it may be used with.

use std::fmt;

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What an issuer with published keys may sign with. There is no HMAC here on purpose: a secret is
/// never fetched.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::AsRefStr,
)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 4096 bits.
    #[serde(rename = "RS256")]
    #[strum(to_string = "RS256")]
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    #[strum(to_string = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    #[strum(to_string = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    pub(super) fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// Which key it is, whatever it is called: a hash of algorithm and key.
pub(super) type KeyId = [u8; 32];

/// A key that checks signatures.
#[derive(Clone)]
pub(super) struct Key {
    id: KeyId,
    algorithm: jsonwebtoken::Algorithm,
    name: String,
    decoding: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

impl Key {
    /// A shared secret for HS256. Its length is the caller's to check.
    pub(super) fn secret(secret: &[u8]) -> Self {
        Self::new(
            "HS256",
            jsonwebtoken::Algorithm::HS256,
            DecodingKey::from_secret(secret),
            &[secret],
        )
    }

    /// A public key, made of these parts.
    pub(super) fn public(algorithm: Algorithm, decoding: DecodingKey, parts: &[&[u8]]) -> Self {
        Self::new(algorithm.as_ref(), algorithm.of_library(), decoding, parts)
    }

    fn new(
        name: &str,
        algorithm: jsonwebtoken::Algorithm,
        decoding: DecodingKey,
        parts: &[&[u8]],
    ) -> Self {
        let mut hash = Sha256::new_with_prefix(name);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self {
            id: hash.finalize().into(),
            algorithm,
            name: name.to_owned(),
            decoding,
        }
    }

    pub(super) fn id(&self) -> &KeyId {
        &self.id
    }

    /// As `alg` writes it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn algorithm(&self) -> jsonwebtoken::Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}
