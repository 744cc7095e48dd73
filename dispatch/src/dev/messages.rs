//! Where messages go in `dispatch dev`: a receiver on this machine that verifies each request as a
//! provider's would, and keeps the messages in a file. Who configures endpoints has them instead.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use ::comms::receiver::{PATH, Receiver};
use contracts::{Slug, comms::Channel};
use rand::Rng;
use strum::VariantArray;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::state::StateDir;
use crate::{
    config::{CommsEndpoint, OnUnknown, Settings},
    exit::{Failure, chain},
    secret::Secret,
};

/// The file in the state folder.
const FILE: &str = "messages.jsonl";
/// The endpoint's name in the ledger.
const NAME: &str = "dev";
/// Our own machine answers soon.
const TIMEOUT_MS: NonZeroU32 = NonZeroU32::new(5000).expect("5000 is not 0");

/// A receiver that is about to run.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver,
    listener: TcpListener,
}

impl Inbox {
    /// Listens, and makes itself the endpoint of every channel, unless endpoints are configured.
    pub async fn unless_configured(
        settings: &mut Settings,
        state: &StateDir,
    ) -> Result<Option<Self>, Failure> {
        if !settings.comms.endpoints.is_empty() {
            return Ok(None);
        }
        let trouble = |error: std::io::Error| {
            Failure::infrastructure(format!("the receiver of messages cannot listen: {error}"))
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(any).await.map_err(trouble)?;
        let address = listener.local_addr().map_err(trouble)?;
        let endpoint = endpoint(address)?;
        let secret = ::comms::Secret::new(endpoint.secret.expose());
        let receiver = Receiver::open(&path(state), &secret)
            .map_err(|error| Failure::infrastructure(chain(&error)))?;
        settings.comms.endpoints.push(endpoint);
        Ok(Some(Self { receiver, listener }))
    }

    /// Takes messages until `stop`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Failure> {
        self.receiver.run(self.listener, stop).await;
        Ok(())
    }
}

/// Where messages are kept, when they come to this machine.
pub fn kept_at(settings: &Settings, state: &StateDir) -> Option<PathBuf> {
    let endpoints = &settings.comms.endpoints;
    let ours = endpoints.iter().any(|e| e.name.as_str() == NAME);
    ours.then(|| path(state)).filter(|path| Path::exists(path))
}

fn path(state: &StateDir) -> PathBuf {
    state.path(FILE)
}

/// With a secret of its own each time: nobody else needs to know it.
fn endpoint(address: SocketAddr) -> Result<CommsEndpoint, Failure> {
    let mut bytes = [0; 36];
    rand::rng().fill_bytes(&mut bytes);
    Ok(CommsEndpoint {
        name: Slug::new(NAME).map_err(Failure::failed)?,
        url: format!("http://{address}{PATH}")
            .parse()
            .map_err(Failure::failed)?,
        // Hex digits are base64 too.
        secret: Secret::new(format!("whsec_{}", hex::encode(bytes))),
        channels: Channel::VARIANTS.to_vec(),
        tenants: Vec::new(),
        keyed: true,
        on_unknown: OnUnknown::GiveUp,
        timeout_ms: TIMEOUT_MS,
        allow_http: false,
    })
}
