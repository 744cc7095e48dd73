//! R1, R1b: commands per second over HTTP, and what each costs in CPU, against `pgbench` sending
//! the very same statements. Both sides have as many connections as clients and write five commands
//! per ticket; each has a database of its own, so both tables grow alike.

use std::sync::Arc;

use anyhow::Result;
use chrono::Utc;

use crate::{
    bench::Bench,
    cpu, dump, life, load,
    pgbench::Pgbench,
    report::{Good, Line, number},
    service::Service,
    stats::interleaved,
};

/// Measures both.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let life = Arc::new(life::short(Utc::now())?);
    let ours = bench.database("r1_ours").await?;
    let theirs = bench.unchecked_database("r1_pgbench").await?;
    crate::say("R1: dumping the statements of a ticket's life");
    let script = dump::script(&bench.servers, &theirs, &life).await?;
    let pgbench = Pgbench::new(&bench.servers, &theirs.addresses.app, &script)?;
    let pgbench = tokio::sync::Mutex::new(pgbench);
    let postgres = bench.servers.postgres_pid()?;
    let commands_per_script = life.len() as f64;
    let time = bench.settings.round_time();
    let mut lines = Vec::new();
    for clients in [16, 32] {
        let service = Service::start(&ours, clients as u32).await?;
        // Both sides' caches, plans and connections.
        load::play(service.address, &life, clients, time / 2).await?;
        pgbench.lock().await.run(clients, time / 2).await?;
        let [rates, costs] = interleaved(
            &format!("R1 at {clients} clients (commands/s, CPU ms)"),
            bench.settings.rounds,
            async |_| {
                let used = || anyhow::Ok(cpu::of_process(service.pid)? + cpu::of_family(postgres)?);
                let before = used()?;
                let done = load::play(service.address, &life, clients, time).await?;
                let cost = (used()? - before) / done.commands as f64;
                Ok([done.rate(), cost * 1e3])
            },
            async |_| {
                let before = cpu::of_family(postgres)?;
                let ran = pgbench.lock().await.run(clients, time).await?;
                let used = cpu::of_family(postgres)? - before + ran.cpu_seconds;
                let commands = ran.scripts as f64 * commands_per_script;
                Ok([
                    ran.scripts_per_second * commands_per_script,
                    used / commands * 1e3,
                ])
            },
        )
        .await?;
        service.stop().await?;
        lines.push(Line {
            id: "R1",
            what: format!("commands/s, {clients} clients"),
            ours: format!("{}/s", number(rates.ours())),
            baseline: format!("pgbench {}/s", number(rates.baseline())),
            figure: rates.ratio(),
            unit: "",
            good: Good::AtLeast,
            floor: 0.55,
            goal: 0.75,
            notes: if clients == 16 {
                vec![
                    "five commands per ticket (create, triage, propose, confirm, note), a new key \
                     each; ours over HTTP with token check, policy, decide(); the generator shares \
                     the cores, as pgbench does"
                        .to_owned(),
                ]
            } else {
                Vec::new()
            },
        });
        lines.push(Line {
            id: "R1b",
            what: format!("CPU per command, {clients} clients"),
            ours: format!("{} ms", number(costs.ours())),
            baseline: format!("pgbench {} ms", number(costs.baseline())),
            figure: costs.ratio(),
            unit: "",
            good: Good::AtMost,
            floor: 2.0,
            goal: 1.4,
            notes: Vec::new(),
        });
    }
    ours.close().await;
    theirs.close().await;
    Ok(lines)
}
