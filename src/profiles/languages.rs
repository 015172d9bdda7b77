//! A set of languages, as a model covers them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use whatlang::Lang;

use crate::{
    error::{Error, Result},
    text::Language,
};

/// Codes of two letters (ISO 639-1) and of three (ISO 639-3), of all languages that can be recognised.
const CODES: &str = "
    af afr  ak aka  am amh  ar ara  az aze  be bel  bg bul  bn ben  ca cat  cs ces  cy cym  da dan
    de deu  el ell  en eng  eo epo  es spa  et est  fa pes  fi fin  fr fra  gu guj  he heb  hi hin
    hr hrv  hu hun  hy hye  id ind  it ita  ja jpn  jv jav  ka kat  km khm  kn kan  ko kor  la lat
    lt lit  lv lav  mk mkd  ml mal  mr mar  my mya  nb nob  ne nep  nl nld  or ori  pa pan  pl pol
    pt por  ro ron  ru rus  si sin  sk slk  sl slv  sn sna  sr srp  sv swe  ta tam  te tel  th tha
    tk tuk  tl tgl  tr tur  uk ukr  ur urd  uz uzb  vi vie  yi yid  zh cmn  zu zul
";

/// The languages that a model covers: some, or any.
///
/// Written as a list of ISO 639-1 codes such as `["en", "ja"]`; the list `["any"]` stands for every language. ISO 639-3
/// codes (`jpn`) and English names (`Japanese`) are read too.
///
/// ```
/// use safer_instruct::profiles::Languages;
///
/// let languages = Languages::of(["en", "ja"])?;
/// assert!(languages.covers("歯はいつ磨くべきですか。"));
/// assert!(!languages.covers("안녕하세요."));
/// assert_eq!(languages.to_string(), "English, Japanese");
/// # Ok::<_, safer_instruct::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Languages(Option<Vec<Lang>>);

impl Languages {
    /// Every language.
    pub const ANY: Self = Self(None);

    /// The languages of these codes or English names. The list `["any"]` gives [`ANY`](Self::ANY).
    ///
    /// # Errors
    /// [`Error::Config`] if the list is empty, or if a code is not known.
    pub fn of(codes: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let codes: Vec<_> = codes.into_iter().collect();
        if let [only] = codes.as_slice()
            && only.as_ref() == "any"
        {
            return Ok(Self::ANY);
        }
        if codes.is_empty() {
            let reason = "the list is empty; give codes such as \"en\" and \"ja\", or \"any\"";
            return Err(Error::config("languages", reason));
        }
        let mut languages = Vec::new();
        for code in &codes {
            let language = parsed(code.as_ref())?;
            if !languages.contains(&language) {
                languages.push(language);
            }
        }
        Ok(Self(Some(languages)))
    }

    /// Whether a text is in one of the languages, or cannot be told from one of them.
    #[must_use]
    pub fn covers(&self, text: &str) -> bool {
        self.uncovered(text).is_none()
    }

    /// The English name of the language of a text that is not covered.
    pub(crate) fn uncovered(&self, text: &str) -> Option<&'static str> {
        let languages = self.0.as_ref()?;
        let language = Language::of(text);
        (!language.is_any_of(languages)).then(|| language.name())
    }

    /// The ISO 639-1 codes, or `any`.
    #[must_use]
    pub fn codes(&self) -> Vec<&'static str> {
        match &self.0 {
            None => vec!["any"],
            Some(languages) => languages.iter().map(|language| code(*language)).collect(),
        }
    }
}

/// Pairs of a code of two letters and one of three.
fn codes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut words = CODES.split_whitespace();
    std::iter::from_fn(move || Some((words.next()?, words.next()?)))
}

fn code(language: Lang) -> &'static str {
    let mut codes = codes().filter(|(_, three)| *three == language.code());
    codes.next().map_or(language.code(), |(two, _)| two)
}

fn parsed(text: &str) -> Result<Lang> {
    let lower = text.to_lowercase();
    let mut matching = codes().filter(|(two, _)| *two == lower);
    let three = matching.next().map_or(lower.as_str(), |(_, three)| three);
    let by_name = || {
        let mut all = Lang::all().iter().copied();
        all.find(|lang| lang.eng_name().to_lowercase() == lower)
    };
    Lang::from_code(three).or_else(by_name).ok_or_else(|| {
        let reason = format!(
            "`{text}` is no language that can be recognised; give codes such as `en` and `ja`, or `any` alone"
        );
        Error::config("languages", reason)
    })
}

impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("any"),
            Some(languages) => {
                let names: Vec<&str> = languages.iter().map(|lang| lang.eng_name()).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

impl Serialize for Languages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.codes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Languages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let codes = Vec::<String>::deserialize(deserializer)?;
        Self::of(codes).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_that_is_recognised_has_a_code_of_two_letters() {
        for language in Lang::all() {
            assert_eq!(code(*language).len(), 2, "{language}");
            assert_eq!(parsed(code(*language)).unwrap(), *language);
            assert_eq!(parsed(language.code()).unwrap(), *language);
        }
        assert_eq!(codes().count(), Lang::all().len());
    }

    #[test]
    fn codes_and_names_are_read_and_written_as_codes() {
        let languages = Languages::of(["EN", "jpn", "Korean", "ja"]).unwrap();
        assert_eq!(
            serde_json::to_string(&languages).unwrap(),
            r#"["en","ja","ko"]"#
        );
        let any: Languages = serde_json::from_str(r#"["any"]"#).unwrap();
        assert_eq!(any, Languages::ANY);
        assert_eq!(serde_json::to_string(&any).unwrap(), r#"["any"]"#);
        for wrong in ["[]", r#"["xx"]"#, r#"["any","en"]"#] {
            assert!(serde_json::from_str::<Languages>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn short_texts_are_covered_by_their_script() {
        let english = Languages::of(["en"]).unwrap();
        let both = Languages::of(["en", "ja"]).unwrap();
        for (text, in_english, in_both) in [
            ("No.", true, true),
            ("12:30", true, true),
            ("Stay at home, it always works.", true, true),
            ("はい。", false, true),
            ("東京都", false, true),
            ("안녕하세요", false, false),
            ("Привет", false, false),
            (
                "Das Meer steigt und fällt zweimal am Tag, weil der Mond das Wasser auf der nahen \
                 Seite der Erde stärker anzieht als das Wasser auf der fernen Seite.",
                false,
                false,
            ),
        ] {
            assert_eq!(english.covers(text), in_english, "{text}");
            assert_eq!(both.covers(text), in_both, "{text}");
            assert!(Languages::ANY.covers(text), "{text}");
        }
    }
}
