//! Bearer tokens: minted by `dispatch token`, `dispatch dev` and the demo.

use std::collections::BTreeSet;

use api::identity::MIN_SECRET_BYTES;
use chrono::{DateTime, TimeDelta, Utc};
use contracts::{ActorKind, Role, TechnicianId, TenantId, actor::TokenClaims};

use crate::{config::Auth, exit::Failure, secret::Secret};

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose rows.
    pub tenant: TenantId,
    /// A stable opaque id.
    pub sub: String,
    /// Person, agent, workflow or integration.
    pub kind: ActorKind,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// For a technician's token.
    pub technician: Option<TechnicianId>,
}

/// Mints tokens with the shared secret.
#[derive(Debug, Clone)]
pub struct Minter {
    secret: Secret,
    issuer: String,
    audience: String,
}

impl Minter {
    /// Takes the secret from the settings.
    pub fn new(auth: &Auth) -> Result<Self, Failure> {
        let secret = auth.jwt_secret.clone().ok_or_else(|| {
            Failure::usage(
                "no token secret: set DISPATCH_AUTH_JWT_SECRET (at least 32 bytes), the same as \
                 for dispatch-api; in the folder of a running `dispatch dev` it is found by itself",
            )
        })?;
        if secret.expose().len() < MIN_SECRET_BYTES {
            return Err(Failure::usage(format!(
                "`auth.jwt_secret` has {} bytes, HS256 needs at least {MIN_SECRET_BYTES}; \
                 `openssl rand -hex 32` makes one",
                secret.expose().len()
            )));
        }
        Ok(Self {
            secret,
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
        })
    }

    /// A token that is good from `now` for `ttl`.
    pub fn mint(
        &self,
        caller: &Caller,
        now: DateTime<Utc>,
        ttl: TimeDelta,
    ) -> Result<String, Failure> {
        let claims = TokenClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: caller.sub.clone(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: (now + ttl).timestamp(),
            tenant: caller.tenant,
            kind: caller.kind,
            roles: caller.roles.clone(),
            technician_id: caller.technician,
        };
        api::identity::mint(self.secret.expose(), &claims)
            .map_err(|error| Failure::failed(format!("cannot sign a token: {error}")))
    }
}

/// Reads a length of time such as `15m`, `1h`, `7d`.
pub fn parse_ttl(text: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("`{text}` is not a length of time such as 30s, 15m, 1h or 7d");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(seconds)
        .filter(|seconds| (1..=366 * 86_400).contains(seconds))
        .and_then(TimeDelta::try_seconds)
        .ok_or_else(|| format!("`{text}` must be from 1s to 366d"))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_minted_token_reads_back() {
        let auth = Auth {
            jwt_secret: Some(Secret::new("0".repeat(32))),
            ..Auth::default()
        };
        let caller = Caller {
            tenant: TenantId::from_uuid(Uuid::from_u128(1)),
            sub: "usr_1".into(),
            kind: ActorKind::Person,
            roles: [Role::Qa].into(),
            technician: None,
        };
        let token = Minter::new(&auth)
            .unwrap()
            .mint(&caller, Utc::now(), TimeDelta::hours(1))
            .unwrap();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&["real-dispatch"]);
        validation.set_audience(&["dispatch-api"]);
        let key = DecodingKey::from_secret("0".repeat(32).as_bytes());
        let claims = jsonwebtoken::decode::<TokenClaims>(&token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!((claims.tenant, claims.sub), (caller.tenant, caller.sub));
        assert_eq!(claims.exp - claims.iat, 3600);
    }

    #[test]
    fn a_short_secret_is_refused() {
        let auth = Auth {
            jwt_secret: Some(Secret::new("short")),
            ..Auth::default()
        };
        let failure = Minter::new(&auth).unwrap_err();
        assert!(
            failure.message.contains("at least 32"),
            "{}",
            failure.message
        );
        assert!(!failure.message.contains("short"), "{}", failure.message);
    }

    #[test]
    fn a_length_of_time_has_a_unit() {
        assert_eq!(parse_ttl("90s"), Ok(TimeDelta::seconds(90)));
        assert_eq!(parse_ttl("1h"), Ok(TimeDelta::hours(1)));
        for bad in ["", "1", "h", "0s", "1w", "-1h", "9999999999999d", "99999d"] {
            assert!(parse_ttl(bad).is_err(), "{bad}");
        }
    }
}
