//! What must not stop a workflow.

use std::time::Duration;

use contracts::{TicketState::*, event::WaitingFor, proposal::ProposalKind};
use serde_json::json;
use temporalio_client::WorkflowExecutionStatus;
use temporalio_common::protos::temporal::api::{common::v1::Payload, enums::v1::EventType};
use tokio::time::sleep;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_nobody_can_read_is_healed() {
    let fixture = Fixture::new().await;
    fixture
        .with_worker(async {
            fixture.happen(level(OnSite, WaitingFor::Completion)).await;
            fixture.api.commit(level(OnSite, WaitingFor::Completion));
            for data in [&b"\xff\xfe no JSON"[..], b"", b"[]"] {
                let raw = Payload {
                    metadata: [("encoding".to_owned(), b"binary/plain".to_vec())].into(),
                    data: data.to_vec(),
                    ..Default::default()
                };
                fixture.send_raw(raw).await;
            }
            fixture
                .until("healed", |view| view.applied_seq == 2 && view.healed > 0)
                .await;
        })
        .await;
    let history = fixture.history(None).await;
    assert_eq!(count(&history, EventType::WorkflowTaskFailed), 0);
    replay("unreadable_signals", history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_later_version_is_survived() {
    let fixture = Fixture::new().await;
    fixture
        .with_worker(async {
            fixture.happen(level(OnSite, WaitingFor::Completion)).await;
            let event = fixture.api.commit(level(OnSite, WaitingFor::Completion));
            let mut later = serde_json::to_value(envelope([event])).unwrap();
            later["v"] = json!(7);
            later["events"][0]["event_type"] = json!("drone.landed");
            later["events"][0]["propellers"] = json!(4);
            later["events"][0]["level"]["state"] = json!("IN_ORBIT");
            fixture.send(&later).await;
            let view = fixture.until("healed", |view| view.healed == 1).await;
            assert_eq!(view.applied_seq, 2);
            assert_eq!(view.level.unwrap().state, OnSite);
        })
        .await;
    replay("later_version", fixture.history(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_somebody_ended_by_hand_is_followed_by_one_that_knows_all() {
    for by_hand in ["cancelled", "terminated"] {
        let fixture = Fixture::new().await;
        fixture
            .with_worker(async {
                fixture.happen(level(OnSite, WaitingFor::Completion)).await;
                fixture.until("started", |view| view.applied_seq == 1).await;
                let handle = fixture.handle();
                let status = if by_hand == "cancelled" {
                    handle.cancel(Default::default()).await.unwrap();
                    WorkflowExecutionStatus::Canceled
                } else {
                    handle.terminate(Default::default()).await.unwrap();
                    WorkflowExecutionStatus::Terminated
                };
                let ended = handle.get_result(Default::default()).await;
                assert!(ended.is_err(), "{by_hand}");
                let described = handle.describe(Default::default()).await.unwrap();
                assert_eq!(described.status(), status);
                replay(by_hand, fixture.history(None).await).await;
                fixture.happen(level(OnSite, WaitingFor::Completion)).await;
                let view = fixture
                    .until("followed", |view| view.applied_seq == 2)
                    .await;
                assert_eq!(view.healed, 1);
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatch_api_may_be_away() {
    let fixture = Fixture::new().await;
    fixture.api.truth().away = true;
    fixture
        .with_worker(async {
            fixture.happen(level(New, WaitingFor::Triage)).await;
            let view = fixture
                .until("first failure", |view| view.trouble.is_some())
                .await;
            assert!(view.trouble.unwrap().contains("no answer"));
            // It goes on hearing events, and tries again by itself.
            fixture
                .happen(level(Scheduled, WaitingFor::Assignment))
                .await;
            fixture
                .until("event applied", |view| view.applied_seq == 2)
                .await;
            let calls = || fixture.api.truth().calls.get("advise").copied();
            while calls() < Some(4) {
                sleep(Duration::from_millis(50)).await;
            }
            fixture.api.truth().away = false;
            let view = fixture
                .until("proposal", |view| !view.proposed.is_empty())
                .await;
            assert_eq!(view.proposed, [(ProposalKind::Technician, 2)]);
            assert_eq!(view.trouble, None);
        })
        .await;
    let history = fixture.history(None).await;
    println!("{} events: {:#?}", history.len(), census(&history));
    replay("dispatch_api_away", history).await;
}
