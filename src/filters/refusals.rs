//! Phrases by which a refusal is recognised, and what an answer holds beside them.

use unicode_segmentation::UnicodeSegmentation;

use super::phrases::{has, normal, sections};
use crate::text::is_unspaced;

/// Words after which a refusal may turn into help within one sentence.
const TURNS: &[&str] = &[
    ", but ",
    " but i ",
    " but we ",
    "however",
    "instead,",
    ", so ",
    "が、",
    "けれど",
    ",但",
    ",不过",
    "지만",
];

/// Where sentences end, in normal form.
const ENDS: &[char] = &['.', '!', '?', ';', '。', '\u{1}'];

/// The phrases, from `refusals.txt`.
#[derive(Clone, Debug)]
pub(crate) struct Refusals {
    refusal: Vec<String>,
    filler: Vec<String>,
}

/// What an answer is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Makeup {
    /// Whether a part of it refuses.
    pub(crate) refuses: bool,
    /// Words in the parts that neither refuse nor are filler; two characters of a script without spaces count as one.
    pub(crate) specific: usize,
}

impl Refusals {
    pub(crate) fn built_in() -> Self {
        let mut sections = sections(include_str!("refusals.txt"));
        let mut phrases = |name| sections.remove(name).unwrap_or_default();
        Self {
            refusal: phrases("refusal"),
            filler: phrases("filler"),
        }
    }

    pub(crate) fn add(&mut self, phrase: &str) {
        let phrase = normal(phrase);
        if !phrase.is_empty() {
            self.refusal.push(phrase);
        }
    }

    /// Looks at an answer part by part.
    pub(crate) fn read(&self, answer: &str) -> Makeup {
        let mut makeup = Makeup::default();
        let mut halves = 0;
        for part in parts(answer) {
            if self.refusal.iter().any(|phrase| has(&part, phrase)) {
                makeup.refuses = true;
            } else if !self.filler.iter().any(|phrase| has(&part, phrase)) {
                halves += part
                    .unicode_words()
                    .map(|word| if word.chars().all(is_unspaced) { 1 } else { 2 })
                    .sum::<usize>();
            }
        }
        makeup.specific = halves / 2;
        makeup
    }
}

/// Sentences, split where a refusal may turn into help, in normal form.
fn parts(answer: &str) -> Vec<String> {
    let mut text = answer.lines().map(normal).collect::<Vec<_>>().join("\u{1}");
    for turn in TURNS {
        text = text.replace(turn, "\u{1}");
    }
    text.split(ENDS)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_the_help_beside_it() {
        let rules = Refusals::built_in();
        let makeup = rules.read("Sorry, I can’t help with that, but the library lends safe books.");
        assert_eq!(
            makeup,
            Makeup {
                refuses: true,
                specific: 5
            }
        );
        let makeup =
            rules.read("申し訳ありませんが、それはお手伝いできません。図書館に相談できます。");
        assert_eq!(
            makeup,
            Makeup {
                refuses: true,
                specific: 5
            }
        );
    }
}
