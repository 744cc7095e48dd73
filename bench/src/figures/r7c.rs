//! R7c: CPU seconds that the Temporal server uses for the whole life of a ticket, 17 commands, against the
//! same workflow built the ordinary way: a signal per event, ordinary activities. Once with the
//! commands following each other at once, so that events wait and travel together, and once with a
//! second between them, so that they cannot.

use anyhow::Result;

use crate::{
    baseline::Manner,
    bench::Bench,
    lives::{Pace, Sides},
    report::{Good, Line, number},
    stats::interleaved,
};

/// Measures both.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let sides = Sides::start(bench, "r7c", Manner::Plain).await?;
    let mut lines = Vec::new();
    for (pace, what, note) in [
        (
            Pace::at_once(bench),
            "commands at once",
            "17 commands, two visits; all tickets at the same time, each sends its next command when \
             the last one was answered",
        ),
        (
            Pace::calm(bench),
            "a command per second",
            "with a second between two commands nothing can travel together, so a signal and a \
             workflow task per event are what both sides pay; what is left to save are the calls, \
             which are local activities",
        ),
    ] {
        let [cpu, events] = interleaved(
            &format!("R7c {what} (Temporal CPU ms, history events, per life)"),
            bench.settings.rounds,
            async |_| {
                sides
                    .ours
                    .live(pace)
                    .await
                    .map(|cost| [cost.cpu_ms, cost.events])
            },
            async |_| {
                sides
                    .baseline
                    .live(pace)
                    .await
                    .map(|cost| [cost.cpu_ms, cost.events])
            },
        )
        .await?;
        lines.push(Line {
            id: "R7c",
            what: format!("Temporal CPU per ticket life, {what}"),
            ours: format!("{} ms", number(cpu.ours())),
            baseline: format!("plain {} ms", number(cpu.baseline())),
            figure: cpu.ratio(),
            unit: "",
            good: Good::AtMost,
            floor: 0.6,
            goal: 0.35,
            notes: vec![format!(
                "{note}; {} tickets per round; without what the server uses when nothing happens, {} \
                 and {} ms per second; history events per life {} against {}",
                pace.tickets,
                number(sides.ours.idle * 1e3),
                number(sides.baseline.idle * 1e3),
                number(events.ours()),
                number(events.baseline()),
            )],
        });
    }
    sides.stop().await?;
    Ok(lines)
}
