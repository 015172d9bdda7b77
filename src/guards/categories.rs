//! The categories of a guard: how they are listed in its prompt, and how it names them.

use serde::Deserialize;

/// The categories that a guard knows, in the order of its prompt.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Categories {
    /// The taxonomy, as `taxonomy@version`.
    taxonomy: String,
    /// How one is written in the prompt, with `{{code}}` and `{{name}}`.
    #[serde(default = "code_and_name")]
    line: String,
    /// The code and the name of each.
    codes: Vec<(String, String)>,
}

fn code_and_name() -> String {
    "{{code}}: {{name}}.".to_owned()
}

impl Categories {
    /// What is wrong with them.
    pub(super) fn check(&self) -> Result<(), String> {
        let well_formed = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            !part.is_empty() && part.chars().all(plain)
        };
        match self.taxonomy.split_once('@') {
            Some((name, version)) if well_formed(name) && well_formed(version) => {}
            _ => return Err("`taxonomy` must be a name and a version, such as `mine@1`".to_owned()),
        }
        if self.codes.is_empty() {
            return Err(
                "`codes` must list at least one, such as [\"S1\", \"Violence\"]".to_owned(),
            );
        }
        for (at, (code, name)) in self.codes.iter().enumerate() {
            if !well_formed(code) || name.trim().is_empty() || name.contains(',') {
                return Err(format!(
                    "category {}: a code has letters, digits and `-_./` only, and a name is not empty and has no comma",
                    at + 1
                ));
            }
            let mut earlier = self.codes.iter().take(at);
            if earlier.any(|(c, n)| [c, n].iter().any(|it| same(it, code) || same(it, name))) {
                return Err(format!("category {}: its code or name came before", at + 1));
            }
        }
        Ok(())
    }

    /// The list in the prompt.
    pub(super) fn block(&self) -> String {
        let lines = self.codes.iter().map(|(code, name)| {
            let line = self.line.replace("{{code}}", code);
            line.replace("{{name}}", name)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The category that is named by its code, its name, or both as `S1: Violence`.
    pub(super) fn find(&self, text: &str) -> Option<String> {
        let text = text.trim().trim_end_matches('.');
        let (first, second) = match text.split_once(':') {
            Some((code, name)) => (code.trim(), Some(name.trim())),
            None => (text, None),
        };
        let (code, _) = self.codes.iter().find(|(code, name)| match second {
            Some(second) => same(code, first) && same(name, second),
            None => same(code, first) || same(name, first),
        })?;
        Some(format!("{}:{code}", self.taxonomy))
    }

    /// Those of a list with commas; none at all if one is unknown or the list is empty. `none` are the words for an
    /// empty list.
    pub(super) fn list(&self, text: &str, none: &[String]) -> Option<Vec<String>> {
        if none.iter().any(|word| same(word, text)) {
            return Some(Vec::new());
        }
        let mut found = Vec::new();
        for part in text.split(',') {
            let category = self.find(part)?;
            if !found.contains(&category) {
                found.push(category);
            }
        }
        Some(found)
    }
}

/// Whether two words are the same but for case and white space around them.
pub(super) fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    a == b || a.to_lowercase() == b.to_lowercase()
}
