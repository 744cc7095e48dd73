use std::fmt;

/// Version of a Temporal server.
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
    /// The oldest server that has what the workers rely on (worker deployments,
    /// signal-with-start with USE_EXISTING).
    pub const OLDEST: Self = Self {
        major: 1,
        minor: 29,
        patch: 0,
    };

    /// The oldest server known to let workflows skip time.
    pub const TIME_SKIPPING: Self = Self {
        major: 1,
        minor: 32,
        patch: 0,
    };

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

    /// Reads the server's version from `temporal --version`, whose line is
    /// `temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)`.
    pub(super) fn of_program(output: &str) -> Option<Self> {
        let server = output.split_once("(Server ")?.1;
        Self::parse(&server[..server.find([',', ')'])?])
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
        assert_eq!(Version::parse("1.32.0"), Some(Version::TIME_SKIPPING));
        assert_eq!(Version::parse("v1.29"), Some(Version::OLDEST));
        assert_eq!(Version::parse("1.32.0-rc.1"), Some(Version::TIME_SKIPPING));
        assert_eq!(Version::parse("latest"), None);
        assert!(Version::OLDEST < Version::TIME_SKIPPING);
        assert_eq!(Version::TIME_SKIPPING.to_string(), "1.32.0");
    }

    #[test]
    fn the_line_of_the_programs_is_read() {
        let line = "temporal-dev version 1.32.0 (Server 1.32.0, UI 2.54.1)\n";
        assert_eq!(Version::of_program(line), Some(Version::TIME_SKIPPING));
        let cli = "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)";
        assert_eq!(Version::of_program(cli).map(|v| v.minor), Some(29));
        assert_eq!(Version::of_program("tctl version 1.18"), None);
    }
}
