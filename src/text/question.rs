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

/// Set phrases in polite form, which claim nothing.
const PHRASES: &[&str] = &["すみません", "ございます", "ございました", "ますます"];

/// Particles that may stand behind a polite form, and have no place before か.
const PARTICLES: &[&str] = &["よね", "よ", "ね"];

/// Whether a text ends as a question: with a question mark, or in Japanese with か.
pub(crate) fn is_question(text: &str) -> bool {
    let text = text.trim_end_matches(['"', '”', '」', '』', ' ']);
    text.ends_with(['?', '？']) || text.trim_end_matches(['。', '．']).ends_with('か')
}

/// What a Japanese text asks, where its end does not ask.
///
/// The text up to its first sentence that asks for something. If none does, its first sentence, made a question by the
/// particle か where it is in polite form: models often state the claim that the question is about. `None` if the text ends
/// with what it asks, or if nothing of this applies.
pub(crate) fn japanese_question(text: &str) -> Option<String> {
    if asks(text) {
        return None;
    }
    let mut end = 0;
    for sentence in text.split_inclusive(['。', '！', '？']) {
        end += sentence.len();
        let so_far = text.get(..end).unwrap_or_default();
        if asks(sentence) && is_balanced(so_far) {
            return Some(so_far.trim().to_owned());
        }
    }
    let first = text.split_inclusive(['。', '！', '!']).next()?;
    let bare = first.trim().trim_end_matches(MARKS);
    let bare = PARTICLES
        .iter()
        .find_map(|particle| bare.strip_suffix(particle))
        .unwrap_or(bare);
    let polite = POLITE.iter().any(|end| bare.ends_with(end));
    let is_phrase = PHRASES.iter().any(|end| bare.ends_with(end));
    (polite && !is_phrase && is_balanced(bare)).then(|| format!("{bare}か。"))
}

/// Whether each bracket that is opened is closed.
fn is_balanced(text: &str) -> bool {
    [('「', '」'), ('『', '』'), ('（', '）'), ('(', ')')]
        .iter()
        .all(|(open, close)| text.matches(*open).count() == text.matches(*close).count())
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
                "出かけます。傘は要りますか。雨です。",
                "出かけます。傘は要りますか。",
            ),
            ("傘、要る？ 要らないよ。", "傘、要る？"),
        ] {
            assert_eq!(japanese_question(text).as_deref(), Some(question));
        }
    }

    #[test]
    fn a_japanese_text_that_ends_with_what_it_asks_stays() {
        for text in [
            "傘の選び方を教えてください。",
            "出かけます。傘は要りますか。",
            "そうですか。傘の利点を教えてください。",
            "「傘は要りますか。」と聞かれたら、どう答えますか。",
            "https://example.jp/?q=1 を開く方法を教えてください。",
        ] {
            assert_eq!(japanese_question(text), None, "{text}");
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
            ("「傘は要りますか。」と言う。", None),
            ("すみません。", None),
            ("ありがとうございます。", None),
            ("傘", None),
            ("", None),
        ] {
            assert_eq!(japanese_question(text).as_deref(), question, "{text}");
        }
    }
}
