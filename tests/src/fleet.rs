//! The real `dispatch` processes, for what only a process can show: `kill -9`, exit codes, logs.
//!
//! A [`Fleet`] is `dispatch api`, `relay`, `worker` and `comms` as an operator would run them, configured by `DISPATCH_*`, on a database and a namespace of their own.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tempfile::TempDir;
use worker::Version;

use crate::{
    agreement,
    database::Database,
    flow::{HEALING, check},
    namespace::Namespace,
    servers,
    stack::{SEALING_KEY, Stack},
    wait,
    who::{AUDIENCE, ISSUER, SECRET},
};

/// What can be started and killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the commands")]
pub enum ProcessRole {
    Api,
    Relay,
    Worker,
    Comms,
}

impl ProcessRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Api, Self::Relay, Self::Worker, Self::Comms];

    const fn command(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Relay => "relay",
            Self::Worker => "worker",
            Self::Comms => "comms",
        }
    }
}

/// The real program, which cargo builds before it runs the tests of the workspace.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let target = test
        .parent()
        .and_then(Path::parent)
        .expect("tests run in target/…/deps");
    let program = target.join(format!("dispatch{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is not built: run `cargo build` first, or test the whole workspace",
        program.display()
    );
    program
}

/// The processes on a database and a namespace of their own.
#[derive(Debug)]
pub struct Fleet {
    stack: Stack,
    namespace: Namespace,
    folder: TempDir,
    version: Version,
    worker_key: String,
    metrics: [SocketAddr; 4],
    api_at: Mutex<SocketAddr>,
    running: [Mutex<Option<Child>>; 4],
}

impl std::ops::Deref for Fleet {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// Runs a test on real processes, then waits until nothing is left to do, and checks everything.
pub fn with_fleet<F>(test: impl FnOnce(Arc<Fleet>) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    servers::run(move || async move {
        let fleet = Arc::new(Fleet::new().await);
        test(Arc::clone(&fleet)).await;
        fleet.settle().await;
        check(fleet.database()).await;
        for role in ProcessRole::ALL {
            fleet.kill(role);
        }
        fleet.stack.clone().end().await;
    });
}

impl Fleet {
    /// Nothing runs yet.
    pub async fn new() -> Self {
        let (database, namespace) = tokio::join!(Database::create(), Namespace::create());
        let api = free_address();
        let stack = Stack::outside(database, api).await;
        Self {
            worker_key: stack.worker_key_in_advance().await.expose().to_owned(),
            stack,
            namespace,
            folder: tempfile::tempdir().expect("a temporary folder"),
            version: Version {
                build_id: "tests".into(),
                ..Version::of_this_build()
            },
            metrics: std::array::from_fn(|_| free_address()),
            api_at: Mutex::new(api),
            running: Default::default(),
        }
    }

    /// The Temporal namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Lets workers that are started from now on reach dispatch-api through something else.
    pub fn reach_api_through(&self, address: SocketAddr) {
        *self.api_at.lock().expect("no holder panicked") = address;
    }

    /// Starts all of them, and waits until they serve.
    pub async fn start_all(&self) {
        for role in ProcessRole::ALL {
            self.start(role, &[]);
        }
        self.serving().await;
        self.promote().await;
    }

    /// Makes the version of the fleet's workers the current one, once the first of them serves.
    pub async fn promote(&self) {
        worker::promote(&self.namespace.client(), &self.version)
            .await
            .expect("the worker's version can be made current");
    }

    /// Starts one with further variables.
    pub fn start(&self, role: ProcessRole, variables: &[(&str, &str)]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file(role))
            .expect("a log file");
        let child = self
            .configured(role.command())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("the program can be started");
        let before = self.process(role).replace(child);
        assert!(before.is_none(), "{role:?} runs already");
    }

    /// The program with this subcommand, configured for this fleet.
    fn configured(&self, subcommand: &str) -> Command {
        let addresses = &self.database().addresses;
        let api_at = *self.api_at.lock().expect("no holder panicked");
        let [api_metrics, relay_metrics, worker_metrics, comms_metrics] =
            self.metrics.map(|address| address.to_string());
        let mut command = Command::new(program());
        command
            .args(subcommand.split(' '))
            .current_dir(self.folder.path())
            .env_remove("DATABASE_URL")
            .env("RUST_LOG", "info")
            .env("DISPATCH_SYSTEM_ENVIRONMENT", "test")
            .env("DISPATCH_SYSTEM_FAILPOINTS", "true")
            .env("DISPATCH_DATABASE_APP_URL", &addresses.app)
            .env("DISPATCH_DATABASE_RELAY_URL", &addresses.relay)
            .env("DISPATCH_DATABASE_COMMS_URL", &addresses.comms)
            .env("DISPATCH_DATABASE_MAINTENANCE_URL", &addresses.maintenance)
            .env("DISPATCH_DATABASE_READER_URL", &addresses.reader)
            .env("DISPATCH_API_LISTEN", self.address().to_string())
            .env("DISPATCH_API_URL", format!("http://{api_at}"))
            .env("DISPATCH_API_METRICS_LISTEN", api_metrics)
            .env("DISPATCH_RELAY_METRICS_LISTEN", relay_metrics)
            .env("DISPATCH_RELAY_LEASE_SECONDS", "2")
            .env("DISPATCH_WORKER_METRICS_LISTEN", worker_metrics)
            .env("DISPATCH_COMMS_METRICS_LISTEN", comms_metrics)
            .env("DISPATCH_COMMS_POLL_MS", "100")
            .env("DISPATCH_COMMS_RETRY_MS", "100")
            .env("DISPATCH_COMMS_LEASE_SECONDS", "1")
            .env("DISPATCH_WORKER_BUILD_ID", &self.version.build_id)
            .env("TEMPORAL_ADDRESS", self.namespace.address())
            .env("TEMPORAL_NAMESPACE", self.namespace.name());
        match subcommand {
            "worker" => command.env("DISPATCH_WORKER_API_KEY", &self.worker_key),
            // Each process has what it needs, and no more.
            "relay" | "comms" => &mut command,
            _ => command
                .env("DISPATCH_AUTH_JWT_SECRET", SECRET)
                .env("DISPATCH_AUTH_ISSUER", ISSUER)
                .env("DISPATCH_AUTH_AUDIENCE", AUDIENCE)
                .env("DISPATCH_AUDIT_SEAL_KEY", SEALING_KEY),
        };
        command
    }

    /// `kill -9`. False when it had ended by itself before.
    pub fn kill(&self, role: ProcessRole) -> bool {
        let Some(mut child) = self.take(role) else {
            return false;
        };
        let alive = matches!(child.try_wait(), Ok(None));
        // One that has just ended cannot be killed, which is as good.
        let _ = child.kill();
        let _ = child.wait();
        alive
    }

    /// Waits until it ends by itself; a failpoint makes it.
    pub async fn ended(&self, role: ProcessRole) -> ExitStatus {
        let status = wait::until("the end of a process", wait::BOUND, async || {
            let mut running = self.process(role);
            let child = running.as_mut().expect("it was started");
            child
                .try_wait()
                .expect("a child can be waited for")
                .ok_or("it runs")
        })
        .await;
        self.take(role);
        status
    }

    fn take(&self, role: ProcessRole) -> Option<Child> {
        self.process(role).take()
    }

    /// Also of a test that has failed: what it started has to end.
    fn process(&self, role: ProcessRole) -> MutexGuard<'_, Option<Child>> {
        self.running[role as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until dispatch-api answers that it is ready.
    pub async fn serving(&self) {
        wait::until("dispatch-api's start", wait::BOUND, async || {
            let reply = self.http().get("/health/ready").try_send().await;
            match reply {
                Ok(reply) if reply.status == 200 => Ok(()),
                Ok(reply) => Err(format!("{}\n{}", reply.text(), self.log(ProcessRole::Api))),
                Err(error) => Err(format!("{error}\n{}", self.log(ProcessRole::Api))),
            }
        })
        .await;
    }

    /// Where it serves its metrics.
    pub fn metrics_at(&self, role: ProcessRole) -> SocketAddr {
        self.metrics[role as usize]
    }

    /// Everything that it wrote, over all its lives.
    pub fn log(&self, role: ProcessRole) -> String {
        std::fs::read_to_string(self.log_file(role)).unwrap_or_default()
    }

    fn log_file(&self, role: ProcessRole) -> PathBuf {
        self.folder.path().join(format!("{}.log", role.command()))
    }

    /// Waits until nothing is left to do.
    pub async fn settle(&self) {
        wait::until("rest", HEALING, || {
            agreement::all_agree(self.admin(), &self.namespace)
        })
        .await;
    }

    /// Runs a subcommand to its end; answers exit code and standard output.
    pub async fn run(&self, subcommand: &str) -> (Option<i32>, String) {
        let mut command = tokio::process::Command::from(self.configured(subcommand));
        let output = wait::within(
            subcommand_name(subcommand),
            Duration::from_secs(180),
            command.output(),
        );
        let output = output.await.expect("the program can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            eprintln!("{subcommand}: {}", String::from_utf8_lossy(&output.stderr));
        }
        (output.status.code(), text)
    }
}

fn subcommand_name(subcommand: &str) -> &str {
    subcommand.split(' ').next().unwrap_or(subcommand)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for role in ProcessRole::ALL {
            self.kill(role);
        }
    }
}

/// An address that is free, and stays so while a process is away: below the ports that the system
/// gives to outgoing connections.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id();
    loop {
        let n = begin.wrapping_add(NEXT.fetch_add(1, Relaxed));
        let port = 15_000 + u16::try_from(n % 15_000).expect("below 15,000");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
