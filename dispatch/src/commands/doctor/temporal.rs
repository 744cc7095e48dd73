//! Temporal: reachable, namespace, search attributes, worker version.

use temporalio_client::{
    NamespacedClient,
    tonic::{Code, IntoRequest},
};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;

use super::Check;
use crate::{
    config::Settings,
    exit::{Failure, chain},
    parts,
    temporal::Temporal,
};

/// All checks of Temporal; only the first when it cannot be reached.
pub async fn check(settings: &Settings) -> Vec<Check> {
    const SERVER: &str = "Temporal";
    let connected = async {
        let temporal = Temporal::new(&settings.temporal)?;
        let client = temporal.connect().await?;
        Ok::<_, Failure>((temporal, client))
    };
    let (temporal, client) = match connected.await {
        Ok(connected) => connected,
        Err(failure) => {
            let to_do = "start it, or correct TEMPORAL_ADDRESS; until then events wait in the \
                         outbox and nothing is lost";
            return vec![Check::ill(SERVER, failure.message, to_do)];
        }
    };
    let mut checks = vec![Check::ok(SERVER, temporal.connection.target.to_string())];
    checks.push(namespace(&client).await);
    checks.push(search_attributes(settings).await);
    checks.push(worker(settings, &client).await);
    checks
}

async fn namespace(client: &temporalio_client::Client) -> Check {
    const PART: &str = "namespace";
    let name = client.namespace();
    let request = DescribeNamespaceRequest {
        namespace: name.clone(),
        ..Default::default()
    };
    let answer = client
        .connection()
        .workflow_service()
        .describe_namespace(request.into_request())
        .await;
    match answer {
        Ok(_) => Check::ok(PART, name),
        Err(status) if status.code() == Code::NotFound => Check::ill(
            PART,
            format!("there is no namespace {name}"),
            format!(
                "`temporal operator namespace create -n {name}`, or correct TEMPORAL_NAMESPACE"
            ),
        ),
        Err(status) => Check::ill(PART, status.message().to_owned(), "check the permissions"),
    }
}

async fn search_attributes(settings: &Settings) -> Check {
    let found = async {
        let temporal = parts::relay_client(settings).map_err(|failure| failure.message)?;
        temporal
            .check_search_attributes()
            .await
            .map(|()| "registered".to_owned())
            .map_err(|error| chain(&error))
    };
    Check::from("search attributes", found.await, "run `dispatch migrate`")
}

async fn worker(settings: &Settings, client: &temporalio_client::Client) -> Check {
    const PART: &str = "worker version";
    let ours = parts::version(settings);
    let status = match worker::status(client, &ours.deployment).await {
        Ok(status) => status,
        Err(error) => return Check::ill(PART, chain(&error), "check the permissions"),
    };
    match status.current {
        None => Check::ill(
            PART,
            "no version is current: no workflow moves",
            "start a worker, then run `dispatch worker promote`",
        ),
        Some(current) if status.pollers == 0 => Check::ill(
            PART,
            format!("{current} is current, but no worker polled in the last minute"),
            "start it with `dispatch worker`",
        ),
        Some(current) if current != ours.build_id => Check::ill(
            PART,
            format!("{current} is current, this program is {}", ours.build_id),
            "when workers of this version run: `dispatch worker promote`",
        ),
        Some(current) => Check::ok(
            PART,
            format!("{current} is current, {} pollers", status.pollers),
        ),
    }
}
