//! The values that travel through the pipeline.
//!
//! A [`SourceText`] is read once. It becomes a [`Draft`], which is lent to every stage, grows, and is moved into its
//! [`PreferencePair`] at the end. Every value knows its [`Lineage`]: which source text, which draw, which run. `Debug`
//! never shows a text.

mod assessment;
mod draft;
mod judgement;
mod lineage;
mod origin;
mod pair;
mod text;

pub use assessment::{Assessment, Assessments, Safety};
pub use draft::{Draft, Subject};
pub use judgement::{Judgement, Verdict};
pub use lineage::Lineage;
pub use origin::{ModelId, Origin, Usage};
pub use pair::{Judged, PreferencePair, Provenance, Side};
pub use text::{Instruction, Response, SourceText};

pub(crate) use text::Redacted;
