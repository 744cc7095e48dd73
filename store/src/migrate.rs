//! Forward-only migrations, embedded in the program.

use sqlx::{PgConnection, PgPool, migrate::Migrator};

use crate::{
    Error,
    bootstrap::{APP, COMMS, MAINTENANCE, OWNER, READER, RELAY},
    pool::connect_options,
    session::{self, Session},
};

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
    MIGRATOR.run(&mut connection).await?;
    Ok(())
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
}
