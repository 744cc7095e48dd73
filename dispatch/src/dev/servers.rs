//! Postgres and Temporal: started side by side, then made ready for us.

use std::time::Duration;

use embedded::{
    Durability, EmbeddedError, Postgres, PostgresOptions, PostgresSource, TemporalOptions,
    TemporalServer,
};
use sqlx::Connection;
use tokio::time::{interval, timeout};
use uuid::Uuid;

use super::{progress::Progress, state::StateDir};
use crate::{cli::DevArgs, config::Settings, exit::Failure, parts, secret::Secret};

const STOP_BOUND: Duration = Duration::from_secs(3);
const TEMPORAL_PORT: u16 = 7233;
const TEMPORAL_UI_PORT: u16 = 8233;

/// Both servers; given ones are left alone.
#[derive(Debug)]
pub struct Servers {
    database: String,
    drop_database: bool,
    postgres: Postgres,
    temporal: TemporalServer,
}

/// Starts both and fills in what others need to know of them.
pub async fn start(
    state: &StateDir,
    args: &DevArgs,
    settings: &mut Settings,
    progress: &Progress,
) -> Result<Servers, Failure> {
    let (postgres, temporal) = tokio::try_join!(
        postgres(state, progress),
        temporal(state, args, settings.temporal.namespace.clone(), progress),
    )?;
    let servers = Servers {
        // A given server may hold more than this run, so an ephemeral one takes a name of its own.
        database: if state.is_ephemeral() {
            format!("dispatch_{}", Uuid::now_v7().simple())
        } else {
            "dispatch".to_owned()
        },
        drop_database: state.is_ephemeral() && postgres.port().is_none(),
        postgres,
        temporal,
    };
    settings.temporal.address = Some(servers.temporal.address().to_owned());
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
    parts::bootstrap(
        &mut settings.database,
        &servers.database,
        &secrets.passwords(),
    )
    .await?;
    parts::migrate(settings).await?;
    parts::seed(settings).await?;
    step.done("migrated, demo tenant seeded");
    let step = progress.step("search attributes");
    parts::register_search_attributes(settings).await?;
    step.done("registered");
    write(state, settings)?;
    Ok(servers)
}

/// For other commands in the same folder.
fn write(state: &StateDir, settings: &Settings) -> Result<(), Failure> {
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
    ];
    let optional = [
        ("auth.jwt_secret", &settings.auth.jwt_secret),
        ("audit.seal_key", &settings.audit.seal_key),
        ("database.admin_url", &settings.database.admin_url),
        ("database.owner_url", &settings.database.owner_url),
        ("database.app_url", &settings.database.app_url),
        ("database.relay_url", &settings.database.relay_url),
        (
            "database.maintenance_url",
            &settings.database.maintenance_url,
        ),
    ];
    values.extend(
        optional
            .into_iter()
            .filter_map(|(key, secret)| Some((key, secret.as_ref()?.expose().to_owned()))),
    );
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

async fn postgres(state: &StateDir, progress: &Progress) -> Result<Postgres, Failure> {
    let step = progress.step("Postgres");
    let source = match std::env::var("DATABASE_URL") {
        Ok(url) if !url.is_empty() => PostgresSource::Url(url),
        _ => PostgresSource::Automatic,
    };
    let given = matches!(source, PostgresSource::Url(_));
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
    .map_err(failure)?;
    step.done(&match postgres.port() {
        Some(port) => format!("ready on 127.0.0.1:{port}"),
        None if given => "as DATABASE_URL says".to_owned(),
        None => "ready".to_owned(),
    });
    Ok(postgres)
}

async fn temporal(
    state: &StateDir,
    args: &DevArgs,
    namespace: Option<String>,
    progress: &Progress,
) -> Result<TemporalServer, Failure> {
    let step = progress.step("Temporal");
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    let ephemeral = state.is_ephemeral();
    let fixed = |given: Option<u16>, usual| given.or((!ephemeral).then_some(usual));
    let temporal = TemporalServer::resolve_and_start(TemporalOptions {
        address: variable("TEMPORAL_ADDRESS"),
        db_file: (!ephemeral).then(|| state.path("temporal.db")),
        port: fixed(args.temporal_port, TEMPORAL_PORT),
        ui_port: fixed(args.temporal_ui_port, TEMPORAL_UI_PORT),
        namespace: variable("TEMPORAL_NAMESPACE")
            .or(namespace)
            .unwrap_or_else(|| "default".to_owned()),
        log_file: ephemeral.then(|| state.path("temporal.log")),
        progress: step.embedded(),
        ..TemporalOptions::default()
    })
    .await
    .map_err(failure)?;
    step.done(&format!("{} on {}", temporal.version(), temporal.address()));
    Ok(temporal)
}

fn failure(error: EmbeddedError) -> Failure {
    let way_out = match &error {
        EmbeddedError::PortTaken { service, .. } if *service != "PostgreSQL" => {
            "; the flags are --temporal-port and --temporal-ui-port, and TEMPORAL_ADDRESS uses a \
             server that runs already"
        }
        _ => "",
    };
    Failure::infrastructure(format!("{error}{way_out}"))
}

impl Servers {
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
        if self.drop_database
            && let Err(error) = drop_database(self.postgres.superuser_url(), &self.database).await
        {
            tracing::warn!(%error, database = self.database, "cannot drop the database of this run");
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

async fn drop_database(admin_url: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut admin = sqlx::PgConnection::connect(admin_url).await?;
    // The name is ours: letters, digits and one underscore.
    let statement = format!("drop database if exists {name} with (force)");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut admin)
        .await?;
    Ok(())
}
