//! Every vector of Project Wycheproof about JSON web signatures and keys, through the code that
//! tokens go through once their issuer is chosen (the vectors name none): the compact form, the set
//! of published keys, the key that `kid` names, the signature.

use std::collections::BTreeSet;

use super::{super::compact::Compact, super::jwks::KeySet, super::key::Key, *};

const SIGNATURES: &str = include_str!("../../../tests/vectors/json_web_signature_test.json");
const KEYS: &str = include_str!("../../../tests/vectors/json_web_key_test.json");
const BOTH: &str = include_str!("../../../tests/vectors/json_web_crypto_test.json");

/// Two vectors of [`SIGNATURES`] are valid to a reader that passes over letters outside of the
/// alphabet (RFC 2045). Ours does not: one token has one text.
const LENIENT_BASE64: [u64; 2] = [372, 373];

#[derive(Debug, Default)]
struct Outcome {
    accepted: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// Valid, and refused on purpose.
    declined: BTreeSet<u64>,
    /// Called invalid, and letter for letter a valid one of the same key.
    misprinted: BTreeSet<u64>,
}

/// The algorithm that an issuer with these keys would be pinned to; the token's own where the keys
/// say nothing, which is the best that an attacker could wish for.
fn pinned(keys: &Value, token: &str) -> Option<Algorithm> {
    let named = |value: &Value| serde_json::from_value(value.clone()).ok();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok();
    let header: Option<Value> = header.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match keys.get("alg") {
        Some(alg) => named(alg),
        None => named(header?.get("alg")?),
    }
}

/// Whether our code takes the token as signed by these keys.
fn is_accepted(keys: &Value, token: &str) -> bool {
    let Ok(token_read) = Compact::parse(token) else {
        return false;
    };
    // A single symmetric key is what our own issuer has; it comes from the configuration.
    if keys["kty"] == "oct" {
        let secret = URL_SAFE_NO_PAD.decode(keys["k"].as_str().unwrap()).unwrap();
        let usable = keys["alg"] == "HS256" && secret.len() >= MIN_SECRET_BYTES;
        return usable && token_read.is_signed_by(&Key::secret(&secret));
    }
    let Some(algorithm) = pinned(keys, token) else {
        return false;
    };
    let set = match keys.get("keys") {
        Some(_) => keys.clone(),
        None => json!({ "keys": [keys] }),
    };
    KeySet::parse(&set, algorithm)
        .ok()
        .and_then(|set| set.find(token_read.kid()))
        .is_some_and(|key| token_read.is_signed_by(&key))
}

fn run(vectors: &str) -> Outcome {
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let mut outcome = Outcome::default();
    for group in vectors["testGroups"].as_array().unwrap() {
        let keys = group.get("public").unwrap_or(&group["private"]);
        let vectors = group["tests"].as_array().unwrap();
        let is_valid = |vector: &Value| vector["result"] == "valid" && vector.get("jws").is_some();
        for vector in vectors {
            let id = vector["tcId"].as_u64().unwrap();
            let token = vector.get("jws").or(vector.get("jwe")).unwrap();
            let token = token.as_str().map_or(token.to_string(), str::to_owned);
            let what = format!("{} {}: {token}", group["comment"], vector["comment"]);
            let set = match (is_accepted(keys, &token), is_valid(vector)) {
                (true, true) => &mut outcome.accepted,
                (false, false) => &mut outcome.refused,
                (false, true) => &mut outcome.declined,
                (true, false) => {
                    let same = |other: &Value| is_valid(other) && other["jws"] == vector["jws"];
                    assert!(vectors.iter().any(same), "accepted: {what}");
                    &mut outcome.misprinted
                }
            };
            set.insert(id);
        }
    }
    let sets = [
        &outcome.accepted,
        &outcome.refused,
        &outcome.declined,
        &outcome.misprinted,
    ];
    let seen: usize = sets.iter().map(|set| set.len()).sum();
    assert_eq!(Some(seen as u64), vectors["numberOfTests"].as_u64());
    outcome
}

#[test]
fn of_the_signatures_those_are_accepted_that_are_ours() {
    let outcome = run(SIGNATURES);
    // HS256, ES256 and RS256, from the vectors and from RFC 7520.
    let accepted = [
        1, 18, 33, 259, 260, 261, 262, 263, 345, 348, 349, 352, 357, 358, 359, 376, 377, 378,
    ];
    assert_eq!(outcome.accepted, accepted.into());
    // RS384, RS512, PS256, PS384, PS512 and ES512, which no issuer can be pinned to.
    let other_algorithms = [
        264..=275,
        287..=288,
        320..=323,
        325..=328,
        346..=347,
        350..=351,
    ];
    let declined: BTreeSet<u64> = other_algorithms
        .into_iter()
        .flatten()
        .chain(LENIENT_BASE64)
        .collect();
    assert_eq!(outcome.declined, declined);
    // Both say that their padding is wrong, and have none: they are vector 357.
    assert_eq!(outcome.misprinted, [367, 370].into());
    assert_eq!(outcome.refused.len(), 353);
}

#[test]
fn of_the_sets_those_are_accepted_that_publish_no_secret() {
    let outcome = run(KEYS);
    assert_eq!(outcome.accepted, [5].into());
    // Symmetric keys are never taken from a set.
    assert_eq!(outcome.declined, [2, 13, 14, 15].into());
    assert_eq!(outcome.misprinted, [].into());
    assert_eq!(outcome.refused.len(), 21);
}

#[test]
fn nothing_encrypted_is_a_token() {
    let outcome = run(BOTH);
    assert_eq!(outcome.accepted, [1, 18, 33].into());
    assert_eq!(outcome.declined, [48].into());
    assert_eq!(outcome.misprinted, [].into());
    assert_eq!(outcome.refused.len(), 79);
}
