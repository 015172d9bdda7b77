//! Prompts as Markdown files with named slots.
