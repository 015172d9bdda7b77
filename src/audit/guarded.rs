//! How often one side of the pairs is what it should be.

use serde::Serialize;

use crate::{
    measure::{Estimate, Proportion, ppi_mean},
    record::Assessment,
};

const CONFIDENCE: f64 = 0.95;

/// How often one side is harmful: by the guard that the run had, by people, and by both together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SideFigures {
    /// Responses that a guard assessed.
    pub assessed: usize,
    /// How often the guard found them unsafe. That is the guard's word, with its mistakes; of a run with a gate it is 0
    /// for `chosen` and 1 for `rejected` by construction.
    pub found_unsafe: Option<Proportion>,
    /// The mean of P(unsafe), where the guard gives it.
    pub mean_p_unsafe: Option<f64>,
    /// How often people found them harmful, of those that people labelled.
    pub labelled_harmful: Option<Proportion>,
    /// The rate of harmful responses in the whole set at 95 % confidence, from the labels of people: Wilson's interval, or
    /// where every response has a P(unsafe), PPI++ ([`ppi_mean`]) with that as the prediction. None without labels.
    pub harmful: Option<Estimate>,
}

/// What is known of one side of all pairs.
#[derive(Clone, Debug, Default)]
pub(super) struct SideTally {
    all: usize,
    found: Vec<bool>,
    predicted: Vec<f64>,
    labels: Vec<bool>,
    known: Vec<(f64, f64)>,
}

impl SideTally {
    /// Adds a response: what the guard found, and what people said.
    pub(super) fn add(&mut self, assessment: Option<&Assessment>, harmful: Option<bool>) {
        self.all += 1;
        let p_unsafe = assessment.and_then(|assessment| assessment.p_unsafe);
        if let Some(assessment) = assessment {
            self.found.push(assessment.is_unsafe(0.5));
        }
        self.predicted.extend(p_unsafe);
        if let Some(harmful) = harmful {
            self.labels.push(harmful);
            let truth = f64::from(u8::from(harmful));
            self.known
                .extend(p_unsafe.map(|p_unsafe| (truth, p_unsafe)));
        }
    }

    pub(super) fn figures(&self) -> SideFigures {
        let labelled = Proportion::of(self.labels.iter().copied());
        let sum: f64 = self.predicted.iter().sum();
        let all_predicted = self.predicted.len() == self.all;
        // PPI++ needs labels of both kinds to say anything; without, the exact counts are surer.
        let mixed = labelled.is_some_and(|found| found.hits() > 0 && found.hits() < found.trials());
        let corrected = (all_predicted && mixed)
            .then(|| ppi_mean(&self.known, &self.predicted, CONFIDENCE))
            .flatten();
        let harmful = match corrected {
            Some(found) => Some(Estimate {
                value: found.mean.value.clamp(0.0, 1.0),
                low: found.mean.low.clamp(0.0, 1.0),
                high: found.mean.high.clamp(0.0, 1.0),
                ..found.mean
            }),
            None => labelled.and_then(|found| found.wilson(CONFIDENCE)),
        };
        SideFigures {
            assessed: self.found.len(),
            found_unsafe: Proportion::of(self.found.iter().copied()),
            mean_p_unsafe: (!self.predicted.is_empty()).then(|| sum / self.predicted.len() as f64),
            labelled_harmful: labelled,
            harmful,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_people_correct_the_guard() {
        let mut tally = SideTally::default();
        // The guard finds all safe; of 40 labelled ones, 10 are harmful, and the guard suspected those.
        for n in 0..400 {
            let p_unsafe = if n % 4 == 0 { 0.4 } else { 0.1 };
            let assessment = Assessment::from_probability(p_unsafe, 0.5);
            tally.add(Some(&assessment), (n < 40).then_some(n % 4 == 0));
        }
        let figures = tally.figures();
        assert_eq!(figures.found_unsafe, Proportion::new(0, 400));
        assert_eq!(figures.labelled_harmful, Proportion::new(10, 40));
        let rate = figures.harmful.unwrap();
        assert!((rate.value - 0.25).abs() < 1e-9, "{rate:?}");
        let labels_alone = Proportion::new(10, 40).unwrap().wilson(0.95).unwrap();
        assert!(rate.high - rate.low < labels_alone.high - labels_alone.low);
    }

    #[test]
    fn without_a_prediction_for_all_the_labels_stand_alone() {
        let mut tally = SideTally::default();
        tally.add(None, Some(true));
        tally.add(Some(&Assessment::from_probability(0.2, 0.5)), Some(false));
        let figures = tally.figures();
        assert_eq!(figures.assessed, 1);
        assert_eq!(figures.harmful, Proportion::new(1, 2).unwrap().wilson(0.95));
        assert_eq!(SideTally::default().figures(), SideFigures::default());
    }

    #[test]
    fn labels_of_one_kind_keep_an_interval_with_width() {
        let mut tally = SideTally::default();
        for _ in 0..50 {
            tally.add(Some(&Assessment::from_probability(0.1, 0.5)), Some(false));
        }
        let rate = tally.figures().harmful.unwrap();
        assert_eq!(rate.value, 0.0);
        assert!(rate.high > 0.05);
    }
}
