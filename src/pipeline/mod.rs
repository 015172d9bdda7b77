//! The generic pipeline.
