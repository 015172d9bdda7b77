//! The commands that train and measure.

mod measure;
mod prefer;
mod tune;

use std::{path::Path, process::Command};

use crate::{
    candle_support::model_path,
    process::{program, text},
};

/// A command with the default model, in a folder.
fn tool(command: &str, folder: &Path) -> Command {
    let mut tool = program([command]);
    tool.arg("--model").arg(model_path()).current_dir(folder);
    tool
}

/// The exit code, and what was printed to both streams.
fn finish(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let printed = text(&[output.stdout, output.stderr].concat());
    (output.status.code().unwrap(), printed)
}
