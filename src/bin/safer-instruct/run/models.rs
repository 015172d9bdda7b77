//! The models of a run, loaded or connected.

use std::{path::PathBuf, sync::Arc};

use safer_instruct::{
    ChatModel, Result, ScoringModel,
    backends::candle::CandleModel,
    hub::{ModelCache, ModelSource},
    profiles::{self, Profile},
    run::Price,
};
use serde_json::{Value, json};

use super::{
    adapter,
    profile::{self, Facts},
    served::{Served, connect_all},
};
use crate::{
    fetch,
    settings::{Chosen, Form, Place, Settings},
};

/// A model that every stage can ask.
pub(crate) trait Model: ChatModel + ScoringModel {}

impl<M: ChatModel + ScoringModel> Model for M {}

/// The model of a stage.
pub(crate) struct StageModel {
    pub(crate) model: Arc<dyn Model>,
    /// What the journal knows its answers by.
    pub(crate) label: String,
    pub(crate) price: Price,
    /// What the manifest says of it.
    pub(crate) manifest: Value,
    facts: Facts,
}

/// The models of a run, and the profile that follows from them.
pub(crate) struct Models {
    pub(crate) induce: StageModel,
    pub(crate) respond: StageModel,
    pub(crate) judge: StageModel,
    pub(crate) profile: Profile,
}

impl Models {
    /// Connects to the servers, then loads what runs on this machine. Each model is there once, however many stages ask
    /// it.
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        let chosen = settings.models()?;
        let mut opener = Opener {
            settings,
            served: connect_all(settings, &chosen).await?,
            loaded: Vec::new(),
        };
        let [induce, respond, judge] = &chosen;
        let adapter = opener.adapter(induce)?;
        let induce = opener.open(induce, adapter)?;
        let respond = opener.open(respond, None)?;
        let judge = opener.open(judge, None)?;
        let facts = [induce.facts, respond.facts, judge.facts];
        Ok(Self {
            induce,
            respond,
            judge,
            profile: profile::of(settings, &chosen, facts)?,
        })
    }
}

/// Opens models, each once.
struct Opener<'a> {
    settings: &'a Settings,
    served: Served,
    loaded: Vec<Loaded>,
}

/// A model of this machine that is loaded.
#[derive(Clone)]
struct Loaded {
    source: ModelSource,
    adapter: Option<PathBuf>,
    model: CandleModel,
    sha256: String,
}

impl Opener<'_> {
    fn open(&mut self, of: &Chosen, adapter: Option<PathBuf>) -> Result<StageModel> {
        let has_adapter = adapter.is_some();
        Ok(match &of.place {
            Place::Served { base_url, .. } => StageModel {
                model: Arc::new(self.served.model(&of.name, base_url)?),
                label: of.name.clone(),
                price: of.price,
                manifest: json!({
                    "name": of.name,
                    "served": true,
                    "fields": self.settings.model.fields,
                }),
                facts: Facts {
                    has_chat_template: true,
                    has_adapter,
                },
            },
            Place::Local(source) => {
                let Loaded { model, sha256, .. } = self.load(source, adapter)?;
                let file = source.file_name();
                let adapter = model.model_id().adapter.as_deref();
                StageModel {
                    label: format!("{file} {sha256} {}", adapter.unwrap_or_default()),
                    price: of.price,
                    manifest: json!({"name": file, "sha256": sha256, "adapter": adapter}),
                    facts: Facts {
                        has_chat_template: model.has_chat_template(),
                        has_adapter,
                    },
                    model: Arc::new(model),
                }
            }
        })
    }

    fn load(&mut self, source: &ModelSource, adapter: Option<PathBuf>) -> Result<Loaded> {
        let is_it = |known: &&Loaded| known.source == *source && known.adapter == adapter;
        if let Some(known) = self.loaded.iter().find(is_it) {
            return Ok(known.clone());
        }
        let fetched = fetch::fetch(self.cache()?, source)?;
        let hash = format!("sha256:{}", fetched.sha256);
        let mut builder = CandleModel::builder(&fetched.path).with_hash(hash);
        if let Some(folder) = &adapter {
            builder = builder.with_adapter(folder);
        }
        let loaded = Loaded {
            source: source.clone(),
            adapter,
            model: builder.load()?,
            sha256: fetched.sha256,
        };
        self.loaded.push(loaded.clone());
        Ok(loaded)
    }

    fn cache(&self) -> Result<ModelCache> {
        fetch::cache(self.settings.model.cache.as_deref())
    }

    /// The adapter of the inducing model: the user's, or the one that comes with the model.
    fn adapter(&self, model: &Chosen) -> Result<Option<PathBuf>> {
        if let Some(given) = self.settings.adapter() {
            return Ok(given.map(PathBuf::from));
        }
        let bundled = bundled_adapter(self.settings, model);
        bundled
            .map(|name| adapter::bundled(name, &self.cache()?))
            .transpose()
    }
}

/// The name of the adapter that comes with the inducing model, unless the user wants the form for models without one.
pub(super) fn bundled_adapter(settings: &Settings, model: &Chosen) -> Option<&'static str> {
    let Place::Local(source) = &model.place else {
        return None;
    };
    if settings.induce.form == Some(Form::Chat) {
        return None;
    }
    let known = profiles::find(&model.name).or_else(|| profiles::find(source.file_name()));
    known?.adapter
}
