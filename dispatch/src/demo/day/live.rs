//! What can be seen while the day goes on: a few lines redrawn on a terminal, one every few seconds
//! in a pipe. On stderr, so that stdout holds only the outcome.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use super::{clock::Clock, tally::Counts};

const REDRAWN: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(5);

/// The lines.
#[derive(Debug)]
pub struct Live {
    terminal: bool,
    /// Lines on the screen that the next ones replace.
    drawn: usize,
    said: Instant,
    requests: u64,
}

impl Live {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            drawn: 0,
            said: Instant::now(),
            requests: 0,
        }
    }

    /// How often something is to be said.
    pub fn interval(&self) -> Duration {
        if self.terminal { REDRAWN } else { LINE }
    }

    /// How the day goes.
    pub fn day(&mut self, clock: &Clock, counts: &Counts, stories: usize) {
        let seconds = self.said.elapsed().as_secs_f64().max(0.001);
        let rate = (counts.requests - self.requests) as f64 / seconds;
        self.said = Instant::now();
        self.requests = counts.requests;
        self.say(&lines(clock, counts, stories, rate));
    }

    /// How many workflows agree.
    pub fn settling(&mut self, agree: usize, tickets: usize) {
        if !self.terminal && agree < tickets && self.said.elapsed() < LINE {
            return;
        }
        self.said = Instant::now();
        self.say(&[format!(
            "the day is over; {agree} of {tickets} workflows know what the database knows"
        )]);
    }

    fn say(&mut self, lines: &[String]) {
        let text = if self.terminal {
            // Up over what was drawn, and clear to the end of the screen.
            let up = match self.drawn {
                0 => String::new(),
                lines => format!("\x1b[{lines}A\x1b[J"),
            };
            self.drawn = lines.len();
            format!("{up}{}\n", lines.join("\n"))
        } else {
            format!("{}\n", lines.join("; "))
        };
        // Nobody is left to tell when the terminal is gone.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn lines(clock: &Clock, counts: &Counts, stories: usize, rate: f64) -> Vec<String> {
    let time = clock.now().map_or("no pauses".to_owned(), |minutes| {
        let (day, minutes) = (minutes / (24 * 60), minutes % (24 * 60));
        let later = if day > 0 {
            format!(" (+{day} d)")
        } else {
            String::new()
        };
        format!("{:02}:{:02}{later}", minutes / 60, minutes % 60)
    });
    let states: Vec<_> = counts
        .states()
        .into_iter()
        .map(|(state, count)| format!("{state} {count}"))
        .collect();
    vec![
        format!(
            "{time}  {:.0} s  stories {} of {stories} begun, {} ended; tickets {}, workflows open {}",
            clock.elapsed().as_secs_f64(),
            counts.begun,
            counts.ended,
            counts.tickets.len(),
            counts.open()
        ),
        format!(
            "{rate:.0} requests/s; done {}, refused as expected {}, repeated {}, failures {}",
            counts.done,
            counts.refused,
            counts.repeated,
            counts.unexpected.len()
        ),
        states.join(", "),
    ]
}
