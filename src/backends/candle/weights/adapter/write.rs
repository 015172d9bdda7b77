//! Writing of an adapter as PEFT does.

use std::{borrow::Cow, collections::BTreeMap, fs, path::Path};

use half::f16;
use safetensors::{Dtype, tensor::TensorView};
use serde::Serialize;

use super::{Place, SETTINGS, Side, TARGETS, WEIGHTS, name};
use crate::{
    backends::candle::kernels::rows::Pairs,
    error::{Error, Result},
    files::replace,
};

/// The highest number up to which all whole ones are held exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// In what numbers the matrices are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Numbers {
    /// 32 bits, as they were trained.
    #[default]
    F32,
    /// 16 bits: half the size, rounded to three digits.
    F16,
}

impl Numbers {
    /// Values as they come back when they were written so.
    pub(crate) fn rounded(self, values: &[f32]) -> Cow<'_, [f32]> {
        match self {
            Self::F32 => values.into(),
            Self::F16 => {
                let rounded = values.iter().map(|value| f16::from_f32(*value).to_f32());
                rounded.collect::<Vec<_>>().into()
            }
        }
    }
}

/// An adapter that is to be written.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    /// What the adapter belongs to; only people read it.
    pub(crate) base: &'a str,
    pub(crate) rank: usize,
    pub(crate) alpha: f64,
    pub(crate) dropout: f32,
    pub(crate) rank_stabilised: bool,
    /// Places in the table of targets.
    pub(crate) targets: &'a [usize],
    pub(crate) numbers: Numbers,
    /// How the rows of q and k lie in the model file.
    pub(crate) pairs: Pairs,
    pub(crate) head_dim: usize,
}

/// Writes both files of an adapter into a folder, which is made if it is not there. Each file is there as a whole or
/// not at all.
///
/// # Errors
/// [`Error::Io`] if they cannot be written, [`Error::Other`] if a value is not a number or too large for 16 bits.
pub(crate) fn write<'a>(
    folder: &Path,
    about: &Written<'_>,
    matrices: impl Iterator<Item = (Place, Side, [usize; 2], &'a [f32])>,
) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for (place, side, shape, values) in matrices {
        let name = name(place, side);
        let turned;
        let target = TARGETS.get(place.1).map_or("", |target| target.1);
        let values = if side == Side::B
            && about.pairs == Pairs::Neighbours
            && matches!(target, "attn_q" | "attn_k")
        {
            turned = unpermuted(values, about.rank, about.head_dim);
            turned.as_slice()
        } else {
            values
        };
        let bytes = bytes(values, about.numbers).ok_or_else(|| {
            Error::Other(format!("the tensor {name} holds what is not a number").into())
        })?;
        tensors.insert(name, (shape, bytes));
    }
    let kind = match about.numbers {
        Numbers::F32 => Dtype::F32,
        Numbers::F16 => Dtype::F16,
    };
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        TensorView::new(kind, shape.to_vec(), bytes).map(|view| (name, view))
    });
    let other = |error: safetensors::SafeTensorError| Error::Other(error.into());
    let views = views
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(other)?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let weights = safetensors::serialize(views, Some(metadata)).map_err(other)?;

    fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
    let mut settings = serde_json::to_vec_pretty(&config(about)).unwrap_or_default();
    settings.push(b'\n');
    replace(&folder.join(WEIGHTS), &weights)?;
    replace(&folder.join(SETTINGS), &settings)
}

/// What PEFT writes for such an adapter (`LoraConfig`, `save_pretrained`), its keys in the order of the alphabet.
#[derive(Serialize)]
struct Config<'a> {
    base_model_name_or_path: &'a str,
    bias: &'static str,
    fan_in_fan_out: bool,
    inference_mode: bool,
    init_lora_weights: bool,
    lora_alpha: Number,
    lora_dropout: f64,
    modules_to_save: (),
    peft_type: &'static str,
    r: usize,
    target_modules: Vec<&'static str>,
    task_type: &'static str,
    use_dora: bool,
    use_rslora: bool,
}

/// A whole number where it is one that is held exactly: some loaders expect that.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Real(f64),
}

fn config<'a>(about: &Written<'a>) -> Config<'a> {
    let targets = about
        .targets
        .iter()
        .filter_map(|target| TARGETS.get(*target));
    Config {
        base_model_name_or_path: about.base,
        bias: "none",
        fan_in_fan_out: false,
        inference_mode: true,
        init_lora_weights: true,
        lora_alpha: match about.alpha {
            alpha if alpha.fract() == 0.0 && alpha.abs() <= EXACT => Number::Whole(alpha as i64),
            alpha => Number::Real(alpha),
        },
        // Its own digits, not those of its neighbour in double precision.
        lora_dropout: about.dropout.to_string().parse().unwrap_or_default(),
        modules_to_save: (),
        peft_type: "LORA",
        r: about.rank,
        target_modules: targets
            .filter_map(|target| target.0.rsplit('.').next())
            .collect(),
        task_type: "CAUSAL_LM",
        use_dora: false,
        use_rslora: about.rank_stabilised,
    }
}

fn bytes(values: &[f32], numbers: Numbers) -> Option<Vec<u8>> {
    let bytes = match numbers {
        Numbers::F32 => values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        Numbers::F16 => {
            let halves: Vec<f16> = values.iter().copied().map(f16::from_f32).collect();
            if !halves.iter().all(|value| value.is_finite()) {
                return None;
            }
            halves
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        }
    };
    values
        .iter()
        .all(|value| value.is_finite())
        .then_some(bytes)
}

/// The rows of q or k from the order of GGUF files of Llama back to that of Hugging Face: the inverse of
/// [`permuted`](super::permuted).
fn unpermuted(b: &[f32], rank: usize, head_dim: usize) -> Vec<f32> {
    let rows = b.chunks_exact(head_dim * rank);
    rows.flat_map(|head| {
        let half = |from: usize| head.chunks_exact(rank).skip(from).step_by(2);
        half(0).chain(half(1)).flatten().copied()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::backends::candle::weights::adapter::{Settings, permuted};

    #[test]
    fn settings_are_written_as_they_were_set() {
        for (alpha, dropout, written) in [
            (32.0, 0.05, r#""lora_alpha":32,"lora_dropout":0.05,"#),
            (0.5, 0.0, r#""lora_alpha":0.5,"lora_dropout":0.0,"#),
            (1e30, 0.1, r#""lora_alpha":1e+30,"lora_dropout":0.1,"#),
        ] {
            let about = Written {
                base: "base",
                rank: 4,
                alpha,
                dropout,
                rank_stabilised: false,
                targets: &[0],
                numbers: Numbers::F32,
                pairs: Pairs::Neighbours,
                head_dim: 8,
            };
            let json = serde_json::to_string(&config(&about)).unwrap();
            assert!(json.contains(written), "{json}");
            // The same bytes as of a map that is sorted, so that a build in which maps keep their order writes no
            // other.
            let mut sorted: Value = serde_json::from_str(&json).unwrap();
            sorted.sort_all_objects();
            assert_eq!(sorted.to_string(), json);
            let read = Settings::parse(json.as_bytes()).unwrap();
            assert_eq!(read.lora_alpha, alpha);
        }
    }

    #[test]
    fn rows_come_back_to_their_places() {
        let b: Vec<f32> = (0..2 * 8 * 3).map(|n| n as f32).collect();
        let turned = permuted(&b, 3, 8);
        assert_ne!(turned, b);
        assert_eq!(unpermuted(&turned, 3, 8), b);
    }
}
