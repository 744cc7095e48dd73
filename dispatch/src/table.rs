//! Tables for people: aligned columns, on a screen no wider than it, in a pipe as wide as needed.
//!
//! What goes through a pipe is read by programs such as `grep` and `awk`: no colour, no line is
//! broken, no border stands in the way. Colours are laid out as characters of no width and become
//! escape sequences, or nothing, when the layout is done.

use std::io::IsTerminal;

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table as Layout, presets::NOTHING};

/// Spaces between two columns.
const GAP: u16 = 2;
/// A screen that does not say how wide it is.
const USUAL_WIDTH: u16 = 80;

/// Where the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns of the terminal; `None`: a pipe or a file, of any width.
    pub width: Option<u16>,
    /// Whether escape sequences are welcome.
    pub colours: bool,
}

impl Screen {
    /// A pipe or a file.
    pub const PIPE: Self = Self {
        width: None,
        colours: false,
    };

    /// Where standard output goes. `COLUMNS` is believed before the terminal; `NO_COLOR` and a dumb
    /// terminal get no colours.
    pub fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Self::PIPE;
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let width = variable("COLUMNS")
            .and_then(|columns| columns.parse().ok())
            .or_else(|| {
                let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
                Some(size.ws_col)
            })
            .filter(|width| *width > 0)
            .unwrap_or(USUAL_WIDTH);
        Self {
            width: Some(width),
            colours: variable("NO_COLOR").is_none()
                && variable("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// The text with its marks as colours, or without them.
    pub fn paint(self, text: &str) -> String {
        let mut painted = String::with_capacity(text.len());
        for c in text.chars() {
            match Mark::of(c) {
                None => painted.push(c),
                Some(code) if self.colours => painted.push_str(code),
                Some(_) => {}
            }
        }
        painted
    }
}

/// How a word stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Something is wrong or late.
    Bad,
    /// Something needs a look soon.
    Warn,
}

/// Characters of no width that no text of ours holds ([`clean`] takes them out of anybody else's).
const MARKS: [(char, &str); 3] = [
    ('\u{2061}', "\u{1b}[1;31m"),
    ('\u{2062}', "\u{1b}[33m"),
    ('\u{2064}', "\u{1b}[0m"),
];

impl Mark {
    /// The text, standing out. Each word is marked, as a line may be broken between any two.
    pub fn on(self, text: &str) -> String {
        let open = MARKS[self as usize].0;
        let close = MARKS[MARKS.len() - 1].0;
        let words: Vec<_> = text
            .split(' ')
            .map(|word| format!("{open}{word}{close}"))
            .collect();
        words.join(" ")
    }

    fn of(c: char) -> Option<&'static str> {
        let found = MARKS.iter().find(|(mark, _)| *mark == c);
        found.map(|(_, code)| *code)
    }
}

/// What other people wrote, safe to print: a control character could move the cursor or hide what
/// stands there.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            c if Mark::of(c).is_some() => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
            c => c,
        })
        .collect()
}

/// A table under way.
#[derive(Debug)]
pub struct Table {
    layout: Layout,
}

impl Table {
    /// With these headings.
    pub fn new(headings: &[&str]) -> Self {
        let mut layout = Layout::new();
        layout.load_style(NOTHING);
        layout.set_header(Row::from(headings.to_vec()));
        Self { layout }
    }

    /// Adds a row, one cell per heading.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.layout
            .add_row(Row::from(cells.into_iter().collect::<Vec<_>>()));
    }

    /// The text, each line with its end. On a screen the columns of `whole` are never broken.
    pub fn render(mut self, screen: Screen, whole: &[usize]) -> String {
        for column in self.layout.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        match screen.width {
            None => {
                self.layout
                    .set_content_arrangement(ContentArrangement::Disabled);
            }
            Some(width) => {
                self.layout
                    .set_content_arrangement(ContentArrangement::Dynamic)
                    .set_width(width.saturating_add(GAP));
                for index in whole {
                    if let Some(column) = self.layout.column_mut(*index) {
                        column.set_constraint(ColumnConstraint::ContentWidth);
                    }
                }
            }
        }
        let mut text = String::new();
        for line in self.layout.lines() {
            text += screen.paint(&line).trim_end();
            text.push('\n');
        }
        text
    }
}

/// Pairs of a name and a value, the values below each other.
#[derive(Debug, Default)]
pub struct Facts {
    rows: Vec<(String, String)>,
}

impl Facts {
    /// Adds one.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.rows.push((name.to_owned(), value.into()));
    }

    /// The text, each line with its end; on a screen broken between words.
    pub fn render(&self, screen: Screen) -> String {
        let names = self.rows.iter().map(|(name, _)| name.chars().count());
        let hang = names.max().unwrap_or(0) + usize::from(GAP);
        let mut text = String::new();
        for (name, value) in &self.rows {
            let line = format!("{name:<hang$}{value}");
            text += &screen.paint(&wrapped(&line, hang, screen));
        }
        text
    }
}

/// A line broken between words where the screen ends, further lines indented by `hang`. A word that
/// is longer than the screen stays whole: an id or an address must be copied in one piece.
pub fn wrapped(line: &str, hang: usize, screen: Screen) -> String {
    let Some(width) = screen.width.map(usize::from) else {
        return format!("{line}\n");
    };
    let mut text = String::new();
    let mut column = 0;
    for (index, word) in line.split(' ').enumerate() {
        let length = word.chars().filter(|c| Mark::of(*c).is_none()).count();
        if index > 0 {
            if column > hang && column + 1 + length > width {
                text.truncate(text.trim_end_matches(' ').len());
                text.push('\n');
                text += &" ".repeat(hang);
                column = hang;
            } else {
                text.push(' ');
                column += 1;
            }
        }
        text += word;
        column += length;
    }
    text.push('\n');
    text
}

/// The short form of an id, by which `dispatch ticket` finds it again: its last eight digits. The
/// first ones are the time and alike for what was made in the same minute.
pub fn short(id: impl std::fmt::Display) -> String {
    const DIGITS: usize = 8;
    let id = id.to_string();
    let cut = id.len().saturating_sub(DIGITS);
    id.get(cut..).unwrap_or(&id).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Screen = Screen {
        width: Some(60),
        colours: true,
    };

    fn sample() -> Table {
        let mut table = Table::new(&["ID", "STATE", "DUE"]);
        let due = Mark::Bad.on("late 2 h 5 min");
        table.row(["tkt_1".into(), "ON_SITE".into(), due]);
        table.row(["tkt_22".into(), "NEW".into(), String::new()]);
        table
    }

    #[test]
    fn a_pipe_gets_aligned_columns_and_nothing_else() {
        assert_eq!(
            sample().render(Screen::PIPE, &[]),
            "ID      STATE    DUE\n\
             tkt_1   ON_SITE  late 2 h 5 min\n\
             tkt_22  NEW\n"
        );
    }

    #[test]
    fn a_screen_gets_colours_that_take_no_room() {
        let text = sample().render(WIDE, &[]);
        assert!(text.contains("\u{1b}[1;31mlate\u{1b}[0m"), "{text}");
        let plain = sample().render(
            Screen {
                colours: false,
                ..WIDE
            },
            &[],
        );
        assert_eq!(plain, sample().render(Screen::PIPE, &[]));
    }

    #[test]
    fn a_narrow_screen_breaks_text_but_no_id() {
        let id = "tkt_0123456789ab";
        let build = || {
            let mut table = Table::new(&["ID", "WHAT"]);
            table.row([id.to_owned(), "a sentence of many words ".repeat(8)]);
            table
        };
        let narrow = Screen {
            width: Some(40),
            colours: false,
        };
        let text = build().render(narrow, &[0]);
        assert!(text.lines().count() > 4, "{text}");
        assert!(text.contains(id), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 40, "{line:?}");
        }
        assert_eq!(build().render(Screen::PIPE, &[0]).lines().count(), 2);
    }

    #[test]
    fn facts_hang_under_their_value() {
        let mut facts = Facts::default();
        facts.add("state", "ON_SITE");
        facts.add("waits for", "word ".repeat(30).trim_end());
        assert!(
            facts
                .render(Screen::PIPE)
                .starts_with("state      ON_SITE\n")
        );
        assert_eq!(facts.render(Screen::PIPE).lines().count(), 2);
        let text = facts.render(WIDE);
        for (index, line) in text.lines().enumerate() {
            assert!(line.chars().count() <= 60, "{line:?}");
            assert!(index < 2 || line.starts_with("           word"), "{line:?}");
        }
    }

    #[test]
    fn what_others_wrote_cannot_move_the_cursor() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d\u{2061}"), "a [2Jb c d ");
        assert_eq!(clean("Größe 2 – gut"), "Größe 2 – gut");
    }

    #[test]
    fn the_short_form_is_the_end() {
        assert_eq!(short("tkt_0123456789abcd0000000000deadbeef"), "deadbeef");
        assert_eq!(short("x"), "x");
    }
}
