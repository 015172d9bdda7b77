//! Reading texts of any script: normal form, units, language.

mod language;
mod question;
mod units;

use unicode_normalization::UnicodeNormalization;

pub(crate) use language::Language;
pub(crate) use question::{is_question, japanese_question};
pub(crate) use units::{Units, containment, coverage, distinct_share, is_unspaced, word_count};

/// The form in which two texts count as the same: compatibility forms made equal (NFKC: full-width letters, half-width
/// kana, ligatures), case folded, every run of white space one space, none at the ends.
pub(crate) fn normal_form(text: &str) -> String {
    let folded = text
        .nfkc()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkc();
    let mut out = String::with_capacity(text.len());
    for c in folded {
        if !c.is_whitespace() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Whether the text says anything: has a letter or a digit of any script.
pub(crate) fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn width_case_and_space_do_not_count() {
        assert_eq!(normal_form(" ＡＢＣ　ｶﾞｲﾄﾞ\n\tStraße "), "abc ガイド strasse");
        assert_eq!(normal_form("ΟΔΟΣ"), normal_form("οδος"));
        assert_ne!(normal_form("はし"), normal_form("ばし"));
    }

    proptest! {
        #[test]
        fn the_normal_form_of_a_normal_form_is_itself(text in "\\PC{0,40}|[ \u{3000}\nA-zＡ-ｚぁ-ヿｦ-ﾟß-ŸΑ-ω]{0,40}") {
            let once = normal_form(&text);
            prop_assert_eq!(normal_form(&once), once);
        }
    }
}
