//! How far software may act by itself, on this ticket, with this command, now.

use chrono::{DateTime, Utc};
use contracts::{
    Operation, Priority, Slug, TemplateId, TicketId,
    autonomy::{AutonomyRules, StageSetting, StageTarget},
    canonical::canonical_sha256,
    comms::Channel,
    event::{AutonomyMode, Stopped},
    kill_switch::{KillScope, KillState, KillSwitchRow},
    policy::PolicyStage,
    proposal::ProposalKind,
    ticket::Ticket,
};
use strum::VariantArray;

use crate::filing::is_staged;

/// Everything that the answer depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Autonomy {
    /// The moment: switches may release themselves.
    pub at: DateTime<Utc>,
    /// What is set for the tenant.
    pub stages: Vec<StageSetting>,
    /// The tenant's switches that were ever turned, and the one over everything.
    pub switches: Vec<KillSwitchRow>,
    /// The most that this environment allows.
    pub ceiling: AutonomyMode,
    /// The bundle's rules.
    pub rules: AutonomyRules,
}

/// What software does when it follows advice of this kind; `None`: it only ever advises. It never
/// decides an approval.
pub const fn operation_of(kind: ProposalKind) -> Option<Operation> {
    match kind {
        ProposalKind::Triage => Some(Operation::Triage),
        ProposalKind::Technician => Some(Operation::Dispatch),
        ProposalKind::Slot => Some(Operation::ProposeSchedule),
        ProposalKind::Closeout => Some(Operation::QaVerify),
        ProposalKind::InvoiceLines => Some(Operation::GenerateInvoice),
        ProposalKind::Reminder | ProposalKind::Escalation | ProposalKind::ChangeDecision => None,
    }
}

/// Advice that software follows with this command, if there is any.
pub fn kind_of(operation: Operation) -> Option<ProposalKind> {
    let mut kinds = acting_kinds();
    kinds
        .find(|(_, acts)| *acts == operation)
        .map(|(kind, _)| kind)
}

impl Autonomy {
    /// The mode that holds, CANARY resolved to AUTO or APPROVE, and how it came about.
    pub fn stage(
        &self,
        operation: Operation,
        ticket: Option<&Ticket>,
    ) -> (AutonomyMode, PolicyStage) {
        let risk = self.risk(ticket);
        let setting = self.setting(operation, &risk);
        let configured = setting.map_or(self.rules.default_mode, |setting| setting.mode);
        let percent = setting.and_then(|setting| setting.percent).unwrap_or(0);
        let in_canary = ticket.is_some_and(|ticket| is_in_canary(ticket.id, percent));
        let opted_out = ticket.is_some_and(|ticket| ticket.autonomy_opt_out);
        let resolved = match configured.min(self.ceiling) {
            AutonomyMode::Canary if in_canary => AutonomyMode::Auto,
            AutonomyMode::Canary => AutonomyMode::Approve,
            mode => mode,
        };
        let mode = match opted_out {
            true => resolved.min(AutonomyMode::Shadow),
            false => resolved,
        };
        let stage = PolicyStage {
            configured,
            percent,
            risk,
            ceiling: self.ceiling,
            in_canary,
            opted_out,
        };
        (mode, stage)
    }

    /// What is set for a command: for its risk class, else for all.
    fn setting(&self, operation: Operation, risk: &Slug) -> Option<&StageSetting> {
        let of = |wanted: Option<&Slug>| {
            self.stages
                .iter()
                .find(|s| s.target.operation == operation && s.target.risk.as_ref() == wanted)
        };
        of(Some(risk)).or_else(|| of(None))
    }

    /// The risk class of a ticket: the first that fits, by name; else the default.
    pub fn risk(&self, ticket: Option<&Ticket>) -> Slug {
        let risk = ticket.map(|ticket| self.risk_of(ticket.priority, &ticket.template));
        risk.unwrap_or(&self.rules.default_risk).clone()
    }

    /// The risk class of tickets like these.
    pub fn risk_of(&self, priority: Priority, template: &TemplateId) -> &Slug {
        let mut classes = self.rules.risk_classes.iter();
        let fits = classes.find(|(_, class)| {
            class.priorities.contains(&priority) || class.templates.contains(template)
        });
        fits.map_or(&self.rules.default_risk, |(name, _)| name)
    }

    /// Whether the bundle has the risk class that a stage is about.
    pub fn has_class_of(&self, target: &StageTarget) -> bool {
        let rules = &self.rules;
        let known =
            |risk: &Slug| *risk == rules.default_risk || rules.risk_classes.contains_key(risk);
        target.risk.as_ref().is_none_or(known)
    }

    /// Whether something is set for this risk class alone.
    pub fn has_stage_of_its_own(&self, operation: Operation, risk: &Slug) -> bool {
        let mut stages = self.stages.iter();
        stages.any(|s| s.target.operation == operation && s.target.risk.as_ref() == Some(risk))
    }

    /// Where a stage stands: what is set for it, or what holds without: a risk class follows the
    /// stage for all classes, its version included, so that a change there is one of the class too.
    /// Version 0 where nothing was ever set.
    pub fn standing(&self, target: &StageTarget) -> StageSetting {
        let of = |risk: Option<&Slug>| {
            self.stages
                .iter()
                .find(|s| s.target.operation == target.operation && s.target.risk.as_ref() == risk)
        };
        if let Some(setting) = of(target.risk.as_ref()) {
            return setting.clone();
        }
        let general = of(None);
        StageSetting {
            target: target.clone(),
            mode: general.map_or(self.rules.default_mode, |setting| setting.mode),
            percent: general.and_then(|setting| setting.percent),
            version: general.map_or(0, |setting| setting.version),
        }
    }

    /// Every stage that stands: what is set, and for each command what holds where nothing is set for
    /// all risk classes.
    pub fn all_standing(&self) -> Vec<StageSetting> {
        let is_set = |target: &StageTarget| self.stages.iter().any(|set| set.target == *target);
        let operations = Operation::VARIANTS.iter().copied();
        let targets = operations
            .filter(|operation| is_staged(*operation))
            .map(|operation| StageTarget {
                operation,
                risk: None,
            });
        let unset = targets
            .filter(|target| !is_set(target))
            .map(|target| self.standing(&target));
        self.stages.iter().cloned().chain(unset).collect()
    }

    /// The names of the switches that stop this.
    pub fn stopped_by(
        &self,
        operation: Operation,
        ticket: Option<TicketId>,
        channel: Option<Channel>,
        actor_id: &str,
    ) -> Vec<String> {
        let scopes = [
            Some(KillScope::Everything),
            Some(KillScope::Tenant),
            Some(KillScope::Operation { operation }),
            channel.map(|channel| KillScope::Channel { channel }),
            Some(KillScope::Agent {
                actor_id: actor_id.to_owned(),
            }),
            ticket.map(|ticket_id| KillScope::Ticket { ticket_id }),
        ];
        let fitting: Vec<String> = scopes.iter().flatten().map(KillScope::key).collect();
        self.switches
            .iter()
            .filter(|switch| switch.stops(self.at) && fitting.contains(&switch.scope))
            .map(|switch| switch.scope.clone())
            .collect()
    }

    /// What a switch stops on a ticket, whoever would do it by itself.
    pub fn stopped(&self, ticket: TicketId) -> Option<Stopped> {
        kill_state(&self.switches, self.at, ticket).stopped
    }

    /// Rises with each turn of any switch.
    pub fn generation(&self) -> u64 {
        self.switches.iter().map(|switch| switch.generation).sum()
    }

    /// The most that software may do on this ticket, of all that it could do.
    pub fn most(&self, ticket: &Ticket) -> AutonomyMode {
        let modes = acting_kinds().map(|(_, operation)| self.stage(operation, Some(ticket)).0);
        modes.max().unwrap_or(AutonomyMode::Off)
    }

    /// Advice that software may follow, by itself or once released.
    pub fn acts_on(&self, ticket: &Ticket) -> Vec<ProposalKind> {
        let stopped = self.stopped(ticket.id).unwrap_or_default();
        acting_kinds()
            .filter(|(_, operation)| !stopped.stops(*operation))
            .filter(|(_, operation)| {
                self.stage(*operation, Some(ticket)).0 >= AutonomyMode::Approve
            })
            .map(|(kind, _)| kind)
            .collect()
    }

    /// Advice that is not wanted.
    pub fn silent_on(&self, ticket: &Ticket) -> Vec<ProposalKind> {
        acting_kinds()
            .filter(|(_, operation)| self.stage(*operation, Some(ticket)).0 == AutonomyMode::Off)
            .map(|(kind, _)| kind)
            .collect()
    }
}

/// How the switches stand for what software does on a ticket, whoever would do it by itself.
pub fn kill_state(switches: &[KillSwitchRow], at: DateTime<Utc>, ticket: TicketId) -> KillState {
    let engaged = |scope: KillScope| {
        let key = scope.key();
        switches.iter().any(|s| s.scope == key && s.stops(at))
    };
    let all = engaged(KillScope::Everything)
        || engaged(KillScope::Tenant)
        || engaged(KillScope::Ticket { ticket_id: ticket });
    let operations: Vec<Operation> = match all {
        true => Vec::new(),
        false => Operation::VARIANTS
            .iter()
            .copied()
            .filter(|operation| {
                engaged(KillScope::Operation {
                    operation: *operation,
                })
            })
            .collect(),
    };
    KillState {
        generation: switches.iter().map(|switch| switch.generation).sum(),
        stopped: (all || !operations.is_empty()).then_some(Stopped { all, operations }),
    }
}

fn acting_kinds() -> impl Iterator<Item = (ProposalKind, Operation)> {
    let kinds = ProposalKind::VARIANTS.iter();
    kinds.filter_map(|kind| Some((*kind, operation_of(*kind)?)))
}

/// Whether a ticket is in the share: by a hash of its id, so that it stays in when the share grows.
pub fn is_in_canary(ticket: TicketId, percent: u8) -> bool {
    let digest = canonical_sha256(&ticket).unwrap_or_default();
    let bucket = digest
        .get(..15)
        .and_then(|head| u64::from_str_radix(head, 16).ok())
        .map_or(100, |head| head % 100);
    bucket < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contracts::autonomy::RiskClass;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{autonomy, on_site, slug};

    fn id(n: u128) -> TicketId {
        TicketId::from_uuid(Uuid::from_u128(n))
    }

    fn mode() -> impl Strategy<Value = AutonomyMode> {
        prop::sample::select(AutonomyMode::VARIANTS)
    }

    fn setting(risk: Option<&str>, mode: AutonomyMode, percent: u8) -> StageSetting {
        StageSetting {
            target: StageTarget {
                operation: Operation::Dispatch,
                risk: risk.map(slug),
            },
            mode,
            percent: (mode == AutonomyMode::Canary).then_some(percent),
            version: 1,
        }
    }

    #[test]
    fn a_share_of_the_tickets_is_about_that_share() {
        let among = 10_000_u128;
        for percent in [0, 1, 10, 50, 99, 100] {
            let held = (0..among)
                .filter(|n| is_in_canary(id(n * 7919), percent))
                .count();
            let wanted = among as f64 * f64::from(percent) / 100.0;
            assert!((held as f64 - wanted).abs() <= 200.0, "{percent} %: {held}");
        }
    }

    proptest! {
        #[test]
        fn who_is_in_a_share_stays_in_a_larger_one(n: u128, percent in 0_u8..100, more in 0_u8..100) {
            let larger = percent.saturating_add(more).min(100);
            prop_assert!(!is_in_canary(id(n), percent) || is_in_canary(id(n), larger));
            prop_assert_eq!(is_in_canary(id(n), percent), is_in_canary(id(n), percent));
        }

        #[test]
        fn the_mode_is_never_more_than_it_may_be(
            configured in mode(), ceiling in mode(), opted_out: bool, percent in 1_u8..100, n: u128,
        ) {
            let mut ticket = on_site().ticket().clone();
            ticket.id = id(n);
            ticket.autonomy_opt_out = opted_out;
            let autonomy = Autonomy {
                stages: vec![setting(None, configured, percent)],
                ceiling,
                ..autonomy()
            };
            let (mode, stage) = autonomy.stage(Operation::Dispatch, Some(&ticket));
            prop_assert_ne!(mode, AutonomyMode::Canary, "it is resolved");
            let by_share = configured.min(ceiling) == AutonomyMode::Canary;
            match by_share {
                true => prop_assert!(mode <= AutonomyMode::Auto),
                false => prop_assert!(mode <= configured.min(ceiling)),
            }
            if mode == AutonomyMode::Auto {
                prop_assert!(configured == AutonomyMode::Auto && ceiling == AutonomyMode::Auto
                    || by_share && stage.in_canary);
            }
            if opted_out {
                prop_assert!(mode <= AutonomyMode::Shadow);
            } else if by_share && !stage.in_canary {
                prop_assert_eq!(mode, AutonomyMode::Approve);
            }
            // What nobody set is at the default.
            let (other, _) = autonomy.stage(Operation::Triage, Some(&ticket));
            prop_assert!(other <= AutonomyMode::Shadow);
        }
    }

    #[test]
    fn a_risk_class_may_have_a_stage_of_its_own() {
        let ticket = on_site().ticket().clone();
        let mut autonomy = autonomy();
        let urgent = RiskClass {
            priorities: vec![ticket.priority],
            templates: Vec::new(),
        };
        autonomy.rules.risk_classes = BTreeMap::from([(slug("urgent"), urgent)]);
        autonomy.stages = vec![setting(None, AutonomyMode::Auto, 0)];
        let effective = |autonomy: &Autonomy| autonomy.stage(Operation::Dispatch, Some(&ticket)).0;
        assert_eq!(effective(&autonomy), AutonomyMode::Auto);
        autonomy
            .stages
            .push(setting(Some("urgent"), AutonomyMode::Approve, 0));
        assert_eq!(effective(&autonomy), AutonomyMode::Approve);
        autonomy
            .stages
            .push(setting(Some("standard"), AutonomyMode::Off, 0));
        assert_eq!(
            effective(&autonomy),
            AutonomyMode::Approve,
            "of another class"
        );
        assert_eq!(
            autonomy.stage(Operation::Dispatch, None).0,
            AutonomyMode::Off
        );

        let standing = |risk: Option<&str>| {
            autonomy.standing(&StageTarget {
                operation: Operation::Dispatch,
                risk: risk.map(slug),
            })
        };
        assert_eq!(
            (standing(None).mode, standing(None).version),
            (AutonomyMode::Auto, 1)
        );
        let unset = standing(Some("other"));
        assert_eq!(
            (unset.mode, unset.version),
            (AutonomyMode::Auto, 1),
            "as for all, its version too"
        );
        // All that stands: the three that are set, and the other commands once each.
        let all = autonomy.all_standing();
        assert_eq!(all[..3], autonomy.stages[..]);
        let of = |operation| {
            let stages = all
                .iter()
                .filter(move |it| it.target.operation == operation);
            stages.collect::<Vec<_>>()
        };
        assert_eq!(of(Operation::Dispatch).len(), 3);
        let [message] = of(Operation::CommsOutbound)[..] else {
            panic!("{all:?}")
        };
        assert_eq!((message.mode, message.version), (AutonomyMode::Shadow, 0));
        assert!(of(Operation::CreateTicket).is_empty(), "it has no stage");
        let elsewhere = autonomy.standing(&StageTarget {
            operation: Operation::Triage,
            risk: None,
        });
        assert_eq!(
            (elsewhere.mode, elsewhere.version),
            (AutonomyMode::Shadow, 0)
        );
    }
}
