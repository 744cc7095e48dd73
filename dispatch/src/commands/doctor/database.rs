//! Postgres: each login, the schema, row-level security, the bundle, the clock.

use ::api::bundles::Bundles;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use store::{
    bootstrap::{APP, COMMS, MAINTENANCE, OWNER, READER, RELAY},
    bundles::Place,
};

use super::{Check, messages};
use crate::{
    config::Settings,
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
        checks.push(row_level_security(maintenance).await);
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
    let rights = sqlx::query_as::<_, (String, bool, bool)>(
        "select rolname::text, rolsuper, rolbypassrls from pg_roles where rolname = current_user",
    )
    .fetch_one(&pool)
    .await;
    let check = match rights {
        Ok((name, false, false)) => Check::ok(
            part,
            format!("connects as {name}, bound by row-level security"),
        ),
        Ok((name, superuser, _)) => Check::ill(
            part,
            format!(
                "connects as {name}, which {}: tenants are not separated",
                if superuser {
                    "is a superuser"
                } else {
                    "bypasses row-level security"
                }
            ),
            format!("let `{key}` use {login}; `dispatch migrate --bootstrap` creates it"),
        ),
        Err(error) => Check::ill(part, chain(&error), "look at the server's log"),
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

async fn row_level_security(maintenance: &PgPool) -> Check {
    const PART: &str = "row-level security";
    let open: Result<Vec<String>, _> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
         where c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity)
         order by 1",
    )
    .fetch_all(maintenance)
    .await;
    match open {
        Err(error) => Check::ill(PART, chain(&error), "look at the server's log"),
        Ok(open) if open.is_empty() => {
            Check::ok(PART, "enabled and forced on every table with tenants")
        }
        Ok(open) => Check::ill(
            PART,
            format!("not forced on {}", open.join(", ")),
            "run `alter table … enable row level security, force row level security` on them, and \
             find out who changed it",
        ),
    }
}
