//! Which tokens may come next if the text must be JSON that satisfies a schema, by llguidance.

use std::{fmt, sync::Arc};

use llguidance::{
    Matcher, ParserFactory,
    api::{StopReason, TopLevelGrammar},
    toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie},
};
use serde_json::{Value, json};

use crate::{
    backends::candle::text::Tokenizer,
    error::{Error, Result},
};

/// Longer tokens are never used: llguidance recurses once per byte, and a file may hold tokens of any length.
const LONGEST_TOKEN: usize = 256;

/// The vocabulary of a model, prepared once for all its schemas.
pub(super) struct Grammars(ParserFactory);

/// A completion that is to satisfy a schema, and how far it is.
pub(crate) struct Schema {
    matcher: Matcher,
    model: String,
}

impl Grammars {
    /// Of a tokenizer that knows an end of turn.
    ///
    /// # Errors
    /// [`Error::Model`] if it knows none, or llguidance does not take its vocabulary.
    pub(super) fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let failed = |reason: &str| {
            let reason = format!("its vocabulary cannot be held to a schema: {reason}");
            Error::model(tokenizer.model(), reason)
        };
        let mut words = vec![Vec::new(); tokenizer.len()];
        for (id, bytes) in tokenizer.text_tokens() {
            if bytes.len() <= LONGEST_TOKEN
                && let Some(word) = words.get_mut(id as usize)
            {
                *word = bytes.to_vec();
            }
        }
        let ends: Vec<u32> = tokenizer.ends().collect();
        let first = *ends.first().ok_or_else(|| failed("no token ends a turn"))?;
        let count = u32::try_from(words.len()).map_err(|_| failed("it is too large"))?;
        let trie = TokTrie::from(&TokRxInfo::new(count, first), &words).with_eos_tokens(&ends);
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory =
            ParserFactory::new_simple(&tokens).map_err(|error| failed(&error.to_string()))?;
        // Errors would hold what has been written, and be printed.
        factory.quiet().limits_mut().verbose_errors = false;
        Ok(Self(factory))
    }

    /// Nothing written yet.
    ///
    /// # Errors
    /// [`Error::Config`] if the schema is none, cannot be satisfied, or says what llguidance does not know.
    pub(super) fn schema(&self, schema: &Value, model: &str) -> Result<Schema> {
        let wrong = |reason: &str| {
            Error::config("constraint", format!("the schema cannot be used: {reason}"))
        };
        let mut schema = match schema {
            Value::Object(_) => schema.clone(),
            Value::Bool(true) => json!({}),
            _ => return Err(wrong("it is not an object")),
        };
        // White space is fixed, because a model may otherwise write nothing else; and nothing in the schema is ignored.
        if let Some(object) = schema.as_object_mut() {
            object.insert(
                "x-guidance".to_owned(),
                json!({"whitespace_flexible": false}),
            );
        }
        let parser = self
            .0
            .create_parser(TopLevelGrammar::from_json_schema(schema));
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            Some(error) => Err(wrong(error.lines().next().unwrap_or_default())),
            None => Ok(Schema {
                matcher,
                model: model.to_owned(),
            }),
        }
    }
}

impl Schema {
    /// Puts the logits of all tokens that may not come next at negative infinity.
    pub(super) fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        let mask = self.matcher.compute_mask().map_err(|_| self.failed())?;
        let mut words = mask.as_slice().iter();
        for group in logits.chunks_mut(32) {
            // Beyond the vocabulary there may be logits, but no tokens.
            let word = words.next().copied().unwrap_or(0);
            for (bit, logit) in group.iter_mut().enumerate() {
                if (word >> bit) & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        Ok(())
    }

    /// Goes on by a token that may come next.
    pub(super) fn accept(&mut self, token: u32) -> Result<()> {
        self.matcher.consume_token(token).map_err(|_| self.failed())
    }

    /// Whether the text satisfies the schema.
    pub(super) fn is_complete(&mut self) -> bool {
        self.is_over() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// Whether it does, and nothing may follow.
    pub(super) fn is_over(&self) -> bool {
        use StopReason::{EndOfSentence, NoExtension};
        matches!(self.matcher.stop_reason(), NoExtension | EndOfSentence)
    }

    fn failed(&self) -> Error {
        let limit = self.matcher.stop_reason();
        let reason = format!("the schema could not be followed ({limit:?}); use a simpler one");
        Error::model(self.model.as_str(), reason)
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}
