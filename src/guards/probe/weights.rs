//! The weights of a probe, and their files.

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::card::{HeadCard, ProbeCard};
use crate::{
    error::{Error, Result},
    files,
    model::States,
};

/// A fitted probe: its card and the weights of its heads.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeWeights {
    card: ProbeCard,
    /// `(layers, 2, hidden)` each, row after row: of the mean, then of the last token.
    heads: BTreeMap<String, Vec<f32>>,
}

impl ProbeWeights {
    /// The name of the file with the card.
    pub const CARD: &'static str = "card.json";
    /// The name of the file with the weights.
    pub const WEIGHTS: &'static str = "probe.safetensors";

    /// Makes a probe of its parts: the weights `(layers, 2, hidden)` of each head of the card.
    ///
    /// # Errors
    /// [`Error::Config`] if they do not belong to each other, or are not finite.
    pub fn new(card: ProbeCard, heads: BTreeMap<String, Vec<f32>>) -> Result<Self> {
        let wrong = |reason: String| Err(Error::config("probe", reason));
        if card.format != ProbeCard::FORMAT {
            return wrong(format!(
                "its format is {}, and this version reads {}; fit it again",
                card.format,
                ProbeCard::FORMAT
            ));
        }
        let width = card.layers.len() * 2 * card.hidden;
        if width == 0 {
            return wrong("it has no layers, or states without values".to_owned());
        }
        if !card.heads.keys().eq(heads.keys()) {
            let names = |keys: Vec<&String>| format!("{keys:?}");
            return wrong(format!(
                "its card has the heads {}, its weights {}",
                names(card.heads.keys().collect()),
                names(heads.keys().collect())
            ));
        }
        for (name, weights) in &heads {
            if weights.len() != width {
                return wrong(format!(
                    "{name} has {} weights instead of {width}",
                    weights.len()
                ));
            }
            let of_card = card.heads.get(name);
            let numbers = of_card.map(|head| [head.bias, head.slope, head.offset]);
            let are_finite = weights.iter().all(|weight| weight.is_finite())
                && numbers.is_some_and(|numbers| numbers.iter().all(|number| number.is_finite()));
            if !are_finite {
                return wrong(format!("{name} holds what is no number"));
            }
        }
        Ok(Self { card, heads })
    }

    /// Reads a probe from its folder.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read; [`Error::Config`] if it is not what it should be.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let read = |name| {
            let path = folder.join(name);
            fs::read(&path).map_err(|error| Error::io(&path, error))
        };
        Self::from_bytes(&read(Self::CARD)?, &read(Self::WEIGHTS)?)
    }

    /// Reads a probe from the contents of its two files.
    ///
    /// # Errors
    /// [`Error::Config`] if they are not what they should be.
    pub fn from_bytes(card: &[u8], weights: &[u8]) -> Result<Self> {
        let wrong = |name: &str, error: &dyn std::fmt::Display| {
            Error::config("probe", format!("{name} cannot be read: {error}"))
        };
        let card: ProbeCard =
            serde_json::from_slice(card).map_err(|error| wrong(Self::CARD, &error))?;
        let tensors =
            SafeTensors::deserialize(weights).map_err(|error| wrong(Self::WEIGHTS, &error))?;
        let shape = [card.layers.len(), 2, card.hidden];
        let mut heads = BTreeMap::new();
        for (name, tensor) in tensors.iter() {
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                let reason = format!(
                    "{name} is {:?} of {:?} instead of F32 of {shape:?}",
                    tensor.shape(),
                    tensor.dtype()
                );
                return Err(wrong(Self::WEIGHTS, &reason));
            }
            let (values, _) = tensor.data().as_chunks::<4>();
            let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
            heads.insert(name.to_owned(), values.collect());
        }
        Self::new(card, heads)
    }

    /// Writes a probe into its folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let [card, weights] = self.to_bytes()?;
        files::replace(&folder.join(Self::WEIGHTS), &weights)?;
        files::replace(&folder.join(Self::CARD), &card)
    }

    /// SHA-256 of its two files, which tells it from others, such as `sha256:…`.
    ///
    /// # Errors
    /// [`Error::Other`] if it cannot be written as files.
    pub fn hash(&self) -> Result<String> {
        let [mut card, weights] = self.to_bytes()?;
        card.extend(weights);
        Ok(files::sha256(card))
    }

    /// The contents of its two files: the card, and the weights.
    fn to_bytes(&self) -> Result<[Vec<u8>; 2]> {
        let other = |error: &dyn std::fmt::Display| Error::Other(error.to_string().into());
        let shape = vec![self.card.layers.len(), 2, self.card.hidden];
        let bytes: Vec<(&String, Vec<u8>)> = self
            .heads
            .iter()
            .map(|(name, weights)| {
                let bytes = weights.iter().flat_map(|weight| weight.to_le_bytes());
                (name, bytes.collect())
            })
            .collect();
        let tensors = bytes.iter().map(|(name, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            view.map(|view| (name.as_str(), view))
        });
        let tensors: Vec<_> = tensors
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| other(&error))?;
        let weights = safetensors::serialize(tensors, None).map_err(|error| other(&error))?;
        let mut card = serde_json::to_vec_pretty(&self.card).map_err(|error| other(&error))?;
        card.push(b'\n');
        Ok([card, weights])
    }

    /// What is known of it.
    #[must_use]
    pub fn card(&self) -> &ProbeCard {
        &self.card
    }

    /// The log-odds of a head, in nats; `None` if there is no such head, or if the states are not those that it reads.
    #[must_use]
    pub fn log_odds(&self, head: &str, states: &States) -> Option<f64> {
        let (card, weights) = (self.card.heads.get(head)?, self.heads.get(head)?);
        let layers = states.layers.iter();
        if !layers.map(|one| &one.layer).eq(&self.card.layers) {
            return None;
        }
        let rows = states.layers.iter().flat_map(|one| [&one.mean, &one.last]);
        let mut sum = card.bias;
        for (weights, row) in weights.chunks_exact(self.card.hidden).zip(rows) {
            if row.len() != self.card.hidden {
                return None;
            }
            let products = weights.iter().zip(row);
            sum += products
                .map(|(weight, value)| f64::from(*weight) * f64::from(*value))
                .sum::<f64>();
        }
        Some(sum)
    }

    /// The calibrated probability of a head, as for [`log_odds`](Self::log_odds).
    #[must_use]
    pub fn probability(&self, head: &str, states: &States) -> Option<f64> {
        let HeadCard { slope, offset, .. } = self.card.heads.get(head)?;
        let log_odds = self.log_odds(head, states)?;
        Some(1.0 / (1.0 + (-(slope * log_odds + offset)).exp()))
    }
}
