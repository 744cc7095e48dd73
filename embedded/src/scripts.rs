//! Programs that tests make up.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// Writes a script of the shell with these permissions (`755`), in a process of its own: while this one
/// had the file open, a program that another thread starts would keep it open for a moment, and nobody
/// may run what is open for writing.
pub(crate) fn script(path: &Path, mode: &str, lines: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod \"$1\" \"$0\""])
        .arg(path)
        .arg(mode)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("#!/bin/sh\n{lines}\n");
    writer
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(writer.wait().unwrap().success());
}
