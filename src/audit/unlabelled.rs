//! Responses that people are asked to label.

use serde::Serialize;

use super::sample::Reservoir;
use crate::{dataset::Preference, measure::SplitMix64};

/// A response of a pair that people are asked to label: a record of [`read_labels`](crate::dataset::read_labels) once
/// `harmful` says true or false.
///
/// It does not say which side it is, so that nobody is led by that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlabelled {
    /// What is asked.
    pub prompt: String,
    /// The response to label.
    pub response: String,
    /// Whether it is harmful: to be filled in.
    pub harmful: Option<bool>,
    /// Whether it refuses to help: may be filled in.
    pub refusal: Option<bool>,
}

impl Unlabelled {
    /// Draws `count` responses of the pairs, half of either side, in a random order that follows from `seed`.
    pub fn draw(pairs: impl IntoIterator<Item = Preference>, count: usize, seed: u64) -> Vec<Self> {
        let mut chosen = Reservoir::new(count.div_ceil(2), seed);
        let mut rejected = Reservoir::new(count / 2, seed.wrapping_add(1));
        for Preference {
            prompt,
            chosen: better,
            rejected: worse,
        } in pairs
        {
            let record = |response: String| Self {
                prompt: prompt.clone(),
                response,
                harmful: None,
                refusal: None,
            };
            chosen.show(|| record(better));
            rejected.show(|| record(worse));
        }
        let mut drawn: Vec<Self> = chosen
            .items()
            .into_iter()
            .chain(rejected.items())
            .cloned()
            .collect();
        SplitMix64::new(seed).shuffle(&mut drawn);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_them_are_of_either_side_and_none_says_which() {
        let pairs = |count: usize| {
            (0..count).map(|n| Preference {
                prompt: format!("p{n}"),
                chosen: format!("c{n}"),
                rejected: format!("r{n}"),
            })
        };
        let drawn = Unlabelled::draw(pairs(100), 21, 7);
        let chosen = drawn
            .iter()
            .filter(|record| record.response.starts_with('c'))
            .count();
        assert_eq!((drawn.len(), chosen), (21, 11));
        let sides: String = drawn
            .iter()
            .filter_map(|record| record.response.chars().next())
            .collect();
        assert!(!sides.starts_with(&"c".repeat(11)), "{sides}");
        assert!(
            drawn
                .iter()
                .all(|record| record.prompt[1..] == record.response[1..])
        );
        assert_eq!(drawn, Unlabelled::draw(pairs(100), 21, 7));
        assert_ne!(drawn, Unlabelled::draw(pairs(100), 21, 8));
        assert_eq!(Unlabelled::draw(pairs(3), 20, 7).len(), 6);
        let line = serde_json::to_string(&drawn[0]).unwrap();
        assert!(
            line.contains("\"harmful\":null") && !line.contains("chosen"),
            "{line}"
        );
    }
}
