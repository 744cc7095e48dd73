//! The plan, without a system.

use std::collections::{BTreeSet, HashSet};

use contracts::TicketState;
use domain::ticket::table::next_state;
use strum::VariantArray;

use super::{plan::*, *};

fn tell(seed: u64, count: u32) -> Vec<Story> {
    let day = Day::new(count, Speed::Max, Some(seed)).unwrap();
    stories::tell(day.seed, day.count, &day.templates)
}

/// Walks a story through the state table, on its own.
#[track_caller]
fn walk(story: &Story, used: &mut BTreeSet<Transition>) {
    let mut states: [Option<TicketState>; 2] = [None, None];
    for (step, act) in story.acts.iter().enumerate() {
        let place = || {
            format!(
                "story {} ({}), step {step}: {act:?}",
                story.number, story.plot
            )
        };
        let from = states[act.slot];
        let operation = act.deed.operation();
        let leads = |operation| match from {
            None => Some(TicketState::New),
            Some(from) => next_state(operation, from),
        };
        match &act.expect {
            Expect::State(to) => {
                let Some(operation) = operation else {
                    assert_eq!(Some(*to), from, "{}", place());
                    continue;
                };
                assert_eq!(leads(operation), Some(*to), "{}", place());
                used.insert(Transition {
                    from,
                    operation,
                    to: *to,
                });
                states[act.slot] = Some(*to);
            }
            Expect::Routed(Branch::Created) => {
                assert_eq!(from, None, "{}", place());
                let (operation, to) = (operation.unwrap(), TicketState::New);
                used.insert(Transition {
                    from,
                    operation,
                    to,
                });
                states[act.slot] = Some(to);
            }
            Expect::Routed(Branch::Attached) => {
                let to = from.unwrap();
                assert!(!to.is_terminal(), "{}", place());
                used.insert(Transition {
                    from,
                    operation: operation.unwrap(),
                    to,
                });
            }
            Expect::Refused(codes) => {
                assert!(!codes.is_empty(), "{}", place());
                assert!(act.twist.is_some(), "{}", place());
                let impossible = operation.is_some_and(|operation| leads(operation).is_none());
                let wrong_state = act.twist == Some(Twist::WrongState);
                let decided = act.twist == Some(Twist::DecidedTwice);
                assert!(!wrong_state || impossible, "{}", place());
                assert!(wrong_state || decided || !impossible, "{}", place());
            }
            Expect::Repeated => assert_eq!(act.twist, Some(Twist::SameAgain), "{}", place()),
            Expect::Told => assert_eq!(act.twist, Some(Twist::DryRun), "{}", place()),
            Expect::Filed | Expect::Routed(_) => {}
        }
    }
    let opened = states.iter().flatten().count();
    assert_eq!(
        usize::try_from(story.tickets).unwrap(),
        opened,
        "story {}",
        story.number
    );
}

#[test]
fn the_same_seed_tells_the_same_day() {
    assert_eq!(tell(7, 120), tell(7, 120));
    assert_ne!(tell(7, 120), tell(8, 120));
}

#[test]
fn a_story_expects_what_the_state_table_says() {
    for seed in 0..20 {
        let mut used = BTreeSet::new();
        for story in tell(seed, 150) {
            walk(&story, &mut used);
        }
    }
}

#[test]
fn a_day_of_two_hundred_tickets_has_everything() {
    for seed in 0..20 {
        let (mut used, mut plots, mut templates) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut twists, mut operations, mut branches) =
            (BTreeSet::new(), BTreeSet::new(), HashSet::new());
        for story in tell(seed, 200) {
            walk(&story, &mut used);
            plots.insert(story.plot);
            templates.insert(story.template.clone());
            for act in &story.acts {
                twists.extend(act.twist);
                operations.extend(act.deed.operation());
                if let Expect::Routed(branch) = act.expect {
                    branches.insert(branch);
                }
            }
        }
        let left: Vec<_> = Transition::all().difference(&used).copied().collect();
        assert_eq!(left, [], "seed {seed}");
        assert_eq!(
            plots,
            Plot::VARIANTS.iter().copied().collect(),
            "seed {seed}"
        );
        assert_eq!(
            twists,
            Twist::VARIANTS.iter().copied().collect(),
            "seed {seed}"
        );
        assert_eq!(operations, operations_all(), "seed {seed}");
        assert_eq!(branches, Branch::all().into_iter().collect(), "seed {seed}");
        let all = Day::new(1, Speed::Max, None).unwrap().templates;
        assert_eq!(
            templates,
            all.into_iter().map(|template| template.id).collect()
        );
    }
}

fn operations_all() -> BTreeSet<contracts::Operation> {
    plan::operations().collect()
}

#[test]
fn the_explorers_of_a_small_day_use_every_transition() {
    for seed in 0..20 {
        let mut used = BTreeSet::new();
        for story in tell(seed, 40) {
            walk(&story, &mut used);
        }
        assert_eq!(used, Transition::all(), "seed {seed}");
    }
}

#[test]
fn software_is_stopped_once_a_day() {
    for seed in 0..5 {
        let stories = tell(seed, 2000);
        let engaged = stories
            .iter()
            .flat_map(|story| &story.acts)
            .filter(|act| act.deed == Deed::EngageKillSwitch);
        assert_eq!(engaged.count(), 1);
        let tickets: u32 = stories.iter().map(|story| story.tickets).sum();
        assert!((2000..=2001).contains(&tickets), "{tickets}");
    }
}

#[test]
fn stories_come_in_the_order_of_their_arrival() {
    let stories = tell(3, 500);
    assert!(stories.is_sorted_by_key(|story| story.arrives));
    assert!(stories.iter().all(|story| story.arrives < 24 * 60));
}
