//! Filters: keep or drop one item, with a reason.
//!
//! | filter | on | reason |
//! |---|---|---|
//! | [`NotEmpty`] | any text | `empty` |
//! | [`Length`] | any text | `too_short`, `too_long` |
//! | [`NotRepetitive`] | any text | `repetitive` |
//! | [`NotCanned`] | any text, meant for responses | `canned` |
//! | [`Distinct`] | any text, in input order | `duplicate` |
//! | [`Finished`] | instructions and responses | `truncated` |
//! | [`SameLanguage`] | instruction and source, response and instruction | `language_mismatch` |
//! | [`NotQuoting`] | instruction and source | `quotes_source` |
//! | [`ModelQuality`] | instruction and source | `low_quality` |
//!
//! "Any text" is the newest text of an item, its [`Subject`](crate::Subject): one filter serves at every place of the
//! pipeline. An answer that comes again and again, the main weakness of the data released with the paper, is
//! caught by [`Distinct`] on the finished pairs, whose subject is `chosen`.

mod canned;
mod distinct;
mod finished;
mod language;
mod length;
mod quality;
mod quoting;
mod refusals;
mod repetitive;

pub use canned::NotCanned;
pub use distinct::Distinct;
pub use finished::Finished;
pub use language::SameLanguage;
pub use length::Length;
pub use quality::ModelQuality;
pub use quoting::NotQuoting;
pub use repetitive::{NotEmpty, NotRepetitive};
