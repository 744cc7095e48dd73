//! What the versions of Temporal's server mean.

pub use crate::version::Version;

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

    /// Reads the server's version from `temporal --version`, whose line is
    /// `temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)`.
    pub(super) fn of_program(output: &str) -> Option<Self> {
        let server = output.split_once("(Server ")?.1;
        Self::parse(&server[..server.find([',', ')'])?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_programs_is_read() {
        let line = "temporal-dev version 1.32.0 (Server 1.32.0, UI 2.54.1)\n";
        assert_eq!(Version::of_program(line), Some(Version::TIME_SKIPPING));
        let cli = "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)";
        assert_eq!(Version::of_program(cli).map(|v| v.minor), Some(29));
        assert_eq!(Version::of_program("tctl version 1.18"), None);
        assert!(Version::OLDEST < Version::TIME_SKIPPING);
    }
}
