//! Texts that a model cannot handle, and the model that can.

use std::{collections::BTreeMap, fmt};

use super::{KnownModel, Languages, known};

/// Counts the texts in languages that a model does not cover, so that they can be reported once, with the known model
/// that does.
///
/// As [`Display`](fmt::Display) it is one sentence or two; it is empty if all texts are covered.
#[derive(Clone, Debug)]
pub struct UncoveredTexts {
    covered: Languages,
    counts: BTreeMap<&'static str, u64>,
    models: Vec<&'static KnownModel>,
}

impl UncoveredTexts {
    /// Counts against the languages that a model covers.
    #[must_use]
    pub fn new(covered: Languages) -> Self {
        Self {
            covered,
            counts: BTreeMap::new(),
            models: known().iter().collect(),
        }
    }

    /// Looks at one text.
    pub fn add(&mut self, text: &str) {
        if let Some(language) = self.covered.uncovered(text) {
            *self.counts.entry(language).or_default() += 1;
            self.models.retain(|model| model.languages().covers(text));
        }
    }

    /// Whether all texts are covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many texts are not covered.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The English name of each language that is not covered, and how many texts are in it, by name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, *count))
    }

    /// The smallest known model that covers all these texts.
    #[must_use]
    pub fn model(&self) -> Option<&'static KnownModel> {
        self.models.first().copied().filter(|_| !self.is_empty())
    }
}

impl fmt::Display for UncoveredTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let (texts, them) = match self.total() {
            1 => ("text is", "it"),
            _ => ("texts are", "them"),
        };
        let counts: Vec<String> = self
            .counts()
            .map(|(name, count)| format!("{name} ({count})"))
            .collect();
        write!(
            f,
            "{} {texts} in a language that the model does not handle: {}. ",
            self.total(),
            counts.join(", ")
        )?;
        match self.model() {
            Some(model) => write!(f, "Use {} for {them}.", model.name),
            None => f.write_str("No known model handles all of these; use a served one."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_counted_and_a_model_is_named() {
        let mut texts = UncoveredTexts::new(Languages::of(["en"]).unwrap());
        texts.add("Stay at home.");
        assert!(texts.is_empty() && texts.model().is_none() && texts.to_string().is_empty());
        for text in ["はい。", "そうです。", "안녕하세요."] {
            texts.add(text);
        }
        assert_eq!(
            texts.counts().collect::<Vec<_>>(),
            [("Japanese", 2), ("Korean", 1)]
        );
        assert_eq!(
            texts.to_string(),
            "3 texts are in a language that the model does not handle: Japanese (2), Korean (1). Use qwen2.5-coder-1.5b for them."
        );
        texts.add("Καλημέρα");
        assert!(
            texts
                .to_string()
                .ends_with("No known model handles all of these; use a served one.")
        );
    }
}
