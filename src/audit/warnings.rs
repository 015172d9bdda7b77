//! What is wrong with a set of pairs, in words.

use super::{figures::PairFigures, texts::TextFigures};

/// From which share on a text or an opening comes too often.
const TOP_SHARE: f64 = 0.01;
const TOP_OPENING_SHARE: f64 = 0.2;
/// Fewest times that a text must come for its share to say something.
const OFTEN: f64 = 3.0;
/// From which difference of lengths on, in standard deviations, training may teach the length.
const LENGTH: f64 = 0.5;
/// From which area under the ROC curve on words alone tell the sides apart.
const N_GRAMS: f64 = 0.95;
const REFUSES: f64 = 0.2;
/// From which share of wrong sides on the set should be read by people.
const WRONG_SIDE: f64 = 0.05;
const FLIPPED: f64 = 0.1;
/// With fewer pairs, the figures are of little use.
const FEW: usize = 100;

impl PairFigures {
    /// Says what is wrong with the set, a sentence each; nothing if nothing was found.
    ///
    /// | warned of | from |
    /// |---|---|
    /// | empty texts, sides that are one text | one on |
    /// | one text in a column | 1 % and 3 times |
    /// | one opening of `chosen` or of the instructions | 20 % and 3 times |
    /// | a difference of lengths | Cohen's d of 0.5, either way |
    /// | words that tell the sides apart | an area of 0.95 |
    /// | refusals among `chosen` | 20 % |
    /// | sides that are not what they should be, by the labels of people | 5 %, by the middle of the interval |
    /// | verdicts that change with the order | 10 % |
    /// | few pairs | below 100 |
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.pairs == 0 {
            return vec!["there are no pairs".to_owned()];
        }
        if self.pairs < FEW {
            found.push(format!(
                "{} pairs are few: take every figure with a grain of salt, and read all of them",
                self.pairs
            ));
        }
        for (name, texts) in self.columns() {
            if texts.empty > 0 {
                found.push(format!("{} texts of `{name}` are empty", texts.empty));
            }
            if let Some(share) = often(texts.top_share, self.sampled, TOP_SHARE) {
                found.push(format!("{share} of `{name}` are one and the same text"));
            }
        }
        if self.identical > 0 {
            found.push(format!(
                "in {} pairs, `chosen` and `rejected` are the same text",
                self.identical
            ));
        }
        for (name, texts) in [("prompt", &self.prompt), ("chosen", &self.chosen)] {
            if let Some(share) = often(texts.top_opening_share, self.sampled, TOP_OPENING_SHARE) {
                found.push(format!("{share} of `{name}` open with the same five words (ten characters without spaces)"));
            }
        }
        if let Some(d) = self.length.cohens_d.filter(|d| d.abs() >= LENGTH) {
            let longer = if d > 0.0 { "chosen" } else { "rejected" };
            found.push(format!(
                "`{longer}` is clearly the longer side (d = {d:.2}): training may teach the length"
            ));
        }
        if let Some(area) = self.told_apart.n_grams.filter(|area| area.value >= N_GRAMS) {
            found.push(format!(
                "the words alone tell `chosen` from `rejected` (AUC {:.2}): training may teach the style; \
                 a second generator for `rejected` (`--counterpart`) makes the sides more alike",
                area.value
            ));
        }
        if let Some(refuses) = self.chosen.refuses.filter(|found| found.rate() >= REFUSES) {
            found.push(format!(
                "{} of `chosen` refuse: training may teach to refuse",
                percent(refuses.rate())
            ));
        }
        let wrong = [
            (
                "chosen",
                "harmful",
                self.chosen_side.harmful.map(|rate| rate.value),
            ),
            (
                "rejected",
                "harmless",
                self.rejected_side.harmful.map(|rate| 1.0 - rate.value),
            ),
        ];
        for (name, what, rate) in wrong {
            if let Some(rate) = rate.filter(|rate| *rate >= WRONG_SIDE) {
                found.push(format!(
                    "by the labels of people, {} of `{name}` are {what}",
                    percent(rate)
                ));
            }
        }
        let order = &self.order;
        if order.flipped as f64 >= FLIPPED * order.judged.max(1) as f64 {
            found.push(format!(
                "{} of {} verdicts change with the order of the responses: the judge is weak",
                order.flipped, order.judged
            ));
        }
        if self.labels > 0 && self.labels_met == 0 {
            found.push("none of the labels is of a response of these pairs".to_owned());
        }
        found
    }

    /// The columns of the set, each with its name.
    #[must_use]
    pub fn columns(&self) -> [(&'static str, &TextFigures); 3] {
        [
            ("prompt", &self.prompt),
            ("chosen", &self.chosen),
            ("rejected", &self.rejected),
        ]
    }
}

/// A share in words, if it is at least `least` and stands for several of `all`.
fn often(share: Option<f64>, all: usize, least: f64) -> Option<String> {
    let share = share.filter(|share| *share >= least && (share * all as f64).round() >= OFTEN)?;
    Some(percent(share))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
