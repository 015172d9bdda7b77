//! What comes with the known models: the adapters of induction and expert, and the probe that judges.

use std::{
    fs,
    path::{Path, PathBuf},
};

use safer_instruct::{Error, Result, files::replace, guards::ProbeWeights, hub::ModelCache};

/// A name, and what it stands for.
type Named<T> = (&'static str, T);

/// The files of an adapter in `assets/adapters`.
macro_rules! adapter {
    ($name:literal) => {
        (
            $name,
            [
                (
                    "adapter_config.json",
                    include_bytes!(concat!(
                        "../../../../assets/adapters/",
                        $name,
                        "/adapter_config.json"
                    ))
                    .as_slice(),
                ),
                (
                    "adapter_model.safetensors",
                    include_bytes!(concat!(
                        "../../../../assets/adapters/",
                        $name,
                        "/adapter_model.safetensors"
                    ))
                    .as_slice(),
                ),
            ],
        )
    };
}

/// Adapters by name, with their files.
const ADAPTERS: &[Named<[Named<&[u8]>; 2]>] = &[
    adapter!("smollm2-135m-reversed"),
    adapter!("smollm2-135m-expert"),
];

/// The card and the weights of a probe in `assets/judges`.
macro_rules! probe {
    ($name:literal) => {
        (
            $name,
            [
                include_bytes!(concat!("../../../../assets/judges/", $name, "/card.json"))
                    .as_slice(),
                include_bytes!(concat!(
                    "../../../../assets/judges/",
                    $name,
                    "/probe.safetensors"
                ))
                .as_slice(),
            ],
        )
    };
}

/// Probes by name: the card and the weights.
const PROBES: &[Named<[&[u8]; 2]>] = &[probe!("smollm2-135m"), probe!("qwen2.5-coder-1.5b")];

/// The probe `name`.
pub(crate) fn probe(name: &str) -> Result<ProbeWeights> {
    let known = PROBES.iter().find(|(known, _)| *known == name);
    let Some((_, [card, weights])) = known else {
        let reason = format!("the program holds no probe {name}");
        return Err(Error::config("judge", reason));
    };
    ProbeWeights::from_bytes(card, weights)
}

/// The folder of the adapter `name` beside the downloaded models. It is written if it is not there or not the same.
pub(crate) fn adapter(name: &str, cache: &ModelCache) -> Result<PathBuf> {
    let known = ADAPTERS.iter().find(|(known, _)| *known == name);
    let Some((_, files)) = known else {
        let reason = format!("the program holds no adapter {name}");
        return Err(Error::config("adapter", reason));
    };
    let folder = cache.dir().join("adapters").join(name);
    fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, error))?;
    for (file, bytes) in files {
        write(&folder.join(file), bytes)?;
    }
    Ok(folder)
}

/// Two processes may do it at the same time: the file gets its name when it is whole.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    replace(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_models_have_what_they_name() {
        for model in safer_instruct::profiles::known() {
            if let Some(name) = model.judge {
                let card = probe(name).unwrap().card().clone();
                assert_eq!(card.below_baselines().count(), 0, "{name}");
            }
            for name in [model.adapter, model.expert].into_iter().flatten() {
                assert!(ADAPTERS.iter().any(|(known, _)| *known == name), "{name}");
            }
        }
    }

    #[test]
    fn the_adapter_is_written_once_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ModelCache::new(dir.path());
        let folder = adapter("smollm2-135m-reversed", &cache).unwrap();
        let weights = folder.join("adapter_model.safetensors");
        let written = fs::metadata(&weights).unwrap();
        assert_eq!(written.len(), ADAPTERS[0].1[1].1.len() as u64);
        fs::write(&weights, "changed").unwrap();
        adapter("smollm2-135m-reversed", &cache).unwrap();
        assert_eq!(fs::read(&weights).unwrap(), ADAPTERS[0].1[1].1);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert!(adapter("other", &cache).is_err());
    }
}
