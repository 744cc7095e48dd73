//! Values that must not be shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Text that prints and serialises masked. In a URL only the password is masked, so that the rest
/// still says where a connection goes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MASK: &str = "***";
        match url::Url::parse(&self.0) {
            Ok(mut url) if url.has_host() => {
                if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
                    return f.write_str(MASK);
                }
                // A password may also come as a parameter.
                url.set_query(None);
                f.write_str(url.as_str())
            }
            _ => f.write_str(MASK),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_of_a_url_is_masked() {
        let shown = |text: &str| Secret::new(text).to_string();
        assert_eq!(
            shown("postgres://app:hunter2@db:5432/dispatch?password=hunter2"),
            "postgres://app:***@db:5432/dispatch"
        );
        assert_eq!(shown("hunter2"), "***");
        assert_eq!(shown("host:hunter2"), "***");
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
