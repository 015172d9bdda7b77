//! Judges: which of two responses is better.
