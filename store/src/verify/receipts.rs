//! Compares what clients were told with what is there.

use contracts::{CommandId, TenantId};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Invariant, Violation};
use crate::Error;

/// One answer that a client got and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Whose.
    pub tenant_id: TenantId,
    /// `x-command-id` of the answer.
    pub command_id: CommandId,
    /// HTTP status of the answer.
    pub status: u16,
    /// Its body, byte for byte; `None` when it was not kept.
    pub body: Option<String>,
}

/// Checks a client's ledger of answers (I12). Give it only what is stored: accepted commands and
/// refusals that are replayed. As `dispatch_maintenance`.
pub async fn receipts(pool: &PgPool, ledger: &[Acknowledged]) -> Result<Vec<Violation>, Error> {
    let mut violations = Vec::new();
    for page in ledger.chunks(1_000) {
        let (tenants, commands): (Vec<_>, Vec<_>) = page
            .iter()
            .map(|told| (told.tenant_id.as_uuid(), told.command_id.as_uuid()))
            .unzip();
        // By way of the audit row: that is where a command's id is indexed.
        type Row = (Uuid, Option<i16>, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "select a.command_id, k.status, k.body
             from unnest($1::uuid[], $2::uuid[]) as told (tenant_id, command_id)
             join audit_events a on a.tenant_id = told.tenant_id and a.command_id = told.command_id
             left join idempotency_keys k on k.tenant_id = a.tenant_id and k.actor_id = a.actor_id
               and k.operation in (a.operation, 'execute_approval') and k.request_id = a.request_id
               and k.command_id = a.command_id",
        )
        .bind(tenants)
        .bind(commands)
        .fetch_all(pool)
        .await?;
        let found: std::collections::BTreeMap<_, _> = rows
            .into_iter()
            .map(|(id, status, body)| (CommandId::from_uuid(id), (status, body)))
            .collect();
        for told in page {
            if let Some(what) = contradiction(told, found.get(&told.command_id)) {
                violations.push(Violation {
                    invariant: Invariant::I12,
                    place: told.command_id.to_string(),
                    what: what.to_owned(),
                });
            }
        }
    }
    Ok(violations)
}

fn contradiction(
    told: &Acknowledged,
    stored: Option<&(Option<i16>, Option<String>)>,
) -> Option<&'static str> {
    let Some((status, body)) = stored else {
        return Some("the client was told of a command that is not in the database");
    };
    if *status != i16::try_from(told.status).ok() {
        return Some("the client was told another status than the stored one");
    }
    (told.body.is_some() && *body != told.body)
        .then_some("the client was told other bytes than the stored ones")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_answer_is_no_contradiction() {
        let told = Acknowledged {
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            command_id: CommandId::from_uuid(Uuid::nil()),
            status: 200,
            body: Some("{}".into()),
        };
        let stored = |status, body: &str| (Some(status), Some(body.to_owned()));
        assert_eq!(contradiction(&told, Some(&stored(200, "{}"))), None);
        assert!(contradiction(&told, None).is_some());
        assert!(contradiction(&told, Some(&(None, None))).is_some());
        assert!(contradiction(&told, Some(&stored(409, "{}"))).is_some());
        assert!(contradiction(&told, Some(&stored(200, "{ }"))).is_some());
    }
}
