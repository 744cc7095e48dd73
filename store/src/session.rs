//! Whether an address leads to a session of one's own, or through a pooler that gives each
//! transaction whichever connection is free.
//!
//! Commands and reads are single transactions with their settings inside, so dispatch-api, the sealer,
//! `verify`, replays and the sender work through such a pooler, if it carries prepared statements of the
//! protocol (PgBouncer since 1.21). What needs a session does not: LISTEN, and the lock that keeps two
//! migrations apart. Neither fails by itself there: the one hears nothing, the other stays behind on
//! a connection of somebody else. So it is looked for before it matters: a migration is refused, and a
//! relay does not listen and asks every so often.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgListener, PgPoolOptions},
    raw_sql,
};
use uuid::Uuid;

use crate::{Error, pool::connect_options};

/// `duplicate_prepared_statement` and `invalid_sql_statement_name`: what two callers meet whose
/// statements of the same name go over one connection.
const MIXED_UP: [&str; 2] = ["42P05", "26000"];

/// A server that notifies at all does so in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose session a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// Its own, from beginning to end.
    Own,
    /// That of whichever connection a pooler gave its transaction.
    Shared,
}

/// Finds out whose session connections to this address have.
///
/// # Errors
/// When nobody can connect there.
pub async fn probe(url: &str) -> Result<Session, Error> {
    let options = connect_options(url)?;
    let (mut one, mut other) = (options.connect().await?, options.connect().await?);
    let mut session = Session::Shared;
    // Two that are open at once are two, unless there is one behind them.
    if backend(&mut one).await? != backend(&mut other).await? {
        // A pooler that takes turns is told by what it does not pass on.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        let channel = format!("dispatch_session_{}", Uuid::new_v4().simple());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(&channel).await?;
        raw_sql(sqlx::AssertSqlSafe(format!("notify {channel}")))
            .execute(&mut one)
            .await?;
        let heard = tokio::time::timeout(PATIENCE, listener.recv()).await;
        if matches!(heard, Ok(Ok(_))) {
            session = Session::Own;
        }
        drop(listener);
        pool.close().await;
    }
    close([one, other]).await;
    Ok(session)
}

/// Whether prepared statements work there. Always without a pooler; with one that does not know them
/// two callers meet each other's, now and then.
///
/// # Errors
/// When nobody can connect there.
pub async fn carries_statements(url: &str) -> Result<bool, Error> {
    let options = connect_options(url)?;
    let mut both = [options.connect().await?, options.connect().await?];
    let mut carried = true;
    // Each counts its statements from one: those of the same number have the same name.
    for statement in ["select 1", "select 2"] {
        for connection in &mut both {
            let result = sqlx::query_scalar::<_, i32>(statement)
                .fetch_one(connection)
                .await;
            match result {
                Ok(_) => {}
                Err(sqlx::Error::Database(error))
                    if error.code().is_some_and(|code| MIXED_UP.contains(&&*code)) =>
                {
                    carried = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    close(both).await;
    Ok(carried)
}

/// Refuses an address behind which callers would meet each other's prepared statements.
///
/// # Errors
/// [`Error::Configuration`] for such an address; otherwise as [`carries_statements`].
pub async fn demand_statements(url: &str) -> Result<(), Error> {
    match carries_statements(url).await? {
        true => Ok(()),
        false => Err(Error::Configuration(
            "the address of the database leads through a pooler that does not carry prepared \
             statements: it must be PgBouncer 1.21 or newer with max_prepared_statements above 0, or \
             its like; or give the address of the server itself"
                .into(),
        )),
    }
}

/// The process of the server behind a connection, asked without a prepared statement.
async fn backend(connection: &mut PgConnection) -> Result<i32, Error> {
    let row = raw_sql("select pg_backend_pid()")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

async fn close(connections: [PgConnection; 2]) {
    for connection in connections {
        // Best effort: the server ends it as well.
        let _ = connection.close().await;
    }
}
