//! Search attributes have to be known to a namespace before a workflow sets them: an unknown one
//! fails its workflow tasks until it is.

use std::collections::{HashMap, HashSet};

use temporalio_client::{
    Client, NamespacedClient,
    tonic::{Code, IntoRequest, Status},
};
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};
use workflows::ticket::attributes::ALL;

use crate::WorkerError;

/// Registers what is missing; nothing to do the second time.
pub async fn register(client: &Client) -> Result<(), WorkerError> {
    let missing: HashSet<_> = missing(client).await?.into_iter().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let search_attributes: HashMap<_, _> = ALL
        .iter()
        .filter(|(name, _)| missing.contains(name))
        .map(|(name, kind)| ((*name).to_owned(), i32::from(*kind)))
        .collect();
    let request = AddSearchAttributesRequest {
        search_attributes,
        namespace: client.namespace(),
    };
    let added = client
        .connection()
        .operator_service()
        .add_search_attributes(request.into_request())
        .await;
    match added {
        Ok(_) => Ok(()),
        // Somebody else has just done it.
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(refused("register search attributes", status)),
    }
}

/// Names that the namespace does not know with the type that the workflow sets.
pub async fn missing(client: &Client) -> Result<Vec<&'static str>, WorkerError> {
    let request = ListSearchAttributesRequest {
        namespace: client.namespace(),
    };
    let known = client
        .connection()
        .operator_service()
        .list_search_attributes(request.into_request())
        .await
        .map_err(|status| refused("list search attributes", status))?
        .into_inner()
        .custom_attributes;
    let unknown = ALL
        .iter()
        .filter(|(name, kind)| known.get(*name) != Some(&i32::from(*kind)))
        .map(|(name, _)| *name);
    Ok(unknown.collect())
}

fn refused(what: &str, status: Status) -> WorkerError {
    WorkerError::Refused {
        what: what.to_owned(),
        source: Box::new(status),
    }
}
