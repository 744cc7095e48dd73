//! R11: what a long life costs. A page of ten timeline entries, the first and the last, on tickets
//! with up to 10⁵ attempts, against one with ten; and the workflow task that takes one event, at the
//! 10,000th event of a ticket against the first ones of a new ticket, timed by Temporal itself from
//! the task's start to its completion.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use contracts::{TicketId, read::TimelinePage};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    bench::Bench,
    http::Http,
    life::{self, Step},
    lives::Ours,
    load, relaying,
    report::{Good, Line, number},
    stats::{Spread, interleaved},
};

/// Entries of a page.
const PAGE: usize = 10;
/// Pages per second, of a generator that waits for nobody.
const PER_SECOND: u64 = 100;
/// Events that a workflow takes one by one in a round.
const EVENTS: usize = 20;
/// Writers that make a life long.
const WRITERS: usize = 16;

/// Measures both.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let ours = Ours::start(bench, "r11").await?;
    let mut lines = timeline(bench, &ours).await?;
    lines.push(signals(bench, &ours).await?);
    ours.stop().await?;
    Ok(lines)
}

async fn timeline(bench: &Bench, ours: &Ours) -> Result<Vec<Line>> {
    let remark = life::remark()?;
    let short = created(ours).await?;
    repeat(ours, short, &remark, PAGE - 1).await?;
    let long = created(ours).await?;
    let mut written = 1;
    let mut lines = Vec::new();
    for length in [1_000, bench.settings.pick(100_000, 5_000)] {
        repeat(ours, long, &remark, length - written).await?;
        written = length;
        let last = last_page(ours, &remark.token, long).await?;
        for (page, cursor) in [("first", None), ("last", Some(last.as_str()))] {
            let [p99] = interleaved(
                &format!("R11 {page} page of {length} (p99, ms)"),
                bench.settings.rounds,
                async |_| Ok([pages(bench, ours, &remark.token, long, cursor).await?]),
                async |_| Ok([pages(bench, ours, &remark.token, short, None).await?]),
            )
            .await?;
            lines.push(Line {
                id: "R11",
                what: format!("{page} timeline page of {length} attempts, p99"),
                ours: format!("{} ms", number(p99.ours())),
                baseline: format!("of {PAGE} {} ms", number(p99.baseline())),
                figure: p99.ratio(),
                unit: "",
                good: Good::AtMost,
                floor: 1.5,
                goal: 1.1,
                notes: vec![format!(
                    "{PAGE} entries a page, {PER_SECOND} pages per second"
                )],
            });
        }
    }
    Ok(lines)
}

async fn signals(bench: &Bench, ours: &Ours) -> Result<Line> {
    let change = life::retriage()?;
    let old = created(ours).await?;
    let events = bench.settings.pick(10_000, 1_000);
    repeat(ours, old, &change, events).await?;
    relaying::until_drained(&ours.database.admin).await?;
    let [task] = interleaved(
        &format!("R11 event {events} (workflow task, p50 ms)"),
        bench.settings.rounds,
        async |_| Ok([tasks(ours, old, &change).await?]),
        async |_| Ok([tasks(ours, created(ours).await?, &change).await?]),
    )
    .await?;
    Ok(Line {
        id: "R11",
        what: format!("workflow task of the {events}th event, p50"),
        ours: format!("{} ms", number(task.ours())),
        baseline: format!("of the first {EVENTS} {} ms", number(task.baseline())),
        figure: task.ratio(),
        unit: "",
        good: Good::AtMost,
        floor: 1.5,
        goal: 1.1,
        notes: vec![
            "with the advice that the event asks for; the history was continued as new on the way"
                .to_owned(),
        ],
    })
}

async fn created(ours: &Ours) -> Result<TicketId> {
    let life = Arc::new(vec![life::creation()?]);
    let made = load::tickets(ours.service.address, &life, 1).await?;
    made.first().copied().context("a ticket was created")
}

/// The same command so many times.
async fn repeat(ours: &Ours, ticket: TicketId, step: &Step, times: usize) -> Result<()> {
    let writers = (0..WRITERS).map(|writer| {
        let share = times / WRITERS + usize::from(writer < times % WRITERS);
        async move {
            let mut http = Http::connect(ours.service.address).await?;
            for _ in 0..share {
                load::take(&mut http, step, &mut Some(ticket)).await?;
            }
            anyhow::Ok(())
        }
    });
    try_join_all(writers).await?;
    Ok(())
}

/// The cursor of the page that begins ten entries before the end.
async fn last_page(ours: &Ours, token: &str, ticket: TicketId) -> Result<String> {
    let mut http = Http::connect(ours.service.address).await?;
    let mut cursor: Option<String> = None;
    loop {
        let after = cursor
            .as_ref()
            .map_or_else(String::new, |c| format!("&cursor={c}"));
        let path = format!("/tickets/{ticket}/timeline?limit={PAGE}0{after}");
        let page: TimelinePage = serde_json::from_slice(http.get(token, &path).await?)?;
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return cursor.context("a timeline of several pages"),
        }
    }
}

/// p99 in milliseconds of pages asked for at a constant rate, counted from when each was due.
async fn pages(
    bench: &Bench,
    ours: &Ours,
    token: &str,
    ticket: TicketId,
    cursor: Option<&str>,
) -> Result<f64> {
    const CONNECTIONS: usize = 4;
    let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    let path = format!("/tickets/{ticket}/timeline?limit={PAGE}{after}");
    let count = bench.settings.pick(400, 100);
    let lanes = (0..CONNECTIONS).map(|lane| {
        let path = &path;
        async move {
            let mut http = Http::connect(ours.service.address).await?;
            let mut taken = Vec::new();
            let period = Duration::from_secs(1) / PER_SECOND as u32;
            let first = Instant::now() + period * lane as u32;
            let mut due = tokio::time::interval_at(first, period * CONNECTIONS as u32);
            due.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..count / CONNECTIONS {
                let due = due.tick().await;
                http.get(token, path).await?;
                taken.push(due.elapsed());
            }
            anyhow::Ok(taken)
        }
    });
    let mut histogram = Histogram::<u64>::new(3)?;
    for taken in try_join_all(lanes).await?.into_iter().flatten() {
        histogram.record(taken.as_micros().try_into()?)?;
    }
    Ok(histogram.value_at_quantile(0.99) as f64 / 1e3)
}

/// Median milliseconds of the workflow tasks that take these events, one at a time.
async fn tasks(ours: &Ours, ticket: TicketId, step: &Step) -> Result<f64> {
    let mut http = Http::connect(ours.service.address).await?;
    let mut every = interval(Duration::from_millis(200));
    for _ in 0..EVENTS {
        every.tick().await;
        load::take(&mut http, step, &mut Some(ticket)).await?;
    }
    relaying::until_drained(&ours.database.admin).await?;
    // The last task completes a little after its signal was delivered.
    sleep(Duration::from_millis(500)).await;
    let mut started = None;
    let mut taken = Vec::new();
    for event in relaying::history(&ours.connection, ticket, false).await? {
        let time = event.event_time.context("an event has a time")?;
        let ms = time.seconds as f64 * 1e3 + f64::from(time.nanos) / 1e6;
        match event.event_type() {
            EventType::WorkflowTaskStarted => started = Some(ms),
            EventType::WorkflowTaskCompleted => taken.extend(started.take().map(|s| ms - s)),
            _ => {}
        }
    }
    let newest = taken.split_off(taken.len().saturating_sub(EVENTS));
    Ok(Spread::of(newest).median)
}
