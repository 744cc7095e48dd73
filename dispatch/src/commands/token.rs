//! `dispatch token`.

use chrono::Utc;
use contracts::Role;

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
    let sub = args.sub.clone().unwrap_or_else(|| match args.role.first() {
        Some(role) => format!("dev_{role}"),
        None => format!("dev_{}", args.kind),
    });
    if !(1..=128).contains(&sub.chars().count()) {
        return Err(Failure::usage("--sub must have 1 to 128 characters"));
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
