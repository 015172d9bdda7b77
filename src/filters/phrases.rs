//! Lists of phrases in data files, and how a phrase is found in a text.

use std::collections::HashMap;

use crate::text::normal_form;

/// The phrases of a file by section, in normal form.
///
/// A line is `[section]`, a comment that begins with `#`, or a phrase; `{a,b}` in a phrase stands for alternatives.
pub(super) fn sections(text: &str) -> HashMap<&str, Vec<String>> {
    let mut sections: HashMap<&str, Vec<String>> = HashMap::new();
    let mut section = "";
    for line in text.lines().map(str::trim) {
        let head = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'));
        match head {
            Some(head) => section = head,
            None if line.is_empty() || line.starts_with('#') => {}
            None => {
                let phrases = expand(line).into_iter().map(|phrase| normal(&phrase));
                sections.entry(section).or_default().extend(phrases);
            }
        }
    }
    sections
}

/// The normal form of a text, with straight apostrophes.
pub(super) fn normal(text: &str) -> String {
    normal_form(text).replace(['’', '‘', 'ʼ', '`'], "'")
}

/// Whether the phrase stands in the text, from the beginning of a word. Both are in normal form.
pub(super) fn has(text: &str, phrase: &str) -> bool {
    let ascii = phrase.starts_with(|c: char| c.is_ascii_alphanumeric());
    text.match_indices(phrase).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        !(ascii && before.is_some_and(|c| c.is_ascii_alphanumeric()))
    })
}

/// All phrases of a line: `{a,b} c` gives `a c` and `b c`.
fn expand(line: &str) -> Vec<String> {
    let braces = line.split_once('{').and_then(|(head, rest)| {
        let (choices, tail) = rest.split_once('}')?;
        Some((head, choices, tail))
    });
    let Some((head, choices, tail)) = braces else {
        return vec![line.to_owned()];
    };
    let tails = expand(tail);
    choices
        .split(',')
        .flat_map(|choice| {
            tails
                .iter()
                .map(move |tail| format!("{head}{choice}{tail}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_multiply() {
        assert_eq!(expand("{a,b} {c,d}!"), ["a c!", "a d!", "b c!", "b d!"]);
        assert_eq!(expand("plain {open"), ["plain {open"]);
    }

    #[test]
    fn phrases_are_read_by_section() {
        let sections = sections("# words\n[one]\nA {b,c}\n\n[two]\n# no\nＤ\n");
        assert_eq!(sections["one"], ["a b", "a c"]);
        assert_eq!(sections["two"], ["d"]);
        assert_eq!(sections.len(), 2);
    }

    #[test]
    fn phrases_begin_at_the_beginning_of_a_word() {
        assert!(has("so i can't help", "i can't"));
        assert!(!has("hawaii can't help", "i can't"));
        assert!(has("それはお手伝いできません", "お手伝いできません"));
    }
}
