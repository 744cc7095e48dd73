//! `dispatch policy init`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use policy::Bundle;

use super::refused;
use crate::{commands::print, exit::Failure};

/// `dispatch policy init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to; a folder that does not exist yet, or is empty
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Writes the files of the starter bundle.
pub fn run(args: &InitArgs) -> Result<(), Failure> {
    let dir = &args.dir;
    let starter = Bundle::starter().map_err(|error| refused(&error))?;
    let occupied = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(cannot(dir, &error)),
    };
    if occupied {
        return Err(Failure::usage(format!(
            "{} is not empty: nothing is overwritten; give another folder",
            dir.display()
        )));
    }
    let mut count = 0_usize;
    for (inside, text) in starter.files().iter() {
        let path = dir.join(inside);
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
        fs::write(&path, text).map_err(|error| cannot(&path, &error))?;
        count += 1;
    }
    let at = dir.display();
    print(&format!(
        "wrote {count} files of bundle {} to {at}\n\
         next: give it a `revision` of its own in {at}/.manifest, change a rule, then\n  \
         dispatch policy test {at}\n  \
         dispatch policy check {at}\n",
        starter.reference().version,
    ))
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot write {}: {error}", path.display()))
}
