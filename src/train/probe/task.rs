//! What a head is fitted on: rows of states with their labels, and which of them must stay together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::states::StateTable;
use crate::{
    dataset::{Label, LabelRecord},
    error::{Error, Result},
    guards::Probe,
    learn::Dense,
};

/// A head, and what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Harm,
    Refusal,
    Preference,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Harm, Self::Refusal, Self::Preference];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Harm => Probe::<()>::HARM,
            Self::Refusal => Probe::<()>::REFUSAL,
            Self::Preference => Probe::<()>::PREFERENCE,
        }
    }

    /// What a record says of it, if it does.
    fn label(self, record: &LabelRecord) -> Option<bool> {
        match (self, &record.label) {
            (Self::Harm, Label::Response { harmful, .. }) => *harmful,
            (Self::Refusal, Label::Response { refusal, .. }) => *refusal,
            (Self::Preference, Label::Pair { .. }) => Some(true),
            _ => None,
        }
    }

    /// Whether its rows are differences of two responses, which have no bias.
    pub(super) fn is_pairwise(self) -> bool {
        self == Self::Preference
    }
}

/// A labelled row.
pub(super) struct Labelled<'a> {
    /// One response, or the better and the worse one.
    pub(super) texts: Vec<&'a str>,
    /// Whether the thing is so; of a pair always.
    pub(super) so: bool,
    pub(super) source: usize,
    /// Rows of one group are all fitted on, or all measured on.
    pub(super) group: usize,
}

/// The rows of a head.
pub(super) struct Task<'a> {
    pub(super) kind: Kind,
    pub(super) rows: Vec<Labelled<'a>>,
    /// The names of the sources.
    pub(super) sources: Vec<String>,
    /// `(rows, layers · hidden)`
    pub(super) design: Dense,
    /// The mean that was taken off each column; 0 for differences and for rows as they were read.
    pub(super) means: Vec<f64>,
    pub(super) scales: Vec<f64>,
}

/// Up to which share of its mean a column counts as constant.
const CONSTANT: f64 = 1e-6;

/// Records without a source.
const UNNAMED: &str = "labels";

impl<'a> Task<'a> {
    /// The rows of the records that say something for the head, each column less its mean and divided by its scale.
    pub(super) fn of(kind: Kind, records: &[&'a LabelRecord], states: &StateTable) -> Result<Self> {
        let mut task = Self::as_read(kind, records, states)?;
        task.standardise();
        Ok(task)
    }

    /// The rows, as the model gave them.
    pub(super) fn as_read(
        kind: Kind,
        records: &[&'a LabelRecord],
        states: &StateTable,
    ) -> Result<Self> {
        let names: BTreeSet<&str> = records.iter().map(|record| source(record)).collect();
        let sources: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let places: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
        let groups = groups(records);
        let (mut rows, mut values, mut width) = (Vec::new(), Vec::new(), 0);
        for (record, group) in records.iter().zip(groups) {
            let Some(so) = kind.label(record) else {
                continue;
            };
            let texts: Vec<&str> = record.label.responses().collect();
            let mut row: Vec<f32> = Vec::new();
            for text in &texts {
                let states = states.row(&record.prompt, text).ok_or_else(|| {
                    Error::config("states", "the states of a labelled response were not read")
                })?;
                if row.is_empty() {
                    row = states.to_vec();
                } else {
                    row.iter_mut().zip(states).for_each(|(a, b)| *a -= b);
                }
            }
            width = row.len();
            values.extend(row);
            rows.push(Labelled {
                texts,
                so,
                source: places.get(source(record)).copied().unwrap_or_default(),
                group,
            });
        }
        Ok(Self {
            kind,
            rows,
            sources,
            design: Dense { width, values },
            means: vec![0.0; width],
            scales: vec![1.0; width],
        })
    }

    fn standardise(&mut self) {
        let count = self.rows.len().max(1) as f64;
        let Dense { width, values } = &mut self.design;
        if *width == 0 {
            return;
        }
        if !self.kind.is_pairwise() {
            for row in values.chunks_exact(*width) {
                for (mean, value) in self.means.iter_mut().zip(row) {
                    *mean += f64::from(*value) / count;
                }
            }
        }
        let mut squares = vec![0.0; *width];
        for row in values.chunks_exact(*width) {
            for ((square, mean), value) in squares.iter_mut().zip(&self.means).zip(row) {
                *square += (f64::from(*value) - mean).powi(2) / count;
            }
        }
        for ((scale, mean), square) in self.scales.iter_mut().zip(&self.means).zip(squares) {
            // A column that never changes says nothing; what is left of it is the rounding of its mean.
            let changes = square.sqrt() > CONSTANT * mean.abs();
            *scale = if changes { square.sqrt() } else { 1.0 };
        }
        for row in values.chunks_exact_mut(*width) {
            let columns = self.means.iter().zip(&self.scales);
            for (value, (mean, scale)) in row.iter_mut().zip(columns) {
                *value = ((f64::from(*value) - mean) / scale) as f32;
            }
        }
    }

    /// How many rows are so, and how many are not.
    pub(super) fn counts(&self) -> (usize, usize) {
        let so = self.rows.iter().filter(|row| row.so).count();
        (so, self.rows.len() - so)
    }

    /// The fold of each row: groups in an order that the seed chooses, each into the fold that has the smallest shares of
    /// the labels that the group brings, so that all folds have about the same share of either label.
    pub(super) fn folds(&self, count: usize, seed: u64) -> Vec<usize> {
        let mut sizes: BTreeMap<usize, [f64; 2]> = BTreeMap::new();
        for row in &self.rows {
            let [so, not] = sizes.entry(row.group).or_default();
            *(if row.so { so } else { not }) += 1.0;
        }
        let mut order: Vec<(u64, usize, [f64; 2])> = sizes
            .into_iter()
            .map(|(group, size)| (shuffled(seed, group), group, size))
            .collect();
        order.sort_unstable_by_key(|(number, group, _)| (*number, *group));
        let (so, not) = self.counts();
        let [so, not] = [so, not].map(|all| 1.0 / all.max(1) as f64);
        let mut filled = vec![[0.0, 0.0]; count.max(1)];
        let mut folds = HashMap::new();
        for (_, group, [adds_so, adds_not]) in order {
            let full = |[has_so, has_not]: &[f64; 2]| {
                has_so * so * adds_so * so + has_not * not * adds_not * not
            };
            let places = filled.iter().enumerate();
            let emptiest = places.min_by(|(_, a), (_, b)| full(a).total_cmp(&full(b)));
            let fold = emptiest.map_or(0, |(fold, _)| fold);
            if let Some([has_so, has_not]) = filled.get_mut(fold) {
                *has_so += adds_so;
                *has_not += adds_not;
            }
            folds.insert(group, fold);
        }
        let fold = |row: &Labelled<'_>| folds.get(&row.group).copied().unwrap_or_default();
        self.rows.iter().map(fold).collect()
    }
}

/// A number that the seed gives to another one.
pub(super) fn shuffled(seed: u64, number: usize) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((number as u64).to_le_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

pub(super) fn source(record: &LabelRecord) -> &str {
    record.source.as_deref().unwrap_or(UNNAMED)
}

/// Looks for responses that are labelled both ways, and pairs that stand there in both orders.
///
/// # Errors
/// [`Error::Config`] if there are any.
pub(super) fn check_agreement(kind: Kind, records: &[&LabelRecord]) -> Result<()> {
    let mut said: HashMap<(&str, &str, &str), (bool, usize)> = HashMap::new();
    let (mut count, mut example) = (0, None);
    for (record, number) in records.iter().zip(1..) {
        let Some(so) = kind.label(record) else {
            continue;
        };
        let texts: Vec<&str> = record.label.responses().collect();
        let (first, second) = match texts.as_slice() {
            [one] => (*one, ""),
            [better, worse] => (*better, *worse),
            _ => continue,
        };
        // A pair and its turn are one question, answered both ways.
        let (key, so) = if kind.is_pairwise() && second < first {
            ((record.prompt.as_str(), second, first), !so)
        } else {
            ((record.prompt.as_str(), first, second), so)
        };
        let (before, at) = *said.entry(key).or_insert((so, number));
        if before != so {
            count += 1;
            example.get_or_insert((at, number));
        }
    }
    let Some((first, second)) = example else {
        return Ok(());
    };
    let reason = format!(
        "{count} labels of {} say the opposite of an earlier one for the same prompt and response (first: records \
         {first} and {second}); keep one of each, such as what most people said",
        kind.name()
    );
    Err(Error::config("labels", reason))
}

/// The group of each record: those that name one group or prompt belong together, and those that share a response.
pub(super) fn groups(records: &[&LabelRecord]) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..records.len()).collect();
    let mut first: HashMap<(bool, &str), usize> = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        let named = record.group.as_deref().unwrap_or(&record.prompt).trim();
        let keys = record
            .label
            .responses()
            .map(|text| (true, text.trim()))
            .chain((!named.is_empty()).then_some((false, named)));
        for key in keys {
            let other = *first.entry(key).or_insert(at);
            let (a, b) = (root(&mut parents, at), root(&mut parents, other));
            if let Some(parent) = parents.get_mut(a.max(b)) {
                *parent = a.min(b);
            }
        }
    }
    (0..records.len())
        .map(|at| root(&mut parents, at))
        .collect()
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while let Some(parent) = parents.get(at).copied().filter(|parent| *parent != at) {
        // Halves the path, so that it stays short.
        let above = parents.get(parent).copied().unwrap_or(parent);
        if let Some(slot) = parents.get_mut(at) {
            *slot = above;
        }
        at = above;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(prompt: &str, response: &str, group: Option<&str>) -> LabelRecord {
        LabelRecord {
            prompt: prompt.to_owned(),
            label: Label::Response {
                text: response.to_owned(),
                harmful: Some(false),
                refusal: None,
            },
            source: None,
            group: group.map(str::to_owned),
        }
    }

    #[test]
    fn records_that_share_a_prompt_a_response_or_a_group_stay_together() {
        let records = [
            record("a", "1", None),
            record("b", "2", None),
            record("a", "3", None),
            record("c", "2 ", None),
            record("d", "4", Some("g")),
            record("e", "5", Some("g")),
            record("", "6", None),
            record("", "7", None),
            // A group may have the name of a prompt.
            record("f", "8", Some("a")),
        ];
        let records: Vec<&LabelRecord> = records.iter().collect();
        assert_eq!(groups(&records), [0, 1, 0, 1, 4, 4, 6, 7, 0]);
    }

    #[test]
    fn labels_that_say_opposite_things_are_refused() {
        let harmful = |prompt: &str, harmful| LabelRecord {
            label: Label::Response {
                text: "1".to_owned(),
                harmful: Some(harmful),
                refusal: None,
            },
            ..record(prompt, "", None)
        };
        let pair = |chosen: &str, rejected: &str| LabelRecord {
            label: Label::Pair {
                chosen: chosen.to_owned(),
                rejected: rejected.to_owned(),
            },
            ..record("a", "", None)
        };
        let all = [
            harmful("a", true),
            harmful("b", false),
            pair("2", "1"),
            pair("2", "3"),
            harmful("a", true),
        ];
        let mut records: Vec<&LabelRecord> = all.iter().collect();
        for kind in Kind::ALL {
            check_agreement(kind, &records).unwrap();
        }
        let (other, turned) = (harmful("a", false), pair("1", "2"));
        records.extend([&other, &turned]);
        let error = |kind| check_agreement(kind, &records).unwrap_err().to_string();
        let harm = error(Kind::Harm);
        assert!(
            harm.contains("1 labels of harm") && harm.contains("records 1 and 6"),
            "{harm}"
        );
        let preference = error(Kind::Preference);
        assert!(preference.contains("records 3 and 7"), "{preference}");
        check_agreement(Kind::Refusal, &records).unwrap();
    }
}
