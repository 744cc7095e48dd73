//! Names the workflow code: a hash over every source that decides what a workflow does. Two builds
//! of the same sources are the same worker version, whatever else differs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    let mut hash = Sha256::new();
    for folder in ["src", "../domain/src", "../contracts/src"] {
        println!("cargo::rerun-if-changed={folder}");
        let mut files = Vec::new();
        collect(Path::new(folder), &mut files)?;
        files.sort();
        for file in files {
            let text = fs::read(&file)?;
            hash.update(file.to_string_lossy().as_bytes());
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
    }
    let hash: String = hash.finalize()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("cargo::rustc-env=WORKFLOW_CODE={hash}");
    Ok(())
}

/// Sources, but not tests: those decide nothing.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default();
        if name == "tests" || name == "testing" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
