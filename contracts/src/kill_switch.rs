//! The kill switch: where software is stopped.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::is_actor_id, command::Operation, comms::Channel, event::Stopped, ids::*, value::Slug,
};

/// Where software is stopped. Several may be engaged at once; any that fits stops it.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum KillScope {
    /// All tenants of this installation.
    Everything,
    /// This tenant.
    #[default]
    Tenant,
    /// One kind of command.
    Operation {
        /// Which.
        operation: Operation,
    },
    /// Messages of software on one channel.
    Channel {
        /// Which.
        channel: Channel,
    },
    /// One actor that is no person.
    Agent {
        /// The subject of its token.
        actor_id: String,
    },
    /// One ticket.
    Ticket {
        /// Which.
        ticket_id: TicketId,
    },
}

impl KillScope {
    /// Its name in rows and texts: `tenant`, `operation:dispatch`, `ticket:tkt_…`.
    pub fn key(&self) -> String {
        match self {
            Self::Everything => "everything".to_owned(),
            Self::Tenant => "tenant".to_owned(),
            Self::Operation { operation } => format!("operation:{operation}"),
            Self::Channel { channel } => format!("channel:{channel}"),
            Self::Agent { actor_id } => format!("agent:{actor_id}"),
            Self::Ticket { ticket_id } => format!("ticket:{ticket_id}"),
        }
    }

    /// The scope of that name; `None` when there is none.
    pub fn of_key(key: &str) -> Option<Self> {
        let named = key.split_once(':');
        Some(match (key, named) {
            ("everything", _) => Self::Everything,
            ("tenant", _) => Self::Tenant,
            (_, Some(("operation", name))) => Self::Operation {
                operation: name.parse().ok()?,
            },
            (_, Some(("channel", name))) => Self::Channel {
                channel: name.parse().ok()?,
            },
            (_, Some(("agent", id))) if is_actor_id(id) => Self::Agent {
                actor_id: id.to_owned(),
            },
            (_, Some(("ticket", id))) => Self::Ticket {
                ticket_id: id.parse().ok()?,
            },
            _ => return None,
        })
    }
}

/// One switch as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KillSwitchRow {
    /// [`KillScope::key`].
    pub scope: String,
    /// Whether it is engaged. After its `expires_at` it counts as released.
    pub engaged: bool,
    /// Rises with each turn of this switch.
    pub generation: u64,
    /// Why it was turned.
    pub reason: Slug,
    /// When it releases itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl KillSwitchRow {
    /// Whether it stops software at this moment.
    pub fn stops(&self, at: DateTime<Utc>) -> bool {
        self.engaged && self.expires_at.is_none_or(|end| at < end)
    }
}

/// The header of each answer to a command of software: a [`KillState`].
pub const KILL_SWITCH_HEADER: &str = "kill-switch";

/// How the kill switches stand for what software does on a ticket. As a header:
/// `generation=7; stopped=dispatch,triage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KillState {
    /// Rises with each turn of any switch of the tenant, or of that over everything.
    pub generation: u64,
    /// What is stopped; nothing without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

impl KillState {
    /// Whether software may not do this.
    pub fn stops(&self, operation: Operation) -> bool {
        let stopped = self.stopped.as_ref();
        stopped.is_some_and(|stopped| stopped.stops(operation))
    }
}

impl fmt::Display for KillState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation={}", self.generation)?;
        match &self.stopped {
            None => Ok(()),
            Some(stopped) if stopped.all => f.write_str("; stopped=all"),
            Some(stopped) => {
                let names = stopped.operations.iter().map(ToString::to_string);
                write!(f, "; stopped={}", names.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The text is no [`KillState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not `generation=` and a number, with or without `; stopped=`")]
pub struct NoKillState;

impl FromStr for KillState {
    type Err = NoKillState;

    fn from_str(text: &str) -> Result<Self, NoKillState> {
        let (generation, stopped) = match text.split_once("; stopped=") {
            Some((generation, stopped)) => (generation, Some(stopped)),
            None => (text, None),
        };
        let generation = generation.strip_prefix("generation=").ok_or(NoKillState)?;
        let stopped = match stopped {
            None => None,
            Some("all") => Some(Stopped {
                all: true,
                operations: Vec::new(),
            }),
            Some(names) => {
                // One that this build does not know, it does not send either.
                let known = names.split(',').filter_map(|name| name.parse().ok());
                Some(Stopped {
                    all: false,
                    operations: known.collect(),
                })
            }
        };
        Ok(Self {
            generation: generation.parse().map_err(|_| NoKillState)?,
            stopped,
        })
    }
}

/// How far a stop has come.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StopPhase {
    /// Nothing is stopped.
    Running,
    /// No command of software passes any more; something from before is still under way.
    Stopping,
    /// Nothing is under way.
    Stopped,
}

/// What is still under way from before a stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnderWay {
    /// Messages of software whose sending began and has no end yet.
    pub messages: u64,
    /// Whether workflows have yet to be told.
    pub telling: bool,
    /// Workflows that were told. Absent for a switch over everything, unless the reader is a
    /// `platform_admin`: it counts those of all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<u64>,
}

/// One switch with what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SwitchStatus {
    /// [`KillScope::key`].
    pub scope: String,
    /// Whether it stops software now. After its `expires_at` it does not.
    pub engaged: bool,
    /// How far the stop has come.
    pub phase: StopPhase,
    /// Rises with each turn of this switch; it is the version that a turn expects.
    pub generation: u64,
    /// Why it was turned last.
    pub reason: Slug,
    /// Who turned it last. Absent for a switch over everything, unless the reader is a
    /// `platform_admin`: it may have been somebody of another tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turned_by: Option<String>,
    /// When.
    pub turned_at: DateTime<Utc>,
    /// When it releases itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// It is engaged, and nothing that it stops was ever seen in this tenant: no such ticket, no
    /// software of that name, no message of software on that channel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_seen: bool,
    /// It is engaged over a kind of command that keeps the books: workflows go on with it whatever a
    /// switch says, and only agents are stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub workflows_pass: bool,
    /// What is under way, while it is engaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
    /// Once stopped: milliseconds from the engagement to the last effect of software; 0 when none
    /// came after it. Counted in this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_millis: Option<u64>,
}

/// A drill on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrillReport {
    /// Over its canonical document.
    pub sha256: String,
    /// The switch that was turned.
    pub scope: String,
    /// When it was engaged.
    pub engaged_at: DateTime<Utc>,
    /// Milliseconds from the engagement to the last attempt that passed; 0 when none came after it.
    pub stop_millis: u64,
    /// Callers at once.
    pub clients: u32,
    /// Attempts that were made after the engagement was answered.
    pub attempts: u64,
    /// Those of them that passed: 0, or the drill failed.
    pub passed: u64,
    /// When it was kept.
    pub recorded_at: DateTime<Utc>,
    /// By whom.
    pub recorded_by: String,
}

/// Drills, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrillPage {
    /// At most fifty.
    pub items: Vec<DrillReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_the_switches_stand_is_read_back_from_the_header() {
        let state = |all, operations: &[Operation]| KillState {
            generation: 7,
            stopped: Some(Stopped {
                all,
                operations: operations.to_vec(),
            }),
        };
        let running = KillState {
            generation: 7,
            stopped: None,
        };
        for (state, text) in [
            (running, "generation=7"),
            (state(true, &[]), "generation=7; stopped=all"),
            (
                state(false, &[Operation::Dispatch, Operation::QaVerify]),
                "generation=7; stopped=dispatch,qa_verify",
            ),
        ] {
            assert_eq!(state.to_string(), text);
            assert_eq!(text.parse(), Ok(state));
        }
        for text in [
            "",
            "7",
            "generation=",
            "generation=x; stopped=all",
            "stopped=all",
        ] {
            assert_eq!(text.parse::<KillState>(), Err(NoKillState), "{text}");
        }
    }

    #[test]
    fn a_scope_is_read_back_from_its_name() {
        let ticket = format!("ticket:tkt_{}", "0".repeat(32));
        for key in [
            "everything",
            "tenant",
            "operation:dispatch",
            "channel:sms",
            "agent:drill-1:a",
            &ticket,
        ] {
            let scope = KillScope::of_key(key);
            assert_eq!(scope.map(|scope| scope.key()).as_deref(), Some(key));
        }
        for key in [
            "",
            "agent:",
            "agent:two words",
            "operation:fly",
            "ticket:1",
            "tenant:x",
        ] {
            assert_eq!(KillScope::of_key(key), None, "{key}");
        }
    }
}
