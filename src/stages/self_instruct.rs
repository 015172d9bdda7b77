//! Pairs of instruction and response that a model writes itself.

use std::ops::Range;

use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::{
    dataset::InstructionPair,
    error::Result,
    filters::Distinct,
    model::{ChatModel, ChatRequest, FinishReason, Message, Prompt, Sampling},
    record::{Lineage, SourceText},
    stage::OrderedFilter,
};

/// Pairs of an instruction and its response, both by the same model: it goes on from an empty message of the person,
/// and then answers (Magpie, arXiv 2406.08464, section 2).
///
/// Only models that were tuned on conversations can do it, and what they ask has their own style. Small models ask much
/// the same again and again, and their responses say little about their instructions: choose with
/// [`Grounding`](super::Grounding) what is trained on, or take a strong writer. The backend must let a model go on with
/// the person's message ([`Prompt::Unfinished`]): candle's does, and vLLM's servers; OpenAI's, SGLang's and llama.cpp's
/// chat interfaces do not, which is an error.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::{stages::SelfInstruct, *};
///
/// let writer = complete_fn(|request: ChatRequest| async move {
///     let text = match &request.prompt {
///         Prompt::Unfinished(_) => "Name a river of Europe.",
///         _ => "The Rhine is a river of Europe.",
///     };
///     let model = Arc::new(ModelId::new("scripted"));
///     Ok(Completion::new(text, FinishReason::Stop, Usage::default(), model))
/// });
/// let pairs = futures::executor::block_on(SelfInstruct::new(writer).write(3, 0))?;
/// assert_eq!(pairs.len(), 1, "the same instruction came three times");
/// assert_eq!(pairs[0].response, "The Rhine is a river of Europe.");
/// # Ok::<_, Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SelfInstruct<M> {
    writer: M,
    system: Option<String>,
    instruction: (Sampling, usize),
    response: (Sampling, usize),
    concurrency: usize,
}

impl<M: ChatModel> SelfInstruct<M> {
    /// Pairs by `writer`. Instructions of up to 80 tokens at temperature 1 and top_p .98, responses of up to 200 at .7.
    pub fn new(writer: M) -> Self {
        let sampling = |temperature, top_p| Sampling {
            temperature,
            top_p,
            ..Sampling::default()
        };
        Self {
            writer,
            system: None,
            instruction: (sampling(1.0, 0.98), 80),
            response: (sampling(0.7, 0.95), 200),
            concurrency: 32,
        }
    }

    /// Sets what the model is told about the person, such as what they ask about. By default nothing but what its
    /// template says.
    #[must_use]
    pub fn with_system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// Sets how instructions are sampled, and their most tokens; the seed is replaced by one from the number of the
    /// pair.
    #[must_use]
    pub fn with_instructions(mut self, sampling: Sampling, max_tokens: usize) -> Self {
        self.instruction = (sampling, max_tokens);
        self
    }

    /// Sets how responses are sampled, and their most tokens.
    #[must_use]
    pub fn with_responses(mut self, sampling: Sampling, max_tokens: usize) -> Self {
        self.response = (sampling, max_tokens);
        self
    }

    /// Sets how many pairs are written at once; the result does not depend on it. By default 32.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Writes `count` pairs, and gives those that are [distinct](distinct_instructions), in an order and with texts
    /// that the seed decides.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); what was written until then is lost, so take that one where pairs are paid for.
    pub async fn write(&self, count: usize, seed: u64) -> Result<Vec<InstructionPair>> {
        let pairs: Vec<_> = self.stream(0..count, seed).try_collect().await?;
        Ok(distinct_instructions(pairs.into_iter().flatten()))
    }

    /// Writes the pairs of some numbers, one after the other. A number always gives the same pair, so that pairs can be
    /// kept as they come, and the rest written later. It gives none if its instruction does not come to its end or a
    /// part of it is empty. A response may be cut off at its most tokens.
    ///
    /// # Errors
    /// As the writer. An error is that of one number, and those after it still come.
    pub fn stream(
        &self,
        numbers: Range<usize>,
        seed: u64,
    ) -> impl Stream<Item = Result<Option<InstructionPair>>> + '_ {
        let pairs = stream::iter(numbers).map(move |number| self.pair(number, seed));
        pairs.buffered(self.concurrency)
    }

    async fn pair(&self, number: usize, seed: u64) -> Result<Option<InstructionPair>> {
        let lineage = Lineage::new(number.to_string(), 0, seed);
        let mut messages: Vec<Message> = Vec::new();
        messages.extend(self.system.clone().map(Message::system));
        messages.push(Message::user(""));
        let ask = |prompt: Prompt, (sampling, max_tokens): &(Sampling, usize), purpose: &str| {
            let sampling = Sampling {
                seed: lineage.seed(purpose),
                ..sampling.clone()
            };
            let request = ChatRequest::new(prompt).with_sampling(sampling);
            let request = request.with_max_tokens(*max_tokens);
            async move { self.writer.complete(&request).await }
        };
        let asked = ask(
            Prompt::Unfinished(messages),
            &self.instruction,
            "self instruct",
        );
        let asked = asked.await?;
        let instruction = asked.text.trim().to_owned();
        if instruction.is_empty() || asked.finish_reason != FinishReason::Stop {
            return Ok(None);
        }
        let prompt = Prompt::Chat(vec![Message::user(instruction.clone())]);
        let answer = ask(prompt, &self.response, "self respond").await?;
        let response = answer.text.trim();
        Ok((!response.is_empty()).then(|| InstructionPair::new(instruction, response)))
    }
}

/// The pairs whose instruction does not repeat an earlier one, by [`Distinct`].
#[must_use]
pub fn distinct_instructions(
    pairs: impl IntoIterator<Item = InstructionPair>,
) -> Vec<InstructionPair> {
    let mut distinct = Distinct::new();
    let is_new = |pair: &InstructionPair| {
        let text = SourceText::new("", pair.instruction.as_str());
        distinct.assess_next(&text).is_keep()
    };
    pairs.into_iter().filter(is_new).collect()
}
