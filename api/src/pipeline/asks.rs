//! Which rows a command depends on besides its ticket.

use contracts::{Command, Slug, comms::Channel};
use store::command::{Asks, FilingAsks, Reach, Thing};

use super::Call;

pub(super) fn of(call: &Call) -> Asks {
    let none = Asks {
        kill_switch: call.actor.kind.is_autonomous(),
        ..Asks::default()
    };
    let filing = |thing, code: Option<&Slug>, absences_of| {
        Some(FilingAsks {
            thing,
            code: code.cloned(),
            absences_of,
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
        Command::Complete(_) | Command::ReturnVisit(_) => Asks {
            evidence: true,
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
            filing: filing(Thing::Site, Some(&body.code), None),
            ..none
        },
        Command::UpsertAsset(body) => Asks {
            site: Some(body.site_id),
            filing: filing(Thing::Asset, Some(&body.code), None),
            ..none
        },
        Command::UpsertContact(body) => Asks {
            site: body.site_id,
            filing: filing(Thing::Contact, Some(&body.code), None),
            ..none
        },
        Command::UpsertTechnician(body) => Asks {
            contact: Some(body.contact_id),
            filing: filing(Thing::Technician, Some(&body.code), None),
            ..none
        },
        Command::RecordAbsence(body) => Asks {
            technician: Some(body.technician_id),
            filing: filing(Thing::Absence, None, Some(body.technician_id)),
            ..none
        },
        Command::CancelAbsence(body) => Asks {
            technician: Some(body.technician_id),
            filing: filing(Thing::Absence, None, Some(body.technician_id)),
            ..none
        },
        Command::EngageKillSwitch(_) | Command::ReleaseKillSwitch(_) => Asks {
            filing: filing(Thing::KillSwitch, None, None),
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
