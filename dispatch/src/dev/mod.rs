//! `dispatch dev`: the whole system on one machine, for one person.
//!
//! api, relay, worker and sender run as tasks of this process with one shutdown token: when one of
//! them ends unexpectedly, all stop and say which it was, and there are no child processes of ours to
//! lose. Isolation is not the point here; who wants it runs `dispatch api`, `relay`, `worker` and
//! `comms` on their own. Only Postgres and Temporal are other programs; `embedded` watches over them.

mod logins;
mod messages;
mod progress;
mod servers;
mod state;
mod summary;
mod worker_key;

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::{progress::Progress, servers::Servers, state::StateDir};
use crate::{
    cli::{DevArgs, Global},
    commands::verify,
    config::{Config, Environment, Settings, Sources},
    demo,
    exit::Failure,
    parts,
    secret::Secret,
    shutdown,
    telemetry::{self, Destination},
    temporal::{self, Temporal},
    token::Minter,
};

/// All stop within ten seconds: our own parts first, as they still talk to the servers.
const PARTS_BOUND: Duration = Duration::from_secs(5);

const READY_BOUND: Duration = Duration::from_secs(30);

/// Runs until Ctrl-C, or until the demo ended with `--exit`.
pub async fn run(global: &Global, args: &DevArgs) -> Result<(), Failure> {
    let mut settings = user_settings(global, args)?;
    let state = if args.ephemeral {
        StateDir::ephemeral()?
    } else {
        StateDir::open(&global.state_dir)?
    };
    check_ports(&settings, args)?;
    if args.reset {
        state.reset().await?;
    }
    telemetry::init(
        global.log_format,
        Destination::File(state.open_log()?),
        "info",
    );
    let stop = shutdown::on_signal();
    eprintln!(
        "Real Dispatch {} starts; state in {}, log in {}",
        env!("CARGO_PKG_VERSION"),
        state.root().display(),
        state.path("dev.log").display()
    );
    let progress = Progress::default();
    let inbox = messages::Inbox::unless_configured(&mut settings, &state).await?;
    // A Ctrl-C while servers start drops the future, and with it what was started so far.
    let started = tokio::select! {
        started = servers::start(&state, args, &mut settings, &progress) => {
            started.map_err(|failure| state.keep_log(failure))?
        }
        () = stop.cancelled() => {
            eprintln!("stopped");
            return Ok(());
        }
    };
    let mut servers = started;
    let result = with_servers(
        &mut servers,
        &state,
        args,
        (settings, inbox),
        &progress,
        &stop,
    )
    .await;
    eprintln!("stopping …");
    servers.shutdown().await;
    eprintln!("stopped");
    result.map_err(|failure| state.keep_log(failure))
}

/// What the user set, without what an earlier `dev` wrote.
fn user_settings(global: &Global, args: &DevArgs) -> Result<Settings, Failure> {
    let mut sources = Sources::new(global);
    sources.state_dir = None;
    let mut settings = Config::load(&sources)?.settings;
    let free = |what: &str| {
        embedded::process::free_port()
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .map_err(|error| Failure::infrastructure(format!("no free port for {what}: {error}")))
    };
    settings.system.environment = Environment::Development;
    if args.ephemeral {
        settings.api.listen = free("dispatch-api")?;
        settings.api.metrics_listen = free("the metrics of dispatch-api")?;
        settings.relay.metrics_listen = free("the metrics of the relay")?;
        settings.worker.metrics_listen = free("the metrics of the worker")?;
        settings.comms.metrics_listen = free("the metrics of the sender")?;
    }
    if let Some(port) = args.port {
        settings.api.listen.set_port(port);
    }
    for (listen, what) in [
        (&mut settings.api.listen, "dispatch-api"),
        (
            &mut settings.api.metrics_listen,
            "the metrics of dispatch-api",
        ),
        (
            &mut settings.relay.metrics_listen,
            "the metrics of the relay",
        ),
        (
            &mut settings.worker.metrics_listen,
            "the metrics of the worker",
        ),
        (
            &mut settings.comms.metrics_listen,
            "the metrics of the sender",
        ),
    ] {
        // Others must find the real port in what is written for them.
        if listen.port() == 0 {
            listen.set_port(free(what)?.port());
        }
    }
    settings.api.url = reachable(settings.api.listen)?;
    Ok(settings)
}

/// All ports that are taken, at once: nobody wants to find them one by one.
fn check_ports(settings: &Settings, args: &DevArgs) -> Result<(), Failure> {
    let wanted = [
        (settings.api.listen, "dispatch-api", "--port PORT"),
        (
            settings.api.metrics_listen,
            "the metrics of dispatch-api",
            "--set api.metrics_listen=ADDRESS",
        ),
        (
            settings.relay.metrics_listen,
            "the metrics of the relay",
            "--set relay.metrics_listen=ADDRESS",
        ),
        (
            settings.worker.metrics_listen,
            "the metrics of the worker",
            "--set worker.metrics_listen=ADDRESS",
        ),
        (
            settings.comms.metrics_listen,
            "the metrics of the sender",
            "--set comms.metrics_listen=ADDRESS",
        ),
    ];
    let mut lines: Vec<_> = wanted
        .into_iter()
        .filter_map(|(address, what, flag)| taken(address, what, flag))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    if temporal::given()?.0.is_none() {
        lines.extend(servers::temporal_ports_taken(args));
    }
    Err(Failure::infrastructure(format!(
        "{}\nstop what uses them, choose others, or take free ones for all: --ephemeral",
        lines.join("\n")
    )))
}

/// Why an address cannot be had, with the flag for another.
fn taken(address: SocketAddr, what: &str, flag: &str) -> Option<String> {
    let error = std::net::TcpListener::bind(address).err()?;
    Some(format!(
        "cannot listen on {address}, wanted for {what}: {error}; another one by {flag}"
    ))
}

/// Where our own parts reach a listener.
fn reachable(listen: SocketAddr) -> Result<Url, Failure> {
    let host = if listen.ip().is_unspecified() {
        "127.0.0.1".to_owned()
    } else {
        SocketAddr::new(listen.ip(), 0)
            .to_string()
            .trim_end_matches(":0")
            .to_owned()
    };
    Url::parse(&format!("http://{host}:{}", listen.port())).map_err(Failure::failed)
}

async fn with_servers(
    servers: &mut Servers,
    state: &StateDir,
    args: &DevArgs,
    (settings, inbox): (Settings, Option<messages::Inbox>),
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    // A token of its own: our parts stop when anything ends, not only at Ctrl-C.
    let parts_stop = stop.child_token();
    let mut parts = JoinSet::new();
    spawn(
        &mut parts,
        "dispatch-api",
        parts::api(&settings, parts_stop.clone())?,
    );
    spawn(
        &mut parts,
        "the relay",
        parts::relay(&settings, parts_stop.clone())?,
    );
    let (give_key, key) = oneshot::channel();
    spawn(
        &mut parts,
        "the worker",
        worker(settings.clone(), key, parts_stop.clone()),
    );
    spawn(
        &mut parts,
        "the sender of messages",
        parts::comms(&settings, parts_stop.clone())?,
    );
    if let Some(inbox) = inbox {
        spawn(
            &mut parts,
            "the receiver of messages",
            inbox.run(parts_stop.clone()),
        );
    }

    let result = tokio::select! {
        // First: when asked to stop, parts end because they were asked too.
        biased;
        () = stop.cancelled() => Ok(()),
        result = serve(state, args, (settings.clone(), give_key), progress, stop) => result,
        failure = first_end(&mut parts) => Err(failure),
        failure = servers.watch() => Err(failure),
    };
    parts_stop.cancel();
    let all = async { while parts.join_next().await.is_some() {} };
    if timeout(PARTS_BOUND, all).await.is_err() {
        tracing::warn!("a part did not stop in time");
        parts.shutdown().await;
    }
    result
}

/// The worker, once there is a key for it.
async fn worker(
    mut settings: Settings,
    key: oneshot::Receiver<Secret>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let key = tokio::select! {
        key = key => key.ok(),
        () = stop.cancelled() => None,
    };
    // Nobody makes one any more: all end.
    let Some(key) = key else {
        stop.cancelled().await;
        return Ok(());
    };
    settings.worker.api_key = Some(key);
    settings.worker.api_key_file = None;
    parts::worker(&settings, stop)?.await
}

type Part = (&'static str, Result<(), Failure>);

fn spawn(
    parts: &mut JoinSet<Part>,
    name: &'static str,
    part: impl Future<Output = Result<(), Failure>> + Send + 'static,
) {
    parts.spawn(async move { (name, part.await) });
}

/// The first part that ended although nobody asked it to.
async fn first_end(parts: &mut JoinSet<Part>) -> Failure {
    match parts.join_next().await {
        Some(Ok((name, Err(failure)))) => Failure {
            message: format!("{name} stopped: {}", failure.message),
            ..failure
        },
        Some(Ok((name, Ok(())))) => Failure::failed(format!("{name} stopped by itself")),
        Some(Err(error)) => Failure::failed(format!("a part crashed: {error}")),
        None => Failure::failed("nothing runs"),
    }
}

/// Waits until the parts serve, says how to use them, plays the demo, and stays.
async fn serve(
    state: &StateDir,
    args: &DevArgs,
    (mut settings, give_key): (Settings, oneshot::Sender<Secret>),
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let step = progress.step("api, relay, worker, sender");
    let minter = Minter::new(&settings.auth)?;
    let api = client::Client::new(&settings.api.url, "")?;
    wait_ready(&api).await?;
    let given = settings.worker.api_key.is_some() || settings.worker.api_key_file.is_some();
    let key = match given {
        true => Secret::new(parts::worker_key(&settings)?.expose()),
        false => worker_key::ensure(state, &api, &minter).await?,
    };
    settings.worker.api_key = Some(key.clone());
    settings.worker.api_key_file = None;
    servers::write(state, &settings)?;
    // A worker that ended before is told of elsewhere.
    let _ = give_key.send(key);
    let settings = &settings;
    parts::promote(settings).await?;
    step.done("ready");
    summary::print(state, settings, &minter, progress.elapsed())?;
    if args.demo {
        let stage = demo::Stage {
            api_url: settings.api.url.clone(),
            minter,
            temporal: Temporal::new(&settings.temporal)?,
            world: demo::World::seeded(),
        };
        let result = play(&stage, args, settings, stop).await;
        if args.exit {
            return result;
        }
        if let Err(failure) = result {
            failure.report();
        }
    }
    stop.cancelled().await;
    Ok(())
}

/// The demo, and what must hold after it.
async fn play(
    stage: &demo::Stage,
    args: &DevArgs,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    demo::run(stage, false, demo::pace(false), &mut out).await?;
    if let Some(count) = args.count {
        let day = demo::day::Day::new(count, args.speed, args.seed)?;
        demo::day::run(stage, &day, false, stop.child_token(), &mut out).await?;
    }
    let outcome = verify::check(settings, true, true).await?;
    println!("{}", outcome.text().trim_end());
    if outcome.ok {
        Ok(())
    } else {
        Err(Failure::reported())
    }
}

/// Until dispatch-api says that all its parts are there.
async fn wait_ready(api: &client::Client) -> Result<(), Failure> {
    let deadline = Instant::now() + READY_BOUND;
    loop {
        let health = api.ready().await?;
        if health.status != "unavailable" {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::failed(format!(
                "dispatch-api is not ready after {} s: {:?}",
                READY_BOUND.as_secs(),
                health.parts
            )));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
