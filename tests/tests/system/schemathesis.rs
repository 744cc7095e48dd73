//! The served document, tried by a program that knows nothing else: schemathesis makes requests that
//! fit its schemas and requests that do not, follows what one answer says into the next request, and
//! holds every answer to what is documented. All its checks are on; what an answer to a good request
//! may be is in `schemathesis-dev/schemathesis.toml`, with reasons.
//!
//! That nothing was wrong shows nothing unless something was tried: of every request that was made is
//! read in its report which operation it was, and how it ended. All that a caller was to try has to be
//! there, some of it done, and some of it in the phase that follows what answers say.
//!
//! In the suite the operations are dealt out. All of them by each, for longer, with other requests each
//! time:
//! `DISPATCH_SCHEMATHESIS_SECONDS=120 cargo test -p dispatch-tests --test system -- schemathesis
//! --ignored --nocapture`.
//!
//! Most commands need a world (a ticket in its state, an approval of another person) that requests made
//! up one by one seldom meet: what succeeded for nobody is told at the end. That each operation can, and
//! that its answer fits then, `examples` shows. Nothing here is too large (413, 414), nothing is away
//! (503), and nothing may fail (500); of the other statuses those that nobody was answered are told too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::Instant,
};

use api::PREFIX;
use chrono::Utc;
use contracts::{ActorKind, Operation, Role, TicketState, actor::workflow_actor_id};
use dispatch_tests::{
    document::{Described, operations},
    job::Job,
    servers,
    stack::{ApiOptions, Stack},
    who::{Who, mint},
};
use futures::{StreamExt, stream};
use policy::Bundle;
use serde::Deserialize;
use serde_json::Value;
use strum::VariantArray;
use url::Url;

/// How many callers try at once, each a system of its own.
const AT_ONCE: usize = 3;

/// How a caller tries.
#[derive(Clone, Copy)]
struct Way {
    phases: &'static str,
    /// Small examples soon: what is found can be read.
    examples: &'static str,
    /// For how long, at most.
    seconds: Option<u64>,
    seed: u64,
}

/// In the suite: every border of every schema once, and what some answers lead to. So much is done
/// however busy the machine is.
const SOON: Way = Way {
    phases: "coverage,stateful",
    examples: "8",
    seconds: None,
    seed: 1,
};

/// What whoever may do something has to have done, at least: requests that were not public and succeeded.
const DONE: usize = 3;

/// Requests of all of them, at least, in the phase that follows what answers say.
const FOLLOWED: usize = 100;

/// What everybody tries, so that there are answers that say something to go on with.
const COMMON: [&str; 3] = ["create_ticket", "get_ticket", "list_tickets"];

/// Requests of all callers together, at least, when each has [`LONG`] or more.
const REQUESTS: usize = 100_000;

/// Seconds for each caller in the long run.
const LONG: u64 = 120;

type Roles = BTreeSet<Role>;

/// Every kind with all roles; but a person with the one that can end a tenant has that alone. There is
/// most for people to do.
fn few() -> Vec<(ActorKind, Roles)> {
    let platform = Roles::from([Role::PlatformAdmin]);
    let all: Roles = Role::VARIANTS.iter().copied().collect();
    let others: Roles = all.difference(&platform).copied().collect();
    let person = || (ActorKind::Person, others.clone());
    let software = ActorKind::VARIANTS
        .iter()
        .filter(|kind| **kind != ActorKind::Person);
    let callers = software.flat_map(|kind| [person(), (*kind, all.clone())]);
    callers.chain([(ActorKind::Person, platform)]).collect()
}

/// A person with each role and without any, and every other kind with all roles.
fn callers() -> Vec<(ActorKind, Roles)> {
    let roles = || Role::VARIANTS.iter().copied();
    let kinds = ActorKind::VARIANTS.iter().copied();
    kinds
        .flat_map(|kind| match kind {
            ActorKind::Person => {
                let one = roles().map(|role| [role].into());
                let one = one.chain([Roles::new()]);
                one.map(|roles| (kind, roles)).collect::<Vec<_>>()
            }
            kind => vec![(kind, roles().collect())],
        })
        .collect()
}

/// Somebody, and what they are to try.
struct Caller<'a> {
    kind: ActorKind,
    roles: Roles,
    part: Vec<&'a Described>,
    /// Whether the tables of the bundle name them for any of it.
    is_named: bool,
}

/// The operations dealt out to a few who may: those of one kind of thing to the same caller, until that one
/// has its share, and what all have in common. With `all`, all to everybody.
fn dealt(served: &[Described], all: bool) -> Vec<Caller<'_>> {
    let bundle = Bundle::starter().expect("the starter bundle is valid");
    let callers = if all { callers() } else { few() };
    let is_named = |of: &Described, (kind, roles): &(ActorKind, Roles)| {
        let holders = of.permission.map(|permission| bundle.holders(permission));
        holders.is_some_and(|holders| holders.include(*kind, roles))
    };
    let share = served.len().div_ceil(callers.len());
    let mut parts = vec![BTreeSet::new(); callers.len()];
    let mut homes = BTreeMap::new();
    for (n, of) in served.iter().enumerate() {
        let mut may: Vec<_> = (0..callers.len())
            .filter(|at| is_named(of, &callers[*at]))
            .collect();
        if may.is_empty() {
            may = (0..callers.len()).collect();
        }
        may.sort_by_key(|at| parts[*at].len());
        let kind = kind_of(&of.path);
        let home = homes.get(kind).copied();
        let home = home.filter(|at| may.contains(at) && parts[*at].len() < share);
        let one = home.unwrap_or(may[0]);
        homes.insert(kind, one);
        parts[one].insert(n);
    }
    for (n, of) in served.iter().enumerate() {
        if COMMON.contains(&of.id.as_str()) {
            parts.iter_mut().for_each(|part| _ = part.insert(n));
        }
    }
    let parts = parts.into_iter().zip(callers);
    parts
        .map(|(part, caller)| {
            let part: Vec<_> = match all {
                true => served.iter().collect(),
                false => part.into_iter().map(|n| &served[n]).collect(),
            };
            Caller {
                is_named: part.iter().any(|of| is_named(of, &caller)),
                kind: caller.0,
                roles: caller.1,
                part,
            }
        })
        .collect()
}

/// Of which kind of thing an operation is: the first word of its path.
fn kind_of(path: &str) -> &str {
    let below = path.strip_prefix(PREFIX).unwrap_or(path);
    below.split('/').nth(1).unwrap_or_default()
}

/// A line of the report: of most that happens there nothing is read.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "ScenarioFinished")]
    finished: Option<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    phase: String,
    recorder: Recorder,
}

#[derive(Deserialize)]
struct Recorder {
    #[serde(default)]
    interactions: BTreeMap<String, Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    request: Asked,
    response: Option<Answered>,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    uri: String,
}

#[derive(Deserialize)]
struct Answered {
    status_code: u16,
}

/// What was tried, by the report.
#[derive(Debug, Default)]
struct Told {
    /// How often an operation, by its id, was answered so.
    answers: BTreeMap<(String, u16), usize>,
    /// Operations that need a permission.
    guarded: BTreeSet<String>,
    /// Requests of the phase that follows what answers say.
    followed: usize,
}

impl Told {
    fn read(report: &Path, served: &[Described]) -> Self {
        let mut told = Self::default();
        // Without a report nothing was tried.
        let Ok(report) = File::open(report) else {
            return told;
        };
        for line in BufReader::new(report).lines() {
            let line = line.expect("text");
            let line: Line = serde_json::from_str(&line).expect("a line is an event");
            let Some(scenario) = line.finished else {
                continue;
            };
            let followed = scenario.phase == "stateful";
            for exchange in scenario.recorder.interactions.values() {
                told.count(exchange, followed, served);
            }
        }
        told
    }

    fn count(&mut self, exchange: &Exchange, followed: bool, served: &[Described]) {
        let Ok(url) = Url::parse(&exchange.request.uri) else {
            return;
        };
        let fitting = served
            .iter()
            .filter(|of| of.method == *exchange.request.method && fits(&of.path, url.path()));
        // `/approvals/decide` is no approval's.
        let of = fitting.min_by_key(|of| of.path.matches('{').count());
        let (Some(of), Some(answer)) = (of, &exchange.response) else {
            return;
        };
        let answers = self.answers.entry((of.id.clone(), answer.status_code));
        *answers.or_default() += 1;
        if of.permission.is_some() {
            self.guarded.insert(of.id.clone());
        }
        self.followed += usize::from(followed);
    }

    fn add(&mut self, other: Self) {
        for (answer, times) in other.answers {
            *self.answers.entry(answer).or_default() += times;
        }
        self.guarded.extend(other.guarded);
        self.followed += other.followed;
    }

    fn requests(&self) -> usize {
        self.answers.values().sum()
    }

    fn tried(&self) -> BTreeSet<&str> {
        self.answers.keys().map(|(id, _)| id.as_str()).collect()
    }

    /// What succeeded, with how often.
    fn done(&self) -> impl Iterator<Item = (&str, usize)> {
        let good = self
            .answers
            .iter()
            .filter(|((_, status), _)| (200..300).contains(status));
        good.map(|((id, _), times)| (id.as_str(), *times))
    }

    /// What this does not show of the caller.
    fn lacks(&self, caller: &Caller<'_>) -> Vec<String> {
        let tried = self.tried();
        let part = caller.part.iter().map(|of| of.id.as_str());
        let untried: Vec<_> = part.filter(|id| !tried.contains(id)).collect();
        let done = self.done().filter(|(id, _)| self.guarded.contains(*id));
        let done: usize = done.map(|(_, times)| times).sum();
        let least = if caller.is_named { DONE } else { 0 };
        let shortfalls = [
            (!untried.is_empty()).then(|| format!("never tried: {untried:?}")),
            (done < least).then(|| format!("{done} requests succeeded")),
        ];
        shortfalls.into_iter().flatten().collect()
    }

    /// Operations that never succeeded, and statuses that the document knows and nothing answered.
    fn unreached(&self, document: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
        let done: BTreeSet<_> = self.done().map(|(id, _)| id).collect();
        let answered: BTreeSet<_> = self.answers.keys().map(|(_, status)| *status).collect();
        let (mut operations, mut statuses) = (BTreeSet::new(), BTreeSet::new());
        let paths = document["paths"].as_object().expect("paths");
        let items = paths.values().filter_map(Value::as_object);
        for operation in items.flat_map(|item| item.values()) {
            let id = operation["operationId"].as_str().expect("an id");
            if !done.contains(id) {
                operations.insert(id.to_owned());
            }
            let known = operation["responses"].as_object().expect("answers");
            let missing = known.keys().filter(|status| {
                let status = status.parse();
                status.is_ok_and(|status: u16| !answered.contains(&status))
            });
            statuses.extend(missing.cloned());
        }
        (operations, statuses)
    }
}

/// Whether a path is one of these.
fn fits(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let all = template.split('/').all(|part| {
        let segment = segments.next();
        segment.is_some_and(|segment| part == segment || part.starts_with('{'))
    });
    all && segments.next().is_none()
}

/// Lets one caller try for so long; what was wrong, if anything was.
async fn tries(caller: Caller<'_>, served: &[Described], way: Way) -> Result<Told, String> {
    let (kind, roles) = (caller.kind, &caller.roles);
    let stack = Stack::api(ApiOptions::default()).await;
    let tenant = stack.tenant();
    let mut job = Job::at(&stack, tenant, TicketState::ChangeRequested).await;
    job.does(Operation::AddNote).await;
    let mut claims = Who::Dispatcher.claims(tenant, Utc::now());
    claims.sub = match kind {
        ActorKind::Workflow => workflow_actor_id(tenant.id),
        kind => format!("usr_{kind}"),
    };
    claims.kind = kind;
    claims.roles = roles.clone();
    let sent = roles.contains(&Role::Technician);
    claims.technician_id = sent.then_some(tenant.technicians[0]);

    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report.ndjson");
    let part = caller.part.iter();
    let part = part.flat_map(|of| ["--include-operation-id", of.id.as_str()]);
    let seconds = way.seconds.map(|seconds| format!("--max-time={seconds}"));
    let base = format!("http://{}", stack.address());
    let output = servers::schemathesis()
        .await
        .command()
        .arg("run")
        .arg(format!("{base}{PREFIX}/openapi.json"))
        .args(["--url", &base, "--checks", "all", "--continue-on-failure"])
        .args(["--phases", way.phases, "--max-examples", way.examples])
        .args(["--seed", &way.seed.to_string(), "--request-timeout", "60"])
        // A busy machine is slow, and no less right.
        .args(["--max-response-time", "60"])
        .args(seconds)
        .args([
            "--header",
            &format!("Authorization: Bearer {}", mint(&claims)),
        ])
        .args(["--report", "ndjson", "--report-ndjson-path"])
        .arg(&report)
        .args(part)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("schemathesis runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let who = format!("{kind} {roles:?}");
    let read = Told::read(&report, served);
    let last = told.lines().rev().find(|line| !line.trim().is_empty());
    println!(
        "{who}: {} of {} operations, {} requests, {} done, {} followed an answer. {}",
        read.tried().len(),
        caller.part.len(),
        read.requests(),
        read.done().map(|(_, times)| times).sum::<usize>(),
        read.followed,
        last.unwrap_or_default(),
    );
    stack.verify().await;
    stack.end().await;
    let lacks = read.lacks(&caller);
    match output.status.success() && lacks.is_empty() {
        true => Ok(read),
        false => {
            let told: String = told.chars().take(12_000).collect();
            Err(format!(
                "{who}, seed {}: {}, {lacks:?}\n{told}\n{errors}",
                way.seed, output.status
            ))
        }
    }
}

/// Lets all of them try, some at a time; what they have met together.
fn all_try(all: bool, way: Way) -> Told {
    let document = api::openapi::document(PREFIX);
    let served = operations(&document);
    let served = served.unwrap_or_else(|missing| panic!("not to be covered: {missing:#?}"));
    servers::run(async || {
        let began = Instant::now();
        let callers = dealt(&served, all).into_iter();
        let tries = callers.map(|caller| tries(caller, &served, way));
        let outcomes: Vec<_> = stream::iter(tries)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let (mut told, mut wrong, callers) = (Told::default(), Vec::new(), outcomes.len());
        for outcome in outcomes {
            match outcome {
                Ok(read) => told.add(read),
                Err(what) => wrong.push(what),
            }
        }
        println!(
            "{callers} callers, {} requests, {} followed an answer, in {} s",
            told.requests(),
            told.followed,
            began.elapsed().as_secs()
        );
        let (operations, statuses) = told.unreached(&document);
        println!("never done: {operations:?}; never answered: {statuses:?}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        assert!(
            told.followed >= FOLLOWED,
            "{} requests followed an answer",
            told.followed
        );
        told
    })
}

#[test]
fn what_is_documented_is_what_every_caller_meets() {
    all_try(false, SOON);
}

#[test]
#[ignore = "a long proof: DISPATCH_SCHEMATHESIS_SECONDS (120) for each of 13 callers, three at once"]
fn what_is_documented_is_what_every_caller_meets_for_long() {
    let seconds = std::env::var("DISPATCH_SCHEMATHESIS_SECONDS");
    let seconds = seconds.map_or(LONG, |text| text.parse().expect("a number of seconds"));
    let way = Way {
        phases: "examples,coverage,fuzzing,stateful",
        examples: "10",
        seconds: Some(seconds),
        seed: u64::from(Utc::now().timestamp_subsec_nanos()),
    };
    let told = all_try(true, way);
    if seconds >= LONG {
        assert!(told.requests() >= REQUESTS, "{} requests", told.requests());
    }
}

#[test]
fn every_operation_is_dealt_to_somebody_who_may() {
    let served = operations(&api::openapi::document(PREFIX)).unwrap();
    let dealt = dealt(&served, false);
    let parts = dealt.iter().flat_map(|caller| &caller.part);
    let parts: BTreeSet<_> = parts.map(|of| &of.id).collect();
    assert_eq!(parts.len(), served.len());
    let most = dealt.iter().map(|caller| caller.part.len()).max();
    assert!(most.is_some_and(|most| most < served.len() / 2), "{most:?}");
    // A run in which nothing happened shows nothing of anybody.
    for caller in &dealt {
        let lacks = Told::default().lacks(caller).len();
        assert_eq!(lacks, if caller.is_named { 2 } else { 1 });
    }
}

#[test]
fn a_path_is_that_of_its_operation() {
    assert!(fits("/approvals/{id}/claim", "/approvals/apr_1/claim"));
    assert!(!fits("/approvals/{id}", "/approvals/apr_1/claim"));
    assert!(!fits("/approvals/{id}/claim", "/approvals/apr_1"));
    assert!(!fits("/approvals/{id}", "/tickets/apr_1"));
}
