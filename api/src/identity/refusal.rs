//! Why a caller is not known.

/// Why a credential does not say who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no good: 401.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It cannot be checked now: 503.
    #[error("the keys of the token's issuer cannot be fetched right now")]
    KeysUnavailable,
    /// Where API keys are kept is away: 503.
    #[error("it cannot be looked up right now whose API key this is")]
    KeysAway,
    /// Too many keys that were never seen are being looked up: 503.
    #[error("too many unknown API keys are being looked up right now")]
    KeysCrowded,
    /// A key of an account that acts in any tenant came without one: 400.
    #[error("the account of this API key acts in any tenant: name one")]
    NameTenant,
    /// A tenant was named by somebody who has one: 400.
    #[error("only the API key of an account that acts in any tenant names one")]
    NamesTenant,
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
    #[error("the token names a key that its issuer does not publish")]
    Key,
    #[error("the token lacks a claim or has one of the wrong form")]
    Claims,
    #[error("the token's issuer does not speak for that tenant")]
    Tenant,
    #[error("the token's issuer does not speak for that kind of actor")]
    Kind,
    #[error(
        "the token's sub is not an opaque id: 1 to 128 characters A-Z, a-z, 0-9, dot, underscore, colon or hyphen"
    )]
    Subject,
    #[error("the token is malformed")]
    Malformed,
    #[error("the API key was cut or changed: it does not fit its checksum")]
    KeyForm,
    #[error("the API key is not known")]
    UnknownKey,
    #[error("the API key has expired")]
    ExpiredKey,
    #[error("the API key was revoked")]
    RevokedKey,
    #[error("the API key's service account is disabled")]
    DisabledAccount,
}
