//! The flags of `dispatch import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use contracts::Role;

use crate::desk::Connection;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Places where work is done
    Sites,
    /// Things at sites that break
    Assets,
    /// People at the customer's, and technicians' own names and numbers
    Contacts,
    /// People who are sent out
    Technicians,
    /// Jobs
    Tickets,
    /// A plain `pg_dump` of the old system, whose rows have no tenant: into tenant `default`
    Legacy,
}

impl What {
    /// What its rows are, when they are of one kind.
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Sites => Some(Kind::Sites),
            Self::Assets => Some(Kind::Assets),
            Self::Contacts => Some(Kind::Contacts),
            Self::Technicians => Some(Kind::Technicians),
            Self::Tickets => Some(Kind::Tickets),
            Self::Legacy => None,
        }
    }
}

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// Places where work is done.
    Sites,
    /// Things at sites that break.
    Assets,
    /// People at the customer's, and technicians' own names and numbers.
    Contacts,
    /// People who are sent out.
    Technicians,
    /// Jobs.
    Tickets,
}

impl Kind {
    /// The role of a minted token that may do it.
    pub const fn role(self) -> Role {
        match self {
            Self::Technicians => Role::TenantAdmin,
            Self::Sites | Self::Assets | Self::Contacts | Self::Tickets => Role::Dispatcher,
        }
    }
}

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// `dispatch import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What the rows are
    #[arg(value_name = "WHAT")]
    pub what: What,

    /// The file; beside it FILE.errors.jsonl and, while unfinished, FILE.progress are written (of a
    /// dump FILE.report.jsonl)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// How the file is written [default: by its name: .csv, .jsonl, .ndjson]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,

    /// What separates the columns of a CSV file
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = parse_delimiter)]
    pub delimiter: u8,

    /// Only tells what would happen: nothing is changed
    #[arg(long)]
    pub dry_run: bool,

    /// Begins with the first row although an earlier run was interrupted
    #[arg(long)]
    pub restart: bool,

    /// Rows under way at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,

    #[command(flatten)]
    pub connection: Connection,
}

impl ImportArgs {
    /// The format by flag, or by the file's name.
    pub fn format(&self) -> Result<Format, String> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let extension = self.file.extension().unwrap_or_default();
        match extension.to_string_lossy().to_ascii_lowercase().as_str() {
            "csv" => Ok(Format::Csv),
            "jsonl" | "ndjson" => Ok(Format::Jsonl),
            _ => Err(format!(
                "the name {} does not say how it is written: --format csv or --format jsonl does",
                self.file.display()
            )),
        }
    }
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text {
        "\\t" | "tab" => Ok(b'\t'),
        text => match text.as_bytes() {
            [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Ok(*byte),
            _ => Err("one character such as `,` `;` or `|`, or `tab`".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_character() {
        assert_eq!(parse_delimiter(";"), Ok(b';'));
        assert_eq!(parse_delimiter("tab"), Ok(b'\t'));
        for bad in ["", ",,", "\"", "a"] {
            assert!(parse_delimiter(bad).is_err(), "{bad}");
        }
    }
}
