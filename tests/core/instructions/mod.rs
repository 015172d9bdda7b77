//! Reading pairs of instructions and responses: all shapes, files that are cut off, bad input, and what is held out.

mod bad;
mod cut;
mod hold_out;
mod shapes;

use std::{fs, path::PathBuf};

use safer_instruct::dataset::{
    InstructionPair, InstructionReader, InstructionReaderBuilder, InstructionReport,
};
use tempfile::TempDir;

/// A file with some content, and what comes of it, with the folder cut out of the errors.
struct Case {
    dir: TempDir,
    path: PathBuf,
    options: InstructionReaderBuilder,
}

impl Case {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        Self {
            dir,
            path,
            options: InstructionReader::builder(),
        }
    }

    fn with(
        mut self,
        change: impl FnOnce(InstructionReaderBuilder) -> InstructionReaderBuilder,
    ) -> Self {
        self.options = change(self.options);
        self
    }

    /// One line an item: `instruction -> response`, or the report of the error; then what the reader counted.
    fn read(&self) -> (Vec<String>, InstructionReport) {
        let folder = format!("{}/", self.dir.path().display());
        let clean = |error: safer_instruct::Error| error.report().replace(&folder, "");
        match self.options.clone().open(&self.path) {
            Err(error) => (
                vec![format!("open: {}", clean(error))],
                InstructionReport::default(),
            ),
            Ok(mut reader) => {
                let items = reader
                    .by_ref()
                    .map(|item| item.map_or_else(clean, |pair| show(&pair)));
                (items.collect(), reader.report())
            }
        }
    }

    fn items(&self) -> Vec<String> {
        self.read().0
    }
}

fn show(pair: &InstructionPair) -> String {
    format!("{} -> {}", pair.instruction, pair.response)
}

fn share_gpt(turns: &[(&str, &str)]) -> String {
    let turns: Vec<_> = turns
        .iter()
        .map(|(from, value)| serde_json::json!({"from": from, "value": value}))
        .collect();
    serde_json::json!({"id": "x_0", "conversations": turns}).to_string()
}
