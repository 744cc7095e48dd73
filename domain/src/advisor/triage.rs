//! Triage advice: how urgent a new ticket is.
//!
//! Urgency is a number of points: what the template starts from, half of what the caller asked
//! for beyond that, and what the known details add. Each priority sits at a point on that scale
//! and scores by its distance from the urgency; a second priority is named when it is nearly as
//! near. The template that the ticket came with is kept: details cannot tell a door from a pane.

use contracts::{
    Priority, Slug,
    proposal::{Advice, Choice, Factor, Ranked, TriageInput},
    value::DetailValue,
};
use strum::VariantArray;

use super::{factor, slug};

/// A runner-up is named when it is at most this much farther from the urgency than the best.
const NEARLY: i64 = 15;

/// Where a priority sits on the scale of urgency.
const fn centre(priority: Priority) -> i64 {
    match priority {
        Priority::P1 => 100,
        Priority::P2 => 70,
        Priority::P3 => 40,
        Priority::P4 => 10,
    }
}

const fn number(priority: Priority) -> i64 {
    match priority {
        Priority::P1 => 1,
        Priority::P2 => 2,
        Priority::P3 => 3,
        Priority::P4 => 4,
    }
}

pub(super) fn advise(input: &TriageInput) -> Advice {
    let reasons = reasons(input);
    let urgency: i64 = reasons.iter().map(|factor| factor.points).sum();
    let distance = |priority| (urgency - centre(priority)).abs();
    let mut priorities = Priority::VARIANTS.to_vec();
    // Sorting is stable, so of two that are equally near the more urgent one wins.
    priorities.sort_by_key(|priority| distance(*priority));
    let limit = priorities.first().map_or(0, |best| distance(*best)) + NEARLY;
    let ranked = priorities
        .into_iter()
        .filter(|priority| distance(*priority) <= limit)
        .map(|priority| {
            let mut factors = reasons.clone();
            let off = distance(priority);
            factors.push(factor("off_by", off, -off));
            Ranked {
                choice: Choice::Triage {
                    template: input.template.clone(),
                    priority,
                },
                score: factors.iter().map(|factor| factor.points).sum(),
                factors,
            }
        })
        .collect();
    Advice {
        advisor: slug("triage_v1"),
        ranked,
        excluded: Vec::new(),
    }
}

fn reasons(input: &TriageInput) -> Vec<Factor> {
    let usual = centre(input.default_priority);
    let mut reasons = vec![factor(
        "template_priority",
        number(input.default_priority),
        usual,
    )];
    if input.priority != input.default_priority {
        let points = (centre(input.priority) - usual) / 2;
        reasons.push(factor("requested_priority", number(input.priority), points));
    }
    let details = input.details.iter();
    reasons.extend(details.filter_map(|(name, value)| detail(name.as_str(), value)));
    let missing = i64::try_from(missing(input).count()).unwrap_or(i64::MAX);
    if missing > 0 {
        // What is not known makes nothing more or less urgent; a reader should see it.
        reasons.push(factor("missing_details", missing, 0));
    }
    reasons
}

/// What has to be asked for before triage is done.
pub(super) fn missing(input: &TriageInput) -> impl Iterator<Item = &Slug> {
    let wanted = input.required_details.iter();
    wanted.filter(|name| !input.details.contains_key(*name))
}

/// What a known detail adds. Unknown ones add nothing.
fn detail(name: &str, value: &DetailValue) -> Option<Factor> {
    let flag = |name, if_set, if_not| match value {
        DetailValue::Flag(true) => Some(factor(name, 1, if_set)),
        DetailValue::Flag(false) => Some(factor(name, 0, if_not)),
        DetailValue::Number(_) | DetailValue::Word(_) => None,
    };
    let at_least = |name, least, points| match value {
        DetailValue::Number(n) if *n >= least => Some(factor(name, *n, points)),
        DetailValue::Number(_) | DetailValue::Flag(_) | DetailValue::Word(_) => None,
    };
    match name {
        "injury_risk" => flag("injury_risk", 50, 0),
        "public_hazard" => flag("public_hazard", 40, -15),
        "building_secure" => flag("building_secure", -30, 30),
        "boarded_up" => flag("boarded_up", -30, 0),
        "occupied" => flag("occupied", 10, 0),
        // A pane of 2 m² and more falls in one piece.
        "glass_area_dm2" => at_least("glass_area_dm2", 200, 15),
        "pane_count" => at_least("pane_count", 2, 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use contracts::proposal::TriageInput;

    use super::*;
    use crate::testing::{slug as word, triage_input};

    fn best(input: &TriageInput) -> Priority {
        let advice = advise(input);
        for ranked in &advice.ranked {
            let sum: i64 = ranked.factors.iter().map(|f| f.points).sum();
            assert_eq!(ranked.score, sum);
        }
        assert!(advice.ranked.is_sorted_by_key(|r| -r.score));
        match advice.best() {
            Some(Choice::Triage { priority, template }) => {
                assert_eq!(template, &input.template);
                *priority
            }
            other => panic!("{other:?}"),
        }
    }

    fn with(details: &[(&str, DetailValue)]) -> TriageInput {
        let details = details
            .iter()
            .map(|(name, value)| (word(name), value.clone()));
        TriageInput {
            details: details.collect(),
            ..triage_input(1)
        }
    }

    #[test]
    fn without_details_the_templates_priority_stands_alone() {
        let advice = advise(&triage_input(1));
        assert_eq!(best(&triage_input(1)), Priority::P2);
        assert_eq!(advice.ranked.len(), 1, "nothing speaks for another one");
    }

    #[test]
    fn danger_raises_and_a_secured_site_lowers() {
        let yes = DetailValue::Flag(true);
        let no = DetailValue::Flag(false);
        assert_eq!(best(&with(&[("public_hazard", yes.clone())])), Priority::P1);
        assert_eq!(
            best(&with(&[("building_secure", no.clone())])),
            Priority::P1
        );
        assert_eq!(
            best(&with(&[("building_secure", yes.clone())])),
            Priority::P3
        );
        let calm = [("public_hazard", no), ("boarded_up", yes.clone())];
        assert_eq!(best(&with(&calm)), Priority::P3);
        let both = [("public_hazard", yes.clone()), ("boarded_up", yes)];
        assert_eq!(best(&with(&both)), Priority::P2);
    }

    #[test]
    fn measures_count_from_a_size_on_and_unknown_details_not_at_all() {
        let points = |name, value| {
            let advice = advise(&with(&[(name, value)]));
            let factors = &advice.ranked[0].factors;
            factors
                .iter()
                .find(|f| f.name.as_str() == name)
                .map(|f| f.points)
        };
        assert_eq!(points("glass_area_dm2", DetailValue::Number(200)), Some(15));
        assert_eq!(points("glass_area_dm2", DetailValue::Number(199)), None);
        assert_eq!(points("public_hazard", DetailValue::Number(1)), None);
        assert_eq!(points("colour", DetailValue::Word(word("red"))), None);
    }

    #[test]
    fn what_the_caller_asked_for_counts_half_and_makes_an_alternative() {
        let asked = TriageInput {
            priority: Priority::P1,
            ..triage_input(1)
        };
        // Half way between the two: the more urgent wins, the other is named.
        let choices: Vec<_> = advise(&asked)
            .ranked
            .into_iter()
            .map(|r| r.choice)
            .collect();
        let choice = |priority| Choice::Triage {
            template: asked.template.clone(),
            priority,
        };
        assert_eq!(choices, [choice(Priority::P1), choice(Priority::P2)]);
    }

    #[test]
    fn what_is_not_known_is_said_and_weighs_nothing() {
        let input = TriageInput {
            required_details: vec![word("pane_count"), word("public_hazard")],
            ..with(&[("pane_count", DetailValue::Number(1))])
        };
        let advice = advise(&input);
        let missing = advice.ranked[0].factors.iter();
        let missing: Vec<_> = missing
            .filter(|f| f.name.as_str() == "missing_details")
            .map(|f| (f.value, f.points))
            .collect();
        assert_eq!(missing, [(1, 0)]);
    }
}
