//! The commands that train and measure, as processes of the real program: files, Ctrl-C, errors.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../candle_support/mod.rs"]
mod candle_support;
mod measure;
mod prefer;
mod tune;

use std::{
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

/// A command of the program with the default model, in a folder.
fn program(command: &str, folder: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_safer-instruct"));
    program
        .arg(command)
        .arg("--model")
        .arg(candle_support::model_path())
        .current_dir(folder)
        .stdin(Stdio::null());
    program
}

/// The exit code, and what was printed to both streams.
fn finish(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(printed).unwrap(),
    )
}

/// Starts a command and waits for a line on standard error; what follows can be read on.
fn start_until(mut command: Command, line: &str) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(errors.any(|found| found.unwrap().starts_with(line)));
    (child, errors)
}

/// Ctrl-C.
fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let kill = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(kill.success());
}
