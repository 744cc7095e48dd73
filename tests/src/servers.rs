//! The real servers that a test run shares: one Postgres, one Temporal.
//!
//! They start with the first test that needs them, on a runtime of their own that outlives each
//! test, and end with the process. Each test takes a database and a Temporal task queue of its own.
//!
//! Without the servers nothing can be said about the code, so a run that lacks them ends at once
//! with [`MISSING_EXIT_CODE`] and a line that begins with `INFRASTRUCTURE MISSING:`; a failed test
//! ends with the runner's own code.

use std::{future::Future, io::Write, sync::LazyLock};

use embedded::{
    Durability, EmbeddedError, Oidc, PgBouncer, PgBouncerOptions, Postgres, PostgresOptions,
    PostgresSource, Progress, Schemathesis, TemporalOptions, TemporalServer,
};
use tokio::{runtime::Runtime, sync::OnceCell};

/// Exit code of a run that could not test anything; the test runner's own for a failure is 101.
pub const MISSING_EXIT_CODE: i32 = 3;

const STACK: usize = 8 << 20;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .expect("a runtime can be built")
});

static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();
static TEMPORAL: OnceCell<TemporalServer> = OnceCell::const_new();
static PGBOUNCER: OnceCell<PgBouncer> = OnceCell::const_new();

/// Runs a test on the shared runtime, on a thread with a large stack: unoptimised futures of the
/// whole system are deep.
pub fn run<F: Future<Output: Send>>(test: impl FnOnce() -> F + Send) -> F::Output {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(std::thread::current().name().unwrap_or("test").to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || RUNTIME.block_on(test()))
            .expect("a thread can be started");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The shared Postgres: the one that `DATABASE_URL` names (as superuser), or a server of our own.
pub async fn postgres() -> &'static Postgres {
    POSTGRES
        .get_or_init(|| async {
            let source = match std::env::var("DATABASE_URL") {
                Ok(url) => PostgresSource::Url(url),
                Err(_) => PostgresSource::Automatic,
            };
            let settings = [("max_connections", "400"), ("shared_buffers", "256MB")];
            present(
                Postgres::start(PostgresOptions {
                    source,
                    durability: Durability::Fast,
                    settings: settings.map(|(k, v)| (k.into(), v.into())).into(),
                    progress: progress(),
                    ..PostgresOptions::default()
                })
                .await,
            )
        })
        .await
}

/// The shared Temporal server; it can skip time.
pub async fn temporal() -> &'static TemporalServer {
    TEMPORAL
        .get_or_init(|| async {
            present(
                TemporalServer::resolve_and_start(TemporalOptions {
                    address: std::env::var("TEMPORAL_ADDRESS").ok(),
                    ui: false,
                    need_time_skipping: true,
                    progress: progress(),
                    ..TemporalOptions::default()
                })
                .await,
            )
        })
        .await
}

/// A PgBouncer that carries prepared statements; each test that needs one starts its own.
pub async fn pgbouncer() -> &'static PgBouncer {
    PGBOUNCER
        .get_or_init(|| async {
            present(
                PgBouncer::resolve(PgBouncerOptions {
                    progress: progress(),
                    ..PgBouncerOptions::from_env()
                })
                .await,
            )
        })
        .await
}

/// The OpenID provider's program; each test that needs one starts its own.
pub async fn oidc() -> Oidc {
    present(Oidc::resolve(&progress()).await)
}

/// The program that holds the API to its document.
pub async fn schemathesis() -> Schemathesis {
    present(Schemathesis::resolve(&progress()).await)
}

/// Said past the runner, which keeps a test's output back: building a server takes minutes.
fn progress() -> Progress {
    Progress::new(|line| say(&format!("tests: {line}")))
}

fn say(line: &str) {
    // Nobody is left to tell when the terminal is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What was started. Only what is missing counts as missing: a server that is there and does not
/// start is a failure like any other.
fn present<T>(started: Result<T, EmbeddedError>) -> T {
    match started {
        Ok(server) => server,
        Err(EmbeddedError::Missing(missing)) => {
            // The runner would call this a failed test; it is not one.
            say(&missing.to_string());
            std::process::exit(MISSING_EXIT_CODE);
        }
        Err(error) => panic!("a server that the tests need does not start: {error}"),
    }
}
