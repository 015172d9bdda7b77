//! Holds a completion to what its request asks for, token by token.
//!
//! A request may ask for one of several texts ([`choices`]) or for JSON that satisfies a schema ([`schema`]). Both
//! become a [`TokenConstraint`], which says before each draw which tokens may come next. Read [`TokenConstraint`]
//! first: it is all that the engine knows of this module.

mod choices;
#[cfg(feature = "llguidance")]
mod schema;

use std::{
    sync::{Arc, OnceLock, mpsc},
    thread,
};

use futures::channel::oneshot;

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
    /// Puts the logits of all tokens that may not come next at negative infinity; `left` may still be written, this one
    /// among them.
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

/// Makes the constraints of one model's requests, on a thread of its own: a table of a vocabulary takes up to a second,
/// during which no caller's future may block and no sequence may wait.
///
/// The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Constraints {
    model: String,
    queue: mpsc::Sender<Work>,
}

/// What the thread does with the tables that it keeps.
type Work = Box<dyn FnOnce(&Tables) + Send>;

impl Constraints {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Model`] if the system cannot start a thread.
    pub(crate) fn start(tokenizer: Arc<Tokenizer>) -> Result<Self> {
        let model = tokenizer.model().to_owned();
        let (queue, inbox) = mpsc::channel::<Work>();
        let work = move || {
            let tables = Tables {
                tokenizer,
                spelling: OnceLock::new(),
                #[cfg(feature = "llguidance")]
                grammars: OnceLock::new(),
            };
            for work in inbox {
                work(&tables);
            }
        };
        thread::Builder::new()
            .name("safer-instruct-constraints".to_owned())
            .spawn(work)
            .map_err(|error| {
                let reason = format!("its threads cannot be started: {error}");
                Error::model(model.as_str(), reason)
            })?;
        Ok(Self { model, queue })
    }

    /// What the text of a completion is held to, which may begin with the tokenizer's own space; `None` if it is free.
    /// Dropping the future cancels what has not begun.
    ///
    /// # Errors
    /// [`Error::Config`] if the constraint cannot be satisfied, or needs a feature that is not built in;
    /// [`Error::Stopped`] if the thread is gone.
    pub(crate) async fn build(
        &self,
        request: &ChatRequest,
        with_space: bool,
    ) -> Result<Option<TokenConstraint>> {
        let Some(constraint) = request.constraint.clone() else {
            return Ok(None);
        };
        let asked = Asked {
            constraint,
            stop: request.stop.clone(),
            max_tokens: request.max_tokens,
            with_space,
        };
        let (reply, answer) = oneshot::channel();
        let work = move |tables: &Tables| {
            if !reply.is_canceled() {
                let _ = reply.send(tables.build(&asked));
            }
        };
        let stopped = || Error::Stopped {
            backend: self.model.clone(),
            reason: "its thread for constraints has ended; load the model again".to_owned(),
        };
        self.queue.send(Box::new(work)).map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped())).map(Some)
    }
}

/// What a constraint is made of.
struct Asked {
    constraint: Constraint,
    stop: Vec<String>,
    max_tokens: usize,
    with_space: bool,
}

/// What the constraints of a model share: tables of its vocabulary, each made when it is first needed.
struct Tables {
    tokenizer: Arc<Tokenizer>,
    spelling: OnceLock<Spelling>,
    #[cfg(feature = "llguidance")]
    grammars: OnceLock<Grammars>,
}

impl Tables {
    fn build(&self, asked: &Asked) -> Result<TokenConstraint> {
        let choices = match &asked.constraint {
            Constraint::Choice(choices) => choices,
            Constraint::JsonSchema(schema) => return self.schema(schema, asked),
        };
        let make = || Spelling::new(self.tokenizer.text_tokens());
        let spelling = self.spelling.get_or_init(make);
        let ends = self.tokenizer.ends().collect();
        // An empty choice stays one, to be refused.
        let space = |choice: &String| match choice.as_str() {
            "" => String::new(),
            choice if asked.with_space => format!(" {choice}"),
            choice => choice.to_owned(),
        };
        let choices: Vec<String> = choices.iter().map(space).collect();
        Choices::new(&choices, &asked.stop, asked.max_tokens, spelling, ends)
            .map(TokenConstraint::Choices)
    }

    #[cfg(feature = "llguidance")]
    fn schema(&self, schema: &serde_json::Value, asked: &Asked) -> Result<TokenConstraint> {
        if !asked.stop.is_empty() {
            let reason =
                "a stop string would cut what a schema asks for; ask without one of the two";
            return Err(Error::config("stop", reason));
        }
        // Not kept if it fails; the next request fails in the same way.
        let grammars = match self.grammars.get() {
            Some(grammars) => grammars,
            None => {
                let grammars = Grammars::new(&self.tokenizer)?;
                self.grammars.get_or_init(|| grammars)
            }
        };
        let schema = grammars.schema(schema, self.tokenizer.model())?;
        Ok(TokenConstraint::Schema(Box::new(schema)))
    }

    #[cfg(not(feature = "llguidance"))]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    fn schema(&self, _: &serde_json::Value, _: &Asked) -> Result<TokenConstraint> {
        Err(Error::config(
            "constraint",
            "JSON schemas need the feature `llguidance`; build with it or ask without a schema",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use futures::{executor::block_on, poll};

    use super::*;
    use crate::{
        backends::candle::{gguf::Gguf, tests::tiny},
        model::Prompt,
    };

    fn constraints() -> Constraints {
        let file = tiny::write(&tiny::Tiny::new().bytes().1);
        let gguf = Gguf::open(&file.path).unwrap();
        Constraints::start(Arc::new(Tokenizer::read(&gguf).unwrap())).unwrap()
    }

    fn request(choice: &str) -> ChatRequest {
        ChatRequest::new(Prompt::Raw("a".to_owned())).with_choices([choice])
    }

    /// Blocks the thread until the sender sends.
    fn busy(constraints: &Constraints) -> mpsc::Sender<()> {
        let (open, gate) = mpsc::channel();
        let wait = move |_: &Tables| assert_eq!(gate.recv(), Ok(()));
        constraints.queue.send(Box::new(wait)).unwrap();
        open
    }

    #[test]
    fn nothing_is_made_while_the_future_is_polled() {
        let constraints = constraints();
        let open = busy(&constraints);
        let asked = [request("the"), request("")];
        block_on(async {
            let mut sound = pin!(constraints.build(&asked[0], false));
            let mut wrong = pin!(constraints.build(&asked[1], false));
            assert!(poll!(&mut sound).is_pending());
            assert!(poll!(&mut wrong).is_pending(), "errors come later, too");
            open.send(()).unwrap();
            assert!(matches!(sound.await, Ok(Some(TokenConstraint::Choices(_)))));
            let error = wrong.await.unwrap_err().to_string();
            assert_eq!(error, "choices: choice 1 is empty; leave it out");
        });
    }

    #[test]
    fn a_free_request_waits_for_nothing() {
        let constraints = constraints();
        let open = busy(&constraints);
        let free = ChatRequest::new(Prompt::Raw("a".to_owned()));
        let built = block_on(async { poll!(pin!(constraints.build(&free, false))) });
        assert!(matches!(built, Poll::Ready(Ok(None))));
        open.send(()).unwrap();
    }

    #[test]
    fn a_request_that_nobody_waits_for_is_given_up() {
        let constraints = constraints();
        let open = busy(&constraints);
        block_on(async {
            let asked = request("the");
            assert!(poll!(pin!(constraints.build(&asked, false))).is_pending());
        });
        open.send(()).unwrap();
        let (tell, told) = mpsc::channel();
        let look = move |tables: &Tables| tell.send(tables.spelling.get().is_some()).unwrap();
        constraints.queue.send(Box::new(look)).unwrap();
        assert_eq!(told.recv(), Ok(false), "its table was made");
    }
}
