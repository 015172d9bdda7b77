//! A model that answers by given rules.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::key::{Key, Turns, hash, uniform};
use crate::{
    error::{Error, Result},
    model::{
        ChatModel, ChatRequest, Completion, Constraint, Continuation, FinishReason, Message,
        Prompt, ScoreRequest, Scores, ScoringModel,
    },
    record::{ModelId, Usage},
};

struct Rule {
    part: String,
    answers: Vec<String>,
}

/// A model that answers by rules, counts its calls and records its requests.
///
/// It keeps the laws of a backend: `max_tokens`, stop strings, usage. Its tokens are words, single CJK characters and
/// single punctuation marks. An answer that is not among the choices of a request is an error. Log-likelihoods are
/// drawn from a hash of prompt and token.
///
/// ```
/// use safer_instruct::{ChatModel, ChatRequest, Message, testkit::ScriptedModel};
///
/// let model = ScriptedModel::new("I do not know.").with_answer("river", "The Loire.");
/// let request = ChatRequest::new(vec![Message::user("Name a river.")]);
/// let completion = futures::executor::block_on(model.complete(&request)).unwrap();
/// assert_eq!(completion.text, "The Loire.");
/// assert_eq!(completion.usage.completion_tokens, 3);
/// assert_eq!(model.calls(), 1);
/// ```
pub struct ScriptedModel {
    rules: Vec<Rule>,
    otherwise: String,
    turns: Turns,
    requests: Mutex<Vec<ChatRequest>>,
    score_requests: Mutex<Vec<ScoreRequest>>,
    id: Arc<ModelId>,
}

impl ScriptedModel {
    /// A model that gives the same answer to everything.
    pub fn new(otherwise: impl Into<String>) -> Self {
        Self {
            rules: Vec::new(),
            otherwise: otherwise.into(),
            turns: Turns::default(),
            requests: Mutex::default(),
            score_requests: Mutex::default(),
            id: Arc::new(ModelId::new("scripted")),
        }
    }

    /// Answers prompts that hold `part`, in any message, with `answer`. The first rule that fits is taken.
    #[must_use]
    pub fn with_answer(self, part: impl Into<String>, answer: impl Into<String>) -> Self {
        self.with_answers(part, [answer])
    }

    /// Answers prompts that hold `part` with one answer after the other; the last one stays.
    ///
    /// Each prompt has its own count, whatever its sampling, so that answers do not depend on scheduling.
    #[must_use]
    pub fn with_answers(
        mut self,
        part: impl Into<String>,
        answers: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.rules.push(Rule {
            part: part.into(),
            answers: answers.into_iter().map(Into::into).collect(),
        });
        self
    }

    /// How many requests came, of both kinds.
    #[must_use]
    pub fn calls(&self) -> usize {
        locked(&self.requests).len() + locked(&self.score_requests).len()
    }

    /// The requests for completions, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<ChatRequest> {
        locked(&self.requests).clone()
    }

    /// The requests for scores, in the order in which they came.
    #[must_use]
    pub fn score_requests(&self) -> Vec<ScoreRequest> {
        locked(&self.score_requests).clone()
    }

    fn answer(&self, prompt: &Prompt) -> &str {
        let holds = |part: &str| match prompt {
            Prompt::Raw(text) => text.contains(part),
            Prompt::Chat(messages) | Prompt::Unfinished(messages) => messages
                .iter()
                .any(|message| message.content.contains(part)),
        };
        let Some(rule) = self.rules.iter().find(|rule| holds(&rule.part)) else {
            return &self.otherwise;
        };
        let turn = self.turns.next(prompt.key()) as usize;
        rule.answers
            .get(turn)
            .or(rule.answers.last())
            .unwrap_or(&self.otherwise)
    }
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel")
            .field("rules", &self.rules.len())
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ChatModel for ScriptedModel {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        if request.max_tokens == 0 {
            return Err(Error::config("max_tokens", "must be at least 1"));
        }
        locked(&self.requests).push(request.clone());
        let answer = self.answer(&request.prompt);
        let stops = request.stop.iter().filter(|stop| !stop.is_empty());
        let end = stops.filter_map(|stop| answer.find(stop.as_str())).min();
        let (text, _) = answer.split_at(end.unwrap_or(answer.len()));
        let written: Vec<_> = tokens(text).take(request.max_tokens + 1).collect();
        let cut = written.len() > request.max_tokens;
        let (text, finish_reason) = if cut {
            let text = written.iter().take(request.max_tokens).copied().collect();
            (text, FinishReason::Length)
        } else {
            (text.to_owned(), FinishReason::Stop)
        };
        // Its answer is fixed: it is one of the choices or not.
        match &request.constraint {
            Some(Constraint::Choice(choices)) if choices.contains(&text) => {}
            _ => request.refuse_constraint(&self.id.name)?,
        }
        let usage = Usage {
            prompt_tokens: prompt_tokens(&request.prompt),
            completion_tokens: written.len().min(request.max_tokens) as u64,
        };
        let model = Arc::clone(&self.id);
        Ok(Completion::new(text, finish_reason, usage, model))
    }
}

#[async_trait]
impl ScoringModel for ScriptedModel {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        locked(&self.score_requests).push(request.clone());
        let prompt = request.prompt.key();
        let score = |text: &String| Continuation {
            // The empty sum of floats is -0.
            logprob: tokens(text)
                .map(|t| uniform(prompt, hash(0, [t]), 0).ln())
                .sum::<f64>()
                + 0.0,
            tokens: tokens(text).count(),
        };
        let continuations: Vec<_> = request.continuations.iter().map(score).collect();
        let read: usize = continuations.iter().map(|scored| scored.tokens).sum();
        Ok(Scores {
            continuations,
            usage: Usage {
                prompt_tokens: prompt_tokens(&request.prompt) + read as u64,
                completion_tokens: 0,
            },
            model: Arc::clone(&self.id),
        })
    }
}

/// One for the beginning of the text, one for each role, and those of the contents.
fn prompt_tokens(prompt: &Prompt) -> u64 {
    let count = match prompt {
        Prompt::Raw(text) => tokens(text).count(),
        Prompt::Chat(messages) | Prompt::Unfinished(messages) => {
            let of = |message: &Message| 1 + tokens(&message.content).count();
            messages.iter().map(of).sum()
        }
    };
    1 + count as u64
}

/// Words with the white space before them, and every other character by itself. Together they are the text.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let space = rest.len() - rest.trim_start().len();
        let (_, word) = rest.split_at_checked(space)?;
        let letters = word
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(word.len());
        let length = match letters {
            0 => word.chars().next().map_or(0, char::len_utf8),
            letters => letters,
        };
        let (token, tail) = rest.split_at_checked(space + length)?;
        rest = tail;
        (!token.is_empty()).then_some(token)
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_text_in_pieces() {
        let pieces: Vec<_> = tokens("No, 山川 is  it! ").collect();
        assert_eq!(pieces, ["No", ",", " 山", "川", " is", "  it", "!", " "]);
    }

    #[test]
    fn every_prompt_has_its_own_turns() {
        let model = ScriptedModel::new("").with_answers("?", ["one", "two"]);
        let say = |text: &'static str| {
            let request = ChatRequest::new(vec![Message::user(text)]);
            futures::executor::block_on(model.complete(&request))
                .unwrap()
                .text
        };
        assert_eq!(
            [say("a?"), say("b?"), say("a?"), say("a?")],
            ["one", "one", "two", "two"]
        );
    }
}
