//! CPU seconds of processes, as Linux counts them.

use std::fs;

use anyhow::{Context, Result, bail};

/// `USER_HZ`: fixed in Linux's interface on every architecture that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields of `/proc/<pid>/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    parent: u32,
    own_ticks: f64,
    /// Of children that ended and were waited for.
    children_ticks: f64,
}

/// Seconds that a process with all its threads has used.
pub fn of_process(pid: u32) -> Result<f64> {
    Ok(stat(pid)?.own_ticks / TICKS_PER_SECOND)
}

/// Seconds that a process and its children, living and ended, have used: a Postgres server.
pub fn of_family(pid: u32) -> Result<f64> {
    let head = stat(pid)?;
    let mut ticks = head.own_ticks + head.children_ticks;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may be gone by now; then it is in the head's count of the next look.
        if let Ok(stat) = stat(child)
            && stat.parent == pid
        {
            ticks += stat.own_ticks;
        }
    }
    Ok(ticks / TICKS_PER_SECOND)
}

/// Seconds that children of this process have used that ended and were waited for.
pub fn of_ended_children() -> Result<f64> {
    Ok(stat(std::process::id())?.children_ticks / TICKS_PER_SECOND)
}

/// Seconds that this thread has run, to the nanosecond.
pub fn of_thread() -> Result<f64> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).with_context(|| format!("CPU time is in {path}"))?;
    let nanoseconds: u64 = text
        .split_whitespace()
        .next()
        .context("a first field")?
        .parse()?;
    Ok(nanoseconds as f64 / 1e9)
}

fn stat(pid: u32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("CPU time is in {path}"))?;
    parse(&text).with_context(|| format!("reading {path}"))
}

fn parse(text: &str) -> Result<Stat> {
    // The second field is a name in parentheses that may hold anything; ours start behind it.
    let Some((_, rest)) = text.rsplit_once(')') else {
        bail!("no name in it");
    };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| -> Result<f64> {
        let text = fields.get(number - 3).context("it is too short")?;
        Ok(text.parse()?)
    };
    Ok(Stat {
        parent: field(4)? as u32,
        own_ticks: field(14)? + field(15)?,
        children_ticks: field(16)? + field(17)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_name_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4 9 0 0 0 120 30 5 6 20 0 1 0 1";
        let stat = parse(text).unwrap();
        assert_eq!(
            (stat.parent, stat.own_ticks, stat.children_ticks),
            (3, 150.0, 11.0)
        );
    }

    #[test]
    fn this_process_has_used_some() {
        assert!(of_process(std::process::id()).unwrap() >= 0.0);
        assert!(of_process(u32::MAX).is_err());
        assert!(of_thread().unwrap() > 0.0);
    }
}
