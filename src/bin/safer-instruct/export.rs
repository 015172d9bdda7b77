//! The files of a run.

use std::path::PathBuf;

use clap::Args;
use safer_instruct::{Result, run};

use crate::{ended::Ended, run::Folder};

/// Which run.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folder of the run [default: out]
    folder: Option<PathBuf>,
    /// Folder for the files [default: the folder of the run]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Options {
    /// Writes the files of the outcomes that a run has so far. The run may be at work.
    pub(crate) fn write(self) -> Result<Ended> {
        let folder = Folder::new(self.folder);
        folder.check_run()?;
        let to = self.to.unwrap_or_else(|| folder.path().to_owned());
        let summary = run::export(folder.journal(), &to)?;
        println!("{summary}\nfiles: {}", to.display());
        Ok(Ended::Done)
    }
}
