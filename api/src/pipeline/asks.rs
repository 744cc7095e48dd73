//! Which rows a command depends on besides its ticket.

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, Command, Slug,
    command::{CommandClass, EngageKillSwitch, ReleaseKillSwitch},
    comms::Channel,
    value::KeyPrefix,
};
use store::command::{
    AccountAsks, Asks, ControlAsks, FilingAsks, HourAsks, Reach, Thing, WhichAccount,
};

use super::{Call, held::About};

/// For a command on an approval what the command that it holds depends on, and the approval.
pub(super) fn of(call: &Call, about: Option<&About>, at: DateTime<Utc>) -> Asks {
    let Some(about) = about else {
        return of_command(&call.command, call.actor.kind, at);
    };
    let proposer = about.proposer();
    let inner = about
        .inner()
        .map(|inner| of_command(inner, proposer.kind, at));
    let by_itself = call.actor.kind.is_autonomous();
    let lent = (!by_itself).then_some(at);
    let mut asks = inner.unwrap_or_default();
    asks.approval = call.command.approval_id();
    asks.lent = lent;
    asks.hour = None;
    // Only what is carried out with the decision takes the locks of what is held: a comment on a
    // release must stop nobody, and a word on what software asked for waits for no turn of a switch.
    // And who takes them alone must not share them before.
    let carries_out = about.carries_out(call).is_some();
    if !carries_out {
        asks.kill_switch = false;
        asks.wait_for_nobody();
    }
    asks.kill_switch = (asks.kill_switch || by_itself) && !asks.waits_for_software();
    asks
}

/// When what software asks for now takes effect: what it says later counts as an act of now, and as one of
/// its kind in the hour in which it leaves.
pub(super) fn takes_effect_at(command: &Command, at: DateTime<Utc>) -> DateTime<Utc> {
    match command {
        Command::CommsOutbound(body) => body.send_at.map_or(at, |send_at| send_at.max(at)),
        _ => at,
    }
}

fn of_command(command: &Command, kind: ActorKind, at: DateTime<Utc>) -> Asks {
    let operation = command.operation();
    let by_itself = kind.is_autonomous();
    let none = Asks {
        kill_switch: by_itself,
        hour: by_itself.then_some(HourAsks { at, operation }),
        // A template may want evidence at any step.
        evidence: operation.class() == CommandClass::Change
            && operation != contracts::Operation::CreateTicket,
        ..Asks::default()
    };
    let control = |control: ControlAsks| Asks {
        filing: Some(FilingAsks {
            thing: Thing::Control,
            code: None,
            absences_of: None,
            at_site: None,
            scope: None,
            account: None,
        }),
        control: Some(control),
        ..none.clone()
    };
    // A change shares the lock over everything, as software does, and takes its tenant's alone.
    let of_stage = |named: ControlAsks| Asks {
        kill_switch: false,
        ..control(ControlAsks {
            stages: true,
            ..named
        })
    };
    let filing = |thing, code: Option<&Slug>, absences_of, at_site| {
        Some(FilingAsks {
            thing,
            code: code.cloned(),
            absences_of,
            at_site,
            scope: None,
            account: None,
        })
    };
    let account = |which, prefix| Asks {
        filing: filing(Thing::ServiceAccount, None, None, None).map(|asks| FilingAsks {
            account: Some(AccountAsks { which, prefix }),
            ..asks
        }),
        ..none.clone()
    };
    let of_account = |which| account(which, None);
    let of_key = |which, prefix: &KeyPrefix| account(which, Some(prefix.clone()));
    match command {
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
        Command::EngageKillSwitch(EngageKillSwitch { scope, .. })
        | Command::ReleaseKillSwitch(ReleaseKillSwitch { scope, .. }) => Asks {
            filing: Some(FilingAsks {
                thing: Thing::KillSwitch,
                code: None,
                absences_of: None,
                at_site: None,
                scope: Some(scope.key()),
                account: None,
            }),
            // Taken alone, not shared first.
            kill_switch: false,
            ..none
        },
        Command::UpsertServiceAccount(body) => of_account(WhichAccount::Code(body.code.clone())),
        Command::DisableServiceAccount(body) => {
            of_account(WhichAccount::Id(body.service_account_id))
        }
        Command::IssueApiKey(body) => {
            of_key(WhichAccount::Id(body.service_account_id), &body.prefix)
        }
        Command::RotateApiKey(body) => of_key(WhichAccount::Key(body.api_key_id), &body.prefix),
        Command::RevokeApiKey(body) => of_account(WhichAccount::Key(body.api_key_id)),
        Command::RevokeDelegation(body) => control(ControlAsks {
            delegation: Some(body.delegation_id),
            ..ControlAsks::default()
        }),
        Command::PromoteStage(body) => of_stage(ControlAsks {
            report: body.report_sha256.clone(),
            ..ControlAsks::default()
        }),
        Command::DemoteStage(body) => of_stage(ControlAsks {
            coming_to: Some(body.target.clone()),
            ..ControlAsks::default()
        }),
        Command::ApplyStageChange(body) => of_stage(ControlAsks {
            change: Some(body.change),
            ..ControlAsks::default()
        }),
        Command::ActivateBundle(body) => control(ControlAsks {
            bundle: Some(body.sha256.clone()),
            ..ControlAsks::default()
        }),
        Command::RecordDrill(_)
        | Command::DelegateApprovals(_)
        | Command::RecordGateReport(_)
        | Command::UploadBundle(_)
        // The tenant's own row is read by the gate.
        | Command::CreateTenant(_)
        | Command::ConfigureTenant(_)
        | Command::SuspendTenant(_)
        | Command::ResumeTenant(_)
        | Command::RequestTenantDeletion(_)
        | Command::CancelTenantDeletion(_)
        | Command::LimitTenant(_)
        | Command::RecordTenantExport(_) => control(ControlAsks::default()),
        // It passes every switch and takes minutes: whoever stops software must not wait for it.
        Command::EraseTenant(_) => Asks {
            kill_switch: false,
            ..control(ControlAsks::default())
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
        | Command::SetTicketAutonomy(_)
        | Command::DecideApproval(_)
        | Command::AmendApproval(_)
        | Command::WithdrawApproval(_)
        | Command::ChangeApprovalDue(_)
        | Command::RecordApprovalStep(_)
        | Command::ExecuteApproval(_)
        | Command::ClaimApproval(_)
        | Command::ReleaseApproval(_)
        | Command::TakeOverApproval(_)
        | Command::CommentApproval(_)
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

#[cfg(test)]
mod tests {
    use contracts::Operation;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::pipeline::{call::sample, held};

    fn command(operation: Operation, body: Value) -> Command {
        Command::from_parts(operation, body).unwrap()
    }

    #[test]
    fn erasing_a_tenant_keeps_no_switch_from_being_turned() {
        let of = |operation, body| {
            let call = sample(ActorKind::Workflow, command(operation, body));
            super::of(&call, None, DateTime::UNIX_EPOCH)
        };
        let id = contracts::TenantId::from_uuid(Uuid::nil());
        let erase = of(Operation::EraseTenant, json!({ "tenant_id": id }));
        assert!(!erase.kill_switch && !erase.waits_for_software());
        assert!(erase.control.is_some());
        let resume = json!({ "tenant_id": id, "reason": "paid" });
        assert!(of(Operation::ResumeTenant, resume).kill_switch);
    }

    /// Only what carries out what software asked for must not happen under a switch.
    #[test]
    fn a_word_of_people_on_what_software_asked_for_waits_for_no_switch() {
        let about = held::of_software(&command(Operation::AddNote, json!({ "text": "done" })));
        let shares = |kind, operation, more: Value| {
            let mut body = json!({ "approval_id": format!("apr_{}", "0".repeat(32)) });
            let all = body.as_object_mut().unwrap();
            all.extend(more.as_object().unwrap().clone());
            let call = sample(kind, command(operation, body));
            super::of(&call, Some(&about), DateTime::UNIX_EPOCH).kill_switch
        };
        let decide = || json!({ "verdict": "approve" });
        let comment = || json!({ "text": "Is it worth it?" });
        let execute = json!({ "version": 1 });
        let person = ActorKind::Person;
        assert!(!shares(person, Operation::DecideApproval, decide()));
        assert!(!shares(person, Operation::CommentApproval, comment()));
        assert!(shares(person, Operation::ExecuteApproval, execute));
        assert!(shares(
            ActorKind::Agent,
            Operation::CommentApproval,
            comment()
        ));
    }
}
