//! `dispatch demo`.

use std::time::Duration;

use crate::{
    cli::{DemoArgs, Global},
    demo::{self, day},
    exit::Failure,
    shutdown,
    temporal::Temporal,
    token::Minter,
};

/// Plays the demo, or a day, against a running system.
pub async fn run(global: &Global, args: DemoArgs) -> Result<(), Failure> {
    let flags = args.api_url.iter().map(|url| ("api.url", url.to_string()));
    let settings = super::load(global, flags.collect())?.settings;
    let stage = demo::Stage {
        minter: Minter::new(&settings.auth)?,
        temporal: Temporal::new(&settings.temporal)?,
        api_url: settings.api.url,
        world: demo::World::seeded(),
    };
    let mut out = std::io::stdout();
    if let Some(count) = args.count {
        let speed = args.speed.unwrap_or(day::USUAL_SPEED);
        let day = day::Day::new(count, speed, args.seed)?;
        return day::run(&stage, &day, args.json, shutdown::on_signal(), &mut out).await;
    }
    let pace = args
        .pace
        .map_or_else(|| demo::pace(args.json), Duration::from_secs);
    demo::run(&stage, args.json, pace, &mut out).await
}
