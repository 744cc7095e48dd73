//! A token taken apart: JWS compact serialisation (RFC 7515 §3.1), and nothing else.
//!
//! Exactly three parts in base64url without padding, line ends or spare bits; a header that is one
//! JSON object with no name twice. Of the header only `alg`, `kid` and `typ` are read, and none of
//! them chooses anything by itself: `alg` has to be the issuer's, `kid` has to name one of its keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::crypto;
use serde_json::{Map, Value};

use super::{TokenError, key::Key};
use crate::request::json;

/// What fits in a request's head, with room for other headers.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
const MAX_KID_BYTES: usize = 256;
/// An embedded key, which nobody looks at, nests no deeper.
const MAX_DEPTH: usize = 8;
/// Header members that change what the other parts mean. None is understood here.
const REFUSED: [&str; 4] = ["crit", "b64", "enc", "zip"];
/// What a token of ours may call itself (RFC 7519 §5.1, RFC 9068 §2.1). An ID token or a logout
/// token with a type of its own is not for us.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// A token whose signature nobody has checked yet.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    signed: &'a str,
    signature: &'a str,
    alg: String,
    kid: Option<String>,
    payload: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        if signature.is_empty() {
            return Err(TokenError::Signature);
        }
        let Value::Object(members) =
            json::parse(&decode(header)?, MAX_DEPTH).map_err(|_| TokenError::Malformed)?
        else {
            return Err(TokenError::Malformed);
        };
        if REFUSED.iter().any(|name| members.contains_key(*name)) {
            return Err(TokenError::Malformed);
        }
        let kid = text(&members, "kid")?;
        if kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID_BYTES) {
            return Err(TokenError::Malformed);
        }
        let typ = text(&members, "typ")?.map(str::to_ascii_lowercase);
        if typ.is_some_and(|typ| !TYPES.contains(&typ.as_str())) {
            return Err(TokenError::Malformed);
        }
        Ok(Self {
            signed: &token[..header.len() + 1 + payload.len()],
            signature,
            alg: text(&members, "alg")?
                .ok_or(TokenError::Malformed)?
                .to_owned(),
            kid: kid.map(str::to_owned),
            payload: decode(payload)?,
        })
    }

    /// The bytes that are signed, decoded.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Which of its issuer's keys the token says it is signed with.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether it names this algorithm: the issuer's, or the token is refused.
    pub(super) fn names(&self, algorithm: &str) -> bool {
        self.alg == algorithm
    }

    /// Whether this key signed it, by the algorithm that the key is for.
    pub(super) fn is_signed_by(&self, key: &Key) -> bool {
        self.names(key.name())
            && crypto::verify(
                self.signature,
                self.signed.as_bytes(),
                key.decoding(),
                key.algorithm(),
            )
            .is_ok_and(|good| good)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, TokenError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Malformed),
    }
}
