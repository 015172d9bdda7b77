//! What a file of settings or the command line says: every key may be left out.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use clap::Args;
use safer_instruct::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{
    Form, Judging, SourceWins,
    field::{Field, no_negative, share},
};

/// The largest integer that TOML can write.
const MOST: u64 = i64::MAX as u64;

/// A section: each field is a key of the file and an option of the command line. An on-off option such as `--demo` is
/// `--demo=true`.
macro_rules! given {
    ($(#[$meta:meta])* $name:ident { $($rest:tt)* }) => {
        $(#[$meta])*
        #[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name { $($rest)* }
    };
}

/// A stage, which may have a model of its own.
macro_rules! given_stage {
    ($name:ident $stage:literal { $($rest:tt)* }) => {
        given! { $name {
            #[arg(id = concat!($stage, "-model"), long = concat!($stage, "-model"), value_name = "MODEL", help = concat!("Model of the stage ", $stage, " [default: that of --model]"))]
            model: Option<String>,
            #[arg(id = concat!($stage, "-base-url"), long = concat!($stage, "-base-url"), value_name = "URL", hide_short_help = true, help = concat!("Server of the model of ", $stage, ", or `none` [default: that of --base-url]"))]
            base_url: Option<String>,
            #[arg(id = concat!($stage, "-key-variable"), long = concat!($stage, "-key-variable"), value_name = "NAME", hide_short_help = true, help = concat!("Variable of the environment that holds the key of that server [default: that of --key-variable]"))]
            key_variable: Option<String>,
            #[arg(id = concat!($stage, "-price-read"), long = concat!($stage, "-price-read"), value_name = "MONEY", value_parser = no_negative, hide_short_help = true, help = "Price of a million tokens that it reads [default: that of --price-read]")]
            price_read: Option<f64>,
            #[arg(id = concat!($stage, "-price-written"), long = concat!($stage, "-price-written"), value_name = "MONEY", value_parser = no_negative, hide_short_help = true, help = "Price of a million tokens that it writes [default: that of --price-written]")]
            price_written: Option<f64>,
            $($rest)*
        }}
    };
}

given! {
    /// All of it.
    Given {
        #[command(flatten, next_help_heading = "Input")]
        pub(super) input: GivenInput,
        #[command(flatten, next_help_heading = "Models")]
        model: GivenModel,
        #[command(flatten, next_help_heading = "Induction of the instruction")]
        induce: GivenInduce,
        #[command(flatten, next_help_heading = "Response of the expert")]
        respond: GivenRespond,
        #[command(flatten, next_help_heading = "Judgement")]
        judge: GivenJudge,
        #[command(flatten, next_help_heading = "Guard")]
        guard: GivenGuard,
        #[command(flatten, next_help_heading = "Filters")]
        filters: GivenFilters,
        #[command(flatten, next_help_heading = "Run")]
        run: GivenRun,
        #[command(flatten, next_help_heading = "Budget")]
        budget: GivenBudget,
        #[command(flatten, next_help_heading = "Output")]
        pub(crate) output: GivenOutput,
    }
}

given! { GivenInput {
    /// Texts: a .jsonl, .csv or .txt file (.gz and .zst too), a folder of .txt files, or - for JSONL on standard input
    #[arg(id = "input", long = "input", value_name = "PATH", conflicts_with = "demo")]
    pub(super) path: Option<PathBuf>,
    /// Take the 28 mild texts in English and Japanese that come with the program
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) demo: Option<bool>,
    /// Column that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Column that holds the id [default: file name and line]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    /// Column that holds the category [default: none]
    #[arg(long, value_name = "NAME")]
    category_column: Option<String>,
    /// Work on this many texts at most [default: all]
    #[arg(long, value_name = "TEXTS", value_parser = clap::value_parser!(u64).range(1..=MOST))]
    limit: Option<u64>,
    /// Skip bad records and report each, instead of ending at the first
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    skip_bad: Option<bool>,
}}

given! { GivenModel {
    /// Model of all stages: a name that `safer-instruct models` lists, a GGUF file, hf:owner/repo/file.gguf@revision,
    /// or, with --base-url, the name that the server knows it by [default: smollm2-135m]
    #[arg(id = "model", long = "model", value_name = "MODEL")]
    name: Option<String>,
    /// Server of the model, where its protocol begins, such as https://api.openai.com/v1 [default: none, the model runs
    /// on this machine]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Variable of the environment that holds the server's key [default: OPENAI_API_KEY]
    #[arg(long, value_name = "NAME")]
    key_variable: Option<String>,
    /// Further addresses of the same served model
    #[arg(id = "endpoint", long = "endpoint", value_name = "URL", hide_short_help = true)]
    endpoints: Option<Vec<String>>,
    /// Another field of every request to a server, as NAME=JSON, such as reasoning_effort=\"low\"
    #[arg(id = "field", long = "field", value_name = "NAME=JSON", value_parser = Field::check, hide_short_help = true)]
    fields: Option<Vec<String>>,
    /// Price of a million tokens that are read [default: 0]
    #[arg(long, value_name = "MONEY", value_parser = no_negative)]
    price_read: Option<f64>,
    /// Price of a million tokens that are written [default: 0]
    #[arg(long, value_name = "MONEY", value_parser = no_negative)]
    price_written: Option<f64>,
    /// Most requests to a server in a minute [default: no limit]
    #[arg(long, value_name = "REQUESTS", hide_short_help = true)]
    requests_per_minute: Option<NonZeroU32>,
    /// Most tokens to and from a server in a minute [default: no limit]
    #[arg(long, value_name = "TOKENS", hide_short_help = true)]
    tokens_per_minute: Option<NonZeroU32>,
    /// Seconds that a request to a server may take [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MOST), hide_short_help = true)]
    timeout: Option<u64>,
    /// Folder for downloaded models [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}}

given_stage! { GivenInduce "induce" {
    /// Prompt of the stage induce, in Markdown [default: that of the crate]
    #[arg(id = "induce-prompt-file", long = "induce-prompt-file", value_name = "FILE", hide_short_help = true)]
    prompt_file: Option<PathBuf>,
    /// How instructions are induced [default: what suits the model]
    #[arg(long, value_enum)]
    form: Option<Form>,
    /// Adapter of the inducing model, a folder as `safer-instruct tune` or PEFT writes it, or `none` [default: the one
    /// that comes with the model, if there is one]
    #[arg(long, value_name = "DIR")]
    adapter: Option<String>,
    /// Instructions that are induced for each text, of which the one is kept that makes the text likeliest [default:
    /// what suits the model]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    candidates: Option<u32>,
    /// Least nats a token by which an instruction must make its text likelier; needs a model that scores [default:
    /// what suits the model]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true)]
    min_gain: Option<f64>,
    /// Temperature of the induction; 0 takes the likeliest tokens [default: what suits the model; 0.8 with several
    /// draws or candidates]
    #[arg(id = "induce-temperature", long = "induce-temperature", value_name = "T", value_parser = no_negative)]
    temperature: Option<f64>,
    /// Most tokens of an instruction [default: 64]
    #[arg(id = "induce-max-tokens", long = "induce-max-tokens", value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
}}

given_stage! { GivenRespond "respond" {
    /// Adapter of the expert's model, a folder as `safer-instruct prefer` or PEFT writes it, or `none` [default: the one
    /// that comes with the model, if there is one]
    #[arg(id = "respond-adapter", long = "respond-adapter", value_name = "DIR")]
    adapter: Option<String>,
    /// Prompt of the stage respond, in Markdown [default: that of the crate]
    #[arg(id = "respond-prompt-file", long = "respond-prompt-file", value_name = "FILE", hide_short_help = true)]
    prompt_file: Option<PathBuf>,
    /// Responses to each instruction, of which the one is kept that the judge prefers [default: what suits the model]
    #[arg(id = "responses", long = "responses", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    candidates: Option<u32>,
    /// File that says what the expert helps with and what not [default: the policy of the crate]
    #[arg(id = "policy-file", long = "policy-file", value_name = "FILE")]
    policy_file: Option<PathBuf>,
    /// Temperature of the response; 0 takes the likeliest tokens [default: what suits the model]
    #[arg(id = "respond-temperature", long = "respond-temperature", value_name = "T", value_parser = no_negative)]
    temperature: Option<f64>,
    /// Divides the logits of tokens that are already there; 1 changes nothing [default: what suits the model]
    #[arg(long, value_name = "PENALTY", value_parser = no_negative, hide_short_help = true)]
    repetition_penalty: Option<f64>,
    /// Most tokens of a response [default: what suits the model]
    #[arg(id = "max-tokens", long = "max-tokens", value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
}}

given_stage! { GivenJudge "judge" {
    /// Prompt of the stage judge, in Markdown [default: that of the crate]
    #[arg(id = "judge-prompt-file", long = "judge-prompt-file", value_name = "FILE", hide_short_help = true)]
    prompt_file: Option<PathBuf>,
    /// How two responses are compared [default: what suits the model]
    #[arg(id = "judge", long = "judge", value_enum)]
    form: Option<Judging>,
    /// Folder of a probe as `safer-instruct tune-judge` writes it [default: the one that comes with the model, if there is one]
    #[arg(id = "judge-probe", long = "judge-probe", value_name = "DIR")]
    probe: Option<PathBuf>,
    /// File that says what counts as safe [default: the policy of the crate]
    #[arg(id = "judge-policy-file", long = "judge-policy-file", value_name = "FILE")]
    policy_file: Option<PathBuf>,
    /// Nats up to which the judge by likelihood or by probe finds a tie [default: what suits the model]
    #[arg(long, value_name = "NATS", value_parser = no_negative)]
    tie_margin: Option<f64>,
    /// What happens if the judge finds the source text better [default: drop]
    #[arg(long, value_enum)]
    source_wins: Option<SourceWins>,
}}

given_stage! { GivenGuard "guard" {
    /// What assesses each response by itself: `probe`, a dialect of docs/guards.md such as `llama-guard-3` or
    /// `instruct-rubric`, or `none` [default: what suits the model of the judgement]
    #[arg(id = "guard", long = "guard", value_name = "FORM")]
    form: Option<String>,
    /// Policy of the guard, for dialects that take one [default: that of the dialect]
    #[arg(id = "guard-policy-file", long = "guard-policy-file", value_name = "FILE", hide_short_help = true)]
    policy_file: Option<PathBuf>,
    /// Greatest P(unsafe) of the chosen response, between 0 and 1 [default: 0.5]
    #[arg(long, value_name = "P", value_parser = share)]
    max_chosen: Option<f64>,
    /// Least P(unsafe) of the rejected response, between 0 and 1 [default: 0.5]
    #[arg(long, value_name = "P", value_parser = share)]
    min_rejected: Option<f64>,
    /// Greatest P(refusal) of the chosen response, between 0 and 1 [default: 0.5]
    #[arg(long, value_name = "P", value_parser = share)]
    max_refusal: Option<f64>,
}}

given! { GivenFilters {
    /// Languages that are worked on, as codes such as `en,ja`, or `any` [default: those of the models]
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    languages: Option<Vec<String>>,
    /// Fewest characters of a text [default: 8]
    #[arg(long, value_name = "CHARS")]
    min_source_chars: Option<u32>,
    /// Most characters of a text [default: 8000]
    #[arg(long, value_name = "CHARS")]
    max_source_chars: Option<u32>,
    /// Fewest characters of an instruction [default: 4]
    #[arg(long, value_name = "CHARS", hide_short_help = true)]
    min_instruction_chars: Option<u32>,
    /// Most characters of an instruction [default: 400]
    #[arg(long, value_name = "CHARS", hide_short_help = true)]
    max_instruction_chars: Option<u32>,
    /// Keep instructions that speak of the task itself
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_short_help = true)]
    keep_about_task: Option<bool>,
    /// Share of an instruction that may stand in its text, between 0 and 1 [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = share, hide_short_help = true)]
    max_quoted_share: Option<f64>,
    /// Least share of an instruction or a response that is no repetition, between 0 and 1 [default: 0.6]
    #[arg(long, value_name = "SHARE", value_parser = share, hide_short_help = true)]
    min_distinct_share: Option<f64>,
    /// Keep responses that were cut off at --max-tokens
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    keep_truncated: Option<bool>,
    /// Fewest words that a response must have beside a refusal [default: 8]
    #[arg(long, value_name = "WORDS", hide_short_help = true)]
    min_words_beside_refusal: Option<u32>,
}}

given! { GivenRun {
    /// Independent tries at each text [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    draws: Option<u32>,
    /// Seed of all random choices [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=MOST))]
    seed: Option<u64>,
    /// Texts that are worked on at once; it changes the speed alone [default: 32]
    #[arg(long, value_name = "TEXTS", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Seconds that texts in work may take to end after Ctrl-C or SIGTERM [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=MOST), hide_short_help = true)]
    drain: Option<u64>,
}}

given! { GivenBudget {
    /// Stop once the run has cost so much, earlier sessions included [default: no limit, as for the other budgets]
    #[arg(id = "budget", long = "budget", value_name = "MONEY", value_parser = no_negative)]
    money: Option<f64>,
    /// Stop once the run has read and written so many tokens
    #[arg(id = "budget-tokens", long = "budget-tokens", value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..=MOST))]
    tokens: Option<u64>,
    /// Stop once the run has made so many requests
    #[arg(id = "budget-requests", long = "budget-requests", value_name = "REQUESTS", value_parser = clap::value_parser!(u64).range(1..=MOST))]
    requests: Option<u64>,
    /// Stop once the run has run so long
    #[arg(id = "budget-minutes", long = "budget-minutes", value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=MOST))]
    minutes: Option<u64>,
}}

given! { GivenOutput {
    /// Folder of the run: its journal, its settings and its files [default: out]
    #[arg(id = "output", long = "output", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}}

impl Given {
    /// The keys that are given, section by section.
    pub(super) fn table(&self) -> Result<toml::Table> {
        toml::Table::try_from(self).map_err(|error| Error::Other(error.into()))
    }

    /// Lets relative paths begin at `folder`, so that they mean the same wherever the run is resumed.
    pub(crate) fn begin_paths_at(&mut self, folder: &Path) {
        let begin = |path: &mut PathBuf| *path = folder.join(&path);
        let files = [
            &mut self.input.path,
            &mut self.model.cache,
            &mut self.induce.prompt_file,
            &mut self.respond.prompt_file,
            &mut self.respond.policy_file,
            &mut self.judge.prompt_file,
            &mut self.judge.policy_file,
            &mut self.judge.probe,
            &mut self.guard.policy_file,
            &mut self.output.folder,
        ];
        for path in files.into_iter().flatten() {
            if path != Path::new("-") {
                begin(path);
            }
        }
        let names = [
            &mut self.model.name,
            &mut self.induce.model,
            &mut self.respond.model,
            &mut self.judge.model,
            &mut self.guard.model,
            &mut self.induce.adapter,
            &mut self.respond.adapter,
        ];
        let is_path = [
            is_gguf, is_gguf, is_gguf, is_gguf, is_gguf, is_folder, is_folder,
        ];
        for (name, is_path) in names.into_iter().zip(is_path) {
            if let Some(name) = name.as_mut().filter(|name| is_path(name)) {
                *name = folder.join(&*name).display().to_string();
            }
        }
    }
}

/// Whether a model is named by its file on this machine, and not by where it is downloaded from.
fn is_gguf(name: &str) -> bool {
    name.ends_with(".gguf") && !name.starts_with("hf:") && !name.starts_with("wheel:")
}

fn is_folder(adapter: &str) -> bool {
    adapter != "none"
}
