//! Prompted stages: induction and response.
