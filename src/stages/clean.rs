//! Reads an instruction out of a model's answer.

use crate::{
    error::{Error, Result},
    text::{has_words, japanese_question},
};

/// Words that models put before the instruction, in lower case.
const LABELS: &[&str] = &[
    "instruction",
    "request",
    "prompt",
    "question",
    "指示",
    "依頼",
    "質問",
    "指令",
    "요청",
    "지시",
];

/// Quotation marks that may surround the whole instruction.
const QUOTES: &[(char, char)] = &[
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('“', '”'),
    ('‘', '’'),
    ('«', '»'),
    ('「', '」'),
    ('『', '』'),
];

/// Characters that Markdown puts around a label.
const MARKS: &[char] = &['#', '*', '_', ' ', '\t', '\u{3000}'];

/// An instruction that was read, and whether it ended before the answer did.
pub(crate) struct Cleaned {
    pub(crate) text: String,
    pub(crate) ended: bool,
}

/// The first line of the answer that says something, without label and surrounding quotation marks.
pub(crate) fn first_line(answer: &str) -> Result<Cleaned> {
    let mut lines = answer.lines();
    for line in lines.by_ref() {
        let text = unquoted(unlabelled(line));
        if has_words(text) {
            return Ok(Cleaned {
                text: text.to_owned(),
                ended: lines.next().is_some(),
            });
        }
    }
    Err(Error::malformed("an instruction"))
}

/// The first line of the answer to a Japanese prompt, which asks for a question: up to the question in it, or its statement
/// made a question. A model that writes more copies the source text.
///
/// What the source text says of "your" things (あなたの, あなたに), the person who asks says of "my" things (私の, 私に).
pub(crate) fn japanese_line(answer: &str, source: &str) -> Result<Cleaned> {
    let mut cleaned = first_line(answer)?;
    if let Some(question) = japanese_question(&cleaned.text) {
        // What is cut off by the limit of tokens has no end of a sentence.
        cleaned.ended |= cleaned.text.contains(['。', '！', '？']);
        cleaned.text = question;
    }
    for (yours, mine) in [("あなたの", "私の"), ("あなたに", "私に")] {
        if source.contains(yours) {
            cleaned.text = cleaned.text.replace(yours, mine);
        }
    }
    Ok(cleaned)
}

/// The whole answer, without label and surrounding quotation marks.
pub(crate) fn whole(answer: &str) -> Result<Cleaned> {
    let text = unquoted(unlabelled(answer));
    if has_words(text) {
        Ok(Cleaned {
            text: text.to_owned(),
            ended: false,
        })
    } else {
        Err(Error::malformed("an instruction"))
    }
}

/// Takes off one label with its colon, such as `**Instruction:**` or `指示：`.
fn unlabelled(text: &str) -> &str {
    let text = text.trim();
    let Some((label, rest)) = text.split_once([':', '：']) else {
        return text;
    };
    let label = label.trim_matches(MARKS).to_lowercase();
    if LABELS.contains(&label.as_str()) {
        rest.trim_start_matches(MARKS).trim_end()
    } else {
        text
    }
}

/// Takes off one pair of quotation marks, if it surrounds the whole text and none of the kind stands inside.
fn unquoted(text: &str) -> &str {
    QUOTES
        .iter()
        .find_map(|(open, close)| {
            let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
            (!inner.contains([*open, *close])).then_some(inner.trim())
        })
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_quotes_and_further_lines_go() {
        for (answer, instruction) in [
            ("  Write a poem. \n\nSure, here it is", "Write a poem."),
            ("Instruction: Write a poem.", "Write a poem."),
            ("**Instruction:** \"Write a poem.\"", "Write a poem."),
            ("### Instruction:\nWrite a poem.", "Write a poem."),
            ("\n---\nWrite a poem.", "Write a poem."),
            ("「詩を書いてください。」", "詩を書いてください。"),
            ("指示：『詩を書いてください。』", "詩を書いてください。"),
            ("\"Yes\" or \"no\"?", "\"Yes\" or \"no\"?"),
            ("Translate: good day", "Translate: good day"),
            ("「猫」と「犬」", "「猫」と「犬」"),
        ] {
            assert_eq!(first_line(answer).unwrap().text, instruction);
        }
        for answer in ["", "  \n", "...", "Instruction:", "「」"] {
            assert!(first_line(answer).is_err(), "{answer:?}");
            assert!(whole(answer).is_err(), "{answer:?}");
        }
        let source = "あなたの傘は大きすぎます。";
        for (answer, instruction, ended) in [
            (
                "私の傘をどう思いますか。",
                "私の傘をどう思いますか。",
                false,
            ),
            (
                "質問：「あなたの傘は大きいです。」",
                "私の傘は大きいですか。",
                true,
            ),
            ("あなたの傘", "私の傘", false),
            (
                "あなたはどう思いますか。",
                "あなたはどう思いますか。",
                false,
            ),
        ] {
            let cleaned = japanese_line(answer, source).unwrap();
            assert_eq!((cleaned.text.as_str(), cleaned.ended), (instruction, ended));
        }
        assert_eq!(whole("Sort:\n3\n1").unwrap().text, "Sort:\n3\n1");
    }

    proptest! {
        #[test]
        fn any_answer_gives_a_line_with_words_or_an_error(answer in "\\PC{0,30}|[\"'「」:：#*\nPromptInstruction ]{0,40}") {
            if let Ok(cleaned) = first_line(&answer) {
                prop_assert!(has_words(&cleaned.text));
                prop_assert!(!cleaned.text.contains('\n'));
                prop_assert_eq!(cleaned.text.trim(), &cleaned.text);
                prop_assert!(answer.contains(&cleaned.text));
            } else {
                prop_assert!(whole(&answer).is_err() || first_line(&answer).is_err());
            }
        }
    }
}
