//! Who sent a message.

use contracts::{command::CommsInbound, comms::Channel, value::PeerAddress};

use super::normalise;
use crate::Route;

/// The sender's address as it is kept; the error is the route of a message that cannot be used.
pub fn sender(body: &CommsInbound) -> Result<PeerAddress, Route> {
    normalise(body.channel, &body.peer).map_err(|message| Route::Unusable {
        pointer: match body.channel {
            Channel::Operations => "/channel",
            _ => "/peer",
        },
        message,
    })
}
