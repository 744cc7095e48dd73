//! The simulated clock: a day of 24 hours that passes faster than the real one.

use std::{fmt, str::FromStr, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::plan::Minutes;

/// How much faster than real time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// By this factor, at least 1.
    Times(f64),
    /// No pauses at all.
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "0" | "max") {
            return Ok(Self::Max);
        }
        let factor = text
            .parse::<f64>()
            .ok()
            .filter(|factor| (1.0..=1e6).contains(factor));
        factor
            .map(Self::Times)
            .ok_or_else(|| format!("`{text}` must be from 1 (real time) to 1000000, or `max`"))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(factor) => write!(f, "{factor}"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// Tells when.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    speed: Speed,
}

impl Clock {
    /// The day begins.
    pub fn start(speed: Speed) -> Self {
        Self {
            started: Instant::now(),
            speed,
        }
    }

    /// Since the day began, in real time.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The simulated time of day; none when there are no pauses.
    pub fn now(&self) -> Option<Minutes> {
        match self.speed {
            Speed::Times(factor) => Some((self.elapsed().as_secs_f64() * factor / 60.0) as Minutes),
            Speed::Max => None,
        }
    }

    /// Real time that these minutes take.
    pub fn length(&self, minutes: Minutes) -> Duration {
        match self.speed {
            Speed::Times(factor) => Duration::from_secs_f64(f64::from(minutes) * 60.0 / factor),
            Speed::Max => Duration::ZERO,
        }
    }

    /// Waits until this minute of the day.
    pub async fn until(&self, minute: Minutes) {
        sleep_until(self.started + self.length(minute)).await;
    }

    /// Waits so long.
    pub async fn pause(&self, minutes: Minutes) {
        if !self.length(minutes).is_zero() {
            sleep(self.length(minutes)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_factor_or_max() {
        assert_eq!("3600".parse(), Ok(Speed::Times(3600.0)));
        assert_eq!("0".parse(), Ok(Speed::Max));
        assert_eq!("max".parse(), Ok(Speed::Max));
        for bad in ["", "0.5", "-1", "fast", "NaN", "inf"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_at_3600_takes_24_seconds() {
        let clock = Clock::start(Speed::Times(3600.0));
        assert_eq!(clock.length(24 * 60), Duration::from_secs(24));
        assert_eq!(Clock::start(Speed::Max).length(24 * 60), Duration::ZERO);
    }
}
