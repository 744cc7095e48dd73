//! `postmaster.pid`: the file in which a server tells who and how far it is.

use std::{fs, path::Path};

/// The lines that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: u32,
    /// Line 8: the server takes connections.
    pub(super) ready: bool,
}

impl PidFile {
    pub(super) fn read(cluster: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(cluster.join("postmaster.pid")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let ready = lines.nth(6).is_some_and(|status| status.trim() == "ready");
        Some(Self { pid, ready })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_status() {
        let starting = "4711\n/data\n1700000000\n5432\n\n127.0.0.1\n  5432001    32768\nstarting\n";
        assert_eq!(
            PidFile::parse(starting),
            Some(PidFile {
                pid: 4711,
                ready: false
            })
        );
        let ready = starting.replace("starting", "ready   ");
        assert_eq!(
            PidFile::parse(&ready),
            Some(PidFile {
                pid: 4711,
                ready: true
            })
        );
        assert_eq!(
            PidFile::parse("4711\n"),
            Some(PidFile {
                pid: 4711,
                ready: false
            })
        );
        assert_eq!(PidFile::parse(""), None);
    }
}
