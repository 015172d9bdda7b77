//! Known models, and how each of them is best used.
//!
//! [`known`] is the table: what each model is for, its size, licence and languages. A [`Profile`] holds the settings
//! that follow from a model: the form of induction, the judge, the sampling and the limits. [`Profile::of`] chooses it:
//!
//! | the inducing model | profile |
//! |---|---|
//! | a known model as it comes, with its own adapter if it has one | its row of the table |
//! | has an adapter that was tuned in reverse | [`InductionForm::Reversed`] |
//! | has a chat template, so it was tuned to follow instructions | [`InductionForm::Chat`] |
//! | has neither, so it is a base model | an error that says what to do |
//! | is served | [`Profile::served`], [`InductionForm::Chat`] |
//!
//! [`UncoveredTexts`] counts the texts in languages that a model does not cover, and names a known model that does.
//!
//! ```
//! use safer_instruct::profiles::{self, InductionForm, ModelFacts, Profile, UncoveredTexts};
//!
//! let known = profiles::find("smollm2-135m").unwrap();
//! assert_eq!(known.profile().induction, InductionForm::Reversed);
//!
//! let facts = ModelFacts { has_chat_template: true, tuned_in_reverse: false };
//! assert_eq!(Profile::of("my-model.gguf", facts)?.induction, InductionForm::Chat);
//!
//! let mut uncovered = UncoveredTexts::new(known.languages());
//! uncovered.add("You will never learn it.");
//! uncovered.add("その夢はあきらめたほうがいいです。");
//! assert_eq!(
//!     uncovered.to_string(),
//!     "1 text is in a language that the model does not handle: Japanese (1). Use qwen2.5-coder-1.5b for it."
//! );
//! # Ok::<_, safer_instruct::Error>(())
//! ```

mod languages;
mod profile;
mod table;
mod uncovered;

pub use languages::Languages;
pub use profile::{GuardForm, InductionForm, JudgeForm, ModelFacts, Profile};
pub use table::{KnownModel, find, known};
pub use uncovered::UncoveredTexts;
