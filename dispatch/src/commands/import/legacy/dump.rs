//! The rows of a plain dump of Postgres, as `pg_dump` writes it: a `COPY` block for each table.
//!
//! It is read once per table that is wanted, so a dump of any length costs the memory of one row.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

/// A dump.
#[derive(Debug)]
pub struct Dump(PathBuf);

/// What is in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Rows of each table, by its name without the schema.
    pub rows: BTreeMap<String, u64>,
    /// Columns of each table.
    pub columns: BTreeMap<String, Vec<String>>,
}

/// One row.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// Its line in the dump, from 1.
    pub line: u64,
    /// Column and text; those that are null are left out. Or what is wrong with it.
    pub record: Result<Map<String, Value>, String>,
}

impl Dump {
    /// The dump in this file.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Looks through all of it.
    pub fn content(&self) -> io::Result<Content> {
        let mut content = Content::default();
        for line in self.lines()? {
            let (table, columns, row) = line?;
            let count = content.rows.entry(table.clone()).or_default();
            *count += u64::from(row.is_some());
            content.columns.entry(table).or_insert(columns);
        }
        Ok(content)
    }

    /// The rows of one table.
    pub fn rows(&self, table: &'static str) -> io::Result<impl Iterator<Item = io::Result<Row>>> {
        Ok(self.lines()?.filter_map(move |line| match line {
            Err(error) => Some(Err(error)),
            Ok((name, columns, Some((line, text)))) if name == table => Some(Ok(Row {
                line,
                record: record(&columns, &text),
            })),
            Ok(_) => None,
        }))
    }

    /// Each table, and each row of it.
    fn lines(&self) -> io::Result<impl Iterator<Item = io::Result<Line>> + use<>> {
        let reader = BufReader::new(File::open(&self.0)?);
        let mut within: Option<(String, Vec<String>)> = None;
        let lines = reader.lines().zip(1..).filter_map(move |(text, number)| {
            let text = match text {
                Ok(text) => text,
                Err(error) => return Some(Err(error)),
            };
            match &within {
                None => {
                    within = heading(&text);
                    let (table, columns) = within.clone()?;
                    Some(Ok((table, columns, None)))
                }
                Some(_) if text == "\\." => {
                    within = None;
                    None
                }
                Some((table, columns)) => {
                    Some(Ok((table.clone(), columns.clone(), Some((number, text)))))
                }
            }
        });
        Ok(lines)
    }
}

/// Table and columns, and where it is one of its rows, that row with the number of its line.
type Line = (String, Vec<String>, Option<(u64, String)>);

/// Reads `COPY schema.table (a, b) FROM stdin;`.
fn heading(line: &str) -> Option<(String, Vec<String>)> {
    let rest = line.strip_prefix("COPY ")?.strip_suffix(" FROM stdin;")?;
    let (name, columns) = rest.strip_suffix(')')?.split_once(" (")?;
    let bare = |name: &str| name.trim().trim_matches('"').to_owned();
    let table = name.rsplit_once('.').map_or(name, |(_, table)| table);
    Some((bare(table), columns.split(',').map(bare).collect()))
}

fn record(columns: &[String], line: &str) -> Result<Map<String, Value>, String> {
    let values: Vec<&str> = line.split('\t').collect();
    if values.len() != columns.len() {
        return Err(format!(
            "has {} values, the table has {} columns",
            values.len(),
            columns.len()
        ));
    }
    let mut record = Map::new();
    for (column, value) in columns.iter().zip(values) {
        if value != "\\N" {
            record.insert(column.clone(), plain(value)?.into());
        }
    }
    Ok(record)
}

/// The text that was meant (PostgreSQL, COPY, Text Format).
fn plain(value: &str) -> Result<String, String> {
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        text.push(match rest.next() {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 11,
            Some(other) => other,
            None => return Err("ends within an escape".to_owned()),
        });
    }
    String::from_utf8(text).map_err(|_| "is not UTF-8: dump with --encoding=UTF8".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DUMP: &str = "--\n-- PostgreSQL database dump\n--\nSET client_encoding = 'UTF8';\n\n\
        COPY public.sites (id, \"name\", lat) FROM stdin;\n\
        1\tHarbour\\tshop\\\\x\t52.1\n2\t\\N\t52.2\n3\tshort\n\\.\n\n\
        COPY legacy.audit_events (id) FROM stdin;\n1\n2\n\\.\n";

    fn dump() -> (tempfile::TempDir, Dump) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.sql");
        std::fs::write(&path, DUMP).unwrap();
        let dump = Dump::new(&path);
        (folder, dump)
    }

    #[test]
    fn tables_and_their_rows_are_found() {
        let (_folder, dump) = dump();
        let content = dump.content().unwrap();
        assert_eq!(content.rows["sites"], 3);
        assert_eq!(content.rows["audit_events"], 2);
        assert_eq!(content.columns["sites"], ["id", "name", "lat"]);
    }

    #[test]
    fn values_are_what_was_meant() {
        let (_folder, dump) = dump();
        let rows: Vec<Row> = dump.rows("sites").unwrap().map(Result::unwrap).collect();
        let record = |n: usize| Value::from(rows[n].record.clone().unwrap());
        assert_eq!(
            record(0),
            json!({"id": "1", "name": "Harbour\tshop\\x", "lat": "52.1"})
        );
        assert_eq!(record(1), json!({"id": "2", "lat": "52.2"}));
        let wrong = rows[2].record.as_ref().unwrap_err();
        assert!(wrong.contains("2 values"), "{wrong}");
        assert_eq!(rows[2].line, 9);
        assert!(plain("a\\").is_err());
    }
}
