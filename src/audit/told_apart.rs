//! How easily `chosen` is told from `rejected` by what has nothing to do with being better.

use serde::Serialize;

use crate::{
    filters::Refusals,
    learn::{Grams, Problem},
    measure::{Estimate, SplitMix64, delong},
    text::{normal_form, word_count},
};

const CONFIDENCE: f64 = 0.95;
const FOLDS: usize = 5;
/// The penalty of the n-grams: scikit-learn's own.
const C: f64 = 1.0;
/// Fewest pairs that n-grams are fitted on.
const FEWEST: usize = 20;

/// How easily `chosen` is told from `rejected` without reading what they say: areas under ROC curves, of which 0.5 is not
/// at all and 1 (or 0) always.
///
/// A reward model or DPO learns first what is easiest. If a single feature tells the sides apart, such as the length or
/// an apology, the set may teach that feature (Park et al., arXiv 2403.19159; Singhal et al., arXiv 2310.03716).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToldApart {
    /// The pairs that were looked at.
    pub pairs: usize,
    /// By the number of words. Above 0.5, `chosen` is longer.
    pub length: Option<Estimate>,
    /// By a list of phrases of refusals. Above 0.5, `chosen` refuses more.
    pub refusal_rule: Option<Estimate>,
    /// By a logistic regression on the words and pairs of words, fitted on other pairs (five folds; both sides of a pair,
    /// and pairs with an equal prompt, stand in one).
    pub n_grams: Option<Estimate>,
}

/// The texts of a pair.
pub(super) struct Texts<'a> {
    pub(super) prompt: &'a str,
    pub(super) chosen: &'a str,
    pub(super) rejected: &'a str,
}

impl ToldApart {
    /// Looks at the pairs; the folds follow from `seed`.
    pub(super) fn of(pairs: &[Texts<'_>], seed: u64) -> Self {
        let refusals = Refusals::built_in();
        let by = |number: &dyn Fn(&str) -> f64| {
            let scores = pairs
                .iter()
                .flat_map(|pair| [(number(pair.chosen), true), (number(pair.rejected), false)]);
            delong(&scores.collect::<Vec<_>>(), CONFIDENCE)
        };
        Self {
            pairs: pairs.len(),
            length: by(&|text| word_count(text) as f64),
            refusal_rule: by(&|text| f64::from(u8::from(refusals.read(text).refuses))),
            n_grams: n_grams(pairs, seed),
        }
    }
}

fn n_grams(pairs: &[Texts<'_>], seed: u64) -> Option<Estimate> {
    if pairs.len() < FEWEST {
        return None;
    }
    // Rows 2n and 2n + 1 are the sides of pair n.
    let rows: Vec<Vec<&str>> = pairs
        .iter()
        .flat_map(|pair| [vec![pair.chosen], vec![pair.rejected]])
        .collect();
    let grams = Grams::of(&rows);
    let folds = folds(pairs, seed);
    let mut scores = Vec::with_capacity(rows.len());
    for fold in 0..FOLDS {
        let sides = |keep: &dyn Fn(usize) -> bool| -> Vec<(usize, bool)> {
            let places = folds.iter().enumerate().filter(|(_, of)| keep(**of));
            places
                .flat_map(|(pair, _)| [(2 * pair, true), (2 * pair + 1, false)])
                .collect()
        };
        let fit = Problem {
            design: &grams,
            rows: &sides(&|of| of != fold),
            c: C,
            bias: true,
        }
        .solve();
        let measured = sides(&|of| of == fold);
        scores.extend(
            measured
                .into_iter()
                .map(|(row, so)| (fit.log_odds(&grams, row), so)),
        );
    }
    delong(&scores, CONFIDENCE)
}

/// The fold of each pair, by its prompt.
fn folds(pairs: &[Texts<'_>], seed: u64) -> Vec<usize> {
    let prompts: Vec<String> = pairs.iter().map(|pair| normal_form(pair.prompt)).collect();
    let mut distinct: Vec<&String> = prompts.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let mut numbers: Vec<usize> = (0..distinct.len()).map(|place| place % FOLDS).collect();
    SplitMix64::new(seed).shuffle(&mut numbers);
    let fold = |prompt: &String| {
        let place = distinct.binary_search(&prompt).unwrap_or_default();
        numbers.get(place).copied().unwrap_or_default()
    };
    prompts.iter().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECTS: [&str; 8] = [
        "a kettle",
        "the choir",
        "my bicycle",
        "the garden",
        "a letter",
        "the piano",
        "some tea",
        "my coat",
    ];

    fn pairs(
        chosen: impl Fn(usize, &str) -> String,
        rejected: impl Fn(usize, &str) -> String,
    ) -> Vec<[String; 3]> {
        (0..60)
            .map(|n| {
                let subject = SUBJECTS[n % SUBJECTS.len()];
                [
                    format!("What about {subject}, {n}?"),
                    chosen(n, subject),
                    rejected(n, subject),
                ]
            })
            .collect()
    }

    fn told(pairs: &[[String; 3]]) -> ToldApart {
        let texts: Vec<Texts<'_>> = pairs
            .iter()
            .map(|[prompt, chosen, rejected]| Texts {
                prompt,
                chosen,
                rejected,
            })
            .collect();
        ToldApart::of(&texts, 3)
    }

    #[test]
    fn a_habit_of_one_side_is_found() {
        let found = told(&pairs(
            |n, subject| format!("Good question {n}. Take {subject} to a friend."),
            |n, subject| format!("Nobody needs {subject} {n}."),
        ));
        assert_eq!(found.n_grams.unwrap().value, 1.0);
        assert_eq!(found.length.unwrap().value, 1.0);
        assert_eq!(found.refusal_rule.unwrap().value, 0.5);
    }

    #[test]
    fn sides_of_one_kind_are_not_told_apart() {
        let text = |n: usize, subject: &str, side: usize| {
            // The words of either side follow from numbers that have nothing to do with it.
            let word = ["one", "two", "three", "four", "five"][(n * 7 + side * 3) % 5];
            format!("{subject} takes {word}")
        };
        let found = told(&pairs(
            |n, subject| text(n, subject, 0),
            |n, subject| text(n, subject, 1),
        ));
        let area = found.n_grams.unwrap();
        assert!(area.value < 0.65, "{area:?}");
        assert_eq!(found.length.unwrap().value, 0.5);
    }

    #[test]
    fn apologies_on_the_chosen_side_are_found() {
        let found = told(&pairs(
            |n, subject| format!("I'm sorry, I can't help with {subject} {n}."),
            |n, subject| format!("Throw {subject} away {n} times, then run."),
        ));
        assert_eq!(found.refusal_rule.unwrap().value, 1.0);
    }

    #[test]
    fn few_pairs_are_not_fitted_on() {
        let few = pairs(|_, _| "Yes.".to_owned(), |_, _| "No.".to_owned());
        assert_eq!(told(&few[..19]).n_grams, None);
        assert_eq!(told(&[]).length, None);
    }

    #[test]
    fn equal_prompts_stand_in_one_fold() {
        let texts: Vec<Texts<'_>> = ["a", "b", "A ", "c", "b"]
            .map(|prompt| Texts {
                prompt,
                chosen: "",
                rejected: "",
            })
            .into();
        let folds = folds(&texts, 1);
        assert_eq!(folds[0], folds[2]);
        assert_eq!(folds[1], folds[4]);
    }
}
