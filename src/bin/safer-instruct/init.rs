//! A file of settings to begin with.

use std::{fs::File, io::Write, path::PathBuf};

use clap::Args;
use safer_instruct::{Error, Result};

use crate::{ended::Ended, settings::DEFAULTS};

/// Which file.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// File to write
    #[arg(default_value = "run.toml")]
    path: PathBuf,
}

impl Options {
    /// Writes all defaults with what they mean. A file that is there is left alone.
    pub(crate) fn write(&self) -> Result<Ended> {
        let write = || File::create_new(&self.path)?.write_all(DEFAULTS.as_bytes());
        write().map_err(|error| Error::io(&self.path, error))?;
        println!("{}", self.path.display());
        Ok(Ended::Done)
    }
}
