//! R3: round trips per command, counted on the wire.

use anyhow::{Context, Result};
use chrono::Utc;
use url::Url;

use crate::{
    bench::Bench,
    http::Http,
    life, load,
    proxy::Proxy,
    report::{Good, Line},
    service::Service,
    stats::Spread,
};

/// Counts them.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let life = life::short(Utc::now())?;
    let database = bench.database("r3").await?;
    let port = bench
        .servers
        .postgres
        .port()
        .context("a server of our own")?;
    let proxy = Proxy::start(port).await?;
    let mut url = Url::parse(&database.addresses.app)?;
    url.set_port(Some(proxy.address.port()))
        .ok()
        .context("a URL with a port")?;
    url.set_query(Some("sslmode=disable"));
    let service = Service::start_at(url.as_str(), &database, 1).await?;
    let mut http = Http::connect(service.address).await?;
    let lives = 20;
    let mut before = Vec::new();
    for number in 0..=lives {
        // The first life prepares the statements.
        if number == 1 {
            before = proxy.round_trips();
        }
        let mut ticket = None;
        for step in &life {
            load::take(&mut http, step, &mut ticket).await?;
        }
    }
    let commands = f64::from(lives) * life.len() as f64;
    let after = proxy.round_trips();
    let per_command = |connection: usize| {
        let after = after.get(connection).copied().unwrap_or_default();
        let before = before.get(connection).copied().unwrap_or_default();
        (after - before) as f64 / commands
    };
    // The pool of one opens the first connection, the waker the second one.
    let (command, wake) = (per_command(0), per_command(1));
    service.stop().await?;
    database.close().await;
    Ok(vec![Line {
        id: "R3",
        what: "SQL round trips per command".to_owned(),
        ours: format!("{command:.2}"),
        baseline: "–".to_owned(),
        figure: Spread::of([command]),
        unit: "",
        good: Good::AtMost,
        floor: 5.0,
        goal: 2.0,
        notes: vec![format!(
            "counted on the wire over {commands} commands of one client: begin, open, write, commit, \
             and one by the pool (sqlx tests a connection that comes back) that nobody waits for; \
             besides, on another connection and after the answer, {wake:.2} NOTIFY per command \
             (under load one per 5 ms for all commands together)"
        )],
    }])
}
