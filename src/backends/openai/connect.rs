//! What is asked of a server before a run begins.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{HttpResponse, Need, OpenAiModel, OpenAiModelBuilder, Server, Shared, refusal};
use crate::{
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Message, Prompt, ScoreRequest, ScoringModel},
};

/// Names of models that an error shows.
const SHOWN: usize = 8;

#[derive(Deserialize)]
struct Models {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    owned_by: Option<String>,
}

impl OpenAiModelBuilder {
    /// Makes the model, asks every address for its list of models, finds out which server it is, and tries what the run
    /// [needs](Self::with_need), each with a request of one token or two.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Transport`] or [`Error::TimedOut`] if an address does not answer; [`Error::Refused`] if the key
    /// is wrong; [`Error::Config`] if the model is not in the list, or the server cannot do what is needed.
    pub async fn connect(self) -> Result<OpenAiModel> {
        let known = self.knows_server();
        let needs = self.needs.clone();
        let mut model = self.build()?;
        let mut found = None;
        let bases: Vec<String> = model.shared.endpoints.bases().map(str::to_owned).collect();
        for base in &bases {
            let server = model.shared.look_at(base).await?;
            found = found.or(server);
        }
        if let (false, Some(server), Some(shared)) = (known, found, Arc::get_mut(&mut model.shared))
        {
            shared.server = server;
        }
        tracing::debug!(server = %model.server(), "connected");
        let first = ChatRequest::new(hello()).with_max_tokens(1);
        model.complete(&first).await?;
        for need in needs {
            model
                .attempt(need)
                .await
                .map_err(|error| model.shared.cannot(need, &error))?;
        }
        Ok(model)
    }
}

fn hello() -> Vec<Message> {
    vec![Message::user("Say yes or no.")]
}

impl OpenAiModel {
    async fn attempt(&self, need: Need) -> Result<()> {
        let chat = || ChatRequest::new(hello());
        let raw = || Prompt::Raw("Once upon a".to_owned());
        match need {
            Need::RawPrompts => {
                self.complete(&ChatRequest::new(raw()).with_max_tokens(1))
                    .await?;
            }
            Need::Logprobs => {
                let completion = self
                    .complete(&chat().with_max_tokens(1).with_top_logprobs(1))
                    .await?;
                if completion.logprobs.is_none() {
                    return Err(Error::malformed("a completion with log-probabilities"));
                }
            }
            Need::Scores => {
                self.score(&ScoreRequest::new(Prompt::Chat(label()), ["A", "B"]))
                    .await?;
            }
            Need::RawScores => {
                self.score(&ScoreRequest::new(raw(), [" time"])).await?;
            }
            Need::Choices => {
                self.complete(&chat().with_choices(["yes", "no"]).with_max_tokens(8))
                    .await?;
            }
            Need::JsonSchema => {
                let schema = json!({
                    "type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"], "additionalProperties": false,
                });
                self.complete(&chat().with_json_schema(schema).with_max_tokens(64))
                    .await?;
            }
        }
        Ok(())
    }
}

fn label() -> Vec<Message> {
    vec![Message::user(
        "Which letter comes first, A or B? Answer with the letter alone.",
    )]
}

impl Shared {
    fn cannot(&self, need: Need, error: &Error) -> Error {
        let reason = format!(
            "{} at this address gives no {need}: {}; take another server, or stages that do without",
            self.server,
            error.report()
        );
        Error::config("server", reason)
    }

    /// Asks one address for its list of models. None if it has no such list.
    async fn look_at(&self, base: &str) -> Result<Option<Server>> {
        let request = self.request(Method::GET, &format!("{base}/models"), Vec::new())?;
        let at = format!("{} at {base}", self.model);
        let answer = match self.exchange(request, &at, &[]).await {
            Err(Error::Refused {
                status: Some(404 | 405),
                ..
            }) => return Ok(None),
            other => other?,
        };
        let models: Models = self.read(&answer, &at, &[])?;
        let server = server(&models, &answer);
        // llama.cpp serves one model under any name.
        if server != Server::LlamaCpp
            && !models.data.is_empty()
            && models.data.iter().all(|listed| listed.id != self.model)
        {
            return Err(unknown(&self.model, base, &models, &self.secrets(&[])));
        }
        Ok(Some(server))
    }
}

fn server(models: &Models, answer: &HttpResponse) -> Server {
    let owner = models
        .data
        .iter()
        .find_map(|listed| listed.owned_by.as_deref());
    let named = answer
        .headers()
        .get(http::header::SERVER)
        .is_some_and(|server| server == "llama.cpp");
    if named {
        Server::LlamaCpp
    } else {
        Server::of_owner(owner.unwrap_or_default())
    }
}

fn unknown(model: &str, base: &str, models: &Models, secrets: &[&str]) -> Error {
    let names = models.data.iter();
    let names = names.filter_map(|listed| refusal::shown(&listed.id, secrets));
    let names: Vec<String> = names.take(SHOWN).collect();
    let more = models.data.len() - names.len();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Error::config(
        "model",
        format!(
            "{base} does not serve {model}; it serves {}{more}",
            names.join(", ")
        ),
    )
}
