//! Streaming readers for source texts, and writers for what a run makes.
