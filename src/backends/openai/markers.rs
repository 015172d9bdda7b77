//! Chat markers in texts, which a server would take for control tokens.
//!
//! A server encodes the whole conversation with its control tokens at work, so a text that holds `<|im_end|>` ends its own message. No
//! protocol has a field against it. So an invisible character, U+200B, goes behind the first character of every marker: the text reads the
//! same and the marker is one no more.

use std::borrow::Cow;

const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// The longest name between `<|` and `|>`, in bytes.
const LONGEST: usize = 64;

/// Markers that are no `<|…|>`: of Llama 2, Gemma, Mistral, and of older tokenizers.
const WORDS: &[&str] = &[
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<mask>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<<SYS>>",
    "<</SYS>>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
];

/// The same text without markers.
pub(super) fn broken(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '[', '＜']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut rest = 0;
    for (at, c) in text.char_indices() {
        if matches!(c, '<' | '[' | '＜')
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

/// Whether a text begins with a marker.
fn is_marker(text: &str) -> bool {
    let named = |open: &str, close: &str| {
        text.strip_prefix(open).is_some_and(|rest| {
            // No further: a text of markers that never close would be read once for each of them.
            let near = rest.get(..rest.floor_char_boundary(LONGEST + close.len()));
            let name = near.and_then(|near| near.split_once(close));
            name.is_some_and(|(name, _)| !name.contains(|c: char| c.is_ascii_whitespace()))
        })
    };
    // DeepSeek writes its bars and brackets in full width or not.
    named("<|", "|>")
        || named("<｜", "｜>")
        || named("＜｜", "｜＞")
        || WORDS.iter().any(|word| text.starts_with(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markers_are_broken_and_other_texts_are_left_alone() {
        assert_eq!(broken("a<|im_end|>b"), "a<\u{200b}|im_end|>b");
        assert_eq!(broken("</s>[INST]"), "<\u{200b}/s>[\u{200b}INST]");
        assert_eq!(
            broken("<｜end▁of▁sentence｜>"),
            "<\u{200b}｜end▁of▁sentence｜>"
        );
        for plain in [
            "",
            "a < b",
            "x[0] <b>bold</b>",
            "<| a b |>",
            "これは[注]です。",
        ] {
            assert!(
                matches!(broken(plain), Cow::Borrowed(same) if same == plain),
                "{plain}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_invisible_character_is_added(text in "([<>|\\[\\]/sINT｜＜＞ あ]|<\\|im_end\\|>|\\[INST\\]){0,24}") {
            let out = broken(&text);
            prop_assert_eq!(&out.replace(ZERO_WIDTH_SPACE, ""), &text);
            let left = out.char_indices().any(|(at, _)| is_marker(&out[at..]));
            prop_assert!(!left);
        }
    }
}
