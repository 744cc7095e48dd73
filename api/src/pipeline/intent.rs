//! What a call asks for: the text that its idempotency key stands for, and the part of it that may
//! be kept.

use contracts::{
    ActorKind, Command,
    canonical::canonical_json,
    masking::{admitted_details, masked},
    policy::PolicyInput,
    template::IncidentTemplate,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::command::BesideRow;

use super::Call;

/// A call's body in two shapes.
pub(super) struct Intent {
    /// SHA-256 over operation, ticket, body and expected version: the same key with another hash is
    /// a mismatch.
    pub sha256: [u8; 32],
    /// The body without free text, for audit and policy.
    pub payload: Value,
}

impl Intent {
    pub(super) fn of(call: &Call) -> Self {
        let mut document = json!({
            "operation": call.command.operation(),
            "ticket_id": call.ticket_id,
            "body": essence(call),
            "expected_version": call.expected_version,
        });
        // Somebody of the tenant may have the same name as somebody of the platform.
        if let Some(home) = call.home {
            document["home"] = json!(home);
        }
        let text = canonical_json(&document).expect("a JSON value always serialises");
        Self {
            sha256: Sha256::digest(text).into(),
            payload: payload(&call.command),
        }
    }

    /// What is kept is what an approval carries out, and who proposed and approved it.
    pub(super) fn carries_out(&mut self, input: &PolicyInput) {
        let release = input.release.as_ref();
        let mut payload = input.body.clone();
        if let (Some(members), Some(release)) = (payload.as_object_mut(), release) {
            let approved_by: Vec<_> = release.votes.iter().map(|vote| &vote.actor_id).collect();
            members.insert(
                "approval".into(),
                json!({
                    "approval_id": release.approval_id,
                    "proposed_by": release.proposer.id,
                    "approved_by": approved_by,
                }),
            );
        }
        self.payload = payload;
    }

    /// The decision on what a last yes `released`, or on what was `amended`: its hash puts it under the
    /// chain.
    pub(super) fn names(&mut self, what: &str, beside: &BesideRow<'_>) {
        if let Some(members) = self.payload.as_object_mut() {
            members.insert(
                what.into(),
                json!({
                    "operation": beside.operation,
                    "decision_id": beside.id,
                    "decision_sha256": beside.decision.sha256(),
                }),
            );
        }
    }

    /// The body of a command that an approval holds, masked in the same way.
    pub(super) fn of_held(command: &Command, template: Option<&IncidentTemplate>) -> Value {
        let mut held = Self {
            sha256: [0; 32],
            payload: payload(command),
        };
        held.hide_unlisted_details(command, template);
        held.payload
    }

    /// Keeps no detail that the template does not list.
    pub(super) fn hide_unlisted_details(
        &mut self,
        command: &Command,
        template: Option<&IncidentTemplate>,
    ) {
        let details = match command {
            Command::CreateTicket(body) => &body.details,
            Command::Triage(body) => &body.details,
            _ => return,
        };
        self.payload["details"] = admitted_details(details, template);
    }
}

/// The part of the body that must be the same when the key is the same.
///
/// For callers that is all of it. A workflow makes its key from what it wants on record (this
/// clock's breach, advice about this version); what it happens to know at the time of an attempt,
/// its `applied_seq` and the advisor's look at the world, may differ in the next one. The first
/// that is recorded stands.
fn essence(call: &Call) -> Value {
    let workflow = call.actor.kind == ActorKind::Workflow;
    match &call.command {
        Command::RecordProposal(body) if workflow => {
            json!({ "kind": body.input.kind(), "based_on_version": body.based_on_version })
        }
        Command::RecordSla(body) if workflow => {
            json!({ "clock": body.clock, "kind": body.kind, "revision": body.revision })
        }
        Command::RecordApprovalStep(body) if workflow => {
            json!({ "approval_id": body.approval_id, "version": body.version, "step": body.step, "at": body.at })
        }
        Command::ExecuteApproval(body) if workflow => {
            json!({ "approval_id": body.approval_id, "version": body.version })
        }
        command => body(command),
    }
}

/// The body as it was sent.
pub(super) fn body(command: &Command) -> Value {
    let mut tagged =
        serde_json::to_value(command).expect("a command holds strings, integers and booleans");
    tagged["body"].take()
}

/// The body as it is kept and as the policy sees it.
fn payload(command: &Command) -> Value {
    masked(
        command.operation(),
        body(command),
        domain::calendar::is_time_zone,
    )
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use contracts::{
        FreeText, Slug, TemplateId, TicketId, TraceContext,
        command::{AddNote, Cancel, Complete, RecordSla, Triage, UpsertTechnician},
        sla::SlaRecordKind,
        ticket::EvidenceRef,
    };
    use uuid::Uuid;

    use super::{super::call::sample as call, *};

    fn cancel(reason: &str) -> Cancel {
        Cancel {
            reason: Slug::new(reason).unwrap(),
        }
    }

    #[test]
    fn the_hash_covers_body_path_and_expected_version() {
        let first = call(ActorKind::Person, cancel("duplicate"));
        let hash = |call: &Call| Intent::of(call).sha256;
        let mut later = first.clone();
        later.received_at += TimeDelta::hours(1);
        later.trace = TraceContext::root([2; 24]);
        assert_eq!(hash(&first), hash(&later), "only what is asked for counts");

        assert_ne!(
            hash(&first),
            hash(&call(ActorKind::Person, cancel("other")))
        );
        let mut elsewhere = first.clone();
        elsewhere.ticket_id = Some(TicketId::from_uuid(Uuid::max()));
        assert_ne!(hash(&first), hash(&elsewhere));
        let mut expecting = first.clone();
        expecting.expected_version = Some(3);
        assert_ne!(hash(&first), hash(&expecting));
    }

    #[test]
    fn free_text_is_hashed_but_not_kept() {
        let note = |text: &str| {
            let text = FreeText::new(text).unwrap();
            Intent::of(&call(ActorKind::Person, AddNote { text }))
        };
        let (one, other) = (note("Anna, 06-1234"), note("Berta, 06-123"));
        assert_ne!(one.sha256, other.sha256);
        assert_eq!(one.payload, json!({ "text": { "chars": 13 } }));
        assert_eq!(one.payload, other.payload);
    }

    #[test]
    fn what_is_no_hash_is_not_kept_as_one() {
        let complete = |sha256: &str| {
            let kind = Slug::new("signature").unwrap();
            let sha256 = sha256.to_owned();
            let evidence = vec![EvidenceRef { kind, sha256 }];
            Intent::of(&call(ActorKind::Person, Complete { evidence })).payload
        };
        let hash = "0f".repeat(32);
        assert_eq!(complete(&hash)["evidence"][0]["sha256"], json!(hash));
        assert_eq!(
            complete("Anna, 06-1234")["evidence"][0]["sha256"],
            json!({ "chars": 13 })
        );
    }

    #[test]
    fn what_is_no_time_zone_is_not_kept_as_one() {
        let kept = |time_zone: &str| {
            let body = json!({
                "code": "glazier_1", "contact_id": format!("con_{}", "0".repeat(32)),
                "home_base": { "lat_e6": 0, "lon_e6": 0 },
                "calendar": { "time_zone": time_zone, "week": [] },
            });
            let body: UpsertTechnician = serde_json::from_value(body).unwrap();
            Intent::of(&call(ActorKind::Person, body)).payload["calendar"]["time_zone"].take()
        };
        assert_eq!(kept("Europe/Amsterdam"), json!("Europe/Amsterdam"));
        assert_eq!(kept("Anna, 06-1234"), json!({ "chars": 13 }));
    }

    #[test]
    fn what_a_template_does_not_list_is_not_kept() {
        let details = json!({
            "name": "anna_jansen", "phone": 31_612_345_678_i64, "pane_count": 31_612_345_678_i64,
            "glass_kind": "laminated", "public_hazard": true,
        });
        let triage = json!({ "priority": "P1", "details": details });
        let triage: Triage = serde_json::from_value(triage).unwrap();
        let call = call(ActorKind::Person, triage);
        let bundle = policy::Bundle::starter().unwrap();
        let glass = TemplateId::new("emergency_glass").unwrap();
        let kept = |template| {
            let mut intent = Intent::of(&call);
            intent.hide_unlisted_details(&call.command, template);
            intent.payload["details"].take()
        };
        assert_eq!(
            kept(bundle.template(&glass)),
            json!({ "?": 2, "pane_count": null, "glass_kind": "laminated", "public_hazard": true })
        );
        assert_eq!(kept(None), json!({ "?": 5 }), "nothing is known of it");
    }

    #[test]
    fn a_workflow_may_know_more_at_its_next_attempt() {
        let breach = |kind, applied_seq| {
            call(
                kind,
                RecordSla {
                    clock: Slug::new("response").unwrap(),
                    kind: SlaRecordKind::Breach,
                    revision: 1,
                    effective_at: DateTime::UNIX_EPOCH,
                    applied_seq,
                },
            )
        };
        let hash = |kind, seq| Intent::of(&breach(kind, seq)).sha256;
        assert_eq!(hash(ActorKind::Workflow, 1), hash(ActorKind::Workflow, 2));
        assert_ne!(hash(ActorKind::Person, 1), hash(ActorKind::Person, 2));
    }
}
