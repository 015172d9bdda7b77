//! Words, n-grams, and the overlap of two texts.

use std::{collections::HashSet, hash::Hash};

use unicode_segmentation::UnicodeSegmentation;

use super::normal_form;

/// Whether the character belongs to a script that is written without spaces between words.
pub(crate) fn is_unspaced(c: char) -> bool {
    is_kana(c)
        || is_han(c)
        || matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// Hiragana and katakana, half-width ones included.
pub(crate) fn is_kana(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' | '\u{1b000}'..='\u{1b16f}')
}

/// Chinese characters, in whichever language.
pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{3005}' | '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Hangul syllables and letters.
pub(crate) fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}')
}

/// Words as Unicode segments them (UAX #29): in scripts without spaces nearly every character is one; a run of katakana
/// is one.
pub(crate) fn word_count(text: &str) -> usize {
    text.unicode_words().count()
}

/// A text as a sequence of what n-grams are made of.
#[derive(Debug, PartialEq)]
pub(crate) enum Units {
    /// Words, if most of the text is written with spaces.
    Words(Vec<String>),
    /// Letters and digits, if most of it is not.
    Chars(Vec<char>),
}

impl Units {
    /// The units of a text in normal form, punctuation left out.
    pub(crate) fn of(text: &str) -> Self {
        if Self::are_chars(text) {
            Self::Chars(Self::chars(text))
        } else {
            Self::Words(Self::words(text))
        }
    }

    /// Whether most units of the text are characters of a script without spaces.
    pub(crate) fn are_chars(text: &str) -> bool {
        let words: usize = text.unicode_words().count();
        let unspaced = text
            .unicode_words()
            .filter(|word| word.chars().any(is_unspaced))
            .count();
        unspaced * 2 > words
    }

    pub(crate) fn words(text: &str) -> Vec<String> {
        let text = normal_form(text);
        text.unicode_words().map(str::to_owned).collect()
    }

    pub(crate) fn chars(text: &str) -> Vec<char> {
        let text = normal_form(text);
        text.chars().filter(|c| c.is_alphanumeric()).collect()
    }
}

/// The share of the shorter sequence's distinct n-grams that stand in the longer one; `None` if it has no n-gram.
pub(crate) fn containment<T: Eq + Hash>(a: &[T], b: &[T], n: usize) -> Option<f64> {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    coverage(short, long, n)
}

/// The share of the distinct n-grams of `whole` that stand in `part`; `None` if it has no n-gram.
pub(crate) fn coverage<T: Eq + Hash>(whole: &[T], part: &[T], n: usize) -> Option<f64> {
    let grams: HashSet<&[T]> = whole.windows(n.max(1)).collect();
    if grams.is_empty() {
        return None;
    }
    let known: HashSet<&[T]> = part.windows(n.max(1)).collect();
    let shared = grams.iter().filter(|gram| known.contains(*gram)).count();
    Some(shared as f64 / grams.len() as f64)
}

/// The share of a sequence's n-grams that are distinct: 1 if none comes twice. `None` if it has no n-gram.
pub(crate) fn distinct_share<T: Eq + Hash>(sequence: &[T], n: usize) -> Option<f64> {
    let grams = sequence.windows(n.max(1));
    let total = grams.len();
    let distinct: HashSet<&[T]> = grams.collect();
    (total > 0).then(|| distinct.len() as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_shorter_text() {
        let (a, b) = (Units::chars("abcdef"), Units::chars("xxabcdexx"));
        assert_eq!(containment(&a, &b, 3), Some(0.75));
        assert_eq!(containment(&b, &a, 3), Some(0.75));
        assert_eq!(containment(&a, &b, 9), None);
        assert_eq!(distinct_share(&Units::chars("ababab"), 2), Some(0.4));
    }

    #[test]
    fn japanese_is_read_by_the_character() {
        assert_eq!(
            Units::of("猫が、好き!"),
            Units::Chars("猫が好き".chars().collect())
        );
        let words = ["tell", "me", "about", "武", "士"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(Units::of("Tell me about 武士!"), Units::Words(words));
    }
}
