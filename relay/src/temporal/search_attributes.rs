//! The search attributes by which an operator finds workflows in the Web UI.
//!
//! Few on purpose: SQL visibility has room for ten keywords and three of any other type per
//! namespace. Starting a workflow with an unknown attribute is refused, so they are registered
//! before the first start, by `dispatch migrate`.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use temporalio_client::{
    grpc::{OperatorService, WorkflowService},
    tonic::Code,
};
use temporalio_common::protos::temporal::api::{
    enums::v1::IndexedValueType,
    operatorservice::v1::{AddSearchAttributesRequest, ListSearchAttributesRequest},
    workflowservice::v1::CountWorkflowExecutionsRequest,
};
use tokio::time::{Instant, sleep};

use super::Temporal;
use crate::delivery::TemporalError;

/// The names, as they stand in queries.
pub mod name {
    /// Whose ticket.
    pub const TENANT_ID: &str = "TenantId";
    /// Where it stands.
    pub const TICKET_STATE: &str = "TicketState";
    /// How urgent.
    pub const PRIORITY: &str = "Priority";
    /// How far software may act by itself.
    pub const AUTONOMY_MODE: &str = "AutonomyMode";
    /// What the ticket waits for.
    pub const WAITING_FOR: &str = "WaitingFor";
    /// The next deadline.
    pub const SLA_DUE_AT: &str = "SlaDueAt";
}

/// All of them with their types.
pub const SEARCH_ATTRIBUTES: [(&str, IndexedValueType); 6] = [
    (name::TENANT_ID, IndexedValueType::Keyword),
    (name::TICKET_STATE, IndexedValueType::Keyword),
    (name::PRIORITY, IndexedValueType::Keyword),
    (name::AUTONOMY_MODE, IndexedValueType::Keyword),
    (name::WAITING_FOR, IndexedValueType::Keyword),
    (name::SLA_DUE_AT, IndexedValueType::Datetime),
];

/// How often a registration is looked for while waiting for it.
const POLL: Duration = Duration::from_millis(200);

/// Why workflows cannot be found by their attributes.
#[derive(Debug, thiserror::Error)]
pub enum SearchAttributesError {
    /// Some are not registered.
    #[error(
        "namespace {namespace} has no search attributes {}: run `dispatch migrate`, or have them \
         registered (`temporal operator search-attribute create --name … --type …`)",
        names.join(", ")
    )]
    Missing {
        /// Where.
        namespace: String,
        /// Which.
        names: Vec<&'static str>,
    },
    /// One is registered with another type.
    #[error(
        "search attribute {name} of namespace {namespace} is of type {got}, not {want}: remove it \
         (`temporal operator search-attribute remove`) or use another namespace"
    )]
    WrongType {
        /// Where.
        namespace: String,
        /// Which.
        name: &'static str,
        /// The type that it has.
        got: String,
        /// The type that it should have.
        want: &'static str,
    },
    /// Registered, but no query knows them yet.
    #[error(
        "the search attributes of namespace {namespace} were registered but are not in effect \
         after {waited:?}: {last}"
    )]
    NotInEffect {
        /// Where.
        namespace: String,
        /// How long was waited.
        waited: Duration,
        /// The last answer.
        last: String,
    },
    /// Temporal refused or did not answer.
    #[error("the search attributes of namespace {namespace} cannot be read or registered")]
    Temporal {
        /// Where.
        namespace: String,
        /// What happened.
        source: TemporalError,
    },
}

impl Temporal {
    /// Registers what is missing and waits up to `bound` until queries know it. Returns the names
    /// that it added; none when all were there.
    pub async fn register_search_attributes(
        &self,
        bound: Duration,
    ) -> Result<Vec<&'static str>, SearchAttributesError> {
        let deadline = Instant::now() + bound;
        let missing = missing(&self.registered().await?, self.namespace())?;
        if !missing.is_empty() {
            let request = AddSearchAttributesRequest {
                search_attributes: missing
                    .iter()
                    .map(|(name, kind)| ((*name).to_owned(), i32::from(*kind)))
                    .collect(),
                namespace: self.namespace().to_owned(),
            };
            let added = self
                .call(request, |mut service, request| async move {
                    service.add_search_attributes(request).await
                })
                .await;
            // Somebody else may have registered them at the same time; what counts is seen below.
            if let Err(source) = added
                && source.code != Code::AlreadyExists
            {
                return Err(self.failed(source));
            }
        }
        loop {
            match self.in_effect().await {
                Ok(()) => return Ok(missing.into_keys().collect()),
                Err(source) if Instant::now() >= deadline => {
                    return Err(SearchAttributesError::NotInEffect {
                        namespace: self.namespace().to_owned(),
                        waited: bound,
                        last: source.to_string(),
                    });
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Checks that all are registered with the right type and in effect.
    pub async fn check_search_attributes(&self) -> Result<(), SearchAttributesError> {
        let missing = missing(&self.registered().await?, self.namespace())?;
        if !missing.is_empty() {
            return Err(SearchAttributesError::Missing {
                namespace: self.namespace().to_owned(),
                names: missing.into_keys().collect(),
            });
        }
        self.in_effect().await.map_err(|e| self.failed(e))
    }

    async fn registered(&self) -> Result<HashMap<String, i32>, SearchAttributesError> {
        let request = ListSearchAttributesRequest {
            namespace: self.namespace().to_owned(),
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.list_search_attributes(request).await
            })
            .await;
        Ok(answer.map_err(|e| self.failed(e))?.custom_attributes)
    }

    /// A query that names each of them fails until the frontend knows them all.
    async fn in_effect(&self) -> Result<(), TemporalError> {
        let terms: Vec<String> = SEARCH_ATTRIBUTES
            .iter()
            .map(|(name, _)| format!("{name} IS NULL"))
            .collect();
        let request = CountWorkflowExecutionsRequest {
            namespace: self.namespace().to_owned(),
            query: terms.join(" AND "),
        };
        self.call(request, |mut service, request| async move {
            service.count_workflow_executions(request).await
        })
        .await
        .map(|_| ())
    }

    fn failed(&self, source: TemporalError) -> SearchAttributesError {
        SearchAttributesError::Temporal {
            namespace: self.namespace().to_owned(),
            source,
        }
    }
}

fn missing(
    registered: &HashMap<String, i32>,
    namespace: &str,
) -> Result<BTreeMap<&'static str, IndexedValueType>, SearchAttributesError> {
    let mut missing = BTreeMap::new();
    for (name, want) in SEARCH_ATTRIBUTES {
        match registered.get(name) {
            None => {
                missing.insert(name, want);
            }
            Some(got) if *got != i32::from(want) => {
                return Err(SearchAttributesError::WrongType {
                    namespace: namespace.to_owned(),
                    name,
                    got: IndexedValueType::try_from(*got)
                        .map_or_else(|_| got.to_string(), |got| got.as_str_name().to_owned()),
                    want: want.as_str_name(),
                });
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered() -> HashMap<String, i32> {
        SEARCH_ATTRIBUTES
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), i32::from(*kind)))
            .collect()
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let mut registered = registered();
        assert!(missing(&registered, "ns").unwrap().is_empty());
        registered.remove(name::PRIORITY);
        let missing = missing(&registered, "ns").unwrap();
        assert_eq!(missing.into_keys().collect::<Vec<_>>(), [name::PRIORITY]);
    }

    #[test]
    fn another_type_is_an_error_that_names_it() {
        let mut registered = registered();
        registered.insert(name::SLA_DUE_AT.into(), IndexedValueType::Text.into());
        let error = missing(&registered, "ns").unwrap_err().to_string();
        assert!(
            error.contains("SlaDueAt") && error.contains("TEXT"),
            "{error}"
        );
    }

    #[test]
    fn they_fit_into_sql_visibility() {
        let keywords = SEARCH_ATTRIBUTES
            .iter()
            .filter(|(_, kind)| *kind == IndexedValueType::Keyword)
            .count();
        assert!(keywords <= 10 && SEARCH_ATTRIBUTES.len() - keywords <= 3);
    }
}
