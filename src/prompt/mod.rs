//! Prompts: Markdown files with named slots.
//!
//! A [`PromptTemplate`] is parsed once, against the slots that its stage fills. The value of a slot is data: it is
//! never read as a heading or as a slot. The prompts of the stages of this crate are in [`built_in`]. To change one,
//! copy it and give the copy to the stage with `with_prompt`.

mod asking;
pub mod built_in;
mod template;

pub use built_in::BuiltIn;
pub use template::PromptTemplate;

pub(crate) use asking::{Asking, Question, asking_setters, fence};
pub(crate) use built_in::Localized;
