//! The command line: written for somebody who was woken at 3 a.m.

use std::{net::SocketAddr, path::PathBuf};

use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use contracts::{ActorKind, Role, Slug, TechnicianId, TenantId, TicketId};
use url::Url;

use crate::{
    commands::{
        api_key::{AccountCommand, KeyCommand},
        approvals::ApprovalsCommand,
        decisions::DecisionsCommand,
        import::ImportArgs,
        killswitch::KillSwitchCommand,
        messages::MessagesCommand,
        policy::PolicyCommand,
        proposals::ProposalsCommand,
        rollout::RolloutCommand,
        shadow::{ShadowCommand, record::CODE_VERSION},
        tenant::TenantCommand,
        ticket::TicketCommand,
    },
    demo::day::Speed,
    exit,
    telemetry::LogFormat,
    token::parse_ttl,
};

/// Where `dispatch dev` keeps its state unless it is told otherwise.
pub const DEFAULT_STATE_DIR: &str = ".dispatch";

/// Field-service jobs as durable workflows: software proposes, people and policy decide.
#[derive(Debug, Parser)]
#[command(
    name = "dispatch",
    version,
    long_version = CODE_VERSION,
    about,
    after_help = exit::HELP,
    propagate_version = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: CliCommand,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: dispatch.toml in the current folder, if there is one]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DISPATCH_CONFIG",
        help_heading = "Configuration"
    )]
    pub config: Option<PathBuf>,

    /// Sets any key, over variables and file: --set api.listen=0.0.0.0:8080 (repeatable; `dispatch
    /// config show` lists the keys)
    #[arg(
        long,
        global = true,
        value_name = "KEY=VALUE",
        help_heading = "Configuration"
    )]
    pub set: Vec<String>,

    /// Folder in which `dispatch dev` keeps its state; other commands read its settings
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "DISPATCH_STATE_DIR",
        default_value = DEFAULT_STATE_DIR,
        help_heading = "Configuration"
    )]
    pub state_dir: PathBuf,

    /// How logs look (they go to stderr; RUST_LOG chooses what is logged)
    #[arg(
        long,
        global = true,
        value_enum,
        env = "DISPATCH_LOG_FORMAT",
        default_value = "text",
        help_heading = "Configuration"
    )]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Starts everything on this machine: Postgres, Temporal with its Web UI, api, relay, worker
    ///
    /// Needs no configuration and no Docker. State is kept in .dispatch/ and reused at the next
    /// start. Prints the addresses, a token per role and what to type next; Ctrl-C stops all.
    ///
    /// With DATABASE_URL (a superuser's address) no Postgres is started: the database `dispatch` and
    /// its logins are made on that server. With TEMPORAL_ADDRESS no Temporal is started.
    #[command(after_help = exit::HELP)]
    Dev(DevArgs),

    /// Plays an emergency-glass job with two visits through the public API, step by step
    ///
    /// Needs a running system: `dispatch dev` in another terminal. At the end compares what the
    /// workflow knows with the database; exit code 1 if anything is off.
    ///
    /// With --count N plays a day of N tickets instead: emergencies at night, planned jobs by day,
    /// everything that goes wrong, wrong input too. Every answer is checked; the end says what was
    /// used of what there is, and whether all records agree. Only the pauses between two acts are
    /// simulated: time stamps, windows and SLA clocks are real, so a day that takes a minute breaks
    /// no promise of two hours, and no SLA event and no escalation occurs in it. At --speed 3600 or
    /// slower workflows have the time to propose before people act; with `max` few proposals are
    /// paired with what people did.
    #[command(after_help = exit::HELP)]
    Demo(DemoArgs),

    /// Looks at tickets: list, show, timeline, watch, proposals
    ///
    /// In the folder of a running `dispatch dev` it needs no settings; elsewhere DISPATCH_API_URL and
    /// DISPATCH_API_TOKEN say where and as whom.
    #[command(after_help = exit::HELP)]
    Ticket {
        #[command(subcommand)]
        command: TicketCommand,
    },

    /// What waits for people: list, show, approve, reject, claim, amend …
    ///
    /// Without a token of your own you act as the demo tenant's account manager.
    #[command(after_help = exit::HELP)]
    Approvals {
        #[command(subcommand)]
        command: ApprovalsCommand,
    },

    /// Looks at software's proposals over all tickets
    #[command(after_help = exit::HELP)]
    Proposals {
        #[command(subcommand)]
        command: ProposalsCommand,
    },

    /// Looks at what the policy decided, and why
    #[command(after_help = exit::HELP)]
    Decisions {
        #[command(subcommand)]
        command: DecisionsCommand,
    },

    /// Writes, checks, tests, packs and signs policy bundles, and says what one decides
    ///
    /// From zero to a changed rule: docs/policy-authoring.md.
    #[command(after_help = exit::HELP)]
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },

    /// Says what software would have proposed, and the policy decided
    #[command(after_help = exit::HELP)]
    Shadow {
        #[command(subcommand)]
        command: ShadowCommand,
    },

    /// Looks at messages: what came in, what goes out, what a person has to place
    #[command(after_help = exit::HELP)]
    Messages {
        #[command(subcommand)]
        command: MessagesCommand,
    },

    /// Lets software do more, or less, by itself: one kind of command at a time, on a gate report
    ///
    /// For operators: docs/autonomy.md.
    #[command(after_help = exit::HELP)]
    Rollout {
        #[command(subcommand)]
        command: RolloutCommand,
    },

    /// Stops software from acting, or lets it act again
    #[command(after_help = exit::HELP)]
    Killswitch {
        #[command(subcommand)]
        command: KillSwitchCommand,
    },

    /// Makes tenants, sets them up, suspends, exports and deletes them
    ///
    /// For operators: docs/tenants.md.
    #[command(after_help = exit::HELP)]
    Tenant {
        #[command(subcommand)]
        command: TenantCommand,
    },

    /// Makes accounts that software calls with, shows and disables them
    ///
    /// For operators: docs/api-keys.md.
    #[command(after_help = exit::HELP)]
    ServiceAccount {
        #[command(subcommand)]
        command: AccountCommand,
    },

    /// Makes keys of service accounts, shows when they end, replaces and revokes them
    ///
    /// For operators: docs/api-keys.md.
    #[command(after_help = exit::HELP)]
    ApiKey {
        #[command(subcommand)]
        command: KeyCommand,
    },

    /// Imports sites, assets, contacts, technicians or tickets from CSV or JSON Lines
    ///
    /// Each row becomes a command of the API. Rows that cannot be imported are written with what is
    /// wrong to FILE.errors.jsonl (exit code 1). Run again, interrupted or killed in the middle,
    /// nothing is imported twice: the same command goes on where it stopped. Sites, assets, contacts
    /// and technicians are recognised by their `code`; tickets by their `external_id`, when the same
    /// caller imports them.
    ///
    /// Columns (the first ones are needed): docs/cli.md; references are codes or ids.
    ///
    /// `legacy` takes a plain dump of a system without tenants: docs/operations.md.
    #[command(after_help = exit::HELP)]
    Import(ImportArgs),

    /// Runs dispatch-api, the only part that changes business data
    #[command(after_help = exit::HELP)]
    Api(ApiArgs),

    /// Runs the outbox relay, which brings committed events to Temporal; or mends it
    #[command(after_help = exit::HELP, args_conflicts_with_subcommands = true)]
    Relay {
        #[command(subcommand)]
        command: Option<RelayCommand>,
    },

    /// Sends outbound messages to the endpoints of `comms.endpoints`, as signed webhooks
    #[command(after_help = exit::HELP)]
    Comms,

    /// Runs the Temporal worker; or makes its version the current one
    #[command(after_help = exit::HELP, args_conflicts_with_subcommands = true)]
    Worker {
        #[command(subcommand)]
        command: Option<WorkerCommand>,
    },

    /// Brings the database and Temporal's search attributes up to date; safe to repeat
    #[command(after_help = exit::HELP)]
    Migrate(MigrateArgs),

    /// Mints a bearer token and prints it
    ///
    /// Example: curl -H "Authorization: Bearer $(dispatch token --role dispatcher)" …
    #[command(after_help = exit::HELP)]
    Token(TokenArgs),

    /// Looks at each part of the system and says what is wrong and what to do
    #[command(after_help = exit::HELP)]
    Doctor(JsonArgs),

    /// Looks through the whole record for anything that must not be
    ///
    /// Read-only, and safe on a running system. Prints each violation; exit code 1 on any. Checked are:
    ///
    /// - the audit log: nothing in it was changed, left out or cut off (hash chains, signed checkpoints)
    ///
    /// - commands: each that was acknowledged took effect exactly once, with its decision, its audit
    ///   row and the answer that was given; no request id has two answers
    ///
    /// - tickets: versions without a gap, legal transitions only, and ticket, visits, notes, evidence,
    ///   invoices, proposals and SLA records as the timeline tells them
    ///
    /// - sites, assets, contacts, technicians and absences as they were written last
    ///
    /// - approvals: asked, voted, carried out, expired and void as the record tells; what was carried
    ///   out is what was approved, once, by enough people with the right roles and never the one who
    ///   asked
    ///
    /// - software: nothing under an engaged kill switch, nothing beyond its stage, nothing in shadow
    ///   mode
    ///
    /// - stages, reports, delegations and policy bundles: as they were decided
    ///
    /// - messages: each belongs where the record says, went out once per key, and never after it had
    ///   ended
    ///
    /// - delivery: events for workflows are numbered without a gap, none waits too long or is stuck
    ///
    /// - tenants: no row refers to another tenant's
    ///
    /// - the database: row-level security is forced, what is append-only cannot be changed, no login
    ///   may more than it needs
    ///
    /// With --temporal also: each ticket's workflow knows what the database knows.
    #[command(after_help = exit::HELP)]
    Verify(VerifyArgs),

    /// Prints the OpenAPI document
    #[command(after_help = exit::HELP)]
    Openapi,

    /// Looks at the configuration
    #[command(after_help = exit::HELP)]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },

    /// Prints a script that completes commands and flags in your shell
    ///
    /// Example: dispatch completions bash > ~/.local/share/bash-completion/completions/dispatch
    #[command(after_help = exit::HELP)]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct DevArgs {
    /// Deletes the state of earlier runs first
    #[arg(long, conflicts_with = "ephemeral")]
    pub reset: bool,

    /// Uses a temporary folder and free ports, and removes everything at the end
    #[arg(long)]
    pub ephemeral: bool,

    /// Plays the demo once everything runs
    #[arg(long)]
    pub demo: bool,

    /// After the demo plays a day of so many tickets
    #[arg(long, value_name = "N", requires = "demo", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: Option<u32>,

    /// How much faster than real time the day goes: 1440 is a day in a minute, `max` has no pauses
    #[arg(long, value_name = "X", requires = "count", default_value = "max")]
    pub speed: Speed,

    /// Plays the same day again; a new one without it
    #[arg(long, value_name = "S", requires = "count")]
    pub seed: Option<u64>,

    /// Stops after the demo, with its exit code
    #[arg(long, requires = "demo")]
    pub exit: bool,

    /// Port of dispatch-api [default: 8080; with --ephemeral a free one]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// Port of Temporal [default: 7233; with --ephemeral a free one]
    #[arg(long, value_name = "PORT")]
    pub temporal_port: Option<u16>,

    /// Port of the Temporal Web UI [default: 8233; with --ephemeral a free one]
    #[arg(long, value_name = "PORT")]
    pub temporal_ui_port: Option<u16>,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Plays a day of at least so many tickets instead
    #[arg(long, value_name = "N", conflicts_with = "pace", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: Option<u32>,

    /// How much faster than real time the day goes: 1 is real time, 3600 a day in 24 seconds, 0 or
    /// `max` has no pauses [default: 1440, a day in a minute]
    #[arg(long, value_name = "X", requires = "count")]
    pub speed: Option<Speed>,

    /// Plays the day of this seed; what was done before is not done twice [default: a new day]
    #[arg(long, value_name = "S", requires = "count")]
    pub seed: Option<u64>,

    /// One JSON object a line instead of text; of a day one document at its end
    #[arg(long)]
    pub json: bool,

    /// Seconds between two steps; 0 is as fast as it goes [default: 2 in a terminal, else 0]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=60))]
    pub pace: Option<u64>,

    /// Where dispatch-api is [default: `api.url`]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<Url>,
}

#[derive(Debug, Args)]
pub struct ApiArgs {
    /// Where to listen [default: `api.listen`]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Where to serve metrics [default: `api.metrics_listen`]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub enum RelayCommand {
    /// Events that were set aside because their ticket's delivery failed by their own fault
    Parked {
        #[command(subcommand)]
        command: ParkedCommand,
    },
    /// Raises the epoch after the database was restored from a backup: all workflows take a
    /// snapshot. Stop the relays, restore, run this, start the relays.
    NewEpoch {
        /// Confirms that the database was really set back
        #[arg(long)]
        yes: bool,
    },
    /// Tells a ticket's workflow (or all open ones) to compare itself with the database
    Resync(ByTicket),
}

/// One ticket, or all.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ByTicket {
    /// Only this ticket: its full id, tkt_ and 32 digits
    #[arg(long, value_name = "ID")]
    pub ticket: Option<TicketId>,
    /// Every one
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    /// Lists them: ticket, event, since when, why
    List(JsonArgs),
    /// Delivers them again: of one ticket, or all
    Replay(ByTicket),
}

#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Makes this program's worker version current: new and running workflows move to it
    Promote,
}

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// First creates the database and its logins with `database.admin_url`, with the passwords of
    /// the other database URLs
    #[arg(long)]
    pub bootstrap: bool,

    /// Makes the first tenant: that of those who run the installation. Nobody can make another one before.
    /// While it is there this changes nothing; where there are only others it is refused
    #[arg(long, value_name = "SLUG")]
    pub platform_tenant: Option<Slug>,

    /// Adds the demo tenant: sites, assets, technicians (not for production)
    #[arg(long)]
    pub seed_demo: bool,

    /// Lets this program's policy bundle (or that of `policy.bundle_dir`) decide from now on; else
    /// it does so only when no bundle is active. Programs that do not have the bundle refuse every
    /// command from then on
    #[arg(long)]
    pub activate_bundle: bool,

    /// Leaves Temporal's search attributes alone
    #[arg(long)]
    pub skip_temporal: bool,
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What the caller may do (several with commas)
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = parse_role)]
    pub role: Vec<Role>,

    /// What sort of caller: person, agent, workflow or integration
    #[arg(long, default_value = "person", value_parser = parse_kind)]
    pub kind: ActorKind,

    /// Who: a stable opaque id, not a name [default: dev_<kind or first role>]
    #[arg(long, value_name = "ID")]
    pub sub: Option<String>,

    /// Whose rows [default: the demo tenant]
    #[arg(long, value_name = "ID")]
    pub tenant: Option<TenantId>,

    /// For a technician's token: who they are
    #[arg(long, value_name = "ID")]
    pub technician: Option<TechnicianId>,

    /// How long it is good
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    pub ttl: TimeDelta,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Also compares every ticket's workflow with the database (needs Temporal and a worker)
    #[arg(long)]
    pub temporal: bool,

    /// No relay runs: events that wait for delivery are no violation
    #[arg(long)]
    pub without_relay: bool,

    #[command(flatten)]
    pub output: JsonArgs,
}

#[derive(Debug, Args)]
pub struct JsonArgs {
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints every value and where it came from; secrets are masked
    Show(JsonArgs),
}

/// A role's name.
pub fn parse_role(text: &str) -> Result<Role, String> {
    one_of(text)
}

fn parse_kind(text: &str) -> Result<ActorKind, String> {
    one_of(text)
}

/// A word of a closed list, told when it is none.
pub fn one_of<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr + strum::VariantArray + std::fmt::Display,
{
    text.trim().parse().map_err(|_| {
        let all: Vec<_> = T::VARIANTS.iter().map(ToString::to_string).collect();
        format!("there are: {}", all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_tells_its_exit_codes() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            assert_eq!(help.as_deref(), Some(exit::HELP), "{}", command.get_name());
        }
    }

    #[test]
    fn roles_come_with_commas() {
        let cli = Cli::try_parse_from(["dispatch", "token", "--role", "qa,billing"]).unwrap();
        let CliCommand::Token(args) = cli.command else {
            panic!("not a token command");
        };
        assert_eq!(args.role, [Role::Qa, Role::Billing]);
        let error = Cli::try_parse_from(["dispatch", "token", "--role", "boss"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("dispatcher, technician"),
            "{error}"
        );
    }

    /// The commands of a line or a code span, as a shell would cut them.
    fn commands(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let text = text.replace("cargo run -- ", "dispatch ");
        for (at, _) in text.match_indices("dispatch ") {
            if text[..at]
                .chars()
                .next_back()
                .is_some_and(|before| before != ' ' && before != '(')
            {
                continue;
            }
            let command = &text[at..];
            let end = [" |", " >", " 2>", " &", ";", ")", " #"]
                .iter()
                .filter_map(|end| command.find(end))
                .min()
                .unwrap_or(command.len());
            found.push(command[..end].to_owned());
        }
        found
    }

    /// What the pages tell people to type: whole lines of console blocks, and what stands in a
    /// sentence with its flags. A span without flags only names a command.
    fn told(page: &str) -> Vec<String> {
        let page = page.replace("\\\n", " ");
        let mut found = Vec::new();
        let mut block = false;
        let mut prose = String::new();
        for line in page.lines() {
            if line.trim_start().starts_with("```") {
                block = !block;
            } else if block {
                let line = line.trim_start();
                if let Some(line) = line.strip_prefix("$ ") {
                    found.extend(commands(line));
                } else if line.starts_with("dispatch ") || line.starts_with("cargo run -- ") {
                    found.extend(commands(line));
                }
            } else {
                prose.push_str(line);
                prose.push(' ');
            }
        }
        let spans = prose.split('`').skip(1).step_by(2);
        found.extend(spans.flat_map(commands).filter(|span| {
            span.contains(" --")
                && !span.contains(['…', '|', '[', '<'])
                && !span.contains("COMMAND")
        }));
        found
    }

    /// Something in the place of a placeholder: a bad value would hide what comes after it.
    fn value(command: &str, before: &str, word: &str) -> String {
        let id = "0190a1b2c3d4e5f60718293a4b5c6d7e";
        match (command, before, word) {
            ("decisions", _, "ID") => format!("dec_{id}"),
            (_, "--ticket", "ID") => format!("tkt_{id}"),
            (_, _, "TIME") => "2026-11-21T12:00:00Z".to_owned(),
            (_, _, "WORD" | "SLUG") => word.to_lowercase(),
            (_, _, "N") => "3".to_owned(),
            _ => word.replace("_ID", &format!("_{id}")),
        }
    }

    #[test]
    fn what_the_pages_tell_to_type_is_taken() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut pages = vec![root.join("README.md"), root.join("SECURITY.md")];
        for folder in ["docs", "docs/errors"] {
            for page in std::fs::read_dir(root.join(folder)).unwrap() {
                pages.push(page.unwrap().path());
            }
        }
        pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
        let mut tried = 0;
        let mut refused = Vec::new();
        for page in pages {
            for command in told(&std::fs::read_to_string(&page).unwrap()) {
                tried += 1;
                let Some(mut words) = shlex::split(&command) else {
                    refused.push(format!("{}: {command}: a quote too few", page.display()));
                    continue;
                };
                for at in 1..words.len() {
                    words[at] = value(&words[1], &words[at - 1], &words[at]);
                }
                let taken = match Cli::try_parse_from(words) {
                    Ok(_) => Ok(()),
                    Err(error) if !error.use_stderr() => Ok(()),
                    Err(error) => Err(error),
                };
                if let Err(error) = taken {
                    refused.push(format!("{}: {command}\n{error}", page.display()));
                }
            }
        }
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        assert!(tried > 60, "only {tried} commands found");
    }
}
