//! Completions of the command line for shells.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use safer_instruct::{Error, Result};

use crate::{command::Program, ended::Ended};

/// Which shell.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Shell
    shell: Shell,
}

impl Options {
    /// Prints what the shell reads, such as into `~/.local/share/bash-completion/completions/safer-instruct`.
    pub(crate) fn print(&self) -> Result<Ended> {
        let mut script = Vec::new();
        generate(
            self.shell,
            &mut Program::command(),
            "safer-instruct",
            &mut script,
        );
        io::stdout()
            .write_all(&script)
            .map_err(|error| Error::io("standard output", error))?;
        Ok(Ended::Done)
    }
}
