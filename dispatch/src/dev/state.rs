//! The folder that `dispatch dev` keeps its state in.
//!
//! One process at a time holds its lock. Secrets are drawn once and kept, readable by their owner
//! only. The settings of the running system are written there for other commands to find.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::Rng;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{config, exit::Failure, owner};

const EPHEMERAL_PREFIX: &str = "real-dispatch-dev-";
/// How long making a folder may take.
const NEW: Duration = Duration::from_secs(60);
const LOCK: &str = "dev.lock";
const SECRETS: &str = "secrets.json";

/// A folder that this process holds.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    ephemeral: bool,
    _lock: File,
}

/// What must not be known to others, 64 hex digits each. Fields of other versions do no harm.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    pub login_secret: String,
    pub jwt_secret: String,
    pub seal_key: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl StateDir {
    /// Takes the folder, or says who has it.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(root).map_err(|error| trouble("create", root, &error))?;
        let root = root
            .canonicalize()
            .map_err(|error| trouble("find", root, &error))?;
        Ok(Self {
            _lock: lock(&root)?,
            root,
            ephemeral: false,
        })
    }

    /// A folder of its own that goes with this value. Folders of killed processes go too.
    pub fn ephemeral() -> Result<Self, Failure> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let root = parent.join(format!("{EPHEMERAL_PREFIX}{}", Uuid::now_v7().simple()));
        fs::create_dir(&root).map_err(|error| trouble("create", &root, &error))?;
        Ok(Self {
            _lock: lock(&root)?,
            root,
            ephemeral: true,
        })
    }

    /// Whether it goes with this process.
    pub fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes all that earlier runs left, and stops what still runs of them.
    pub async fn reset(&self) -> Result<(), Failure> {
        let stop = |error: embedded::EmbeddedError| Failure::infrastructure(error);
        embedded::postgres::remove_data(&self.path("postgres"))
            .await
            .map_err(stop)?;
        let temporal = self.path("temporal.db");
        if temporal.exists() {
            embedded::temporal::remove_data(&temporal)
                .await
                .map_err(stop)?;
        }
        for entry in fs::read_dir(&self.root).map_err(|e| trouble("read", &self.root, &e))? {
            let entry = entry.map_err(|error| trouble("read", &self.root, &error))?;
            if entry.file_name() == LOCK {
                continue;
            }
            let path = entry.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|error| trouble("remove", &path, &error))?;
        }
        Ok(())
    }

    /// The secrets; drawn at the first start.
    pub fn secrets(&self) -> Result<Secrets, Failure> {
        let path = self.path(SECRETS);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Failure::usage(format!(
                    "{} cannot be read: {error}; `dispatch dev --reset` starts over",
                    path.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secrets = Secrets::draw(&mut rand::rng());
                let json = serde_json::to_string_pretty(&secrets).map_err(Failure::failed)?;
                self.write_private(SECRETS, &json)?;
                Ok(secrets)
            }
            Err(error) => Err(trouble("read", &path, &error)),
        }
    }

    /// Writes the settings of the running system, for other commands.
    pub fn write_settings(&self, values: &[(&str, String)]) -> Result<(), Failure> {
        let mut text = String::from(
            "# Written by `dispatch dev`; your own settings belong in dispatch.toml beside this folder.\n",
        );
        let mut table = "";
        for (key, value) in values {
            let (in_table, name) = key.split_once('.').unwrap_or(("", key));
            if in_table != table {
                text += &format!("\n[{in_table}]\n");
                table = in_table;
            }
            // A JSON string of printable ASCII is a TOML basic string as well.
            text += &format!("{name} = {}\n", serde_json::Value::from(value.as_str()));
        }
        self.write_private(config::FILE, &text)
    }

    /// The log of this run.
    pub fn open_log(&self) -> Result<File, Failure> {
        let path = self.path("dev.log");
        File::create(&path).map_err(|error| trouble("create", &path, &error))
    }

    /// Says where the log of a failed run is; that of an ephemeral one is saved from removal.
    pub fn keep_log(&self, failure: Failure) -> Failure {
        let mut log = self.path("dev.log");
        if self.ephemeral {
            let kept = self.root.with_extension("log");
            if fs::copy(&log, &kept).is_ok() {
                log = kept;
            }
        }
        let message = match failure.message.as_str() {
            // Everything was said; the log is for whoever wants more.
            "" => format!("the log of this run is {}", log.display()),
            message => format!("{message}\nthe log of this run is {}", log.display()),
        };
        Failure { message, ..failure }
    }

    /// Writes a file that its owner alone may read.
    pub fn write_private(&self, name: &str, text: &str) -> Result<(), Failure> {
        let (path, partial) = (self.path(name), self.path(&format!("{name}.partial")));
        let _ = fs::remove_file(&partial);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(|error| trouble("write", &path, &error))
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.ephemeral {
            // Best effort: a drop cannot report, and the next ephemeral start sweeps.
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

impl Secrets {
    fn draw(rng: &mut impl Rng) -> Self {
        let mut next = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            hex::encode(bytes)
        };
        Self {
            login_secret: next(),
            jwt_secret: next(),
            seal_key: next(),
        }
    }
}

/// The lock goes with the file, and so with the process, however it ends.
fn lock(root: &Path) -> Result<File, Failure> {
    let path = root.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| trouble("open", &path, &error))?;
    if file.try_lock().is_err() {
        let mut owner = String::new();
        let _ = file.read_to_string(&mut owner);
        let owner = owner.trim();
        return Err(Failure::usage(format!(
            "{} is in use by another `dispatch dev`{}; stop that one (Ctrl-C), or give this one a \
             folder of its own: --state-dir DIR, or --ephemeral",
            root.display(),
            if owner.is_empty() {
                String::new()
            } else {
                format!(" (process {owner})")
            },
        )));
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(|error| trouble("write", &path, &error))?;
    Ok(file)
}

/// Removes the ephemeral folders of processes that were killed: those whose lock is free.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry
            .file_name()
            .to_string_lossy()
            .starts_with(EPHEMERAL_PREFIX);
        // One that is just being made has no locked file yet.
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > NEW));
        if ours && old && path.join(LOCK).is_file() && lock(&path).is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn trouble(action: &str, path: &Path, error: &io::Error) -> Failure {
    let way_out = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space and start again"
        }
        io::ErrorKind::PermissionDenied => {
            "run as its owner, give it to this user (chown), or choose another folder with \
             --state-dir"
        }
        _ => "choose another folder with --state-dir if this one cannot be used",
    };
    Failure::infrastructure(format!(
        "cannot {action} {}: {error}{}; {way_out}",
        path.display(),
        match error.kind() {
            io::ErrorKind::PermissionDenied => owner::of(path),
            _ => String::new(),
        }
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let first = StateDir::ephemeral().unwrap();
        let error = StateDir::open(first.root()).unwrap_err();
        assert!(
            error.message.contains(&std::process::id().to_string()),
            "{}",
            error.message
        );
        assert!(error.message.contains("--state-dir"), "{}", error.message);
    }

    #[test]
    fn an_ephemeral_folder_goes() {
        let state = StateDir::ephemeral().unwrap();
        let root = state.root().to_owned();
        state.secrets().unwrap();
        drop(state);
        assert!(!root.exists());
    }

    #[test]
    fn secrets_are_drawn_once_and_private() {
        let state = StateDir::ephemeral().unwrap();
        let first = state.secrets().unwrap();
        assert_eq!(first.jwt_secret.len(), 64);
        assert_ne!(first.jwt_secret, first.seal_key);
        assert_eq!(state.secrets().unwrap().jwt_secret, first.jwt_secret);
        let mode = fs::metadata(state.path(SECRETS))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn secrets_of_another_version_are_read() {
        let state = StateDir::ephemeral().unwrap();
        let older = r#"{"login_secret":"a","jwt_secret":"b","seal_key":"c","admin_password":"d"}"#;
        fs::write(state.path(SECRETS), older).unwrap();
        assert_eq!(state.secrets().unwrap().seal_key, "c");
    }

    #[test]
    fn written_settings_are_read_by_other_commands() {
        let state = StateDir::ephemeral().unwrap();
        state
            .write_settings(&[
                ("api.url", "http://127.0.0.1:1234/".into()),
                ("auth.jwt_secret", "a\"b".into()),
            ])
            .unwrap();
        let config = config::Config::load(&config::Sources {
            file: Some(state.path(config::FILE)),
            ..config::Sources::default()
        })
        .unwrap();
        assert_eq!(config.settings.api.url.port(), Some(1234));
        assert_eq!(config.settings.auth.jwt_secret.unwrap().expose(), "a\"b");
    }
}
