//! Forward-only migrations, embedded in the program.
//!
//! They run while others work, so none may keep writers waiting for long. A migration in a transaction
//! waits for its locks briefly and then lets those pass who wait behind it, and tries again. An index of
//! a table that has rows already is built beside its writers, by a migration without a transaction
//! (`-- no-transaction` as its first line) that is one `create index concurrently if not exists`. When
//! that breaks off, an index is left that costs and does nothing: the next run removes it and begins
//! anew.
//!
//! One run at a time. The others ask again and again instead of waiting in the database: whoever waits
//! there holds a snapshot, and an index that is built beside its writers waits for all older ones.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Executor, PgConnection, PgPool,
    migrate::{Migrate, MigrateError, Migration, Migrator},
    raw_sql,
};
use tokio::time::sleep;

use crate::{
    Error,
    bootstrap::{APP, COMMS, MAINTENANCE, OWNER, READER, RELAY},
    pool::connect_options,
    session::{self, Session},
};

/// How long a migration waits for a lock while others wait behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it is tried, and the pause between two tries.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(2);
/// How long an index that keeps nobody waiting waits for those who began before it: an export reads for
/// a quarter of an hour.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// Between two looks whether another run has ended.
const TURN: Duration = Duration::from_millis(200);

/// All migrations that this build knows.
pub static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Brings the database up to date; does nothing when it is. As `dispatch_owner`.
///
/// # Errors
/// [`Error::Migrate`] when an applied migration was altered or this build is older than the
/// database; [`Error::Configuration`], before anything is changed, when a login is missing to which
/// they give rights, or when the address leads through a pooler.
pub async fn migrate(owner_url: &str) -> Result<(), Error> {
    use sqlx::ConnectOptions;
    refuse_pooler(owner_url, "nothing was migrated").await?;
    let mut connection: PgConnection = connect_options(owner_url)?.connect().await?;
    let missing: Vec<String> = sqlx::query_scalar(
        "select login from unnest($1::text[]) login
         where not exists (select from pg_roles where rolname = login)",
    )
    .bind([OWNER, APP, RELAY, MAINTENANCE, COMMS, READER].as_slice())
    .fetch_all(&mut connection)
    .await?;
    if !missing.is_empty() {
        return Err(Error::Configuration(format!(
            "nothing was migrated: the login {} does not exist on this server; `dispatch migrate \
             --bootstrap` creates it, as an administrator",
            missing.join(", ")
        )));
    }
    run(&MIGRATOR, &mut connection).await
}

/// Applies what is pending of these.
///
/// # Errors
/// [`Error::Migrate`] when an applied migration was altered or one is missing, and when one fails:
/// those before it are applied, and it is tried anew by the next run. [`Error::Configuration`] when its
/// locks were not to be had.
pub async fn run(migrator: &Migrator, connection: &mut PgConnection) -> Result<(), Error> {
    take_turn(connection).await?;
    let table = &*migrator.table_name;
    connection.ensure_migrations_table(table).await?;
    let applied = connection.list_applied_migrations(table).await?;
    for migration in migrator.iter() {
        if !applied.iter().any(|it| it.version == migration.version) {
            apply(migrator, migration, connection).await?;
        }
    }
    // What was applied is what this build knows.
    migrator.run_direct(None, connection, false).await?;
    raw_sql(END_TURN).execute(connection).await?;
    Ok(())
}

const TAKE_TURN: &str = "select pg_try_advisory_lock(hashtextextended('dispatch migrate', 0))";
const END_TURN: &str = "select pg_advisory_unlock(hashtextextended('dispatch migrate', 0))";

async fn take_turn(connection: &mut PgConnection) -> Result<(), Error> {
    let mut told = false;
    while !sqlx::query_scalar::<_, bool>(TAKE_TURN)
        .fetch_one(&mut *connection)
        .await?
    {
        if !told {
            tracing::info!("another migration of this database is under way: waiting for its end");
            told = true;
        }
        sleep(TURN).await;
    }
    Ok(())
}

async fn apply(
    migrator: &Migrator,
    migration: &Migration,
    connection: &mut PgConnection,
) -> Result<(), Error> {
    let version = migration.version;
    let index = match migration.no_tx {
        false => None,
        true => Some(index_beside(migration.sql.as_str()).ok_or_else(|| {
            Error::Configuration(format!(
                "migration {version} has no transaction, so it has to be one `create index \
                 concurrently if not exists` and nothing else"
            ))
        })?),
    };
    let (patience, tries) = match index {
        Some(_) => (PATIENCE, 1),
        None => (LOCK_TIMEOUT, TRIES),
    };
    // A number: nothing can be injected.
    let sql = format!("set lock_timeout = {}", patience.as_millis());
    connection.execute(AssertSqlSafe(sql)).await?;
    if let Some(index) = &index {
        remove_broken(index, connection).await?;
    }
    for n in 1..=tries {
        match migrator.run_direct(Some(version), connection, false).await {
            Ok(()) => return Ok(()),
            Err(error) if !waited_in_vain(&error) => return Err(error.into()),
            Err(_) if n < tries => {
                tracing::warn!(
                    version,
                    n,
                    "a migration waits for locks of others: trying again"
                );
                sleep(PAUSE).await;
            }
            Err(_) => {}
        }
    }
    Err(Error::Configuration(format!(
        "migration {version} waited in vain for a lock, so it was not applied; a transaction that is \
         old holds it (`pg_stat_activity` shows it): end that and run `dispatch migrate` again"
    )))
}

fn waited_in_vain(error: &MigrateError) -> bool {
    let MigrateError::ExecuteMigration(sqlx::Error::Database(error), _) = error else {
        return false;
    };
    // The lock did not come in time, or a command under way and this waited for each other.
    matches!(error.code().as_deref(), Some("55P03" | "40P01"))
}

/// What a build that broke off left behind, under the name that it is to have.
async fn remove_broken(index: &str, connection: &mut PgConnection) -> Result<(), Error> {
    let broken: Option<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_index i join pg_class c on c.oid = i.indexrelid
          where c.relname = $1 and c.relnamespace = current_schema()::regnamespace
            and not i.indisvalid",
    )
    .bind(index)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(broken) = broken {
        tracing::warn!(%broken, "an index whose build broke off is removed and built anew");
        // Quoted by the server where it has to be.
        let sql = format!("drop index concurrently if exists {broken}");
        connection.execute(AssertSqlSafe(sql)).await?;
    }
    Ok(())
}

/// The index that a migration without a transaction builds, if that is all it does.
fn index_beside(sql: &str) -> Option<String> {
    let text = without_comments(sql);
    let statement = text.trim().strip_suffix(';').unwrap_or(&text);
    if statement.contains(';') {
        return None;
    }
    let mut words = statement.split_whitespace().map(str::to_lowercase);
    let mut next = words.next();
    for word in [
        "create",
        "unique",
        "index",
        "concurrently",
        "if",
        "not",
        "exists",
    ] {
        match next.as_deref() == Some(word) {
            true => next = words.next(),
            false if word == "unique" => {}
            false => return None,
        }
    }
    let is_name = |name: &String| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    next.filter(is_name)
}

fn without_comments(sql: &str) -> String {
    let lines = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// What keeps two of these apart is a lock of the session. Through a pooler it would be taken on one
/// connection, let go on another, and be in everybody's way for as long as the first one lives.
pub(crate) async fn refuse_pooler(url: &str, so: &str) -> Result<(), Error> {
    match session::probe(url).await? {
        Session::Own => Ok(()),
        Session::Shared => Err(Error::Configuration(format!(
            "{so}: the address leads through a pooler in transaction mode, and this needs a session of \
             its own; give the address of the server itself"
        ))),
    }
}

/// How many migrations of this build are not applied yet. Newer ones than it knows are no trouble:
/// during a rolling upgrade the older programs go on.
///
/// # Errors
/// [`Error::Configuration`] when what is applied and what this build knows part ways.
pub async fn pending(pool: &PgPool) -> Result<usize, Error> {
    let applied: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("select version, checksum, success from _sqlx_migrations order by version")
            .fetch_all(pool)
            .await
            .or_else(|error| match &error {
                // Nobody migrated this database yet.
                sqlx::Error::Database(e) if e.code().as_deref() == Some("42P01") => Ok(Vec::new()),
                _ => Err(error),
            })?;
    compare(&applied, &known())
}

fn known() -> Vec<(i64, Vec<u8>)> {
    MIGRATOR
        .iter()
        .map(|m| (m.version, m.checksum.to_vec()))
        .collect()
}

fn compare(applied: &[(i64, Vec<u8>, bool)], known: &[(i64, Vec<u8>)]) -> Result<usize, Error> {
    let wrong = |what: String| Err(Error::Configuration(what));
    for (i, (version, checksum, success)) in applied.iter().enumerate() {
        match known.get(i) {
            None => {}
            Some(_) if !success => {
                return wrong(format!(
                    "migration {version} was interrupted; run `dispatch migrate`"
                ));
            }
            Some((v, c)) if v == version && c == checksum => {}
            Some((v, _)) if v == version => {
                return wrong(format!(
                    "migration {version} was applied with another text; run the program that did it"
                ));
            }
            Some(_) => {
                return wrong(format!(
                    "migration {version} is not known to this program; run a newer version of it"
                ));
            }
        }
    }
    Ok(known.len().saturating_sub(applied.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_beginning_of_what_the_program_knows_or_goes_on_from_it() {
        let known = vec![(1, vec![1]), (2, vec![2])];
        let applied = |versions: &[i64]| -> Vec<_> {
            versions
                .iter()
                .map(|v| (*v, vec![u8::try_from(*v).unwrap()], true))
                .collect()
        };
        assert_eq!(compare(&applied(&[]), &known).unwrap(), 2);
        assert_eq!(compare(&applied(&[1, 2]), &known).unwrap(), 0);
        assert_eq!(compare(&applied(&[1, 2, 3]), &known).unwrap(), 0);
        assert!(compare(&applied(&[1, 3]), &known).is_err());
        assert!(compare(&[(1, vec![9], true)], &known).is_err());
        assert!(compare(&[(1, vec![1], false)], &known).is_err());
    }

    #[test]
    fn migrations_are_in_order() {
        assert!(known().is_sorted_by_key(|(version, _)| *version));
    }

    #[test]
    fn without_a_transaction_there_is_one_index_and_nothing_else() {
        for (sql, name) in [
            (
                "create index concurrently if not exists a_b on t (c)",
                Some("a_b"),
            ),
            (
                "-- no-transaction\n-- Why; at length.\n\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS\n a2\n on t (c) -- x\n where d;\n",
                Some("a2"),
            ),
            ("create index concurrently a on t (c);", None),
            ("create index if not exists a on t (c);", None),
            (
                "create index concurrently if not exists \"A\" on t (c);",
                None,
            ),
            (
                "create index concurrently if not exists a on t (c); select 1;",
                None,
            ),
            ("update t set c = 1;", None),
            ("", None),
        ] {
            assert_eq!(index_beside(sql).as_deref(), name, "{sql}");
        }
        for migration in MIGRATOR.iter().filter(|it| it.no_tx) {
            assert!(
                index_beside(migration.sql.as_str()).is_some(),
                "{}",
                migration.version
            );
        }
    }

    /// The last one that was released before this rule.
    const FREE: i64 = 20_261_121_160_500;

    /// A few rows each, and few write them.
    const SMALL: [&str; 1] = ["tenants"];

    /// Tables that an index in a transaction is built on, of those that the same text does not make.
    fn blocked(sql: &str) -> Vec<String> {
        let text = without_comments(sql).to_lowercase();
        let words: Vec<_> = text
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .collect();
        let made = |table: &str| words.windows(3).any(|it| it == ["create", "table", table]);
        let mut found = Vec::new();
        for (i, pair) in words.windows(2).enumerate() {
            if !matches!(pair, ["create" | "unique", "index"])
                || words.get(i + 2) == Some(&"concurrently")
            {
                continue;
            }
            let on = words[i..].iter().position(|word| *word == "on");
            let table = on
                .and_then(|on| words.get(i + on + 1))
                .copied()
                .unwrap_or("?");
            if !made(table) && !SMALL.contains(&table) {
                found.push(table.to_owned());
            }
        }
        found
    }

    #[test]
    fn no_index_keeps_writers_waiting() {
        assert_eq!(
            blocked("create unique index a on t (c); create index on u (c);"),
            ["t", "u"]
        );
        assert_eq!(
            blocked("create table t (c int); create index a on t (c);"),
            [""; 0]
        );
        assert_eq!(
            blocked("create index concurrently if not exists a on t (c);"),
            [""; 0]
        );
        for migration in MIGRATOR.iter().filter(|it| it.version > FREE) {
            let blocked = blocked(migration.sql.as_str());
            assert_eq!(
                blocked, [""; 0],
                "migration {} builds an index while writers of its table wait: put it into a migration of \
                 its own that begins with `-- no-transaction` and is one `create index concurrently if \
                 not exists`",
                migration.version
            );
        }
    }
}
