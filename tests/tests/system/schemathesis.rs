//! The served document, tried by a program that knows nothing else: schemathesis makes requests that
//! fit its schemas and requests that do not, follows what one answer says into the next request, and
//! holds every answer to what is documented. All its checks are on; what an answer to a good request
//! may be is in `schemathesis-dev/schemathesis.toml`, with reasons.
//!
//! In the suite each caller has some seconds. Long, with other requests each time:
//! `DISPATCH_SCHEMATHESIS_SECONDS=120 cargo test -p dispatch-tests --test system -- schemathesis
//! --ignored --nocapture`.

use std::{process::Stdio, time::Instant};

use chrono::Utc;
use contracts::{ActorKind, Operation, Role, TicketState, actor::workflow_actor_id};
use dispatch_tests::{
    job::Job,
    servers,
    stack::{ApiOptions, Stack},
    who::{Who, mint},
};
use futures::{StreamExt, stream};
use strum::VariantArray;

/// How many callers try at once, each a system of its own.
const AT_ONCE: usize = 2;

/// A person with each role and without any, and every other kind with all roles.
fn callers() -> Vec<(ActorKind, Vec<Role>)> {
    let roles = || Role::VARIANTS.iter().copied();
    let kinds = ActorKind::VARIANTS.iter().copied();
    kinds
        .flat_map(|kind| match kind {
            ActorKind::Person => {
                let one = roles().map(|role| vec![role]);
                let one = one.chain([Vec::new()]);
                one.map(|roles| (kind, roles)).collect::<Vec<_>>()
            }
            kind => vec![(kind, roles().collect())],
        })
        .collect()
}

/// Lets one caller try for so long; what was wrong, if anything was.
async fn tries(kind: ActorKind, roles: Vec<Role>, seconds: u64, seed: u64) -> Result<(), String> {
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
    claims.roles = roles.iter().copied().collect();
    let sent = roles.contains(&Role::Technician);
    claims.technician_id = sent.then_some(tenant.technicians[0]);

    let folder = tempfile::tempdir().expect("a folder");
    let base = format!("http://{}", stack.address());
    let output = servers::schemathesis()
        .await
        .command()
        .arg("run")
        .arg(format!("{base}{}/openapi.json", api::PREFIX))
        .args(["--url", &base, "--checks", "all", "--continue-on-failure"])
        .args([
            "--header",
            &format!("Authorization: Bearer {}", mint(&claims)),
        ])
        .args([
            "--max-time",
            &seconds.to_string(),
            "--seed",
            &seed.to_string(),
        ])
        // Small examples soon: the time is short, and what is found can be read.
        .args(["--max-examples", "10", "--request-timeout", "60"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("schemathesis runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let who = format!("{kind} {roles:?}");
    let last = told.lines().rev().find(|line| !line.trim().is_empty());
    println!("{who}: {}", last.unwrap_or_default());
    stack.verify().await;
    stack.end().await;
    match output.status.success() {
        true => Ok(()),
        false => {
            let told: String = told.chars().take(12_000).collect();
            Err(format!(
                "{who}, seed {seed}: {}\n{told}\n{errors}",
                output.status
            ))
        }
    }
}

fn all_try(seconds: u64, seed: u64) {
    servers::run(async || {
        let began = Instant::now();
        let tries = callers()
            .into_iter()
            .map(|(kind, roles)| tries(kind, roles, seconds, seed));
        let outcomes: Vec<_> = stream::iter(tries)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        println!(
            "{} callers in {} s",
            outcomes.len(),
            began.elapsed().as_secs()
        );
        let wrong: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}

#[test]
fn what_is_documented_is_what_every_caller_meets() {
    all_try(6, 1);
}

#[test]
#[ignore = "a long proof: DISPATCH_SCHEMATHESIS_SECONDS (60) for each of 13 callers, two at once"]
fn what_is_documented_is_what_every_caller_meets_for_long() {
    let seconds = std::env::var("DISPATCH_SCHEMATHESIS_SECONDS");
    let seconds = seconds.map_or(60, |text| text.parse().expect("a number of seconds"));
    all_try(seconds, u64::from(Utc::now().timestamp_subsec_nanos()));
}
