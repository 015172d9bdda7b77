//! Finds quotations of the request in the messages of servers, so that no error shows them.

use std::collections::HashSet;

use serde_json::Value;

use crate::model::{ChatRequest, Constraint, Prompt};

/// A run of this many characters of the request counts as a quotation.
const QUOTATION: usize = 12;
/// A shorter text may occur in any message.
const LEAST: usize = 4;
/// How many levels of escapes are undone.
const ROUNDS: usize = 4;
/// Keywords of JSON Schema whose values are words of JSON Schema.
const KEYWORDS: &[&str] = &["type", "format", "$schema", "$ref", "required"];

/// The texts of a request: its prompt, stop strings and choices, and the texts of its schema other than keywords and
/// names of properties.
pub(crate) fn of_request(request: &ChatRequest) -> Vec<&str> {
    let mut texts = of_prompt(&request.prompt);
    texts.extend(request.stop.iter().map(String::as_str));
    match &request.constraint {
        Some(Constraint::Choice(choices)) => texts.extend(choices.iter().map(String::as_str)),
        Some(Constraint::JsonSchema(schema)) => of_schema(schema, &mut texts),
        _ => {}
    }
    texts
}

/// The texts of a prompt.
pub(crate) fn of_prompt(prompt: &Prompt) -> Vec<&str> {
    match prompt {
        Prompt::Raw(text) => vec![text],
        Prompt::Chat(said) | Prompt::Unfinished(said) => said
            .iter()
            .map(|message| message.content.as_ref())
            .collect(),
    }
}

fn of_schema<'a>(schema: &'a Value, texts: &mut Vec<&'a str>) {
    match schema {
        Value::String(text) => texts.push(text),
        Value::Array(items) => {
            for item in items {
                of_schema(item, texts);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let named = KEYWORDS.contains(&name.as_str()) && !value.is_object();
                if !named {
                    of_schema(value, texts);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether the words repeat a text or a part of it, however it is escaped.
pub(crate) fn quotes(words: &str, text: &str) -> bool {
    // As it stands, because marks are characters of a quotation too; line breaks may have become spaces.
    let plain = |text: &str| text.replace(char::is_control, " ");
    if share(&plain(words), &plain(text)) {
        return true;
    }
    let (words, text) = (bare(words), bare(text));
    let characters: Vec<char> = text.chars().collect();
    if characters.len() < LEAST {
        return false;
    }
    if characters.len() < QUOTATION {
        // A short word is a piece of many a longer one; scripts without spaces have none between words.
        return if text.is_ascii() {
            format!(" {words} ").contains(&format!(" {text} "))
        } else {
            words.contains(&text)
        };
    }
    share(&words, &text)
}

/// Whether a long enough part of one text occurs in the other.
fn share(words: &str, text: &str) -> bool {
    let (words, text): (Vec<char>, Vec<char>) = (words.chars().collect(), text.chars().collect());
    let pieces: HashSet<&[char]> = text.windows(QUOTATION).collect();
    words.windows(QUOTATION).any(|piece| pieces.contains(piece))
}

/// Letters and digits, with one space for everything between them.
fn bare(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..ROUNDS {
        if !text.contains('\\') {
            break;
        }
        text = unescaped(&text);
    }
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").to_lowercase()
}

/// Undoes the escapes of JSON, Python and Rust.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let mut behind = behind.chars();
        match behind.next() {
            Some('n' | 'r' | 't' | 'b' | 'f' | 'v' | '0') => out.push(' '),
            Some(kind @ ('x' | 'u' | 'U')) => {
                let digits = match kind {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                match hex(behind.as_str(), digits) {
                    Some((code, left)) => {
                        let (code, left) = pair(code, left).unwrap_or((code, left));
                        out.push(char::from_u32(code).unwrap_or(' '));
                        behind = left.chars();
                    }
                    None => out.push(kind),
                }
            }
            Some(c) => out.push(c),
            None => {}
        }
        rest = behind.as_str();
    }
    out.push_str(rest);
    out
}

fn hex(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (number, left) = text.split_at_checked(digits)?;
    let number = u32::from_str_radix(number, 16).ok()?;
    Some((number, left))
}

/// A character above U+FFFF, which `\u` writes as two.
fn pair(high: u32, left: &str) -> Option<(u32, &str)> {
    let (low, left) = hex(left.strip_prefix("\\u")?, 4)?;
    let units = [u16::try_from(high).ok()?, u16::try_from(low).ok()?];
    let character = char::decode_utf16(units).next()?.ok()?;
    (character.len_utf16() == 2).then_some((character.into(), left))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Message;

    #[test]
    fn marks_are_characters_of_a_quotation() {
        let text = "The kettle sings\nwhile nobody listens.";
        // Twelve with the mark, and eleven without.
        assert!(quotes("at: 1hile noody listens.", text));
        assert!(quotes("at: sings while.", text));
        assert!(!quotes("at: noody listens", text));
    }

    #[test]
    fn a_quotation_is_found_however_it_is_escaped() {
        let text = "She said \"no\"\nand\tleft 川のほとり𠮷野家で、\\ C:\\new.";
        let json = json!(text).to_string();
        let ascii: String = text
            .encode_utf16()
            .map(|unit| match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                _ => format!("\\u{unit:04x}"),
            })
            .collect();
        let python: String = text
            .chars()
            .map(|c| match u32::from(c) {
                code @ 0x80.. => format!("\\U{code:08x}"),
                code @ ..0x20 => format!("\\x{code:02x}"),
                _ => c.to_string(),
            })
            .collect();
        for form in [
            json.clone(),
            json!(json).to_string(),
            format!("{text:?}"),
            ascii,
            python,
            text.to_uppercase(),
        ] {
            let form: Vec<char> = form.chars().collect();
            // Any piece that is long enough, even when each of its characters is escaped.
            for piece in form.windows(form.len().min(130)) {
                let piece: String = piece.iter().collect();
                assert!(quotes(&format!("input '{piece}' is bad"), text), "{piece}");
            }
        }
        for other in ["", "She came.", "said no, so", "\\u5ddd\\u306e"] {
            assert!(!quotes(other, text), "{other}");
        }
    }

    #[test]
    fn a_short_text_is_one_as_a_whole_word() {
        assert!(quotes("invalid choice: 'safe'", "safe"));
        assert!(!quotes("an unsafe schema", "safe"));
        assert!(quotes("選択肢は川の名前です", "川の名前"));
        assert!(!quotes("A or B", "A"));
    }

    #[test]
    fn all_texts_of_a_request_are_secret() {
        let request = ChatRequest::new(vec![Message::user("Which?")]);
        let choice = request
            .clone()
            .with_choices(["red tea", "tea"])
            .with_stop("###");
        assert_eq!(of_request(&choice), ["Which?", "###", "red tea", "tea"]);
        let schema = json!({"type": "object", "required": ["tea"], "properties": {
            "tea": {"enum": ["red tea"], "description": "a cup", "type": ["string", "null"]}, "type": {"const": "pot"}}});
        let schema = request.with_json_schema(schema);
        let mut texts = of_request(&schema);
        texts.sort_unstable();
        assert_eq!(texts, ["Which?", "a cup", "pot", "red tea"]);
    }
}
