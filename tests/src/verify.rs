//! The checker of `dispatch verify`, run as operators run it: by the maintenance login, with the key
//! that checkpoints are sealed with.

use std::time::Duration;

use store::{
    seal::SealingKey,
    verify::{Options, Violation, verify},
};

use crate::{database::Database, stack::SEALING_KEY};

/// What must not be, whatever waits for delivery: without a relay everything does.
pub async fn violations(database: &Database) -> Vec<Violation> {
    found(database, None, None).await
}

/// The same, where an event may wait this long.
pub async fn violations_within(database: &Database, delivery: Duration) -> Vec<Violation> {
    found(database, Some(delivery), None).await
}

/// The same, where an audit row may wait this long for its checkpoint.
pub async fn violations_sealed_within(database: &Database, sealing: Duration) -> Vec<Violation> {
    found(database, None, Some(sealing)).await
}

async fn found(
    database: &Database,
    delivery_within: Option<Duration>,
    sealed_within: Option<Duration>,
) -> Vec<Violation> {
    let options = Options {
        sealing_key: Some(SealingKey::new(SEALING_KEY)),
        delivery_within,
        sealed_within,
    };
    let report = verify(&database.maintenance, &options)
        .await
        .expect("the maintenance login may read everything");
    let planted = planted_stages(database).await;
    let known = |violation: &Violation| {
        let at_another = violation
            .what
            .starts_with("software acted at another stage");
        planted.contains(&violation.place) || at_another && !planted.is_empty()
    };
    let found = report.violations.into_iter();
    found.filter(|violation| !known(violation)).collect()
}

/// Stages that a test set past the gates, as `test`: no command wrote them, and the checker says so, of
/// them and of what software did at them.
async fn planted_stages(database: &Database) -> Vec<String> {
    sqlx::query_scalar(
        "select 'autonomy_stages ' || command_id from autonomy_stages where set_by = 'test'
          union all
         select 'stage_changes ' || command_id from stage_changes where decided_by = 'test'",
    )
    .fetch_all(&database.admin)
    .await
    .expect("the superuser may")
}
