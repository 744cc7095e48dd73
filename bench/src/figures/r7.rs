//! R7 and R7b: whole lives of tickets per second, and the history events that one costs, against a
//! bare workflow: the same rules and the same calls as local activities that answer at once, its
//! signals sent straight to Temporal, no API, no database, no search attributes, no timers.

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
    let sides = Sides::start(bench, "r7", Manner::Bare).await?;
    let busy = Pace::at_once(bench);
    let rounds = bench.settings.rounds;
    let [rate, together] = interleaved(
        "R7 at once (lives/s, history events per life)",
        rounds,
        async |_| {
            sides
                .ours
                .live(busy)
                .await
                .map(|cost| [cost.rate, cost.events])
        },
        async |_| {
            sides
                .baseline
                .live(busy)
                .await
                .map(|cost| [cost.rate, cost.events])
        },
    )
    .await?;
    let calm = Pace::calm(bench);
    let [apart] = interleaved(
        "R7b a command per second (history events per life)",
        rounds,
        async |_| sides.ours.live(calm).await.map(|cost| [cost.events]),
        async |_| sides.baseline.live(calm).await.map(|cost| [cost.events]),
    )
    .await?;
    sides.stop().await?;
    let tickets = busy.tickets;
    let events = |what: &str, rounds: crate::stats::Rounds, note: &str| Line {
        id: "R7b",
        what: format!("history events per ticket life, {what}"),
        ours: number(rounds.ours()),
        baseline: format!("bare {}", number(rounds.baseline())),
        figure: rounds.ratio(),
        unit: "",
        good: Good::AtMost,
        floor: 1.3,
        goal: 1.1,
        notes: vec![note.to_owned()],
    };
    Ok(vec![
        Line {
            id: "R7",
            what: format!("ticket lives/s, {tickets} at the same time"),
            ours: format!("{}/s", number(rate.ours())),
            baseline: format!("bare {}/s", number(rate.baseline())),
            figure: rate.ratio(),
            unit: "",
            good: Good::AtLeast,
            floor: 0.5,
            goal: 0.75,
            notes: vec![
                "17 commands over HTTP with policy, audit and outbox, relayed, until the workflow has \
                 ended; the baseline sends 17 signals and calls nothing"
                    .to_owned(),
            ],
        },
        events(
            "commands at once",
            together,
            "the relay lets events that wait travel together",
        ),
        events(
            "a command per second",
            apart,
            "nothing travels together; what is more than bare are search attributes and timers",
        ),
    ])
}
