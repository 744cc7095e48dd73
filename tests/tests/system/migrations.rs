//! Migrations beside those who work: writers are not kept waiting, and what broke off is mended by the
//! next run.

use std::borrow::Cow;

use dispatch_tests::{
    database::Database,
    servers,
    wait::{self, BOUND},
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgConnectOptions,
};
use tokio::task::JoinHandle;

const BESIDE: &str =
    "-- no-transaction\n-- Why.\ncreate index concurrently if not exists trial_index on trial (n);";
const IN_THE_WAY: &str = "create index trial_index on trial (n);";
/// Longer than any statement of a test takes that nothing keeps waiting.
const AT_ONCE: &str = "1500ms";

/// Those of this build, and one more.
fn and(sql: &'static str) -> Migrator {
    let mut all: Vec<Migration> = store::MIGRATOR.iter().cloned().collect();
    all.push(Migration::new(
        99_991_231_000_000,
        Cow::Borrowed("trial"),
        MigrationType::Simple,
        sql.into_sql_str(),
        sql.starts_with("-- no-transaction"),
    ));
    Migrator::with_migrations(all)
}

async fn owner(database: &Database) -> PgConnection {
    let options: PgConnectOptions = database.addresses.owner.parse().unwrap();
    options.connect().await.unwrap()
}

/// A migration under way, and the process of the server that carries it out.
struct Run {
    pid: i32,
    task: JoinHandle<Result<(), store::Error>>,
}

impl Run {
    async fn start(database: &Database, sql: &'static str) -> Self {
        let mut connection = owner(database).await;
        let pid = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let task =
            tokio::spawn(async move { store::migrate::run(&and(sql), &mut connection).await });
        Self { pid, task }
    }

    async fn ended(self) -> Result<(), store::Error> {
        wait::within("the migration", BOUND, self.task)
            .await
            .unwrap()
    }
}

/// A table with a writer that has not ended.
async fn with_a_writer(database: &Database) -> PgConnection {
    let mut owner = owner(database).await;
    for sql in [
        "create table trial (n integer not null)",
        "insert into trial select generate_series(1, 100)",
    ] {
        sqlx::query(sql).execute(&mut owner).await.unwrap();
    }
    begun(database).await
}

async fn begun(database: &Database) -> PgConnection {
    let mut writer = owner(database).await;
    for sql in ["begin", "insert into trial values (0)"] {
        sqlx::raw_sql(sql).execute(&mut writer).await.unwrap();
    }
    writer
}

/// Until the process waits for a lock.
async fn waits(admin: &PgPool, pid: i32) {
    wait::until("the migration waits", BOUND, async || {
        let waits: Option<bool> = sqlx::query_scalar(
            "select wait_event_type = 'Lock' from pg_stat_activity where pid = $1",
        )
        .bind(pid)
        .fetch_one(admin)
        .await
        .unwrap();
        (waits == Some(true)).then_some(()).ok_or(waits)
    })
    .await;
}

/// Another writer, who is not to wait.
async fn writes_at_once(database: &Database) -> Result<(), sqlx::Error> {
    let mut other = owner(database).await;
    let sql = format!("set lock_timeout = '{AT_ONCE}'");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut other)
        .await?;
    sqlx::query("insert into trial values (-1)")
        .execute(&mut other)
        .await?;
    other.close().await
}

async fn commit(mut writer: PgConnection) {
    sqlx::raw_sql("commit").execute(&mut writer).await.unwrap();
    writer.close().await.unwrap();
}

/// Whether the index is there, and can be used.
async fn index(admin: &PgPool) -> Option<bool> {
    sqlx::query_scalar(
        "select i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid
          where c.relname = 'trial_index'",
    )
    .fetch_optional(admin)
    .await
    .unwrap()
}

#[test]
fn an_index_is_built_beside_its_writers() {
    servers::run(async || {
        let database = Database::create().await;
        let writer = with_a_writer(&database).await;
        let run = Run::start(&database, BESIDE).await;
        waits(&database.admin, run.pid).await;
        assert_eq!(
            index(&database.admin).await,
            Some(false),
            "it is being built"
        );
        for _ in 0..3 {
            writes_at_once(&database).await.unwrap();
        }
        commit(writer).await;
        run.ended().await.unwrap();
        assert_eq!(index(&database.admin).await, Some(true));
        let pending = store::migrate::pending(&database.admin).await.unwrap();
        assert_eq!(pending, 0);

        // The same in a transaction keeps them waiting: the test above would see it.
        let mut owner = owner(&database).await;
        sqlx::raw_sql(
            "drop index trial_index; delete from _sqlx_migrations where version > 99990000000000",
        )
        .execute(&mut owner)
        .await
        .unwrap();
        let writer = begun(&database).await;
        let run = Run::start(&database, IN_THE_WAY).await;
        waits(&database.admin, run.pid).await;
        let refused = writes_at_once(&database).await.unwrap_err();
        let code = refused.as_database_error().and_then(|it| it.code());
        assert_eq!(code.as_deref(), Some("55P03"), "{refused}");
        // It lets them pass after a while, and tries again.
        wait::until("the writer's turn", BOUND, || writes_at_once(&database)).await;
        assert_eq!(index(&database.admin).await, None);
        commit(writer).await;
        run.ended().await.unwrap();
        assert_eq!(index(&database.admin).await, Some(true));
        database.remove().await;
    });
}

#[test]
fn an_index_whose_build_broke_off_is_built_anew() {
    servers::run(async || {
        let database = Database::create().await;
        let writer = with_a_writer(&database).await;
        for how in ["pg_cancel_backend", "pg_terminate_backend"] {
            let run = Run::start(&database, BESIDE).await;
            waits(&database.admin, run.pid).await;
            sqlx::query(AssertSqlSafe(format!("select {how}($1)")))
                .bind(run.pid)
                .execute(&database.admin)
                .await
                .unwrap();
            let broken = run.ended().await.unwrap_err();
            assert!(matches!(
                broken,
                store::Error::Migrate(_) | store::Error::Unavailable(_)
            ));
            assert_eq!(index(&database.admin).await, Some(false), "{how}");
        }
        commit(writer).await;
        // Two at once: the one after the other.
        let (one, other) = (
            Run::start(&database, BESIDE).await,
            Run::start(&database, BESIDE).await,
        );
        one.ended().await.unwrap();
        other.ended().await.unwrap();
        assert_eq!(index(&database.admin).await, Some(true));
        let applied: i64 = sqlx::query_scalar(
            "select count(*) from _sqlx_migrations where version > 99990000000000",
        )
        .fetch_one(&database.admin)
        .await
        .unwrap();
        assert_eq!(applied, 1);
        database.remove().await;
    });
}

#[test]
fn what_else_has_no_transaction_is_refused() {
    servers::run(async || {
        let database = Database::create().await;
        let wrong = "-- no-transaction\ncreate table trial (n integer); create table other ();";
        let refused = Run::start(&database, wrong)
            .await
            .ended()
            .await
            .unwrap_err();
        assert!(
            matches!(refused, store::Error::Configuration(_)),
            "{refused}"
        );
        let made: bool = sqlx::query_scalar("select to_regclass('trial') is not null")
            .fetch_one(&database.admin)
            .await
            .unwrap();
        assert!(!made);
        // And nobody is kept out by the attempt.
        store::migrate(&database.addresses.owner).await.unwrap();
        database.remove().await;
    });
}

#[test]
fn two_who_wait_do_not_stand_in_an_indexs_way() {
    servers::run(async || {
        let database = Database::create().await;
        let writer = with_a_writer(&database).await;
        let run = Run::start(&database, BESIDE).await;
        waits(&database.admin, run.pid).await;
        // They wait for its end, and it for nobody that is newer than the writer.
        let others = [
            Run::start(&database, BESIDE).await,
            Run::start(&database, BESIDE).await,
        ];
        commit(writer).await;
        run.ended().await.unwrap();
        for other in others {
            other.ended().await.unwrap();
        }
        database.remove().await;
    });
}
