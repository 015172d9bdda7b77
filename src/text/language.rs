//! Which language a text is in, as far as that can be known.

use unicode_segmentation::UnicodeSegmentation;
use whatlang::{Lang, Script};

use super::units::{is_han, is_hangul, is_kana};

/// The language of a text. The script decides first, because short texts have too few letters for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Kana stand in it, or Hangul.
    Certain(Lang),
    /// Chinese characters only: Chinese, or Japanese without kana.
    Han,
    /// Another script.
    Other {
        script: Script,
        /// The language, where the statistics are reliable.
        known: Option<Lang>,
        /// The likeliest language, reliable or not.
        likely: Option<Lang>,
    },
    /// No letters.
    Unknown,
}

impl Language {
    /// One kana in so many characters makes Chinese characters Japanese; fewer may be decoration in a Chinese text.
    const HAN_PER_KANA: usize = 20;

    /// Statistics on fewer letters than this are not used, whatever their confidence.
    const MIN_LETTERS: usize = 24;

    /// Looks at the text. A word written with spaces weighs as much as one character of a script without them.
    pub(crate) fn of(text: &str) -> Self {
        let (mut kana, mut han, mut hangul, mut other) = (0, 0, 0, 0);
        for word in text.unicode_words() {
            let kana_here = word.chars().filter(|c| is_kana(*c)).count();
            let han_here = word.chars().filter(|c| is_han(*c)).count();
            kana += kana_here;
            han += han_here;
            if word.chars().any(is_hangul) {
                hangul += 1;
            } else if kana_here + han_here == 0 && word.chars().any(char::is_alphabetic) {
                other += 1;
            }
        }
        if kana + han >= 1 && kana + han >= hangul.max(other) {
            return if kana * Self::HAN_PER_KANA >= han {
                Self::Certain(Lang::Jpn)
            } else {
                Self::Han
            };
        }
        if hangul >= 1 && hangul >= other {
            return Self::Certain(Lang::Kor);
        }
        Self::of_letters(text)
    }

    fn of_letters(text: &str) -> Self {
        let letters: String = text
            .chars()
            .filter(|c| !is_kana(*c) && !is_han(*c) && !is_hangul(*c))
            .collect();
        let Some(script) = whatlang::detect_script(&letters) else {
            return Self::Unknown;
        };
        let enough = letters.chars().filter(|c| c.is_alphabetic()).count() >= Self::MIN_LETTERS;
        let info = whatlang::detect(&letters).filter(|info| info.script() == script);
        let only = match script.langs() {
            [only] => Some(*only),
            _ => None,
        };
        let reliable = info.as_ref().filter(|info| enough && info.is_reliable());
        Self::Other {
            script,
            known: only.or(reliable.map(|info| info.lang())),
            likely: info.map(|info| info.lang()),
        }
    }

    /// Whether two texts may be in the same language: not, if their scripts or their known languages differ.
    pub(crate) fn agrees_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => true,
            (Self::Han, Self::Han) => true,
            (Self::Han, Self::Certain(lang)) | (Self::Certain(lang), Self::Han) => {
                lang == Lang::Jpn
            }
            (Self::Certain(a), Self::Certain(b)) => a == b,
            (
                Self::Other { script, known, .. },
                Self::Other {
                    script: other_script,
                    known: other_known,
                    ..
                },
            ) => script == other_script && known.zip(other_known).is_none_or(|(a, b)| a == b),
            _ => false,
        }
    }

    /// Whether a text may be in one of these languages. What the statistics do not tell counts as all languages of its
    /// script.
    pub(crate) fn is_any_of(self, languages: &[Lang]) -> bool {
        match self {
            Self::Unknown => true,
            Self::Certain(lang) => languages.contains(&lang),
            Self::Han => languages.contains(&Lang::Jpn) || languages.contains(&Lang::Cmn),
            Self::Other {
                known: Some(lang), ..
            } => languages.contains(&lang),
            Self::Other { script, .. } => {
                script.langs().iter().any(|lang| languages.contains(lang))
            }
        }
    }

    /// Whether a prompt in English suits the text: it is English, or too short to be sure but likeliest English.
    pub(crate) fn is_likely_english(self) -> bool {
        match self {
            Self::Other { known, likely, .. } => known.or(likely) == Some(Lang::Eng),
            Self::Certain(_) | Self::Han | Self::Unknown => false,
        }
    }

    /// Whether the text is surely Japanese.
    pub(crate) fn is_japanese(self) -> bool {
        self == Self::Certain(Lang::Jpn)
    }

    /// The name for people, such as `Japanese`; of the script where the language is not known.
    pub(crate) fn name(self) -> &'static str {
        match (self.lang(), self) {
            (Some(lang), _) => lang.eng_name(),
            (None, Self::Han) => "Chinese or Japanese",
            (None, Self::Other { script, .. }) => script_name(script),
            (None, _) => "unknown",
        }
    }

    /// What to call the language in a prompt: `the language of the text` where it is not known.
    pub(crate) fn in_prompt(self) -> &'static str {
        self.lang()
            .map_or("the language of the text", |lang| lang.eng_name())
    }

    fn lang(self) -> Option<Lang> {
        match self {
            Self::Certain(lang) => Some(lang),
            Self::Other { known, .. } => known,
            Self::Han | Self::Unknown => None,
        }
    }
}

fn script_name(script: Script) -> &'static str {
    match script {
        Script::Latin => "Latin script",
        Script::Cyrillic => "Cyrillic script",
        Script::Arabic => "Arabic script",
        Script::Devanagari => "Devanagari script",
        Script::Hebrew => "Hebrew script",
        _ => "another script",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_read_by_their_script() {
        for (text, name) in [
            ("はい。", "Japanese"),
            ("東京都庁舎の所在地", "Japanese"),
            ("SmolLM2モデルの説明", "Japanese"),
            ("ｶﾀｶﾅ", "Japanese"),
            ("東京都", "Chinese or Japanese"),
            ("请写一封信", "Chinese or Japanese"),
            ("안녕하세요, GPU 메모리", "Korean"),
            ("Tell me about 武士道 in one sentence.", "Latin script"),
            ("ok", "Latin script"),
            ("Привет", "Cyrillic script"),
            ("Καλημέρα", "Greek"),
            ("12:30 ?!", "unknown"),
            (
                "The sea rises and falls twice a day because the moon pulls the water on the near side \
                 of the earth more strongly than the water that is on the far side.",
                "English",
            ),
            (
                "Das Meer steigt und fällt zweimal am Tag, weil der Mond das Wasser auf der nahen Seite \
                 der Erde stärker anzieht als das Wasser auf der fernen Seite.",
                "German",
            ),
        ] {
            assert_eq!(Language::of(text).name(), name, "{text}");
        }
    }

    #[test]
    fn a_short_english_text_is_likely_english() {
        assert!(Language::of("Please write a short letter to the neighbours.").is_likely_english());
        assert!(!Language::of("Bitte schreiben Sie einen kurzen Brief.").is_likely_english());
        assert!(!Language::of("はい").is_likely_english() && Language::of("はい").is_japanese());
    }

    #[test]
    fn han_alone_agrees_with_japanese_and_chinese_but_not_with_korean() {
        let han = Language::of("東京都");
        assert!(han.agrees_with(Language::of("はい")));
        assert!(Language::of("はい").agrees_with(han));
        assert!(!han.agrees_with(Language::of("안녕")));
        assert!(!han.agrees_with(Language::of("Tokyo")));
        assert!(han.agrees_with(Language::of("42")));
    }
}
