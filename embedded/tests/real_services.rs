//! Starts the real PostgreSQL and the real Temporal server. Without them these
//! tests fail with `INFRASTRUCTURE MISSING:`, they are never skipped.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dispatch_embedded::{
    Durability, EmbeddedError, Opa, OpaOptions, OpaServer, Postgres, PostgresOptions,
    PostgresSource, Progress, TemporalOptions, TemporalServer, postgres, process, required,
    temporal,
};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // As root, PostgreSQL's account must be able to pass, else its data goes
    // somewhere else.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&folder, open).unwrap();
    folder
}

fn postgres_in(folder: &Path) -> PostgresOptions {
    PostgresOptions {
        data_dir: Some(folder.to_owned()),
        ..Default::default()
    }
}

fn temporal_in(folder: &Path) -> TemporalOptions {
    TemporalOptions {
        db_file: Some(folder.join("temporal.db")),
        search_attributes: vec![("TenantId".to_owned(), "Keyword".to_owned())],
        need_time_skipping: true,
        progress: Progress::new(|line| eprintln!("{line}")),
        ..Default::default()
    }
}

async fn connect(postgres: &Postgres) -> PgConnection {
    PgConnection::connect(postgres.superuser_url())
        .await
        .unwrap()
}

async fn scalar(connection: &mut PgConnection, query: &'static str) -> String {
    sqlx::query_scalar(query)
        .fetch_one(connection)
        .await
        .unwrap()
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim()
            .starts_with('Z')
    })
}

#[tokio::test]
async fn postgres_keeps_its_data_and_asks_for_the_password() {
    let folder = folder();
    let first = required(Postgres::start(postgres_in(&folder.path().join("pg"))).await);
    let mut connection = connect(&first).await;
    assert_eq!(scalar(&mut connection, "SHOW fsync").await, "on");
    sqlx::raw_sql("CREATE TABLE kept (x text); INSERT INTO kept VALUES ('kept')")
        .execute(&mut connection)
        .await
        .unwrap();
    drop(connection);

    let port = first.port().unwrap();
    let url = format!("postgres://postgres:wrong@127.0.0.1:{port}/postgres");
    let refused = PgConnection::connect(&url).await.unwrap_err();
    let code = refused
        .as_database_error()
        .and_then(|e| e.code().map(|c| c.into_owned()));
    assert_eq!(code.as_deref(), Some("28P01"), "{refused}");

    let second_user = Postgres::start(postgres_in(&folder.path().join("pg")))
        .await
        .unwrap_err();
    assert_eq!(second_user.code(), "DATA_IN_USE");
    let pid = first.pid().unwrap();
    first.shutdown().await;
    assert!(!is_alive(pid));

    let begun = Instant::now();
    let options = PostgresOptions {
        durability: Durability::Fast,
        port: Some(port),
        settings: vec![("max_connections".to_owned(), "42".to_owned())],
        ..postgres_in(&folder.path().join("pg"))
    };
    let mut second = required(Postgres::start(options).await);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "reused data took {took:?}");
    assert_eq!(second.port(), Some(port));
    let mut connection = connect(&second).await;
    assert_eq!(scalar(&mut connection, "SELECT x FROM kept").await, "kept");
    assert_eq!(scalar(&mut connection, "SHOW fsync").await, "off");
    assert_eq!(scalar(&mut connection, "SHOW max_connections").await, "42");

    kill(second.pid().unwrap());
    assert!(process::wait_until(Duration::from_secs(10), || second.has_exited()).await);
    required(second.restart().await);
    let mut connection = connect(&second).await;
    assert_eq!(scalar(&mut connection, "SELECT x FROM kept").await, "kept");
    drop(connection);

    assert_eq!(
        postgres::remove_data(&folder.path().join("pg"))
            .await
            .unwrap_err()
            .code(),
        "DATA_IN_USE"
    );
    let data = second.data_dir().unwrap().to_owned();
    drop(second);
    postgres::remove_data(&folder.path().join("pg"))
        .await
        .unwrap();
    assert!(!data.exists());
}

#[tokio::test]
async fn a_temporary_postgres_leaves_nothing() {
    let options = PostgresOptions {
        durability: Durability::Fast,
        ..Default::default()
    };
    let server = required(Postgres::start(options).await);
    let mut connection = connect(&server).await;
    assert_eq!(
        scalar(&mut connection, "SHOW server_encoding").await,
        "UTF8"
    );
    drop(connection);
    let (pid, data) = (server.pid().unwrap(), server.data_dir().unwrap().to_owned());
    drop(server);
    assert!(!is_alive(pid));
    assert!(!data.exists());
}

#[tokio::test]
async fn a_taken_port_is_one_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = PostgresOptions {
        port: Some(port),
        ..Default::default()
    };
    let error = Postgres::start(options).await.unwrap_err();
    assert_eq!(error.code(), "PORT_TAKEN", "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");

    let options = TemporalOptions {
        ui_port: Some(port),
        ..Default::default()
    };
    let error = TemporalServer::resolve_and_start(options)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "PORT_TAKEN", "{error}");
}

#[tokio::test]
async fn temporal_serves_and_comes_back() {
    let folder = folder();
    let mut server = required(TemporalServer::resolve_and_start(temporal_in(folder.path())).await);
    assert_eq!(server.has_time_skipping(), Some(true));
    let ui = server.ui_url().unwrap();
    let answer = async |path: &str| {
        // The Web UI begins to listen just after gRPC does.
        let url = format!("{ui}{path}");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match reqwest::get(&url).await {
                Ok(response) => break response.error_for_status().unwrap().text().await.unwrap(),
                Err(error) if Instant::now() > deadline => panic!("{url}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    assert!(answer("/").await.contains("<html"));
    assert!(
        answer("/api/v1/namespaces/default")
            .await
            .contains("TenantId")
    );

    let same_file = TemporalServer::resolve_and_start(temporal_in(folder.path()))
        .await
        .unwrap_err();
    assert_eq!(same_file.code(), "DATA_IN_USE");

    let address = server.address().to_owned();
    let given = TemporalOptions {
        address: Some(address.clone()),
        ..Default::default()
    };
    let given = required(TemporalServer::resolve_and_start(given).await);
    assert_eq!((given.version(), given.pid()), (server.version(), None));
    given.shutdown().await;

    kill(server.pid().unwrap());
    assert!(process::wait_until(Duration::from_secs(10), || server.has_exited()).await);
    required(server.restart().await);
    assert_eq!(server.address(), address);
    let begun = Instant::now();
    let pid = server.pid().unwrap();
    server.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(6));
    assert!(!is_alive(pid));
    temporal::remove_data(&folder.path().join("temporal.db"))
        .await
        .unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

/// The parent of both services, in a process of its own that can be killed: this
/// test binary once more. Prints the ids of its children and waits.
#[tokio::test]
#[ignore = "run by the tests below, in a process that they kill"]
async fn parent() {
    let Some(folder) = std::env::var_os("PARENT_FOLDER").map(PathBuf::from) else {
        return;
    };
    let postgres = required(Postgres::start(postgres_in(&folder.join("pg"))).await);
    let temporal = required(TemporalServer::resolve_and_start(temporal_in(&folder)).await);
    println!(
        "\nchildren {} {}",
        postgres.pid().unwrap(),
        temporal.pid().unwrap()
    );
    std::future::pending::<()>().await;
}

fn spawn_parent(folder: &Path, configure: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["parent", "--exact", "--ignored", "--nocapture"])
        .env("PARENT_FOLDER", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    configure(&mut command);
    command.spawn().unwrap()
}

/// The process ids that a [`parent`] prints.
fn children_of(parent: &mut Child) -> Vec<u32> {
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("children ").map(str::to_owned));
    let line = line.unwrap_or_else(|| {
        let errors = std::io::read_to_string(parent.stderr.take().unwrap()).unwrap();
        panic!("the parent started nothing: {errors}")
    });
    line.split(' ').map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test]
async fn the_services_end_with_a_killed_parent() {
    let folder = folder();
    let mut parent = spawn_parent(folder.path(), |_| {});
    let children = children_of(&mut parent);
    assert!(children.iter().all(|pid| is_alive(*pid)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    let gone = || !children.iter().any(|pid| is_alive(*pid));
    assert!(process::wait_until(Duration::from_secs(10), gone).await);
}

#[tokio::test]
async fn the_next_start_stops_what_a_killed_parent_left() {
    let folder = folder();
    // A `sh` that does nothing, so that there is no watchdog.
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/true", bin.join("sh")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let mut parent = spawn_parent(folder.path(), |command| {
        command.env("PATH", path);
    });
    let children = children_of(&mut parent);
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(
        is_alive(children[0]),
        "PostgreSQL should have been left over"
    );

    let postgres = required(Postgres::start(postgres_in(&folder.path().join("pg"))).await);
    let temporal = required(TemporalServer::resolve_and_start(temporal_in(folder.path())).await);
    assert!(!children.iter().any(|pid| is_alive(*pid)));
    connect(&postgres).await;
    temporal.shutdown().await;
    postgres.shutdown().await;
}

/// What a test run prints on a machine that has nothing.
#[tokio::test]
async fn missing_infrastructure_fails_under_its_own_name() {
    let folder = folder();
    let parent = spawn_parent(folder.path(), |command| {
        command.env("DISPATCH_PG_BIN", folder.path().join("nothing"));
    });
    let output = parent.wait_with_output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.lines()
            .any(|line| line.starts_with("INFRASTRUCTURE MISSING:")),
        "{text}"
    );
    let source = PostgresSource::BinDir(folder.path().join("nothing"));
    let error = Postgres::start(PostgresOptions {
        source,
        ..Default::default()
    })
    .await;
    assert!(matches!(error, Err(EmbeddedError::Missing(_))));
}

fn kill(pid: u32) {
    assert!(
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn opa_serves_a_bundle_and_refuses_what_is_none() {
    let folder = folder();
    let opa = required(
        Opa::resolve(OpaOptions {
            progress: Progress::new(|line| eprintln!("{line}")),
            ..OpaOptions::from_env()
        })
        .await,
    );
    let log = folder.path().join("opa.log");
    let bundle = folder.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    let module = bundle.join("a.rego");
    std::fs::write(&module, "package a\n\ntwice := 2 * input.n\n").unwrap();
    let server = OpaServer::start(&opa, &bundle, &log).await.unwrap();
    let answer = reqwest::Client::new()
        .post(format!("http://{}/v1/data/a/twice", server.address()))
        .body(r#"{"input": {"n": 21}}"#)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(answer.trim(), r#"{"result":42}"#);
    server.shutdown().await;

    std::fs::write(&module, "package a\n\ntwice := ").unwrap();
    let error = OpaServer::start(&opa, &bundle, &log).await.unwrap_err();
    assert_eq!(error.code(), "PROGRAM_FAILED", "{error}");
    assert!(error.to_string().contains("rego_parse_error"), "{error}");
}
