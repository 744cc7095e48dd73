//! Where the bearer token comes from.

use std::fmt;

/// No token could be had; the text says why and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token: {0}")]
pub struct TokenError(pub String);

/// Gives the token for one attempt. Tokens are short-lived, so a client asks each time and the
/// provider decides whether the last one is still good.
pub trait TokenProvider: fmt::Debug + Send + Sync + 'static {
    /// The token, without `Bearer`.
    fn token(&self) -> Result<String, TokenError>;
}

/// A token that lives long enough.
struct Fixed(String);

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fixed(…)")
    }
}

impl TokenProvider for Fixed {
    fn token(&self) -> Result<String, TokenError> {
        Ok(self.0.clone())
    }
}

impl From<String> for Box<dyn TokenProvider> {
    fn from(token: String) -> Self {
        Box::new(Fixed(token))
    }
}

impl From<&str> for Box<dyn TokenProvider> {
    fn from(token: &str) -> Self {
        token.to_owned().into()
    }
}

impl<T: TokenProvider> From<T> for Box<dyn TokenProvider> {
    fn from(provider: T) -> Self {
        Box::new(provider)
    }
}
