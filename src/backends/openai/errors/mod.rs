//! Answers of a server that are errors.
//!
//! [`classify`] turns an answer into an [`Error`](crate::Error) that says what to do; [`context_overflow`] and
//! [`rejected_field`] read the messages of servers for it. [`redact`] keeps texts of the request, the key and the
//! caller's headers out of every error.

pub(crate) mod classify;
mod context_overflow;
pub(crate) mod redact;
mod rejected_field;
