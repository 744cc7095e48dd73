//! One published key, and whether it can be used.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, crypto};
use serde_json::{Map, Value};

use super::{
    super::{Algorithm, key::Key},
    roca,
};

const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// FIPS 186-5 §5.4: odd and more than 2^16. With an exponent of 1 everything is its own signature.
const RSA_EXPONENT: std::ops::RangeInclusive<u64> = 65_537..=0xffff_ffff;
/// Members that only the owner of a key may know.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What became of a key of a set.
#[derive(Debug)]
pub(super) enum Read {
    /// It can be used.
    Usable(Box<Key>),
    /// It is for something else.
    Other,
    /// It would be ours, but it is not fit for use.
    Unfit(&'static str),
    /// It holds what must not be published.
    Secret,
}

/// Reads a key for this algorithm.
pub(super) fn read(jwk: &Map<String, Value>, algorithm: Algorithm) -> Read {
    let word = |name: &str| jwk.get(name).and_then(Value::as_str);
    let kty = word("kty");
    if kty == Some("oct") || PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
        return Read::Secret;
    }
    let (kty_wanted, crv_wanted) = match algorithm {
        Algorithm::Rs256 => ("RSA", None),
        Algorithm::Es256 => ("EC", Some("P-256")),
        Algorithm::EdDsa => ("OKP", Some("Ed25519")),
    };
    let fits = |name: &str, wanted: &str| match jwk.get(name) {
        None => true,
        Some(value) => value.as_str() == Some(wanted),
    };
    let verifies = match jwk.get("key_ops") {
        None => true,
        Some(ops) => ops
            .as_array()
            .is_some_and(|ops| ops.iter().any(|op| op == "verify")),
    };
    if kty != Some(kty_wanted)
        || crv_wanted.is_some_and(|crv| word("crv") != Some(crv))
        || !fits("use", "sig")
        || !fits("alg", algorithm.as_ref())
        || !verifies
    {
        return Read::Other;
    }
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(word(name)?).ok();
    let made = match algorithm {
        Algorithm::Rs256 => rsa(bytes("n"), bytes("e")),
        Algorithm::Es256 => elliptic(bytes("x"), bytes("y")),
        Algorithm::EdDsa => edwards(bytes("x")),
    };
    match made {
        Ok(key) => Read::Usable(Box::new(key)),
        Err(reason) => Read::Unfit(reason),
    }
}

fn rsa(n: Option<Vec<u8>>, e: Option<Vec<u8>>) -> Result<Key, &'static str> {
    let (n, e) = n.zip(e).ok_or("an RSA key without `n` and `e`")?;
    let (n, e) = (without_zeros(&n), without_zeros(&e));
    let bits = n
        .first()
        .map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err("an RSA key below 2048 or above 4096 bits");
    }
    let exponent = match e.len() {
        0..=8 => e
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
        _ => u64::MAX,
    };
    if !RSA_EXPONENT.contains(&exponent) || exponent % 2 == 0 {
        return Err("an RSA key whose exponent is not odd and from 65537 to 2^32");
    }
    if roca::has_the_fingerprint(n) {
        return Err("an RSA key of a faulty generator (CVE-2017-15361)");
    }
    let decoding = DecodingKey::from_rsa_raw_components(n, e);
    Ok(Key::public(Algorithm::Rs256, decoding, &[n, e]))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn elliptic(x: Option<Vec<u8>>, y: Option<Vec<u8>>) -> Result<Key, &'static str> {
    let (x, y) = x.zip(y).ok_or("a P-256 key without `x` and `y`")?;
    if x.len() != 32 || y.len() != 32 {
        return Err("a P-256 key whose `x` or `y` is not of 32 bytes");
    }
    let text = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let decoding = DecodingKey::from_ec_components(&text(&x), &text(&y))
        .map_err(|_| "a P-256 key that cannot be read")?;
    can_be_used(Key::public(Algorithm::Es256, decoding, &[&x, &y]))
        .ok_or("a P-256 key that is no point of the curve")
}

fn edwards(x: Option<Vec<u8>>) -> Result<Key, &'static str> {
    let x = x.ok_or("an Ed25519 key without `x`")?;
    if x.len() != 32 {
        return Err("an Ed25519 key whose `x` is not of 32 bytes");
    }
    let decoding = DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(&x))
        .map_err(|_| "an Ed25519 key that cannot be read")?;
    can_be_used(Key::public(Algorithm::EdDsa, decoding, &[&x]))
        .ok_or("an Ed25519 key that is no point of the curve")
}

/// A key that is no point is found out when it is used first: with nothing, which it did not sign.
fn can_be_used(key: Key) -> Option<Key> {
    crypto::verify("", b"", key.decoding(), key.algorithm()).ok()?;
    Some(key)
}
