//! Filters: keep or drop one item, with a reason.
//!
//! | filter | on | reason |
//! |---|---|---|
//! | [`NotEmpty`] | any text | `empty` |
//! | [`Length`] | any text | `too_short`, `too_long` |
//! | [`NotRepetitive`] | any text | `repetitive` |
//! | [`NotCanned`] | any text, meant for responses | `canned` |
//! | [`Distinct`] | any text, in input order | `duplicate` |
//! | [`InLanguages`] | any text, meant for source texts | `unsupported_language` |
//! | [`Finished`] | instructions and responses | `truncated` |
//! | [`SameLanguage`] | instruction and source, response and instruction | `language_mismatch` |
//! | [`NotQuoting`] | instruction and source | `quotes_source` |
//! | [`NotAboutTask`] | instructions | `about_task` |
//! | [`Related`] | instruction and source | `unrelated` |
//! | [`ModelQuality`] | instruction and source | `low_quality` |
//! | [`SafeResponse`] | response | `unsafe_response`, `controversial_response`, `not_assessed` |
//! | [`UnsafeSource`] | instruction and source | `safe_source`, `not_assessed` |
//!
//! [`Recommended`] puts most of them around a pipeline, with limits that can be set.
//!
//! "Any text" is the newest text of an item, its [`Subject`](crate::Subject): one filter serves at every place of the
//! pipeline. An answer that comes again and again, the main weakness of the data released with the paper, is
//! caught by [`Distinct`] on the finished pairs, whose subject is `chosen`.

mod about_task;
mod canned;
mod distinct;
mod finished;
mod guarded;
mod in_languages;
mod language;
mod length;
mod phrases;
mod quality;
mod quoting;
mod recommended;
mod refusals;
mod related;
mod repetitive;

pub use about_task::NotAboutTask;
pub use canned::NotCanned;
pub use distinct::Distinct;
pub use finished::Finished;
pub use guarded::{SafeResponse, UnsafeSource};
pub use in_languages::InLanguages;
pub use language::SameLanguage;
pub use length::Length;
pub use quality::ModelQuality;
pub use quoting::NotQuoting;
pub use recommended::Recommended;
pub(crate) use refusals::Refusals;
pub use related::Related;
pub use repetitive::{NotEmpty, NotRepetitive};
