//! `merge`: a LoRA adapter and its base as one GGUF file, for llama.cpp and the servers that are built on it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use safer_instruct::{
    Result,
    backends::candle::{Merge, ModelForm},
};

use crate::{ended::Ended, training::Model};

/// What to merge, and where to.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    model: Model,
    /// Folder with adapter_config.json and adapter_model.safetensors, trained on the model
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// Numbers that the matrices are stored in
    #[arg(long, value_enum, default_value_t = Form::F16)]
    form: Form,
    /// File to write
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// Replace the file if it exists
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

/// Writes the merged file.
pub(crate) fn run(options: &Options) -> Result<Ended> {
    let base = options.model.fetch()?;
    let form = match options.form {
        Form::F16 => ModelForm::F16,
        Form::Q8_0 => ModelForm::Q8_0,
    };
    let bar = ProgressBar::new(0);
    let shown = bar.clone();
    let merge = Merge::new(&base, &options.adapter)
        .with_form(form)
        .with_overwrite(options.overwrite)
        .with_progress(move |written, tensors| {
            shown.set_length(tensors as u64);
            shown.set_position(written as u64);
        });
    let merged = merge.write(&options.output);
    bar.finish_and_clear();
    merged?;
    println!("wrote {}", options.output.display());
    println!("  llama-server --model {}", options.output.display());
    Ok(Ended::Done)
}
