//! A day of `dispatch demo --count`, by the real program against real processes: every answer as
//! its story foresees, every template and transition used, and, played again, nothing done twice. Also
//! where it sends more than its tenant may.

use dispatch_tests::{
    fleet::{Fleet, ProcessRole, with_fleet},
    http::Http,
};
use reqwest::Method;
use serde_json::Value;

const DAY: &str = "demo --count 40 --speed max --seed 11 --json";

async fn play(fleet: &Fleet, day: &str) -> Value {
    let (code, text) = fleet.run(day).await;
    let outcome: Value = serde_json::from_str(&text).unwrap_or_default();
    let failures = &outcome["failures"];
    let differences = &outcome["records"]["differences"];
    assert_eq!(code, Some(0), "{failures:#}\n{differences:#}");
    outcome
}

/// Tickets and attempts with effect, of people and systems; what workflows record comes when it
/// comes.
async fn effects(fleet: &Fleet) -> (i64, i64) {
    sqlx::query_as(
        "select (select count(*) from tickets),
                (select count(*) from audit_events where refused is null and actor_kind <> 'workflow')",
    )
    .fetch_one(fleet.admin())
    .await
    .unwrap()
}

#[test]
fn a_day_uses_everything_and_a_day_again_does_nothing_twice() {
    with_fleet(async |fleet| {
        store::seed::demo(fleet.admin()).await.unwrap();
        fleet.start_all().await;

        let first = play(&fleet, DAY).await;
        assert!(first["tickets"].as_u64() >= Some(40), "{first:#}");
        assert!(first["refused_as_expected"].as_u64() > Some(0), "{first:#}");
        for part in ["templates", "transitions"] {
            let not_met = &first["coverage"][part]["not_met"];
            assert_eq!(
                not_met.as_array().map(Vec::len),
                Some(0),
                "{part}: {not_met}"
            );
        }
        assert_eq!(first["records"]["workflows"], first["tickets"]);

        let before = effects(&fleet).await;
        let second = play(&fleet, DAY).await;
        assert_eq!(effects(&fleet).await, before);
        for same in [
            "tickets",
            "done",
            "refused_as_expected",
            "repeated",
            "states",
        ] {
            assert_eq!(first[same], second[same], "{same}");
        }
    });
}

/// With `--speed max` a day sends as fast as it can, so it may send more than the usual limits let in:
/// it waits for as long as it is told, and nothing of it fails or is left out.
#[test]
fn a_day_that_sends_more_than_it_may_waits_and_ends_well() {
    with_fleet(async |fleet| {
        store::seed::demo(fleet.admin()).await.unwrap();
        let narrow = [
            ("DISPATCH_LIMITS_COMMANDS_PER_SECOND", "10"),
            ("DISPATCH_LIMITS_COMMAND_BURST", "5"),
            ("DISPATCH_LIMITS_READS_PER_SECOND", "20"),
            ("DISPATCH_LIMITS_READ_BURST", "20"),
        ];
        for role in ProcessRole::ALL {
            fleet.start(role, &narrow);
        }
        fleet.serving().await;
        fleet.promote().await;

        let outcome = play(&fleet, "demo --count 12 --speed max --seed 11 --json").await;
        assert!(outcome["tickets"].as_u64() >= Some(12), "{outcome:#}");
        assert_eq!(outcome["records"]["workflows"], outcome["tickets"]);
        let at = format!("http://{}", fleet.metrics_at(ProcessRole::Api));
        let page = Http::new(at).bare(Method::GET, "/metrics").send().await;
        let refused = r#"dispatch_limited_total{reason="commands"} "#;
        let page = page.text();
        let refused = page.lines().find_map(|line| line.strip_prefix(refused));
        let refused: u64 = refused.unwrap_or("0").parse().unwrap();
        assert!(refused > 0, "it never sent more than it may: {page}");
    });
}
