//! Who calls: a bearer credential becomes an [`Actor`](contracts::Actor), or is refused.
//!
//! A token is taken apart without being trusted ([`compact`]). Its `iss` chooses, exactly, one of
//! the issuers of the configuration, and everything else comes from that choice: the one algorithm,
//! the keys and where they are fetched ([`jwks`]), whom the token has to be for, which tenants,
//! kinds and roles it may name ([`issuer`]). Nothing that a token says decides how it is checked
//! (RFC 8725): key material that it points to or brings along (`jku`, `jwk`, `x5u`, `x5c`) is never
//! looked at, and a critical extension is refused because none is understood.
//!
//! Our own issuer ([`own`]) signs with a shared secret: development, tests, `dispatch token`.
//!
//! Software calls with API keys besides ([`api_key`]): what begins as one never becomes a token, and
//! the other way round.

mod api_key;
mod authenticator;
mod claims;
mod compact;
mod issuer;
mod jwks;
mod key;
mod own;
mod refusal;
mod scopes;
mod verified;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use api_key::lacks;
pub use api_key::{KeyDirectory, StoredKeys};
pub use authenticator::{Authenticator, Identity, IdentityError, KeyOfCall, NamedTenant};
pub use claims::ClaimName;
pub use issuer::{ClaimNames, IssuerConfig, IssuerError, Tenants};
pub use jwks::{FetchError, Found, KeysAt, SetError, look};
pub use key::Algorithm;
pub use own::{MAX_LIFETIME_SECONDS, MIN_SECRET_BYTES, WeakSecret, mint};
pub use refusal::{Refusal, TokenError};
pub use scopes::Scopes;
