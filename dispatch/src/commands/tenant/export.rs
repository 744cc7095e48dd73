//! `dispatch tenant export`: a copy of everything that is kept of a tenant.
//!
//! It is written beside its place and put there when it is whole: its last line says how many rows there
//! are, and they are counted. A copy that broke off is removed.

use std::path::{Path, PathBuf};

use client::Export;
use contracts::{TenantId, tenant::ExportLine};
use serde_json::json;
use tokio::{fs::File, io::AsyncWriteExt};

use crate::{desk::Desk, exit::Failure};

pub(super) async fn run(desk: &Desk, tenant: TenantId, out: &Path) -> Result<(), Failure> {
    let place = place(desk, tenant, out).await?;
    let beside = place.with_extension("part");
    let copied = copy(desk, tenant, &beside).await;
    let rows = match copied {
        Ok(rows) => rows,
        Err(failure) => {
            let _ = tokio::fs::remove_file(&beside).await;
            return Err(failure);
        }
    };
    tokio::fs::rename(&beside, &place)
        .await
        .map_err(|error| cannot(&place, &error))?;
    match desk.json {
        true => desk.print_json(&json!({ "file": place, "rows": rows })),
        false => desk.print(&format!(
            "{rows} rows in {}; it holds names, numbers and messages: keep it safe\n",
            place.display()
        )),
    }
}

async fn place(desk: &Desk, tenant: TenantId, out: &Path) -> Result<PathBuf, Failure> {
    let place = match out.is_dir() {
        false => out.to_owned(),
        true => {
            let slug = desk.api.tenant(tenant).await?.summary.slug;
            out.join(format!("{slug}.ndjson"))
        }
    };
    match place.exists() {
        false => Ok(place),
        true => Err(Failure::usage(format!(
            "{} is there already, and is not overwritten",
            place.display()
        ))),
    }
}

async fn copy(desk: &Desk, tenant: TenantId, beside: &Path) -> Result<u64, Failure> {
    let cannot = |error: std::io::Error| cannot(beside, &error);
    let mut export = desk.api.export_tenant(tenant).await?;
    let mut file = File::create(beside).await.map_err(cannot)?;
    let mut counted = Counted::default();
    while let Some(part) = part(&mut export).await? {
        counted.take(&part);
        file.write_all(&part).await.map_err(cannot)?;
    }
    file.sync_all().await.map_err(cannot)?;
    counted.rows().ok_or_else(|| {
        Failure::failed("the export broke off before its end: nothing was kept; try again")
    })
}

async fn part(export: &mut Export) -> Result<Option<Vec<u8>>, Failure> {
    Ok(export.part().await?)
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

/// The lines so far, and the last one.
#[derive(Debug, Default)]
struct Counted {
    lines: u64,
    last: Vec<u8>,
    line: Vec<u8>,
}

impl Counted {
    fn take(&mut self, part: &[u8]) {
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.lines += 1;
                self.last = std::mem::take(&mut self.line);
            }
        }
    }

    /// How many rows there are, when all of them came.
    fn rows(&self) -> Option<u64> {
        match serde_json::from_slice(&self.last).ok()? {
            ExportLine::End { rows } if self.line.is_empty() => {
                (rows + 1 == self.lines).then_some(rows)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_export_is_one() {
        let rows = |parts: &[&str]| {
            let mut counted = Counted::default();
            for part in parts {
                counted.take(part.as_bytes());
            }
            counted.rows()
        };
        let row = "{\"table\":\"notes\",\"row\":{\"rows\":7}}\n";
        assert_eq!(rows(&[row, "{\"ro", "ws\":1}\n"]), Some(1));
        assert_eq!(rows(&[row]), None, "no end");
        assert_eq!(rows(&[row, "{\"rows\":2}\n"]), None, "one is missing");
        assert_eq!(
            rows(&[row, "{\"rows\":1}\n", "{"]),
            None,
            "something follows"
        );
        assert_eq!(rows(&[]), None);
    }
}
