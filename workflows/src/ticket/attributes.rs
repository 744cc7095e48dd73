//! Search attributes: what the Temporal Web UI can list tickets by.
//!
//! Few, because SQL visibility has room for ten keywords and three of each other type. Personal
//! data has no place here.

use contracts::{TenantId, event::TicketLevel};
use temporalio_protos::temporal::api::{common::v1::Payload, enums::v1::IndexedValueType};
use temporalio_workflow::common::search_attributes::{
    SearchAttributeKey, SearchAttributeUpdate, SearchAttributeValue, SearchAttributes, Timestamp,
};

use super::backlog::due_at;

const TENANT_ID: SearchAttributeKey<String> = SearchAttributeKey::keyword("TenantId");
const TICKET_STATE: SearchAttributeKey<String> = SearchAttributeKey::keyword("TicketState");
const PRIORITY: SearchAttributeKey<String> = SearchAttributeKey::keyword("Priority");
const AUTONOMY_MODE: SearchAttributeKey<String> = SearchAttributeKey::keyword("AutonomyMode");
const WAITING_FOR: SearchAttributeKey<String> = SearchAttributeKey::keyword("WaitingFor");
const SLA_DUE_AT: SearchAttributeKey<Timestamp> = SearchAttributeKey::datetime("SlaDueAt");

/// Name and type of each; they have to be registered in the namespace before a workflow sets them.
pub const ALL: &[(&str, IndexedValueType)] = &[
    ("TenantId", IndexedValueType::Keyword),
    ("TicketState", IndexedValueType::Keyword),
    ("Priority", IndexedValueType::Keyword),
    ("AutonomyMode", IndexedValueType::Keyword),
    ("WaitingFor", IndexedValueType::Keyword),
    ("SlaDueAt", IndexedValueType::Datetime),
];

/// What has to be changed so that the attributes say what the level says; often nothing.
pub fn changes(
    now: &SearchAttributes,
    tenant: TenantId,
    level: &TicketLevel,
) -> Vec<SearchAttributeUpdate> {
    let due = due_at(level).map(|at| {
        let nanos = at.timestamp_subsec_nanos().min(999_999_999);
        Timestamp::new(at.timestamp(), nanos.cast_signed())
    });
    [
        change(now, &TENANT_ID, Some(tenant.to_string())),
        change(now, &TICKET_STATE, Some(level.state.to_string())),
        change(now, &PRIORITY, Some(level.priority.to_string())),
        change(now, &AUTONOMY_MODE, Some(level.autonomy.to_string())),
        change(now, &WAITING_FOR, Some(level.waiting_for.to_string())),
        change(now, &SLA_DUE_AT, due),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn change<T: SearchAttributeValue + PartialEq>(
    now: &SearchAttributes,
    key: &SearchAttributeKey<T>,
    wanted: Option<T>,
) -> Option<SearchAttributeUpdate> {
    let is_set = |payload: &&Payload| payload.data != EMPTY_LIST;
    let old = now
        .raw_payload(key.name())
        .filter(is_set)
        .and_then(|_| now.get(key));
    match (old, wanted) {
        (old, new) if old == new => None,
        (_, Some(new)) => Some(key.value_set(new)),
        (_, None) => Some(unset(key.name())),
    }
}

const EMPTY_LIST: &[u8] = b"[]";

/// Removes an attribute. The SDK's own `value_unset` (1.1) sends a payload without an encoding,
/// which the server cannot read and fails the workflow task for; an empty list of any type is the
/// older way to say the same, and the server keeps understanding it.
fn unset(name: &'static str) -> SearchAttributeUpdate {
    SearchAttributeKey::<Vec<String>>::keyword_list(name).value_set(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_set_once_and_unset_once() {
        let due = Timestamp::new(1, 0);
        let mut now = SearchAttributes::default();
        let set = change(&now, &SLA_DUE_AT, Some(due.clone())).unwrap();
        now.apply(set);
        assert!(change(&now, &SLA_DUE_AT, Some(due)).is_none());
        let unset = change(&now, &SLA_DUE_AT, None).unwrap();
        now.apply(unset);
        assert!(change(&now, &SLA_DUE_AT, None).is_none());
        assert!(change(&now, &SLA_DUE_AT, Some(Timestamp::new(2, 0))).is_some());
    }

    #[test]
    fn the_list_has_every_key_with_its_type() {
        let keys = [
            (TENANT_ID.name(), TENANT_ID.indexed_value_type()),
            (TICKET_STATE.name(), TICKET_STATE.indexed_value_type()),
            (PRIORITY.name(), PRIORITY.indexed_value_type()),
            (AUTONOMY_MODE.name(), AUTONOMY_MODE.indexed_value_type()),
            (WAITING_FOR.name(), WAITING_FOR.indexed_value_type()),
            (SLA_DUE_AT.name(), SLA_DUE_AT.indexed_value_type()),
        ];
        assert_eq!(ALL, keys);
    }
}
