//! Prompts as Markdown files with named slots.
//!
//! A [`PromptTemplate`] is parsed once, against the slots that its stage fills; what is put into a slot is data and is
//! never read as a heading or a slot. The prompts of this crate's own stages are in [`built_in`]: copy one, change
//! it, and give it to a stage with `with_prompt`.

mod asking;
pub mod built_in;
mod template;

pub use built_in::BuiltIn;
pub use template::PromptTemplate;

pub(crate) use asking::{Asking, Question, asking_setters, fence};
pub(crate) use built_in::Localized;
