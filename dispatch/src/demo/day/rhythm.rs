//! When jobs come in: emergencies at night, installations by day.

use rand::{Rng, RngExt};

use super::plan::Minutes;

/// How many emergencies an hour brings, by the hour of the tenant's local time: most when shops are
/// shut and people come home.
const EMERGENCIES: [u32; 24] = [
    9, 10, 10, 9, 7, 5, 4, 4, 5, 5, 4, 4, 4, 4, 4, 4, 5, 6, 7, 8, 9, 10, 10, 9,
];
/// How many planned jobs: in office hours.
const PLANNED: [u32; 24] = [
    0, 0, 0, 0, 0, 0, 0, 1, 8, 12, 12, 10, 6, 8, 10, 9, 7, 2, 0, 0, 0, 0, 0, 0,
];
/// Of a hundred jobs.
const PLANNED_SHARE: u32 = 25;

/// A job that comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Minute of the local day.
    pub at: Minutes,
    /// Whether nobody had planned it.
    pub emergency: bool,
}

/// Draws one.
pub fn draw(rng: &mut impl Rng) -> Arrival {
    let emergency = rng.random_range(0..100) >= PLANNED_SHARE;
    let rates = if emergency { &EMERGENCIES } else { &PLANNED };
    let hour = weighted(rng, rates);
    let hour = Minutes::try_from(hour).expect("one of 24");
    Arrival {
        at: hour * 60 + rng.random_range(0..60),
        emergency,
    }
}

/// An index, as often as its weight says.
pub fn weighted(rng: &mut impl Rng, weights: &[u32]) -> usize {
    let mut left = rng.random_range(0..weights.iter().sum());
    for (index, weight) in weights.iter().enumerate() {
        if left < *weight {
            return index;
        }
        left -= weight;
    }
    unreachable!("what is left is less than the sum")
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn emergencies_come_at_night_and_planned_jobs_by_day() {
        let mut rng = StdRng::seed_from_u64(1);
        let arrivals: Vec<_> = (0..4000).map(|_| draw(&mut rng)).collect();
        let night = |arrival: &&Arrival| arrival.at < 6 * 60 || arrival.at >= 20 * 60;
        let (emergencies, planned): (Vec<_>, Vec<_>) =
            arrivals.iter().partition(|arrival| arrival.emergency);
        assert!(emergencies.len() > 2 * planned.len());
        let at_night = emergencies.iter().copied().filter(night).count();
        assert!(at_night * 2 > emergencies.len(), "{at_night}");
        assert_eq!(planned.iter().copied().filter(night).count(), 0);
    }
}
