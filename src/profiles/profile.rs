//! The settings that follow from a model.

use serde::{Deserialize, Serialize};

use super::Languages;
use crate::model::Sampling;

/// How instructions are induced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InductionForm {
    /// With the template of the paper, for models that were tuned in reverse:
    /// [`ReversedInduction`](crate::stages::ReversedInduction).
    Reversed,
    /// By a request with examples, for instruct models: [`ChatInduction`](crate::stages::ChatInduction).
    Chat,
}

/// How two responses are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgeForm {
    /// By how likely the model finds either label, in both orders: [`LikelihoodJudge`](crate::judges::LikelihoodJudge).
    Likelihood,
    /// By a written verdict, asked for in both orders: [`PairwiseJudge`](crate::judges::PairwiseJudge).
    Pairwise,
    /// By a probe of the model's hidden states that was fitted on labels: [`Probe`](crate::guards::Probe).
    Probe,
}

/// How each response is assessed by itself, before two are compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardForm {
    /// By the probe of the model that judges: [`Probe`](crate::guards::Probe).
    Probe,
    /// By a model that is asked in a dialect: [`DialectGuard`](crate::guards::DialectGuard).
    Dialect(String),
}

/// The dialects for instruct models that are no guards. Small models do not keep to the lines of the first one.
const SERVED_GUARD: &str = "instruct-rubric";
const LOCAL_GUARD: &str = "instruct-yes-no";

/// What is known of a model once it is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelFacts {
    /// Whether its file holds a chat template, as those of instruct models do.
    pub has_chat_template: bool,
    /// Whether it has an adapter that was tuned in reverse, P(instruction | response).
    pub tuned_in_reverse: bool,
}

/// The settings that follow from a model. Each of them can be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Profile {
    /// How instructions are induced.
    pub induction: InductionForm,
    /// How many instructions are induced for each text. Of several the one is kept that fits the text best:
    /// [`BestOf`](crate::stages::BestOf).
    pub candidates: u32,
    /// How tokens of instructions are chosen. With more than one candidate or draw the temperature must be above 0, or
    /// all are the same.
    pub induction_sampling: Sampling,
    /// How many responses are made to each instruction. Of several the one is kept that the judge prefers:
    /// [`BestResponse`](crate::stages::BestResponse).
    pub responses: u32,
    /// How tokens of responses are chosen. With more than one response or draw the temperature must be above 0, or all are
    /// the same.
    pub response_sampling: Sampling,
    /// The most tokens of a response.
    pub max_tokens: usize,
    /// How two responses are compared.
    pub judge: JudgeForm,
    /// Up to which margin a judge by likelihood or by probe finds a tie, in nats.
    pub tie_margin: f64,
    /// How each response is assessed by itself. Without a form no response is, and any pair that the judge lets through
    /// is kept.
    pub guard: Option<GuardForm>,
    /// The least gain of [`Related`](crate::filters::Related), in nats per token: how much likelier an instruction must
    /// make its source text. Without one the filter is left out.
    pub min_gain: Option<f64>,
    /// The languages that the model handles well enough.
    pub languages: Languages,
}

impl Profile {
    /// The profile of a served model: [`InductionForm::Chat`], [`JudgeForm::Pairwise`], a guard by the dialect
    /// `instruct-rubric`, likeliest tokens, any language.
    #[must_use]
    pub fn served() -> Self {
        Self {
            judge: JudgeForm::Pairwise,
            guard: Some(GuardForm::Dialect(SERVED_GUARD.to_owned())),
            max_tokens: 400,
            candidates: 1,
            induction_sampling: Sampling::default(),
            response_sampling: Sampling::default(),
            min_gain: None,
            ..Self::local()
        }
    }

    /// The profile of an instruct model on this machine that is not known: [`InductionForm::Chat`],
    /// [`JudgeForm::Likelihood`], a guard by the dialect `instruct-yes-no`, any language.
    #[must_use]
    pub fn local() -> Self {
        Self {
            induction: InductionForm::Chat,
            candidates: 8,
            responses: 1,
            induction_sampling: Sampling {
                temperature: 0.7,
                top_p: 0.95,
                ..Sampling::default()
            },
            response_sampling: Sampling {
                repetition_penalty: 1.05,
                ..Sampling::default()
            },
            max_tokens: 512,
            judge: JudgeForm::Likelihood,
            tie_margin: 0.2,
            guard: Some(GuardForm::Dialect(LOCAL_GUARD.to_owned())),
            min_gain: Some(0.2),
            languages: Languages::ANY,
        }
    }

    /// A model on this machine that was tuned in reverse.
    pub(super) fn reversed() -> Self {
        Self {
            induction: InductionForm::Reversed,
            ..Self::local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: ModelFacts = ModelFacts {
        has_chat_template: false,
        tuned_in_reverse: false,
    };
    const INSTRUCT: ModelFacts = ModelFacts {
        has_chat_template: true,
        ..BASE
    };
    const REVERSED: ModelFacts = ModelFacts {
        tuned_in_reverse: true,
        ..INSTRUCT
    };

    #[test]
    fn the_form_follows_from_the_model() {
        use InductionForm::{Chat, Reversed};
        for (name, facts, form) in [
            ("smollm2-135m", REVERSED, Reversed),
            ("smollm2-135m", INSTRUCT, Chat),
            ("qwen2.5-coder-1.5b", INSTRUCT, Chat),
            ("qwen2.5-coder-1.5b", REVERSED, Reversed),
            ("models/other.gguf", INSTRUCT, Chat),
            ("models/other.gguf", REVERSED, Reversed),
            (
                "models/base.gguf",
                ModelFacts {
                    tuned_in_reverse: true,
                    ..BASE
                },
                Reversed,
            ),
        ] {
            assert_eq!(Profile::of(name, facts).unwrap().induction, form, "{name}");
        }
        assert_eq!(Profile::served().induction, Chat);
    }

    #[test]
    fn a_base_model_is_refused_with_advice() {
        let error = Profile::of("base.gguf", BASE).unwrap_err().to_string();
        assert!(
            error.contains("base.gguf has no chat template")
                && error.contains("take an instruct model"),
            "{error}"
        );
    }

    #[test]
    fn a_known_model_keeps_its_languages_whatever_its_adapter() {
        for facts in [INSTRUCT, REVERSED] {
            let profile = Profile::of("smollm2-135m", facts).unwrap();
            assert_eq!(profile.languages.codes(), ["en"]);
        }
        let file = Profile::of("dir/SmolLM2-135M-Instruct-Q8_0.gguf", INSTRUCT).unwrap();
        assert_eq!(file.languages.codes(), ["en"]);
        let other = Profile::of("dir/other.gguf", INSTRUCT).unwrap();
        assert_eq!(other.languages, Languages::ANY);
    }
}
