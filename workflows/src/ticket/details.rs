//! What the Temporal Web UI shows of a ticket: readable markdown, no personal data.

use std::fmt::Write as _;

use chrono::SecondsFormat;

use super::follower::TicketFollower;

/// The workflow's current details.
pub fn markdown(follower: &TicketFollower) -> String {
    let mut text = String::new();
    let view = follower.view();
    // Writing to a String cannot fail.
    let _ = match &view.level {
        None => writeln!(text, "Nothing is known of this ticket yet.\n"),
        Some(level) => writeln!(
            text,
            "**{}** · **{}** · **{}** · visit {}\n\n- waits for: {}\n- open approvals: {}",
            level.template,
            level.priority,
            level.state,
            level.visit,
            level.waiting_for,
            level.open_approvals.len(),
        ),
    };
    let _ = match follower.next_deadline() {
        Some((key, at)) => writeln!(
            text,
            "- next deadline: {} {} at {}",
            key.clock,
            key.kind,
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        ),
        None => writeln!(text, "- next deadline: none is running"),
    };
    if let Some(level) = &view.level {
        let _ = writeln!(
            text,
            "- autonomy: {} (proposes, never acts)",
            level.autonomy
        );
    }
    let _ = match view.proposed.iter().max_by_key(|(_, version)| *version) {
        Some((kind, version)) => {
            writeln!(text, "- last proposal: {kind}, on version {version}")
        }
        None => writeln!(text, "- last proposal: none yet"),
    };
    let _ = writeln!(
        text,
        "- follows: event {} of epoch {}, {} snapshots taken",
        view.applied_seq, view.epoch, view.healed
    );
    if let Some(reason) = follower.distrust() {
        let _ = writeln!(text, "- **reads the truth anew**: {reason}");
    }
    if let Some(trouble) = &view.trouble {
        let _ = writeln!(text, "- **trouble**: {trouble}");
    }
    text
}
