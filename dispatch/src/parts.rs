//! Makes the parts from the settings: which value goes where, and what to say when one is missing.
//!
//! Used by `dispatch dev` and by the commands that run one part, so that both run the same thing.

use std::{future::Future, num::NonZeroU32, sync::Arc, time::Duration};

use ::api::{
    ServeError,
    identity::{ClaimNames, IssuerConfig, KeysAt, Tenants},
};
use ::comms::CommsError;
use ::relay::RelayError;
use ::worker::WorkerError;
use chrono::Utc;
use contracts::{
    Slug, TenantId,
    service_account::ApiKeyText,
    tenant::{Rate, TenantState},
};
use policy::{
    Bundle, BundleFiles, BundleSource, DirectoryBundles, StarterBundles, Trust, VerificationKeys,
};
use sqlx::{Connection, PgConnection, PgPool};
use store::{
    PoolSettings,
    bootstrap::Passwords,
    tenants::{self, First},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::{
        Api, Auth, AuthIssuer, CommsEndpoint, Database, Environment, Limits, Mode, OnUnknown,
        RowLevelSecurity, Settings,
    },
    exit::{Failure, chain},
    secret::Secret,
    temporal::Temporal,
};

/// How often new heads of the audit chains are sealed.
const SEALING_INTERVAL: Duration = Duration::from_secs(5);
/// For one call to Temporal.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long new search attributes may take to come into effect.
const REGISTRATION_BOUND: Duration = Duration::from_secs(30);

/// The value of a setting that this command cannot do without.
pub fn required<'a>(key: &str, value: Option<&'a Secret>) -> Result<&'a str, Failure> {
    value.map(Secret::expose).ok_or_else(|| {
        Failure::usage(format!(
            "`{key}` is not set: give it as DISPATCH_{}, in dispatch.toml, or with --set; in the \
             folder of a running `dispatch dev` it is found by itself",
            key.replace('.', "_").to_uppercase()
        ))
    })
}

/// A small pool for a command that looks or mends.
pub async fn pool(key: &'static str, url: Option<&Secret>) -> Result<PgPool, Failure> {
    let url = required(key, url)?;
    // A pool would only say that it has no connection; this says why.
    if let Err(sqlx::Error::Io(error)) = PgConnection::connect(url).await {
        return Err(Failure::infrastructure(format!(
            "the database of `{key}`: {error}"
        )));
    }
    let mut settings = PoolSettings::new("dispatch-cli");
    settings.max_connections = 2;
    store::connect(url, &settings)
        .await
        .map_err(|error| database(key, &error))
}

/// What went wrong with a database, in the terms of the setting that names it.
pub fn database(key: &str, error: &store::Error) -> Failure {
    let text = format!("the database of `{key}`: {}", chain(error));
    match error {
        store::Error::Configuration(_) => Failure::usage(text),
        store::Error::Migrate(_) | store::Error::Guard(_) | store::Error::Corrupt { .. } => {
            Failure::failed(text)
        }
        _ => Failure::infrastructure(text),
    }
}

/// Creates logins and database, and sets the addresses of the logins.
pub async fn bootstrap(
    settings: &mut Database,
    name: &str,
    passwords: &Passwords,
) -> Result<(), Failure> {
    const KEY: &str = "database.admin_url";
    let admin = required(KEY, settings.admin_url.as_ref())?;
    let addresses = store::bootstrap(admin, name, passwords)
        .await
        .map_err(|error| database(KEY, &error))?;
    settings.owner_url = Some(Secret::new(addresses.owner));
    settings.app_url = Some(Secret::new(addresses.app));
    settings.relay_url = Some(Secret::new(addresses.relay));
    settings.comms_url = Some(Secret::new(addresses.comms));
    settings.maintenance_url = Some(Secret::new(addresses.maintenance));
    settings.reader_url = Some(Secret::new(addresses.reader));
    Ok(())
}

/// Whether `database.rls` switches row-level security off. Refused in production.
pub fn is_unprotected(settings: &Settings) -> Result<bool, Failure> {
    match (settings.database.rls, settings.system.environment) {
        (RowLevelSecurity::On, _) => Ok(false),
        (RowLevelSecurity::Off, Environment::Development | Environment::Test) => Ok(true),
        (RowLevelSecurity::Off, Environment::Production) => Err(Failure::usage(
            "`database.rls` is off, and `system.environment` is production: without row-level security \
             tenants are not separated. Take `database.rls` out of the configuration, or set it to on; \
             on one person's machine set `system.environment` to development",
        )),
    }
}

/// A secret that something is signed with: as long as that of the tokens.
fn signing_key(key: &str, secret: &str) -> Result<::api::Secret, Failure> {
    const MIN_BYTES: usize = 32;
    match secret.len() {
        MIN_BYTES.. => Ok(::api::Secret::new(secret)),
        short => Err(Failure::usage(format!(
            "`{key}` has {short} bytes, and needs at least {MIN_BYTES}; `openssl rand -hex 32` makes one"
        ))),
    }
}

/// The keys of cursors, today's first.
fn cursor_keys(api: &Api) -> Result<Vec<::api::Secret>, Failure> {
    [
        ("api.cursor_key", &api.cursor_key),
        ("api.earlier_cursor_key", &api.earlier_cursor_key),
    ]
    .into_iter()
    .filter_map(|(key, secret)| Some(signing_key(key, secret.as_ref()?.expose())))
    .collect()
}

/// How far clocks may differ. A longer time is no difference of clocks: tokens that ended would go on.
fn leeway(auth: &Auth) -> Result<Duration, Failure> {
    const MOST_SECONDS: u32 = 300;
    match auth.leeway_seconds {
        seconds @ ..=MOST_SECONDS => Ok(Duration::from_secs(seconds.into())),
        seconds => Err(Failure::usage(format!(
            "`auth.leeway_seconds` is {seconds}: tokens would be good for so long after their end. It may \
             be {MOST_SECONDS} at most; let machines agree on the time (NTP)"
        ))),
    }
}

/// How much each tenant may use.
fn quotas(limits: &Limits) -> ::api::Quotas {
    let rate = |per_second: NonZeroU32, burst: NonZeroU32| Rate {
        per_second: per_second.get(),
        burst: burst.get(),
    };
    ::api::Quotas {
        commands: rate(limits.commands_per_second, limits.command_burst),
        reads: rate(limits.reads_per_second, limits.read_burst),
        open_tickets: limits.open_tickets,
        storage_bytes: limits.storage_bytes,
        subscribers: limits.subscribers,
    }
}

/// Whether failpoints may be armed. Refused in production: what passes one is aborted.
fn failpoints(settings: &Settings) -> Result<bool, Failure> {
    match (settings.system.failpoints, settings.system.environment) {
        (true, Environment::Production) => Err(Failure::usage(
            "`system.failpoints` is on, and `system.environment` is production: a process that passes a \
             failpoint is aborted. Take `system.failpoints` out of the configuration; for a test run set \
             `system.environment` to test",
        )),
        (armed, _) => Ok(armed),
    }
}

/// Where dispatch-api connects: as the login of `database.app_url`, or as the one beside it that
/// row-level security does not bind.
pub fn app_url(settings: &Settings) -> Result<String, Failure> {
    const KEY: &str = "database.app_url";
    let url = required(KEY, settings.database.app_url.as_ref())?;
    match is_unprotected(settings)? {
        false => Ok(url.to_owned()),
        true => store::bootstrap::address_without_rls(url).map_err(|error| database(KEY, &error)),
    }
}

/// Creates the login that row-level security does not bind, where `database.rls` asks for it.
pub async fn login_without_rls(
    settings: &Settings,
    name: &str,
    passwords: &Passwords,
) -> Result<bool, Failure> {
    const KEY: &str = "database.admin_url";
    if !is_unprotected(settings)? {
        return Ok(false);
    }
    let admin = required(KEY, settings.database.admin_url.as_ref())?;
    store::bootstrap::create_login_without_rls(admin, name, &passwords.app)
        .await
        .map_err(|error| database(KEY, &error))?;
    Ok(true)
}

/// When `migrate` makes this installation's bundle the one that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Only while none is active. Running programs of another version may know no other bundle than
    /// the active one; replaced under them, each of their commands would be refused.
    IfNone,
    /// Whatever is active.
    Always,
}

/// An active bundle that was left in place, and is not what this program brings.
#[derive(Debug)]
pub struct LeftInPlace {
    /// Its version.
    pub version: String,
    /// Why this program cannot decide with it, if it cannot.
    pub unusable: Option<String>,
}

/// Migrates and, as told, activates the bundle of `policy.bundle_dir`, or the starter bundle of
/// this program. Answers what it left in place instead.
pub async fn migrate(
    settings: &Settings,
    activation: Activation,
) -> Result<Option<LeftInPlace>, Failure> {
    const KEY: &str = "database.owner_url";
    let url = settings.database.owner_url.as_ref();
    let trouble = |error: store::Error| database(KEY, &error);
    store::migrate(required(KEY, url)?).await.map_err(trouble)?;
    let owner = pool(KEY, url).await?;
    let active = store::deployment::read(&owner)
        .await
        .map_err(trouble)?
        .bundle;
    let dir = settings.policy.bundle_dir.as_ref();
    if let (Some(active), Activation::IfNone) = (active, activation) {
        // A folder may hold several bundles; which of them decides was somebody's choice.
        let other = match dir {
            Some(_) => bundles(settings)?.load(&active.sha256).is_err(),
            None => *starter()?.reference() != active,
        };
        if !other {
            return Ok(None);
        }
        let place = store::bundles::Place::Pool(&owner);
        let archives = store::bundles::archives(place, &active.sha256)
            .await
            .map_err(trouble)?;
        return Ok(Some(LeftInPlace {
            version: active.version,
            unusable: unusable(&archives, &trust(settings)?),
        }));
    }
    let bundle = match dir {
        // Nobody has checked it before, as one that comes by upload is.
        Some(dir) => {
            let trust = trust(settings)?;
            BundleFiles::open(dir)
                .and_then(|files| Bundle::admit(files, &trust))
                .map_err(|error| Failure::failed(format!("{}: {}", dir.display(), chain(&error))))?
        }
        None => starter()?,
    };
    let archive = bundle
        .files()
        .to_archive()
        .map_err(|error| Failure::failed(chain(&error)))?;
    let (signer, by, reason) = (bundle.signer(), "dispatch migrate", "migrated");
    let reference = bundle.reference();
    store::bundles::install(&owner, reference, &archive, signer, by, reason, Utc::now())
        .await
        .map_err(trouble)?;
    Ok(None)
}

/// Why none of these archives of one bundle can decide here, as dispatch-api would load it.
fn unusable(archives: &[Vec<u8>], trust: &Trust) -> Option<String> {
    let mut refused = Some("nobody has uploaded it here".to_owned());
    for archive in archives {
        let made = BundleFiles::from_archive(archive)
            .and_then(|files| trust.accept(files))
            .and_then(Bundle::load);
        refused = Some(chain(&made.err()?));
    }
    refused
}

fn starter() -> Result<Bundle, Failure> {
    Bundle::starter()
        .map_err(|error| Failure::failed(format!("the starter bundle: {}", chain(&error))))
}

/// Makes the first tenant, that of those who run the installation; answers what to say of it.
pub async fn platform_tenant(settings: &Settings, slug: &Slug) -> Result<String, Failure> {
    const KEY: &str = "database.owner_url";
    let owner = pool(KEY, settings.database.owner_url.as_ref()).await?;
    let id = TenantId::from_uuid(Uuid::now_v7());
    let first = tenants::first(&owner, id, slug)
        .await
        .map_err(|error| database(KEY, &error))?;
    match first {
        First::Made => Ok(format!("tenant {slug} is made: {id}\n")),
        First::There(it) if it.state == TenantState::Active => Ok(format!(
            "tenant {slug} is there already: {}\n",
            it.tenant_id
        )),
        First::There(it) => Ok(format!(
            "tenant {slug} is there already, and is {}: {}\n",
            it.state, it.tenant_id
        )),
        First::Others(others) => {
            const NAMED: usize = 3;
            let named = others.iter().take(NAMED);
            let named: Vec<_> = named
                .map(|it| format!("{} ({})", it.slug, it.tenant_id))
                .collect();
            let more = if others.len() > NAMED {
                " and others"
            } else {
                ""
            };
            Err(Failure::failed(format!(
                "--platform-tenant makes the first tenant, and there are tenants: {}{more}. No tenant \
                 {slug} was made. Somebody with role platform_admin in one of these makes it: dispatch \
                 tenant create {slug}",
                named.join(", ")
            )))
        }
    }
}

/// Whether there is a tenant.
pub async fn has_tenants(settings: &Settings) -> Result<bool, Failure> {
    const KEY: &str = "database.owner_url";
    let owner = pool(KEY, settings.database.owner_url.as_ref()).await?;
    let there = tenants::are_there(&owner).await;
    there.map_err(|error| database(KEY, &error))
}

/// Adds the demo tenant.
pub async fn seed(settings: &Settings) -> Result<(), Failure> {
    const KEY: &str = "database.owner_url";
    let owner = pool(KEY, settings.database.owner_url.as_ref()).await?;
    store::seed::demo(&owner)
        .await
        .map(drop)
        .map_err(|error| database(KEY, &error))
}

/// Where policy bundles come from.
pub fn bundles(settings: &Settings) -> Result<Arc<dyn BundleSource>, Failure> {
    match &settings.policy.bundle_dir {
        Some(dir) => Ok(Arc::new(DirectoryBundles::new(dir, trust(settings)?))),
        None => Ok(Arc::new(StarterBundles::new().map_err(|error| {
            Failure::failed(format!("the starter bundle: {}", chain(&error)))
        })?)),
    }
}

/// Whose bundles this installation takes: with a folder of keys only what they signed.
pub fn trust(settings: &Settings) -> Result<Trust, Failure> {
    let Some(dir) = &settings.policy.keys_dir else {
        return Ok(Trust::Anybody);
    };
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("`policy.keys_dir` {}: {error}", dir.display()))
    };
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str());
        if let (Some(id), Some("pem")) = (id, path.extension().and_then(|e| e.to_str())) {
            keys.push((id.to_owned(), std::fs::read(&path).map_err(unreadable)?));
        }
    }
    keys.sort();
    let keys = VerificationKeys::from_pem(keys).map_err(|error| {
        Failure::usage(format!(
            "`policy.keys_dir` {} must hold public keys as ID.pem: {}",
            dir.display(),
            chain(&error)
        ))
    })?;
    Ok(Trust::SignedBy(keys))
}

/// dispatch-api, until `shutdown`.
pub fn api(
    settings: &Settings,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = Result<(), Failure>> + Send + use<>, Failure> {
    const SEAL_KEY: &str = "audit.seal_key";
    let failpoints = failpoints(settings)?;
    let (auth, sources) = (&settings.auth, &settings.database);
    let seal_key = settings.audit.seal_key.as_ref();
    let secret = |key, value| required(key, value).map(::api::Secret::new);
    let config = ::api::ApiConfig {
        listen: settings.api.listen,
        metrics_listen: settings.api.metrics_listen,
        database_url: ::api::Secret::new(app_url(settings)?),
        row_level_security: !is_unprotected(settings)?,
        maintenance_url: secret("database.maintenance_url", sources.maintenance_url.as_ref())?,
        pool_size: settings.api.pool,
        tokens: ::api::TokenConfig {
            secret: secret("auth.jwt_secret", auth.jwt_secret.as_ref())?,
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            leeway: leeway(auth)?,
            issuers: issuers(auth)?,
        },
        sealing_key: signing_key(SEAL_KEY, required(SEAL_KEY, seal_key)?)?,
        cursor_keys: cursor_keys(&settings.api)?,
        sealing_interval: SEALING_INTERVAL,
        bundles: bundles(settings)?,
        trust: trust(settings)?,
        ceiling: settings.autonomy.ceiling,
        watched: ::api::Watched {
            temporal: crate::temporal::given()?
                .0
                .or_else(|| settings.temporal.address.clone()),
            ..::api::Watched::default()
        },
        limits: ::api::Limits {
            quotas: quotas(&settings.limits),
            ..::api::Limits::default()
        },
        failpoints,
    };
    Ok(async move {
        ::api::serve(config, shutdown).await.map_err(|error| {
            let text = chain(&error);
            match error {
                ServeError::Identity(_) | ServeError::Failpoint(_) | ServeError::Login(_) => {
                    Failure::usage(text)
                }
                _ => Failure::infrastructure(text),
            }
        })
    })
}

/// The issuers beside our own, as dispatch-api wants them.
pub fn issuers(auth: &Auth) -> Result<Vec<IssuerConfig>, Failure> {
    auth.issuers.iter().map(issuer).collect()
}

fn issuer(given: &AuthIssuer) -> Result<IssuerConfig, Failure> {
    let tenants = match (given.tenant, given.tenants.is_empty(), given.any_tenant) {
        (Some(tenant), true, false) => Tenants::One(tenant),
        (None, false, false) => Tenants::Named(given.tenants.clone()),
        (None, true, true) => Tenants::Any,
        _ => {
            return Err(Failure::usage(format!(
                "`auth.issuers`: {} must have exactly one of `tenant`, `tenants` and `any_tenant = \
                 true`: which tenants it speaks for",
                given.name
            )));
        }
    };
    let defaults = ClaimNames::default();
    let claims = given.claims.clone();
    Ok(IssuerConfig {
        name: given.name.clone(),
        issuer: given.issuer.clone(),
        audiences: given.audiences.clone(),
        algorithm: given.algorithm,
        keys: given
            .jwks_url
            .clone()
            .map_or(KeysAt::Discovery, KeysAt::Url),
        tenants,
        kinds: given.kinds.clone(),
        default_kind: given.default_kind,
        roles: given.roles.clone(),
        claims: ClaimNames {
            subject: claims.subject.unwrap_or(defaults.subject),
            tenant: claims.tenant.unwrap_or(defaults.tenant),
            kind: claims.kind,
            roles: claims.roles,
            technician: claims.technician,
        },
        max_lifetime: Duration::from_secs(given.max_lifetime_seconds.get().into()),
    })
}

/// The relay, until `shutdown`.
pub fn relay(
    settings: &Settings,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = Result<(), Failure>> + Send + use<>, Failure> {
    let failpoints = failpoints(settings)?;
    let temporal = Temporal::new(&settings.temporal)?;
    let url = required("database.relay_url", settings.database.relay_url.as_ref())?;
    let config = ::relay::RelayConfig {
        database_url: url.to_owned(),
        mode: match settings.relay.mode {
            Mode::DeliverToTemporal => ::relay::Mode::DeliverToTemporal,
            Mode::LogOnly => ::relay::Mode::LogOnly,
        },
        temporal: relay_temporal(&temporal),
        metrics_listen: settings.relay.metrics_listen,
        environment: match settings.system.environment {
            Environment::Production => ::relay::Environment::Production,
            Environment::Development => ::relay::Environment::Development,
            Environment::Test => ::relay::Environment::Test,
        },
        time_skipping: settings.relay.time_skipping,
        failpoints,
        tuning: ::relay::Tuning {
            lease_ttl: Duration::from_secs(settings.relay.lease_seconds.get().into()),
            ..::relay::Tuning::default()
        },
    };
    Ok(async move {
        ::relay::run(config, shutdown).await.map_err(|error| {
            let text = chain(&error);
            match error {
                RelayError::Config(_) => Failure::usage(text),
                _ => Failure::infrastructure(text),
            }
        })
    })
}

/// Where Temporal is, as the relay wants it.
pub fn relay_temporal(temporal: &Temporal) -> ::relay::TemporalConfig {
    ::relay::TemporalConfig {
        connection: temporal.connection.clone(),
        namespace: temporal.namespace.clone(),
    }
}

/// A connection of the relay's kind, for a command of an operator.
pub fn relay_client(settings: &Settings) -> Result<::relay::Temporal, Failure> {
    let temporal = Temporal::new(&settings.temporal)?;
    let identity = format!("dispatch-cli-{}", std::process::id());
    Ok(::relay::Temporal::new(
        relay_temporal(&temporal),
        identity,
        CALL_TIMEOUT,
    ))
}

/// The worker version of this program, unless another was set.
pub fn version(settings: &Settings) -> ::worker::Version {
    let mut version = ::worker::Version::of_this_build();
    if let Some(build_id) = &settings.worker.build_id {
        version.build_id.clone_from(build_id);
    }
    version
}

/// The sender of messages, until `shutdown`.
pub fn comms(
    settings: &Settings,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = Result<(), Failure>> + Send + use<>, Failure> {
    let failpoints = failpoints(settings)?;
    let url = required("database.comms_url", settings.database.comms_url.as_ref())?;
    let given = &settings.comms;
    let millis = |n: NonZeroU32| Duration::from_millis(n.get().into());
    let defaults = ::comms::Tuning::default();
    let config = ::comms::CommsConfig {
        database_url: url.to_owned(),
        endpoints: given.endpoints.iter().map(endpoint).collect(),
        metrics_listen: given.metrics_listen,
        failpoints,
        tuning: ::comms::Tuning {
            poll: millis(given.poll_ms),
            batch: given.batch.get(),
            lease_margin: Duration::from_secs(given.lease_seconds.get().into()),
            backoff: ::comms::Backoff {
                first: millis(given.retry_ms),
                ..defaults.backoff
            },
            max_age: Duration::from_secs(u64::from(given.max_age_hours.get()) * 3600),
            ..defaults
        },
    };
    Ok(async move {
        ::comms::run(config, shutdown).await.map_err(|error| {
            let text = chain(&error);
            match error {
                CommsError::Endpoint(_) | CommsError::SameName(_) | CommsError::Failpoint(_) => {
                    Failure::usage(text)
                }
                _ => Failure::infrastructure(text),
            }
        })
    })
}

/// An endpoint, as the sender wants it.
pub fn endpoint(given: &CommsEndpoint) -> ::comms::Endpoint {
    ::comms::Endpoint {
        name: given.name.clone(),
        url: given.url.clone(),
        secret: ::comms::Secret::new(given.secret.expose()),
        channels: given.channels.clone(),
        tenants: given.tenants.clone(),
        keyed: given.keyed,
        on_unknown: match given.on_unknown {
            OnUnknown::Retry => ::comms::OnUnknown::Retry,
            OnUnknown::GiveUp => ::comms::OnUnknown::GiveUp,
        },
        timeout: Duration::from_millis(given.timeout_ms.get().into()),
        allow_http: given.allow_http,
    }
}

/// What the worker calls dispatch-api with.
pub fn worker_key(settings: &Settings) -> Result<ApiKeyText, Failure> {
    let how = "`dispatch service-account create worker --kind workflow --any-tenant` and `dispatch \
               api-key create worker` make one, see docs/api-keys.md";
    let worker = &settings.worker;
    let (setting, text) = match (&worker.api_key, &worker.api_key_file) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage(
                "`worker.api_key` and `worker.api_key_file` are both set: leave one of them out",
            ));
        }
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!(
                    "`worker.api_key_file` {}: {error}; {how}",
                    path.display()
                ))
            })?;
            ("worker.api_key_file", text)
        }
        (given, None) => {
            let text = required("worker.api_key", given.as_ref())
                .map_err(|failure| Failure::usage(format!("{}. {how}", failure.message)))?;
            ("worker.api_key", text.to_owned())
        }
    };
    ApiKeyText::parse(text.trim())
        .map_err(|error| Failure::usage(format!("`{setting}` {error}; {how}")))
}

/// The Temporal worker, until `shutdown`.
pub fn worker(
    settings: &Settings,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = Result<(), Failure>> + Send + use<>, Failure> {
    let temporal = Temporal::new(&settings.temporal)?;
    let key = worker_key(settings)?;
    let mut config = ::worker::WorkerConfig::new(
        temporal.connection,
        temporal.namespace,
        settings.api.url.clone(),
        key,
    );
    config.version = version(settings);
    config.metrics_listen = Some(settings.worker.metrics_listen);
    Ok(async move {
        ::worker::run(config, shutdown)
            .await
            .map_err(worker_failure)
    })
}

/// Makes this program's worker version the current one; a worker of it has to run.
pub async fn promote(settings: &Settings) -> Result<(), Failure> {
    let client = Temporal::new(&settings.temporal)?.connect().await?;
    ::worker::promote(&client, &version(settings))
        .await
        .map_err(worker_failure)
}

/// What went wrong with the worker.
pub fn worker_failure(error: WorkerError) -> Failure {
    Failure::infrastructure(chain(&error))
}

/// Registers what operators search workflows by; answers what was new.
pub async fn register_search_attributes(settings: &Settings) -> Result<Vec<&'static str>, Failure> {
    relay_client(settings)?
        .register_search_attributes(REGISTRATION_BOUND)
        .await
        .map_err(|error| Failure::infrastructure(chain(&error)))
}
