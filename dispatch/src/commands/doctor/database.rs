//! Postgres: each login, the schema, row-level security, the bundle, the clock.

use ::api::bundles::Bundles;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use store::{
    bootstrap::{APP, APP_WITHOUT_RLS, COMMS, MAINTENANCE, OWNER, READER, RELAY},
    bundles::Place,
    session::{self, Session},
};

use super::{Check, messages};
use crate::{
    config::{Environment, RowLevelSecurity, Settings},
    exit::{Failure, chain},
    parts,
    secret::Secret,
};

/// More than this between two clocks and tokens or deadlines begin to look wrong.
const SKEW: TimeDelta = TimeDelta::seconds(2);

/// All checks of the database.
pub async fn check(settings: &Settings) -> Vec<Check> {
    let database = &settings.database;
    let mut checks = Vec::new();
    let mut pools = Vec::new();
    for (key, login, url) in [
        ("database.owner_url", OWNER, &database.owner_url),
        ("database.app_url", APP, &database.app_url),
        ("database.relay_url", RELAY, &database.relay_url),
        (
            "database.maintenance_url",
            MAINTENANCE,
            &database.maintenance_url,
        ),
        ("database.comms_url", COMMS, &database.comms_url),
        ("database.reader_url", READER, &database.reader_url),
    ] {
        let (check, pool) = self::login(key, login, url.as_ref()).await;
        checks.push(check);
        pools.push(pool);
    }
    if let Some(Some(app)) = pools.get(1) {
        checks.push(migrations(app).await);
        checks.push(bundle(settings, app).await);
        checks.push(clock(app).await);
    }
    if let Some(Some(relay)) = pools.get(2) {
        checks.push(parked(relay).await);
    }
    if let Some(Some(maintenance)) = pools.get(3) {
        checks.push(separation(settings, maintenance).await);
        checks.push(rights(maintenance).await);
    }
    for (key, login, url, why) in [
        (
            "database.owner_url",
            OWNER,
            &database.owner_url,
            "`dispatch migrate` holds a lock of its session",
        ),
        (
            "database.relay_url",
            RELAY,
            &database.relay_url,
            "the relay hears of new events by LISTEN; without it they wait for its timer",
        ),
    ] {
        if let Some(url) = url {
            checks.push(own_session(key, login, url, why).await);
        }
    }
    if let Some(Some(comms)) = pools.get(4) {
        checks.extend(messages::check(settings, comms).await);
    }
    checks
}

async fn login(key: &'static str, login: &str, url: Option<&Secret>) -> (Check, Option<PgPool>) {
    let part = format!("login {login}");
    let pool = match parts::pool(key, url).await {
        Ok(pool) => pool,
        Err(Failure { message, .. }) => {
            let to_do = format!(
                "check that Postgres runs and that `{key}` is right (`dispatch config show`)"
            );
            return (Check::ill(part, message, to_do), None);
        }
    };
    let carried = match url {
        Some(url) => session::carries_statements(url.expose()).await,
        None => Ok(true),
    };
    if let Ok(false) = carried {
        let found = "goes through a pooler that mixes up callers' prepared statements";
        let to_do = format!(
            "use PgBouncer 1.21 or newer with max_prepared_statements above 0, or let `{key}` be the \
             address of the server itself"
        );
        return (Check::ill(part, found, to_do), None);
    }
    let found = match store::login::look(&pool).await {
        Ok(found) => found,
        Err(error) => {
            let check = Check::ill(part, chain(&error), "look at the server's log");
            return (check, Some(pool));
        }
    };
    // All but that of the application serve every tenant, and the tables are the owner's.
    let ill = match login {
        APP => found.unbound(),
        OWNER => found.above.as_deref(),
        _ => found.above.as_deref().or(found.owns.as_deref()),
    };
    let name = &found.name;
    let check = match ill {
        None => Check::ok(
            part,
            format!("connects as {name}, bound by row-level security"),
        ),
        Some(why) => Check::ill(
            part,
            format!("connects as {name}, which {why}: tenants are not separated"),
            format!("let `{key}` use {login}; `dispatch migrate --bootstrap` creates it"),
        ),
    };
    (check, Some(pool))
}

async fn migrations(app: &PgPool) -> Check {
    let pending = match store::migrate::pending(app).await {
        Ok(0) => Ok("current".to_owned()),
        Ok(missing) => Err(format!("{missing} are missing")),
        Err(error) => Err(chain(&error)),
    };
    Check::from(
        "migrations",
        pending,
        "run `dispatch migrate`, of this version or a newer one",
    )
}

/// What dispatch-api with these settings would make of the active bundle.
async fn bundle(settings: &Settings, app: &PgPool) -> Check {
    const PART: &str = "policy bundle";
    const NONE: &str = "without a bundle every command is refused: run `dispatch migrate`";
    const UNUSABLE: &str = "without it every command is refused: `dispatch policy list` shows what \
                            there is, `dispatch migrate --activate-bundle` lets this program's (or \
                            that of `policy.bundle_dir`) decide; where `policy.keys_dir` is set, \
                            upload the bundle signed with one of its keys";
    let deployment = match store::deployment::read(app).await {
        Ok(deployment) => deployment,
        Err(error) => return Check::ill(PART, chain(&error), "look at the server's log"),
    };
    let Some(bundle) = deployment.bundle else {
        return Check::ill(PART, "no bundle is active", NONE);
    };
    let found = async {
        let near = parts::bundles(settings).map_err(|failure| failure.message)?;
        let trust = parts::trust(settings).map_err(|failure| failure.message)?;
        let loaded = Bundles::new(near, trust)
            .load(Place::Pool(app), &bundle.sha256)
            .await
            .map_err(|error| chain(&error))?;
        let signed = loaded.signer().map(|key| format!(", signed with {key}"));
        Ok::<_, String>(format!(
            "{} ({}…){}, epoch {}",
            bundle.version,
            bundle.sha256.get(..12).unwrap_or(&bundle.sha256),
            signed.unwrap_or_default(),
            deployment.epoch
        ))
    };
    Check::from(PART, found.await, UNUSABLE)
}

async fn parked(relay: &PgPool) -> Check {
    const PART: &str = "parked events";
    match store::outbox::parked(relay).await {
        Err(error) => Check::ill(PART, chain(&error), "look at the server's log"),
        Ok(parked) => match parked.first() {
            None => Check::ok(PART, "none"),
            Some(oldest) => Check::ill(
                PART,
                format!(
                    "{}, the oldest since {} ({}); the workflows of their tickets stand still",
                    parked.len(),
                    oldest.parked_at.format("%Y-%m-%d %H:%M:%S UTC"),
                    oldest.ticket_id,
                ),
                "`dispatch relay parked list` says why; mend the cause, then `dispatch relay \
                 parked replay`",
            ),
        },
    }
}

async fn clock(app: &PgPool) -> Check {
    const PART: &str = "clock of Postgres";
    let before = Utc::now();
    let theirs: Result<DateTime<Utc>, _> = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(app)
        .await;
    let after = Utc::now();
    match theirs {
        Err(error) => Check::ill(PART, chain(&error), "look at the server's log"),
        Ok(theirs) => {
            let skew = if theirs < before {
                before - theirs
            } else {
                (theirs - after).max(TimeDelta::zero())
            };
            let found = format!("differs from ours by {} ms", skew.num_milliseconds());
            if skew > SKEW {
                Check::ill(PART, found, "synchronise both machines' clocks (NTP)")
            } else {
                Check::ok(PART, found)
            }
        }
    }
}

/// Whether what dispatch-api and the relay are told leads to a session of its own.
async fn own_session(key: &str, login: &str, url: &Secret, why: &str) -> Check {
    let part = format!("session of {login}");
    match session::probe(url.expose()).await {
        Ok(Session::Own) => Check::ok(part, "its own"),
        Ok(Session::Shared) => Check::ill(
            part,
            format!("goes through a pooler in transaction mode; {why}"),
            format!("let `{key}` be the address of the server itself"),
        ),
        Err(error) => Check::ill(part, chain(&error), format!("check `{key}`")),
    }
}

/// Whether somebody switched the separation of tenants off, or left the means to do so behind.
async fn separation(settings: &Settings, maintenance: &PgPool) -> Check {
    const PART: &str = "separation of tenants";
    if settings.database.rls == RowLevelSecurity::Off {
        return Check::ill(
            PART,
            "`database.rls` is off: any read may show any tenant's rows",
            "set `database.rls` to on, or take it out of the configuration",
        );
    }
    let left: Result<bool, _> = sqlx::query_scalar(
        "select exists (select from pg_roles where rolname = $1 and rolcanlogin and rolbypassrls)",
    )
    .bind(APP_WITHOUT_RLS)
    .fetch_one(maintenance)
    .await;
    match left {
        Ok(true) if settings.system.environment == Environment::Production => Check::ill(
            PART,
            format!("the login {APP_WITHOUT_RLS} of a development installation is there"),
            format!("as an administrator: drop role {APP_WITHOUT_RLS}"),
        ),
        Ok(_) => Check::ok(PART, "by row-level security"),
        Err(error) => Check::ill(PART, chain(&error), "look at the server's log"),
    }
}

/// What the database itself has to enforce, as `dispatch verify` looks for it.
async fn rights(maintenance: &PgPool) -> Check {
    const PART: &str = "row-level security";
    let found = async {
        let mut connection = maintenance.acquire().await?;
        store::verify::rights(&mut connection).await
    };
    match found.await {
        Err(error) => Check::ill(PART, chain(&error), "look at the server's log"),
        Ok(found) => match found.as_slice() {
            [] => Check::ok(
                PART,
                "enabled and forced on every table with tenants; no login may more than it needs",
            ),
            [first, rest @ ..] => Check::ill(
                PART,
                format!("{}: {} (and {} more)", first.place, first.what, rest.len()),
                "`dispatch verify` tells all; mend it as the owner, and find out who changed it. \
                 docs/database-rights.md says how it must be",
            ),
        },
    }
}
