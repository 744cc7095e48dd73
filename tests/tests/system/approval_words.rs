//! What people write with an approval is read by those who have to do with it: who is asked, who asked, and
//! who may read the like elsewhere. All others see the rest of it.

use chrono::{TimeDelta, Timelike, Utc};
use client::{CallOptions, Client};
use contracts::{
    ApprovalId, FreeText, Operation, Role, Slug, TicketState,
    approval::Verdict,
    command::{CommentApproval, DecideApproval, DelegateApprovals, HeldReceipt},
    inbox::{ApprovalDetail, ApprovalFilter},
};
use dispatch_tests::{
    filing::receipt,
    http::key,
    job::{Job, SECRET_WORDS},
    software::platform_token,
    stack::{Stack, with_api},
    who::{Who, mint},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::approvals::bundle_with;

/// Of the word that [`SECRET_WORDS`] are found by.
const NAME: &str = "Quillfeather";

/// It is night, and at night people are asked about these.
async fn at_night(stack: &Stack, operations: &[Operation]) {
    let minute = |hours: i64| {
        let at = Utc::now() + TimeDelta::hours(hours);
        i64::from(at.hour() * 60 + at.minute())
    };
    let body = json!({
        "calendar": { "time_zone": "UTC", "week": [[], [], [], [], [], [], []] },
        "currency": "EUR", "locale": "en",
        "quiet_hours": { "from_minute": minute(-6), "until_minute": minute(6) },
    });
    let path = format!("/tenants/{}/configure", stack.tenant().id);
    let ask = stack.ask(Who::TenantAdmin, Method::POST, path).key(key());
    receipt(&ask.json(&body).send().await);
    bundle_with(stack, "quiet_hours/data.json", |mut data| {
        data["operations"] = json!(operations);
        data["exempt_templates"] = json!([]);
        data
    })
    .await;
}

/// A person of the tenant with these roles.
fn person(stack: &Stack, id: &str, roles: &[Role]) -> Client {
    let mut claims = Who::Auditor.claims(stack.tenant(), Utc::now());
    claims.sub = id.to_owned();
    claims.roles = roles.iter().copied().collect();
    let client = stack.client(stack.tenant(), Who::Auditor);
    client.with_token(mint(&claims))
}

async fn held(
    stack: &Stack,
    who: Who,
    operation: Operation,
    job: &Job,
    body: &Value,
) -> ApprovalId {
    let ask = stack.command(who, operation, job.id(), body).key(key());
    let reply = ask.send().await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let receipt: HeldReceipt = serde_json::from_value(reply.json()).unwrap();
    receipt.approval.id
}

async fn says(client: &Client, approval_id: ApprovalId, text: &str) {
    let comment = CommentApproval {
        approval_id,
        text: FreeText::new(text).unwrap(),
    };
    let options = CallOptions::default();
    client.comment_approval(&comment, &options).await.unwrap();
}

/// The words of the held command and of others that are in it.
fn words(detail: &ApprovalDetail) -> (bool, usize) {
    let command = detail.command.as_ref().map(ToString::to_string);
    let told = command.is_some_and(|command| command.contains(NAME));
    (told, detail.comments.len())
}

#[test]
fn what_is_written_to_a_customer_is_for_those_who_are_asked_who_asked_and_who_read_messages() {
    with_api(async |stack| {
        let tenant = stack.tenant();
        let job = Job::at(&stack, tenant, TicketState::OnSite).await;
        at_night(&stack, &[Operation::CommsOutbound]).await;
        let mut body = job.body(Operation::CommsOutbound).await;
        body["text"] = SECRET_WORDS.into();
        let asker = Who::AccountManager;
        let id = held(&stack, asker, Operation::CommsOutbound, &job, &body).await;
        says(&stack.client(tenant, asker), id, "Quince is her lawyer.").await;
        says(
            &stack.client(tenant, Who::Qa),
            id,
            "Has she seen the photos?",
        )
        .await;
        // The account manager lends the right to decide, to somebody who may read nothing of it.
        let lender = person(&stack, "usr_lender", &[Role::Dispatcher]);
        let lent = DelegateApprovals {
            to: "usr_deputy".to_owned(),
            roles: vec![Role::Dispatcher],
            from: Utc::now() - TimeDelta::minutes(1),
            until: Utc::now() + TimeDelta::hours(1),
            reason: Slug::new("leave").unwrap(),
        };
        let options = CallOptions::default();
        lender.delegate_approvals(&lent, &options).await.unwrap();

        let of = |who: Who| stack.client(tenant, who);
        let (all, none) = ((true, 2), (false, 0));
        let readers = [
            ("the asker", of(asker), all),
            ("who is asked", of(Who::Dispatcher), all),
            (
                "a deputy",
                person(&stack, "usr_deputy", &[Role::Billing]),
                all,
            ),
            ("a reader of messages", of(Who::TenantAdmin), all),
            ("the technician of the job", of(Who::Technician), all),
            ("another technician", of(Who::OtherTechnician), none),
            ("an approver of other things", of(Who::Approver), none),
            ("billing", of(Who::Billing), none),
            ("who said something", of(Who::Qa), (false, 1)),
            ("an auditor", of(Who::Auditor), none),
            (
                "nobody in particular",
                person(&stack, "usr_nobody", &[]),
                none,
            ),
            ("another system", of(Who::Registry), none),
            ("an agent", of(Who::Agent), none),
            ("the workflow", of(Who::Workflow), none),
        ];
        for (name, client, expected) in &readers {
            let detail = client.approval(id).await.unwrap();
            assert_eq!(words(&detail), *expected, "{name}");
            assert_eq!(detail.withheld, *expected != all, "{name}");
            // What is no word is there for everybody.
            let request = &detail.summary.approval.request;
            let chars = SECRET_WORDS.chars().count();
            assert_eq!(request["text"], json!({ "chars": chars }), "{name}");
            let whole = serde_json::to_string(&detail).unwrap();
            assert_eq!(whole.contains(NAME), expected.0, "{name}");
            assert_eq!(whole.contains("Quince"), *expected == all, "{name}");
            let list = client.approvals(&ApprovalFilter::default()).await.unwrap();
            assert_eq!(list.items.len(), 1, "{name}");
            let list = serde_json::to_string(&list).unwrap();
            assert!(!list.contains(NAME) && !list.contains("Quince"), "{name}");
        }
        // It is read on by those when it is over.
        let no = DecideApproval {
            approval_id: id,
            verdict: Verdict::Reject,
            reason: Some(Slug::new("by_day").unwrap()),
            version: None,
        };
        of(Who::Dispatcher).decide(&no, &options).await.unwrap();
        for (name, client, expected) in &readers {
            let detail = client.approval(id).await.unwrap();
            assert_eq!(words(&detail), *expected, "{name}");
        }
    });
}

#[test]
fn where_nobody_has_written_anything_nothing_is_left_out() {
    with_api(async |stack| {
        let tenant = stack.tenant();
        let job = Job::at(&stack, tenant, TicketState::ScheduleProposed).await;
        at_night(&stack, &[Operation::ConfirmSchedule]).await;
        let body = job.body(Operation::ConfirmSchedule).await;
        let id = held(
            &stack,
            Who::Dispatcher,
            Operation::ConfirmSchedule,
            &job,
            &body,
        )
        .await;
        let billing = stack.client(tenant, Who::Billing);
        let detail = billing.approval(id).await.unwrap();
        let command = detail.command.expect("it holds no word");
        assert_eq!(command["body"], detail.summary.approval.request);
        assert!(!detail.withheld);
        // Software is shown none, and is told of none that was left out.
        let agent = stack.client(tenant, Who::Agent);
        let detail = agent.approval(id).await.unwrap();
        assert_eq!((detail.command, detail.withheld), (None, false));
    });
}

#[test]
fn what_is_said_about_a_switch_is_for_those_who_see_how_far_software_may_go() {
    with_api(async |stack| {
        let tenant = stack.tenant();
        let admin = stack.client(tenant, Who::TenantAdmin);
        let scope = json!({ "reason": "drill", "scope": { "kind": "everything" } });
        let mut last = None;
        for operation in [Operation::EngageKillSwitch, Operation::ReleaseKillSwitch] {
            let ask = stack.http().command(operation, None, &scope);
            last = Some(ask.token(platform_token(tenant.id)).key(key()).send().await);
        }
        let asked = last.unwrap();
        assert_eq!(asked.status, 202, "{}", asked.text());
        let asked: HeldReceipt = serde_json::from_value(asked.json()).unwrap();
        let id = asked.approval.id;
        says(&admin, id, SECRET_WORDS).await;
        for (who, read) in [
            (Who::TenantAdmin, 1),
            (Who::Auditor, 1),
            (Who::Dispatcher, 1),
            (Who::Billing, 0),
            (Who::Qa, 0),
            (Who::Technician, 0),
            (Who::Agent, 0),
        ] {
            let detail = stack.client(tenant, who).approval(id).await.unwrap();
            assert_eq!(detail.comments.len(), read, "{who:?}");
            assert_eq!(detail.withheld, read == 0, "{who:?}");
        }
    });
}
