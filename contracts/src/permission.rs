//! Permissions: what a route needs of its caller.
//!
//! A command needs the permission of its own name; reads are grouped by what they tell, so that a
//! reviewer decides about some fifteen things and not about every route. Who has which permission is
//! data of the policy bundle. What software may never read is not: it stands here.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{actor::ActorKind, command::Operation};

/// What the API's routes need, by name: `command:triage`, `read:tickets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiPermission {
    /// To give this command.
    Command(Operation),
    /// To read this.
    Read(ReadPermission),
}

const COMMAND: &str = "command:";
const READ: &str = "read:";

impl fmt::Display for ApiPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(operation) => write!(f, "{COMMAND}{operation}"),
            Self::Read(read) => write!(f, "{READ}{read}"),
        }
    }
}

/// It names no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no permission; one is `command:` and a command, or `read:` and what is read, such as `read:tickets`"
)]
pub struct NoPermission;

impl FromStr for ApiPermission {
    type Err = NoPermission;

    fn from_str(text: &str) -> Result<Self, NoPermission> {
        let command = text
            .strip_prefix(COMMAND)
            .map(|name| name.parse().map(Self::Command));
        let read = || {
            text.strip_prefix(READ)
                .map(|name| name.parse().map(Self::Read))
        };
        command
            .or_else(read)
            .and_then(Result::ok)
            .ok_or(NoPermission)
    }
}

impl Serialize for ApiPermission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiPermission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ApiPermission {
    fn schema_name() -> Cow<'static, str> {
        "ApiPermission".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(command|read):[a-z_]+$" })
    }
}

macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident = $sentence:literal;)+) => {
        /// What can be read, as far as a right to it goes: `data.reads` of a policy bundle says who
        /// has it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display,
            strum::EnumString, strum::VariantArray)]
        #[strum(serialize_all = "snake_case")]
        pub enum ReadPermission {
            $($(#[$doc])* $name,)+
        }

        impl ReadPermission {
            /// What it lets one do, for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)+ }
            }
        }
    };
}

reads! {
    /// Tickets, where they stand, and the evidence on record.
    Tickets = "See jobs: what they are about, where they stand, what comes next, and the evidence on record.";
    /// What was attempted on a ticket and what happened.
    Timeline = "See everything that was attempted on a job, by whom, and what came of it.";
    /// What software would have done.
    Proposals = "See what software proposed for a job, and what people did instead or likewise.";
    /// How good software's advice was, in figures.
    Agreement = "See how often people did what software would have done.";
    /// What people are asked for, and who lent whom the right to decide it.
    Approvals = "See what waits for a decision, and what people wrote with it only when asked for that decision, or where the job's messages may be read; who lent their right to decide it to the reader, or was lent it by them.";
    /// Sites, assets, technicians and their calendars.
    Directory = "See sites, the things at them, technicians, and when those work, are away and are booked.";
    /// Personal data of the directory.
    Contacts = "See people on record: names, telephone numbers, addresses; and why a technician is away.";
    /// All messages.
    Messages = "Read all messages with customers.";
    /// The messages of one ticket.
    TicketMessages = "Read the messages of one job; a technician only of the jobs that they are sent to.";
    /// What a provider sent, byte for byte.
    RawMessages = "See exactly what a message provider sent.";
    /// Whether software is stopped.
    KillSwitch = "See whether software is stopped, since when and by whom, and the drills of it.";
    /// How far software may go by itself.
    Rollout = "See how far software may act by itself, how that came to be, and how well it does.";
    /// Which bundles there are and decided.
    Policy = "See which policies there are, and which one decided when.";
    /// Recorded decisions, with what the policy was asked.
    Decisions = "See every decision about anybody's attempts, with its reasons, and export them.";
    /// How the tenant is set up, and where it stands.
    Tenant = "See how the tenant is set up, and whether it works, is suspended or is being deleted; for those who run the installation, of every tenant.";
    /// All that is kept of the tenant.
    TenantExport = "Take a copy of everything that is kept of the tenant, people and messages too.";
    /// Software that calls with keys of its own.
    ServiceAccounts = "See which software calls with keys of its own, what each key lets it do, when it ends and when it was used last; never a key.";
    /// What the ticket's workflow needs.
    Machinery = "See what the job's workflow works with: snapshots, an advisor's input, and what is due.";
}

impl ReadPermission {
    /// Whether it tells who people are or what they wrote.
    pub const fn is_personal(self) -> bool {
        matches!(
            self,
            Self::Contacts
                | Self::Messages
                | Self::TicketMessages
                | Self::RawMessages
                | Self::TenantExport
        )
    }

    /// Whether no bundle can give it to callers of this kind: what people wrote and who they are is
    /// not for software that acts by itself.
    pub const fn is_barred(self, kind: ActorKind) -> bool {
        self.is_personal() && kind.is_autonomous()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::VariantArray;

    use super::*;

    #[test]
    fn each_permission_has_one_name_and_is_found_by_it() {
        let commands = Operation::VARIANTS
            .iter()
            .copied()
            .map(ApiPermission::Command);
        let reads = ReadPermission::VARIANTS
            .iter()
            .copied()
            .map(ApiPermission::Read);
        let mut names = BTreeSet::new();
        for permission in commands.chain(reads) {
            let name = permission.to_string();
            assert_eq!(name.parse(), Ok(permission), "{name}");
            assert!(names.insert(name));
        }
        for wrong in [
            "",
            "tickets",
            "read:",
            "read:ticket",
            "command:tickets",
            "read:triage",
        ] {
            assert_eq!(wrong.parse::<ApiPermission>(), Err(NoPermission), "{wrong}");
        }
    }
}
