//! Closed-loop load on dispatch-api: each client plays one ticket after another.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use contracts::TicketId;
use futures::future::try_join_all;

use crate::{
    http::{Http, ticket_of},
    life::Step,
};

/// What a load did.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Commands that were answered with success.
    pub commands: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
}

impl Done {
    /// Commands per second.
    pub fn rate(&self) -> f64 {
        self.commands as f64 / self.seconds
    }
}

/// Plays lives with this many clients for about this long; every command must succeed.
pub async fn play(
    address: SocketAddr,
    life: &Arc<Vec<Step>>,
    clients: usize,
    time: Duration,
) -> Result<Done> {
    let mut connections = Vec::with_capacity(clients);
    for _ in 0..clients {
        connections.push(Http::connect(address).await?);
    }
    let commands = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let tasks = connections.into_iter().map(|mut http| {
        let (life, commands) = (Arc::clone(life), Arc::clone(&commands));
        tokio::spawn(async move {
            'tickets: loop {
                let mut ticket = None;
                for step in life.iter() {
                    if begun.elapsed() >= time {
                        break 'tickets;
                    }
                    take(&mut http, step, &mut ticket).await?;
                    commands.fetch_add(1, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        })
    });
    for ended in try_join_all(tasks).await? {
        ended?;
    }
    Ok(Done {
        commands: commands.load(Ordering::Relaxed),
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// One step of one ticket; a creation says which.
pub async fn take(http: &mut Http, step: &Step, ticket: &mut Option<TicketId>) -> Result<()> {
    let receipt = http
        .command(&step.token, step.operation, *ticket, &step.body)
        .await?;
    if ticket.is_none() {
        *ticket = Some(ticket_of(receipt)?);
    }
    Ok(())
}

/// Creates so many tickets and plays the given steps on each; answers them.
pub async fn tickets(
    address: SocketAddr,
    life: &Arc<Vec<Step>>,
    count: usize,
) -> Result<Vec<TicketId>> {
    const CLIENTS: usize = 16;
    let next = Arc::new(AtomicU64::new(0));
    let tasks = (0..CLIENTS).map(|_| {
        let (life, next) = (Arc::clone(life), Arc::clone(&next));
        tokio::spawn(async move {
            let mut http = Http::connect(address).await?;
            let mut made = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < count as u64 {
                let mut ticket = None;
                for step in life.iter() {
                    take(&mut http, step, &mut ticket).await?;
                }
                made.extend(ticket);
            }
            anyhow::Ok(made)
        })
    });
    let mut all = Vec::with_capacity(count);
    for made in try_join_all(tasks).await? {
        all.extend(made?);
    }
    Ok(all)
}
