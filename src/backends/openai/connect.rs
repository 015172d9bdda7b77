//! Tests of a server before a run begins.

use std::sync::Arc;

use futures::future::try_join_all;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    builder::OpenAiModelBuilder,
    errors::classify,
    http::transport::HttpResponse,
    model::{Connection, OpenAiModel},
    wire::dialect::{Need, Server},
};
use crate::{
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Message, Prompt, ScoreRequest, ScoringModel},
};

/// The most names of models that an error lists.
const SHOWN: usize = 8;
/// The most tokens of a constrained answer. Models that reason count those tokens too.
const WITH_THOUGHTS: usize = 512;
/// Words that answer no question, so that only a server that applies the constraint gives one of them.
const CHOICES: [&str; 2] = ["zorvek", "quilmat"];

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

/// What an address tells about itself.
struct Found {
    server: Server,
    /// The models that it lists, if this one is not listed.
    others: Option<Vec<String>>,
}

impl OpenAiModelBuilder {
    /// Builds the model, reads the list of models at every address, detects the server program, and tests at each
    /// address what the run [needs](Self::with_need), each with a short request.
    ///
    /// A server without a list counts as [`Server::Other`]. A model that answers although it is not listed is accepted,
    /// with a warning in the log. So is a model whose reasoning uses up the tokens of the test.
    ///
    /// # Errors
    /// As [`build`](Self::build). [`Error::Transport`] or [`Error::TimedOut`] if an address does not answer.
    /// [`Error::Refused`] if the key or the name of the model is wrong. [`Error::Config`] if an address lacks an
    /// ability that is needed, or the addresses are servers that are asked in different ways.
    pub async fn connect(self) -> Result<OpenAiModel> {
        let known = self.server;
        let needs = self.needs.clone();
        let OpenAiModel { connection } = self.build()?;
        let bases: Vec<String> = connection.endpoints.bases().map(str::to_owned).collect();
        let found = try_join_all(bases.iter().map(|base| connection.look_at(base))).await?;
        let server = match known {
            Some(server) => server,
            None => same_kind(&bases, &found)?,
        };
        tracing::debug!(%server, "connected");
        let tries = bases.iter().zip(found).map(|(base, found)| {
            let alone = OpenAiModel {
                connection: Arc::new(connection.alone_at(base, server)),
            };
            let needs = &needs;
            async move { alone.attempt_all(base, found, needs).await }
        });
        try_join_all(tries).await?;
        let connection = Arc::new(connection.of_kind(server));
        Ok(OpenAiModel { connection })
    }
}

/// The server program of all addresses, which must be asked in the same way.
fn same_kind(bases: &[String], found: &[Found]) -> Result<Server> {
    let mut all = bases.iter().zip(found.iter().map(|found| found.server));
    let Some((base, server)) = all.next() else {
        return Ok(Server::default());
    };
    match all.find(|(_, other)| other.abilities() != server.abilities()) {
        None => Ok(server),
        Some((other_base, other)) => {
            let reason = format!(
                "{base} is {server} and {other_base} is {other}, which take different fields; give addresses of one kind, or say by `with_server` as which kind all are to be asked"
            );
            Err(Error::config("server", reason))
        }
    }
}

fn hello() -> Vec<Message> {
    vec![Message::user("Say yes or no.")]
}

impl OpenAiModel {
    /// Tests all needs at the one address of this model.
    async fn attempt_all(&self, base: &str, found: Found, needs: &[Need]) -> Result<()> {
        // No single token: reasoning models of OpenAI reject a request whose tokens are used up before the answer.
        self.answers(&ChatRequest::new(hello()))
            .await
            .map_err(|error| found.hint(&self.connection.model, error))?;
        if let Some(names) = &found.others {
            let listed = shown(&self.connection.model, names);
            tracing::warn!(
                server = self.connection.name,
                listed,
                "the server does not list the model and answers for it; is that its name there?"
            );
        }
        for need in needs {
            self.attempt(*need)
                .await
                .map_err(|error| self.connection.cannot(base, *need, &error))?;
        }
        Ok(())
    }

    /// Succeeds if the model answers, even if the answer is cut off.
    async fn answers(&self, request: &ChatRequest) -> Result<()> {
        match self.complete(request).await {
            Err(error) if !classify::ran_out(&error) => Err(error),
            _ => Ok(()),
        }
    }

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
                self.answers(&chat().with_choices(CHOICES).with_max_tokens(WITH_THOUGHTS))
                    .await?;
            }
            Need::JsonSchema => {
                let schema = json!({
                    "type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"], "additionalProperties": false,
                });
                self.answers(
                    &chat()
                        .with_json_schema(schema)
                        .with_max_tokens(WITH_THOUGHTS),
                )
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

impl Connection {
    fn cannot(&self, base: &str, need: Need, error: &Error) -> Error {
        let newer = match (need, self.server) {
            (Need::Choices, Server::Vllm) => " (vLLM knows `structured_outputs` from 0.11 on)",
            _ => "",
        };
        let reason = format!(
            "{} at {base} gives no {need}: {}{newer}; take another server, or stages that do without",
            self.server,
            error.report()
        );
        Error::config("server", reason)
    }

    /// Reads the list of models at one address.
    async fn look_at(&self, base: &str) -> Result<Found> {
        let none = Found {
            server: Server::default(),
            others: None,
        };
        let request = self.request(Method::GET, &format!("{base}/models"), Vec::new())?;
        let alone = self.alone_at(base, self.server);
        let answer = alone.send(request).await?;
        if !answer.status().is_success() {
            return match alone.refusal(&answer, &[]) {
                // A wrong key is found out here. Another refusal does not mean that completions fail.
                Error::Refused { status, .. } if status != Some(401) => Ok(none),
                error => Err(error),
            };
        }
        let Ok(models) = serde_json::from_slice::<Models>(answer.body()) else {
            return Ok(none);
        };
        let server = server(&models, &answer);
        let names: Vec<&str> = models
            .data
            .iter()
            .map(|listed| listed.id.as_str())
            .collect();
        let lacks = !names.is_empty() && !names.contains(&self.model.as_str());
        let secrets = self.secrets(&[]);
        let others = lacks.then(|| {
            let names = names.iter();
            names
                .filter_map(|name| classify::shown(name, &secrets))
                .collect()
        });
        Ok(Found { server, others })
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

impl Found {
    /// Adds the models that there are, if the server may not know this one. Most servers then answer with 404, Mistral
    /// and some proxies with 400. Servers also accept names that they do not list.
    fn hint(&self, model: &str, error: Error) -> Error {
        match (error, &self.others) {
            (
                Error::Refused {
                    backend,
                    status: status @ Some(400 | 404),
                    message,
                },
                Some(names),
            ) => Error::Refused {
                backend,
                status,
                message: format!(
                    "{message}; its list has no {model}, but {}",
                    shown(model, names)
                ),
            },
            (error, _) => error,
        }
    }
}

/// Joins some names, similar ones first.
fn shown(model: &str, names: &[String]) -> String {
    let mut names = names.to_vec();
    names.sort_by_key(|name| !name.contains(model) && !model.contains(name.as_str()));
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let names = names.join(", ");
    if more > 0 {
        format!("{names} and {more} more")
    } else {
        names
    }
}
