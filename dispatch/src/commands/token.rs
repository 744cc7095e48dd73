//! `dispatch token`.

use chrono::Utc;
use contracts::{ActorKind, Role, actor::is_actor_id};

use crate::{
    cli::{Global, TokenArgs},
    demo::World,
    exit::Failure,
    token::{Caller, Minter},
};

/// Mints one token and prints it.
pub fn run(global: &Global, args: &TokenArgs) -> Result<(), Failure> {
    let settings = super::load(global, Vec::new())?.settings;
    let world = World::seeded();
    let is_technician = args.role.contains(&Role::Technician);
    if args.technician.is_some() && !is_technician {
        return Err(Failure::usage(
            "--technician says who a technician is: add --role technician",
        ));
    }
    if args.kind == ActorKind::Person && args.role.is_empty() {
        return Err(Failure::usage(
            "a person without a role may do nothing: add --role ROLE (`dispatch token --help` lists \
             them)",
        ));
    }
    let sub = args.sub.clone().unwrap_or_else(|| match args.role.first() {
        Some(role) => format!("dev_{role}"),
        None => format!("dev_{}", args.kind),
    });
    if !is_actor_id(&sub) {
        return Err(Failure::usage(
            "--sub must be an opaque id, not a name or an address: 1 to 128 characters A-Z, a-z, \
             0-9, `.`, `_`, `:` or `-`",
        ));
    }
    let caller = Caller {
        tenant: args.tenant.unwrap_or(world.tenant),
        sub,
        kind: args.kind,
        roles: args.role.iter().copied().collect(),
        technician: args.technician,
    };
    let token = Minter::new(&settings.auth)?.mint(&caller, Utc::now(), args.ttl)?;
    super::print(&(token + "\n"))
}
