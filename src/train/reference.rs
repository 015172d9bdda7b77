//! Log-probabilities by the reference of a preference objective, kept between the parts of a run.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

use crate::{error::Result, files::replace};

/// Name of the file in the folder of a run: a SHA-256 of the run's fingerprint and of what follows, then
/// log-probabilities by their bits, the lowest byte first.
pub(super) const FILE: &str = "reference.bin";
const DIGEST: usize = 32;

/// Log-probabilities of the first sequences, at most `count`, as far as they are known; none if there is no file, or it
/// is damaged or of another run.
pub(super) fn load(folder: &Path, fingerprint: &str, count: usize) -> Vec<f64> {
    read(folder, fingerprint, count).unwrap_or_default()
}

fn read(folder: &Path, fingerprint: &str, count: usize) -> Option<Vec<f64>> {
    let file = fs::read(folder.join(FILE)).ok()?;
    let (found, bytes) = file.split_at_checked(DIGEST)?;
    let (values, rest) = bytes.as_chunks::<8>();
    let fits = values.len() <= count && rest.is_empty() && found == digest(fingerprint, bytes);
    fits.then(|| {
        values
            .iter()
            .map(|bits| f64::from_le_bytes(*bits))
            .collect()
    })
}

/// Writes them, as a whole or not at all.
pub(super) fn save(folder: &Path, fingerprint: &str, values: &[f64]) -> Result<()> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let file = [digest(fingerprint, &bytes).as_slice(), &bytes].concat();
    replace(&folder.join(FILE), &file)
}

fn digest(fingerprint: &str, bytes: &[u8]) -> [u8; DIGEST] {
    let mut hash = Sha256::new();
    hash.update((fingerprint.len() as u64).to_le_bytes());
    hash.update(fingerprint);
    hash.update(bytes);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_for_the_same_run_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let values = [-1.0 / 3.0, 0.0, -1e-300];
        let nothing: [f64; 0] = [];
        assert_eq!(load(folder.path(), "a", 3), nothing);
        save(folder.path(), "a", &values).unwrap();
        let read = load(folder.path(), "a", 3);
        assert_eq!(
            read.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            values.map(f64::to_bits)
        );
        assert_eq!(load(folder.path(), "a", 9), read, "a part of more");
        assert_eq!(load(folder.path(), "b", 3), nothing);
        assert_eq!(load(folder.path(), "a", 2), nothing);
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in [0, DIGEST, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(load(folder.path(), "a", 3), nothing);
        }
        for len in [0, 9, DIGEST, whole.len() - 8, whole.len() - 1] {
            fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(load(folder.path(), "a", 3), nothing);
        }
    }
}
