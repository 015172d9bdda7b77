//! Which model a stage asks, and where that is.

use safer_instruct::{
    Error, Result,
    hub::{Location, ModelSource},
    profiles,
    run::Price,
};

use super::{Settings, StageModel, nearest::nearest};

/// The word for "not the one of [model]", where a key cannot be left out.
const NONE: &str = "none";

/// The model of a stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    /// What the user calls it.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) price: Price,
}

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine.
    Local(ModelSource),
    /// Behind a server.
    Served {
        base_url: String,
        key_variable: String,
    },
}

impl Settings {
    /// The models of induction, response, judgement and guard. The guard asks that of the judgement if it names none.
    pub(crate) fn models(&self) -> Result<[Chosen; 4]> {
        let guard = match self.guard.by == StageModel::default() {
            true => &self.judge.by,
            false => &self.guard.by,
        };
        Ok([
            self.model_of(&self.induce.by)?,
            self.model_of(&self.respond.by)?,
            self.model_of(&self.judge.by)?,
            self.model_of(guard)?,
        ])
    }

    fn model_of(&self, stage: &StageModel) -> Result<Chosen> {
        let all = &self.model;
        let name = stage.model.as_ref().unwrap_or(&all.name).clone();
        let base_url = stage.base_url.as_ref().or(all.base_url.as_ref());
        let place = match base_url.filter(|url| *url != NONE) {
            Some(url) => Place::Served {
                base_url: url.clone(),
                key_variable: stage
                    .key_variable
                    .as_ref()
                    .unwrap_or(&all.key_variable)
                    .clone(),
            },
            None => Place::Local(local(&name)?),
        };
        let price = Price::per_million(
            millionths(stage.price_read.unwrap_or(all.price_read)),
            millionths(stage.price_written.unwrap_or(all.price_written)),
        );
        Ok(Chosen { name, place, price })
    }

    /// The adapter of the inducing model that the user names; `Some(None)` is none at all.
    pub(crate) fn adapter(&self) -> Option<Option<&str>> {
        named(self.induce.adapter.as_deref())
    }

    /// The adapter of the expert's model that the user names.
    pub(crate) fn expert(&self) -> Option<Option<&str>> {
        named(self.respond.adapter.as_deref())
    }
}

fn named(adapter: Option<&str>) -> Option<Option<&str>> {
    adapter.map(|name| Some(name).filter(|name| *name != NONE))
}

/// Where a model of this machine comes from. A missing file is reported before the texts are read.
fn local(name: &str) -> Result<ModelSource> {
    let source: ModelSource = name.parse()?;
    let Location::Path(path) = source.location() else {
        return Ok(source);
    };
    if path.exists() {
        return Ok(source);
    }
    let names = profiles::known().iter().map(|model| model.name);
    let advice = match nearest(name, names) {
        Some(known) => format!("did you mean {known}?"),
        None => "`safer-instruct models` lists the models that are known by name".to_owned(),
    };
    let reason = format!("there is no file {name}; {advice}");
    Err(Error::config("model", reason))
}

/// Money as a journal counts it.
pub(crate) fn millionths(money: f64) -> u64 {
    (money.max(0.0) * 1e6).round() as u64
}

/// Money as people read it.
pub(crate) fn money(millionths: u64) -> String {
    format!("{:.4}", millionths as f64 / 1e6)
}
