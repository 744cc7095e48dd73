//! Temporal is away: dispatch-api goes on, the relay waits without blaming anybody, then drains.

use std::net::{SocketAddr, TcpListener};

use contracts::{Operation, TicketState};
use dispatch_tests::{
    database::Database,
    flow::{Flow, FlowOptions, HEALING, check},
    http::Http,
    job::Job,
    namespace::Namespace,
    servers,
    wait::{self, BOUND},
};
use embedded::{TemporalOptions, TemporalServer};
use relay::RelayConfig;

/// The value of a metric of the relay; of all its series together.
async fn metric(at: SocketAddr, name: &str) -> f64 {
    let page = Http::new(format!("http://{at}")).bare(reqwest::Method::GET, "/metrics");
    let text = page.send().await.text();
    let series = text.lines().filter(|line| line.starts_with(name));
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn nothing_is_lost_while_temporal_is_away() {
    servers::run(|| async {
        // Says in the usual way what is missing if there is no Temporal to be had.
        servers::temporal().await;
        let folder = tempfile::tempdir().unwrap();
        let mut server = TemporalServer::resolve_and_start(TemporalOptions {
            db_file: Some(folder.path().join("temporal.db")),
            ui: false,
            ..TemporalOptions::default()
        })
        .await
        .unwrap();
        let namespace = Namespace::create_on(server.address()).await;
        let options = FlowOptions {
            relay: false,
            ..FlowOptions::default()
        };
        let flow = Flow::on(Database::create().await, namespace, options).await;
        let metrics: SocketAddr = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        flow.start_relay_with(RelayConfig {
            metrics_listen: metrics,
            ..flow.relay_config()
        });
        let mut jobs = Vec::new();
        for _ in 0..5 {
            jobs.push(Job::at(&flow, flow.tenant(), TicketState::Triaged).await);
        }
        flow.settle().await;

        // Away in the middle of the work.
        server.stop().await;
        for job in &mut jobs {
            job.does(Operation::ProposeSchedule).await;
            job.does(Operation::ConfirmSchedule).await;
        }
        jobs.push(Job::at(&flow, flow.tenant(), TicketState::Dispatched).await);
        let waiting = flow.pending().await;
        assert_eq!(waiting, 5 * 2 + 5);
        // The breaker opens, tries, and opens again, several times.
        wait::until("the breaker", BOUND, async || {
            let tries = metric(metrics, "dispatch_relay_errors_total{class=\"systemic\"}").await;
            let open = metric(metrics, "dispatch_relay_breaker_open").await;
            if tries >= 3.0 && open == 1.0 {
                Ok(())
            } else {
                Err((tries, open))
            }
        })
        .await;
        assert_eq!(flow.pending().await, waiting);

        server.restart().await.unwrap();
        wait::until("the backlog", HEALING, async || {
            match flow.pending().await {
                0 => Ok(()),
                n => Err(n),
            }
        })
        .await;
        flow.settle().await;
        // Nobody was blamed: no try was used up, nothing was parked.
        let blamed: i64 = sqlx::query_scalar(
            "select count(*) from outbox_events where attempts > 0 or parked_at is not null",
        )
        .fetch_one(flow.admin())
        .await
        .unwrap();
        assert_eq!(blamed, 0);
        check(flow.database()).await;
        flow.end().await;
        server.shutdown().await;
    });
}
