//! What a run found: the table, and the same as JSON.

use serde::Serialize;

use crate::stats::Spread;

/// Which side of the floor is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Good {
    /// The figure should be at least that.
    AtLeast,
    /// The figure should be at most that.
    AtMost,
}

/// How a figure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// The goal.
    Goal,
    /// The floor but not the goal.
    Floor,
    /// Not even the floor.
    No,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// `R1` …
    pub id: &'static str,
    /// What is compared.
    pub what: String,
    /// Ours, median, with its unit.
    pub ours: String,
    /// The baseline, median, with its unit.
    pub baseline: String,
    /// What is held against floor and goal: a ratio, or a difference.
    pub figure: Spread,
    /// Unit of the figure; empty for a ratio.
    pub unit: &'static str,
    /// Which side is good.
    pub good: Good,
    /// What it must be.
    pub floor: f64,
    /// What it should be.
    pub goal: f64,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

impl Line {
    /// How it stands, by its median.
    pub fn met(&self) -> Met {
        let reaches = |limit: f64| match self.good {
            Good::AtLeast => self.figure.median >= limit,
            Good::AtMost => self.figure.median <= limit,
        };
        match (reaches(self.goal), reaches(self.floor)) {
            (true, _) => Met::Goal,
            (_, true) => Met::Floor,
            _ => Met::No,
        }
    }

    fn cells(&self) -> [String; 8] {
        let unit = self.unit;
        let limit = |limit: f64| {
            let sign = match self.good {
                Good::AtLeast => '≥',
                Good::AtMost => '≤',
            };
            format!("{sign} {}{unit}", number(limit))
        };
        let Spread { median, min, max } = self.figure;
        let range = if min == max {
            format!("{}{unit}", number(median))
        } else {
            format!("{}{unit} ({}–{})", number(median), number(min), number(max))
        };
        let met = match self.met() {
            Met::Goal => "goal",
            Met::Floor => "floor",
            Met::No => "NO",
        };
        [
            self.id.to_owned(),
            self.what.clone(),
            self.ours.clone(),
            self.baseline.clone(),
            range,
            limit(self.floor),
            limit(self.goal),
            met.to_owned(),
        ]
    }
}

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it ended, RFC 3339.
    pub at: String,
    /// Rounds per figure.
    pub rounds: usize,
    /// Shorter and with fewer rounds than what may be published.
    pub quick: bool,
    /// What was measured on: cores, versions, durability settings.
    pub machine: Vec<(String, String)>,
    /// The figures.
    pub lines: Vec<Line>,
}

impl Report {
    /// The table as Markdown, readable as it stands.
    pub fn table(&self) -> String {
        let head = [
            "id",
            "what",
            "ours",
            "baseline",
            "ratio (min–max)",
            "floor",
            "goal",
            "met",
        ]
        .map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head)
            .chain(self.lines.iter().map(Line::cells))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: [usize; 8] = std::array::from_fn(|column| width(column).unwrap_or(0));
        let mut text = String::new();
        for (index, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(widths) {
                text += &format!("| {cell:width$} ");
            }
            text += "|\n";
            if index == 0 {
                text.extend(
                    widths
                        .iter()
                        .map(|width| format!("|{}", "-".repeat(width + 2))),
                );
                text += "|\n";
            }
        }
        for line in &self.lines {
            for note in &line.notes {
                text += &format!("- {}: {note}\n", line.id);
            }
        }
        text
    }
}

/// Three digits that matter.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(median: f64, good: Good, floor: f64, goal: f64) -> Line {
        Line {
            id: "R0",
            what: "a thing".into(),
            ours: "1/s".into(),
            baseline: "2/s".into(),
            figure: Spread {
                median,
                min: 0.1,
                max: 9.0,
            },
            unit: "",
            good,
            floor,
            goal,
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn floors_and_goals_point_the_right_way() {
        let high = |median| line(median, Good::AtLeast, 0.55, 0.75).met();
        assert_eq!(
            [high(0.8), high(0.6), high(0.5)],
            [Met::Goal, Met::Floor, Met::No]
        );
        let low = |median| line(median, Good::AtMost, 2.0, 1.4).met();
        assert_eq!(
            [low(1.4), low(1.9), low(2.1)],
            [Met::Goal, Met::Floor, Met::No]
        );
    }

    #[test]
    fn a_lost_figure_stands_in_the_table() {
        let report = Report {
            at: String::new(),
            rounds: 5,
            quick: false,
            machine: Vec::new(),
            lines: vec![line(0.5, Good::AtLeast, 0.55, 0.75)],
        };
        let table = report.table();
        assert!(
            table.contains("| 0.50 (0.10–9.00) | ≥ 0.55 | ≥ 0.75 | NO "),
            "{table}"
        );
        assert!(table.ends_with("- R0: a note\n"), "{table}");
    }
}
