//! The job: a smashed shopfront pane. First visit: board up; second visit: the new pane.

use chrono::{DateTime, Datelike, Days, NaiveTime, TimeDelta, Utc, Weekday};
use contracts::{
    ErrorCode, FreeText, Operation, Priority, Slug, TechnicianId, TicketState,
    approval::Verdict,
    command::*,
    proposal::{Choice, Considered, PairingOutcome, Proposal, ProposalKind, Ranked},
    schedule::TimeWindow,
    ticket::{EvidenceRef, InvoiceLine, Part},
    ticket_workflow_id,
    value::{DetailValue, TemplateId},
};
use sha2::{Digest, Sha256};

use super::{
    Stage,
    cast::{Cast, Member},
    line::Line,
    play::Play,
};
use crate::exit::Failure;

/// Plays the whole job.
pub async fn run(play: &mut Play<'_>, cast: &Cast, stage: &Stage) -> Result<(), Failure> {
    play.say(&Line::Scene {
        title: "A shopfront pane is smashed",
    })?;
    intake(play, cast, stage).await?;
    play.say(&Line::Scene {
        title: "First visit: make it safe",
    })?;
    schedule(play, cast, first_window(Utc::now()), true).await?;
    let technician = send(play, cast, 0).await?;
    let boarder = cast.technician(technician)?;
    arrive(play, boarder).await?;
    change_order(play, cast, boarder).await?;
    board_up(play, boarder).await?;
    play.say(&Line::Scene {
        title: "Second visit: the new pane",
    })?;
    schedule(play, cast, second_window(Utc::now()), false).await?;
    let technician = send(play, cast, 1).await?;
    let glazier = cast.technician(technician)?;
    arrive(play, glazier).await?;
    fit_pane(play, glazier).await?;
    play.say(&Line::Scene {
        title: "Quality, invoice, end",
    })?;
    settle(play, cast).await
}

async fn intake(play: &mut Play<'_>, cast: &Cast, stage: &Stage) -> Result<(), Failure> {
    let world = &stage.world;
    let body = CreateTicket {
        site_id: world.site,
        asset_id: Some(world.asset),
        contact_id: Some(world.contact),
        template: template(),
        priority: None,
        details: [(slug("public_hazard"), DetailValue::Flag(true))].into(),
        description: Some(
            FreeText::new("Shopfront pane smashed, glass on the pavement.").expect("a sentence"),
        ),
    };
    play.act(
        &cast.intake,
        Operation::CreateTicket,
        &body,
        "emergency glass at a seeded site, a public hazard; what the caller said is kept as a note",
    )
    .await?;
    let ticket = play.ticket()?.id;
    play.say(&Line::Workflow {
        ticket,
        workflow_id: ticket_workflow_id(world.tenant, ticket),
        link: stage.temporal.link(world.tenant, ticket),
    })?;
    play.clocks(Utc::now())?;

    let triage = Triage {
        priority: Priority::P1,
        template: None,
        details: [(slug("pane_count"), DetailValue::Number(1))].into(),
    };
    play.refused(
        &cast.billing,
        Operation::Triage,
        &triage,
        ErrorCode::Forbidden,
        false,
    )
    .await?;
    let proposal = proposed(play, cast, ProposalKind::Triage).await?;
    play.act(&cast.dispatcher, Operation::Triage, &triage, "P1, one pane")
        .await?;
    paired(play, cast, &proposal).await?;
    play.expect_state(TicketState::Triaged)?;
    // A P1 may be sent without a window, so the workflow thinks of it now; here the customer wants
    // one. The answer is waited for so that each run of the demo has the same proposals.
    proposed(play, cast, ProposalKind::Technician).await?;
    Ok(())
}

async fn schedule(
    play: &mut Play<'_>,
    cast: &Cast,
    window: TimeWindow,
    customer_is_slow: bool,
) -> Result<(), Failure> {
    let about = format!(
        "{} to {} UTC",
        window.start.format("%a %d %b %H:%M"),
        window.end.format("%H:%M")
    );
    play.act(
        &cast.dispatcher,
        Operation::ProposeSchedule,
        &ProposeSchedule { window },
        about,
    )
    .await?;
    if customer_is_slow {
        let reason = slug("window_offered");
        play.act(
            &cast.dispatcher,
            Operation::CustomerAwait,
            &CustomerAwait { reason },
            "the customer has to answer: the clocks stand still",
        )
        .await?;
        play.clocks(Utc::now())?;
        play.act(
            &cast.dispatcher,
            Operation::CustomerResume,
            &CustomerResume {},
            "they answered: the clocks run, deadlines moved by the wait",
        )
        .await?;
    }
    play.act(
        &cast.dispatcher,
        Operation::ConfirmSchedule,
        &ConfirmSchedule {},
        "the customer took the window",
    )
    .await?;
    play.expect_state(TicketState::Scheduled)
}

/// Sends whom the workflow ranks at `rank` (0: its favourite), or the last it ranks. When it finds
/// nobody free (an earlier demo was broken off), the dispatcher sends the first technician anyway.
async fn send(play: &mut Play<'_>, cast: &Cast, rank: usize) -> Result<TechnicianId, Failure> {
    let proposal = proposed(play, cast, ProposalKind::Technician).await?;
    let ranked = &proposal.advice.ranked;
    let chosen = ranked
        .get(rank)
        .or(ranked.last())
        .map(|ranked| &ranked.choice);
    let technician_id = match chosen {
        Some(Choice::Dispatch { technician_id, .. }) => *technician_id,
        _ => cast.first_technician()?,
    };
    let technician = cast.technician(technician_id)?;
    play.refused(
        technician,
        Operation::CheckIn,
        &CheckIn {},
        // Not assigned yet, so it is refused before the state is looked at.
        ErrorCode::Forbidden,
        false,
    )
    .await?;
    let body = Dispatch {
        technician_id,
        eta: None,
    };
    let about = format!("sends {}", technician.name);
    play.act(&cast.dispatcher, Operation::Dispatch, &body, about)
        .await?;
    paired(play, cast, &proposal).await?;
    play.expect_state(TicketState::Dispatched)?;
    Ok(technician_id)
}

async fn arrive(play: &mut Play<'_>, technician: &Member) -> Result<(), Failure> {
    let eta = Utc::now() + TimeDelta::minutes(20);
    play.act(
        technician,
        Operation::EnRoute,
        &EnRoute { eta: Some(eta) },
        format!("there at {} UTC", eta.format("%H:%M")),
    )
    .await?;
    play.act(technician, Operation::CheckIn, &CheckIn {}, "")
        .await?;
    play.expect_state(TicketState::OnSite)
}

async fn change_order(
    play: &mut Play<'_>,
    cast: &Cast,
    technician: &Member,
) -> Result<(), Failure> {
    let body = RequestChange {
        scope: slug("laminated_pane"),
        price_delta_cents: 35_000,
        note: Some(FreeText::new("Needs laminated glass at this height.").expect("a sentence")),
    };
    let receipt = play
        .act(
            technician,
            Operation::RequestChange,
            &body,
            "laminated glass, 350.00 more than agreed: work stops until somebody approves",
        )
        .await?;
    let approval_id = receipt
        .approval_id
        .ok_or_else(|| Failure::failed("the answer to request_change names no approval"))?;
    let body = DecideApproval {
        approval_id,
        verdict: Verdict::Approve,
        reason: Some(slug("safety_glass_required")),
        version: None,
    };
    play.refused(
        technician,
        Operation::DecideApproval,
        &body,
        ErrorCode::Forbidden,
        false,
    )
    .await?;
    let nte = play.ticket()?.nte_cents;
    play.act(
        &cast.account_manager,
        Operation::DecideApproval,
        &body,
        format!(
            "approved: the not-to-exceed amount rises from {} to {}",
            money(nte),
            money(nte + 35_000)
        ),
    )
    .await?;
    play.expect_state(TicketState::OnSite)
}

async fn board_up(play: &mut Play<'_>, technician: &Member) -> Result<(), Failure> {
    let body = ReturnVisit {
        reason: slug("pane_to_be_ordered"),
        parts: vec![Part {
            sku: slug("laminated_pane_8mm"),
            quantity: 1,
        }],
        evidence: vec![evidence("photo_before"), evidence("photo_made_safe")],
    };
    play.act(
        technician,
        Operation::ReturnVisit,
        &body,
        "boarded up, two photos, a pane to be ordered: another visit is needed",
    )
    .await?;
    play.clocks(Utc::now())?;
    play.expect_state(TicketState::ReturnPending)
}

async fn fit_pane(play: &mut Play<'_>, technician: &Member) -> Result<(), Failure> {
    let mut body = Complete {
        evidence: vec![evidence("photo_after")],
    };
    play.refused(
        technician,
        Operation::Complete,
        &body,
        ErrorCode::PolicyDenied,
        false,
    )
    .await?;
    body.evidence.push(evidence("signature"));
    play.act(
        technician,
        Operation::Complete,
        &body,
        "pane fitted, photo and signature",
    )
    .await?;
    play.expect_state(TicketState::WorkComplete)
}

async fn settle(play: &mut Play<'_>, cast: &Cast) -> Result<(), Failure> {
    // Wrong state: nothing is invoiced before quality has looked at it.
    let mut body = GenerateInvoice {
        lines: vec![
            line("call_out", 1, 9_500),
            line("labour_hour", 3, 7_800),
            line("laminated_pane_8mm", 1, 62_000),
        ],
    };
    play.refused(
        &cast.billing,
        Operation::GenerateInvoice,
        &body,
        ErrorCode::IllegalTransition,
        false,
    )
    .await?;
    play.act(&cast.qa, Operation::QaVerify, &QaVerify {}, "looks right")
        .await?;
    body.lines.push(line("express_delivery", 1, 90_000));
    play.refused(
        &cast.billing,
        Operation::GenerateInvoice,
        &body,
        ErrorCode::PolicyDenied,
        true,
    )
    .await?;
    body.lines.pop();
    let total: i64 = body
        .lines
        .iter()
        .map(|l| l.unit_cents * i64::from(l.quantity))
        .sum();
    play.act(
        &cast.billing,
        Operation::GenerateInvoice,
        &body,
        format!("{} within the not-to-exceed amount", money(total)),
    )
    .await?;
    let body = Close {
        no_charge_reason: None,
    };
    play.act(&cast.billing, Operation::Close, &body, "").await?;
    play.clocks(Utc::now())?;
    play.expect_state(TicketState::Closed)
}

async fn proposed(
    play: &mut Play<'_>,
    cast: &Cast,
    kind: ProposalKind,
) -> Result<Proposal, Failure> {
    let proposal = play.proposal(&cast.dispatcher, kind).await?;
    let words = words(cast, &proposal);
    play.say(&Line::Proposed {
        proposal: Box::new(proposal.clone()),
        words,
    })?;
    Ok(proposal)
}

/// The pair is made by the same transaction as the act, so it is there when the act was answered.
async fn paired(play: &mut Play<'_>, cast: &Cast, proposal: &Proposal) -> Result<(), Failure> {
    let again = play.reread(&cast.dispatcher, proposal).await?;
    let Some(pairing) = again.pairing else {
        return play.check(
            "pairing",
            false,
            format!("{} was not paired with what the person did", proposal.id),
        );
    };
    let words = match pairing.outcome {
        PairingOutcome::Same => "the person did what the workflow would have done",
        PairingOutcome::Equivalent => "the person did what the workflow ranked lower",
        PairingOutcome::Different => "the person did something else",
        PairingOutcome::Nothing => "the person moved on without it",
    };
    play.say(&Line::Paired {
        pairing,
        words: words.to_owned(),
    })
}

fn words(cast: &Cast, proposal: &Proposal) -> Vec<String> {
    let ranked = proposal.advice.ranked.iter().enumerate().take(3);
    let mut words: Vec<_> = ranked
        .map(|(index, ranked)| format!("{}. {}", index + 1, ranked_words(cast, ranked)))
        .collect();
    for out in &proposal.advice.excluded {
        let Considered::TechnicianId(technician_id) = out.what else {
            continue;
        };
        let failed: Vec<_> = out.failed.iter().map(Slug::as_str).collect();
        words.push(format!(
            "–  not {}: {}",
            cast.name(technician_id),
            failed.join(", ")
        ));
    }
    words
}

fn ranked_words(cast: &Cast, ranked: &Ranked) -> String {
    let choice = match &ranked.choice {
        Choice::Triage { template, priority } => format!("{template} {priority}"),
        Choice::Dispatch { technician_id, eta } => format!(
            "{}, there {} UTC",
            cast.name(*technician_id),
            eta.format("%d %b %H:%M")
        ),
        other => other.kind().to_string(),
    };
    let factors: Vec<_> = ranked
        .factors
        .iter()
        .map(|factor| format!("{} {} ({:+})", factor.name, factor.value, factor.points))
        .collect();
    format!("{choice}; score {}: {}", ranked.score, factors.join(", "))
}

/// Now, as it is an emergency.
fn first_window(now: DateTime<Utc>) -> TimeWindow {
    let start = now + TimeDelta::minutes(5);
    TimeWindow {
        start,
        end: start + TimeDelta::hours(3),
    }
}

/// The morning of the first working day from the day after tomorrow.
fn second_window(now: DateTime<Utc>) -> TimeWindow {
    let mut day = now.date_naive() + Days::new(2);
    while matches!(day.weekday(), Weekday::Sat | Weekday::Sun) {
        day = day + Days::new(1);
    }
    let at = |hour| {
        let time = NaiveTime::from_hms_opt(hour, 0, 0).expect("a whole hour of the day");
        day.and_time(time).and_utc()
    };
    TimeWindow {
        start: at(9),
        end: at(12),
    }
}

/// Names a file that a phone would have uploaded; here its content is its name.
fn evidence(kind: &str) -> EvidenceRef {
    EvidenceRef {
        kind: slug(kind),
        sha256: hex::encode(Sha256::digest(kind)),
    }
}

fn line(item: &str, quantity: u32, unit_cents: i64) -> InvoiceLine {
    InvoiceLine {
        item: slug(item),
        quantity,
        unit_cents,
    }
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn template() -> TemplateId {
    TemplateId::new("emergency_glass").expect("a machine word")
}

fn slug(word: &str) -> Slug {
    Slug::new(word).expect("this file uses machine words only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_visit_is_on_a_working_day_in_the_future() {
        for day in 1..=14 {
            let now: DateTime<Utc> = format!("2026-11-{day:02}T23:30:00Z").parse().unwrap();
            let window = second_window(now);
            assert!(window.start > now + TimeDelta::days(1));
            assert!(!matches!(
                window.start.weekday(),
                Weekday::Sat | Weekday::Sun
            ));
        }
    }

    #[test]
    fn words_of_the_script_are_machine_words() {
        evidence("photo_made_safe");
        template();
        assert_eq!(money(115_005), "1150.05");
    }
}
