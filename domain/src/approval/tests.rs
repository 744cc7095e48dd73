//! Whatever is done with an approval, by whomever, in whatever order: nothing is released that the
//! right people did not release, in time.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use contracts::{
    ApprovalId, Operation, TicketId,
    approval::{
        ApprovalKind, ApprovalPlan, ApprovalStep, Demand, EscalationRung, OnExpiry, Verdict,
    },
    canonical::canonical_sha256,
    command::*,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    Decided, Effect,
    testing::*,
    ticket::{self, evolve, execute},
};

const PROPOSER: &str = "user:proposer";
const PEOPLE: [(&str, &[Role]); 6] = [
    (PROPOSER, &[Role::Dispatcher, Role::Approver]),
    ("user:a", &[Role::Approver]),
    ("user:b", &[Role::Approver, Role::AccountManager]),
    ("user:c", &[Role::AccountManager]),
    ("user:d", &[Role::TenantAdmin]),
    ("user:e", &[Role::Technician]),
];

/// Two approvers and an account manager; reminders, an escalation to administrators, an end.
fn need(count: u8, on_expiry: OnExpiry) -> ApprovalNeed {
    let demand = |code: &str, role, count| Demand {
        code: code.to_owned(),
        roles: vec![role],
        count,
    };
    ApprovalNeed {
        demands: vec![
            demand("DEAR", Role::AccountManager, 1),
            demand("RISKY", Role::Approver, count),
        ],
        plan: ApprovalPlan {
            remind_after_minutes: vec![10, 30],
            escalations: vec![EscalationRung {
                after_minutes: 60,
                roles: vec![Role::TenantAdmin],
            }],
            expire_after_minutes: 120,
            on_expiry,
        },
    }
}

fn held(need: &ApprovalNeed, facts_sha256: String) -> Approval {
    let steps = steps(&need.plan, monday());
    Approval {
        id: ApprovalId::from_uuid(uuid(77)),
        ticket_id: Some(TicketId::from_uuid(uuid(2))),
        kind: ApprovalKind::HeldCommand,
        state: ApprovalState::Pending,
        operation: Operation::AddNote,
        requested_by: PROPOSER.to_owned(),
        requested_by_kind: ActorKind::Person,
        required_roles: demanded_roles(need),
        demands: need.demands.clone(),
        votes: Vec::new(),
        version: 1,
        revision: 0,
        request_sha256: "0".repeat(64),
        request: json!({}),
        facts_sha256: Some(facts_sha256),
        requested_at: monday(),
        expires_at: steps.last().map(|step| step.at),
        on_expiry: need.plan.on_expiry,
        steps,
        claim: None,
        decision_id: None,
        decided_by: None,
        decided_at: None,
        reason: None,
        executed_command_id: None,
    }
}

/// Who acts: a person, or software with somebody's name and roles.
#[derive(Debug, Clone, Copy)]
struct Who {
    person: usize,
    kind: ActorKind,
    /// Whose right they have on loan.
    lender: Option<usize>,
}

#[derive(Debug, Clone)]
struct Act {
    minutes: i64,
    who: Who,
    what: u8,
    variant: u16,
}

fn act_strategy() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![
        8 => Just(ActorKind::Person),
        1 => Just(ActorKind::Agent),
        1 => Just(ActorKind::Workflow),
    ];
    let who = (
        0..PEOPLE.len(),
        kind,
        prop::option::weighted(0.3, 0..PEOPLE.len()),
    );
    let minutes = prop_oneof![3 => Just(0_i64), 3 => 0..20_i64, 1 => 0..90_i64];
    // Deciding is what matters: every other act is one.
    let what = prop_oneof![1 => Just(0_u8), 1 => 0..10_u8];
    (minutes, who, what, any::<u16>()).prop_map(|(minutes, who, what, variant)| Act {
        minutes,
        who: Who {
            person: who.0,
            kind: who.1,
            lender: who.2.filter(|lender| *lender != who.0),
        },
        what,
        variant,
    })
}

/// The decision on an amendment.
fn amended_by(act: &Act) -> DecisionId {
    DecisionId::from_uuid(uuid(1_000 + u128::from(act.variant)))
}

fn roles(person: usize) -> Vec<Role> {
    PEOPLE[person].1.to_vec()
}

/// An approval of a ticket, and the ticket.
#[derive(Clone)]
struct Room {
    desk: Desk,
    need: ApprovalNeed,
    last_event: Option<TicketEvent>,
}

impl Room {
    fn opens(count: u8, on_expiry: OnExpiry) -> Self {
        let need = need(count, on_expiry);
        let mut desk = Desk::after([create(), triage(contracts::Priority::P1)]);
        desk.now = monday();
        let facts = facts_sha256(Operation::AddNote, desk.ticket()).unwrap();
        let approval = held(&need, facts);
        let decided = ticket::hold(
            desk.key,
            &desk.ticket().clone(),
            &note(),
            approval,
            &desk.facts(),
        );
        desk.take(decided.unwrap());
        Self {
            desk,
            need,
            last_event: None,
        }
    }

    fn command(&self, act: &Act) -> Command {
        let approval = self.desk.approval();
        let approval_id = approval.id;
        let reason = slug("because");
        let variant = i64::from(act.variant);
        match act.what {
            0 => DecideApproval {
                approval_id,
                verdict: match act.variant % 12 {
                    0 => Verdict::Reject,
                    _ => Verdict::Approve,
                },
                reason: (!act.variant.is_multiple_of(5)).then_some(reason),
                version: match act.variant % 7 {
                    0 => Some(approval.version + 1),
                    1 => None,
                    _ => Some(approval.version),
                },
            }
            .into(),
            1 => ClaimApproval {
                approval_id,
                minutes: act.variant % 300,
            }
            .into(),
            2 => ReleaseApproval { approval_id }.into(),
            3 => TakeOverApproval {
                approval_id,
                reason,
                minutes: 1 + act.variant % 20,
            }
            .into(),
            4 => AmendApproval {
                approval_id,
                body: json!({}),
                reason,
            }
            .into(),
            5 if act.variant.is_multiple_of(4) => WithdrawApproval {
                approval_id,
                reason,
            }
            .into(),
            6 => ChangeApprovalDue {
                approval_id,
                expires_at: self.desk.now + TimeDelta::minutes(variant % 200 - 20),
                reason,
            }
            .into(),
            7 | 8 => {
                // The right step, the right moment; or another one.
                let index = match act.variant % 5 {
                    0 => 1,
                    _ => 0,
                };
                let step = approval.steps.get(index).cloned().unwrap_or(ApprovalStep {
                    at: self.desk.now,
                    step: StepKind::Expiry,
                    roles: Vec::new(),
                });
                RecordApprovalStep {
                    approval_id,
                    version: approval.version - u32::from(act.variant.is_multiple_of(11)),
                    step: step.step,
                    at: step.at,
                    applied_seq: self.desk.seq,
                }
                .into()
            }
            _ => CommentApproval {
                approval_id,
                text: FreeText::new("Is it worth it?").unwrap(),
            }
            .into(),
        }
    }

    fn facts(&mut self, act: &Act, command: &Command) -> crate::Facts {
        let amended = Amended {
            request: json!({ "n": act.variant }),
            request_sha256: canonical_sha256(&act.variant).unwrap(),
            facts_sha256: self.desk.approval().facts_sha256.clone(),
            need: self.need.clone(),
            decision_id: amended_by(act),
        };
        let loan = |lender: usize| PolicyLoan {
            from: PEOPLE[lender].0.to_owned(),
            roles: roles(lender).into_iter().collect(),
        };
        crate::Facts {
            actor_id: PEOPLE[act.who.person].0.to_owned(),
            actor_kind: act.who.kind,
            actor_roles: roles(act.who.person),
            lent: act.who.lender.map(loan).into_iter().collect(),
            amended: Some(amended),
            ..self.desk.facts_for(command)
        }
    }

    /// Does it, and checks what must hold whatever it was.
    fn happens(&mut self, act: &Act) {
        self.desk.pass(act.minutes);
        let command = self.command(act);
        let mut facts = self.facts(act, &command);
        facts.actor_id = PEOPLE[act.who.person].0.to_owned();
        let before = self.desk.approval().clone();
        let result = self.desk.try_with(&command, &facts);
        let after = self.desk.approval().clone();
        match result {
            Ok(decided) => self.accepted(act, &command, &before, &after, &decided),
            Err(rejection) => {
                assert_eq!(before, after, "a refusal changed it");
                assert!(rejection.code().status() < 500, "{rejection:?}");
            }
        }
        crate::ticket::properties::approvals_agree(&self.desk);
        sound(&after);
    }

    fn accepted(
        &mut self,
        act: &Act,
        command: &Command,
        before: &Approval,
        after: &Approval,
        decided: &Decided,
    ) {
        let now = self.desk.now;
        assert_eq!(after.revision, before.revision + 1, "each write is one");
        match command {
            Command::DecideApproval(body) => {
                assert_eq!(before.state, ApprovalState::Pending);
                assert!(
                    before.expires_at.is_none_or(|end| now < end),
                    "after the end"
                );
                assert_eq!(body.version.unwrap_or(1), before.version, "another version");
                assert_eq!(act.who.kind, ActorKind::Person, "software decided");
                assert_ne!(
                    PEOPLE[act.who.person].0, before.requested_by,
                    "the proposer did"
                );
                let claim = before.claimed_by(now);
                assert!(claim.is_none_or(|c| c.by == PEOPLE[act.who.person].0));
                assert_eq!(after.votes.len(), before.votes.len() + 1);
                let says_why = body.verdict == Verdict::Approve || body.reason.is_some();
                assert!(says_why, "a no without a reason");
            }
            Command::RecordApprovalStep(body) => {
                let first = &before.steps[0];
                assert_eq!((first.step, first.at), (body.step, body.at), "out of order");
                assert_eq!(body.version, before.version);
                let over = body.step == StepKind::Expiry;
                let ends = after.state == ApprovalState::Expired;
                assert_eq!(ends, over, "an end denies");
            }
            Command::AmendApproval(_) => {
                assert_eq!(PEOPLE[act.who.person].0, before.requested_by, "another's");
                assert_eq!(after.version, before.version + 1);
                assert!(after.votes.is_empty() && after.claim.is_none());
                assert_ne!(after.request_sha256, before.request_sha256);
                // What it is void by later is said of this version.
                assert_eq!(after.decision_id, Some(amended_by(act)));
            }
            Command::ClaimApproval(_) => {
                let by = &after.claim.as_ref().unwrap().by;
                let held = before.claimed_by(now);
                assert!(
                    held.is_none_or(|held| held.by == *by),
                    "claimed over another's claim"
                );
            }
            Command::CommentApproval(_) => {
                let mut same = before.clone();
                same.revision += 1;
                assert_eq!(same, *after);
            }
            _ => {}
        }
        if !before.is_open() {
            assert!(
                matches!(command, Command::CommentApproval(_)),
                "it was over"
            );
        }
        let came_free = after.state == ApprovalState::Approved;
        assert!(
            !came_free
                || before.state == ApprovalState::Approved
                || matches!(command, Command::DecideApproval(_)),
            "only a word of somebody releases"
        );
        self.last_event = Some(decided.changes[0].event.clone());
    }
}

/// What is true of any approval at any time.
fn sound(approval: &Approval) {
    let yes: Vec<_> = approval
        .votes
        .iter()
        .filter(|vote| vote.verdict == Verdict::Approve)
        .collect();
    // Nobody counts twice, by themselves or through what they lent.
    let behind: Vec<&str> = approval
        .votes
        .iter()
        .flat_map(|vote| [Some(vote.actor_id.as_str()), vote.on_behalf_of.as_deref()])
        .flatten()
        .collect();
    let distinct: BTreeSet<_> = behind.iter().collect();
    assert_eq!(
        distinct.len(),
        behind.len(),
        "one person, two votes: {behind:?}"
    );
    assert!(
        !behind.contains(&PROPOSER),
        "the proposer's own word counts"
    );
    if matches!(
        approval.state,
        ApprovalState::Approved | ApprovalState::Executed
    ) {
        for demand in &approval.demands {
            let met = yes
                .iter()
                .filter(|vote| demand.roles.iter().any(|role| vote.roles.contains(role)));
            assert!(
                met.count() >= usize::from(demand.count),
                "{demand:?} is not met"
            );
        }
        let no = |vote: &contracts::approval::Vote| vote.verdict == Verdict::Reject;
        assert!(!approval.votes.iter().any(no), "in spite of a no");
    }
    let times: Vec<_> = approval.steps.iter().map(|step| step.at).collect();
    assert!(times.is_sorted(), "steps out of order");
    let ends = approval
        .steps
        .iter()
        .filter(|step| step.step == StepKind::Expiry);
    match approval.state {
        ApprovalState::Pending => {
            assert_eq!(ends.count(), 1, "silence must end");
            let last = approval.steps.last().unwrap();
            assert_eq!(
                (last.step, Some(last.at)),
                (StepKind::Expiry, approval.expires_at)
            );
        }
        ApprovalState::Approved => assert_eq!(approval.steps.len(), 1, "only its end is left"),
        _ => assert!(approval.steps.is_empty() && approval.claim.is_none()),
    }
}

fn note() -> Command {
    let text = FreeText::new("Said something.").unwrap();
    AddNote { text }.into()
}

fn on_expiry() -> impl Strategy<Value = OnExpiry> {
    prop_oneof![Just(OnExpiry::Deny), Just(OnExpiry::Escalate)]
}

proptest! {
    #[test]
    fn nothing_is_released_but_by_the_right_people_in_time(
        count in 1..3_u8,
        on_expiry in on_expiry(),
        acts in prop::collection::vec(act_strategy(), 1..40),
    ) {
        let mut room = Room::opens(count, on_expiry);
        for act in &acts {
            room.happens(act);
        }
        let rebuilt = room.desk.changes.iter().fold(None, |ticket, change| {
            Some(evolve(room.desk.key, ticket, change))
        });
        prop_assert_eq!(rebuilt, room.desk.ticket);
    }

    /// However the plan is written: in time order, and with an end.
    #[test]
    fn a_plan_ends(
        reminders in prop::collection::vec(0..500_u32, 0..6),
        rungs in prop::collection::vec(0..500_u32, 0..6),
        end in 1..500_u32,
        on_expiry in on_expiry(),
    ) {
        let plan = ApprovalPlan {
            remind_after_minutes: reminders,
            escalations: rungs
                .into_iter()
                .map(|after_minutes| EscalationRung {
                    after_minutes,
                    roles: vec![Role::TenantAdmin],
                })
                .collect(),
            expire_after_minutes: end,
            on_expiry,
        };
        let goes_on = on_expiry == OnExpiry::Escalate && !plan.escalations.is_empty();
        let steps = steps(&plan, monday());
        let (last, others) = steps.split_last().unwrap();
        prop_assert_eq!(last.step, StepKind::Expiry);
        let planned = monday() + TimeDelta::minutes(end.into());
        let length = if goes_on { 2 } else { 1 };
        prop_assert_eq!(last.at, monday() + TimeDelta::minutes(i64::from(end) * length));
        let asks = |step: &ApprovalStep| step.step == StepKind::Escalation && step.at == planned;
        prop_assert_eq!(others.iter().filter(|step| asks(step)).count(), usize::from(goes_on));
        prop_assert!(others.iter().all(|step| step.step != StepKind::Expiry && step.at < last.at));
        prop_assert!(steps.is_sorted_by_key(|step| step.at));
    }
}

/// Few enough that demands overlap, and some are nobody's.
const ASKED: [Role; 4] = [
    Role::Approver,
    Role::AccountManager,
    Role::Dispatcher,
    Role::Qa,
];

/// Roles and number of people of a demand.
fn demand_strategy() -> impl Strategy<Value = (Vec<Role>, u8)> {
    let roles = prop::sample::subsequence(ASKED.to_vec(), 1..=2);
    (roles, 1..=2_u8)
}

fn some_roles() -> impl Strategy<Value = Vec<Role>> {
    prop::sample::subsequence(ASKED.to_vec(), 0..=3)
}

/// An approval that makes these demands.
fn demanding(demands: &[(Vec<Role>, u8)]) -> Approval {
    let named = demands.iter().enumerate();
    let demands = named.map(|(n, (roles, count))| Demand {
        code: format!("DEMAND_{n}"),
        roles: roles.clone(),
        count: *count,
    });
    let need = ApprovalNeed {
        demands: demands.collect(),
        ..need(1, OnExpiry::Deny)
    };
    held(&need, "0".repeat(64))
}

/// Somebody with these roles says yes, who may stand in for others.
fn says_yes(
    approval: &Approval,
    who: &str,
    roles: &[Role],
    lent: &[PolicyLoan],
) -> Result<Approval, Rejection> {
    let facts = ApprovalFacts {
        now: monday(),
        actor_id: who.to_owned(),
        actor_kind: ActorKind::Person,
        actor_roles: roles.to_vec(),
        lent: lent.to_vec(),
        command_id: CommandId::from_uuid(uuid(5)),
        comment: CommentId::from_uuid(uuid(6)),
        amended: None,
    };
    let decision = DecideApproval {
        approval_id: approval.id,
        verdict: Verdict::Approve,
        reason: None,
        version: None,
    };
    act(&decision.into(), approval, &facts).map(|acted| acted.approval)
}

fn lends(from: &str, roles: &[Role]) -> PolicyLoan {
    PolicyLoan {
        from: from.to_owned(),
        roles: roles.iter().copied().collect(),
    }
}

fn any_of(wanted: &[Role], given: &[Role]) -> bool {
    wanted.iter().any(|role| given.contains(role))
}

/// Every order of the first n numbers.
fn orders(n: usize) -> Vec<Vec<usize>> {
    (0..n).fold(vec![Vec::new()], |shorter, next| {
        let with = |order: &Vec<usize>| {
            let order = order.clone();
            (0..=order.len()).map(move |place| {
                let mut order = order.clone();
                order.insert(place, next);
                order
            })
        };
        shorter.iter().flat_map(with).collect()
    })
}

/// Whether each seat of each demand can be given to another person who may have it.
fn can_be_seated(seats: &[&[Role]], people: &[Vec<Role>], seated: &mut BTreeSet<usize>) -> bool {
    let Some((seat, others)) = seats.split_first() else {
        return true;
    };
    people.iter().enumerate().any(|(n, roles)| {
        let fits = any_of(seat, roles) && seated.insert(n);
        let all = fits && can_be_seated(others, people, seated);
        if fits {
            seated.remove(&n);
        }
        all
    })
}

/// How many more yeses it takes at most.
fn left(approval: &Approval) -> u32 {
    let owed = owed(approval).into_iter();
    owed.map(|it| u32::from(it.count - it.given)).sum()
}

proptest! {
    /// Whether everybody stands for one demand or for all that they have a role for: when enough people
    /// have said yes, it is released, whoever came first.
    #[test]
    fn no_order_of_votes_keeps_enough_of_them_from_releasing_it(
        demands in prop::collection::vec(demand_strategy(), 1..4),
        people in prop::collection::vec(some_roles(), 1..6),
    ) {
        let open = demanding(&demands);
        let seats: Vec<&[Role]> = demands
            .iter()
            .flat_map(|(roles, count)| (0..*count).map(|_| roles.as_slice()))
            .collect();
        let one_each = can_be_seated(&seats, &people, &mut BTreeSet::new());
        let enough = demands.iter().all(|(wanted, count)| {
            let who = people.iter().filter(|roles| any_of(wanted, roles));
            who.count() >= usize::from(*count)
        });
        prop_assert!(enough || !one_each);
        for order in orders(people.len()) {
            let mut approval = open.clone();
            for n in &order {
                let before = approval.clone();
                let voted = says_yes(&approval, &format!("user:{n}"), &people[*n], &[]);
                approval = voted.unwrap_or(before);
            }
            let released = approval.state == ApprovalState::Approved;
            prop_assert_eq!(released, enough, "{:?}", order);
        }
    }

    /// Nobody's yes goes to what is met while one of their rights serves what is owed.
    #[test]
    fn a_yes_serves_what_is_owed(
        demands in prop::collection::vec(demand_strategy(), 1..4),
        people in prop::collection::vec(
            (some_roles(), prop::collection::vec((0..3_usize, some_roles()), 0..3)),
            1..6,
        ),
    ) {
        let mut approval = demanding(&demands);
        for (n, (roles, loans)) in people.iter().enumerate() {
            if approval.state != ApprovalState::Pending {
                break;
            }
            let lent: Vec<_> = loans
                .iter()
                .map(|(from, roles)| lends(&format!("lender:{from}"), roles))
                .collect();
            let has_spoken = |from: &str| {
                let mut votes = approval.votes.iter();
                votes.any(|vote| vote.on_behalf_of.as_deref() == Some(from))
            };
            let owed = owed(&approval);
            let serves = |right: &[Role]| owed.iter().any(|it| any_of(&it.roles, right));
            let by_loan = lent.iter().filter(|loan| !has_spoken(&loan.from)).any(|loan| {
                let roles: Vec<Role> = loan.roles.iter().copied().collect();
                serves(&roles)
            });
            let could = serves(roles) || by_loan;
            let before = left(&approval);
            let voted = says_yes(&approval, &format!("user:{n}"), roles, &lent);
            prop_assert!(voted.is_ok() || !could);
            if let Ok(after) = voted {
                prop_assert_eq!(left(&after) < before, could, "{:?}", after.votes.last());
                approval = after;
            }
        }
    }
}

/// Somebody's own right would serve what is met; the lent one serves what is owed.
#[test]
fn a_lent_right_is_used_where_ones_own_adds_nothing() {
    let both = [(vec![Role::Approver], 1), (vec![Role::AccountManager], 1)];
    let open = demanding(&both);
    let asked = says_yes(&open, "user:1", &[Role::Approver], &[]).unwrap();
    let lent = [lends("user:3", &[Role::AccountManager])];
    let done = says_yes(&asked, "user:2", &[Role::Approver], &lent).unwrap();
    assert_eq!(done.state, ApprovalState::Approved);
    let vote = done.votes.last().unwrap();
    assert_eq!(vote.on_behalf_of.as_deref(), Some("user:3"));
    assert_eq!(vote.roles, [Role::AccountManager]);
    // Where it adds something, their own goes first.
    let first = says_yes(&open, "user:2", &[Role::Approver], &lent).unwrap();
    assert_eq!(first.votes[0].on_behalf_of, None);
}

/// The property above would hold of approvals that never get anywhere.
#[test]
fn random_acts_bring_every_end() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let strategy = (on_expiry(), prop::collection::vec(act_strategy(), 40));
    let mut reached = BTreeSet::new();
    for _ in 0..400 {
        let (on_expiry, acts) = strategy.new_tree(&mut runner).unwrap().current();
        let mut room = Room::opens(2, on_expiry);
        for act in &acts {
            room.happens(act);
            reached.insert(room.desk.approval().state);
        }
    }
    use ApprovalState::{Approved, Expired, Pending, Rejected, Withdrawn};
    let all = BTreeSet::from([Pending, Approved, Rejected, Withdrawn, Expired]);
    assert_eq!(reached, all);
}

/// Between an end that escalates and its record nothing was denied yet: a yes counts, of those who may
/// say it by then, and is carried out. At the second end it is over, on record or not.
#[test]
fn an_end_that_escalates_denies_nothing() {
    let at = |room: &mut Room, minutes: i64| {
        room.desk.now = room.desk.approval().requested_at + TimeDelta::minutes(minutes);
    };
    let mut room = Room::opens(1, OnExpiry::Escalate);
    let approval = room.desk.approval();
    let told: Vec<_> = approval.steps.iter().map(|step| step.step).collect();
    assert!(told.ends_with(&[StepKind::Escalation, StepKind::Expiry]));
    let end = approval.requested_at + TimeDelta::minutes(240);
    assert_eq!(approval.expires_at, Some(end));

    at(&mut room, 121);
    let mut silent = room.clone();
    let mut late = room.clone();
    decide(&mut room, 1, None).unwrap();
    decide(&mut room, 3, None).unwrap();
    let released = room.desk.approval().clone();
    assert_eq!(released.state, ApprovalState::Approved);
    assert_eq!(released.steps.last().map(|step| step.at), Some(end));
    crate::approval::unexpired(&released, room.desk.now).unwrap();

    at(&mut late, 240);
    let over = decide(&mut late, 1, None).unwrap_err();
    assert_eq!(over.code(), contracts::ErrorCode::Expired);
    assert_eq!(over.meta()["expired_at"], json!(end));

    while let Some(next) = silent.desk.approval().steps.first().cloned() {
        assert_eq!(silent.desk.approval().state, ApprovalState::Pending);
        silent.desk.now = next.at;
        silent.desk.run(RecordApprovalStep {
            approval_id: released.id,
            version: 1,
            step: next.step,
            at: next.at,
            applied_seq: silent.desk.seq,
        });
    }
    assert_eq!(silent.desk.approval().state, ApprovalState::Expired);
}

fn decide(room: &mut Room, person: usize, lender: Option<usize>) -> Result<(), Rejection> {
    let approval_id = room.desk.approval().id;
    let body = DecideApproval {
        approval_id,
        verdict: Verdict::Approve,
        reason: None,
        version: None,
    };
    does(room, person, lender, body)
}

fn does(
    room: &mut Room,
    person: usize,
    lender: Option<usize>,
    body: impl Into<Command>,
) -> Result<(), Rejection> {
    let act = Act {
        minutes: 0,
        who: Who {
            person,
            kind: ActorKind::Person,
            lender,
        },
        what: 0,
        variant: 2,
    };
    let command = body.into();
    let facts = room.facts(&act, &command);
    room.desk.try_with(&command, &facts).map(|_| ())
}

/// Who has no word learns that, not what their no would have lacked.
#[test]
fn a_no_says_why() {
    let mut room = Room::opens(2, OnExpiry::Deny);
    let no = DecideApproval {
        approval_id: room.desk.approval().id,
        verdict: Verdict::Reject,
        reason: None,
        version: None,
    };
    let stranger = does(&mut room, 5, None, no.clone()).unwrap_err();
    assert_eq!(stranger.code(), contracts::ErrorCode::Forbidden);
    let refused = does(&mut room, 1, None, no.clone()).unwrap_err();
    assert_eq!(refused.code(), contracts::ErrorCode::InvalidField);
    assert_eq!(refused.field().unwrap().pointer, "/reason");
    assert!(refused.detail().contains("`too_dear`"), "{refused}");
    assert_eq!(room.desk.approval().state, ApprovalState::Pending);

    let reason = Some(slug("too_dear"));
    let why = DecideApproval { reason, ..no };
    does(&mut room, 1, None, why.clone()).unwrap();
    let approval = room.desk.approval();
    assert_eq!(approval.state, ApprovalState::Rejected);
    assert_eq!(approval.reason, why.reason);
}

/// Once nobody had to say why: what is on record of those is told as ever.
#[test]
fn a_no_without_a_reason_that_is_on_record_is_told() {
    let mut room = Room::opens(1, OnExpiry::Deny);
    let no = DecideApproval {
        approval_id: room.desk.approval().id,
        verdict: Verdict::Reject,
        reason: Some(slug("too_dear")),
        version: None,
    };
    does(&mut room, 1, None, no).unwrap();
    let mut told = room.desk.changes.clone();
    let reasons = told
        .iter_mut()
        .filter_map(|change| match &mut change.event {
            TicketEvent::ApprovalDecided { reason, .. } => reason.take(),
            _ => None,
        });
    assert_eq!(reasons.count(), 1);
    let rebuilt = told.iter().fold(None, |ticket, change| {
        Some(evolve(room.desk.key, ticket, change))
    });
    assert_eq!(rebuilt, room.desk.ticket);
}

#[test]
fn a_vote_that_was_lent_is_no_second_one() {
    let mut room = Room::opens(2, OnExpiry::Deny);
    decide(&mut room, 1, None).unwrap();
    // e has no role of their own and borrows from a, who has voted.
    let refused = decide(&mut room, 5, Some(1)).unwrap_err();
    assert_eq!(refused.code(), contracts::ErrorCode::Forbidden);
    // From c, who has not: once, and then c may not either.
    decide(&mut room, 5, Some(3)).unwrap();
    let vote = room.desk.approval().votes.last().unwrap();
    assert_eq!(vote.on_behalf_of.as_deref(), Some("user:c"));
    let refused = decide(&mut room, 3, None).unwrap_err();
    assert_eq!(refused.code(), contracts::ErrorCode::AlreadyDecided);
    assert_eq!(refused.meta()["decided_by"], "user:e");
    let detail = refused.detail();
    assert!(
        detail.starts_with("You have voted already (`user:e` did so at ")
            && detail.ends_with("); more people must agree."),
        "{detail}"
    );
    // What the proposer lends is worth nothing here.
    let mut room = Room::opens(2, OnExpiry::Deny);
    let refused = decide(&mut room, 5, Some(0)).unwrap_err();
    assert_eq!(refused.code(), contracts::ErrorCode::Forbidden);
}

/// Who stands in for another says what they would say: a right of their own that comes up later adds
/// nothing to it.
#[test]
fn who_stands_in_for_another_says_what_was_lent_and_nothing_more() {
    let mut room = Room::opens(1, OnExpiry::Deny);
    // d is an administrator and borrows from c, the account manager.
    decide(&mut room, 4, Some(3)).unwrap();
    let vote = room.desk.approval().votes.last().unwrap();
    assert_eq!(vote.on_behalf_of.as_deref(), Some("user:c"));
    assert_eq!(vote.roles, [Role::AccountManager]);
    // Administrators may decide too by now.
    while let Some(next) = room.desk.approval().steps.first().cloned()
        && next.step != StepKind::Expiry
    {
        room.desk.now = next.at;
        room.desk.run(RecordApprovalStep {
            approval_id: room.desk.approval().id,
            version: 1,
            step: next.step,
            at: next.at,
            applied_seq: room.desk.seq,
        });
    }
    let approval = room.desk.approval();
    assert!(approval.required_roles.contains(&Role::TenantAdmin));
    let owed: Vec<_> = owed(approval).into_iter().map(|it| it.code).collect();
    assert_eq!(owed, ["RISKY"]);
    // Nor have they another word.
    for lender in [None, Some(1)] {
        let refused = decide(&mut room, 4, lender).unwrap_err();
        assert_eq!(refused.code(), contracts::ErrorCode::AlreadyDecided);
    }
    decide(&mut room, 1, None).unwrap();
    assert_eq!(room.desk.approval().state, ApprovalState::Approved);
}

/// The other way round: whom somebody stood in for lends nothing more, and neither does who voted.
#[test]
fn nobody_votes_twice_through_two_others() {
    let mut room = Room::opens(2, OnExpiry::Deny);
    decide(&mut room, 5, Some(1)).unwrap();
    // d borrows from a as well, for whom e has spoken, and then from e, who has none to lend.
    for lender in [1, 5] {
        let refused = decide(&mut room, 4, Some(lender)).unwrap_err();
        assert_eq!(refused.code(), contracts::ErrorCode::Forbidden);
    }
    let refused = decide(&mut room, 1, Some(2)).unwrap_err();
    assert_eq!(refused.code(), contracts::ErrorCode::AlreadyDecided);
    // The one who asked stands in for nobody.
    let refused = decide(&mut room, 0, Some(2)).unwrap_err();
    assert_eq!(refused.code(), contracts::ErrorCode::Forbidden);
    assert_eq!(room.desk.approval().votes.len(), 1);
}

#[test]
fn what_is_owed_and_by_whom_can_be_said() {
    let mut room = Room::opens(2, OnExpiry::Deny);
    let owed_of = |room: &Room| {
        owed(room.desk.approval())
            .into_iter()
            .map(|owed| (owed.code, owed.given, owed.count))
            .collect::<Vec<_>>()
    };
    let open = [("DEAR".to_owned(), 0, 1), ("RISKY".to_owned(), 0, 2)];
    assert_eq!(owed_of(&room), open);
    decide(&mut room, 2, None).unwrap();
    assert_eq!(owed_of(&room), [("RISKY".to_owned(), 1, 2)]);
    let facts_of = |room: &mut Room, person: usize| ApprovalFacts {
        now: room.desk.now,
        actor_id: PEOPLE[person].0.to_owned(),
        actor_kind: ActorKind::Person,
        actor_roles: roles(person),
        lent: Vec::new(),
        command_id: room.desk.facts().command_id,
        comment: room.desk.facts().ids.comment,
        amended: None,
    };
    let asks = |room: &mut Room, person: usize| {
        let approval = room.desk.approval().clone();
        let facts = facts_of(room, person);
        may_decide(&approval, &facts).map_err(|rejection| rejection.code())
    };
    use contracts::ErrorCode::{AlreadyDecided, Forbidden};
    let answers: Vec<_> = (0..6).map(|person| asks(&mut room, person)).collect();
    let (no, voted) = (Err(Forbidden), Err(AlreadyDecided));
    assert_eq!(answers, [no, Ok(()), voted, Ok(()), no, no]);
    decide(&mut room, 1, None).unwrap();
    assert_eq!(owed_of(&room), []);
    assert_eq!(asks(&mut room, 3), Err(AlreadyDecided));
    // Who is asked stays so, whatever became of it.
    let approval = room.desk.approval().clone();
    let mut is_asked_of = |person, change: &dyn Fn(&mut ApprovalFacts)| {
        let mut facts = facts_of(&mut room, person);
        change(&mut facts);
        is_asked(&approval, &facts)
    };
    let asked: Vec<_> = (0..6).map(|person| is_asked_of(person, &|_| {})).collect();
    assert_eq!(asked, [false, true, true, true, false, false]);
    let lent_by = |lender: usize| PolicyLoan {
        from: PEOPLE[lender].0.to_owned(),
        roles: roles(lender).into_iter().collect(),
    };
    assert!(is_asked_of(5, &|facts| facts.lent = vec![lent_by(1)]));
    // The one who asked has nothing to lend for it, and software no say.
    assert!(!is_asked_of(5, &|facts| facts.lent = vec![PolicyLoan {
        from: PEOPLE[0].0.to_owned(),
        ..lent_by(1)
    }]));
    assert!(!is_asked_of(1, &|facts| facts.actor_kind = ActorKind::Integration));
}

#[test]
fn only_who_asked_amends() {
    let mut room = Room::opens(1, OnExpiry::Deny);
    let approval_id = room.desk.approval().id;
    let command: Command = AmendApproval {
        approval_id,
        body: json!({}),
        reason: slug("because"),
    }
    .into();
    let mut amend = |person: usize| {
        let act = Act {
            minutes: 0,
            who: Who {
                person,
                kind: ActorKind::Person,
                lender: Some(0),
            },
            what: 4,
            variant: 1,
        };
        let facts = room.facts(&act, &command);
        room.desk.try_with(&command, &facts).map(|_| ())
    };
    // Nor with all roles, nor with what the one who asked has lent.
    let others = (1..PEOPLE.len()).map(&mut amend);
    let refused = Err(Rejection::NotTheProposer(approval_id));
    assert!(others.into_iter().all(|answer| answer == refused));
    amend(0).unwrap();
    assert_eq!(room.desk.approval().version, 2);
}

#[test]
fn a_lease_ends_by_itself() {
    let mut room = Room::opens(1, OnExpiry::Deny);
    let approval_id = room.desk.approval().id;
    let claim = |room: &mut Room, person| {
        let body = ClaimApproval {
            approval_id,
            minutes: 15,
        };
        does(room, person, None, body)
    };
    claim(&mut room, 1).unwrap();
    room.desk.pass(14);
    let refused = claim(&mut room, 2).unwrap_err();
    assert_eq!(refused.code(), contracts::ErrorCode::ApprovalClaimed);
    assert_eq!(refused.meta()["claimed_by"], "user:a");
    let refused = decide(&mut room, 2, None).unwrap_err();
    assert_eq!(refused.code(), contracts::ErrorCode::ApprovalClaimed);
    room.desk.pass(1);
    claim(&mut room, 2).unwrap();
    decide(&mut room, 2, None).unwrap();
    assert_eq!(room.desk.approval().state, ApprovalState::Approved);
}

/// A lease is for whoever will decide: the one who asked, software, people without a role and people
/// who have voted would only keep out the others.
#[test]
fn who_cannot_decide_keeps_nobody_from_it() {
    let mut room = Room::opens(2, OnExpiry::Deny);
    let approval_id = room.desk.approval().id;
    let claim = ClaimApproval {
        approval_id,
        minutes: 15,
    };
    let take_over = TakeOverApproval {
        approval_id,
        reason: slug("ill"),
        minutes: 15,
    };
    let both = |room: &mut Room, person, lender| {
        let claimed = does(room, person, lender, claim.clone());
        [claimed, does(room, person, lender, take_over.clone())]
    };
    use contracts::ErrorCode::{AlreadyDecided, Forbidden};
    for (person, lender) in [(0, None), (0, Some(1)), (4, None), (5, None), (5, Some(0))] {
        for refused in both(&mut room, person, lender) {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), Forbidden, "{person} {lender:?}");
            assert!(
                refused
                    .detail()
                    .contains("role approver or account_manager"),
                "{}",
                refused.detail()
            );
        }
    }
    for kind in [ActorKind::Agent, ActorKind::Integration] {
        let command = claim.clone().into();
        let facts = crate::Facts {
            actor_id: PEOPLE[1].0.to_owned(),
            actor_kind: kind,
            actor_roles: roles(1),
            ..room.desk.facts_for(&command)
        };
        let refused = room.desk.try_with(&command, &facts).unwrap_err();
        assert_eq!(refused.code(), Forbidden, "{kind}");
    }
    assert_eq!(room.desk.approval().claim, None);

    // On loan, as for the decision; and the word that is given gives the lease back.
    does(&mut room, 5, Some(1), claim.clone()).unwrap();
    decide(&mut room, 5, Some(1)).unwrap();
    assert_eq!(room.desk.approval().state, ApprovalState::Pending);
    assert_eq!(room.desk.approval().claim, None);
    for (person, lender) in [(5, Some(2)), (1, None)] {
        for refused in both(&mut room, person, lender) {
            assert_eq!(refused.unwrap_err().code(), AlreadyDecided);
        }
    }
    decide(&mut room, 2, None).unwrap();
    assert_eq!(room.desk.approval().state, ApprovalState::Approved);
}

/// What became of a released command when it was to be carried out.
fn carried_out(room: &mut Room, verdict: Result<Option<Slug>, Slug>) -> Result<Decided, Rejection> {
    let approval = room.desk.approval().clone();
    let ticket = room.desk.ticket().clone();
    let facts = room.desk.facts();
    let decided = execute(room.desk.key, &ticket, &note(), &approval, verdict, &facts)?;
    Ok(room.desk.take(decided))
}

fn released() -> Room {
    let mut room = Room::opens(1, OnExpiry::Deny);
    decide(&mut room, 2, None).unwrap();
    room
}

#[test]
fn what_was_released_is_carried_out_once_and_named() {
    let mut room = released();
    let decided = carried_out(&mut room, Ok(None)).unwrap();
    let names = decided.changes.iter().map(|change| &change.event);
    let executed = names.clone().find_map(|event| match event {
        TicketEvent::ApprovalExecuted {
            proposed_by,
            approved_by,
            ..
        } => Some((proposed_by.as_str(), approved_by.clone())),
        _ => None,
    });
    assert_eq!(executed, Some((PROPOSER, vec!["user:b".to_owned()])));
    let notes = decided.effects.iter();
    let notes = notes.filter(|effect| matches!(effect, Effect::WriteNote { .. }));
    assert_eq!(notes.count(), 1);
    assert_eq!(room.desk.approval().state, ApprovalState::Executed);
    assert_eq!(room.desk.ticket().approvals, []);
    let again = carried_out(&mut room, Ok(None)).unwrap_err();
    assert_eq!(again.code(), contracts::ErrorCode::AlreadyDecided);
}

#[test]
fn what_was_not_released_or_is_over_is_not_carried_out() {
    let mut room = Room::opens(1, OnExpiry::Deny);
    let early = carried_out(&mut room, Ok(None)).unwrap_err();
    assert_eq!(early, Rejection::NotReleased(room.desk.approval().id));
    let mut room = released();
    room.desk.pass(120);
    let late = carried_out(&mut room, Ok(None)).unwrap_err();
    assert_eq!(late.code(), contracts::ErrorCode::Expired);
    assert_eq!(late.meta()["why"], "not_carried_out");
}

#[test]
fn what_stands_against_it_makes_it_void_and_says_what() {
    let mut room = released();
    carried_out(&mut room, Err(slug("policy_stricter"))).unwrap();
    let approval = room.desk.approval();
    assert_eq!(approval.state, ApprovalState::Stale);
    assert_eq!(approval.reason, Some(slug("policy_stricter")));
    assert_eq!(
        approval.decided_by.as_deref(),
        Some("user:b"),
        "it was given"
    );
    assert_eq!(room.desk.ticket().approvals, []);
    let again = carried_out(&mut room, Ok(None)).unwrap_err();
    assert_eq!(again.meta()["why"], "policy_stricter");

    let mut room = released();
    room.desk.row(ApprovalId::from_uuid(uuid(77))).facts_sha256 = Some("f".repeat(64));
    carried_out(&mut room, Ok(None)).unwrap();
    let reason = room.desk.approval().reason.clone();
    assert_eq!(reason, Some(slug("facts_changed")));
}

#[test]
fn a_change_that_takes_the_ground_away_ends_it_in_the_same_breath() {
    let mut room = released();
    let cancelled = room.desk.run(Cancel {
        reason: slug("customer_request"),
    });
    assert!(matches!(
        cancelled.changes[1].event,
        TicketEvent::ApprovalWithdrawn { .. }
    ));
    assert_eq!(room.desk.approval().state, ApprovalState::Withdrawn);
    assert_eq!(room.desk.ticket().approvals, []);

    let mut desk = Desk::after([create(), triage(contracts::Priority::P1)]);
    let operation = Operation::Dispatch;
    let facts = facts_sha256(operation, desk.ticket()).unwrap();
    let approval = Approval {
        operation,
        ..held(&need(1, OnExpiry::Deny), facts)
    };
    let ticket = desk.ticket().clone();
    let decided = ticket::hold(desk.key, &ticket, &dispatch(), approval, &desk.facts());
    desk.take(decided.unwrap());
    // What somebody says leaves it alone; a dispatch by a person does not.
    desk.run(note());
    assert_eq!(desk.approval().state, ApprovalState::Pending);
    let decided = desk.run(dispatch());
    assert!(decided.changes.iter().any(|change| matches!(
        &change.event,
        TicketEvent::ApprovalStale { reason, .. } if reason.as_str() == "facts_changed"
    )));
    assert_eq!(desk.approval().state, ApprovalState::Stale);
}

#[test]
fn what_is_held_is_not_held_twice() {
    let first = held(&need(1, OnExpiry::Deny), "f".repeat(64));
    let with = |change: &dyn Fn(&mut Approval)| {
        let mut second = first.clone();
        second.id = ApprovalId::from_uuid(uuid(78));
        change(&mut second);
        second
    };
    let refused = |asked: &Approval, before: &Approval, at| {
        let before = std::slice::from_ref(before);
        match not_asked_before(asked, before, at) {
            Err(Rejection::HeldAlready { approval_id, .. }) => {
                assert_eq!(approval_id, first.id);
                true
            }
            other => {
                assert_eq!(other, Ok(()));
                false
            }
        }
    };
    let same = with(&|_| ());
    assert!(refused(&same, &first, monday()));
    let in_state = |state| Approval {
        state,
        ..first.clone()
    };
    assert!(refused(&same, &in_state(ApprovalState::Approved), monday()));
    for over in [
        ApprovalState::Rejected,
        ApprovalState::Withdrawn,
        ApprovalState::Expired,
        ApprovalState::Stale,
        ApprovalState::Executed,
    ] {
        assert!(!refused(&same, &in_state(over), monday()), "{over}");
    }
    let end = first.expires_at.unwrap();
    assert!(refused(&same, &first, end - TimeDelta::microseconds(1)));
    assert!(!refused(&same, &first, end), "it has come to its end");
    assert!(
        !refused(&first, &first, monday()),
        "an amendment is none of its own"
    );
    let others: [&dyn Fn(&mut Approval); 3] = [
        &|it| it.requested_by = "user:a".to_owned(),
        &|it| it.request_sha256 = "1".repeat(64),
        &|it| it.facts_sha256 = None,
    ];
    for change in others {
        assert!(!refused(&with(change), &first, monday()));
    }
}

#[test]
fn what_could_not_be_done_now_is_not_held() {
    let desk = Desk::after([create(), triage(contracts::Priority::P1)]);
    let approval = held(&need(1, OnExpiry::Deny), "0".repeat(64));
    let facts = desk.clone().facts();
    let refused = ticket::hold(desk.key, desk.ticket(), &check_in(), approval, &facts);
    let code = refused.unwrap_err().code();
    assert_eq!(code, contracts::ErrorCode::IllegalTransition);
}

#[test]
fn a_change_order_that_was_approved_is_over() {
    let mut desk = on_site();
    desk.run(request_change(12_000));
    let approval_id = desk.approval().id;
    desk.run(DecideApproval {
        approval_id,
        verdict: Verdict::Approve,
        reason: None,
        version: None,
    });
    let refused = desk.refuse(WithdrawApproval {
        approval_id,
        reason: slug("mistake"),
    });
    assert_eq!(refused.code(), contracts::ErrorCode::AlreadyDecided);
    assert_eq!(desk.ticket().nte_cents, 62_000);
}
