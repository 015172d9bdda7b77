//! Reads from the messages of servers by how much a request is too long.

/// Phrases before the number of tokens that the context holds.
const LIMITS: &[&str] = &[
    // OpenAI, vLLM, SGLang, OpenRouter, DeepSeek.
    "maximum context length is ",
    "maximum context length of ",
    // OpenAI.
    "configured limit of ",
    // vLLM.
    "context length is only ",
    "maximum model length of ",
    // SGLang.
    "model's context length (",
    // llama.cpp.
    "available context size (",
];
/// Phrases before the number of all tokens that the request needs.
const TOTALS: &[&str] = &[
    "for a total of at least ",
    "requested a total of ",
    "you requested about ",
    "you requested ",
    "resulted in ",
];
/// Phrases before the number of tokens of the prompt.
const PROMPTS: &[&str] = &[
    "you passed ",
    "your request has ",
    "contains at least ",
    "prompt contains ",
    "prompt (length ",
    "the input (",
    "request (",
];
/// Phrases before the number of tokens requested for the answer.
const ANSWERS: &[&str] = &[
    "max_completion_tokens' is too large: ",
    "you requested ",
    "and requested ",
];

/// The tokens that a request needs, including those requested for the answer if the message names them, and the tokens
/// that the context holds.
pub(crate) fn needed_and_limit(words: &str) -> Option<(usize, usize)> {
    let words = words.to_lowercase();
    let find = |phrases: &[&str], units: &[&str]| number(&words, phrases, units);
    let limit = find(LIMITS, &[" tokens", ".", ","])?;
    let needed = find(TOTALS, &[" tokens"]).or_else(|| {
        let prompt = find(PROMPTS, &[" input tokens", " tokens", ")"])?;
        let answer = find(ANSWERS, &[" output tokens", "."]).unwrap_or(0);
        Some(prompt.saturating_add(answer))
    })?;
    // SGLang wants one token less than the context holds.
    (needed >= limit).then(|| (needed.max(limit.saturating_add(1)), limit))
}

/// The number after one of the phrases, if it counts the right unit.
fn number(words: &str, phrases: &[&str], units: &[&str]) -> Option<usize> {
    phrases.iter().find_map(|phrase| {
        words.match_indices(phrase).find_map(|(at, _)| {
            let behind = words.get(at + phrase.len()..)?;
            let digits = behind
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(behind.len());
            let (digits, unit) = behind.split_at(digits);
            let counts = unit.is_empty() || units.iter().any(|known| unit.starts_with(known));
            digits.parse().ok().filter(|_| counts)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the servers write them.
    const SENTENCES: &[(&str, Option<(usize, usize)>)] = &[
        // OpenAI.
        (
            "This model's maximum context length is 4097 tokens, however you requested 4161 tokens (3905 in your prompt; 256 for the completion). Please reduce your prompt; or completion length.",
            Some((4161, 4097)),
        ),
        (
            "This model's maximum context length is 4097 tokens. However, your messages resulted in 6164 tokens. Please reduce the length of the messages.",
            Some((6164, 4097)),
        ),
        (
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 509178 tokens. Please reduce the length of the messages.",
            Some((509_178, 272_000)),
        ),
        (
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            None,
        ),
        // vLLM, until 0.8.
        (
            "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.",
            Some((122_946, 16_384)),
        ),
        (
            "This model's maximum context length is 512 tokens. However, you requested 600 tokens in the input for embedding generation. Please reduce the length of the input.",
            Some((600, 512)),
        ),
        // vLLM, until 0.13.
        (
            "This model's maximum context length is 40960 tokens. However, your request has 73043 input tokens. Please reduce the length of the input messages.",
            Some((73_043, 40_960)),
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 8000. This model's maximum context length is 4096 tokens and your request has 2778 input tokens (8000 > 4096 - 2778). None",
            Some((10_778, 4096)),
        ),
        (
            "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that `max_model_len` is no smaller than the number of text tokens.",
            Some((5000, 4096)),
        ),
        // vLLM, since.
        (
            "You passed 4000 input tokens and requested 500 output tokens. However, the model's context length is only 4096 tokens, resulting in a maximum input length of 3596 tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=4000)",
            Some((4500, 4096)),
        ),
        (
            "You passed 90000 input characters and requested 500 output tokens. However, the model's context length is only 4096 tokens, resulting in a maximum input length of 3596 tokens (at most 57536 characters). Please reduce the length of the input prompt.",
            None,
        ),
        (
            "This model's maximum context length is 131072 tokens. However, you requested 1024 output tokens and your prompt contains at least 130049 input tokens, for a total of at least 131073 tokens. Please reduce the length of the input prompt or the number of requested output tokens. (parameter=input_tokens, value=130049)",
            Some((131_073, 131_072)),
        ),
        (
            "this model's maximum context length is 4096 tokens, but the prompt contains 5000 input tokens",
            Some((5000, 4096)),
        ),
        // SGLang.
        (
            "The input (516368 tokens) is longer than the model's context length (262144 tokens).",
            Some((516_368, 262_144)),
        ),
        (
            "The input (4096 tokens) is longer than the model's context length (4096 tokens).",
            Some((4097, 4096)),
        ),
        (
            "Requested token count exceeds the model's maximum context length of 64000 tokens. You requested a total of 71897 tokens: 7897 tokens from the input messages and 64000 tokens for the completion. Please reduce the number of tokens in the input messages or the completion to fit within the limit.",
            Some((71_897, 64_000)),
        ),
        // llama.cpp.
        (
            "request (24031 tokens) exceeds the available context size (2048 tokens), try increasing it",
            Some((24_031, 2048)),
        ),
        (
            "the request exceeds the available context size, try increasing it",
            None,
        ),
        // OpenRouter and DeepSeek.
        (
            "This endpoint's maximum context length is 8192 tokens. However, you requested about 12000 tokens (10000 of text input, 2000 in the output). Please reduce the length of either one, or use the \"middle-out\" transform to compress your prompt automatically.",
            Some((12_000, 8192)),
        ),
        (
            "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens (70000 in the messages, 0 in the completion). Please reduce the length of the messages or completion.",
            Some((70_000, 65_536)),
        ),
        // What is none.
        (
            "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you provided 32000.",
            None,
        ),
        ("context length 4096", None),
        ("", None),
    ];

    #[test]
    fn the_sentences_of_servers_are_read() {
        for (sentence, numbers) in SENTENCES {
            assert_eq!(needed_and_limit(sentence), *numbers, "{sentence}");
        }
    }
}
