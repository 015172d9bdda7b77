//! The progress of a run.

use std::path::PathBuf;

use clap::Args;
use safer_instruct::{Error, Result, run::Status};

use crate::{ended::Ended, run::Folder, settings::money};

/// Which run, and for whom.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folder of the run [default: out]
    folder: Option<PathBuf>,
    /// Print it as one line of JSON, for machines
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Prints it. The run may be at work.
    pub(crate) fn print(self) -> Result<Ended> {
        let folder = Folder::new(self.folder);
        folder.check_run()?;
        let status = Status::read(folder.journal())?;
        if self.json {
            let json =
                serde_json::to_string(&status).map_err(|error| Error::Other(error.into()))?;
            println!("{json}");
            return Ok(Ended::Done);
        }
        let complete = if status.complete {
            "complete"
        } else {
            "not complete"
        };
        println!(
            "{complete}: {} outcomes, {} pairs ({:.0} %), {} dropped, {} failed",
            status.done(),
            status.kept,
            100.0 * status.kept_share(),
            status.dropped,
            status.failed
        );
        println!(
            "{} calls, {} tokens, {} spent; {} in flight or cut off",
            status.spent.requests,
            status.spent.usage.total(),
            money(status.spent.money),
            status.in_flight
        );
        Ok(Ended::Done)
    }
}
