//! An issuer of somebody else's, mostly an OpenID provider, and how far it is trusted.
//!
//! It speaks for the tenants, kinds and roles that the configuration gives it and for no others: a
//! provider of one tenant's people can make neither another tenant's people nor a workflow. Its
//! subjects are prefixed with its name here, so that nobody at one provider is somebody at another,
//! or a workflow, by having the same id.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Actor, ActorKind, Role, Slug, TechnicianId, TenantId, actor::is_actor_id,
    service_account::ACCOUNT_ACTOR,
};
use sha2::{Digest, Sha256};

use super::{
    Algorithm, ClaimName, TokenError,
    claims::Claims,
    jwks::{FetchError, KeySource, KeysAt},
};

/// Names that begin actor ids already.
const RESERVED: [&str; 3] = ["workflow", "key", ACCOUNT_ACTOR];
/// Begins a subject that was replaced by its hash.
const HASHED: &str = "sha256-";

/// How an issuer's tokens are checked, and what they may say.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// What it is called here: in logs, and before the ids of its actors. It stays for ever.
    pub name: Slug,
    /// What `iss` must be, letter by letter.
    pub issuer: String,
    /// `aud` must name one of these.
    pub audiences: Vec<String>,
    /// The one algorithm that it signs with.
    pub algorithm: Algorithm,
    /// Where its keys are.
    pub keys: KeysAt,
    /// Which tenants it speaks for.
    pub tenants: Tenants,
    /// Which kinds of actors it speaks for.
    pub kinds: BTreeSet<ActorKind>,
    /// The kind of whoever has none in their token.
    pub default_kind: ActorKind,
    /// What its roles or groups mean here; those that are not listed mean nothing.
    pub roles: BTreeMap<String, Vec<Role>>,
    /// Where in a token it puts what.
    pub claims: ClaimNames,
    /// How long a token may live.
    pub max_lifetime: Duration,
}

/// Which tenants an issuer speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// This one, whatever a token says.
    One(TenantId),
    /// Those that its claim names, by what it calls them.
    Named(BTreeMap<String, TenantId>),
    /// Any that its claim names by our id.
    Any,
}

/// Where in a token an issuer puts what.
#[derive(Debug, Clone)]
pub struct ClaimNames {
    /// A stable id of whoever it is.
    pub subject: ClaimName,
    /// The tenant.
    pub tenant: ClaimName,
    /// The kind of actor, in our words.
    pub kind: Option<ClaimName>,
    /// Roles or groups.
    pub roles: Option<ClaimName>,
    /// A technician's id, as we know it.
    pub technician: Option<ClaimName>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            subject: ClaimName::new("sub"),
            tenant: ClaimName::new("tenant"),
            kind: None,
            roles: None,
            technician: None,
        }
    }
}

/// What is wrong with an issuer's configuration.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum IssuerError {
    #[error("another issuer has the same `issuer`; tokens could not be told apart")]
    SameIssuer,
    #[error("another issuer has the same `name`; their actors could not be told apart")]
    SameName,
    #[error("`name` may not be one of {RESERVED:?}, which begin other actors' ids")]
    ReservedName,
    #[error("`issuer` is empty; it is what `iss` says in its tokens")]
    NoIssuer,
    #[error("`audiences` must name what `aud` says in tokens for this API, each not empty")]
    NoAudience,
    #[error("`kinds` must have `default_kind` in it")]
    DefaultKind,
    #[error("`tenants` is empty; name its tenants, or give it one with `tenant`")]
    NoTenant,
    #[error(
        "`roles` gives platform_admin, who turns every tenant, and the issuer speaks for its own \
         tenants only; give it `any_tenant`, or another role"
    )]
    Platform,
    #[error("its keys cannot be fetched like this")]
    Keys(#[from] FetchError),
}

/// Checks claims of one issuer.
pub(super) struct Issuer {
    config: IssuerConfig,
    keys: Arc<KeySource>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Issuer").field(&self.config.issuer).finish()
    }
}

impl Issuer {
    /// Refuses what would trust nobody, or more than was meant. So many requests may wait for its keys.
    pub(super) fn new(config: &IssuerConfig, waiting: usize) -> Result<Self, IssuerError> {
        if RESERVED.contains(&config.name.as_str()) {
            return Err(IssuerError::ReservedName);
        }
        if config.issuer.is_empty() {
            return Err(IssuerError::NoIssuer);
        }
        if config.audiences.is_empty() || config.audiences.iter().any(String::is_empty) {
            return Err(IssuerError::NoAudience);
        }
        if !config.kinds.contains(&config.default_kind) {
            return Err(IssuerError::DefaultKind);
        }
        if matches!(&config.tenants, Tenants::Named(named) if named.is_empty()) {
            return Err(IssuerError::NoTenant);
        }
        let any = matches!(config.tenants, Tenants::Any);
        let mut roles = config.roles.values().flatten();
        if !any && roles.any(|role| *role == Role::PlatformAdmin) {
            return Err(IssuerError::Platform);
        }
        Ok(Self {
            keys: Arc::new(KeySource::new(config, waiting)?),
            config: config.clone(),
        })
    }

    pub(super) fn name(&self) -> &Slug {
        &self.config.name
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.config.algorithm
    }

    pub(super) fn keys(&self) -> &Arc<KeySource> {
        &self.keys
    }

    /// The caller that claims of this issuer stand for, once they are known to be its.
    pub(super) fn actor(
        &self,
        claims: &Claims,
        now: DateTime<Utc>,
        leeway: TimeDelta,
    ) -> Result<Actor, TokenError> {
        let audiences = claims.audiences()?;
        if !audiences
            .iter()
            .any(|audience| self.config.audiences.iter().any(|ours| ours == audience))
        {
            return Err(TokenError::Audience);
        }
        self.check_times(claims, now.timestamp(), leeway.num_seconds())?;
        if claims.has("cnf") {
            // Bound to a key that the sender has to show (RFC 7800), which nobody asks for here:
            // taken as it is, whoever stole it could use it.
            return Err(TokenError::Claims);
        }
        Ok(Actor {
            tenant_id: self.tenant(claims)?,
            id: self.subject(claims)?,
            kind: self.kind(claims)?,
            roles: self.roles(claims)?,
            technician_id: self.technician(claims)?,
        })
    }

    /// Access tokens of OpenID providers have `exp` and `iat`, rarely `nbf`.
    fn check_times(&self, claims: &Claims, now: i64, leeway: i64) -> Result<(), TokenError> {
        let exp = claims.instant("exp")?.ok_or(TokenError::Claims)?;
        let (iat, nbf) = (claims.instant("iat")?, claims.instant("nbf")?);
        let begin = iat.or(nbf).ok_or(TokenError::Claims)?;
        // It ends on that second, not after it (RFC 7519 §4.1.4).
        if exp <= now - leeway {
            return Err(TokenError::Expired);
        }
        if begin.max(nbf.unwrap_or(begin)) > now + leeway {
            return Err(TokenError::NotYetValid);
        }
        let longest = self.config.max_lifetime.as_secs();
        match exp
            .checked_sub(begin)
            .and_then(|life| u64::try_from(life).ok())
        {
            Some(life) if (1..=longest).contains(&life) => Ok(()),
            _ => Err(TokenError::Claims),
        }
    }

    fn tenant(&self, claims: &Claims) -> Result<TenantId, TokenError> {
        let claimed = || {
            let text = claims.text(&self.config.claims.tenant)?;
            text.ok_or(TokenError::Claims)
        };
        match &self.config.tenants {
            Tenants::One(tenant) => Ok(*tenant),
            Tenants::Named(named) => named.get(claimed()?).copied().ok_or(TokenError::Tenant),
            Tenants::Any => claimed()?.parse().map_err(|_| TokenError::Claims),
        }
    }

    /// Prefixed. What is no actor id (`auth0|7f3…`, an address) is replaced by its hash, which is as
    /// stable and names nobody.
    fn subject(&self, claims: &Claims) -> Result<String, TokenError> {
        let given = claims.text(&self.config.claims.subject)?;
        let given = given
            .filter(|subject| !subject.is_empty())
            .ok_or(TokenError::Subject)?;
        let id = format!("{}:{given}", self.config.name);
        if is_actor_id(&id) && !given.starts_with(HASHED) {
            return Ok(id);
        }
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(given));
        Ok(format!("{}:{HASHED}{hash}", self.config.name))
    }

    fn kind(&self, claims: &Claims) -> Result<ActorKind, TokenError> {
        let claimed = match &self.config.claims.kind {
            Some(name) => claims.text(name)?,
            None => None,
        };
        let kind = match claimed {
            Some(word) => word.parse().map_err(|_| TokenError::Kind)?,
            None => self.config.default_kind,
        };
        match self.config.kinds.contains(&kind) {
            true => Ok(kind),
            false => Err(TokenError::Kind),
        }
    }

    fn roles(&self, claims: &Claims) -> Result<BTreeSet<Role>, TokenError> {
        let Some(name) = &self.config.claims.roles else {
            return Ok(BTreeSet::new());
        };
        let given = claims.words(name)?;
        Ok(given
            .into_iter()
            .filter_map(|word| self.config.roles.get(word))
            .flatten()
            .copied()
            .collect())
    }

    fn technician(&self, claims: &Claims) -> Result<Option<TechnicianId>, TokenError> {
        let Some(name) = &self.config.claims.technician else {
            return Ok(None);
        };
        let id = claims.text(name)?.map(str::parse).transpose();
        id.map_err(|_| TokenError::Claims)
    }
}
