//! Bearer tokens: JSON Web Tokens (RFC 7519) signed with HS256 and one shared secret.
//!
//! The verifier follows RFC 8725: the algorithm is fixed here and not taken from the token, every
//! claim that we rely on must be there and of the right type, and a token that names a critical
//! extension, lives absurdly long or comes from the future is refused. Key material that a token
//! points to or brings along (`jku`, `jwk`, `x5u`, `kid`) is never looked at.

use std::fmt;

use chrono::{DateTime, Utc};
use contracts::{
    Actor,
    actor::{TokenClaims, is_actor_id},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind,
};

use crate::config::TokenConfig;

/// Shortest secret that is taken: RFC 7518 §3.2 wants 256 bits for HS256.
pub const MIN_SECRET_BYTES: usize = 32;
/// Longest life of a token, in seconds: 366 days.
pub const MAX_LIFETIME_SECONDS: i64 = 366 * 86_400;
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The secret is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token secret has {0} bytes, HS256 needs at least {MIN_SECRET_BYTES}; `openssl rand -hex 32` makes one"
)]
pub struct WeakSecret(pub usize);

/// Signs claims.
pub fn mint(secret: &str, claims: &TokenClaims) -> Result<String, WeakSecret> {
    let key = EncodingKey::from_secret(strong(secret)?);
    let token = encode(&Header::new(Algorithm::HS256), claims, &key);
    Ok(token.expect("claims of strings and numbers serialise, and HMAC takes every key"))
}

fn strong(secret: &str) -> Result<&[u8], WeakSecret> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(WeakSecret(secret.len()));
    }
    Ok(secret.as_bytes())
}

/// Why a token is refused; the text is for `error_description` and says nothing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TokenError {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token was issued by somebody else")]
    Issuer,
    #[error("the token was issued for somebody else")]
    Audience,
    #[error("the token is not signed as expected")]
    Signature,
    #[error("the token lacks a claim or has one of the wrong form")]
    Claims,
    #[error(
        "the token's sub is not an opaque id: 1 to 128 characters A-Z, a-z, 0-9, dot, underscore, colon or hyphen"
    )]
    Subject,
    #[error("the token is malformed")]
    Malformed,
}

/// Checks tokens.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// Refuses a secret that is too short.
    pub fn new(config: &TokenConfig) -> Result<Self, WeakSecret> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = config.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        Ok(Self {
            key: DecodingKey::from_secret(strong(config.secret.expose())?),
            validation,
        })
    }

    /// The caller that a token stands for.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Actor, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let data = decode::<TokenClaims>(token, &self.key, &self.validation)
            .map_err(|error| classify(error.kind()))?;
        if data.header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let claims = data.claims;
        let latest = now
            .timestamp()
            .saturating_add_unsigned(self.validation.leeway);
        if claims.iat > latest {
            return Err(TokenError::NotYetValid);
        }
        let lifetime = claims.exp.saturating_sub(claims.iat);
        if !(1..=MAX_LIFETIME_SECONDS).contains(&lifetime) {
            return Err(TokenError::Claims);
        }
        if !is_actor_id(&claims.sub) {
            return Err(TokenError::Subject);
        }
        Ok(Actor {
            tenant_id: claims.tenant,
            id: claims.sub,
            kind: claims.kind,
            roles: claims.roles,
            technician_id: claims.technician_id,
        })
    }
}

fn classify(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYetValid,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidSignature
        | ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm => TokenError::Signature,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => TokenError::Claims,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use contracts::{ActorKind, Role, TenantId};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::config::Secret;

    pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

    pub(crate) fn config() -> TokenConfig {
        TokenConfig {
            secret: Secret::new(SECRET),
            issuer: "issuer".into(),
            audience: "audience".into(),
            leeway: Duration::from_secs(5),
        }
    }

    pub(crate) fn claims(now: DateTime<Utc>) -> TokenClaims {
        TokenClaims {
            iss: "issuer".into(),
            aud: "audience".into(),
            sub: "usr_1".into(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: now.timestamp() + 600,
            tenant: TenantId::from_uuid(Uuid::from_u128(7)),
            kind: ActorKind::Person,
            roles: [Role::Dispatcher].into(),
            technician_id: None,
        }
    }

    fn verify(token: &str, now: DateTime<Utc>) -> Result<Actor, TokenError> {
        Verifier::new(&config()).unwrap().verify(token, now)
    }

    fn signed(header: &Value, claims: &str) -> String {
        use jsonwebtoken::crypto::sign;
        let part = |text: &str| base64_url(text.as_bytes());
        let message = format!("{}.{}", part(&header.to_string()), part(claims));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    fn base64_url(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let word = chunk
                .iter()
                .fold(0u32, |word, byte| word << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for i in 0..=chunk.len() {
                text.push(ALPHABET[(word >> (18 - 6 * i)) as usize & 63] as char);
            }
        }
        text
    }

    #[test]
    fn a_minted_token_names_its_actor() {
        let now = Utc::now();
        let actor = verify(&mint(SECRET, &claims(now)).unwrap(), now).unwrap();
        assert_eq!(
            (actor.id.as_str(), actor.kind),
            ("usr_1", ActorKind::Person)
        );
    }

    #[test]
    fn each_claim_is_checked() {
        let now = Utc::now();
        let t = now.timestamp();
        type Change = fn(&mut TokenClaims, i64);
        let cases: [(Change, TokenError); 11] = [
            (
                |c, t| (c.iat, c.exp) = (t - 600, t - 6),
                TokenError::Expired,
            ),
            (|c, t| c.nbf = t + 60, TokenError::NotYetValid),
            (|c, t| c.iat = t + 60, TokenError::NotYetValid),
            (|c, _| c.iss = "other".into(), TokenError::Issuer),
            (|c, _| c.aud = "other".into(), TokenError::Audience),
            (|c, _| c.sub = String::new(), TokenError::Subject),
            (|c, _| c.sub = "two words".into(), TokenError::Subject),
            (
                |c, _| c.sub = "anna@example.test".into(),
                TokenError::Subject,
            ),
            (|c, _| c.sub = "x".repeat(129), TokenError::Subject),
            (|c, _| c.exp = i64::MAX, TokenError::Claims),
            (
                |c, t| c.exp = t + MAX_LIFETIME_SECONDS + 1,
                TokenError::Claims,
            ),
        ];
        for (i, (change, expected)) in cases.into_iter().enumerate() {
            let mut claims = claims(now);
            change(&mut claims, t);
            let token = mint(SECRET, &claims).unwrap();
            assert_eq!(verify(&token, now), Err(expected), "case {i}");
        }
    }

    #[test]
    fn the_token_does_not_choose_how_it_is_checked() {
        let now = Utc::now();
        let body = serde_json::to_string(&claims(now)).unwrap();
        assert!(verify(&signed(&json!({"alg": "HS256"}), &body), now).is_ok());
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS512"}),
            json!({"alg": "RS256"}),
            json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
            json!({}),
        ] {
            assert!(verify(&signed(&header, &body), now).is_err(), "{header}");
        }
        let other = mint(&"x".repeat(32), &claims(now)).unwrap();
        assert_eq!(verify(&other, now), Err(TokenError::Signature));
        for garbage in ["", "a.b.c", "..", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(verify(garbage, now).is_err());
        }
    }

    #[test]
    fn claims_of_another_form_are_refused() {
        let now = Utc::now();
        let good = serde_json::to_value(claims(now)).unwrap();
        let header = json!({"alg": "HS256"});
        for name in ["iss", "aud", "sub", "iat", "nbf", "exp", "tenant", "kind"] {
            let mut missing = good.clone();
            missing.as_object_mut().unwrap().remove(name);
            assert!(
                verify(&signed(&header, &missing.to_string()), now).is_err(),
                "no {name}"
            );
        }
        for (name, value) in [
            ("exp", json!(good["exp"].to_string())),
            ("exp", json!(1.0e300)),
            ("exp", json!(u64::MAX)),
            ("aud", json!(["audience", "other"])),
            ("roles", json!(["emperor"])),
            ("kind", json!("root")),
            ("tenant", json!("7")),
        ] {
            let mut odd = good.clone();
            odd[name] = value;
            assert!(
                verify(&signed(&header, &odd.to_string()), now).is_err(),
                "{odd}"
            );
        }
        let twice = good.to_string().replacen('{', r#"{"sub":"usr_2","#, 1);
        assert!(verify(&signed(&header, &twice), now).is_err());
    }

    #[test]
    fn a_short_secret_signs_and_checks_nothing() {
        assert_eq!(mint("short", &claims(Utc::now())), Err(WeakSecret(5)));
        let config = TokenConfig {
            secret: Secret::new("short"),
            ..config()
        };
        assert_eq!(Verifier::new(&config).unwrap_err(), WeakSecret(5));
    }
}
