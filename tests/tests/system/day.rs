//! A day of `dispatch demo --count`, by the real program against real processes: every answer as
//! its story foresees, every template and transition used, and, played again, nothing done twice.

use dispatch_tests::fleet::{Fleet, with_fleet};
use serde_json::Value;

const DAY: &str = "demo --count 40 --speed max --seed 11 --json";

async fn play(fleet: &Fleet) -> Value {
    let (code, text) = fleet.run(DAY).await;
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

        let first = play(&fleet).await;
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
        let second = play(&fleet).await;
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
