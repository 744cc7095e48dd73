//! The rows of a file, one after the other: a file of any length costs the memory of one row.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Map, Value};

use super::args::Format;

/// A line of JSON may be this long.
const LONGEST_LINE: usize = 1024 * 1024;
/// What is wrong with a row whose quotes the file does not close, and how to mend it.
const UNCLOSED: &str = "has a quote that is never closed, so the rest of the file was taken for its \
                        value: close it, or write a quote that is meant as such twice, within quotes";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One row as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// From 1; the header of a CSV file is none.
    pub number: u64,
    /// Its line in the file, from 1; of a CSV file with empty lines before it the first of those.
    pub line: u64,
    /// Where the file has been read to.
    pub bytes: u64,
    /// Column and value, or what is wrong with the whole row.
    pub record: Result<Map<String, Value>, String>,
}

/// Reads rows.
pub enum Rows {
    Csv {
        reader: Box<csv::Reader<Box<dyn Read + Send>>>,
        headers: Vec<String>,
        number: u64,
        /// The file has ended within quotes.
        unclosed: Arc<AtomicBool>,
    },
    Jsonl {
        reader: Box<dyn BufRead + Send>,
        number: u64,
        line: u64,
        bytes: u64,
    },
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

impl Rows {
    /// Opens a file; reads the header of a CSV file.
    pub fn open(path: &Path, format: Format, delimiter: u8) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        Self::new(file, format, delimiter)
    }

    fn new(
        source: impl Read + Send + 'static,
        format: Format,
        delimiter: u8,
    ) -> Result<Self, String> {
        let mut reader = BufReader::with_capacity(64 * 1024, source);
        let begin = reader.fill_buf().map_err(|error| error.to_string())?;
        let marked = begin.starts_with(BYTE_ORDER_MARK);
        if marked {
            reader.consume(BYTE_ORDER_MARK.len());
        }
        match format {
            Format::Jsonl => Ok(Self::Jsonl {
                reader: Box::new(reader),
                number: 0,
                line: 0,
                bytes: 0,
            }),
            Format::Csv => {
                let unclosed = Arc::new(AtomicBool::new(false));
                let quotes = Quotes::new(reader, delimiter, Arc::clone(&unclosed));
                let mut reader = csv::ReaderBuilder::new()
                    .delimiter(delimiter)
                    .trim(csv::Trim::All)
                    .from_reader(Box::new(quotes) as Box<dyn Read + Send>);
                let headers: Vec<String> = reader
                    .headers()
                    .map_err(|error| format!("the header cannot be read: {error}"))?
                    .iter()
                    .map(str::to_owned)
                    .collect();
                if unclosed.load(Ordering::Relaxed) {
                    return Err(format!("the header {UNCLOSED}"));
                }
                if headers.iter().all(String::is_empty) {
                    return Err("there is no header: the first line names the columns".to_owned());
                }
                Ok(Self::Csv {
                    reader: Box::new(reader),
                    headers,
                    number: 0,
                    unclosed,
                })
            }
        }
    }

    /// The columns of a CSV file.
    pub fn headers(&self) -> Option<&[String]> {
        match self {
            Self::Csv { headers, .. } => Some(headers),
            Self::Jsonl { .. } => None,
        }
    }
}

impl Iterator for Rows {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<io::Result<Row>> {
        match self {
            Self::Csv {
                reader,
                headers,
                number,
                unclosed,
            } => csv_row(reader, headers, number, unclosed),
            Self::Jsonl {
                reader,
                number,
                line,
                bytes,
            } => loop {
                let mut text = Vec::new();
                let (read, whole) = match bounded_line(reader, &mut text) {
                    Ok((0, _)) => return None,
                    Ok(read) => read,
                    Err(error) => return Some(Err(error)),
                };
                *line += 1;
                *bytes += read;
                if whole && text.trim_ascii().is_empty() {
                    continue;
                }
                *number += 1;
                let record = match whole {
                    true => json_record(&text),
                    false => Err(format!("the line is longer than {LONGEST_LINE} bytes")),
                };
                return Some(Ok(Row {
                    number: *number,
                    line: *line,
                    bytes: *bytes,
                    record,
                }));
            },
        }
    }
}

fn csv_row(
    reader: &mut csv::Reader<Box<dyn Read + Send>>,
    headers: &[String],
    number: &mut u64,
    unclosed: &AtomicBool,
) -> Option<io::Result<Row>> {
    let mut record = csv::ByteRecord::new();
    let line = reader.position().line();
    let read = match reader.read_byte_record(&mut record) {
        Ok(false) => return None,
        Ok(true) => Ok(()),
        Err(error) => match error.into_kind() {
            csv::ErrorKind::Io(error) => return Some(Err(error)),
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => Err(format!(
                "has {len} columns, the header has {expected_len}; a value with a separator in it \
                 must stand in quotes"
            )),
            other => Err(format!("cannot be read: {other:?}")),
        },
    };
    *number += 1;
    let line = record.position().map_or(line, csv::Position::line);
    // The end of the file is met only by a row that nothing ends before, so it is this one.
    let read = match unclosed.load(Ordering::Relaxed) {
        true => Err(format!(
            "{UNCLOSED}; nothing from line {line} to the end of the file was imported"
        )),
        false => read,
    };
    let values = read.and_then(|()| {
        let mut values = Map::new();
        for (header, bytes) in headers.iter().zip(record.iter()) {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| format!("column `{header}` is not UTF-8: save the file as UTF-8"))?;
            if !text.is_empty() {
                values.insert(header.clone(), text.into());
            }
        }
        Ok(values)
    });
    Some(Ok(Row {
        number: *number,
        line,
        bytes: reader.position().byte(),
        record: values,
    }))
}

/// Passes a CSV file on and follows its quotes: the reader of rows takes a quote that is never closed
/// for one that the end of the file closes.
struct Quotes<R> {
    source: R,
    delimiter: u8,
    at: At,
    unclosed: Arc<AtomicBool>,
}

/// Where in a row the file has been read to.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// A quote here opens a quoted value; anywhere else without quotes it is itself.
    Begin,
    Plain,
    Quoted,
    /// After a quote within quotes: it ends the value, or the next one doubles it.
    Quote,
}

impl<R: Read> Quotes<R> {
    fn new(source: R, delimiter: u8, unclosed: Arc<AtomicBool>) -> Self {
        Self {
            source,
            delimiter,
            at: At::Begin,
            unclosed,
        }
    }

    fn follow(&self, byte: u8) -> At {
        match (self.at, byte) {
            (At::Begin | At::Quote, b'"') | (At::Quoted, 0..=b'!' | b'#'..) => At::Quoted,
            (At::Quoted, b'"') => At::Quote,
            (_, b'\n' | b'\r') => At::Begin,
            (_, byte) if byte == self.delimiter => At::Begin,
            _ => At::Plain,
        }
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        for byte in &buffer[..read] {
            self.at = self.follow(*byte);
        }
        if read == 0 && self.at == At::Quoted {
            self.unclosed.store(true, Ordering::Relaxed);
        }
        Ok(read)
    }
}

/// A JSON object; its nested ones as `outer.inner`, like the columns of a CSV file.
fn json_record(text: &[u8]) -> Result<Map<String, Value>, String> {
    let value: Value =
        serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
    let Value::Object(object) = value else {
        return Err("is not a JSON object".to_owned());
    };
    let mut flat = Map::new();
    for (name, value) in object {
        match value {
            Value::Null => {}
            Value::Object(inner) => flat.extend(
                inner
                    .into_iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| (format!("{name}.{key}"), value)),
            ),
            value => {
                flat.insert(name, value);
            }
        }
    }
    Ok(flat)
}

/// A line without more of it than may be kept; answers the bytes read and whether it is whole.
fn bounded_line(reader: &mut dyn BufRead, text: &mut Vec<u8>) -> io::Result<(u64, bool)> {
    let (mut read, mut whole) = (0, true);
    loop {
        let buffer = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return Ok((read, whole));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        if text.len() + part.len() <= LONGEST_LINE {
            text.extend_from_slice(part);
        } else {
            whole = false;
        }
        let used = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(used);
        read += used as u64;
        if end.is_some() {
            return Ok((read, whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(text: &'static [u8], format: Format) -> Vec<Row> {
        let rows = Rows::new(text, format, b',').unwrap();
        rows.collect::<io::Result<_>>().unwrap()
    }

    fn record(row: &Row) -> Value {
        row.record.clone().unwrap().into()
    }

    #[test]
    fn csv_rows_have_the_columns_of_the_header() {
        let rows = rows(
            b"\xef\xbb\xbfcode, lat ,lon\ncanal,52.1,\"4,9\"\n\nquay,,4.8\n",
            Format::Csv,
        );
        assert_eq!(rows.len(), 2);
        assert_eq!(
            record(&rows[0]),
            json!({"code": "canal", "lat": "52.1", "lon": "4,9"})
        );
        assert_eq!((rows[0].number, rows[0].line), (1, 2));
        assert_eq!(record(&rows[1]), json!({"code": "quay", "lon": "4.8"}));
        assert_eq!((rows[1].number, rows[1].line), (2, 3));
    }

    #[test]
    fn a_broken_csv_row_stands_for_itself_alone() {
        let rows = rows(b"a,b\n1\n2,\xff\n3,4\n", Format::Csv);
        assert!(
            rows[0]
                .record
                .as_ref()
                .unwrap_err()
                .contains("has 1 columns")
        );
        assert!(
            rows[1]
                .record
                .as_ref()
                .unwrap_err()
                .contains("`b` is not UTF-8")
        );
        assert_eq!(record(&rows[2]), json!({"a": "3", "b": "4"}));
        assert_eq!(rows[2].number, 3);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told() {
        let broken = rows(b"a,b\n1,\"x\ny\"\n2,\"open\n3,4\n5,6\n", Format::Csv);
        assert_eq!(record(&broken[0]), json!({"a": "1", "b": "x\ny"}));
        let error = broken[1].record.as_ref().unwrap_err();
        assert!(
            error.contains("never closed") && error.contains("line 4 to the end"),
            "{error}"
        );
        assert_eq!((broken.len(), broken[1].number, broken[1].line), (2, 2, 4));
        // Fewer columns than the header has are not what is wrong.
        let broken = rows(b"a,b\n\"1,2\n3,4\n", Format::Csv);
        let error = broken[0].record.as_ref().unwrap_err();
        assert!(error.contains("never closed"), "{error}");
        let error = Rows::new(&b"a,\"b\n1,2\n"[..], Format::Csv, b',').unwrap_err();
        assert!(error.starts_with("the header has a quote"), "{error}");
    }

    #[test]
    fn quotes_that_close_and_quotes_that_are_values_are_well() {
        let rows = rows(
            b"a,b\n5\" pipe,\"say \"\"so\"\"\"\n6\",\"\"\r\n\"7\",\"end\"",
            Format::Csv,
        );
        assert_eq!(
            rows.iter().map(record).collect::<Vec<_>>(),
            [
                json!({"a": "5\" pipe", "b": "say \"so\""}),
                json!({"a": "6\""}),
                json!({"a": "7", "b": "end"}),
            ]
        );
    }

    #[test]
    fn a_header_is_needed() {
        let error = Rows::new(&b""[..], Format::Csv, b',').unwrap_err();
        assert!(error.contains("no header"), "{error}");
    }

    #[test]
    fn json_lines_are_flattened() {
        let rows = rows(
            b"{\"a\":1,\"n\":null,\"details\":{\"panes\":2,\"x\":null}}\n\n[1]\n{\"a\"\n",
            Format::Jsonl,
        );
        assert_eq!(record(&rows[0]), json!({"a": 1, "details.panes": 2}));
        assert_eq!((rows[1].number, rows[1].line), (2, 3));
        assert!(
            rows[1]
                .record
                .as_ref()
                .unwrap_err()
                .contains("not a JSON object")
        );
        assert!(rows[2].record.as_ref().unwrap_err().contains("is not JSON"));
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let long = format!(
            "{{\"a\":\"{}\"}}\n{{\"a\":1}}\n",
            "x".repeat(2 * LONGEST_LINE)
        );
        let length = long.len() as u64;
        let rows = Rows::new(io::Cursor::new(long.into_bytes()), Format::Jsonl, b',').unwrap();
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        assert!(rows[0].record.as_ref().unwrap_err().contains("longer than"));
        assert_eq!(record(&rows[1]), json!({"a": 1}));
        assert_eq!(rows[1].bytes, length);
    }
}
