//! Messages: whose address it is, which ticket one that comes in belongs to, and when one that goes out
//! must not leave.
//!
//! Pure, like everything here: the caller reads the facts while it holds the peer's lock, so that
//! two messages of one peer at the same moment are told the same story one after the other.

mod normalise;
mod quiet;
mod route;
mod sender;

pub use normalise::normalise;
pub use quiet::{Peace, QUIET_KNOWN, Quiet};
pub use route::{MOST_CANDIDATES, NamedSite, PeerContact, PeerTicket, RouteFacts, Seen, route};
pub use sender::sender;
