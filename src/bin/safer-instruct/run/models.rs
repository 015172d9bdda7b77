//! The models of a run, loaded or connected.

use std::{path::PathBuf, sync::Arc};

use safer_instruct::{
    ChatModel, Error, Result, ScoringModel, StateModel,
    backends::candle::CandleModel,
    guards::{Probe, ProbeWeights},
    hub::{ModelCache, ModelSource},
    profiles::{self, GuardForm, KnownModel, Profile},
    run::Price,
};
use serde_json::{Value, json};

use super::{
    bundled,
    profile::{self, Facts, Heads},
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
    /// The same model, where it gives states.
    pub(crate) states: Option<Arc<dyn StateModel>>,
    /// What the journal knows its answers by.
    pub(crate) label: String,
    pub(crate) price: Price,
    /// What the manifest says of it.
    pub(crate) manifest: Value,
    hash: Option<String>,
    facts: Facts,
}

/// The models of a run, and the profile that follows from them.
pub(crate) struct Models {
    pub(crate) induce: StageModel,
    pub(crate) respond: StageModel,
    /// The expert's model without its adapter, if it has one: it says how likely a text is after an instruction.
    pub(crate) scores: Option<StageModel>,
    pub(crate) judge: StageModel,
    /// The model of a guard that asks one.
    pub(crate) guard: Option<StageModel>,
    /// The probe of the judgement's model.
    pub(crate) probe: Option<Arc<ProbeWeights>>,
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
        let [induce, respond, judge, guard] = &chosen;
        let adapter = opener.adapter(induce)?;
        let induce = opener.open(induce, adapter)?;
        let expert = opener.expert(respond)?;
        let scores = match expert {
            // Tuned on good answers, it would find a bad one unlikely after any instruction.
            Some(_) => Some(opener.open(respond, None)?),
            None => None,
        };
        let respond = opener.open(respond, expert)?;
        let mut judging = opener.open(judge, None)?;
        let probe = probe(settings, judge, &judging)?;
        judging.facts.probe = heads(probe.as_ref());
        let facts = [induce.facts, respond.facts, judging.facts];
        let profile = profile::of(settings, &chosen, facts)?;
        let guard = match profile.guard {
            Some(GuardForm::Dialect(_)) => Some(opener.open(guard, None)?),
            _ => None,
        };
        Ok(Self {
            induce,
            respond,
            scores,
            judge: judging,
            guard,
            probe: probe.map(Arc::new),
            profile,
        })
    }
}

/// The probe of the model that judges: the user's, or the one that comes with the very file.
fn probe(settings: &Settings, of: &Chosen, judge: &StageModel) -> Result<Option<ProbeWeights>> {
    if let Some(folder) = &settings.judge.probe {
        let probe = ProbeWeights::read(folder)?;
        let refused = |reason: String| Err(Error::config("judge.probe", reason));
        if judge.states.is_none() {
            return refused(format!(
                "{} is served, and a probe reads the states of a model of this machine",
                of.name
            ));
        }
        if let Some(below) = probe.card().below_baselines().next() {
            return refused(format!(
                "{} says that its head {} is no better than the baseline {}; fit it on more labels",
                folder.join(ProbeWeights::CARD).display(),
                below.head,
                below.baseline
            ));
        }
        if probe.card().base.hash != judge.hash {
            return refused(format!(
                "{} was fitted on the states of {}, and {} is another file; fit one by `safer-instruct tune-judge`",
                folder.display(),
                probe.card().base.name,
                of.name
            ));
        }
        return Ok(Some(probe));
    }
    let bundled = bundled_probe(of).map(bundled::probe).transpose()?;
    Ok(bundled.filter(|probe| probe.card().base.hash == judge.hash))
}

fn heads(probe: Option<&ProbeWeights>) -> Heads {
    let has = |head| probe.is_some_and(|probe| probe.card().heads.contains_key(head));
    Heads {
        guards: has(Probe::<()>::HARM),
        judges: has(Probe::<()>::PREFERENCE),
    }
}

/// What the probe of the judgement's model can do, as far as that is known before the model is loaded.
pub(super) fn expected_heads(settings: &Settings, judge: &Chosen) -> Result<Heads> {
    let probe = match &settings.judge.probe {
        Some(folder) => Some(ProbeWeights::read(folder)?),
        None => bundled_probe(judge).map(bundled::probe).transpose()?,
    };
    Ok(heads(probe.as_ref()))
}

/// The name of the probe that comes with a model.
fn bundled_probe(model: &Chosen) -> Option<&'static str> {
    known(model)?.judge
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
                states: None,
                hash: None,
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
                    probe: Heads::default(),
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
                        probe: Heads::default(),
                    },
                    hash: model.model_id().hash.as_deref().map(str::to_owned),
                    states: Some(Arc::new(model.clone())),
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
            .map(|name| bundled::adapter(name, &self.cache()?))
            .transpose()
    }

    /// The adapter of the expert's model: the user's, or the one that comes with the model.
    fn expert(&self, model: &Chosen) -> Result<Option<PathBuf>> {
        if let Some(given) = self.settings.expert() {
            return Ok(given.map(PathBuf::from));
        }
        let bundled = known(model).and_then(|known| known.expert);
        bundled
            .map(|name| bundled::adapter(name, &self.cache()?))
            .transpose()
    }
}

/// The row of a model of this machine.
fn known(model: &Chosen) -> Option<&'static KnownModel> {
    let Place::Local(source) = &model.place else {
        return None;
    };
    profiles::find(&model.name).or_else(|| profiles::find(source.file_name()))
}

/// The name of the adapter that comes with the inducing model, unless the user wants the form for models without one.
pub(super) fn bundled_adapter(settings: &Settings, model: &Chosen) -> Option<&'static str> {
    if settings.induce.form == Some(Form::Chat) {
        return None;
    }
    known(model)?.adapter
}
