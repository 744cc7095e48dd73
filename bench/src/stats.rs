//! Numbers of interleaved rounds.

use anyhow::Result;

/// Both sides of a comparison, round by round.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    /// What we built.
    pub ours: Vec<f64>,
    /// What it is held against.
    pub baseline: Vec<f64>,
}

/// Median with the range it comes from.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        assert!(n > 0, "a spread of nothing");
        Self {
            median: f64::midpoint(values[(n - 1) / 2], values[n / 2]),
            min: values[0],
            max: values[n - 1],
        }
    }
}

impl Rounds {
    /// Ours divided by the baseline of the same round.
    pub fn ratio(&self) -> Spread {
        Spread::of(self.pairs().map(|(ours, baseline)| ours / baseline))
    }

    /// Ours less the baseline of the same round.
    pub fn difference(&self) -> Spread {
        Spread::of(self.pairs().map(|(ours, baseline)| ours - baseline))
    }

    /// The middle one of ours.
    pub fn ours(&self) -> f64 {
        Spread::of(self.ours.iter().copied()).median
    }

    /// The middle one of the baseline's.
    pub fn baseline(&self) -> f64 {
        Spread::of(self.baseline.iter().copied()).median
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.ours.iter().copied().zip(self.baseline.iter().copied())
    }

    fn push(&mut self, ours: f64, baseline: f64) {
        self.ours.push(ours);
        self.baseline.push(baseline);
    }
}

/// Runs both sides in turn, the one that begins changing, so that neither always has the quieter
/// machine. Each answers `N` figures; what comes back has one [`Rounds`] per figure.
pub async fn interleaved<const N: usize>(
    id: &str,
    rounds: usize,
    mut ours: impl AsyncFnMut(usize) -> Result<[f64; N]>,
    mut baseline: impl AsyncFnMut(usize) -> Result<[f64; N]>,
) -> Result<[Rounds; N]> {
    let mut all: [Rounds; N] = std::array::from_fn(|_| Rounds::default());
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = ours(round).await?;
            (a, baseline(round).await?)
        } else {
            let b = baseline(round).await?;
            (ours(round).await?, b)
        };
        for (rounds, (a, b)) in all.iter_mut().zip(a.into_iter().zip(b)) {
            rounds.push(a, b);
        }
        let shown: Vec<_> = a
            .iter()
            .zip(b)
            .map(|(a, b)| format!("{a:.2} / {b:.2}"))
            .collect();
        crate::say(&format!("{id} round {}: {}", round + 1, shown.join(", ")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let rounds = Rounds {
            ours: vec![10.0, 40.0, 90.0],
            baseline: vec![10.0, 20.0, 30.0],
        };
        let ratio = rounds.ratio();
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 1.0, 3.0));
        assert_eq!(rounds.difference().median, 20.0);
        assert_eq!(Spread::of([1.0, 4.0]).median, 2.5);
    }

    #[tokio::test]
    async fn the_side_that_begins_changes() {
        let order = std::sync::Mutex::new(Vec::new());
        let note = |side| order.lock().unwrap().push(side);
        interleaved(
            "t",
            2,
            async |_| {
                note('a');
                Ok([1.0])
            },
            async |_| {
                note('b');
                Ok([1.0])
            },
        )
        .await
        .unwrap();
        assert_eq!(*order.lock().unwrap(), ['a', 'b', 'b', 'a']);
    }
}
