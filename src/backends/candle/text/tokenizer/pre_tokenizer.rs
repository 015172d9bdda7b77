//! The pre-tokenizers that GGUF files name in `tokenizer.ggml.pre`.

use tokenizers::{
    PreTokenizerWrapper, SplitDelimiterBehavior,
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

/// `Qwen/Qwen2.5-1.5B-Instruct`, `tokenizer.json`.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `meta-llama/Llama-3.2-1B-Instruct`, `tokenizer.json`.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `mistralai/Mistral-Nemo-Instruct-2407`, `tokenizer.json`. llama.cpp takes every letter but `A-Z` and `a-z` for both
/// a capital and a small one, and so cuts some words in other places, such as `ПриветМир`.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The names that [`pre_tokenizer`] knows.
pub(super) const KNOWN: &str =
    "gpt-2, smollm, qwen2, deepseek-r1-qwen, llama-bpe, llama3, llama-v3, tekken";

/// Cuts a text into the words that merges stay inside of; `None` for an unknown name.
///
/// Each word comes out in the byte alphabet of GPT-2. None of them normalises the text, as in llama.cpp: a text comes
/// back from its tokens as it was.
pub(super) fn pre_tokenizer(name: &str) -> Option<tokenizers::Result<PreTokenizerWrapper>> {
    let gpt2 = ByteLevel::new(false, false, true);
    match name {
        "gpt-2" => Some(Ok(gpt2.into())),
        "smollm" => Some(Ok(sequence(Digits::new(true).into(), gpt2))),
        "qwen2" | "deepseek-r1-qwen" => Some(by_regex(QWEN2)),
        "llama-bpe" | "llama3" | "llama-v3" => Some(by_regex(LLAMA3)),
        "tekken" => Some(by_regex(TEKKEN)),
        _ => None,
    }
}

/// The same, but cuts at characters of the byte alphabet that have no token and leaves them out.
///
/// The merges would leave them out too, but join what stands on either side, which llama.cpp does not.
pub(super) fn leaving_out(
    characters: &str,
    first: PreTokenizerWrapper,
) -> tokenizers::Result<PreTokenizerWrapper> {
    if characters.is_empty() {
        return Ok(first);
    }
    let class: String = characters
        .chars()
        .map(|c| format!("\\x{{{:X}}}", u32::from(c)))
        .collect();
    let pattern = SplitPattern::Regex(format!("[{class}]"));
    let cut = Split::new(pattern, SplitDelimiterBehavior::Removed, false)?;
    Ok(Sequence::new(vec![first, cut.into()]).into())
}

fn by_regex(regex: &str) -> tokenizers::Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(regex.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
    Ok(sequence(split.into(), ByteLevel::new(false, false, false)))
}

fn sequence(first: PreTokenizerWrapper, bytes: ByteLevel) -> PreTokenizerWrapper {
    Sequence::new(vec![first, bytes.into()]).into()
}
