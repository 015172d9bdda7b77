//! Starts the program and reads what it says.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

/// The program, without standard input.
pub(crate) fn program<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safer-instruct"));
    command.args(words).stdin(Stdio::null());
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it says of an error.
pub(crate) fn said(output: &Output) -> String {
    text(&output.stderr)
}

/// The files that a run makes for others, by name.
pub(crate) fn files(folder: &Path) -> Vec<(&'static str, String)> {
    [
        "pairs.jsonl",
        "dropped.jsonl",
        "failed.jsonl",
        "summary.json",
    ]
    .map(|name| (name, fs::read_to_string(folder.join(name)).unwrap()))
    .into()
}

/// How many outcomes the files hold; each line must be whole.
pub(crate) fn outcomes(folder: &Path) -> usize {
    let mut count = 0;
    for (name, content) in files(folder) {
        for line in content.lines().filter(|_| name.ends_with(".jsonl")) {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
            count += 1;
        }
    }
    count
}

/// A program that runs while what it says is read.
pub(crate) struct Running {
    child: Child,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, errors }
    }

    /// Waits for a line that begins so.
    pub(crate) fn wait_for(&mut self, begin: &str) {
        let mut before = Vec::new();
        for line in self.errors.by_ref() {
            let line = line.unwrap();
            if line.starts_with(begin) {
                return;
            }
            before.push(line);
        }
        panic!("it ended without `{begin}`: {before:?}");
    }

    /// Sends what Ctrl-C sends.
    pub(crate) fn interrupt(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, and keeps the pipe open until then.
    pub(crate) fn end(self) -> Output {
        self.errors.for_each(drop);
        self.child.wait_with_output().unwrap()
    }
}

/// The count in "stopped after 2 of 6 outcomes; go on with:", and the command below it.
pub(crate) fn stopped_after(output: &Output) -> (usize, String) {
    let said = text(&output.stdout);
    let mut lines = said
        .lines()
        .skip_while(|line| !line.starts_with("stopped after "));
    let count = lines.next().expect("it says how far it is");
    let count = count.split(' ').nth(2).unwrap().parse().unwrap();
    (count, lines.next().unwrap().trim().to_owned())
}
