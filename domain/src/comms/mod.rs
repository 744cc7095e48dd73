//! Inbound messages: whose address it is, and which ticket a message belongs to.
//!
//! Pure, like everything here: the caller reads the facts while it holds the peer's lock, so that
//! two messages of one peer at the same moment are told the same story one after the other.

mod normalise;
mod route;
mod sender;

pub use normalise::normalise;
pub use route::{MOST_CANDIDATES, NamedSite, PeerContact, PeerTicket, RouteFacts, Seen, route};
pub use sender::sender;
