//! A running PgBouncer.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::process::Command;

use super::PgBouncer;
use crate::{
    EmbeddedError,
    postgres::account::Account,
    process::{self, Service, Signal},
};

const READY_BOUND: Duration = Duration::from_secs(20);
const STOP_BOUND: Duration = Duration::from_secs(5);
/// Other processes may take a free port between choosing and binding it.
const PORT_ATTEMPTS: u32 = 5;

/// What it stands before, and who may come in.
#[derive(Clone)]
pub struct PoolerOptions {
    /// The server; all of its databases can be reached.
    pub server: SocketAddr,
    /// Login and password of each that may come in; they are those of the server.
    pub users: Vec<(String, String)>,
    /// Connections to the server, for each login and database.
    pub pool_size: u32,
    /// Further settings of `[pgbouncer]`, which come after ours.
    pub settings: Vec<(String, String)>,
    /// For configuration, program and log: empty, and reachable by all users.
    pub folder: PathBuf,
}

/// Without the passwords.
impl std::fmt::Debug for PoolerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolerOptions")
            .field("server", &self.server)
            .field("pool_size", &self.pool_size)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// PgBouncer in transaction mode on a port of its own.
#[derive(Debug)]
pub struct PgBouncerServer {
    service: Service,
    port: u16,
}

impl PgBouncerServer {
    /// Starts it on a free port; returns when it takes connections.
    ///
    /// # Errors
    /// When it ends, for example because it refuses a setting, or does not answer in time.
    pub async fn start(
        pgbouncer: &PgBouncer,
        options: &PoolerOptions,
    ) -> Result<Self, EmbeddedError> {
        let account = Account::choose()?;
        let folder = &options.folder;
        fs::set_permissions(folder, Permissions::from_mode(0o700))
            .map_err(|e| EmbeddedError::io("protect", folder, e))?;
        account.own(folder)?;
        // It refuses to run as root, and the account that root lends may not reach root's cache.
        let program = folder.join("pgbouncer");
        fs::copy(pgbouncer.path(), &program)
            .map_err(|e| EmbeddedError::io("create", &program, e))?;
        account.own(&program)?;
        let users: String = options
            .users
            .iter()
            .map(|(login, password)| format!("{} {}\n", quoted(login), quoted(password)))
            .collect();
        write(account, &folder.join("users.txt"), &users)?;
        let mut attempt = 1;
        loop {
            let port = process::free_port()
                .map_err(|e| EmbeddedError::io("find a free port on", Path::new("127.0.0.1"), e))?;
            match Self::start_on(account, options, &program, port).await {
                Err(EmbeddedError::PortTaken { .. }) if attempt < PORT_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn start_on(
        account: Account,
        options: &PoolerOptions,
        program: &Path,
        port: u16,
    ) -> Result<Self, EmbeddedError> {
        let folder = &options.folder;
        let file = folder.join("pgbouncer.ini");
        write(account, &file, &configuration(options, port))?;
        let mut command = Command::new(program);
        command.arg(&file).env_clear().current_dir(folder);
        account.apply(&mut command);
        let log = folder.join("pgbouncer.log");
        let service =
            Service::spawn("pgbouncer", command, Signal::TERM, &log)?.watched("pgbouncer")?;
        let mut server = Self { service, port };
        let begun = Instant::now();
        while TcpStream::connect(server.address()).is_err() {
            if server.service.exited().is_some() {
                let output = server.service.output();
                return Err(if output.contains("ddress already in use") {
                    EmbeddedError::PortTaken {
                        service: "pgbouncer",
                        port,
                    }
                } else {
                    EmbeddedError::program("pgbouncer", &output, folder, &log)
                });
            }
            if begun.elapsed() > READY_BOUND {
                return Err(EmbeddedError::NotReady {
                    service: "pgbouncer",
                    seconds: READY_BOUND.as_secs(),
                    detail: "it takes no connection".to_owned(),
                    log,
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What it has logged.
    #[must_use]
    pub fn output(&self) -> String {
        self.service.output()
    }

    /// Stops it.
    pub async fn shutdown(mut self) {
        self.service.stop(STOP_BOUND).await;
    }
}

fn configuration(options: &PoolerOptions, port: u16) -> String {
    let server = options.server;
    let mut text = format!(
        "[databases]\n* = host={} port={}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
         auth_file = users.txt\npool_mode = transaction\nmax_client_conn = 1000\n\
         default_pool_size = {}\nmax_prepared_statements = 200\n",
        server.ip(),
        server.port(),
        options.pool_size,
    );
    for (name, value) in &options.settings {
        text += &format!("{name} = {value}\n");
    }
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// For the account alone: passwords are in it.
fn write(account: Account, file: &Path, text: &str) -> Result<(), EmbeddedError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .map_err(|e| EmbeddedError::io("write", file, e))?;
    account.own(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_settings_come_after_ours() {
        let options = PoolerOptions {
            server: SocketAddr::from(([127, 0, 0, 1], 5432)),
            users: vec![("a".to_owned(), "s\"cret".to_owned())],
            pool_size: 3,
            settings: vec![("max_prepared_statements".to_owned(), "0".to_owned())],
            folder: PathBuf::new(),
        };
        let text = configuration(&options, 6432);
        assert!(text.contains("* = host=127.0.0.1 port=5432\n"), "{text}");
        assert!(text.contains("default_pool_size = 3\n"), "{text}");
        assert!(text.ends_with("max_prepared_statements = 0\n"), "{text}");
        assert_eq!(quoted("s\"cret"), "\"s\"\"cret\"");
        assert!(!format!("{options:?}").contains("cret"));
    }
}
