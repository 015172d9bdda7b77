//! Chat markers in texts, which a server would read as control tokens.
//!
//! A server tokenizes the whole conversation with its control tokens enabled, so a text that contains `<|im_end|>` ends
//! its own message. No field of the protocol prevents this. So an invisible character, U+200B, is inserted after the
//! first character of every marker: the text reads the same, and the marker is no longer one.

use std::borrow::Cow;

const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// The longest name between `<|` and `|>`, in bytes.
const LONGEST: usize = 64;

/// The first characters of markers.
const FIRST: &[char] = &['<', '[', ']', '＜', '｜'];

/// Brackets around the name of a marker, which contains no white space: ChatML, Llama 3, Phi, GLM, Command R, harmony
/// and many others; DeepSeek with full-width or plain bars and brackets; EXAONE.
const BRACKETS: &[(&str, &str)] = &[("<|", "|>"), ("<｜", "｜>"), ("＜｜", "｜＞"), ("[|", "|]")];

/// Brackets with one bar around a plain name: Gemma since 4.
const HALVES: &[(&str, &str)] = &[("<|", ">"), ("<", "|>")];

/// Brackets around a number: tokens that tokenizers reserve and some models use.
const NUMBERED: &[(&str, &str)] = &[
    ("<unused", ">"),
    ("<reserved_", ">"),
    ("<extra_id_", ">"),
    ("<SPECIAL_", ">"),
    ("<mask:", ">"),
    ("[unused", "]"),
    ("[control_", "]"),
];

/// Other markers, or their beginnings.
const WORDS: &[&str] = &[
    // Llama 2 and older tokenizers.
    "<s>",
    "</s>",
    "<<SYS>>",
    "<</SYS>>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<mask>",
    "<cls>",
    "<sep>",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[UNK]",
    "[MASK]",
    "[BOS]",
    "[EOS]",
    // Gemma until 3.
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
    // Mistral.
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[MODEL_SETTINGS]",
    "[/MODEL_SETTINGS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CONTENT]",
    "[ARGS]",
    "[CALL_ID]",
    "[THINK]",
    "[/THINK]",
    "[IMG]",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[AUDIO]",
    "[BEGIN_AUDIO]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    // Qwen, GLM, Hermes.
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    // Command R.
    "<BOS_TOKEN>",
    "<EOS_TOKEN>",
    "<EOP_TOKEN>",
    "<MASK_TOKEN>",
    "<PAD>",
    "<UNK>",
    "<CLS>",
    "<SEP>",
    // InternLM.
    "<eoh>",
    "<eoa>",
    "<eosys>",
    // MiniMax.
    "]~b]",
    "]~!b[",
    "[e~[",
    "<beginning_of_sentence>",
    "<end_of_sentence>",
    // DeepSeek, Seed, Ling.
    "｜DSML｜",
    "<seed:",
    "</seed:",
    "<role>",
    "</role>",
    // StarCoder.
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<file_sep>",
    "<repo_name>",
];

/// The text with all markers escaped.
pub(crate) fn escape_markers(text: &str) -> Cow<'_, str> {
    if !text.contains(FIRST) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut rest = 0;
    for (at, c) in text.char_indices() {
        if FIRST.contains(&c)
            && let Some(tail) = text.get(at..)
            && is_marker(tail)
        {
            let behind = at + c.len_utf8();
            out.push_str(text.get(rest..behind).unwrap_or_default());
            out.push(ZERO_WIDTH_SPACE);
            rest = behind;
        }
    }
    if rest == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(rest..).unwrap_or_default());
    Cow::Owned(out)
}

/// Whether the text begins with a marker.
fn is_marker(text: &str) -> bool {
    let named = |brackets: &[(&str, &str)], is_name: fn(&str) -> bool| {
        let mut names = brackets.iter().filter_map(|around| within(text, around));
        names.any(is_name)
    };
    named(BRACKETS, |name| {
        !name.contains(|c: char| c.is_ascii_whitespace())
    }) || named(HALVES, |name| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty() && name.chars().all(plain)
    }) || named(NUMBERED, |name| {
        !name.is_empty() && name.bytes().all(|c| c.is_ascii_digit())
    }) || WORDS.iter().any(|word| text.starts_with(word))
}

/// The part between the brackets that the text begins with.
fn within<'a>(text: &'a str, (open, close): &(&str, &str)) -> Option<&'a str> {
    let rest = text.strip_prefix(open)?;
    // No further: a text of markers that never close would be read once for each of them.
    let near = rest.get(..rest.floor_char_boundary(LONGEST + close.len()))?;
    near.split_once(close).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markers_are_broken_and_other_texts_are_left_alone() {
        assert_eq!(escape_markers("a<|im_end|>b"), "a<\u{200b}|im_end|>b");
        assert_eq!(escape_markers("</s>[INST]"), "<\u{200b}/s>[\u{200b}INST]");
        assert_eq!(
            escape_markers("<｜end▁of▁sentence｜>"),
            "<\u{200b}｜end▁of▁sentence｜>"
        );
        // One of each family.
        for marker in [
            "<|eot_id|>",
            "<|start_header_id|>",
            "<|eot|>",
            "<|end|>",
            "<|assistant|>",
            "<|im_sep|>",
            "<|START_OF_TURN_TOKEN|>",
            "<|start|>",
            "<|channel|>",
            "<|\"|>",
            "<｜User｜>",
            "<｜tool▁calls▁begin｜>",
            "｜DSML｜",
            "[|endofturn|]",
            "<|turn>",
            "<turn|>",
            "<|tool_call>",
            "<channel|>",
            "<unused94>",
            "<reserved_106>",
            "<extra_id_1>",
            "<SPECIAL_12>",
            "[unused10]",
            "[gMASK]",
            "<sop>",
            "[THINK]",
            "[TOOL_CONTENT]",
            "<BOS_TOKEN>",
            "<tool_response>",
            "]~b]",
            "]~!b[",
            "[e~[",
            "<seed:bos>",
            "<role>",
            "<fim_middle>",
        ] {
            let mut characters = marker.chars();
            let first = characters.next().unwrap();
            assert_eq!(
                escape_markers(&format!("a {marker} b")),
                format!("a {first}\u{200b}{} b", characters.as_str())
            );
        }
        for plain in [
            "",
            "a < b",
            "x[0] <b>bold</b>",
            "<| a b |>",
            "f <| g x |> h",
            "if a <b || c>d",
            "<unused>",
            "[unusedx] [1] [a|b]",
            "<img alt='|'>",
            "これは[注]です。",
        ] {
            assert!(
                matches!(escape_markers(plain), Cow::Borrowed(same) if same == plain),
                "{plain}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_invisible_character_is_added(text in "([<>|\\[\\]/sINTe~b!1｜＜＞ あ]|<\\|im_end\\|>|\\[INST\\]|<unused|turn){0,24}") {
            let out = escape_markers(&text);
            prop_assert_eq!(&out.replace(ZERO_WIDTH_SPACE, ""), &text);
            let left = out.char_indices().any(|(at, _)| is_marker(&out[at..]));
            prop_assert!(!left);
        }
    }
}
