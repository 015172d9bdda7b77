//! The JSON of requests and completions, as each server writes it.
//!
//! [`dialect`] is the table of what each server supports beyond the common protocol. [`body`] writes requests by that
//! table, [`answer`] reads completions, and [`escape_markers`] keeps texts from containing control tokens.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod dialect;
mod escape_markers;

pub(crate) use escape_markers::escape_markers;
