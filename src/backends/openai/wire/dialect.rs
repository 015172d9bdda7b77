//! What servers support beyond the common protocol, and the fields for it.

use std::fmt;

/// The server program behind an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Server {
    /// OpenAI itself.
    OpenAi,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// The server of llama.cpp.
    LlamaCpp,
    /// Mistral's own API.
    Mistral,
    /// Any other: only what OpenAI documents is used.
    #[default]
    Other,
}

/// An ability of a server that a run may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// Completions of raw text, by `/completions`. Reversed induction needs them.
    RawPrompts,
    /// Log-probabilities of generated tokens.
    Logprobs,
    /// Scores of given answers in a chat. Judges by likelihood need them.
    Scores,
    /// Scores of given continuations of raw text. The choice of the best instruction needs them.
    RawScores,
    /// Completions that are one of several given texts.
    Choices,
    /// Completions that satisfy a JSON schema.
    JsonSchema,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RawPrompts => "completions of raw text",
            Self::Logprobs => "log-probabilities",
            Self::Scores => "scores of given answers",
            Self::RawScores => "scores of given continuations of raw text",
            Self::Choices => "completions that are one of several",
            Self::JsonSchema => "completions that satisfy a JSON schema",
        })
    }
}

/// The field that constrains a completion to given texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChoiceForm {
    /// vLLM, `docs/features/structured_outputs.md`.
    StructuredOutputs,
    /// SGLang, `docs/advanced_features/structured_outputs.md`.
    Regex,
    /// llama.cpp, `tools/server/README.md` and `grammars/README.md`.
    Grammar,
}

/// How a server scores a given continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScoreForm {
    /// `/completions` with `echo`: log-probabilities of the tokens of the prompt.
    Echo,
    /// The same, with prompt and continuation tokenized separately by the server's `/tokenize`.
    EchoTokens,
    /// Token by token: a bias forces the next token, and its log-probability is that without the bias.
    Forced,
    /// The most likely first tokens of an answer, for continuations of one token.
    FirstToken,
}

/// What one server supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// The field for the maximum number of tokens of a chat completion.
    pub(crate) max_tokens: &'static str,
    pub(crate) seed: &'static str,
    /// The value of `top_k` that keeps all tokens. None if the server has neither `top_k` nor `min_p`.
    pub(crate) all_top_k: Option<i64>,
    /// The field for the repetition penalty.
    pub(crate) repetition_penalty: Option<&'static str>,
    pub(crate) choices: Option<ChoiceForm>,
    /// For raw prompts.
    pub(crate) scores: ScoreForm,
    /// For chats.
    pub(crate) chat_scores: ScoreForm,
    /// The fields that continue the last message, and whether that may have any role.
    pub(crate) unfinished: Option<(&'static [(&'static str, bool)], bool)>,
}

impl Server {
    /// The table of abilities.
    pub(crate) const fn abilities(self) -> Abilities {
        let plain = Abilities {
            max_tokens: "max_tokens",
            seed: "seed",
            all_top_k: None,
            repetition_penalty: None,
            choices: None,
            scores: ScoreForm::Echo,
            chat_scores: ScoreForm::FirstToken,
            unfinished: None,
        };
        const GO_ON: &[(&str, bool)] = &[
            ("add_generation_prompt", false),
            ("continue_final_message", true),
        ];
        match self {
            Self::OpenAi => Abilities {
                max_tokens: "max_completion_tokens",
                scores: ScoreForm::FirstToken,
                ..plain
            },
            Self::Vllm => Abilities {
                all_top_k: Some(-1),
                repetition_penalty: Some("repetition_penalty"),
                choices: Some(ChoiceForm::StructuredOutputs),
                scores: ScoreForm::EchoTokens,
                chat_scores: ScoreForm::EchoTokens,
                unfinished: Some((GO_ON, true)),
                ..plain
            },
            Self::Sglang => Abilities {
                all_top_k: Some(-1),
                repetition_penalty: Some("repetition_penalty"),
                choices: Some(ChoiceForm::Regex),
                unfinished: Some((&[("continue_final_message", true)], false)),
                ..plain
            },
            Self::LlamaCpp => Abilities {
                all_top_k: Some(0),
                repetition_penalty: Some("repeat_penalty"),
                choices: Some(ChoiceForm::Grammar),
                scores: ScoreForm::Forced,
                chat_scores: ScoreForm::Forced,
                unfinished: Some((&[], false)),
                ..plain
            },
            Self::Mistral => Abilities {
                seed: "random_seed",
                ..plain
            },
            Self::Other => plain,
        }
    }

    /// Guesses the server from the owner of the models in `/models`.
    pub(crate) fn of_owner(owner: &str) -> Self {
        match owner {
            "llamacpp" => Self::LlamaCpp,
            "vllm" => Self::Vllm,
            "sglang" => Self::Sglang,
            "mistralai" => Self::Mistral,
            "openai" | "openai-internal" | "system" => Self::OpenAi,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenAi => "OpenAI",
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::LlamaCpp => "llama.cpp",
            Self::Mistral => "Mistral's API",
            Self::Other => "a server of unknown kind",
        })
    }
}
