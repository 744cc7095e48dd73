//! A real PgBouncer in transaction mode in front of the shared Postgres.

use std::net::{SocketAddr, ToSocketAddrs};

use embedded::{PgBouncerServer, PoolerOptions};
use store::bootstrap::{APP, COMMS, MAINTENANCE, OWNER, READER, RELAY};
use url::Url;

use crate::{database::PASSWORD, servers};

/// A running one; every login of the tests may come in, to every database.
#[derive(Debug)]
pub struct Pooler {
    server: PgBouncerServer,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts one with so many connections per login and database, and further settings.
    pub async fn start(pool_size: u32, settings: &[(&str, &str)]) -> Self {
        let behind = servers::postgres().await.superuser_url();
        let behind = Url::parse(behind).expect("the server's own address");
        let mut users: Vec<_> = [OWNER, APP, RELAY, COMMS, MAINTENANCE, READER]
            .map(|login| (login.to_owned(), PASSWORD.to_owned()))
            .into();
        let password = behind.password().unwrap_or_default();
        users.push((behind.username().to_owned(), password.to_owned()));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = PoolerOptions {
            server: address(&behind),
            users,
            pool_size,
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            folder: folder.path().to_owned(),
        };
        let server = PgBouncerServer::start(servers::pgbouncer().await, &options)
            .await
            .expect("PgBouncer starts");
        Self {
            server,
            _folder: folder,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The same login and database, through it.
    pub fn through(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("an address");
        url.set_ip_host(self.address().ip())
            .expect("a URL with a host");
        url.set_port(Some(self.address().port()))
            .expect("a URL with a host");
        url.into()
    }

    /// Stops it.
    pub async fn end(self) {
        self.server.shutdown().await;
    }
}

fn address(url: &Url) -> SocketAddr {
    let host = url.host_str().expect("a server on TCP");
    (host, url.port().unwrap_or(5432))
        .to_socket_addrs()
        .expect("the name of the server is known")
        .next()
        .expect("the name of the server has an address")
}
