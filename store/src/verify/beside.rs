//! The rows beside a ticket, computed anew from its timeline and compared with those that are there.
//! Its approvals are compared elsewhere.
//!
//! The timeline is chained and sealed and these rows are not, so whoever changes one of them is
//! found by what it was to be. Both sides are made into one document per row; moments are whole
//! microseconds, documents that the timeline keeps as a hash are hashed.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, Utc};
use contracts::{
    TenantId, TicketId,
    canonical::canonical_sha256,
    event::{TicketChange, TicketEvent, TicketLevel},
    proposal::PairingOutcome,
    ticket::Ticket,
};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Findings, Invariant};
use crate::{Error, audit::AuditRow};

/// One kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Event,
    Note,
    Proposal,
    Sla,
    Evidence,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Event,
        Self::Note,
        Self::Proposal,
        Self::Sla,
        Self::Evidence,
    ];

    const fn table(self) -> &'static str {
        match self {
            Self::Event => "outbox_events",
            Self::Note => "notes",
            Self::Proposal => "proposals",
            Self::Sla => "sla_records",
            Self::Evidence => "evidence",
        }
    }

    /// The rows of the given tickets: tenant, ticket, key, document. The text of a note is not
    /// looked at.
    const fn rows(self) -> &'static str {
        match self {
            // Ids are made in the order of the events, within one command.
            Self::Event => {
                "select r.tenant_id, r.ticket_id,
                     r.command_id || '/' || row_number() over (
                         partition by r.tenant_id, r.ticket_id, r.command_id order by r.id) as key,
                     jsonb_build_object('seq', r.seq, 'event_type', r.event_type,
                         'event_version', r.event_version, 'payload', r.payload, 'level', r.level - '{autonomy,kill_generation,acts_on,silent_on,stopped}'::text[],
                         'correlation_id', r.correlation_id,
                         'occurred_at', (extract(epoch from r.occurred_at) * 1000000)::bigint) as doc
                 from unnest($1::uuid[], $2::uuid[]) t (tenant_id, ticket_id)
                 join outbox_events r using (tenant_id, ticket_id)"
            }
            Self::Note => {
                "select r.tenant_id, r.ticket_id, r.id::text as key,
                     jsonb_build_object('command_id', r.command_id, 'author_id', r.author_id,
                         'created_at', (extract(epoch from r.created_at) * 1000000)::bigint) as doc
                 from unnest($1::uuid[], $2::uuid[]) t (tenant_id, ticket_id)
                 join notes r using (tenant_id, ticket_id)"
            }
            Self::Proposal => {
                "select r.tenant_id, r.ticket_id, r.id::text as key,
                     jsonb_build_object('command_id', r.command_id, 'kind', r.kind,
                         'based_on_version', r.based_on_version, 'input', r.input,
                         'input_sha256', r.input_sha256, 'advice', r.advice,
                         'erased', exists (select from tenants e
                             where e.tenant_id = r.tenant_id and e.state = 'erased'),
                         'recorded_at', (extract(epoch from r.recorded_at) * 1000000)::bigint,
                         'paired_command_id', r.paired_command_id,
                         'paired_actor_id', r.paired_actor_id, 'paired_outcome', r.paired_outcome,
                         'paired_seen', r.paired_seen,
                         'paired_at', (extract(epoch from r.paired_at) * 1000000)::bigint) as doc
                 from unnest($1::uuid[], $2::uuid[]) t (tenant_id, ticket_id)
                 join proposals r using (tenant_id, ticket_id)"
            }
            Self::Sla => {
                "select r.tenant_id, r.ticket_id,
                     r.clock || '/' || r.kind || '/' || r.revision as key,
                     jsonb_build_object('command_id', r.command_id,
                         'effective_at', (extract(epoch from r.effective_at) * 1000000)::bigint,
                         'recorded_at', (extract(epoch from r.recorded_at) * 1000000)::bigint) as doc
                 from unnest($1::uuid[], $2::uuid[]) t (tenant_id, ticket_id)
                 join sla_records r using (tenant_id, ticket_id)"
            }
            Self::Evidence => {
                "select r.tenant_id, r.ticket_id, r.id::text as key,
                     jsonb_build_object('command_id', r.command_id, 'kind', r.kind,
                         'sha256', r.sha256, 'media_type', r.media_type,
                         'size_bytes', r.size_bytes,
                         'taken_at', (extract(epoch from r.taken_at) * 1000000)::bigint,
                         'added_by', r.added_by,
                         'added_at', (extract(epoch from r.added_at) * 1000000)::bigint) as doc
                 from unnest($1::uuid[], $2::uuid[]) t (tenant_id, ticket_id)
                 join evidence r using (tenant_id, ticket_id)"
            }
        }
    }
}

/// The rows that a timeline tells of.
#[derive(Debug, Default)]
pub(super) struct Beside {
    rows: BTreeMap<(Kind, String), Value>,
    /// `seq` of the last event to the workflow.
    seq: u64,
}

impl Beside {
    /// Takes an accepted attempt's changes; `after` is the ticket that they led to.
    pub(super) fn add(&mut self, row: &AuditRow, changes: &[TicketChange], after: &Ticket) {
        for (n, change) in changes.iter().enumerate() {
            self.event(row, n + 1, change, after);
            self.effect(row, change);
        }
    }

    fn event(&mut self, row: &AuditRow, n: usize, change: &TicketChange, after: &Ticket) {
        let event_type = change.event.event_type();
        let to_workflow = event_type.audience().is_workflow();
        self.seq += u64::from(to_workflow);
        let doc = json!({
            "seq": to_workflow.then_some(self.seq),
            "event_type": event_type.name(),
            "event_version": event_type.version(),
            "payload": change.event,
            "level": to_workflow.then(|| bare(&domain::bare_level(after))),
            "correlation_id": row.correlation_id,
            "occurred_at": micros(change.at),
        });
        let key = format!("{}/{n}", row.command_id.as_uuid());
        self.rows.insert((Kind::Event, key), doc);
    }

    fn effect(&mut self, row: &AuditRow, change: &TicketChange) {
        let command_id = row.command_id.as_uuid();
        let at = micros(row.at);
        match &change.event {
            TicketEvent::Created {
                note_id: Some(note_id),
                ..
            }
            | TicketEvent::ChangeRequested {
                note_id: Some(note_id),
                ..
            }
            | TicketEvent::NoteAdded { note_id } => self.note(row, note_id.as_uuid()),
            TicketEvent::ProposalRecorded {
                proposal_id,
                kind,
                based_on_version,
            } => {
                let input = &row.payload["input"]["sha256"];
                let doc = json!({
                    "command_id": command_id,
                    "kind": kind,
                    "based_on_version": based_on_version,
                    "input": input,
                    "input_sha256": input,
                    "advice": row.payload["advice"]["sha256"],
                    "recorded_at": at,
                    "paired_command_id": null,
                    "paired_actor_id": null,
                    "paired_outcome": null,
                    "paired_seen": false,
                    "paired_at": null,
                });
                self.put(Kind::Proposal, proposal_id.as_uuid(), doc);
            }
            TicketEvent::ProposalPaired {
                proposal_id,
                outcome,
                seen,
            } => {
                let paired = json!({
                    "paired_command_id": command_id,
                    "paired_actor_id": row.actor_id,
                    "paired_outcome": outcome,
                    "paired_seen": seen,
                    "paired_at": at,
                });
                self.amend(Kind::Proposal, proposal_id.as_uuid(), paired);
            }
            TicketEvent::SlaRecorded {
                clock,
                kind,
                revision,
                effective_at,
            } => {
                let doc = json!({
                    "command_id": command_id,
                    "effective_at": micros(*effective_at),
                    "recorded_at": at,
                });
                let key = format!("{clock}/{kind}/{revision}");
                self.rows.insert((Kind::Sla, key), doc);
            }
            TicketEvent::EvidenceAdded { evidence_id, kind } => {
                let body = &row.payload;
                let taken_at = body["taken_at"].as_str().and_then(|at| at.parse().ok());
                let doc = json!({
                    "command_id": command_id,
                    "kind": kind,
                    "sha256": body["sha256"],
                    "media_type": body["media_type"],
                    "size_bytes": body["size_bytes"],
                    "taken_at": taken_at.map(micros),
                    "added_by": row.actor_id,
                    "added_at": at,
                });
                self.put(Kind::Evidence, evidence_id.as_uuid(), doc);
            }
            _ => {}
        }
    }

    fn note(&mut self, row: &AuditRow, id: Uuid) {
        let doc = json!({
            "command_id": row.command_id.as_uuid(),
            "author_id": row.actor_id,
            "created_at": micros(row.at),
        });
        self.put(Kind::Note, id, doc);
    }

    fn put(&mut self, kind: Kind, id: Uuid, doc: Value) {
        self.rows.insert((kind, id.to_string()), doc);
    }

    /// Sets fields of a row that the timeline told of before.
    fn amend(&mut self, kind: Kind, id: Uuid, fields: Value) {
        if let (Some(Value::Object(doc)), Value::Object(fields)) =
            (self.rows.get_mut(&(kind, id.to_string())), fields)
        {
            doc.extend(fields);
        }
    }

    /// Takes the row that is there out and says what is wrong with it.
    fn take(&mut self, kind: Kind, key: &str, doc: &Value) -> Option<(Invariant, &'static str)> {
        let Some(told) = self.rows.remove(&(kind, key.to_owned())) else {
            return Some((Invariant::I2, "a row that its timeline does not tell of"));
        };
        if told["seq"] != doc["seq"] {
            return Some((Invariant::I4, "an event under another number than its own"));
        }
        (told != *doc).then_some((Invariant::I1, "a row that is not what its timeline tells"))
    }
}

/// What Postgres keeps of a moment.
fn micros(at: DateTime<Utc>) -> i64 {
    at.round_subsecs(6).timestamp_micros()
}

/// Whether the row's tenant was erased.
fn take_erased(doc: &mut Value) -> bool {
    let member = doc.as_object_mut().and_then(|doc| doc.remove("erased"));
    member == Some(Value::Bool(true))
}

fn sha256(document: &Value) -> String {
    canonical_sha256(document).expect("a JSON value always serialises")
}

#[derive(FromRow)]
struct Row {
    tenant_id: Uuid,
    ticket_id: Uuid,
    key: String,
    doc: Value,
}

/// Compares the rows beside some tickets with what their timelines told of.
pub(super) async fn compare(
    tx: &mut PgConnection,
    told: Vec<(Ticket, Beside)>,
    found: &mut Findings,
) -> Result<(), Error> {
    let mut told: BTreeMap<(TenantId, TicketId), Beside> = told
        .into_iter()
        .map(|(ticket, beside)| ((ticket.tenant_id, ticket.id), beside))
        .collect();
    let (tenants, tickets): (Vec<_>, Vec<_>) = told
        .keys()
        .map(|(tenant, ticket)| (tenant.as_uuid(), ticket.as_uuid()))
        .unzip();
    for kind in Kind::ALL {
        let rows: Vec<Row> = sqlx::query_as(kind.rows())
            .bind(&tenants)
            .bind(&tickets)
            .fetch_all(&mut *tx)
            .await?;
        for mut row in rows {
            if kind == Kind::Proposal {
                // What was personal in the input went with its tenant; its hash is still there.
                row.doc["input"] = match take_erased(&mut row.doc) {
                    true => row.doc["input_sha256"].clone(),
                    false => sha256(&row.doc["input"]).into(),
                };
                row.doc["advice"] = sha256(&row.doc["advice"]).into();
            }
            in_todays_words(kind, &mut row.doc);
            let ticket = (
                TenantId::from_uuid(row.tenant_id),
                TicketId::from_uuid(row.ticket_id),
            );
            if let Some(beside) = told.get_mut(&ticket)
                && let Some((invariant, what)) = beside.take(kind, &row.key, &row.doc)
            {
                found.add(invariant, place(kind, ticket.1, &row.key), what);
            }
        }
    }
    for ((_, ticket), beside) in told {
        for (kind, key) in beside.rows.into_keys() {
            let what = "a row that its timeline tells of is missing";
            found.add(Invariant::I1, place(kind, ticket, &key), what);
        }
    }
    Ok(())
}

/// A row of an earlier version as today's would write it: an event of an earlier version of its
/// shape is read and written again, and so is the word for an outcome.
fn in_todays_words(kind: Kind, doc: &mut Value) {
    match kind {
        Kind::Event => {
            let Ok(event) = serde_json::from_value::<TicketEvent>(doc["payload"].clone()) else {
                return;
            };
            let today = event.event_type().version();
            if doc["event_version"].as_u64() < Some(today.into()) {
                doc["event_version"] = today.into();
                doc["payload"] = json!(event);
            }
        }
        Kind::Proposal => {
            let outcome = serde_json::from_value::<PairingOutcome>(doc["paired_outcome"].clone());
            if let Ok(outcome) = outcome {
                doc["paired_outcome"] = json!(outcome);
            }
        }
        Kind::Note | Kind::Sla | Kind::Evidence => {}
    }
}

fn place(kind: Kind, ticket: TicketId, key: &str) -> String {
    format!("{} {ticket} {key}", kind.table())
}

/// What of a level is part of the ticket: stages and kill switches come from elsewhere.
fn bare(level: &TicketLevel) -> Value {
    let mut doc = json!(level);
    if let Some(members) = doc.as_object_mut() {
        members.retain(|name, _| !BESIDE_THE_TICKET.contains(&name.as_str()));
    }
    doc
}

const BESIDE_THE_TICKET: [&str; 5] = [
    "autonomy",
    "kill_generation",
    "acts_on",
    "silent_on",
    "stopped",
];

#[cfg(test)]
mod tests {
    use contracts::{AuditId, CommandId, DecisionId};

    use super::*;

    fn row(payload: Value) -> AuditRow {
        AuditRow {
            id: AuditId::from_uuid(Uuid::nil()),
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            stream: String::new(),
            ticket_id: None,
            command_id: CommandId::from_uuid(Uuid::nil()),
            decision_id: DecisionId::from_uuid(Uuid::nil()),
            decision_sha256: String::new(),
            bundle_sha256: String::new(),
            request_id: "r".into(),
            correlation_id: "c".into(),
            trace_id: "t".into(),
            actor_id: "usr_a".into(),
            actor_kind: "person".into(),
            actor_roles: json!([]),
            tool_name: None,
            operation: "add_note".into(),
            at: DateTime::UNIX_EPOCH,
            refused: None,
            before: None,
            after: None,
            applied_to_version: 1,
            produced_version: 1,
            payload,
            changes: json!([]),
        }
    }

    fn told(payload: Value, events: Value) -> Beside {
        let mut beside = Beside::default();
        for event in events.as_array().unwrap() {
            let change =
                serde_json::from_value(json!({ "at": DateTime::UNIX_EPOCH, "event": event }));
            beside.effect(&row(payload.clone()), &change.unwrap());
        }
        beside
    }

    fn id(prefix: &str) -> String {
        format!("{prefix}_{}", Uuid::nil().simple())
    }

    #[test]
    fn a_row_is_what_was_told_and_is_there_once() {
        let event = json!({ "type": "note.added", "data": { "note_id": id("not") } });
        let mut beside = told(json!({}), json!([event]));
        let key = Uuid::nil().to_string();
        let doc = json!({ "command_id": Uuid::nil(), "author_id": "usr_a", "created_at": 0 });
        assert_eq!(beside.take(Kind::Note, &key, &doc), None);
        let again = beside.take(Kind::Note, &key, &doc).unwrap();
        assert_eq!(again.0, Invariant::I2);

        let mut beside = told(json!({}), json!([event]));
        let other = json!({ "command_id": Uuid::nil(), "author_id": "usr_b", "created_at": 0 });
        let changed = beside.take(Kind::Note, &key, &other).unwrap();
        assert_eq!(changed.0, Invariant::I1);
    }

    #[test]
    fn a_pairing_amends_its_proposal() {
        let events = json!([
            { "type": "proposal.recorded", "data": {
                "proposal_id": id("prp"), "kind": "triage", "based_on_version": 1 } },
            { "type": "proposal.paired", "data": { "proposal_id": id("prp"), "outcome": "same" } },
        ]);
        let payload = json!({ "input": { "sha256": "aa" }, "advice": { "sha256": "bb" } });
        let beside = told(payload, events);
        let doc = beside.rows.values().next().unwrap();
        assert_eq!(
            (beside.rows.len(), &doc["paired_outcome"]),
            (1, &json!("same"))
        );
        assert_eq!(
            (&doc["input_sha256"], &doc["advice"]),
            (&json!("aa"), &json!("bb"))
        );
    }

    #[test]
    fn what_the_first_version_wrote_reads_as_todays() {
        let paired = |data: Value| json!({ "type": "proposal.paired", "data": data });
        let mut row = json!({
            "event_version": 1,
            "payload": paired(json!({ "proposal_id": id("prp"), "outcome": "alternative" })),
        });
        in_todays_words(Kind::Event, &mut row);
        let today = json!({
            "event_version": 2,
            "payload": paired(
                json!({ "proposal_id": id("prp"), "outcome": "equivalent", "seen": false })
            ),
        });
        assert_eq!(row, today);

        // An event of today that is not as it was written is left for the comparison to find.
        let mut changed = today.clone();
        changed["payload"]["data"]["colour"] = "red".into();
        let kept = changed.clone();
        in_todays_words(Kind::Event, &mut changed);
        assert_eq!(changed, kept);

        let mut row = json!({ "paired_outcome": "alternative" });
        in_todays_words(Kind::Proposal, &mut row);
        assert_eq!(row["paired_outcome"], "equivalent");
    }

    #[test]
    fn a_moment_is_kept_as_postgres_rounds_it() {
        let at = |nanos| DateTime::from_timestamp(1, nanos).unwrap();
        assert_eq!(micros(at(123_456_789)), 1_123_457);
        assert_eq!(micros(at(123_456_000)), 1_123_456);
    }
}
