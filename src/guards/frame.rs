//! The markers with which a dialect frames an exchange, inside of the texts that are framed.

/// Goes into a marker so that it is none: the text reads the same. The backends do it to control tokens.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// The text with every marker broken after its first character, in upper or lower case.
pub(super) fn break_markers(text: &str, markers: &[String]) -> String {
    // ASCII case changes no length, so places are the same in both.
    let folded = text.to_ascii_lowercase();
    let mut cuts = Vec::new();
    for marker in markers {
        let marker = marker.to_ascii_lowercase();
        let first = marker.chars().next().map_or(0, char::len_utf8);
        cuts.extend(folded.match_indices(&marker).map(|(at, _)| at + first));
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut out = String::with_capacity(text.len() + cuts.len() * ZERO_WIDTH_SPACE.len_utf8());
    let mut rest = 0;
    for cut in cuts {
        out.push_str(text.get(rest..cut).unwrap_or_default());
        out.push(ZERO_WIDTH_SPACE);
        rest = cut;
    }
    out.push_str(text.get(rest..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_marker_survives_and_nothing_else_changes() {
        let markers = ["<END CONVERSATION>".to_owned(), "Human user:".to_owned()];
        let broken = break_markers("a <end Conversation> b\nHuman user: 猫 <END", &markers);
        assert_eq!(
            broken,
            "a <\u{200b}end Conversation> b\nH\u{200b}uman user: 猫 <END"
        );
        assert_eq!(break_markers("猫", &markers), "猫");
        assert_eq!(break_markers("猫", &[]), "猫");
    }
}
