//! What a story holds in its hands while it is played, and the bodies that are made from it.
//!
//! A body follows from the seed and from what was answered before, never from a clock or a read: a
//! day that is played again sends the same bytes with the same keys, and nothing is done twice.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ApprovalId, AssetId, ContactId, MessageId, Operation, SiteId, TechnicianId, TicketId,
    approval::Verdict,
    command::CommandReceipt,
    comms::Routing,
    filing::{Filed, FilingReceipt},
    ticket::Ticket,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::plan::{Act, Crew, Deed, Peer, Twist};
use crate::demo::World;

/// How long an absence takes.
const ABSENCE: TimeDelta = TimeDelta::days(2);

/// What a story knows.
#[derive(Debug)]
pub struct Props<'a> {
    world: &'a World,
    /// Seed and number: nobody else's.
    name: String,
    /// Digits for telephone numbers: nobody else's.
    digits: String,
    pub tickets: [Option<Ticket>; 2],
    site: SiteId,
    asset: AssetId,
    contact: ContactId,
    unsettled: Option<ContactId>,
    pub technician: Option<TechnicianId>,
    away_from: Option<DateTime<Utc>>,
    held: Option<MessageId>,
    approval: Option<ApprovalId>,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The command.
    pub operation: Operation,
    /// The ticket in the path.
    pub ticket: Option<TicketId>,
    /// The body.
    pub body: Value,
}

impl<'a> Props<'a> {
    /// Of the story with this number, in a day of this seed.
    pub fn new(world: &'a World, seed: u64, number: u32) -> Self {
        let place = number as usize % world.places.len();
        let (site, assets, contact) = &world.places[place];
        Self {
            world,
            name: format!("day_{seed:x}_{number}"),
            digits: format!("{:05}{:05}", seed % 100_000, number % 100_000),
            tickets: [None, None],
            site: *site,
            asset: assets[number as usize % assets.len()],
            contact: *contact,
            unsettled: None,
            technician: None,
            away_from: None,
            held: None,
            approval: None,
        }
    }

    /// The key of an act: the same in every run of the day.
    pub fn key(&self, step: usize) -> Uuid {
        Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("{}/{step}", self.name).as_bytes(),
        )
    }

    /// The ticket that an act is about.
    pub fn ticket(&self, slot: usize) -> Result<&Ticket, &'static str> {
        self.tickets[slot].as_ref().ok_or("no ticket was opened")
    }

    /// Remembers what a command was answered.
    pub fn took(&mut self, slot: usize, receipt: &CommandReceipt) {
        if receipt.dry_run {
            return;
        }
        if let Some(approval) = receipt.approval_id {
            self.approval = Some(approval);
        }
        self.tickets[slot] = Some(receipt.ticket.clone());
    }

    /// Remembers what a filing was answered.
    pub fn filed(&mut self, slot: usize, deed: &Deed, receipt: &FilingReceipt) {
        match &receipt.filed {
            Filed::Site { site_id, .. } => self.site = *site_id,
            Filed::Asset { asset_id, .. } => self.asset = *asset_id,
            Filed::Contact { contact_id, .. } => match deed {
                Deed::WriteContact { settled: true } => self.contact = *contact_id,
                _ => self.unsettled = Some(*contact_id),
            },
            Filed::Technician { technician_id, .. } => self.technician = Some(*technician_id),
            Filed::AbsenceRecorded { window, .. } => self.away_from = Some(window.start),
            Filed::Message {
                message_id,
                routing,
            } => {
                if matches!(routing, Routing::Held { .. }) {
                    self.held = Some(*message_id);
                } else if let (Some(ticket), false) = (
                    &receipt.ticket,
                    matches!(routing, Routing::Duplicate { .. }),
                ) {
                    self.tickets[slot] = Some(ticket.clone());
                }
            }
            // Nothing later in the day depends on them; those of the control plane are not sent.
            _ => {}
        }
    }

    /// What an act sends.
    pub fn message(&self, act: &Act, step: usize) -> Result<Message, &'static str> {
        let operation = act.deed.operation().ok_or("a look sends nothing")?;
        let mut body = self.body(act, step)?;
        let mut ticket = if operation.path().contains("{id}") {
            Some(self.ticket(act.slot)?.id)
        } else {
            None
        };
        if let Some(twist) = act.twist {
            self.twist(twist, step, &mut ticket, &mut body);
        }
        let body = Value::Object(body);
        Ok(Message {
            operation,
            ticket,
            body,
        })
    }

    fn body(&self, act: &Act, step: usize) -> Result<Map<String, Value>, &'static str> {
        let name = &self.name;
        let details = |given: &[_]| -> Value {
            let pairs = given
                .iter()
                .map(|(name, value): &(contracts::Slug, _)| (name.to_string(), json!(value)));
            pairs.collect::<Map<_, _>>().into()
        };
        let evidence = |kinds: &[contracts::Slug]| -> Value {
            let given = kinds
                .iter()
                .map(|kind| json!({ "kind": kind, "sha256": self.hash(kind) }));
            given.collect::<Vec<_>>().into()
        };
        let body = match &act.deed {
            Deed::WriteSite => json!({
                "code": format!("{name}_site"), "location": { "lat_e6": 52_360_000, "lon_e6": 4_890_000 },
            }),
            Deed::WriteAsset => json!({
                "code": format!("{name}_pane"), "site_id": self.site, "kind": "shopfront_pane",
            }),
            Deed::WriteContact { settled: true } => json!({
                "code": format!("{name}_keeper"), "site_id": self.site, "name": "Shopkeeper",
                "phone": self.phone(Peer::Settled),
            }),
            Deed::WriteContact { settled: false } => json!({
                "code": format!("{name}_traveller"), "name": "Traveller",
                "phone": self.phone(Peer::Unsettled),
            }),
            Deed::WriteTechnician { skills } => {
                let days = vec![vec![(0, 24 * 60)]; 7];
                let base = json!({ "lat_e6": 52_350_000, "lon_e6": 4_900_000 });
                json!({
                    "code": format!("{name}_temp"), "skills": skills, "home_base": base,
                    "contact_id": self.unsettled.ok_or("no contact was written")?,
                    "calendar": { "time_zone": "Europe/Amsterdam", "week": days, "days_off": [] },
                })
            }
            Deed::RecordAbsence => {
                let start = self.moment(act)? + TimeDelta::hours(1);
                json!({
                    "technician_id": self.own_technician()?, "reason": "sick",
                    "window": { "start": start, "end": start + ABSENCE },
                })
            }
            Deed::CancelAbsence => json!({
                "technician_id": self.own_technician()?,
                "starts_at": self.away_from.ok_or("no absence was recorded")?,
            }),
            Deed::EngageKillSwitch => json!({ "reason": "drill" }),
            Deed::ReleaseKillSwitch => json!({ "reason": "drill_over" }),
            Deed::MessageIn {
                number,
                from,
                template,
            } => {
                let (channel, peer) = self.address(*from, *number);
                json!({
                    "channel": channel, "provider": "day_gateway", "peer": peer,
                    "provider_message_id": format!("{name}_{number}"), "template": template,
                    "text": "The pane is smashed, can somebody come?",
                    "raw": json!({ "from": peer }).to_string(),
                })
            }
            Deed::MessageOut => {
                let ticket = self.ticket(act.slot)?;
                let mut body = json!({
                    "ticket_id": ticket.id, "contact_id": self.contact, "channel": "sms",
                    "text": "We are on the job and will call you back.",
                });
                if ticket.state.is_terminal() {
                    body["only_while"] = json!({ "only": "ticket_in", "states": [ticket.state] });
                }
                body
            }
            Deed::AttachMessage => json!({ "message_id": self.held.ok_or("no message is held")? }),
            Deed::Create {
                template,
                details: given,
            } => json!({
                "site_id": self.site, "asset_id": self.asset, "contact_id": self.contact,
                "template": template, "details": details(given),
                "description": "What the caller said, in their words.",
            }),
            Deed::Triage {
                priority,
                template,
                details: given,
            } => {
                let mut body = json!({ "priority": priority, "details": details(given) });
                if let Some(template) = template {
                    body["template"] = json!(template);
                }
                body
            }
            Deed::ProposeSchedule { hours } => json!({ "window": self.window(act, *hours)? }),
            Deed::Reschedule { hours } => json!({
                "window": self.window(act, *hours)?, "reason": "customer_request",
            }),
            Deed::Dispatch { crew } => json!({
                "technician_id": self.crew(*crew)?,
                "eta": self.moment(act)? + TimeDelta::minutes(45),
            }),
            Deed::EnRoute => json!({ "eta": self.moment(act)? + TimeDelta::minutes(30) }),
            Deed::Unassign => json!({ "reason": "technician_unavailable" }),
            Deed::NoAccess => json!({ "reason": "nobody_there" }),
            Deed::RequestChange { cents } => json!({
                "scope": "laminated_pane", "price_delta_cents": cents,
                "note": "Dearer than agreed: the frame is bent.",
            }),
            Deed::DecideApproval { verdict } => json!({
                "approval_id": self.approval.ok_or("no approval was asked for")?,
                "verdict": verdict,
                "reason": match verdict {
                    Verdict::Approve => "within_budget",
                    Verdict::Reject => "too_dear",
                },
            }),
            Deed::ReturnVisit { evidence: kinds } => json!({
                "reason": "pane_to_be_ordered", "evidence": evidence(kinds),
                "parts": [{ "sku": "laminated_pane_8mm", "quantity": 1 }],
            }),
            Deed::Complete { evidence: kinds } => json!({ "evidence": evidence(kinds) }),
            Deed::QaReject => json!({ "reasons": ["photo_unclear"] }),
            Deed::GenerateInvoice { labour } => json!({ "lines": [
                { "item": "call_out", "quantity": 1, "unit_cents": 9_500 },
                { "item": "labour_hour", "quantity": labour, "unit_cents": 7_800 },
            ]}),
            Deed::Close { charged: true } => json!({}),
            Deed::Close { charged: false } => json!({ "no_charge_reason": "goodwill" }),
            Deed::Reopen => json!({ "reason": "broke_again" }),
            Deed::Cancel => json!({ "reason": "customer_request" }),
            Deed::Merge => json!({ "into": self.ticket(1 - act.slot)?.id }),
            Deed::CustomerAwait => json!({ "reason": "window_offered" }),
            Deed::AddNote => json!({ "text": format!("Called back, step {step}.") }),
            Deed::AddEvidence => json!({
                "kind": "photo_before", "sha256": self.hash(format_args!("file {step}")),
                "media_type": "image/jpeg", "size_bytes": 123_456,
            }),
            Deed::ConfirmSchedule
            | Deed::CheckIn
            | Deed::QaVerify
            | Deed::CustomerResume
            | Deed::LookAtProposals => json!({}),
        };
        match body {
            Value::Object(body) => Ok(body),
            _ => Err("a body is an object"),
        }
    }

    fn twist(
        &self,
        twist: Twist,
        step: usize,
        ticket: &mut Option<TicketId>,
        body: &mut Map<String, Value>,
    ) {
        match twist {
            Twist::UnknownMember => {
                body.insert("surprise".into(), json!(1));
            }
            Twist::UnknownTicket => {
                let nobody = json!(TicketId::from_uuid(self.key(step)));
                if ticket.is_some() {
                    *ticket = Some(TicketId::from_uuid(self.key(step)));
                } else {
                    body.insert("ticket_id".into(), nobody);
                }
            }
            Twist::EmptyWindow => {
                if let Some(window) = body.get_mut("window") {
                    window["end"] = window["start"].clone();
                }
            }
            Twist::NoDetails => {
                body.insert("details".into(), json!({}));
            }
            Twist::NoEvidence => {
                body.insert("evidence".into(), json!([]));
            }
            Twist::TooDear => {
                let line =
                    json!({ "item": "gold_frame", "quantity": 1, "unit_cents": 900_000_000 });
                body.insert("lines".into(), json!([line]));
            }
            Twist::NoReason => {
                body.remove("no_charge_reason");
            }
            Twist::StaleVersion
            | Twist::ForeignTenant
            | Twist::WrongRole
            | Twist::NoToken
            | Twist::Software
            | Twist::NotAssigned
            | Twist::WrongState
            | Twist::UsedKey
            | Twist::DecidedTwice
            | Twist::SameAgain
            | Twist::DryRun => {}
        }
    }

    /// When the act is done, by the ticket's last change and the story's pause: real time, so a
    /// faster day is early, never late.
    fn moment(&self, act: &Act) -> Result<DateTime<Utc>, &'static str> {
        Ok(self.ticket(act.slot)?.updated_at + TimeDelta::minutes(act.after.into()))
    }

    fn window(&self, act: &Act, hours: u32) -> Result<Value, &'static str> {
        let start = self.moment(act)? + TimeDelta::hours(hours.into());
        Ok(json!({ "start": start, "end": start + TimeDelta::hours(3) }))
    }

    fn own_technician(&self) -> Result<TechnicianId, &'static str> {
        self.technician.ok_or("no technician was written")
    }

    fn crew(&self, crew: Crew) -> Result<TechnicianId, &'static str> {
        match crew {
            Crew::Own => self.own_technician(),
            Crew::Seeded(number) => {
                let found = self.world.technicians.get(number).map(|(id, _)| *id);
                found.ok_or("the demo tenant has too few technicians")
            }
        }
    }

    /// Where a message comes from. A stranger writes from another address each time: once a person
    /// has said where one of their messages belongs, the next one follows it.
    fn address(&self, peer: Peer, number: u32) -> (&'static str, String) {
        match peer {
            Peer::Settled | Peer::Unsettled => ("sms", self.phone(peer)),
            Peer::Stranger => ("email", format!("{}_{number}@mail.example", self.name)),
        }
    }

    /// A number that is given to nobody: of the networks that belong to no country.
    fn phone(&self, peer: Peer) -> String {
        let kind = if peer == Peer::Settled { 1 } else { 2 };
        format!("+8835{kind}{}", self.digits)
    }

    fn hash(&self, what: impl std::fmt::Display) -> String {
        hex::encode(Sha256::digest(format!("{}/{what}", self.name)))
    }
}
