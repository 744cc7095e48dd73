//! Versions of the programs that are started.

use std::fmt;

/// Version of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// Reads `1.32.0`, also `v1.32` and `1.32.0-rc.1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let numbers = text.split(['-', '+']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        Some(Self {
            major: parts.next()??,
            minor: parts.next()??,
            patch: parts.next().unwrap_or(Some(0))?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let version = |minor| Version {
            major: 1,
            minor,
            patch: 0,
        };
        assert_eq!(Version::parse("1.32.0"), Some(version(32)));
        assert_eq!(Version::parse("v1.29"), Some(version(29)));
        assert_eq!(Version::parse("1.32.0-rc.1"), Some(version(32)));
        assert_eq!(Version::parse("latest"), None);
        assert!(version(29) < version(32));
        assert_eq!(version(32).to_string(), "1.32.0");
    }
}
