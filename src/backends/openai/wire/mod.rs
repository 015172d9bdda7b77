//! What goes over the wire: the JSON of requests and of completions, as each server writes it.
//!
//! [`dialect`] is the table of what each server understands beyond the common protocol. [`body`] writes requests by it,
//! [`answer`] reads completions, and [`escape_markers`] keeps texts from ending their own messages.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod dialect;
mod escape_markers;

pub(crate) use escape_markers::escape_markers;
