//! Served models: each server is asked before the run whether it is there and can do what the run needs.

use std::{env, time::Duration};

use safer_instruct::{
    Error, Result,
    backends::openai::{Client, Limits, Need, OpenAiModel},
    profiles::{InductionForm, JudgeForm, Profile},
};

use crate::settings::{Chosen, Field, Place, Settings};

/// The served models of a run, connected.
pub(super) struct Served(Vec<(Connection, OpenAiModel)>);

/// A model behind a server, and what the run needs of it.
struct Connection {
    base_url: String,
    key_variable: String,
    name: String,
    needs: Vec<Need>,
}

impl Served {
    /// The model `name` at `base_url`.
    pub(super) fn model(&self, name: &str, base_url: &str) -> Result<OpenAiModel> {
        let is_it =
            |of: &&(Connection, OpenAiModel)| of.0.name == name && of.0.base_url == base_url;
        let found = self.0.iter().find(is_it);
        let missing = || Error::config("model", format!("{name} is not connected"));
        found.map(|(_, model)| model.clone()).ok_or_else(missing)
    }
}

/// Every served model, once its server has answered and can do what the run needs.
pub(super) async fn connect_all(settings: &Settings, chosen: &[Chosen; 4]) -> Result<Served> {
    let mut wanted: Vec<Connection> = Vec::new();
    for (model, needs) in chosen.iter().zip(needs(settings)) {
        let Place::Served {
            base_url,
            key_variable,
        } = &model.place
        else {
            continue;
        };
        let same =
            |other: &&mut Connection| other.base_url == *base_url && other.name == model.name;
        match wanted.iter_mut().find(same) {
            Some(known) => known.needs.extend(needs),
            None => wanted.push(Connection {
                base_url: base_url.clone(),
                key_variable: key_variable.clone(),
                name: model.name.clone(),
                needs,
            }),
        }
    }
    let mut connected = Vec::new();
    if wanted.is_empty() {
        return Ok(Served(connected));
    }
    let client = Client::builder()
        .with_timeout(Duration::from_secs(settings.model.timeout))
        .build()?;
    for connection in wanted {
        let model = connect(settings, &connection, client.clone()).await?;
        eprintln!("{} answers, served by {}", connection.name, model.server());
        connected.push((connection, model));
    }
    Ok(Served(connected))
}

async fn connect(
    settings: &Settings,
    connection: &Connection,
    client: Client,
) -> Result<OpenAiModel> {
    let limits = Limits {
        requests: settings.model.requests_per_minute,
        tokens: settings.model.tokens_per_minute,
    };
    let mut builder = OpenAiModel::builder(&connection.base_url, &connection.name)
        .with_client(client)
        .with_limits(limits);
    // They are further addresses of the model of all stages.
    if settings.model.base_url.as_ref() == Some(&connection.base_url) {
        for other in &settings.model.endpoints {
            builder = builder.with_endpoint(other);
        }
    }
    if let Ok(key) = env::var(&connection.key_variable) {
        builder = builder.with_key(key);
    }
    for need in &connection.needs {
        builder = builder.with_need(*need);
    }
    for field in &settings.model.fields {
        let (name, value) = Field::parse(field)?;
        builder = builder.with_field(name, value);
    }
    builder.connect().await
}

/// What each stage needs of a server beyond chat completions.
fn needs(settings: &Settings) -> [Vec<Need>; 4] {
    let served = Profile::served();
    let form = settings.induce.form.map_or(served.induction, Into::into);
    let candidates = settings.induce.candidates.unwrap_or(served.candidates);
    let judge = settings.judge.form.map_or(served.judge, Into::into);
    let of = |need, needed: bool| needed.then_some(need).into_iter().collect();
    [
        of(Need::RawPrompts, form == InductionForm::Reversed),
        // The expert's model chooses among candidates.
        of(
            Need::RawScores,
            candidates > 1 || settings.induce.min_gain.is_some(),
        ),
        of(Need::Scores, judge == JudgeForm::Likelihood),
        Vec::new(),
    ]
}
