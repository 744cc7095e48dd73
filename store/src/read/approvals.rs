//! Approvals as people read them: the inbox and one approval with all that its approver needs.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ApprovalId, CommandId,
    approval::{Approval, ApprovalState},
    inbox::{ApprovalComment, ApprovalFilter, ApprovalGround, ApprovalTicket, Delegation},
    policy::PolicyLoan,
};
use sqlx::{AssertSqlSafe, FromRow, Postgres, postgres::PgArguments, query::QueryAs, types::Json};
use uuid::Uuid;

use super::{cursor::Cursors, cut, texts};
use crate::{Error, TenantTx};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// A page of the inbox as the rows have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbox {
    /// The approvals with their tickets, the least time left first.
    pub items: Vec<(Approval, Option<ApprovalTicket>)>,
    /// How many there are by state, whatever states were asked for.
    pub counts: BTreeMap<ApprovalState, u64>,
    /// Of the next page.
    pub next_cursor: Option<String>,
}

/// One approval with what stands beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRow {
    /// The approval.
    pub approval: Approval,
    /// Its ticket.
    pub ticket: Option<ApprovalTicket>,
    /// The held command as it was sent; none for a change order.
    pub command: Option<String>,
    /// The decision that asked for it.
    pub ground: Option<ApprovalGround>,
    /// The decision by which it was carried out.
    pub carried_out: Option<ApprovalGround>,
    /// What was said about it, oldest first.
    pub comments: Vec<ApprovalComment>,
}

/// `contracts::inbox::ApprovalTicket`.
const TICKET: &str = "case when t.id is not null then jsonb_build_object(
    'state', t.state, 'priority', t.priority, 'template', t.template,
    'site_id', wire_id('sit', t.site_id), 'waiting_for', t.waiting_for,
    'nte_cents', t.doc -> 'nte_cents', 'due_at', t.due_at) end";

// $1 the tenant, $2 to $9 the filters but the state; an approval without an end is the last.
const FILTERED: &str = "from approvals a
    left join tickets t on t.tenant_id = a.tenant_id and t.id = a.ticket_id
    where a.tenant_id = $1
    and ($2::text[] is null or a.kind = any($2))
    and ($3::text[] is null or a.required_roles ?| $3)
    and ($4::text[] is null or a.operation = any($4))
    and ($5::uuid is null or a.ticket_id = $5)
    and ($6::text is null or a.claimed_by = $6 and a.claimed_until > $10)
    and ($7::timestamptz is null or a.requested_at <= $7)
    and (not $8 or t.due_at < a.expires_at)
    and ($9::timestamptz is null or t.due_at < $9)";
const END: &str = "coalesce(a.expires_at, '9999-12-31T00:00:00Z')";

type Ask<'a, T> = QueryAs<'a, Postgres, T, PgArguments>;

/// A thousand years: nothing waits for longer, and Postgres can still name the moment.
const LONGEST_MINUTES: u32 = 1_000 * 365 * 24 * 60;

/// Binds $1 to $10.
fn bind<'q, T>(
    ask: Ask<'q, T>,
    tx: &TenantTx,
    filter: &ApprovalFilter,
    actor_id: &str,
    now: DateTime<Utc>,
) -> Ask<'q, T> {
    let minutes = |minutes: u32| TimeDelta::minutes(minutes.min(LONGEST_MINUTES).into());
    ask.bind(tx.tenant_id().as_uuid())
        .bind(texts(&filter.kind))
        .bind(texts(&filter.role))
        .bind(texts(&filter.operation))
        .bind(filter.ticket_id.map(|id| id.as_uuid()))
        .bind(filter.mine.then(|| actor_id.to_owned()))
        .bind(filter.waiting_minutes.map(|least| now - minutes(least)))
        .bind(filter.sla_at_risk)
        .bind(filter.sla_within_minutes.map(|most| now + minutes(most)))
        .bind(now)
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    end: DateTime<Utc>,
    approval: Json<Approval>,
    ticket: Option<Json<ApprovalTicket>>,
}

/// A page of the inbox of `actor_id`, at `now`.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this question.
pub async fn inbox(
    tx: &mut TenantTx,
    filter: &ApprovalFilter,
    actor_id: &str,
    now: DateTime<Utc>,
) -> Result<Inbox, Error> {
    let question = ApprovalFilter {
        cursor: None,
        limit: None,
        ..filter.clone()
    };
    let cursors = Cursors::new(b'a', &question);
    let after = filter.cursor.as_deref().map(|cursor| key(&cursors, cursor));
    let (after_end, after_id) = after.transpose()?.unzip();
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) as usize;
    let states = match filter.state.is_empty() {
        true => vec![ApprovalState::Pending.to_string()],
        false => filter.state.iter().map(ToString::to_string).collect(),
    };
    let sql = format!(
        "select a.id, {END} as \"end\", approval_json(a) as approval, {TICKET} as ticket {FILTERED}
         and a.state = any($11)
         and ($12::timestamptz is null or ({END}, a.id) > ($12, $13::uuid))
         order by {END}, a.id limit $14"
    );
    // Planned with the values at hand: each combination of filters has its own best index.
    let ask = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
    let rows: Vec<Row> = bind(ask, tx, filter, actor_id, now)
        .bind(states)
        .bind(after_end)
        .bind(after_id)
        .bind(limit as i64 + 1)
        .fetch_all(tx.connection())
        .await?;
    let (rows, more) = cut(rows, limit);
    let last = rows.last().filter(|_| more);
    let next_cursor = last.map(|row| {
        let end = row.end.timestamp_micros().to_be_bytes();
        cursors.after(&[&end[..], row.id.as_bytes()].concat())
    });

    let sql = format!("select a.state, count(*) {FILTERED} group by a.state");
    let ask = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
    let counted: Vec<(String, i64)> = bind(ask, tx, filter, actor_id, now)
        .fetch_all(tx.connection())
        .await?;
    let mut counts = BTreeMap::new();
    for (state, count) in counted {
        let parsed = state
            .parse()
            .map_err(|e| Error::corrupt("approvals", "state", &state, e))?;
        counts.insert(parsed, count.unsigned_abs());
    }
    let items = rows.into_iter();
    Ok(Inbox {
        items: items
            .map(|row| (row.approval.0, row.ticket.map(|Json(ticket)| ticket)))
            .collect(),
        counts,
        next_cursor,
    })
}

/// Where a page begins: after the approval that ends then, with this id.
fn key(cursors: &Cursors, cursor: &str) -> Result<(DateTime<Utc>, Uuid), Error> {
    let key: [u8; 24] = cursors.key(cursor)?;
    let (end, id) = key.split_at(8);
    let end = end.try_into().map(i64::from_be_bytes);
    let end = end.ok().and_then(DateTime::from_timestamp_micros);
    let id = Uuid::from_slice(id).ok();
    end.zip(id).ok_or(Error::InvalidCursor)
}

#[derive(FromRow)]
struct OneRow {
    approval: Json<Approval>,
    ticket: Option<Json<ApprovalTicket>>,
    command: Option<String>,
    ground: Option<Json<ApprovalGround>>,
    carried_out: Option<Json<ApprovalGround>>,
    comments: Json<Vec<ApprovalComment>>,
}

/// One approval; `None` when there is none of this id.
pub async fn approval(tx: &mut TenantTx, id: ApprovalId) -> Result<Option<ApprovalRow>, Error> {
    let sql = format!(
        "select approval_json(a) as approval, {TICKET} as ticket, h.command,
                (select jsonb_build_object(
                            'decision_id', wire_id('dec', d.id), 'result', d.result,
                            'reasons', d.reasons, 'bundle', jsonb_build_object(
                                'version', d.bundle_version, 'sha256', d.bundle_sha256))
                   from policy_decisions d
                  where d.tenant_id = a.tenant_id and d.id = a.decision_id) as ground,
                (select jsonb_build_object(
                            'decision_id', wire_id('dec', d.id), 'result', d.result,
                            'reasons', d.reasons, 'bundle', jsonb_build_object(
                                'version', d.bundle_version, 'sha256', d.bundle_sha256))
                   from audit_events e
                   join policy_decisions d on d.tenant_id = e.tenant_id and d.id = coalesce(
                        row_id(e.payload #>> '{{released,decision_id}}'), e.decision_id)
                  where e.tenant_id = a.tenant_id
                    and e.command_id = a.executed_command_id) as carried_out,
                (select coalesce(jsonb_agg(jsonb_build_object(
                            'id', wire_id('cmt', c.id), 'author_id', c.author_id,
                            'at', c.created_at, 'text', c.text) order by c.created_at, c.id), '[]')
                   from approval_comments c
                  where c.tenant_id = a.tenant_id and c.approval_id = a.id) as comments
         from approvals a
         left join tickets t on t.tenant_id = a.tenant_id and t.id = a.ticket_id
         left join held_commands h on h.tenant_id = a.tenant_id and h.approval_id = a.id
                                  and h.version = a.version
         where a.tenant_id = $1 and a.id = $2"
    );
    let row: Option<OneRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(tx.tenant_id().as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(tx.connection())
        .await?;
    Ok(row.map(|row| ApprovalRow {
        approval: row.approval.0,
        ticket: row.ticket.map(|Json(ticket)| ticket),
        command: row.command,
        ground: row.ground.map(|Json(ground)| ground),
        carried_out: row.carried_out.map(|Json(ground)| ground),
        comments: row.comments.0,
    }))
}

/// The SHA-256 of the list of commands that an attempt came in, in hex; none when it came alone.
pub async fn list_of(tx: &mut TenantTx, attempt: CommandId) -> Result<Option<String>, Error> {
    let list: Option<Option<String>> = sqlx::query_scalar(
        "select a.payload ->> 'of_list' from audit_events a
          where a.tenant_id = $1 and a.command_id = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(attempt.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    Ok(list.flatten())
}

/// Rights to decide that others lent to an actor, as of that moment.
pub async fn lent(
    tx: &mut TenantTx,
    actor_id: &str,
    now: DateTime<Utc>,
) -> Result<Vec<PolicyLoan>, Error> {
    let rows: Vec<Json<PolicyLoan>> = sqlx::query_scalar(
        "select jsonb_build_object('from', d.from_actor, 'roles', d.roles) from delegations d
         where d.tenant_id = $1 and d.to_actor = $2 and d.revoked_at is null
           and d.starts_at <= $3 and $3 < d.ends_at
         order by d.from_actor, d.id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(actor_id)
    .bind(now)
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|Json(loan)| loan).collect())
}

/// Rights that were lent: those from and to one actor, or all of the tenant.
pub async fn delegations(
    tx: &mut TenantTx,
    of_actor: Option<&str>,
) -> Result<Vec<Delegation>, Error> {
    let rows: Vec<Json<Delegation>> = sqlx::query_scalar(
        "select jsonb_build_object(
             'id', wire_id('dlg', d.id), 'from_actor', d.from_actor, 'to_actor', d.to_actor,
             'roles', d.roles, 'from', d.starts_at, 'until', d.ends_at, 'reason', d.reason,
             'revoked_at', d.revoked_at)
         from delegations d
         where d.tenant_id = $1 and ($2::text is null or $2 in (d.from_actor, d.to_actor))
         order by d.starts_at desc, d.id limit 1000",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(of_actor)
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|Json(delegation)| delegation)
        .collect())
}
