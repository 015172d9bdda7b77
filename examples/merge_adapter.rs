//! A LoRA adapter and its base as one GGUF file, for llama.cpp and the servers that are built on it:
//!
//! ```text
//! cargo run --release --features candle --example merge_adapter -- --adapter DIR --output merged.gguf
//! llama-server --model merged.gguf
//! ```
//!
//! Without `--model` the base is SmolLM2-135M-Instruct, which the first run downloads (98 MB).
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "shared/fetch.rs"]
mod fetch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use fetch::fetch;
use indicatif::ProgressBar;
use safer_instruct::{
    Result,
    backends::candle::{Merge, ModelForm},
    hub::ModelSource,
};

/// Adds a LoRA adapter to the weights of its base and writes them as a GGUF file.
#[derive(Debug, Parser)]
#[command(name = "merge_adapter")]
struct Options {
    /// Model that the adapter was trained on, named as in the quickstart
    #[arg(long, default_value = "smollm2-135m")]
    model: ModelSource,
    /// Folder for downloaded models [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Folder with adapter_config.json and adapter_model.safetensors
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// Numbers that the matrices are stored in
    #[arg(long, value_enum, default_value_t = Form::F16)]
    form: Form,
    /// File to write
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// 2 bytes a weight
    F16,
    /// 1.06 bytes a weight, a little less exact
    #[value(name = "q8_0")]
    Q8_0,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let bar = ProgressBar::new(0);
    let base = fetch(options.cache.as_ref(), &options.model, |at| {
        bar.set_length(at.total.unwrap_or(at.bytes));
        bar.set_position(at.bytes);
    });
    bar.finish_and_clear();
    let base = base?;
    let form = match options.form {
        Form::F16 => ModelForm::F16,
        Form::Q8_0 => ModelForm::Q8_0,
    };
    let bar = ProgressBar::new(0);
    let shown = bar.clone();
    Merge::new(&base.path, &options.adapter)
        .with_form(form)
        .with_overwrite(options.overwrite)
        .with_progress(move |written, tensors| {
            shown.set_length(tensors as u64);
            shown.set_position(written as u64);
        })
        .write(&options.output)?;
    bar.finish_and_clear();
    println!("wrote {}", options.output.display());
    Ok(())
}
