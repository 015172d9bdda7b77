//! The texts of a run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use safer_instruct::{
    Error, Result, SourceText,
    dataset::{Columns, Reader},
    files::Partial,
    profiles::{Languages, UncoveredTexts},
};
use serde::Deserialize;

use super::folder::Folder;
use crate::settings::Input;

/// Mild texts in English and Japanese.
const DEMO: &str = include_str!("../../../../assets/demo.jsonl");

/// Texts, one after the other.
pub(crate) type Texts = Box<dyn Iterator<Item = Result<SourceText>> + Send>;

/// What is known of the texts before a run.
pub(crate) struct Counted {
    /// How many there are.
    pub(crate) texts: u64,
    /// Their characters, and of these the ones of scripts that are not set apart by spaces.
    pub(crate) chars: u64,
    pub(crate) dense: u64,
    /// The first one.
    pub(crate) first: Option<SourceText>,
    /// Those that a model cannot handle.
    pub(crate) uncovered: UncoveredTexts,
}

#[derive(Deserialize)]
struct DemoText {
    id: String,
    text: String,
    category: String,
}

/// Opens the input and calls `on_bad` with every record that is skipped.
pub(crate) fn open(input: &Input, mut on_bad: impl FnMut(&str) + Send + 'static) -> Result<Texts> {
    let Some(path) = &input.path else {
        if !input.demo {
            let reason = "there are no texts; give --input FILE, or --demo for the texts that come with the program";
            return Err(Error::config("input", reason));
        }
        let most = input.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        return Ok(Box::new(DEMO.lines().map(demo_text).take(most)));
    };
    let mut columns = Columns::new(&input.text_column);
    if let Some(id) = &input.id_column {
        columns = columns.with_id(id);
    }
    if let Some(category) = &input.category_column {
        columns = columns.with_category(category);
    }
    let reader = Reader::builder()
        .with_columns(columns)
        .with_unique_ids(true)
        .with_limit(input.limit.unwrap_or(u64::MAX))
        .open(path)?;
    Ok(if input.skip_bad {
        Box::new(reader.skip_bad(move |error| on_bad(&error.report())))
    } else {
        Box::new(reader)
    })
}

fn demo_text(line: &str) -> Result<SourceText> {
    let text: DemoText = serde_json::from_str(line).map_err(|error| Error::Other(error.into()))?;
    Ok(SourceText::new(text.id, text.text).with_category(text.category))
}

/// Reads all texts once, so that bad input is reported before a model is loaded or a request is paid.
pub(crate) fn count(input: &Input, languages: Languages) -> Result<Counted> {
    let mut counted = Counted {
        texts: 0,
        chars: 0,
        dense: 0,
        first: None,
        uncovered: UncoveredTexts::new(languages),
    };
    for text in open(input, |error| eprintln!("passed over: {error}"))? {
        let text = text?;
        counted.texts += 1;
        for c in text.text().chars() {
            counted.chars += 1;
            // Kana, Chinese characters, Hangul and what lies between them.
            counted.dense += u64::from(c >= '\u{2e80}');
        }
        counted.uncovered.add(text.text());
        counted.first.get_or_insert(text);
    }
    Ok(counted)
}

/// Texts of standard input, kept in a file until the run begins.
pub(crate) struct Stdin {
    from: PathBuf,
    to: PathBuf,
}

/// Keeps the texts of standard input in the folder of the run: a run reads its texts again when it goes on.
pub(crate) fn keep_stdin(input: &mut Input, folder: &Folder) -> Result<Option<Stdin>> {
    if input.path.as_deref() != Some(Path::new("-")) {
        return Ok(None);
    }
    let absolute =
        |path: PathBuf| std::path::absolute(&path).map_err(|error| Error::io(&path, error));
    let (from, to) = (absolute(folder.new_input())?, absolute(folder.input())?);
    let mut file = Partial::create(&from)?;
    io::copy(&mut io::stdin().lock(), &mut file).map_err(|error| Error::io(&from, error))?;
    file.commit()?;
    input.path = Some(from.clone());
    Ok(Some(Stdin { from, to }))
}

impl Stdin {
    /// Gives the file its name, in the place of one that an earlier run has left.
    pub(crate) fn settle(self, input: &mut Input) -> Result<()> {
        fs::rename(&self.from, &self.to).map_err(|error| Error::io(&self.to, error))?;
        input.path = Some(self.to);
        Ok(())
    }
}
