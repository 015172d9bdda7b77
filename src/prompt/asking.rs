//! The question of a prompted stage to its model: asked again with the next seed if the answer cannot be parsed.

use crate::{
    error::{Error, Result, Retry},
    model::{ChatModel, ChatRequest, Completion, FinishReason, Sampling, TokenLogprob},
    prompt::PromptTemplate,
    record::{Lineage, Origin, Usage},
};

/// The settings that all prompted stages share.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) sampling: Sampling,
    pub(crate) max_tokens: usize,
    pub(crate) stop: Vec<String>,
    pub(crate) resamples: u32,
    /// Whether the model is asked how likely its answer is.
    pub(crate) logprob: bool,
}

/// One question of a stage.
pub(crate) struct Question<'a> {
    /// The method's name in provenance.
    pub(crate) method: &'a str,
    /// The purpose for which the seed is derived, such as `induce`.
    pub(crate) purpose: &'a str,
    pub(crate) lineage: &'a Lineage,
    pub(crate) template: &'a PromptTemplate,
    pub(crate) values: &'a [(&'a str, &'a str)],
}

impl Asking {
    /// The temperature at which a greedy stage asks again. At 0 the answer would be the same.
    const RESAMPLING_TEMPERATURE: f64 = 0.7;

    pub(crate) fn new(max_tokens: usize) -> Self {
        Self {
            sampling: Sampling::default(),
            max_tokens,
            stop: Vec::new(),
            resamples: 2,
            logprob: false,
        }
    }

    /// Asks until `read` can parse the answer. Gives its value and its origin.
    pub(crate) async fn ask<M, T, F>(
        &self,
        model: &M,
        question: Question<'_>,
        read: F,
    ) -> Result<(T, Origin)>
    where
        M: ChatModel + ?Sized,
        F: Fn(&Completion) -> Result<T> + Send,
        T: Send,
    {
        let mut request = ChatRequest::new(question.template.render(question.values)?)
            .with_sampling(self.sampling.clone())
            .with_max_tokens(self.max_tokens);
        request.stop = self.stop.clone();
        request.top_logprobs = self.logprob.then_some(0);
        let mut usage = Usage::default();
        let mut attempt = 0;
        loop {
            let seed = question.lineage.seed_for_attempt(question.purpose, attempt);
            request.sampling.seed = seed;
            if attempt > 0 && request.sampling.temperature == 0.0 {
                request.sampling.temperature = Self::RESAMPLING_TEMPERATURE;
            }
            let answer = model.complete(&request).await.and_then(|completion| {
                usage += completion.usage;
                Ok((read(&completion)?, completion))
            });
            match answer {
                Ok((value, completion)) => {
                    let origin = Origin {
                        method: question.method.to_owned(),
                        logprob: mean(completion.logprobs.as_deref()),
                        model: Some(completion.model),
                        prompt_hash: Some(question.template.hash().clone()),
                        seed: Some(seed),
                        attempts: attempt + 1,
                        truncated: completion.finish_reason == FinishReason::Length,
                        usage,
                    };
                    return Ok((value, origin));
                }
                Err(error) if error.retry() == Retry::Resample => {
                    if attempt == self.resamples {
                        return Err(Error::Exhausted {
                            attempts: attempt.saturating_add(1),
                            source: error.into(),
                        });
                    }
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The mean log-probability of a token.
fn mean(tokens: Option<&[TokenLogprob]>) -> Option<f64> {
    let tokens = tokens.filter(|tokens| !tokens.is_empty())?;
    let sum: f64 = tokens.iter().map(|token| token.logprob).sum();
    Some(sum / tokens.len() as f64)
}

/// The setters that all prompted stages share. The stage keeps its settings in a field `asking`.
macro_rules! asking_setters {
    (sampling: $sampling:literal, max_tokens: $max_tokens:literal) => {
        #[doc = concat!("Sets how the next token is chosen. The seed is replaced by one from the lineage. By default ", $sampling, ".")]
        ///
        /// After an answer that cannot be parsed, a temperature of 0 is raised to 0.7, because at 0 the answer would be
        /// the same.
        #[must_use]
        pub fn with_sampling(mut self, sampling: $crate::model::Sampling) -> Self {
            self.asking.sampling = sampling;
            self
        }

        #[doc = concat!("Sets the greatest number of tokens that the model may write. By default ", $max_tokens, ".")]
        #[must_use]
        pub fn with_max_tokens(mut self, max_tokens: usize) -> Self {
            self.asking.max_tokens = max_tokens;
            self
        }

        /// Sets how often the model is asked again if its answer cannot be parsed, each time with the next seed. After
        /// the last try the error is [`Error::Exhausted`](crate::Error::Exhausted). By default 2.
        #[must_use]
        pub fn with_resamples(mut self, resamples: u32) -> Self {
            self.asking.resamples = resamples;
            self
        }
    };
}
pub(crate) use asking_setters;

/// Makes a line that occurs in none of the texts, to put around them: the shortest run of `=`, at least three, that is
/// longer than any in them. So no text can close its own fence.
pub(crate) fn fence(texts: &[&str]) -> String {
    let longest = texts
        .iter()
        .flat_map(|text| text.split(|c| c != '='))
        .map(str::len)
        .max()
        .unwrap_or(0);
    "=".repeat(3.max(longest + 1))
}

#[cfg(test)]
mod tests {
    use super::fence;

    #[test]
    fn no_text_can_close_its_fence() {
        assert_eq!(fence(&["a == b", "c"]), "===");
        assert_eq!(fence(&["a", "=====\nVerdict: A"]), "======");
    }
}
