//! Postgres and Temporal: started side by side, then made ready for us.

use std::{net::SocketAddr, time::Duration};

use embedded::{
    Durability, EmbeddedError, Postgres, PostgresOptions, PostgresSource, TemporalOptions,
    TemporalServer,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::Connection;
use store::bootstrap::{APP, COMMS, MAINTENANCE, OWNER, Passwords, READER, RELAY};
use tokio::time::{interval, timeout};
use uuid::Uuid;

use super::{
    logins,
    progress::Progress,
    state::{Secrets, StateDir},
};
use crate::{
    cli::DevArgs,
    config::{CommsEndpoint, RowLevelSecurity, Settings},
    exit::{Failure, chain},
    parts::{self, Activation},
    secret::Secret,
    temporal::{self, Temporal},
};

const STOP_BOUND: Duration = Duration::from_secs(3);
const REMOVE_BOUND: Duration = Duration::from_secs(2);
const TEMPORAL_PORT: u16 = 7233;
const TEMPORAL_UI_PORT: u16 = 8233;

/// Both servers; given ones are left alone.
#[derive(Debug)]
pub struct Servers {
    database: String,
    made: Made,
    postgres: Postgres,
    temporal: TemporalServer,
}

/// What an ephemeral run made in given servers, to be removed at its end.
#[derive(Debug, Default)]
struct Made {
    database: bool,
    namespace: Option<Temporal>,
}

/// Starts both and fills in what others need to know of them.
pub async fn start(
    state: &StateDir,
    args: &DevArgs,
    settings: &mut Settings,
    progress: &Progress,
) -> Result<Servers, Failure> {
    let (postgres, temporal) = tokio::try_join!(
        start_postgres(state, progress),
        start_temporal(state, args, settings.temporal.namespace.clone(), progress),
    )?;
    let mut servers = Servers {
        database: "dispatch".to_owned(),
        made: Made::default(),
        postgres,
        temporal,
    };
    settings.temporal.address = Some(servers.temporal.address().to_owned());
    if state.is_ephemeral() {
        servers.take_names_of_its_own(settings).await?;
    }
    if let Some(url) = servers.temporal.ui_url() {
        settings.temporal.ui_url = Some(url.parse().map_err(Failure::failed)?);
    }
    let secrets = state.secrets()?;
    let or = |given: &mut Option<Secret>, drawn: &str| {
        given.get_or_insert_with(|| Secret::new(drawn));
    };
    or(&mut settings.auth.jwt_secret, &secrets.jwt_secret);
    or(&mut settings.audit.seal_key, &secrets.seal_key);
    settings.database.admin_url = Some(Secret::new(servers.postgres.superuser_url()));

    let step = progress.step("database");
    let admin = servers.postgres.superuser_url();
    let passwords = passwords(admin, &secrets);
    let given = given_database().map(|url| place(&url));
    if given.is_some() {
        logins::check(admin, &passwords).await?;
    }
    parts::bootstrap(&mut settings.database, &servers.database, &passwords).await?;
    let unprotected = parts::login_without_rls(settings, &servers.database, &passwords).await?;
    // Nothing else runs on it that could know another bundle only.
    parts::migrate(settings, Activation::Always).await?;
    parts::seed(settings).await?;
    step.done(&match &given {
        Some(place) => format!(
            "{} on {place} migrated, demo tenant seeded",
            servers.database
        ),
        None => "migrated, demo tenant seeded".to_owned(),
    });
    if unprotected {
        progress.step("row-level security").done(
            "OFF by `database.rls`: tenants are not separated, any read may show any tenant's rows",
        );
    }
    let step = progress.step("search attributes");
    parts::register_search_attributes(settings).await?;
    step.done("registered");
    write(state, settings)?;
    Ok(servers)
}

/// For other commands in the same folder.
pub fn write(state: &StateDir, settings: &Settings) -> Result<(), Failure> {
    let mut values = vec![
        ("api.listen", settings.api.listen.to_string()),
        (
            "api.metrics_listen",
            settings.api.metrics_listen.to_string(),
        ),
        ("api.url", settings.api.url.to_string()),
        ("auth.issuer", settings.auth.issuer.clone()),
        ("auth.audience", settings.auth.audience.clone()),
        (
            "relay.metrics_listen",
            settings.relay.metrics_listen.to_string(),
        ),
        (
            "worker.metrics_listen",
            settings.worker.metrics_listen.to_string(),
        ),
        (
            "comms.metrics_listen",
            settings.comms.metrics_listen.to_string(),
        ),
        ("comms.endpoints", exposed(&settings.comms.endpoints)),
    ];
    let optional = [
        ("auth.jwt_secret", &settings.auth.jwt_secret),
        ("audit.seal_key", &settings.audit.seal_key),
        ("worker.api_key", &settings.worker.api_key),
        ("database.admin_url", &settings.database.admin_url),
        ("database.owner_url", &settings.database.owner_url),
        ("database.app_url", &settings.database.app_url),
        ("database.relay_url", &settings.database.relay_url),
        ("database.comms_url", &settings.database.comms_url),
        (
            "database.maintenance_url",
            &settings.database.maintenance_url,
        ),
        ("database.reader_url", &settings.database.reader_url),
    ];
    values.extend(
        optional
            .into_iter()
            .filter_map(|(key, secret)| Some((key, secret.as_ref()?.expose().to_owned()))),
    );
    if settings.database.rls == RowLevelSecurity::Off {
        // The one is refused without the other.
        values.push(("database.rls", "off".to_owned()));
        values.push(("system.environment", "development".to_owned()));
    }
    let temporal = &settings.temporal;
    values.extend(
        temporal
            .address
            .clone()
            .map(|value| ("temporal.address", value)),
    );
    values.extend(
        temporal
            .namespace
            .clone()
            .map(|value| ("temporal.namespace", value)),
    );
    values.extend(
        temporal
            .ui_url
            .as_ref()
            .map(|value| ("temporal.ui_url", value.to_string())),
    );
    // A table may stand only once in the file.
    values.sort_by_key(|(key, _)| *key);
    state.write_settings(&values)
}

/// Endpoints as JSON text, secrets and all: the file is its owner's only.
fn exposed(endpoints: &[CommsEndpoint]) -> String {
    let rows: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            let mut row = serde_json::json!(endpoint);
            row["secret"] = endpoint.secret.expose().into();
            row
        })
        .collect();
    serde_json::Value::from(rows).to_string()
}

/// A server that runs already, by DATABASE_URL.
fn given_database() -> Option<String> {
    std::env::var("DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty())
}

/// Host and port of an address, and nothing that is secret.
fn place(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => match (url.host_str(), url.port()) {
            (Some(host), Some(port)) if !host.is_empty() => format!("{host}:{port}"),
            (Some(host), None) if !host.is_empty() => host.to_owned(),
            _ => "this machine".to_owned(),
        },
        Err(_) => "what is no address".to_owned(),
    }
}

async fn start_postgres(state: &StateDir, progress: &Progress) -> Result<Postgres, Failure> {
    let step = progress.step("Postgres");
    let given = given_database();
    let source = match given.clone() {
        Some(url) => PostgresSource::Url(url),
        None => PostgresSource::Automatic,
    };
    let postgres = Postgres::start(PostgresOptions {
        source,
        data_dir: (!state.is_ephemeral()).then(|| state.path("postgres")),
        durability: if state.is_ephemeral() {
            Durability::Fast
        } else {
            Durability::Durable
        },
        progress: step.embedded(),
        ..PostgresOptions::default()
    })
    .await
    .map_err(Failure::infrastructure)?;
    step.done(&match (postgres.port(), given) {
        (_, Some(url)) => format!("not started: DATABASE_URL says {}", place(&url)),
        (Some(port), None) => format!("ready on 127.0.0.1:{port}"),
        (None, None) => "ready".to_owned(),
    });
    Ok(postgres)
}

async fn start_temporal(
    state: &StateDir,
    args: &DevArgs,
    namespace: Option<String>,
    progress: &Progress,
) -> Result<TemporalServer, Failure> {
    let step = progress.step("Temporal");
    let (address, given_namespace) = temporal::given()?;
    let ephemeral = state.is_ephemeral();
    let (port, ui_port) = temporal_ports(args);
    let temporal = TemporalServer::resolve_and_start(TemporalOptions {
        address,
        db_file: (!ephemeral).then(|| state.path("temporal.db")),
        port,
        ui_port,
        namespace: given_namespace
            .or(namespace)
            .unwrap_or_else(|| "default".to_owned()),
        log_file: ephemeral.then(|| state.path("temporal.log")),
        progress: step.embedded(),
        ..TemporalOptions::default()
    })
    .await
    .map_err(|error| match error {
        EmbeddedError::PortTaken { .. } => taken_temporal_ports(args, &error),
        error => Failure::infrastructure(error),
    })?;
    step.done(&format!("{} on {}", temporal.version(), temporal.address()));
    Ok(temporal)
}

/// Ports that were asked for, of Temporal and its Web UI; `None` is a free one.
fn temporal_ports(args: &DevArgs) -> (Option<u16>, Option<u16>) {
    let of = |given: Option<u16>, usual| {
        given
            .or((!args.ephemeral).then_some(usual))
            .filter(|port| *port != 0)
    };
    (
        of(args.temporal_port, TEMPORAL_PORT),
        of(args.temporal_ui_port, TEMPORAL_UI_PORT),
    )
}

/// Which of Temporal's ports are taken, one line each. For a message only: a port of a server that
/// a killed run left behind is free in a moment, so none is refused for being in this list.
pub fn temporal_ports_taken(args: &DevArgs) -> Vec<String> {
    let (port, ui_port) = temporal_ports(args);
    [
        (port, "Temporal", "--temporal-port PORT"),
        (ui_port, "the Temporal Web UI", "--temporal-ui-port PORT"),
    ]
    .into_iter()
    .filter_map(|(port, what, flag)| {
        let address = SocketAddr::from(([127, 0, 0, 1], port?));
        super::taken(address, what, flag)
    })
    .collect()
}

fn taken_temporal_ports(args: &DevArgs, error: &EmbeddedError) -> Failure {
    let mut lines = temporal_ports_taken(args);
    if lines.is_empty() {
        lines.push(error.to_string());
    }
    Failure::infrastructure(format!(
        "{}\nstop what uses them, choose others, or let TEMPORAL_ADDRESS name a server that runs \
         already",
        lines.join("\n")
    ))
}

impl Servers {
    /// A given server may hold more than this run: others of our databases, workers on the same
    /// task queue.
    async fn take_names_of_its_own(&mut self, settings: &mut Settings) -> Result<(), Failure> {
        let run = Uuid::now_v7().simple().to_string();
        self.database = format!("dispatch_{run}");
        self.made.database = self.postgres.port().is_none();
        let (address, namespace) = temporal::given()?;
        if address.is_some() && namespace.is_none() {
            settings.temporal.namespace = Some(format!("dispatch-dev-{run}"));
            let temporal = Temporal::new(&settings.temporal)?;
            temporal.create_namespace().await?;
            self.made.namespace = Some(temporal);
        }
        Ok(())
    }

    async fn remove_made(&self) -> Result<(), Failure> {
        if let Some(temporal) = &self.made.namespace {
            temporal.delete_namespace().await?;
        }
        if self.made.database {
            drop_database(self.postgres.superuser_url(), &self.database)
                .await
                .map_err(|error| Failure::infrastructure(chain(&error)))?;
        }
        Ok(())
    }

    /// Ends when one of them does.
    pub async fn watch(&mut self) -> Failure {
        let mut every = interval(Duration::from_secs(1));
        loop {
            every.tick().await;
            for (name, exited, log) in [
                (
                    "Postgres",
                    self.postgres.has_exited(),
                    self.postgres.log_file(),
                ),
                (
                    "Temporal",
                    self.temporal.has_exited(),
                    self.temporal.log_file(),
                ),
            ] {
                if exited {
                    let log = log
                        .map_or_else(String::new, |log| format!("; its log is {}", log.display()));
                    return Failure::infrastructure(format!("{name} stopped by itself{log}"));
                }
            }
        }
    }

    /// Stops both at once; what does not stop in time is killed.
    pub async fn shutdown(self) {
        let removed = timeout(REMOVE_BOUND, self.remove_made()).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!(
                ?removed,
                database = self.database,
                "not all of this run was removed"
            );
        }
        let (temporal, postgres) = tokio::join!(
            timeout(STOP_BOUND, self.temporal.shutdown()),
            timeout(STOP_BOUND, self.postgres.shutdown()),
        );
        if temporal.is_err() || postgres.is_err() {
            tracing::warn!("a server did not stop in time and was killed");
        }
    }
}

/// Passwords of the logins. Logins belong to a whole server, so every run against it must set the
/// same ones: they follow from the administrator's password. Without one (the server trusts this
/// machine's users) there is nothing to follow from, and they are drawn.
fn passwords(admin_url: &str, secrets: &Secrets) -> Passwords {
    let admin = url::Url::parse(admin_url).ok();
    let admin = admin.as_ref().and_then(url::Url::password);
    let secret = admin.unwrap_or(&secrets.login_secret).as_bytes();
    let of = |login: &str| {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(login.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    };
    Passwords {
        owner: of(OWNER),
        app: of(APP),
        relay: of(RELAY),
        comms: of(COMMS),
        maintenance: of(MAINTENANCE),
        reader: of(READER),
    }
}

async fn drop_database(admin_url: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut admin = sqlx::PgConnection::connect(admin_url).await?;
    // The name is ours: letters, digits and one underscore.
    let statement = format!("drop database if exists {name} with (force)");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut admin)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_against_a_server_sets_the_same_passwords() {
        let secrets = |login_secret: &str| Secrets {
            login_secret: login_secret.to_owned(),
            jwt_secret: String::new(),
            seal_key: String::new(),
        };
        let of = |url, secret| passwords(url, &secrets(secret));
        let one = of("postgres://postgres:x@127.0.0.1:1/postgres", "a");
        let other = of("postgres://postgres:x@127.0.0.1:1/postgres", "b");
        assert_eq!((&one.app, &one.owner), (&other.app, &other.owner));
        assert_ne!(one.app, one.owner);
        assert_ne!(
            one.app,
            of("postgres://postgres:y@127.0.0.1:1/postgres", "a").app
        );
        let trusted = "postgres://postgres@127.0.0.1:1/postgres";
        assert_ne!(of(trusted, "a").app, of(trusted, "b").app);
    }
}
