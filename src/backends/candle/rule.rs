//! Holds a completion to what its request asks for, token by token.

use super::choices::Choices;
#[cfg(feature = "llguidance")]
use super::schema::Schema;
use crate::error::Result;

/// Which tokens may come next.
#[derive(Debug)]
pub(super) enum Rule {
    Choices(Choices),
    #[cfg(feature = "llguidance")]
    Schema(Box<Schema>),
}

impl Rule {
    /// Puts the logits of all tokens that may not come next at negative infinity; `left` may still be written, this one among
    /// them.
    pub(super) fn mask(&mut self, logits: &mut [f32], left: usize) -> Result<()> {
        match self {
            Self::Choices(choices) => keep(logits, &choices.allowed(left)),
            #[cfg(feature = "llguidance")]
            Self::Schema(schema) => schema.mask(logits)?,
        }
        Ok(())
    }

    /// Goes on by a token that may come next.
    pub(super) fn accept(&mut self, token: u32) -> Result<()> {
        match self {
            Self::Choices(choices) => choices.accept(token),
            #[cfg(feature = "llguidance")]
            Self::Schema(schema) => schema.accept(token)?,
        }
        Ok(())
    }

    /// Whether the text is what was asked for.
    pub(super) fn is_complete(&mut self) -> bool {
        match self {
            Self::Choices(choices) => choices.is_complete(),
            #[cfg(feature = "llguidance")]
            Self::Schema(schema) => schema.is_complete(),
        }
    }

    /// Whether it is, and nothing may follow.
    pub(super) fn is_over(&mut self) -> bool {
        match self {
            Self::Choices(choices) => choices.is_over(),
            #[cfg(feature = "llguidance")]
            Self::Schema(schema) => schema.is_over(),
        }
    }
}

fn keep(logits: &mut [f32], tokens: &[u32]) {
    let logit = |token: &u32| Some((*token, *logits.get(*token as usize)?));
    let kept: Vec<(u32, f32)> = tokens.iter().filter_map(logit).collect();
    logits.fill(f32::NEG_INFINITY);
    for (token, logit) in kept {
        if let Some(place) = logits.get_mut(token as usize) {
            *place = logit;
        }
    }
}
