//! Which rows a command depends on besides its ticket.

use contracts::{Command, Slug, command::CommandClass, comms::Channel};
use store::command::{Asks, FilingAsks, Reach, Thing};

use super::Call;

pub(super) fn of(call: &Call) -> Asks {
    let none = Asks {
        kill_switch: call.actor.kind.is_autonomous(),
        // A template may want evidence at any step.
        evidence: call.ticket_id.is_some()
            && call.command.operation().class() == CommandClass::Change,
        ..Asks::default()
    };
    let filing = |thing, code: Option<&Slug>, absences_of, at_site| {
        Some(FilingAsks {
            thing,
            code: code.cloned(),
            absences_of,
            at_site,
        })
    };
    match &call.command {
        Command::CreateTicket(body) => Asks {
            site: Some(body.site_id),
            asset: body.asset_id,
            contact: body.contact_id,
            ..none
        },
        Command::Dispatch(body) => Asks {
            technician: Some(body.technician_id),
            ..none
        },
        Command::DecideApproval(body) => Asks {
            approval: Some(body.approval_id),
            ..none
        },
        Command::Merge(body) => Asks {
            merge_into: Some(body.into),
            ..none
        },
        Command::GenerateInvoice(_) => Asks {
            invoice: true,
            ..none
        },
        Command::Reopen(_) => Asks {
            credit_note: true,
            ..none
        },
        Command::CommsOutbound(body) => Asks {
            contact: Some(body.contact_id),
            reach: Some(reach(body.channel)),
            ..none
        },
        Command::AttachMessage(body) => Asks {
            held_message: Some(body.message_id),
            ..none
        },
        // Its route was found before, with the site.
        Command::CommsInbound(_) => none,
        Command::UpsertSite(body) => Asks {
            filing: filing(Thing::Site, Some(&body.code), None, None),
            ..none
        },
        Command::UpsertAsset(body) => Asks {
            filing: filing(Thing::Asset, Some(&body.code), None, Some(body.site_id)),
            ..none
        },
        Command::UpsertContact(body) => Asks {
            filing: filing(Thing::Contact, Some(&body.code), None, body.site_id),
            ..none
        },
        Command::UpsertTechnician(body) => Asks {
            contact: Some(body.contact_id),
            filing: filing(Thing::Technician, Some(&body.code), None, None),
            ..none
        },
        Command::RecordAbsence(body) => Asks {
            filing: filing(Thing::Absence, None, Some(body.technician_id), None),
            ..none
        },
        Command::CancelAbsence(body) => Asks {
            filing: filing(Thing::Absence, None, Some(body.technician_id), None),
            ..none
        },
        Command::EngageKillSwitch(_) | Command::ReleaseKillSwitch(_) => Asks {
            filing: filing(Thing::KillSwitch, None, None, None),
            ..none
        },
        Command::Triage(_)
        | Command::ProposeSchedule(_)
        | Command::ConfirmSchedule(_)
        | Command::Reschedule(_)
        | Command::Unassign(_)
        | Command::EnRoute(_)
        | Command::CheckIn(_)
        | Command::NoAccess(_)
        | Command::RequestChange(_)
        | Command::ReturnVisit(_)
        | Command::Complete(_)
        | Command::QaVerify(_)
        | Command::QaReject(_)
        | Command::Close(_)
        | Command::Cancel(_)
        | Command::CustomerAwait(_)
        | Command::CustomerResume(_)
        | Command::AddNote(_)
        | Command::RecordProposal(_)
        | Command::RecordSla(_)
        | Command::AddEvidence(_) => none,
    }
}

/// What a contact must have to be reached on a channel.
fn reach(channel: Channel) -> Reach {
    match channel {
        Channel::Sms | Channel::Whatsapp | Channel::Voice => Reach::Phone,
        Channel::Email => Reach::Email,
        Channel::Web | Channel::Operations => Reach::Nowhere,
    }
}
