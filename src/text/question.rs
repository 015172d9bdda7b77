//! Questions: recognised, and made of Japanese statements.

/// Marks that may stand after the last word of a sentence.
const MARKS: &[char] = &[
    '。', '．', '.', '！', '!', '？', '?', '」', '』', '"', '”', ' ', '\u{3000}',
];

/// How Japanese sentences end that ask for something without a question mark.
const ASKING: &[&str] = &[
    "か",
    "かな",
    "かしら",
    "ください",
    "下さい",
    "教えて",
    "お願いします",
];

/// How Japanese statements in polite form end. With か behind it each is a question.
const POLITE: &[&str] = &["です", "ます", "ません", "でした", "ました", "でしょう"];

/// Particles that may stand behind a polite form, and have no place before か.
const PARTICLES: &[&str] = &["よね", "よ", "ね"];

/// Whether a text ends as a question: with a question mark, or in Japanese with か.
pub(crate) fn is_question(text: &str) -> bool {
    let text = text.trim_end_matches(['"', '”', '」', '』', ' ']);
    text.ends_with(['?', '？']) || text.trim_end_matches(['。', '．']).ends_with('か')
}

/// What a Japanese text asks.
///
/// The text up to its first sentence that asks for something. If none does, its first sentence, made a question by the
/// particle か where it is in polite form: models often state the claim that the question is about. `None` if nothing of this
/// applies.
pub(crate) fn japanese_question(text: &str) -> Option<String> {
    let mut end = 0;
    for sentence in text.split_inclusive(['。', '！', '!', '？', '?']) {
        end += sentence.len();
        if asks(sentence) {
            return text.get(..end).map(|asking| asking.trim().to_owned());
        }
    }
    let first = text.split_inclusive(['。', '！', '!']).next()?;
    let bare = first.trim().trim_end_matches(MARKS);
    let bare = PARTICLES
        .iter()
        .find_map(|particle| bare.strip_suffix(particle))
        .unwrap_or(bare);
    let polite = POLITE.iter().any(|end| bare.ends_with(end));
    polite.then(|| format!("{bare}か。"))
}

fn asks(sentence: &str) -> bool {
    let bare = sentence.trim().trim_end_matches(MARKS);
    sentence.trim_end().ends_with(['?', '？']) || ASKING.iter().any(|end| bare.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_end_with_their_mark_or_particle() {
        for (text, question) in [
            ("May I go?", true),
            ("行ってもいいですか。", true),
            ("行ってもいい？」", true),
            ("Go.", false),
            ("行きます。", false),
        ] {
            assert_eq!(is_question(text), question, "{text}");
        }
    }

    #[test]
    fn a_japanese_text_is_cut_behind_its_question() {
        for (text, question) in [
            ("傘は要りますか。明日は雨です。", "傘は要りますか。"),
            (
                "出かけます。傘は要りますか。",
                "出かけます。傘は要りますか。",
            ),
            (
                "傘の選び方を教えてください。",
                "傘の選び方を教えてください。",
            ),
            ("傘、要る？ 要らないよ。", "傘、要る？"),
        ] {
            assert_eq!(japanese_question(text).as_deref(), Some(question));
        }
    }

    #[test]
    fn a_polite_statement_becomes_a_question() {
        for (text, question) in [
            (
                "傘は要りません。誰も濡れませんから。",
                Some("傘は要りませんか。"),
            ),
            ("傘を借りればいいですよ！", Some("傘を借りればいいですか。")),
            ("傘は便利でしょうね", Some("傘は便利でしょうか。")),
            ("傘は要らない。", None),
            ("傘", None),
            ("", None),
        ] {
            assert_eq!(japanese_question(text).as_deref(), question, "{text}");
        }
    }
}
