//! Paths beside others.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// The path with `ending` added to its file name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The folder that a file is in. For a bare file name it is the current one.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Removes a file if there is one.
///
/// # Errors
/// [`Error::Io`] with the file if it cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("a")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/b")), Path::new("a"));
        assert_eq!(
            beside(Path::new("a/b.json"), ".lock"),
            Path::new("a/b.json.lock")
        );
    }

    #[test]
    fn only_what_is_there_and_cannot_go_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        remove(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(remove(&path), Err(Error::Io { path: shown, .. }) if shown == path));
    }
}
