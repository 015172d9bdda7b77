//! Texts on a screen.

use console::{Term, truncate_str};

/// Columns of a line where there is no terminal, and the most on a wide one.
const WIDE: usize = 120;
/// Columns that the names of texts take.
const NAMES: usize = 12;

/// Columns of a line.
pub(crate) fn width() -> usize {
    let size = Term::stdout().size_checked();
    size.map_or(WIDE, |(_, columns)| usize::from(columns).min(WIDE))
}

/// A text with its name, on one line of `width` columns.
pub(crate) fn line(name: &str, text: &str, width: usize) -> String {
    let text = shown(text);
    let room = width.saturating_sub(NAMES).max(NAMES);
    format!("  {name:<10}{}", truncate_str(&text, room, "…"))
}

/// A text on one line. Texts are untrusted: a control character could command the terminal, and one that changes the
/// direction of writing could make a line look like another text.
pub(crate) fn shown(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        line.extend(safe(c));
    }
    line
}

/// A text of several lines, as safe as [`line`].
pub(crate) fn block(text: &str) -> String {
    let mut block = String::new();
    for c in text.chars() {
        match c {
            '\n' => block.push_str("\n    "),
            c => block.extend(safe(c)),
        }
    }
    format!("    {block}")
}

fn safe(c: char) -> Vec<char> {
    let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if c.is_control() || invisible {
        c.escape_default().collect()
    } else {
        vec![c]
    }
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;

    #[test]
    fn a_line_is_cut_by_the_columns_that_it_takes() {
        assert_eq!(line("prompt", "How?", 40), "  prompt    How?");
        for text in [
            "a".repeat(90),
            "日本語の長い文章".repeat(12),
            "か\u{3099}".repeat(60),
        ] {
            let line = line("chosen", &text, 40);
            assert!(line.ends_with('…'), "{line}");
            let columns = measure_text_width(&line);
            assert!((39..=40).contains(&columns), "{columns}: {line}");
        }
    }

    #[test]
    fn nothing_commands_the_terminal() {
        let text = "a\u{1b}[2Jb\nc\u{202e}d";
        assert_eq!(
            line("prompt", text, 80),
            "  prompt    a\\u{1b}[2Jb\\nc\\u{202e}d"
        );
        assert_eq!(block("a\n\u{1b}b"), "    a\n    \\u{1b}b");
    }
}
