//! The words for the verdicts.

use serde::Deserialize;

use crate::{guards::categories::same, record::Safety};

/// The words for each verdict, in any case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::guards) struct Labels {
    safe: Vec<String>,
    #[serde(rename = "unsafe")]
    not_safe: Vec<String>,
    #[serde(default)]
    controversial: Vec<String>,
}

impl Labels {
    /// All words with their verdicts.
    pub(in crate::guards) fn words(&self) -> impl Iterator<Item = (&str, Safety)> {
        let all = [
            (&self.safe, Safety::Safe),
            (&self.not_safe, Safety::Unsafe),
            (&self.controversial, Safety::Controversial),
        ];
        all.into_iter()
            .flat_map(|(words, safety)| words.iter().map(move |word| (word.as_str(), safety)))
    }

    /// The verdict that a text is the word for.
    pub(super) fn read(&self, text: &str) -> Option<Safety> {
        self.words()
            .find(|(word, _)| same(word, text))
            .map(|(_, safety)| safety)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.safe.is_empty() || self.not_safe.is_empty() {
            return Err("`safe` and `unsafe` need at least one word each".to_owned());
        }
        for (word, safety) in self.words() {
            if word.trim().is_empty() {
                return Err("a word for a verdict is empty".to_owned());
            }
            if self.read(word) != Some(safety) {
                return Err(format!(
                    "`{word}` stands for two verdicts; give each a word of its own"
                ));
            }
        }
        Ok(())
    }
}
