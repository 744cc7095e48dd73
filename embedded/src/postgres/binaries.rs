//! Finds PostgreSQL's programs on this machine.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest major version that is supported.
pub(super) const MIN_MAJOR: u32 = 15;

/// A folder holding `initdb` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// Asks `initdb` for its version; says why not when the folder does not do.
    pub(super) fn probe(dir: &Path) -> Result<Self, String> {
        for program in ["initdb", "postgres"] {
            if !dir.join(program).is_file() {
                return Err(format!("{}: holds no {program}", dir.display()));
            }
        }
        // `initdb` may be a link into the folder that has all the rest.
        let initdb = fs::canonicalize(dir.join("initdb")).unwrap_or_else(|_| dir.join("initdb"));
        let dir = initdb.parent().unwrap_or(dir).to_owned();
        let output = Command::new(&initdb)
            .arg("--version")
            .output()
            .map_err(|e| format!("{}: {e}", initdb.display()))?;
        let version = String::from_utf8_lossy(&output.stdout);
        let major = parse_major(&version)
            .ok_or_else(|| format!("{}: unreadable version {version:?}", initdb.display()))?;
        if major < MIN_MAJOR {
            return Err(format!(
                "{}: is version {major}, older than {MIN_MAJOR}",
                dir.display()
            ));
        }
        Ok(Self { dir, major })
    }
}

/// `initdb (PostgreSQL) 15.18 (Debian …)` → 15; also `18beta1` → 18.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let end = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..end].parse().ok()
}

/// Where to look; an argument, so that a test can look elsewhere.
#[derive(Debug)]
pub(super) struct Places {
    /// Folders that hold one folder per version, and what its name starts with.
    pub(super) roots: Vec<(PathBuf, &'static str)>,
    pub(super) pg_config: Option<PathBuf>,
    pub(super) path: Option<OsString>,
}

impl Places {
    pub(super) fn of_this_machine() -> Self {
        let pg_config = Command::new("pg_config")
            .arg("--bindir")
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        Self {
            roots: vec![
                (PathBuf::from("/usr/lib/postgresql"), ""),
                (PathBuf::from("/usr"), "pgsql-"),
                (PathBuf::from("/opt/homebrew/opt"), "postgresql@"),
                (PathBuf::from("/usr/local/opt"), "postgresql@"),
            ],
            pg_config,
            path: env::var_os("PATH"),
        }
    }

    /// All usable installations, the highest version first; what was tried in
    /// vain is added to `tried`.
    pub(super) fn installed(&self, tried: &mut Vec<String>) -> Vec<Binaries> {
        let mut dirs = Vec::new();
        for (root, prefix) in &self.roots {
            let versions = fs::read_dir(root).into_iter().flatten().flatten();
            dirs.extend(
                versions
                    .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                    .map(|entry| entry.path().join("bin")),
            );
        }
        dirs.extend(self.pg_config.clone());
        dirs.extend(self.path.iter().flat_map(env::split_paths));
        dirs.retain(|dir| dir.join("initdb").is_file());

        let mut found: Vec<Binaries> = Vec::new();
        for dir in dirs {
            match Binaries::probe(&dir) {
                Ok(binaries) if found.contains(&binaries) => {}
                Ok(binaries) => found.push(binaries),
                Err(reason) => tried.push(reason),
            }
        }
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        if found.is_empty() {
            let roots: Vec<String> = self
                .roots
                .iter()
                .map(|(root, prefix)| format!("{}/{prefix}*/bin", root.display()))
                .collect();
            tried.push(format!(
                "{}, pg_config --bindir and PATH: no usable initdb",
                roots.join(", ")
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder whose `initdb` says it is of `version`.
    fn installation(dir: &Path, version: &str) {
        fs::create_dir_all(dir).unwrap();
        for program in ["initdb", "postgres"] {
            let file = dir.join(program);
            fs::write(
                &file,
                format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n"),
            )
            .unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn reads_versions() {
        assert_eq!(
            parse_major("initdb (PostgreSQL) 15.18 (Debian 15.18-0)\n"),
            Some(15)
        );
        assert_eq!(parse_major("initdb (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("initdb (PostgreSQL) 17"), Some(17));
        assert_eq!(parse_major("something"), None);
    }

    #[test]
    fn the_highest_version_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        installation(&root.join("15/bin"), "15.2");
        installation(&root.join("17/bin"), "17.1");
        installation(&root.join("9/bin"), "9.6");
        fs::create_dir_all(root.join("path")).unwrap();
        symlink(root.join("15/bin/initdb"), root.join("path/initdb")).unwrap();
        symlink(root.join("15/bin/postgres"), root.join("path/postgres")).unwrap();
        let places = Places {
            roots: vec![(root.to_owned(), "")],
            pg_config: Some(root.join("nowhere")),
            path: Some(root.join("path").into_os_string()),
        };
        let mut tried = Vec::new();
        let majors: Vec<u32> = places
            .installed(&mut tried)
            .iter()
            .map(|b| b.major)
            .collect();
        assert_eq!(
            majors,
            [17, 15],
            "the link on PATH is the same installation"
        );
        assert_eq!(tried.len(), 1, "{tried:?}");
        assert!(tried[0].contains("older than"), "{tried:?}");
    }

    #[test]
    fn nothing_installed_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            roots: vec![(folder.path().to_owned(), "pg-")],
            pg_config: None,
            path: None,
        };
        let mut tried = Vec::new();
        assert_eq!(places.installed(&mut tried), []);
        assert!(tried[0].contains("pg-*/bin"), "{tried:?}");
    }
}
