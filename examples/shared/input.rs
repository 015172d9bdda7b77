//! Which texts a run reads, as the examples are told.

use std::path::{Path, PathBuf};

use clap::Args;
use safer_instruct::{
    Result,
    dataset::{Columns, Reader},
};
use serde::{Deserialize, Serialize};

/// The texts that come with the examples.
const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.jsonl");

/// The input and its columns.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Input {
    /// Texts: a .jsonl, .csv or .txt file (.gz and .zst too), a folder of .txt files, or, where it is read only once, - for JSONL on
    /// standard input [default: mild texts in English and Japanese that come with the examples]
    #[arg(long, value_name = "PATH")]
    pub(crate) input: Option<PathBuf>,
    /// Column that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub(crate) text_column: String,
    /// Column that holds the id [default: file name and line]
    #[arg(long, value_name = "NAME")]
    pub(crate) id_column: Option<String>,
    /// Column that holds the category
    #[arg(long, value_name = "NAME")]
    pub(crate) category_column: Option<String>,
    /// Work on this many texts at most
    #[arg(long, value_name = "TEXTS")]
    pub(crate) limit: Option<u64>,
}

impl Input {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Reader> {
        let columns = match &self.input {
            None => Columns::default().with_id("id").with_category("category"),
            Some(_) => {
                let mut columns = Columns::new(&self.text_column);
                if let Some(id) = &self.id_column {
                    columns = columns.with_id(id);
                }
                if let Some(category) = &self.category_column {
                    columns = columns.with_category(category);
                }
                columns
            }
        };
        Reader::builder()
            .with_columns(columns)
            .with_unique_ids(true)
            .with_limit(self.limit.unwrap_or(u64::MAX))
            .open(self.input.as_deref().unwrap_or(Path::new(BUNDLED)))
    }

    /// Whether it can be read only once.
    pub(crate) fn is_stdin(&self) -> bool {
        self.input.as_deref() == Some(Path::new("-"))
    }

    /// What a manifest calls it.
    pub(crate) fn name(&self) -> String {
        let shown = |path: &PathBuf| path.display().to_string();
        self.input.as_ref().map_or("bundled".to_owned(), shown)
    }
}
