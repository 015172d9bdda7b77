//! What a guard model is asked and what it answers, as data.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{
    catalogue::FILES,
    categories::Categories,
    frame::break_markers,
    mode::{Mode, ModeFile, Text},
};
use crate::{
    error::{Error, Result},
    model::Prompt,
    prompt::fence,
    record::Assessment,
};

const RESPONSE_SLOTS: &[&str] = &[
    "instruction?",
    "response",
    "categories?",
    "policy?",
    "fence?",
];
const INSTRUCTION_SLOTS: &[&str] = &["instruction", "categories?", "policy?", "fence?"];

/// How a family of guard models is asked, and how its answers are read.
///
/// A dialect is read from a JSON file. `docs/guards.md` describes it, and lists those of the crate.
///
/// ```
/// use safer_instruct::{Safety, guards::Dialect};
///
/// let dialect = Dialect::named("llama-guard-3")?;
/// let assessment = dialect.read("\n\nunsafe\nS10");
/// assert_eq!(assessment.safety, Safety::Unsafe);
/// assert_eq!(assessment.categories, ["llama-guard@3:S10"]);
/// assert_eq!(dialect.read("Not safe.").safety, Safety::Unparsed);
/// # Ok::<_, safer_instruct::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dialect {
    id: String,
    models: Vec<String>,
    licence: String,
    source: String,
    date: Option<String>,
    note: Option<String>,
    policy: Option<String>,
    categories: Option<Categories>,
    frame: Vec<String>,
    pub(super) response: Mode,
    pub(super) instruction: Option<Mode>,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    models: Vec<String>,
    licence: String,
    source: String,
    date: Option<String>,
    note: Option<Text>,
    policy: Option<Text>,
    categories: Option<Categories>,
    #[serde(default)]
    frame: Vec<String>,
    response: ModeFile,
    instruction: Option<ModeFile>,
}

impl Dialect {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`Error::Config`], with the line for what is no such JSON, and with the field for what cannot work: an unknown
    /// slot, a shape without a verdict, one word for two verdicts, a category that is listed twice.
    ///
    /// ```
    /// use safer_instruct::guards::Dialect;
    ///
    /// let file = r#"{
    ///   "id": "mine",
    ///   "models": ["me/my-guard"],
    ///   "licence": "MIT",
    ///   "source": "my own",
    ///   "response": {
    ///     "messages": [{"role": "user", "content": "Is this rude?\n\n{{response}}"}],
    ///     "answer": {"word": {"labels": {"safe": ["no"], "unsafe": ["yes"]}}},
    ///     "decisive": "",
    ///     "max_tokens": 4
    ///   }
    /// }"#;
    /// let dialect = Dialect::parse(file)?;
    /// assert_eq!(dialect.read("Yes").safety, safer_instruct::Safety::Unsafe);
    ///
    /// let error = Dialect::parse(&file.replace("[\"no\"]", "[\"yes\"]")).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "dialect mine, response: answer: `yes` stands for two verdicts; give each a word of its own"
    /// );
    /// # Ok::<_, safer_instruct::Error>(())
    /// ```
    pub fn parse(json: &str) -> Result<Self> {
        let file: File = serde_json::from_str(json)
            .map_err(|error| Error::config("dialect", error.to_string()))?;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if file.id.is_empty() || !file.id.chars().all(is_name) {
            let reason = "id: write it with lower-case letters, digits, `-` and `.`";
            return Err(Error::config("dialect", reason));
        }
        let field = format!("dialect {}", file.id);
        if file.models.is_empty() || file.frame.iter().any(|marker| marker.trim().is_empty()) {
            let reason = "`models` must name at least one, and no marker of `frame` may be empty";
            return Err(Error::config(field, reason));
        }
        if let Some(categories) = &file.categories {
            categories
                .check()
                .map_err(|reason| Error::config(format!("{field}, categories"), reason))?;
        }
        let mode = |name: &str, mode: ModeFile, slots: &[&str]| {
            let field = format!("{field}, {name}");
            Mode::new(mode, &field, slots, file.categories.as_ref())
        };
        let response = mode("response", file.response, RESPONSE_SLOTS)?;
        let instruction = file.instruction;
        let instruction = instruction
            .map(|it| mode("instruction", it, INSTRUCTION_SLOTS))
            .transpose()?;
        let dialect = Self {
            id: file.id,
            models: file.models,
            licence: file.licence,
            source: file.source,
            date: file.date,
            note: file.note.map(|note| note.joined()),
            policy: None,
            categories: file.categories,
            frame: file.frame,
            response,
            instruction,
        };
        Ok(match file.policy {
            Some(policy) => dialect.with_policy(policy.joined()),
            None => dialect,
        })
    }

    /// The dialects of the crate.
    #[must_use]
    pub fn all() -> &'static [Self] {
        static ALL: LazyLock<Vec<Dialect>> = LazyLock::new(|| {
            // A test says that all of them can be parsed.
            FILES
                .iter()
                .filter_map(|file| Dialect::parse(file).ok())
                .collect()
        });
        &ALL
    }

    /// Finds a dialect of the crate.
    ///
    /// # Errors
    /// [`Error::Config`], with the ids that there are, if there is none of this id.
    pub fn named(id: &str) -> Result<Self> {
        let all = Self::all();
        all.iter()
            .find(|dialect| dialect.id == id)
            .cloned()
            .ok_or_else(|| {
                let ids: Vec<&str> = all.iter().map(Self::id).collect();
                let reason = format!("there is no `{id}`; there are `{}`", ids.join("`, `"));
                Error::config("dialect", reason)
            })
    }

    /// Sets the policy: the text that says what is unsafe. It fills the slot `{{policy}}`, and the hash of the prompt
    /// covers it. A prompt without that slot ignores it. By default that of the file; a file may have none.
    #[must_use]
    pub fn with_policy(mut self, policy: impl Into<String>) -> Self {
        let policy = policy.into();
        let modes = [Some(&mut self.response), self.instruction.as_mut()];
        for mode in modes.into_iter().flatten() {
            mode.template = mode.template.clone().with_value("policy", &policy);
        }
        self.policy = Some(policy);
        self
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The models that speak it.
    #[must_use]
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// The licence of the models.
    #[must_use]
    pub fn licence(&self) -> &str {
        &self.licence
    }

    /// Where the convention is described.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The date of that description, if it is known.
    #[must_use]
    pub fn date(&self) -> Option<&str> {
        self.date.as_deref()
    }

    /// What a user should know, and what could not be confirmed.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Whether it can assess an instruction without a response.
    #[must_use]
    pub fn reads_instructions(&self) -> bool {
        self.instruction.is_some()
    }

    /// Renders the question about a response.
    ///
    /// # Errors
    /// [`Error::Config`] if the dialect needs a policy and has none.
    pub fn render(&self, instruction: &str, response: &str) -> Result<Prompt> {
        self.fill(&self.response, instruction, response)
    }

    /// Renders the question about an instruction alone.
    ///
    /// # Errors
    /// [`Error::Config`] if the dialect has no such question, or needs a policy and has none.
    pub fn render_instruction(&self, instruction: &str) -> Result<Prompt> {
        self.fill(self.instruction_mode()?, instruction, "")
    }

    /// Reads the answer to a question about a response. What is not exactly a verdict is
    /// [`Unparsed`](crate::Safety::Unparsed).
    #[must_use]
    pub fn read(&self, answer: &str) -> Assessment {
        self.response.read(answer, self.categories())
    }

    /// Reads the answer to a question about an instruction, as [`read`](Self::read) does.
    ///
    /// # Errors
    /// [`Error::Config`] if the dialect has no such question.
    pub fn read_instruction(&self, answer: &str) -> Result<Assessment> {
        Ok(self.instruction_mode()?.read(answer, self.categories()))
    }

    pub(super) fn categories(&self) -> Option<&Categories> {
        self.categories.as_ref()
    }

    pub(super) fn instruction_mode(&self) -> Result<&Mode> {
        self.instruction.as_ref().ok_or_else(|| {
            let reason = "it assesses responses only; give it a response";
            Error::config(format!("dialect {}", self.id), reason)
        })
    }

    fn fill(&self, mode: &Mode, instruction: &str, response: &str) -> Result<Prompt> {
        if self.policy.is_none() && mode.template.has_slot("policy") {
            let reason = "it has no policy of its own; set one with `with_policy`";
            return Err(Error::config(format!("dialect {}", self.id), reason));
        }
        let instruction = break_markers(instruction, &self.frame);
        let response = break_markers(response, &self.frame);
        mode.template.render(&[
            ("instruction", &instruction),
            ("response", &response),
            ("fence", &fence(&[&instruction, &response])),
        ])
    }
}
