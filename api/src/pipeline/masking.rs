//! Masking takes words away and no fact that a rule reads: what the policy says to a masked body is
//! what it would say to the body as it was sent.
//!
//! Every command is judged both ways, in a form that meets every rule and in others that do not, with
//! whatever people may write into it. That the examples are sharp is proved too: for each field of a
//! body that a rule of the bundle names, hiding that field (a length in its place, or nothing) must
//! change what is decided about one of them, so a masking that hid it would be found.

use std::collections::BTreeSet;

use contracts::{
    ActorKind, Command, Operation, Role, TicketState,
    policy::{PolicyDecision, PolicyInput},
    schedule::QuietHours,
};
use policy::{Bundle, BundleFiles, Trust};
use serde_json::{Value, json};
use strum::VariantArray;

use super::{
    call::sample,
    intent::{Intent, body},
    judge,
};

mod fits;

#[path = "../../../policy/tests/common/mod.rs"]
mod common;

const WORDS: &str = "Mrs Quillfeather, +31 6 1234 5678";

/// The starter's rules with all of them switched on. Its tests are about its own data.
fn bundle() -> Bundle {
    let starter = Bundle::starter().unwrap();
    let files = starter.files().iter();
    let files = files.filter(|(path, _)| !path.ends_with("_test.rego"));
    let files = files.map(|(path, text)| match path {
        "activation/data.json" => {
            let mut data: Value = serde_json::from_str(text).unwrap();
            data["needs_approval"] = true.into();
            data["require_report"] = true.into();
            (path.to_owned(), data.to_string())
        }
        _ => (path.to_owned(), text.to_owned()),
    });
    let test = "package dispatch_test.all_rules\n\ntest_on if data.activation.require_report\n";
    let test = ("all_rules_test.rego".to_owned(), test.to_owned());
    let files = BundleFiles::from_texts(files.chain([test])).unwrap();
    Bundle::load(Trust::Anybody.accept(files).unwrap()).unwrap()
}

/// What is put into the body of a command that meets every rule, one example each.
fn examples(operation: Operation) -> Vec<Value> {
    let no_hash = json!([{ "kind": "photo_before", "sha256": WORDS }]);
    let evidence = |kinds: &[&str]| -> Value {
        let one = |kind: &&str| json!({ "kind": kind, "sha256": "0d".repeat(32) });
        kinds.iter().map(one).collect()
    };
    let all = [
        "photo_before",
        "photo_made_safe",
        "photo_after",
        "signature",
    ];
    let report = |change: Value| {
        let mut report = json!({
            "report_sha256": "0".repeat(64), "candidate_sha256": "0".repeat(64),
            "until": common::at(), "decisions": 9, "newly_allowed": 1, "newly_denied": 1,
            "newly_held": 1, "undecided": 0,
        });
        merge(&mut report, &change);
        json!({ "report": report })
    };
    let scopes = || {
        vec![
            json!({ "scope": { "kind": "everything" } }),
            json!({ "scope": { "kind": "channel", "channel": "sms" } }),
            json!({ "scope": { "kind": "agent", "actor_id": "agt_1" } }),
            json!({ "scope": { "kind": "agent", "actor_id": WORDS } }),
            json!({ "scope": { "kind": "operation", "operation": "dispatch" } }),
        ]
    };
    match operation {
        Operation::CreateTicket => vec![
            json!({ "description": WORDS }),
            json!({ "details": { "pane_count": 2, "public_hazard": true } }),
            json!({ "details": { "mrs_quillfeather": "angry", "pane_count": 31_612_345_678_i64 } }),
            json!({ "template": "nowhere", "details": { "mrs_quillfeather": true } }),
        ],
        Operation::Triage => vec![
            json!({ "details": { "pane_count": 2, "public_hazard": true } }),
            json!({ "details": { "mrs_quillfeather": "angry", "glass_kind": "hers" } }),
            json!({ "template": "emergency_door" }),
            json!({ "template": "nowhere" }),
        ],
        Operation::RequestChange => [1, 26_000, 60_000, 5_000_000]
            .map(|cents| json!({ "price_delta_cents": cents, "note": WORDS }))
            .into(),
        Operation::AddNote | Operation::CommentApproval => vec![json!({ "text": WORDS })],
        Operation::AmendApproval => vec![json!({ "body": { "note": WORDS } })],
        Operation::CommsOutbound => vec![
            json!({ "text": WORDS }),
            json!({ "text": WORDS, "send_at": "2026-11-22T00:30:00Z" }),
            json!({
                "only_while": { "only": "kill_generation", "generation": 1, "scope": WORDS },
            }),
        ],
        Operation::CommsInbound => vec![json!({
            "provider_message_id": "quillfeather-1", "text": WORDS, "raw": WORDS,
            "template": "emergency_glass",
        })],
        Operation::UpsertContact => vec![json!({
            "name": WORDS, "phone": "+31612345678", "email": "q@example.org", "street": WORDS,
        })],
        Operation::UpsertTechnician => {
            vec![json!({ "calendar": { "time_zone": WORDS, "week": [] } })]
        }
        Operation::AddEvidence => vec![json!({ "sha256": WORDS })],
        Operation::ReturnVisit | Operation::Complete => vec![
            json!({ "evidence": no_hash }),
            json!({ "evidence": evidence(&all) }),
            json!({ "evidence": evidence(&all[..2]) }),
        ],
        Operation::GenerateInvoice => [100, 79_999, 80_001, 9_000_000]
            .map(|cents| {
                let line = json!({ "item": "labour", "quantity": 1, "unit_cents": cents });
                json!({ "lines": [line] })
            })
            .into(),
        Operation::Close => vec![json!({ "no_charge_reason": "goodwill" })],
        Operation::EngageKillSwitch | Operation::ReleaseKillSwitch | Operation::RecordDrill => {
            scopes()
        }
        Operation::DelegateApprovals => vec![json!({ "to": WORDS })],
        Operation::PromoteStage => vec![
            json!({ "to": "CANARY", "percent": 5 }),
            json!({ "to": "AUTO" }),
            json!({ "report_sha256": WORDS }),
            json!({ "target": { "operation": "triage" } }),
            json!({ "target": { "operation": "dispatch", "risk": "emergency" } }),
        ],
        Operation::ActivateBundle => vec![
            json!({ "sha256": WORDS }),
            report(json!({})),
            report(json!({ "candidate_sha256": "1".repeat(64) })),
            report(json!({ "undecided": 3 })),
            report(json!({ "until": "2026-11-01T00:00:00Z" })),
            report(json!({ "report_sha256": WORDS })),
            report(json!({ "candidate_sha256": WORDS })),
        ],
        _ => Vec::new(),
    }
}

fn merge(document: &mut Value, change: &Value) {
    for (name, value) in change.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
}

/// A command as it is sent, and what the policy is asked about it besides the body.
struct Example {
    command: Command,
    asked: PolicyInput,
}

impl Example {
    /// By each sort of actor, who has every role.
    fn all(operation: Operation) -> Vec<Self> {
        let plain = common::command(operation);
        let patched = examples(operation).into_iter().map(|change| {
            let mut document = body(&plain);
            merge(&mut document, &change);
            Command::from_parts(operation, document)
                .unwrap_or_else(|error| panic!("{operation} with {change}: {error}"))
        });
        let commands: Vec<_> = [plain.clone()].into_iter().chain(patched).collect();
        let by = |kind: ActorKind| {
            commands.iter().map(move |command| {
                let actor = common::actor(kind, Role::VARIANTS);
                let mut asked = common::ask(actor, command.clone());
                asked.tenant.quiet_hours = Some(QuietHours {
                    from_minute: 60,
                    until_minute: 120,
                });
                if let Some(ticket) = &mut asked.ticket {
                    if operation == Operation::Close {
                        ticket.state = TicketState::Verified;
                    }
                    // What the body brings is to count.
                    ticket.evidence.clear();
                    ticket.details.clear();
                }
                Self {
                    command: command.clone(),
                    asked,
                }
            })
        };
        ActorKind::VARIANTS.iter().copied().flat_map(by).collect()
    }

    /// The body as the pipeline hands it over.
    fn masked(&self, bundle: &Bundle) -> Value {
        let of_ticket = self.asked.ticket.as_ref().map(|ticket| &ticket.template);
        let template = judge::template(&self.command, None, bundle)
            .or_else(|| bundle.template(of_ticket?))
            .filter(|_| !names_no_template(&self.command, bundle));
        let mut intent = Intent::of(&sample(self.asked.actor.kind, self.command.clone()));
        intent.hide_unlisted_details(&self.command, template);
        let held = Intent::of_held(&self.command, template);
        assert_eq!(intent.payload, held, "held or not, it is masked alike");
        intent.payload
    }

    /// Nothing when a rule cannot do with the body at all.
    fn decided(&self, bundle: &Bundle, body: Value) -> Option<PolicyDecision> {
        let asked = PolicyInput {
            body,
            ..self.asked.clone()
        };
        bundle.evaluate(&asked).ok()
    }
}

/// The command names a template that the bundle does not have.
fn names_no_template(command: &Command, bundle: &Bundle) -> bool {
    let named = body(command)["template"].as_str().map(ToOwned::to_owned);
    let named = named.and_then(|name| contracts::TemplateId::new(name).ok());
    named.is_some_and(|name| bundle.template(&name).is_none())
}

/// The fields of bodies that the rules name.
fn read_by_rules(bundle: &Bundle) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    let rules = bundle.files().iter();
    let rules = rules.filter(|(path, _)| path.ends_with(".rego") && !path.ends_with("_test.rego"));
    for (_, text) in rules {
        for begin in ["input.body.", "object.get(input.body, \""] {
            for rest in text.split(begin).skip(1) {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                fields.insert(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
    }
    fields
}

#[test]
fn a_masked_body_is_decided_as_the_one_that_was_sent() {
    let bundle = bundle();
    let mut masked_ones = 0;
    for operation in Operation::VARIANTS {
        for example in Example::all(*operation) {
            let (sent, masked) = (body(&example.command), example.masked(&bundle));
            assert!(!masked.to_string().contains("uillfeather"), "{masked}");
            masked_ones += usize::from(sent != masked);
            let kind = example.asked.actor.kind;
            let decided = example.decided(&bundle, masked.clone());
            assert!(decided.is_some(), "{operation} by a {kind}: {masked}");
            assert_eq!(
                decided,
                example.decided(&bundle, sent.clone()),
                "{operation} by a {kind}: {sent} as {masked}"
            );
        }
    }
    assert!(masked_ones >= 60, "{masked_ones} bodies were masked");
}

#[test]
fn hiding_what_a_rule_reads_would_be_found() {
    let bundle = bundle();
    let fields = read_by_rules(&bundle);
    assert!(fields.contains("price_delta_cents") && fields.contains("details"));
    for field in fields {
        let changes = |example: Example| {
            let sent = body(&example.command);
            if sent.get(&field).is_none() {
                return false;
            }
            let decided = example.decided(&bundle, sent.clone());
            [Some(json!({ "chars": 7 })), None].into_iter().any(|mask| {
                let mut hidden = sent.clone();
                let members = hidden.as_object_mut().unwrap();
                members.remove(&field);
                members.extend(mask.map(|mask| (field.clone(), mask)));
                example.decided(&bundle, hidden) != decided
            })
        };
        let mut all = Operation::VARIANTS.iter().flat_map(|op| Example::all(*op));
        assert!(
            all.any(changes),
            "a rule reads `{field}`, and no example here would show that masking hides it"
        );
    }
}
