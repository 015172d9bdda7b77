//! What a run goes on from.

use std::{fs, io::ErrorKind, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::adam::Adam;
use crate::{
    error::{Error, Result},
    files,
};

/// Names of its files in the folder of a run.
pub(super) const FILES: [&str; 2] = [BEFORE, FILE];
const FILE: &str = "checkpoint.safetensors";
/// The one before, which the run goes back to if the loss runs away.
const BEFORE: &str = "checkpoint.before.safetensors";
const KEY: &str = "safer-instruct";
const TENSORS: [&str; 3] = ["parameters", "first_moment", "second_moment"];

/// Where a run is, beside the numbers that it trains.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Place {
    /// Steps that are done.
    pub(super) step: usize,
    /// Tokens that they have seen.
    pub(super) tokens: u64,
    /// A running mean of the loss, and its lowest value.
    #[serde(with = "exact")]
    pub(super) smooth_loss: Option<f64>,
    #[serde(with = "exact")]
    pub(super) lowest_loss: Option<f64>,
    /// The step of the best evaluation.
    pub(super) best_step: Option<usize>,
    /// Its held-out loss.
    #[serde(with = "exact")]
    pub(super) best_loss: Option<f64>,
    /// The first loss on what is held out.
    #[serde(with = "exact")]
    pub(super) held_out_first: Option<f64>,
    /// Evaluations since the best.
    pub(super) waited: usize,
    /// Whether it came to its end early.
    pub(super) ended: bool,
    /// Whether the checkpoint was due, and the loss was not in doubt: then it may become the one before.
    pub(super) sound: bool,
}

/// How much the running mean of the loss keeps of itself.
const KEPT: f64 = 0.9;
/// The first losses say little about later ones, and may be of easy examples. Until there are so many losses, their
/// mean is compared with the first alone, and may be so much further above it. Then their mean takes the place of the
/// first, up to so much.
const FEW: (usize, f64) = (5, 2.0);

impl Place {
    /// Moves the running mean, which is the plain one of the first ten, and its lowest value on by the loss of the next
    /// step.
    pub(super) fn hear(&mut self, loss: f64) {
        let heard = self.step as f64;
        let kept = KEPT.min(heard / (heard + 1.0));
        let smooth = self
            .smooth_loss
            .map_or(loss, |smooth| kept * smooth + (1.0 - kept) * loss);
        self.lowest_loss = Some(match (self.lowest_loss, self.smooth_loss) {
            (Some(first), _) if self.step < FEW.0 => first,
            (Some(first), Some(mean)) if self.step == FEW.0 => mean.min(first.max(FEW.1)),
            (Some(lowest), _) => lowest.min(smooth),
            (None, _) => loss,
        });
        self.smooth_loss = Some(smooth);
    }

    /// Whether the running mean is so many times its lowest value, and so much above it.
    pub(super) fn rises(&self, (times, above): (f64, f64)) -> bool {
        let above = above + if self.step < FEW.0 { FEW.1 } else { 0.0 };
        let means = self.smooth_loss.zip(self.lowest_loss);
        means.is_some_and(|(smooth, lowest)| smooth > times * lowest && smooth > lowest + above)
    }
}

/// Numbers by their bits: as decimals they might be read back as a neighbouring number.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(f64::to_bits).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(f64::from_bits))
    }
}

/// All of a run.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) place: Place,
    pub(super) parameters: Vec<f32>,
    pub(super) adam: Adam,
}

#[derive(Deserialize, Serialize)]
struct Note {
    fingerprint: Value,
    place: Place,
}

/// What a file holds.
enum Found {
    State(Box<State>),
    Damaged,
    Nothing,
}

impl State {
    /// Writes it, as a whole or not at all.
    pub(super) fn save(&self, folder: &Path, fingerprint: &Value) -> Result<()> {
        let other = |error: safetensors::SafeTensorError| Error::Other(error.into());
        let mut note = Note {
            fingerprint: fingerprint.clone(),
            place: self.place.clone(),
        };
        // A build with other dependencies may keep keys in the order in which they were inserted.
        note.fingerprint.sort_all_objects();
        let note = serde_json::to_string(&note).map_err(|error| Error::Other(error.into()))?;
        let parts = [&self.parameters, &self.adam.first, &self.adam.second];
        let bytes = parts
            .map(|part| -> Vec<u8> { part.iter().flat_map(|value| value.to_le_bytes()).collect() });
        let views = TENSORS.iter().zip(&bytes).map(|(name, bytes)| {
            TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map(|view| (*name, view))
        });
        let views = views
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(other)?;
        let metadata = [(KEY.to_owned(), note)].into();
        let file = safetensors::serialize(views, Some(metadata)).map_err(other)?;
        files::replace(&folder.join(FILE), &file)
    }

    /// Reads it, if there is one: the last, or the one before if the process was killed between the two or the last is
    /// damaged. That one is the last from then on: the same steps again give the same numbers.
    ///
    /// # Errors
    /// Refuses a file of another run, and says what differs, and one that is damaged if there is no other.
    pub(super) fn load(folder: &Path, fingerprint: &Value, len: usize) -> Result<Option<Self>> {
        let (last, before) = (folder.join(FILE), folder.join(BEFORE));
        let damaged = match Self::read(&last, fingerprint, len)? {
            Found::State(state) => return Ok(Some(*state)),
            Found::Damaged => true,
            Found::Nothing => false,
        };
        let damaged = match Self::read(&before, fingerprint, len)? {
            Found::State(state) => {
                go_back(folder)?;
                return Ok(Some(*state));
            }
            Found::Damaged => before,
            Found::Nothing if damaged => last,
            Found::Nothing => return Ok(None),
        };
        let reason =
            "the checkpoint is damaged; begin anew in another folder, or overwrite this one";
        Err(Error::input(damaged, None, reason))
    }

    fn read(path: &Path, fingerprint: &Value, len: usize) -> Result<Found> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(Error::io(path, error)),
        };
        let Ok((_, metadata)) = SafeTensors::read_metadata(&bytes) else {
            return Ok(Found::Damaged);
        };
        let note = metadata.metadata().as_ref().and_then(|note| note.get(KEY));
        let note = note.and_then(|note| serde_json::from_str::<Note>(note).ok());
        let Some(note) = note else {
            return Ok(Found::Damaged);
        };
        // Through the same text as the other, which may move the last digit of a number.
        let fingerprint = serde_json::from_str(&fingerprint.to_string())
            .map_err(|error| Error::Other(error.into()))?;
        if let Some(difference) = difference(&note.fingerprint, &fingerprint) {
            let reason = format!(
                "this folder holds another run: {difference}; take another folder, or overwrite this one"
            );
            return Err(Error::input(path, None, reason));
        }
        let Ok(tensors) = SafeTensors::deserialize(&bytes) else {
            return Ok(Found::Damaged);
        };
        let read = |name: &str| -> Option<Vec<f32>> {
            let view = tensors.tensor(name).ok()?;
            let (values, _) = view.data().as_chunks::<4>();
            let fits = view.dtype() == Dtype::F32 && values.len() == len;
            fits.then(|| {
                values
                    .iter()
                    .map(|value| f32::from_le_bytes(*value))
                    .collect()
            })
        };
        let parts = TENSORS.map(read);
        let [Some(parameters), Some(first), Some(second)] = parts else {
            return Ok(Found::Damaged);
        };
        Ok(Found::State(Box::new(Self {
            place: note.place,
            parameters,
            adam: Adam { first, second },
        })))
    }
}

/// Whether there is one before the last.
pub(super) fn has_before(folder: &Path) -> bool {
    folder.join(BEFORE).exists()
}

/// Keeps the last checkpoint as the one before, when the next is about to be written.
pub(super) fn keep(folder: &Path) -> Result<()> {
    rename(folder, FILE, BEFORE)
}

/// Makes the checkpoint before the last one again, if there is one.
pub(super) fn go_back(folder: &Path) -> Result<()> {
    rename(folder, BEFORE, FILE)
}

/// Removes the last checkpoint.
pub(super) fn remove(folder: &Path) -> Result<()> {
    files::remove(&folder.join(FILE))
}

/// Removes the checkpoint before the last, which a run that is at its end needs no more.
pub(super) fn forget(folder: &Path) -> Result<()> {
    files::remove(&folder.join(BEFORE))
}

fn rename(folder: &Path, from: &str, to: &str) -> Result<()> {
    match files::rename(&folder.join(from), &folder.join(to)) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

/// What differs between two fingerprints, in words.
fn difference(was: &Value, is: &Value) -> Option<String> {
    if was == is {
        return None;
    }
    let (Value::Object(was), Value::Object(is)) = (was, is) else {
        return Some(format!("{was} was {is}"));
    };
    let keys = was
        .keys()
        .chain(is.keys().filter(|key| !was.contains_key(*key)));
    let words = keys.filter_map(|key| match (was.get(key), is.get(key)) {
        (Some(was), Some(is)) if was == is => None,
        (Some(was @ Value::Object(_)), Some(is @ Value::Object(_))) => difference(was, is),
        (was, is) => {
            let shown =
                |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
            Some(format!("its {key} was {} and is {}", shown(was), shown(is)))
        }
    });
    Some(words.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    fn note(file: &[u8]) -> Note {
        let (_, metadata) = SafeTensors::read_metadata(file).unwrap();
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()[KEY]).unwrap()
    }

    /// The fingerprint in a checkpoint, as text.
    pub(in super::super) fn fingerprint(file: &[u8]) -> String {
        note(file).fingerprint.to_string()
    }

    /// The step of a checkpoint.
    pub(in super::super) fn step(file: &[u8]) -> usize {
        note(file).place.step
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let state = State {
            place: Place {
                step: 7,
                best_step: Some(5),
                best_loss: Some(1.0 / 3.0),
                // A decimal that serde_json reads back as its neighbour, as many are.
                smooth_loss: Some(1.123_456_789_012_345_6 + 1e-13),
                ..Place::default()
            },
            parameters: vec![0.1, -2.5],
            adam: Adam {
                first: vec![1e-9, 3.0],
                second: vec![0.0, 1.0],
            },
        };
        let run = json!({"model": "a", "settings": {"batch": 8, "seed": 1}});
        assert!(State::load(folder.path(), &run, 2).unwrap().is_none());
        state.save(folder.path(), &run).unwrap();
        let path = folder.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        let turned = json!({"settings": {"seed": 1, "batch": 8}, "model": "a"});
        state.save(folder.path(), &turned).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "in any order of keys");
        let read = State::load(folder.path(), &run, 2).unwrap().unwrap();
        assert_eq!(read.place, state.place);
        assert_eq!(read.parameters, state.parameters);
        assert_eq!(
            (read.adam.first, read.adam.second),
            (state.adam.first, state.adam.second)
        );

        let other = json!({"model": "a", "settings": {"batch": 4, "seed": 1}});
        let error = State::load(folder.path(), &other, 2)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("its batch was 8 and is 4; take another folder"),
            "{error}"
        );
        assert!(
            State::load(folder.path(), &run, 3).is_err(),
            "of another size"
        );
        for len in [0, 5, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..len]).unwrap();
            let error = State::load(folder.path(), &run, 2).unwrap_err().to_string();
            assert!(error.contains("the checkpoint is damaged"), "{error}");
        }
        // With a sound one before it, that one is taken, and takes its place.
        let before = folder.path().join(BEFORE);
        fs::write(&before, &bytes).unwrap();
        let error = State::load(folder.path(), &other, 2).unwrap_err();
        assert!(error.to_string().contains("its batch was 8 and is 4"));
        let read = State::load(folder.path(), &run, 2).unwrap().unwrap();
        assert_eq!(read.place, state.place);
        assert!(fs::read(&path).unwrap() == bytes && !before.exists());
    }
}
