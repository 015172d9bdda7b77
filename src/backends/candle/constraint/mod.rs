//! Holds a completion to what its request asks for, token by token.
//!
//! A request may ask for one of several texts ([`choices`]) or for JSON that satisfies a schema ([`schema`]). Both become a
//! [`TokenConstraint`], which says before each draw which tokens may come next. Read [`TokenConstraint`] first: it is all that the
//! engine knows of this room.

mod choices;
#[cfg(feature = "llguidance")]
mod schema;

use std::sync::OnceLock;

use self::choices::{Choices, Spelling};
#[cfg(feature = "llguidance")]
use self::schema::{Grammars, Schema};
use super::text::Tokenizer;
use crate::{
    error::{Error, Result},
    model::{ChatRequest, Constraint},
};

/// Which tokens may come next.
#[derive(Debug)]
pub(crate) enum TokenConstraint {
    Choices(Choices),
    #[cfg(feature = "llguidance")]
    Schema(Box<Schema>),
}

impl TokenConstraint {
    /// Puts the logits of all tokens that may not come next at negative infinity; `left` may still be written, this one among
    /// them.
    pub(crate) fn mask(&mut self, logits: &mut [f32], left: usize) -> Result<()> {
        match self {
            Self::Choices(choices) => keep(logits, &choices.allowed(left)),
            #[cfg(feature = "llguidance")]
            Self::Schema(schema) => schema.mask(logits)?,
        }
        Ok(())
    }

    /// Goes on by a token that may come next.
    pub(crate) fn accept(&mut self, token: u32) -> Result<()> {
        match self {
            Self::Choices(choices) => choices.accept(token),
            #[cfg(feature = "llguidance")]
            Self::Schema(schema) => schema.accept(token)?,
        }
        Ok(())
    }

    /// Whether the text is what was asked for.
    pub(crate) fn is_complete(&mut self) -> bool {
        match self {
            Self::Choices(choices) => choices.is_complete(),
            #[cfg(feature = "llguidance")]
            Self::Schema(schema) => schema.is_complete(),
        }
    }

    /// Whether it is, and nothing may follow.
    pub(crate) fn is_over(&mut self) -> bool {
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

/// Makes the constraints of one model's requests, and keeps what they share: tables of the vocabulary, made when they are first
/// needed.
#[derive(Debug, Default)]
pub(crate) struct Constraints {
    spelling: OnceLock<Spelling>,
    #[cfg(feature = "llguidance")]
    grammars: OnceLock<Grammars>,
}

impl Constraints {
    /// What the text of a completion is held to, which may begin with the tokenizer's own space; `None` if it is free.
    ///
    /// # Errors
    /// [`Error::Config`] if the constraint cannot be satisfied, or needs a feature that is not built in.
    pub(crate) fn build(
        &self,
        tokenizer: &Tokenizer,
        request: &ChatRequest,
        with_space: bool,
    ) -> Result<Option<TokenConstraint>> {
        match &request.constraint {
            None => Ok(None),
            Some(Constraint::Choice(choices)) => {
                let make = || Spelling::new(tokenizer.text_tokens());
                let spelling = self.spelling.get_or_init(make);
                let ends = tokenizer.ends().collect();
                // An empty choice stays one, to be refused.
                let space = |choice: &String| match choice.as_str() {
                    "" => String::new(),
                    choice if with_space => format!(" {choice}"),
                    choice => choice.to_owned(),
                };
                let choices: Vec<String> = choices.iter().map(space).collect();
                Choices::new(&choices, &request.stop, request.max_tokens, spelling, ends)
                    .map(|choices| Some(TokenConstraint::Choices(choices)))
            }
            Some(Constraint::JsonSchema(schema)) => self.schema(tokenizer, schema, request),
        }
    }

    #[cfg(feature = "llguidance")]
    fn schema(
        &self,
        tokenizer: &Tokenizer,
        schema: &serde_json::Value,
        request: &ChatRequest,
    ) -> Result<Option<TokenConstraint>> {
        if !request.stop.is_empty() {
            let reason =
                "a stop string would cut what a schema asks for; ask without one of the two";
            return Err(Error::config("stop", reason));
        }
        // Not kept if it fails; the next request fails in the same way.
        let grammars = match self.grammars.get() {
            Some(grammars) => grammars,
            None => {
                let grammars = Grammars::new(tokenizer)?;
                self.grammars.get_or_init(|| grammars)
            }
        };
        let schema = grammars.schema(schema, tokenizer.model())?;
        Ok(Some(TokenConstraint::Schema(Box::new(schema))))
    }

    #[cfg(not(feature = "llguidance"))]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    fn schema(
        &self,
        _: &Tokenizer,
        _: &serde_json::Value,
        _: &ChatRequest,
    ) -> Result<Option<TokenConstraint>> {
        Err(Error::config(
            "constraint",
            "JSON schemas need the feature `llguidance`; build with it or ask without a schema",
        ))
    }
}
