//! The adapter that comes with the default model.

use std::{
    fs,
    path::{Path, PathBuf},
};

use safer_instruct::{Error, Result, files::replace, hub::ModelCache};

/// A name, and what it stands for.
type Named<T> = (&'static str, T);

/// Adapters by name, with their files.
const BUNDLED: &[Named<[Named<&[u8]>; 2]>] = &[(
    "smollm2-135m-reversed",
    [
        (
            "adapter_config.json",
            include_bytes!("../../../../assets/adapters/smollm2-135m-reversed/adapter_config.json"),
        ),
        (
            "adapter_model.safetensors",
            include_bytes!(
                "../../../../assets/adapters/smollm2-135m-reversed/adapter_model.safetensors"
            ),
        ),
    ],
)];

/// The folder of the adapter `name` beside the downloaded models. It is written if it is not there or not the same.
pub(crate) fn bundled(name: &str, cache: &ModelCache) -> Result<PathBuf> {
    let known = BUNDLED.iter().find(|(known, _)| *known == name);
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
    fn the_adapter_is_written_once_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ModelCache::new(dir.path());
        let folder = bundled("smollm2-135m-reversed", &cache).unwrap();
        let weights = folder.join("adapter_model.safetensors");
        let written = fs::metadata(&weights).unwrap();
        assert_eq!(written.len(), BUNDLED[0].1[1].1.len() as u64);
        fs::write(&weights, "changed").unwrap();
        bundled("smollm2-135m-reversed", &cache).unwrap();
        assert_eq!(fs::read(&weights).unwrap(), BUNDLED[0].1[1].1);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert!(bundled("other", &cache).is_err());
    }
}
