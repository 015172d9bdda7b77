//! n-grams of words or characters, as rows of numbers.

use std::collections::{BTreeMap, HashMap};

use super::logistic::Design;
use crate::text::Units;

/// n-grams of the words of a text, or of its characters where it is written without spaces: 1 and 2 of them, weighed by
/// how rare they are (tf-idf as scikit-learn's `TfidfVectorizer`), length 1.
pub(crate) struct Grams {
    width: usize,
    rows: Vec<Vec<(usize, f32)>>,
}

impl Design for Grams {
    fn width(&self) -> usize {
        self.width
    }

    fn dot(&self, row: usize, weights: &[f64]) -> f64 {
        let entries = self.rows.get(row).map_or(&[][..], Vec::as_slice);
        let weight = |at: usize| weights.get(at).copied().unwrap_or_default();
        entries
            .iter()
            .map(|(at, value)| weight(*at) * f64::from(*value))
            .sum()
    }

    fn add(&self, row: usize, factor: f64, sum: &mut [f64]) {
        for (at, value) in self.rows.get(row).into_iter().flatten() {
            if let Some(sum) = sum.get_mut(*at) {
                *sum += factor * f64::from(*value);
            }
        }
    }
}

impl Grams {
    /// One row for one text, or for two that are compared: the n-grams of the first less those of the second.
    pub(crate) fn of(rows: &[Vec<&str>]) -> Self {
        let texts: Vec<Vec<BTreeMap<String, f32>>> = rows
            .iter()
            .map(|row| row.iter().map(|text| count(text)).collect())
            .collect();
        let mut seen: HashMap<&str, (usize, f32)> = HashMap::new();
        let (mut documents, mut names) = (0.0_f32, 0);
        for counts in texts.iter().flatten() {
            documents += 1.0;
            for gram in counts.keys() {
                let entry = seen.entry(gram).or_insert_with(|| {
                    names += 1;
                    (names - 1, 0.0)
                });
                entry.1 += 1.0;
            }
        }
        let weigh = |counts: &BTreeMap<String, f32>| {
            let mut entries: Vec<(usize, f32)> = counts
                .iter()
                .filter_map(|(gram, count)| {
                    let (at, found_in) = seen.get(gram.as_str())?;
                    let rarity = ((1.0 + documents) / (1.0 + found_in)).ln() + 1.0;
                    Some((*at, count * rarity))
                })
                .collect();
            let length = entries
                .iter()
                .map(|(_, value)| value * value)
                .sum::<f32>()
                .sqrt();
            entries
                .iter_mut()
                .for_each(|(_, value)| *value /= length.max(f32::MIN_POSITIVE));
            entries
        };
        let rows = texts
            .iter()
            .map(|texts| {
                let mut row = Vec::new();
                for (entries, sign) in texts.iter().map(weigh).zip([1.0, -1.0]) {
                    row.extend(entries.into_iter().map(|(at, value)| (at, sign * value)));
                }
                row
            })
            .collect();
        Self { width: names, rows }
    }
}

fn count(text: &str) -> BTreeMap<String, f32> {
    let (words, between) = match Units::of(text) {
        Units::Words(words) => (words, " "),
        Units::Chars(chars) => (chars.iter().map(char::to_string).collect(), ""),
    };
    let mut counts = BTreeMap::new();
    for gram in words.windows(2).map(|pair| pair.join(between)) {
        *counts.entry(gram).or_default() += 1.0;
    }
    for word in words {
        *counts.entry(word).or_default() += 1.0;
    }
    counts
}
