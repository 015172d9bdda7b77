//! The models that are known by name.

use clap::Args;
use safer_instruct::{
    Error, Result,
    profiles::{self, InductionForm, KnownModel},
};
use serde_json::json;

use crate::ended::Ended;

/// How they are listed.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Print them as JSON, for machines
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Prints what each model is for, its size, licence and languages, and the form and adapter that it is run with.
    pub(crate) fn print(&self) -> Result<Ended> {
        if self.json {
            let models: Vec<_> = profiles::known().iter().map(for_machines).collect();
            let json = serde_json::to_string_pretty(&models)
                .map_err(|error| Error::Other(error.into()))?;
            println!("{json}");
            return Ok(Ended::Done);
        }
        for model in profiles::known() {
            print(model);
        }
        println!(
            "Any other GGUF file of an instruct model runs too (--model FILE), and any model behind a server that speaks OpenAI's \
             protocol (--base-url URL --model NAME)."
        );
        Ok(Ended::Done)
    }
}

fn print(model: &KnownModel) {
    let profile = model.profile();
    let form = match (profile.induction, model.adapter) {
        (InductionForm::Reversed, Some(adapter)) => format!("reversed, with the adapter {adapter}"),
        (InductionForm::Reversed, None) => "reversed".to_owned(),
        (InductionForm::Chat, _) => "chat".to_owned(),
    };
    println!("{}", model.name);
    for (name, value) in [
        ("for", model.purpose.to_owned()),
        (
            "size",
            format!(
                "{:.2} billion parameters, {:.0} MB",
                model.parameters as f64 / 1e9,
                model.bytes as f64 / 1e6
            ),
        ),
        ("licence", model.licence.to_owned()),
        ("languages", profile.languages.to_string()),
        ("induction", form),
        (
            "judgement",
            model.judge.map_or("by its own words".to_owned(), |name| {
                format!("judge and guard by the probe {name}")
            }),
        ),
    ] {
        println!("  {name:<11}{value}");
    }
    println!();
}

fn for_machines(model: &KnownModel) -> serde_json::Value {
    json!({
        "name": model.name,
        "purpose": model.purpose,
        "parameters": model.parameters,
        "bytes": model.bytes,
        "licence": model.licence,
        "adapter": model.adapter,
        "judge": model.judge,
        "profile": model.profile(),
    })
}
