//! How varied one column of the pairs is.

use serde::Serialize;

use crate::{
    filters::Refusals,
    measure::{Proportion, Resampling, distinct_n, top_share},
    text::{Units, normal_form, word_count},
};

/// Words of an opening, and characters where a text is written without spaces.
const OPENING_WORDS: usize = 5;
const OPENING_CHARS: usize = 10;
/// N-grams of a resample, so that sets of different sizes can be compared.
const RESAMPLE: usize = 1_000;
const RESAMPLES: usize = 20;

/// How varied the texts of one column are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextFigures {
    /// Texts without a letter or a digit.
    pub empty: usize,
    /// How long the texts are.
    pub words: Option<WordCounts>,
    /// The share of the most frequent text. Texts count as the same if they differ only in width and compatibility forms
    /// (NFKC), case or white space.
    pub top_share: Option<f64>,
    /// The share of the most frequent opening: the first 5 words, or 10 characters of a text without spaces.
    pub top_opening_share: Option<f64>,
    /// The most frequent opening, in normal form; none if every one comes once.
    pub top_opening: Option<String>,
    /// The share of distinct pairs of neighbouring words (characters in a text without spaces) in random draws of 1,000
    /// of them ([`distinct_n`]); none if there are fewer.
    pub distinct_2: Option<f64>,
    /// How many texts refuse, by a list of phrases in English, Japanese, Chinese and Korean.
    pub refuses: Option<Proportion>,
}

/// How long texts are, in words; in a text without spaces, characters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WordCounts {
    /// One text in twenty is this short or shorter.
    pub low: usize,
    /// The middle.
    pub median: usize,
    /// One text in twenty is this long or longer.
    pub high: usize,
}

impl TextFigures {
    /// Looks at the texts; `seed` is for the random draws.
    pub(super) fn of(texts: &[&str], seed: u64) -> Self {
        let refusals = Refusals::built_in();
        let openings: Vec<String> = texts.iter().map(|text| opening(text)).collect();
        let units: Vec<Vec<String>> = texts.iter().map(|text| units(text)).collect();
        let resampling = Resampling {
            size: RESAMPLE,
            resamples: RESAMPLES,
            seed,
        };
        Self {
            empty: texts.iter().filter(|text| word_count(text) == 0).count(),
            words: WordCounts::of(texts),
            top_share: top_share(texts.iter().map(|text| normal_form(text))),
            top_opening_share: top_share(&openings),
            top_opening: most_frequent(&openings),
            distinct_2: distinct_n(&units, 2, resampling),
            refuses: Proportion::of(texts.iter().map(|text| refusals.read(text).refuses)),
        }
    }
}

impl WordCounts {
    fn of(texts: &[&str]) -> Option<Self> {
        let mut counts: Vec<usize> = texts.iter().map(|text| word_count(text)).collect();
        counts.sort_unstable();
        let at = |share: f64| {
            let place = (share * counts.len().saturating_sub(1) as f64).round() as usize;
            counts.get(place).copied()
        };
        Some(Self {
            low: at(0.05)?,
            median: at(0.5)?,
            high: at(0.95)?,
        })
    }
}

fn units(text: &str) -> Vec<String> {
    match Units::of(text) {
        Units::Words(words) => words,
        Units::Chars(chars) => chars.into_iter().map(String::from).collect(),
    }
}

fn opening(text: &str) -> String {
    match Units::of(text) {
        Units::Words(mut words) => {
            words.truncate(OPENING_WORDS);
            words.join(" ")
        }
        Units::Chars(chars) => chars.into_iter().take(OPENING_CHARS).collect(),
    }
}

/// The opening that comes most often, the first in the order of the alphabet if several do.
fn most_frequent(openings: &[String]) -> Option<String> {
    let mut sorted: Vec<&String> = openings.iter().collect();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a == b);
    let best = runs.reduce(|best, run| if run.len() > best.len() { run } else { best })?;
    (best.len() > 1).then(|| best.first().map(|text| (*text).clone()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canned_answer_is_seen_in_any_width_and_case() {
        let texts = [
            "I cannot help with that.",
            "I  CANNOT help with that.",
            "Boil the water first.",
            "…",
        ];
        let figures = TextFigures::of(&texts, 1);
        assert_eq!(figures.top_share, Some(0.5));
        assert_eq!(figures.top_opening_share, Some(0.5));
        assert_eq!(
            figures.top_opening.as_deref(),
            Some("i cannot help with that")
        );
        assert_eq!(figures.empty, 1);
        assert_eq!(figures.refuses, Proportion::new(2, 4));
        assert_eq!(figures.distinct_2, None, "too few");
        let words = figures.words.unwrap();
        assert_eq!((words.low, words.median, words.high), (0, 5, 5));
    }

    #[test]
    fn openings_of_japanese_are_characters() {
        let texts = [
            "申し訳ありませんが、それは言えません。",
            "申し訳ありませんが、そこには行けません。",
            "お湯を沸かしてください。",
        ];
        let figures = TextFigures::of(&texts, 1);
        assert_eq!(figures.top_opening.as_deref(), Some("申し訳ありませんがそ"));
        assert_eq!(figures.top_opening_share, Some(2.0 / 3.0));
    }

    #[test]
    fn openings_that_come_once_are_not_named() {
        assert_eq!(TextFigures::of(&["One.", "Two."], 1).top_opening, None);
        let none = TextFigures::of(&[], 1);
        assert_eq!(
            (none.top_share, none.words, none.refuses),
            (None, None, None)
        );
    }
}
