//! The flow beside dispatch-api: events through the relay into the workflow of the ticket, and what
//! the workflow writes back. What is asked is always the same: nothing lost, nothing twice, healed
//! within half a minute, whatever happened in between.

mod acting;
mod approvals;
mod budget;
mod continuation;
mod control;
mod delivery;
mod kill;
mod outage;
mod privacy;
mod relays;
mod replay;
mod restore;
mod setbacks;
mod shadow;
mod tenants;
mod time;
mod trace;
mod visibility;
mod workflow_lost;
