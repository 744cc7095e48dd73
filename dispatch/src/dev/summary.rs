//! What `dispatch dev` says when everything runs: where, as whom, and what to type next.

use std::{io::Write, time::Duration};

use chrono::{TimeDelta, Utc};
use contracts::{ActorKind, Role};
use strum::VariantArray;

use super::{messages, state::StateDir};
use crate::{
    cli::DEFAULT_STATE_DIR,
    config::{self, Settings},
    demo::World,
    exit::Failure,
    temporal::Temporal,
    token::{Caller, Minter},
};

/// Long enough for a working week, short enough that a leaked one dies.
const TTL: TimeDelta = TimeDelta::days(7);

/// Prints it to stdout.
pub fn print(
    state: &StateDir,
    settings: &Settings,
    minter: &Minter,
    elapsed: Duration,
) -> Result<(), Failure> {
    let text = text(state, settings, minter, elapsed)?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("cannot print: {error}")))
}

fn text(
    state: &StateDir,
    settings: &Settings,
    minter: &Minter,
    elapsed: Duration,
) -> Result<String, Failure> {
    let world = World::seeded();
    let api = settings.api.url.as_str().trim_end_matches('/');
    let temporal = Temporal::new(&settings.temporal)?;
    let now = Utc::now();
    let mut text = format!("\nReady after {:.1} s.\n\n", elapsed.as_secs_f64());
    let mut place = |name: &str, url: &str| text += &format!("  {name:<16} {url}\n");
    place("API", &format!("{api}/api/v1"));
    place("OpenAPI", &format!("{api}/api/v1/openapi.json"));
    for (part, listen) in [
        ("api metrics", settings.api.metrics_listen),
        ("relay metrics", settings.relay.metrics_listen),
        ("worker metrics", settings.worker.metrics_listen),
        ("sender metrics", settings.comms.metrics_listen),
    ] {
        place(part, &format!("http://{listen}/metrics"));
    }
    if let Some(ui) = &temporal.ui_url {
        place("Temporal Web UI", ui.as_str().trim_end_matches('/'));
    }
    place("Temporal", temporal.connection.target.authority());
    if let Some(path) = messages::kept_at(settings, state) {
        place("messages", &path.display().to_string());
    }
    place("demo tenant", &world.tenant.to_string());

    text += "\nTokens of the demo tenant, good for seven days:\n";
    let mut dispatcher = String::new();
    for role in Role::VARIANTS {
        let caller = Caller {
            tenant: world.tenant,
            sub: format!("dev_{role}"),
            kind: ActorKind::Person,
            roles: [*role].into(),
            technician: (*role == Role::Technician)
                .then(|| world.technicians.first().map(|(id, _)| *id))
                .flatten(),
        };
        let token = minter.mint(&caller, now, TTL)?;
        text += &format!("\n  {role}\n{token}\n");
        if *role == Role::Dispatcher {
            dispatcher = token;
        }
    }

    let program = program(state);
    text += &format!(
        "\nNext, in another terminal:\n\n  \
         {program} demo      # a job with two visits, step by step\n  \
         {program} doctor    # is everything well?\n\n  \
         curl -sS {api}/api/v1/tickets \\\n    \
         -H 'Authorization: Bearer {dispatcher}' \\\n    \
         -H 'Idempotency-Key: first-ticket' -H 'Content-Type: application/json' \\\n    \
         -d '{{\"site_id\":\"{site}\",\"template\":\"emergency_glass\"}}'\n\n\
         Ctrl-C stops everything.\n",
        site = world.site,
    );
    Ok(text)
}

/// How to call this program again so that it finds this system.
fn program(state: &StateDir) -> String {
    let program = match std::env::var_os("CARGO") {
        Some(_) => "cargo run -q --",
        None => "dispatch",
    };
    let usual = std::path::absolute(DEFAULT_STATE_DIR).is_ok_and(|dir| dir == state.root());
    if state.is_ephemeral() {
        format!("{program} --config {}", state.path(config::FILE).display())
    } else if usual {
        program.to_owned()
    } else {
        format!("{program} --state-dir {}", state.root().display())
    }
}
