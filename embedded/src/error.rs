use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// No way was found to get a service that is needed.
///
/// A type of its own, because "the test could not run here" is another fact than
/// "the test failed": test runners recognise it by this type, or by the words
/// `INFRASTRUCTURE MISSING:` that its message starts with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct MissingInfrastructure {
    /// What is missing, e.g. `PostgreSQL`.
    pub what: &'static str,
    /// Each place that was tried, and why it did not do.
    pub tried: Vec<String>,
    /// What to install or to set.
    pub remedy: &'static str,
}

impl fmt::Display for MissingInfrastructure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INFRASTRUCTURE MISSING: no {} found. Tried:", self.what)?;
        for attempt in &self.tried {
            write!(f, "\n  - {attempt}")?;
        }
        write!(f, "\n{}", self.remedy)
    }
}

/// Why a service could not be started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// See [`MissingInfrastructure`].
    #[error(transparent)]
    Missing(#[from] MissingInfrastructure),

    /// The port asked for is in use.
    #[error(
        "port {port}, wanted for {service}, is in use; stop what uses it or choose another port"
    )]
    PortTaken {
        /// Name of the service.
        service: &'static str,
        /// The port.
        port: u16,
    },

    /// Another living process of ours uses the data folder.
    #[error(
        "{} is in use by another running process; stop it or use another folder", path.display()
    )]
    DataInUse {
        /// The folder or file.
        path: PathBuf,
    },

    /// The data was written by another major version.
    #[error(
        "{} was written by PostgreSQL {found}, but only these were found: {available}; install PostgreSQL {found} or delete the folder",
        path.display()
    )]
    DataVersion {
        /// The data folder.
        path: PathBuf,
        /// Major version of the data.
        found: u32,
        /// What was found instead, for people.
        available: String,
    },

    /// No space left on the device.
    #[error("the disk that holds {} is full; free some space and start again", path.display())]
    DiskFull {
        /// A path on that disk.
        path: PathBuf,
    },

    /// The file system refused access.
    #[error("no permission: {detail}; check the owner and mode of {}", path.display())]
    Permission {
        /// The path that was refused, or the nearest known one.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },

    /// Nowhere to keep programs that are downloaded or built.
    #[error(
        "no folder to keep downloaded and built programs in: {tried}; set XDG_CACHE_HOME to a folder of this user"
    )]
    NoCache {
        /// Each place, and why it did not do.
        tried: String,
    },

    /// A program ran and failed.
    #[error("{program} failed: {detail}\nits output is in {}", log.display())]
    ProgramFailed {
        /// Name of the program.
        program: &'static str,
        /// The end of its output.
        detail: String,
        /// Where the whole output is.
        log: PathBuf,
    },

    /// A service did not answer in time.
    #[error("{service} did not answer within {seconds} s: {detail}\nits log is {}", log.display())]
    NotReady {
        /// Name of the service.
        service: &'static str,
        /// How long was waited.
        seconds: u64,
        /// What was last seen.
        detail: String,
        /// The service's log.
        log: PathBuf,
    },

    /// A server at a given address does not answer.
    #[error("no {service} answers at {address}: {detail}")]
    Unreachable {
        /// Name of the service.
        service: &'static str,
        /// The given address.
        address: String,
        /// What went wrong.
        detail: String,
    },

    /// Any other failure of the file system or of starting a process.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// Stable code, for logs and scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "INFRASTRUCTURE_MISSING",
            Self::PortTaken { .. } => "PORT_TAKEN",
            Self::DataInUse { .. } => "DATA_IN_USE",
            Self::DataVersion { .. } => "DATA_VERSION",
            Self::DiskFull { .. } => "DISK_FULL",
            Self::Permission { .. } => "PERMISSION",
            Self::NoCache { .. } => "NO_CACHE",
            Self::ProgramFailed { .. } => "PROGRAM_FAILED",
            Self::NotReady { .. } => "NOT_READY",
            Self::Unreachable { .. } => "UNREACHABLE",
            Self::Io { .. } => "IO",
        }
    }

    /// An operating system error, sorted into the variant that says what to do.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied => Self::Permission {
                detail: format!("cannot {action} {}: {source}", path.display()),
                path,
            },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// A failed program, sorted by what its output complains about.
    pub(crate) fn program(program: &'static str, output: &str, data: &Path, log: &Path) -> Self {
        let lower = output.to_lowercase();
        if lower.contains("no space left on device") || lower.contains("disk quota exceeded") {
            Self::DiskFull {
                path: data.to_owned(),
            }
        } else if let Some(line) = output
            .lines()
            .find(|line| line.to_lowercase().contains("permission denied"))
        {
            Self::Permission {
                path: data.to_owned(),
                detail: line.trim().to_owned(),
            }
        } else {
            Self::ProgramFailed {
                program,
                detail: last_lines(output, 8),
                log: log.to_owned(),
            }
        }
    }
}

/// For tests: the service, or a panic with the error's own message, so that a
/// run which lacks its infrastructure says `INFRASTRUCTURE MISSING:`.
///
/// # Panics
/// On an error.
#[track_caller]
pub fn required<T>(result: Result<T, EmbeddedError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_infrastructure_is_recognisable() {
        let missing = MissingInfrastructure {
            what: "PostgreSQL",
            tried: vec!["PATH: no initdb".to_owned()],
            remedy: "Install it.",
        };
        let error = EmbeddedError::from(missing.clone());
        assert_eq!(
            error.to_string(),
            "INFRASTRUCTURE MISSING: no PostgreSQL found. Tried:\n  - PATH: no initdb\nInstall it."
        );
        assert_eq!(error.code(), "INFRASTRUCTURE_MISSING");
        assert!(matches!(error, EmbeddedError::Missing(m) if m == missing));
    }

    #[test]
    fn output_is_sorted_by_cause() {
        let sort = |output| {
            EmbeddedError::program("initdb", output, Path::new("/d"), Path::new("/l")).code()
        };
        assert_eq!(
            sort("initdb: error: could not write: No space left on device"),
            "DISK_FULL"
        );
        assert_eq!(
            sort("could not open directory \"/d\": Permission denied"),
            "PERMISSION"
        );
        assert_eq!(sort("something else"), "PROGRAM_FAILED");
    }

    #[test]
    fn system_errors_are_sorted_by_cause() {
        let sort = |kind| EmbeddedError::io("write", Path::new("/d"), io::Error::from(kind)).code();
        assert_eq!(sort(io::ErrorKind::StorageFull), "DISK_FULL");
        assert_eq!(sort(io::ErrorKind::PermissionDenied), "PERMISSION");
        assert_eq!(sort(io::ErrorKind::NotFound), "IO");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\n\nb\nc\n", 2), "b\nc");
    }
}
