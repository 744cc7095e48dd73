//! `dispatch demo`: one emergency-glass job with two visits, played as the people and systems that
//! would call the API, each with a token of their own.
//!
//! Everything goes through the public API. The ticket's workflow runs beside the people in shadow
//! mode: what it would have done is shown next to what the person did. At the end the workflow's
//! own view, read from Temporal, must equal the database's, and the ticket rebuilt from its
//! timeline must equal the ticket; anything off ends the demo with exit code 1.

mod cast;
mod check;
pub mod day;
mod line;
mod play;
mod script;
mod text;

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use client::Client;
use url::Url;

use self::{cast::Cast, play::Play};
use crate::{exit::Failure, temporal::Temporal, token::Minter};

pub use self::cast::World;

/// What the demo runs against.
#[derive(Debug)]
pub struct Stage {
    /// dispatch-api.
    pub api_url: Url,
    /// Mints the cast's tokens.
    pub minter: Minter,
    /// For the workflow's own view and the link to it.
    pub temporal: Temporal,
    /// Ids of the seeded tenant.
    pub world: World,
}

/// How long a step stays on the screen before the next: a person follows a job in a minute, a
/// program is not kept waiting.
pub fn pace(json: bool) -> Duration {
    if !json && std::io::stdout().is_terminal() {
        Duration::from_secs(2)
    } else {
        Duration::ZERO
    }
}

/// Plays the job, `pace` between two steps; prints each to `out`, as text or as one JSON object a
/// line.
pub async fn run(
    stage: &Stage,
    json: bool,
    pace: Duration,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    // Connected first: without Temporal nobody needs to see half a demo.
    let temporal = stage.temporal.connect().await?;
    let anonymous = Client::new(&stage.api_url, "")?;
    let cast = Cast::new(&anonymous, &stage.minter, &stage.world)?;
    let mut play = Play::new(json, pace, out);
    script::run(&mut play, &cast, stage).await?;
    check::run(&mut play, &cast, &stage.world, &temporal).await?;
    play.end()
}
