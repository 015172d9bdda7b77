//! Between texts and tokens.
//!
//! The [`tokenizer`] encodes and decodes, the [`template`] puts the messages of a chat between the model's own markers,
//! and the [`writer`] collects the text of a completion until a stop string comes. A text can never become a control
//! token: read [`Tokenizer`] for why, then [`prompt_tokens`].

pub(super) mod template;
mod tokenizer;
pub(super) mod writer;

pub use tokenizer::Tokenizer;

use self::template::Template;
use crate::{
    error::{Error, Result},
    model::Prompt,
};

/// The tokens of a prompt: template and contents, the former alone with control tokens.
///
/// # Errors
/// Fails if the template does, or if there is none and the prompt is a chat.
pub(super) fn prompt_tokens(
    prompt: &Prompt,
    tokenizer: &Tokenizer,
    template: Option<&Template>,
) -> Result<Vec<u32>> {
    let template = || {
        let reason = "it has no chat template; give it a Prompt::Raw";
        template.ok_or_else(|| Error::model(tokenizer.model(), reason))
    };
    let ids = match prompt {
        Prompt::Raw(text) => tokenizer.encode(text)?,
        Prompt::Chat(messages) => tokenizer.encode_pieces(&template()?.render(messages)?)?,
        Prompt::Unfinished(messages) => {
            tokenizer.encode_pieces(&template()?.render_unfinished(messages)?)?
        }
    };
    Ok(tokenizer.with_bos(ids))
}
