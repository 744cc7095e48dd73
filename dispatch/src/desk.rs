//! How the commands for people reach dispatch-api: where, and as whom.
//!
//! With `api.token` they act as whoever that token names. Where the secret is known that signs
//! tokens, as in the folder of a running `dispatch dev`, they mint their own, for the demo tenant's
//! dispatcher unless told otherwise: nobody needs to copy a token to look at a ticket there.

use chrono::{TimeDelta, Utc};
use clap::Args;
use client::{Client, TokenError, TokenProvider};
use contracts::{ActorKind, Role, TenantId};
use serde::Serialize;
use url::Url;

use crate::{
    cli::{Global, parse_role},
    commands::{print, print_json},
    config::{Config, Settings, Sources},
    demo::World,
    exit::Failure,
    table::Screen,
    token::{Caller, Minter},
};

/// A minted token is asked for anew with each call, so it may be short-lived.
const TTL: TimeDelta = TimeDelta::minutes(5);

/// Flags of every command that asks dispatch-api.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Where dispatch-api is [default: `api.url`]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<Url>,

    /// Without a token of your own (`api.token`): the role of the token that is minted [default:
    /// auditor for `decisions`, account_manager for `approvals`, tenant_admin for `killswitch`,
    /// `rollout` and `import technicians`, platform_admin for `policy`,
    /// `tenant`, `service-account` and `api-key`, else dispatcher]
    #[arg(long = "as", value_name = "ROLE", value_parser = parse_role)]
    pub role: Option<Role>,

    /// Without a token of your own: whose rows [default: the demo tenant]
    #[arg(long, value_name = "ID")]
    pub tenant: Option<TenantId>,

    /// JSON instead of text: the documents of the API
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The connection, and how to print.
#[derive(Debug)]
pub struct Desk {
    /// dispatch-api.
    pub api: Client,
    /// Everything else that is configured.
    pub settings: Settings,
    /// Documents instead of tables.
    pub json: bool,
    /// Where tables go.
    pub screen: Screen,
}

impl Desk {
    /// Finds out where and as whom; `usual` is the role of a minted token unless one was asked for.
    pub fn open(global: &Global, connection: &Connection, usual: Role) -> Result<Self, Failure> {
        let url = connection.api_url.iter();
        let settings = Config::load(&Sources {
            flags: url.map(|url| ("api.url", url.to_string())).collect(),
            ..Sources::new(global)
        })?
        .settings;
        let token: Box<dyn TokenProvider> = match &settings.api.token {
            Some(_) if connection.role.is_some() || connection.tenant.is_some() => {
                return Err(Failure::usage(
                    "--as and --tenant are for minted tokens, but `api.token` (DISPATCH_API_TOKEN) \
                     gives one, which says itself whose it is: leave one of them out",
                ));
            }
            Some(token) => token.expose().trim().into(),
            None if settings.auth.jwt_secret.is_none() => {
                return Err(Failure::usage(
                    "no token: set DISPATCH_API_TOKEN to your bearer token; in the folder of a \
                     running `dispatch dev` (or with its --state-dir) none is needed",
                ));
            }
            None => {
                let role = connection.role.unwrap_or(usual);
                let world = World::seeded();
                let technician = world.technicians.first().map(|(id, _)| *id);
                Minted {
                    minter: Minter::new(&settings.auth)?,
                    caller: Caller {
                        tenant: connection.tenant.unwrap_or(world.tenant),
                        sub: format!("dev_{role}"),
                        kind: ActorKind::Person,
                        roles: [role].into(),
                        technician: technician.filter(|_| role == Role::Technician),
                    },
                }
                .into()
            }
        };
        Ok(Self {
            api: Client::new(&settings.api.url, token)?,
            settings,
            json: connection.json,
            screen: Screen::of_stdout(),
        })
    }
}

impl Desk {
    /// Prints text to stdout.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        print(text)
    }

    /// Prints one document.
    pub fn print_json(&self, document: &impl Serialize) -> Result<(), Failure> {
        print_json(document)
    }

    /// Prints one document of several: a line.
    pub fn print_line(&self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document).map_err(Failure::failed)?;
        print(&(text + "\n"))
    }

    /// What a command came to. A program that asked for documents gets the problem as one, too.
    pub fn ended(&self, result: Result<(), Failure>) -> Result<(), Failure> {
        if let (true, Err(failure)) = (self.json, &result)
            && let Some(problem) = &failure.problem
        {
            self.print_line(problem)?;
        }
        result
    }
}

/// A token per call.
#[derive(Debug)]
struct Minted {
    minter: Minter,
    caller: Caller,
}

impl TokenProvider for Minted {
    fn token(&self) -> Result<String, TokenError> {
        self.minter
            .mint(&self.caller, Utc::now(), TTL)
            .map_err(|failure| TokenError(failure.message))
    }
}
