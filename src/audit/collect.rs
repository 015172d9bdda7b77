//! Takes pairs one by one and gives their figures.

use std::collections::{BTreeMap, HashMap};

use super::{
    figures::{LengthFigures, OrderFigures, PairFigures},
    guarded::SideTally,
    sample::Reservoir,
    texts::TextFigures,
    told_apart::{Texts, ToldApart},
};
use crate::{
    dataset::{Label, LabelRecord, Preference},
    error::{Error, Result},
    measure::{Proportion, cohens_d},
    record::{PreferencePair, Provenance},
    text::{Language, normal_form, word_count},
};

/// Pairs whose texts are kept.
const SAMPLE: usize = 20_000;
/// Pairs that are told apart; fitting takes seconds with so many.
const TOLD_APART: usize = 2_000;

/// Takes preference pairs one by one and gives figures of the whole set.
///
/// Counts, lengths and what a guard or people say are of all pairs. Figures of texts are of a uniform random sample of
/// 20,000 pairs, or of all if there are fewer; a classifier is fitted on 2,000 of them. So the memory is that of the
/// sample and of about 100 bytes for each pair.
///
/// ```
/// use safer_instruct::{audit::PairAudit, dataset::Preference};
///
/// let mut audit = PairAudit::new();
/// for n in 0..30 {
///     audit.add_texts(&Preference {
///         prompt: format!("May I feed the {n} ducks?"),
///         chosen: "I cannot help with that.".to_owned(),
///         rejected: format!("Throw {n} stones."),
///     });
/// }
/// let figures = audit.figures();
/// assert_eq!(figures.chosen.top_share, Some(1.0));
/// assert!(figures.warnings().iter().any(|warning| warning.contains("one and the same text")));
/// ```
#[derive(Clone, Debug)]
pub struct PairAudit {
    seed: u64,
    pairs: usize,
    identical: usize,
    lengths: [Vec<f64>; 2],
    sample: Reservoir<Preference>,
    sides: [SideTally; 2],
    order: OrderFigures,
    categories: BTreeMap<String, usize>,
    labels: HashMap<(String, String), bool>,
    labels_met: usize,
}

impl Default for PairAudit {
    fn default() -> Self {
        Self::new()
    }
}

impl PairAudit {
    /// Makes an audit that has seen no pair, with seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            seed: 0,
            pairs: 0,
            identical: 0,
            lengths: [Vec::new(), Vec::new()],
            sample: Reservoir::new(SAMPLE, 0),
            sides: [SideTally::default(), SideTally::default()],
            order: OrderFigures::default(),
            categories: BTreeMap::new(),
            labels: HashMap::new(),
            labels_met: 0,
        }
    }

    /// Sets the seed of the sample and of the folds, before the first pair. By default 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.sample = Reservoir::new(SAMPLE, seed);
        self
    }

    /// Sets what people say of responses of these pairs, before the first pair. They correct the rates of the guard, if
    /// the labelled responses are a random sample of the set ([`Unlabelled`](super::Unlabelled) draws one). Labels of
    /// pairs, and labels that only say whether a response refuses, are ignored.
    ///
    /// # Errors
    /// [`Error::Config`] if two labels of one response say opposite things.
    pub fn with_labels(mut self, labels: &[LabelRecord]) -> Result<Self> {
        for (record, number) in labels.iter().zip(1..) {
            let Label::Response {
                text,
                harmful: Some(harmful),
                ..
            } = &record.label
            else {
                continue;
            };
            let key = (record.prompt.clone(), text.clone());
            let before = *self.labels.entry(key).or_insert(*harmful);
            if before != *harmful {
                let reason = format!(
                    "label {number} says the opposite of an earlier one for the same prompt and response; keep one of them"
                );
                return Err(Error::config("labels", reason));
            }
        }
        Ok(self)
    }

    /// Adds a pair of a run.
    pub fn add(&mut self, pair: &PreferencePair) {
        self.add_sides(
            [&pair.prompt, &pair.chosen, &pair.rejected],
            Some(&pair.provenance),
        );
    }

    /// Adds a pair of others, of which the texts alone are known.
    pub fn add_texts(&mut self, pair: &Preference) {
        self.add_sides([&pair.prompt, &pair.chosen, &pair.rejected], None);
    }

    fn add_sides(&mut self, [prompt, chosen, rejected]: [&String; 3], made: Option<&Provenance>) {
        self.pairs += 1;
        self.identical += usize::from(normal_form(chosen) == normal_form(rejected));
        let assessments = [
            made.and_then(|made| made.chosen_assessment.as_ref()),
            made.and_then(|made| made.rejected_assessment.as_ref()),
        ];
        let sides = self.sides.iter_mut().zip(&mut self.lengths);
        for ((tally, lengths), (text, assessment)) in
            sides.zip([chosen, rejected].into_iter().zip(assessments))
        {
            lengths.push(word_count(text) as f64);
            let label = match self.labels.is_empty() {
                true => None,
                false => self.labels.get(&(prompt.clone(), text.clone())).copied(),
            };
            self.labels_met += usize::from(label.is_some());
            tally.add(assessment, label);
        }
        if let Some(made) = made {
            self.order.add(&made.judgement);
            let category = made.category.as_deref().unwrap_or("none");
            *self.categories.entry(category.to_owned()).or_default() += 1;
        }
        self.sample.show(|| Preference {
            prompt: prompt.clone(),
            chosen: chosen.clone(),
            rejected: rejected.clone(),
        });
    }

    /// The figures of the pairs so far. Fitting the classifier takes seconds for thousands of pairs.
    #[must_use]
    pub fn figures(&self) -> PairFigures {
        let sample = self.sample.items();
        let column = |text: fn(&Preference) -> &str| {
            let texts: Vec<&str> = sample.iter().map(|pair| text(pair)).collect();
            TextFigures::of(&texts, self.seed)
        };
        let texts = |pair: &'_ &&Preference| -> Preference { Preference::clone(pair) };
        let mut fewer = Reservoir::new(TOLD_APART, self.seed);
        sample.iter().for_each(|pair| fewer.show(|| texts(&pair)));
        let told: Vec<Texts<'_>> = fewer
            .items()
            .into_iter()
            .map(|pair| Texts {
                prompt: &pair.prompt,
                chosen: &pair.chosen,
                rejected: &pair.rejected,
            })
            .collect();
        let mut languages: BTreeMap<String, usize> = BTreeMap::new();
        for pair in &sample {
            *languages
                .entry(Language::of(&pair.prompt).name().to_owned())
                .or_default() += 1;
        }
        let [chosen, rejected] = &self.lengths;
        let longer = chosen
            .iter()
            .zip(rejected)
            .map(|(chosen, rejected)| chosen > rejected);
        let [chosen_side, rejected_side] = &self.sides;
        PairFigures {
            pairs: self.pairs,
            sampled: sample.len(),
            identical: self.identical,
            prompt: column(|pair| &pair.prompt),
            chosen: column(|pair| &pair.chosen),
            rejected: column(|pair| &pair.rejected),
            length: LengthFigures {
                cohens_d: cohens_d(chosen, rejected),
                chosen_longer: Proportion::of(longer),
            },
            told_apart: ToldApart::of(&told, self.seed),
            chosen_side: chosen_side.figures(),
            rejected_side: rejected_side.figures(),
            order: self.order.clone(),
            languages,
            categories: self.categories.clone(),
            labels: self.labels.len(),
            labels_met: self.labels_met,
        }
    }
}
