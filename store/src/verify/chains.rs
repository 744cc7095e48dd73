//! Walks every audit chain once: hashes, versions, transitions, and the fold that gives the ticket.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::{
    AuditId, CommandId, DecisionId, Operation, TenantId, TicketId, TicketState,
    command::CommandClass, event::TicketChange, sla::SlaClock, ticket::Ticket,
};
use domain::TicketKey;
use futures::TryStreamExt;
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    Findings, Invariant,
    approvals::{self, Approvals, Attempt},
    autonomy::{Place, Stages},
    beside::{self, Beside},
    filings::Filings,
    receipt,
};
use crate::{
    Error,
    audit::{AuditRow, decision_sha256, link},
    seal::{Head, SealingKey, checkpoint_hash},
};

/// How much was walked.
pub(super) struct Seen {
    pub attempts: u64,
    pub checkpoints: u64,
}

#[derive(FromRow)]
struct Row {
    tenant_id: Uuid,
    stream: String,
    position: i64,
    id: Uuid,
    ticket_id: Option<Uuid>,
    command_id: Uuid,
    decision_id: Uuid,
    decision_sha256: String,
    bundle_sha256: String,
    request_id: String,
    correlation_id: String,
    trace_id: String,
    actor_id: String,
    actor_kind: String,
    actor_roles: Value,
    tool_name: Option<String>,
    operation: String,
    at: DateTime<Utc>,
    refused: Option<String>,
    before: Option<String>,
    after: Option<String>,
    applied_to_version: i64,
    produced_version: i64,
    payload: Value,
    changes: Value,
    chain_hash: Vec<u8>,
    recorded_at: DateTime<Utc>,
    written: Option<i64>,
    #[sqlx(flatten)]
    kept: Kept,
}

/// What else is kept of an attempt, in one piece each.
#[derive(FromRow, Default, Clone)]
struct Kept {
    /// The decision as `contracts::policy::PolicyDecision` has it.
    decision: Option<Value>,
    decision_input: Option<String>,
    /// The decision on what an approval is about, where the row names one besides.
    named: Option<Value>,
    named_input: Option<String>,
    /// The stored answer to an accepted attempt.
    receipt: Option<String>,
}

/// Rows in one read: a whole chain need not fit.
const PAGE: i64 = 2_000;

const ROWS: &str = "select a.*, d.input as decision_input, k.body as receipt,
        case when d.id is not null then jsonb_build_object(
            'result', d.result, 'reasons', d.reasons, 'obligations', d.obligations,
            'bundle', jsonb_build_object('version', d.bundle_version, 'sha256', d.bundle_sha256))
            || case when d.approval is null then '{}'
                    else jsonb_build_object('approval', d.approval) end
        end as decision,
        case when n.id is not null then jsonb_build_object(
            'result', n.result, 'approval', n.approval) end as named, n.input as named_input
     from (select * from audit_events where (tenant_id, stream, position) > ($1, $2, $3)
           order by tenant_id, stream, position limit $4) a
     left join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
     left join policy_decisions n on n.tenant_id = a.tenant_id and n.id = row_id(coalesce(
         a.payload #>> '{released,decision_id}', a.payload #>> '{amended,decision_id}'))
     left join idempotency_keys k on k.tenant_id = a.tenant_id and k.actor_id = a.actor_id
       and k.operation in (a.operation, 'execute_approval') and k.request_id = a.request_id
       and k.command_id = a.command_id and k.status < 400
     order by a.tenant_id, a.stream, a.position";

impl Row {
    fn content(self) -> AuditRow {
        AuditRow {
            id: AuditId::from_uuid(self.id),
            tenant_id: TenantId::from_uuid(self.tenant_id),
            stream: self.stream,
            ticket_id: self.ticket_id.map(TicketId::from_uuid),
            command_id: CommandId::from_uuid(self.command_id),
            decision_id: DecisionId::from_uuid(self.decision_id),
            decision_sha256: self.decision_sha256,
            bundle_sha256: self.bundle_sha256,
            request_id: self.request_id,
            correlation_id: self.correlation_id,
            trace_id: self.trace_id,
            actor_id: self.actor_id,
            actor_kind: self.actor_kind,
            actor_roles: self.actor_roles,
            tool_name: self.tool_name,
            operation: self.operation,
            at: self.at,
            refused: self.refused,
            before: self.before,
            after: self.after,
            applied_to_version: self.applied_to_version.unsigned_abs(),
            produced_version: self.produced_version.unsigned_abs(),
            payload: self.payload,
            changes: self.changes,
        }
    }
}

type Stream = (TenantId, String);

/// A chain as far as it was walked.
struct Walk {
    length: u64,
    hash: Vec<u8>,
    /// What the rows folded to; `None` before the creation and for streams without a ticket.
    ticket: Option<Ticket>,
    /// The fold failed and says nothing any more.
    lost: bool,
    /// The rows that it tells of.
    beside: Beside,
    /// The approvals that it tells of.
    approvals: Approvals,
}

/// Checks all chains, what they fold to, and the checkpoints.
pub(super) async fn check(
    tx: &mut PgConnection,
    key: Option<&SealingKey>,
    found: &mut Findings,
) -> Result<Seen, Error> {
    let sealed = checkpoints(tx, key, found).await?;
    for (stream, length) in sealed_heads(tx).await? {
        let (tenant, name) = &stream;
        if !sealed.heads.contains_key(&(*tenant, name.clone(), length)) {
            let what = "it was sealed, but no checkpoint says so: one was removed";
            found.add(Invariant::I9, place(&stream, length), what);
        }
    }
    let mut seen = Seen {
        attempts: 0,
        checkpoints: sealed.count,
    };
    let mut ends = ends(tx, found).await?;
    let mut pending_seals = sealed.heads;
    let mut filings = Filings::default();
    let stages = Stages::read(tx, found).await?;
    let mut current: Option<(Stream, Walk)> = None;
    let mut read_to = (Uuid::nil(), String::new(), 0);
    loop {
        let page: Vec<Row> = sqlx::query_as(ROWS)
            .bind(read_to.0)
            .bind(&read_to.1)
            .bind(read_to.2)
            .bind(PAGE)
            .fetch_all(&mut *tx)
            .await?;
        let Some(last) = page.last() else {
            break;
        };
        read_to = (last.tenant_id, last.stream.clone(), last.position);
        let mut told = Vec::new();
        for row in page {
            seen.attempts += 1;
            let stream = (TenantId::from_uuid(row.tenant_id), row.stream.clone());
            if current.as_ref().is_none_or(|(open, _)| *open != stream) {
                if let Some((stream, walk)) = current.take() {
                    told.extend(finish(&stream, walk, &mut ends, found));
                }
                current = Some((stream.clone(), Walk::new()));
            }
            if let Some((stream, walk)) = &mut current {
                walk.step(stream, row, &stages, &mut filings, found);
                if let Some(expected) =
                    pending_seals.remove(&(stream.0, stream.1.clone(), walk.length))
                    && expected != hex::encode(&walk.hash)
                {
                    let what = "the row is not the one that was sealed";
                    found.add(Invariant::I9, place(stream, walk.length), what);
                }
            }
        }
        compare(tx, told, found).await?;
    }
    if let Some((stream, walk)) = current {
        let told = finish(&stream, walk, &mut ends, found);
        compare(tx, told.into_iter().collect(), found).await?;
    }
    filings.compare(tx, found).await?;
    for (stream, _) in ends {
        found.add(
            Invariant::I9,
            place(&stream, 1),
            "the whole chain is missing",
        );
    }
    for (tenant, stream, position) in pending_seals.into_keys() {
        let what = "a sealed row is missing: the chain was cut off";
        found.add(Invariant::I9, place(&(tenant, stream), position), what);
    }
    Ok(seen)
}

/// Compares the rows of some tickets with what their chains told.
async fn compare(
    tx: &mut PgConnection,
    told: Vec<(Ticket, Beside, Approvals)>,
    found: &mut Findings,
) -> Result<(), Error> {
    let mut tickets = Vec::with_capacity(told.len());
    let (mut besides, mut asked) = (Vec::new(), Vec::new());
    for (ticket, beside, approvals) in told {
        tickets.push((ticket.tenant_id, ticket.id));
        besides.push((ticket, beside));
        asked.push(approvals);
    }
    beside::compare(tx, besides, found).await?;
    approvals::compare_of(tx, &tickets, asked, found).await
}

fn place((tenant, stream): &Stream, position: u64) -> String {
    format!("audit_events {tenant} {stream} #{position}")
}

impl Walk {
    fn new() -> Self {
        Self {
            length: 0,
            hash: Vec::new(),
            ticket: None,
            lost: false,
            beside: Beside::default(),
            approvals: Approvals::default(),
        }
    }

    fn step(
        &mut self,
        stream: &Stream,
        mut row: Row,
        stages: &Stages,
        filings: &mut Filings,
        found: &mut Findings,
    ) {
        let position = row.position.unsigned_abs();
        let place = place(stream, position);
        if position != self.length + 1 {
            found.add(Invariant::I9, &place, "rows before it are missing");
        }
        let stored = std::mem::take(&mut row.chain_hash);
        let kept = std::mem::take(&mut row.kept);
        let written = (row.written.unwrap_or(0), row.recorded_at);
        let row = row.content();
        let computed = link(&self.hash, position, &row.content());
        if computed[..] != stored[..] {
            found.add(
                Invariant::I9,
                &place,
                "the row or one before it was changed",
            );
        }
        self.length = position;
        self.hash = stored;
        decision(&place, &row, &kept, found);
        match row.ticket_id {
            Some(ticket_id) => {
                self.staged(&place, &row, written, stages, &kept, found);
                self.fold(&place, ticket_id, &row, &kept, found);
            }
            None if row.refused.is_none() => {
                filings.add(attempt(&place, &row, &kept), kept.receipt.as_deref(), found);
            }
            None => {}
        }
    }

    /// Software acted at the stage that stood then.
    fn staged(
        &self,
        place: &str,
        row: &AuditRow,
        written: Place,
        stages: &Stages,
        kept: &Kept,
        found: &mut Findings,
    ) {
        if let (false, None, Some(input)) = (self.lost, &row.refused, &kept.decision_input) {
            stages.compare(row, written, self.ticket.as_ref(), input, place, found);
        }
    }

    fn fold(
        &mut self,
        place: &str,
        ticket_id: TicketId,
        row: &AuditRow,
        kept: &Kept,
        found: &mut Findings,
    ) {
        if row.stream != crate::audit::ticket_stream(ticket_id) {
            found.add(Invariant::I9, place, "the row is on another ticket's chain");
        }
        let (before, after) = (row.applied_to_version, row.produced_version);
        let known = self.ticket.as_ref().map_or(0, |ticket| ticket.version);
        if !self.lost && before != known {
            found.add(
                Invariant::I3,
                place,
                "it was not applied to the version that was there",
            );
        }
        transition(place, row, found);
        if self.lost || row.refused.is_some() {
            return;
        }
        let key = TicketKey {
            tenant_id: row.tenant_id,
            ticket_id,
        };
        match serde_json::from_value::<Vec<TicketChange>>(row.changes.clone()) {
            Ok(changes) => {
                let before = self.ticket.clone();
                for change in &changes {
                    self.ticket = Some(domain::evolve(key, self.ticket.take(), change));
                }
                if let Some(ticket) = &self.ticket {
                    self.beside.add(row, &changes, ticket);
                    let attempt = attempt(place, row, kept);
                    self.approvals
                        .changed(attempt, &changes, before.as_ref(), found);
                    let (told, decision) = (&mut self.approvals, kept.decision.as_ref());
                    let receipt = kept.receipt.as_deref();
                    if receipt.is_some_and(|body| {
                        !receipt::tells(body, row, &changes, ticket, told, decision)
                    }) {
                        let what =
                            "a stored answer that does not tell the ticket and rows it led to";
                        found.add(Invariant::I1, place, what);
                    }
                }
                if self.ticket.as_ref().map_or(0, |ticket| ticket.version) != after {
                    found.add(
                        Invariant::I3,
                        place,
                        "its changes do not lead to the version that it produced",
                    );
                }
            }
            Err(error) => {
                self.lost = true;
                found.add(
                    Invariant::I3,
                    place,
                    format!("its changes cannot be read: {error}"),
                );
            }
        }
    }
}

fn attempt<'a>(place: &'a str, row: &'a AuditRow, kept: &'a Kept) -> Attempt<'a> {
    Attempt {
        place,
        row,
        decision: kept.decision.as_ref(),
        input: kept.decision_input.as_deref(),
        named: kept.named.as_ref().zip(kept.named_input.as_deref()),
    }
}

/// The decision is the one that the chain covers.
fn decision(place: &str, row: &AuditRow, kept: &Kept, found: &mut Findings) {
    let (Some(decision), Some(input)) = (&kept.decision, &kept.decision_input) else {
        return; // Missing: another check says so.
    };
    let same = decision_sha256(decision, input) == row.decision_sha256
        && decision["bundle"]["sha256"] == row.bundle_sha256.as_str();
    if !same {
        let what = "the policy decision is not the one that the row was chained with";
        found.add(Invariant::I9, place, what);
    }
}

fn transition(place: &str, row: &AuditRow, found: &mut Findings) {
    let state = |word: &Option<String>| word.as_deref().map(str::parse::<TicketState>).transpose();
    let parsed = (
        row.operation.parse::<Operation>(),
        state(&row.before),
        state(&row.after),
    );
    let (Ok(operation), Ok(before), Ok(after)) = parsed else {
        found.add(
            Invariant::I8,
            place,
            "operation or state is none that exists",
        );
        return;
    };
    // What is held, or can no longer be carried out, leaves the ticket as it is.
    let first = row.changes[0]["event"]["type"].as_str();
    let undone = matches!(first, Some("approval.requested" | "approval.stale"));
    let legal = match (row.refused.is_some() || undone, before, after) {
        (true, before, after) => before == after,
        (false, None, after) => {
            matches!(operation, Operation::CreateTicket | Operation::CommsInbound)
                && after == Some(TicketState::New)
        }
        // What becomes of an approval leaves the ticket where it is, unless it ends a change order.
        (false, Some(before), after) if operation.class() == CommandClass::Waiting => {
            let ends_change = first == Some("change.decided");
            match ends_change {
                true => {
                    (before, after) == (TicketState::ChangeRequested, Some(TicketState::OnSite))
                }
                false => after == Some(before),
            }
        }
        (false, Some(before), after) => {
            domain::ticket::table::next_state(operation, before) == after && after.is_some()
        }
    };
    if !legal {
        found.add(Invariant::I8, place, "the transition is not legal");
    }
}

/// What the row that carries a chain's end says about it.
struct End {
    length: u64,
    head: Vec<u8>,
    ticket: Option<Ticket>,
    columns: Columns,
}

/// What the list of tickets filters by, written beside the document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Columns {
    waiting_for: Option<String>,
    due_at: Option<DateTime<Utc>>,
    technician_id: Option<Uuid>,
}

impl Columns {
    fn of(ticket: &Ticket) -> Self {
        let visit = ticket.current_visit();
        Self {
            waiting_for: Some(domain::waiting_for(ticket).to_string()),
            due_at: ticket.sla.iter().filter_map(SlaClock::due_at).min(),
            technician_id: visit
                .and_then(|visit| visit.technician_id)
                .map(|id| id.as_uuid()),
        }
    }
}

async fn ends(tx: &mut PgConnection, found: &mut Findings) -> Result<BTreeMap<Stream, End>, Error> {
    #[derive(FromRow)]
    struct EndRow {
        tenant_id: Uuid,
        stream: String,
        length: i64,
        head: Vec<u8>,
        doc: Option<Value>,
        waiting_for: Option<String>,
        due_at: Option<DateTime<Utc>>,
        technician_id: Option<Uuid>,
    }
    let rows: Vec<EndRow> = sqlx::query_as(
        "select tenant_id, wire_id('tkt', id) as stream, chain_length as length,
                chain_head as head, doc, waiting_for, due_at, technician_id
         from tickets
         union all
         select tenant_id, stream, length, head, null, null, null, null from audit_streams",
    )
    .fetch_all(tx)
    .await?;
    let mut ends = BTreeMap::new();
    for row in rows {
        let stream = row.stream;
        let ticket = row.doc.and_then(|doc| {
            serde_json::from_value(doc)
                .inspect_err(|error| {
                    let what = format!("its document cannot be read: {error}");
                    found.add(Invariant::I3, format!("tickets {stream}"), what);
                })
                .ok()
        });
        let end = End {
            length: row.length.unsigned_abs(),
            head: row.head,
            ticket,
            columns: Columns {
                waiting_for: row.waiting_for,
                due_at: row.due_at,
                technician_id: row.technician_id,
            },
        };
        let tenant = row.tenant_id;
        ends.insert((TenantId::from_uuid(tenant), stream), end);
    }
    Ok(ends)
}

/// Compares the chain's end; answers the rows beside the ticket that it told of.
fn finish(
    stream: &Stream,
    walk: Walk,
    ends: &mut BTreeMap<Stream, End>,
    found: &mut Findings,
) -> Option<(Ticket, Beside, Approvals)> {
    let place = place(stream, walk.length);
    let Some(end) = ends.remove(stream) else {
        found.add(Invariant::I9, place, "no row carries the end of this chain");
        return None;
    };
    if (end.length, &end.head) != (walk.length, &walk.hash) {
        found.add(
            Invariant::I9,
            &place,
            "the chain does not end where its ticket says",
        );
    }
    if end
        .ticket
        .as_ref()
        .is_some_and(|ticket| Columns::of(ticket) != end.columns)
    {
        let what = "what lists filter by is not what its document says";
        found.add(Invariant::I3, &place, what);
    }
    if !walk.lost && walk.ticket != end.ticket {
        found.add(
            Invariant::I3,
            place,
            "the timeline does not fold to the ticket that is stored",
        );
    }
    let ticket = walk.ticket.filter(|_| !walk.lost)?;
    Some((ticket, walk.beside, walk.approvals))
}

#[derive(FromRow)]
struct Checkpoint {
    tenant_id: Uuid,
    number: i64,
    at: DateTime<Utc>,
    heads: Value,
    prev_hash: String,
    hash: String,
    key_id: String,
    signature: String,
}

struct Sealed {
    count: u64,
    /// The hash of each row that a checkpoint names.
    heads: BTreeMap<(TenantId, String, u64), String>,
}

/// How far the sealer got, by its own account.
async fn sealed_heads(tx: &mut PgConnection) -> Result<Vec<(Stream, u64)>, Error> {
    let rows: Vec<(Uuid, String, i64)> =
        sqlx::query_as("select tenant_id, stream, length from audit_sealed_heads")
            .fetch_all(tx)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(tenant, stream, length)| {
            ((TenantId::from_uuid(tenant), stream), length.unsigned_abs())
        })
        .collect())
}

async fn checkpoints(
    tx: &mut PgConnection,
    key: Option<&SealingKey>,
    found: &mut Findings,
) -> Result<Sealed, Error> {
    let mut sealed = Sealed {
        count: 0,
        heads: BTreeMap::new(),
    };
    let mut previous: Option<(Uuid, i64, String)> = None;
    let mut rows = sqlx::query_as::<_, Checkpoint>(
        "select * from audit_checkpoints order by tenant_id, number",
    )
    .fetch(tx);
    while let Some(row) = rows.try_next().await? {
        sealed.count += 1;
        let tenant_id = TenantId::from_uuid(row.tenant_id);
        let place = format!("audit_checkpoints {tenant_id} #{}", row.number);
        let (number, prev_hash) = match &previous {
            Some((tenant, number, hash)) if *tenant == row.tenant_id => (*number, hash.as_str()),
            _ => (0, ""),
        };
        if (row.number, row.prev_hash.as_str()) != (number + 1, prev_hash) {
            found.add(
                Invariant::I9,
                &place,
                "it does not follow the checkpoint before it",
            );
        }
        let heads: Vec<Head> = serde_json::from_value(row.heads).unwrap_or_default();
        let hash = checkpoint_hash(
            tenant_id,
            row.number.unsigned_abs(),
            row.at,
            &row.prev_hash,
            &heads,
        );
        if hash != row.hash {
            found.add(Invariant::I9, &place, "the checkpoint was changed");
        }
        if let Some(key) = key
            && key.id() == row.key_id
            && !key.verify(&row.hash, &row.signature)
        {
            found.add(
                Invariant::I9,
                &place,
                "the signature is not that of the sealing key",
            );
        }
        if let Some(key) = key
            && key.id() != row.key_id
        {
            let what = format!("it was sealed with another key, {}", row.key_id);
            found.add(Invariant::I9, &place, what);
        }
        for (stream, length, hash) in heads {
            sealed.heads.insert((tenant_id, stream, length), hash);
        }
        previous = Some((row.tenant_id, row.number, row.hash));
    }
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::ticket_stream;

    fn ticket_id() -> TicketId {
        TicketId::from_uuid(Uuid::max())
    }

    fn stream() -> Stream {
        (TenantId::from_uuid(Uuid::nil()), ticket_stream(ticket_id()))
    }

    fn row(position: i64, operation: &str, versions: (i64, i64), changes: Value) -> Row {
        let state = |version| (version > 0).then(|| "NEW".to_owned());
        Row {
            tenant_id: Uuid::nil(),
            stream: stream().1,
            position,
            id: Uuid::nil(),
            ticket_id: Some(ticket_id().as_uuid()),
            command_id: Uuid::nil(),
            decision_id: Uuid::nil(),
            decision_sha256: String::new(),
            bundle_sha256: String::new(),
            request_id: "r".into(),
            correlation_id: "c".into(),
            trace_id: "t".into(),
            actor_id: "a".into(),
            actor_kind: "person".into(),
            actor_roles: json!([]),
            tool_name: None,
            operation: operation.into(),
            at: DateTime::UNIX_EPOCH,
            refused: None,
            before: state(versions.0),
            after: state(versions.1),
            applied_to_version: versions.0,
            produced_version: versions.1,
            payload: json!({}),
            changes,
            chain_hash: Vec::new(),
            recorded_at: DateTime::UNIX_EPOCH,
            written: Some(position),
            kept: Kept::default(),
        }
    }

    /// A creation and two notes, chained.
    fn chain() -> Vec<Row> {
        let at = "1970-01-01T00:00:00Z";
        let created = json!([{ "at": at, "event": { "type": "ticket.created", "data": {
            "site_id": "sit_00000000000000000000000000000000", "asset_id": null,
            "contact_id": null, "template": "emergency_glass", "priority": "P1", "details": {},
            "nte_cents": 0, "visit_id": "vis_00000000000000000000000000000000", "note_id": null,
        }}}]);
        let noted = json!([{ "at": at, "event": { "type": "note.added", "data": {
            "note_id": "not_00000000000000000000000000000000",
        }}}]);
        let mut rows = vec![
            row(1, "create_ticket", (0, 1), created),
            row(2, "add_note", (1, 1), noted.clone()),
            row(3, "add_note", (1, 1), noted),
        ];
        rechain(&mut rows);
        rows
    }

    fn rechain(rows: &mut [Row]) {
        let mut previous = Vec::new();
        for row in rows {
            let content = row.copy().content().content();
            previous = link(&previous, row.position.unsigned_abs(), &content).to_vec();
            row.chain_hash.clone_from(&previous);
        }
    }

    impl Row {
        fn copy(&self) -> Self {
            let mut copy = row(
                self.position,
                &self.operation,
                (self.applied_to_version, self.produced_version),
                self.changes.clone(),
            );
            copy.payload.clone_from(&self.payload);
            copy.before.clone_from(&self.before);
            copy.after.clone_from(&self.after);
            copy
        }
    }

    fn found(rows: Vec<Row>) -> Vec<Invariant> {
        let mut found = Findings::default();
        let mut walk = Walk::new();
        for row in rows {
            let (stages, mut filings) = (Stages::default(), Filings::default());
            walk.step(&stream(), row, &stages, &mut filings, &mut found);
        }
        found.violations.into_iter().map(|v| v.invariant).collect()
    }

    #[test]
    fn an_intact_chain_has_no_findings() {
        assert_eq!(found(chain()), []);
    }

    #[test]
    fn a_changed_row_breaks_the_chain() {
        let mut rows = chain();
        rows[1].payload = json!({ "chars": 1 });
        assert_eq!(found(rows), [Invariant::I9]);
    }

    #[test]
    fn a_row_that_was_taken_out_breaks_the_chain() {
        let mut rows = chain();
        rows.remove(1);
        assert_eq!(
            found(rows),
            [Invariant::I9, Invariant::I9],
            "a gap and a wrong hash"
        );
    }

    #[test]
    fn a_chain_computed_anew_still_has_to_make_sense() {
        let mut rows = chain();
        rows[1].produced_version = 2;
        rechain(&mut rows);
        assert_eq!(found(rows), [Invariant::I3]);
        let mut rows = chain();
        rows[2].after = Some("CLOSED".into());
        rechain(&mut rows);
        assert_eq!(found(rows), [Invariant::I8]);
    }
}
