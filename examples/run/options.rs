//! The command line.

use std::{env, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use safer_instruct::{
    Error, Result, SourceText,
    backends::openai::{Limits, Need},
    run::{Budget, Price},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::input::Input;

/// Makes preference pairs with a served model, in runs that survive.
#[derive(Debug, Parser)]
#[command(name = "run")]
pub(crate) struct Options {
    /// Folder of the run: its journal, its settings and, in `out`, its files
    #[arg(long, value_name = "DIR", default_value = "run", global = true)]
    pub(crate) folder: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begins a run
    Start {
        #[command(flatten)]
        settings: Box<Settings>,
        #[command(flatten)]
        work: Box<Work>,
    },
    /// Goes on with a run that was stopped or killed
    Resume(Box<Work>),
    /// Works on the texts that failed, and on no others
    Retry(Box<Work>),
    /// Says how a run stands, while it runs too
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Writes the files of a run as far as it is
    Export,
}

/// What the result depends on. It stays with the run.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Model, by the name that the server knows it by
    #[arg(long)]
    pub(crate) model: String,
    /// Where the server's protocol begins [default: $OPENAI_BASE_URL, or https://api.openai.com/v1]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) input: Input,
    /// Most tokens of a response
    #[arg(long, value_name = "TOKENS", default_value_t = 400)]
    pub(crate) max_tokens: usize,
    /// Temperature of induction and response; 0 takes the likeliest tokens
    #[arg(long, default_value_t = 0.0)]
    pub(crate) temperature: f64,
    /// How instructions are induced
    #[arg(long, value_enum, default_value_t = Form::Chat)]
    pub(crate) form: Form,
    /// Who judges
    #[arg(long, value_enum, default_value_t = Judge::Pairwise)]
    pub(crate) judge: Judge,
    /// Nats up to which the judge by likelihood finds a tie; small models have faint preferences, and need 0
    #[arg(long, value_name = "NATS", default_value_t = 0.2)]
    pub(crate) tie_margin: f64,
    /// Keep responses that were cut off at --max-tokens
    #[arg(long)]
    pub(crate) keep_truncated: bool,
    /// Another field of every request, as NAME=JSON, such as reasoning_effort=\"low\"
    #[arg(long = "field", value_name = "NAME=JSON")]
    fields: Vec<String>,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// How instructions are induced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// By request and example, for instruct models
    Chat,
    /// The paper's template, for models tuned in reverse; the server must complete raw text
    Reversed,
}

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Judge {
    /// The model reasons and says which response is better, in both orders
    Pairwise,
    /// How likely the model finds either label; for small models, and the server must give scores
    Likelihood,
}

/// What the result does not depend on: it may be another one each time.
#[derive(Args, Clone, Debug)]
pub(crate) struct Work {
    /// Another address of the server than before
    #[arg(long, value_name = "URL")]
    pub(crate) at: Option<String>,
    /// Further addresses of the same model
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Vec<String>,
    /// Variable of the environment that holds the key
    #[arg(long, value_name = "NAME", default_value = "OPENAI_API_KEY")]
    pub(crate) key_variable: String,
    /// Texts that are worked on at once
    #[arg(long, default_value_t = 32)]
    pub(crate) concurrency: usize,
    /// Most requests a minute
    #[arg(long)]
    requests_per_minute: Option<NonZeroU32>,
    /// Most tokens a minute
    #[arg(long)]
    tokens_per_minute: Option<NonZeroU32>,
    /// Price of a million tokens that are read
    #[arg(long, value_name = "MONEY", default_value_t = 0.0)]
    price_read: f64,
    /// Price of a million tokens that are written
    #[arg(long, value_name = "MONEY", default_value_t = 0.0)]
    price_written: f64,
    /// Stop once the run has cost so much, earlier sessions included
    #[arg(long, value_name = "MONEY")]
    budget: Option<f64>,
    /// Stop once the run has read and written so many tokens
    #[arg(long, value_name = "TOKENS")]
    budget_tokens: Option<u64>,
    /// Stop once the run has made so many requests
    #[arg(long, value_name = "REQUESTS")]
    budget_requests: Option<u64>,
    /// Stop once the run has run so long
    #[arg(long, value_name = "MINUTES")]
    budget_minutes: Option<u64>,
    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,
    /// Seconds that texts in work may take to end after Ctrl-C or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain: u64,
    /// Progress as lines of JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Texts, one after the other.
pub(crate) type Texts = Box<dyn Iterator<Item = Result<SourceText>> + Send>;

impl Settings {
    /// Where the protocol begins.
    pub(crate) fn base_url(&self) -> String {
        let of_environment = || env::var("OPENAI_BASE_URL").ok();
        let given = self.base_url.clone().or_else(of_environment);
        given.unwrap_or_else(|| "https://api.openai.com/v1".to_owned())
    }

    pub(crate) fn texts(&self) -> Result<Texts> {
        Ok(Box::new(self.input.open()?))
    }

    /// How many texts there are, all of which can be read.
    pub(crate) fn count(&self) -> Result<u64> {
        self.texts()?
            .try_fold(0, |count, text| text.map(|_| count + 1))
    }

    /// What the stages need of the server.
    pub(crate) fn needs(&self) -> impl Iterator<Item = Need> {
        let raw = (self.form == Form::Reversed).then_some(Need::RawPrompts);
        let scores = (self.judge == Judge::Likelihood).then_some(Need::Scores);
        raw.into_iter().chain(scores)
    }

    /// Fields of the caller.
    pub(crate) fn fields(&self) -> Result<Map<String, Value>> {
        let fields = self.fields.iter().map(|field| {
            let parsed = field
                .split_once('=')
                .and_then(|(name, json)| Some((name.to_owned(), serde_json::from_str(json).ok()?)));
            parsed.ok_or_else(|| {
                Error::config(
                    "field",
                    format!("{field} is not NAME=JSON; a text needs its quotes"),
                )
            })
        });
        fields.collect()
    }

    /// The same wherever the run is resumed from.
    pub(crate) fn settled(mut self) -> Result<Self> {
        if self.input.is_stdin() {
            let reason = "standard input can be read only once, and a run reads its texts again when it goes on; give a file";
            return Err(Error::config("input", reason));
        }
        if let Some(path) = &self.input.input {
            let absolute = std::path::absolute(path).map_err(|error| Error::io(path, error))?;
            self.input.input = Some(absolute);
        }
        Ok(self)
    }

    /// What the run is made with. The address is no part of it: the same model may be served elsewhere tomorrow.
    pub(crate) fn manifest(&self) -> Result<Value> {
        Ok(json!({
            "input": self.input.name(),
            "text_column": self.input.text_column,
            "id_column": self.input.id_column,
            "category_column": self.input.category_column,
            "model": self.model,
            "fields": self.fields()?,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "form": self.form,
            "judge": self.judge,
            "tie_margin": self.tie_margin,
            "keep_truncated": self.keep_truncated,
            "seed": self.seed,
        }))
    }
}

impl Work {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            requests: self.requests_per_minute,
            tokens: self.tokens_per_minute,
        }
    }

    pub(crate) fn price(&self) -> Price {
        Price::per_million(millionths(self.price_read), millionths(self.price_written))
    }

    pub(crate) fn budget(&self) -> Budget {
        let mut budget = Budget::new();
        if let Some(money) = self.budget {
            budget = budget.with_money(millionths(money));
        }
        if let Some(tokens) = self.budget_tokens {
            budget = budget.with_tokens(tokens);
        }
        if let Some(requests) = self.budget_requests {
            budget = budget.with_requests(requests);
        }
        if let Some(minutes) = self.budget_minutes {
            budget = budget.with_wall_time(Duration::from_secs(minutes.saturating_mul(60)));
        }
        budget
    }
}

/// Money as the journal counts it.
fn millionths(money: f64) -> u64 {
    (money.max(0.0) * 1e6).round() as u64
}

/// Money as people read it.
pub(crate) fn money(millionths: u64) -> String {
    format!("{:.4}", millionths as f64 / 1e6)
}
