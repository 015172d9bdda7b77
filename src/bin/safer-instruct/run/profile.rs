//! The settings that follow from the models, and those that the user sets instead.

use safer_instruct::{
    Error, Result,
    guards::Dialect,
    profiles::{
        self, GuardForm, InductionForm, JudgeForm, KnownModel, Languages, ModelFacts, Profile,
    },
};

use crate::settings::{Chosen, Form, Judging, Place, Settings};

/// How the next token of a draw or candidate is chosen where the user and the model say nothing: they only differ if
/// the model samples.
const DRAWN: Drawn = Drawn {
    temperature: 0.8,
    top_p: 0.95,
};

struct Drawn {
    temperature: f64,
    top_p: f64,
}

/// What is known of a local model when it is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Whether its file holds a chat template.
    pub(crate) has_chat_template: bool,
    /// Whether the induction has an adapter.
    pub(crate) has_adapter: bool,
    /// What a probe can do that was fitted on its states.
    pub(crate) probe: Heads,
}

/// Which heads a probe has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heads {
    /// Harm, so that it can guard.
    pub(crate) guards: bool,
    /// Preference, so that it can judge.
    pub(crate) judges: bool,
}

/// The profile of a run: each stage follows its own model, and what the user sets wins.
pub(crate) fn of(settings: &Settings, models: &[Chosen; 4], facts: [Facts; 3]) -> Result<Profile> {
    let [induce, respond, judge, _] = models;
    let [of_induce, of_respond, of_judge] = facts;
    let mut profile = match &induce.place {
        Place::Served { .. } => Profile::served(),
        Place::Local(source) => {
            let facts = ModelFacts {
                // Where the user names a form, a base model is the user's own choice.
                has_chat_template: of_induce.has_chat_template || settings.induce.form.is_some(),
                tuned_in_reverse: of_induce.has_adapter,
            };
            Profile::of(&source_name(&induce.name, source.file_name()), facts)?
        }
    };
    let expert = of_chat_model(respond, of_respond)?;
    let judging = of_chat_model(judge, of_judge)?;
    if let Place::Served { .. } = respond.place {
        // The expert's model would score the candidates, which few servers can.
        let served = Profile::served();
        (profile.candidates, profile.min_gain) = (served.candidates, served.min_gain);
    }
    profile.responses = expert.responses;
    profile.response_sampling = expert.response_sampling;
    profile.max_tokens = expert.max_tokens;
    (profile.judge, profile.guard) = forms(&judging, of_judge.probe);
    profile.tie_margin = judging.tie_margin;
    profile.languages = match &settings.filters.languages {
        Some(codes) => Languages::of(codes)?,
        None => common([&profile.languages, &expert.languages, &judging.languages])?,
    };
    choose(&mut profile, settings)?;
    let asked = [
        (
            profile.judge == JudgeForm::Probe && !of_judge.probe.judges,
            "judge",
            "preferences",
        ),
        (
            profile.guard == Some(GuardForm::Probe) && !of_judge.probe.guards,
            "guard",
            "harm",
        ),
    ];
    if let Some((_, stage, labels)) = asked.into_iter().find(|(missing, ..)| *missing) {
        let reason = format!(
            "there is no probe for {} that was fitted on labels of {labels}; fit one by `safer-instruct tune-judge`, and \
             give its folder by --judge-probe",
            judge.name
        );
        return Err(Error::config(stage, reason));
    }
    Ok(profile)
}

/// How a model judges and guards: by its probe, as far as that can.
fn forms(profile: &Profile, probe: Heads) -> (JudgeForm, Option<GuardForm>) {
    let judge = match (probe.judges, profile.judge) {
        (true, _) => JudgeForm::Probe,
        (false, JudgeForm::Probe) => JudgeForm::Likelihood,
        (false, judge) => judge,
    };
    let guard = match (probe.guards, &profile.guard) {
        (true, _) => Some(GuardForm::Probe),
        // Another file of a known model, in other numbers: it is guarded as one that is not known.
        (false, Some(GuardForm::Probe)) => Profile::local().guard,
        (false, guard) => guard.clone(),
    };
    (judge, guard)
}

/// The languages that are worked on, as far as they are known before a model is loaded.
pub(crate) fn languages(settings: &Settings) -> Result<Languages> {
    if let Some(codes) = &settings.filters.languages {
        return Languages::of(codes);
    }
    let of_known = |model: &Chosen| match &model.place {
        Place::Served { .. } => Languages::ANY,
        Place::Local(source) => {
            let known = profiles::find(&source_name(&model.name, source.file_name()));
            known.map_or(Languages::ANY, KnownModel::languages)
        }
    };
    let [induce, respond, judge, _] = settings.models()?.map(|model| of_known(&model));
    common([&induce, &respond, &judge])
}

/// The name that a profile is found by: that of the table, or that of the file.
fn source_name(name: &str, file: &str) -> String {
    match profiles::find(name) {
        Some(_) => name.to_owned(),
        None => file.to_owned(),
    }
}

/// The profile of a model that responds or judges.
fn of_chat_model(model: &Chosen, facts: Facts) -> Result<Profile> {
    let Place::Local(source) = &model.place else {
        return Ok(Profile::served());
    };
    let name = source_name(&model.name, source.file_name());
    if let Some(known) = profiles::find(&name) {
        return Ok(known.profile());
    }
    let facts = ModelFacts {
        has_chat_template: facts.has_chat_template,
        tuned_in_reverse: false,
    };
    Profile::of(&name, facts)
}

/// The languages that all models cover.
fn common(all: [&Languages; 3]) -> Result<Languages> {
    let mut common = Languages::ANY;
    for languages in all {
        common = match (common == Languages::ANY, *languages == Languages::ANY) {
            (true, _) => languages.clone(),
            (_, true) => common,
            _ => {
                let codes = languages.codes();
                Languages::of(
                    common
                        .codes()
                        .into_iter()
                        .filter(|code| codes.contains(code)),
                )?
            }
        };
    }
    Ok(common)
}

/// Puts the user's choices in the place of those of the models.
fn choose(profile: &mut Profile, settings: &Settings) -> Result<()> {
    let (induce, respond, judge) = (&settings.induce, &settings.respond, &settings.judge);
    if let Some(form) = induce.form {
        profile.induction = form.into();
    }
    if let Some(candidates) = induce.candidates {
        profile.candidates = candidates;
    }
    if induce.min_gain.is_some() {
        profile.min_gain = induce.min_gain;
    }
    let sampling = &mut profile.induction_sampling;
    let greedy = sampling.temperature == 0.0;
    if let Some(temperature) = induce.temperature {
        sampling.temperature = temperature;
    } else if greedy && (settings.run.draws > 1 || profile.candidates > 1) {
        sampling.temperature = DRAWN.temperature;
    }
    // It follows from the temperature alone, which is what the settings of a run keep.
    if greedy && sampling.temperature > 0.0 {
        sampling.top_p = DRAWN.top_p;
    }
    if let Some(candidates) = respond.candidates {
        profile.responses = candidates;
    }
    let sampling = &mut profile.response_sampling;
    let greedy = sampling.temperature == 0.0;
    if let Some(temperature) = respond.temperature {
        sampling.temperature = temperature;
    } else if greedy && profile.responses > 1 {
        sampling.temperature = DRAWN.temperature;
    }
    // As for the induction: it follows from what the settings of a run keep.
    if greedy && profile.responses > 1 && sampling.temperature > 0.0 {
        sampling.top_p = DRAWN.top_p;
    }
    if let Some(penalty) = respond.repetition_penalty {
        profile.response_sampling.repetition_penalty = penalty;
    }
    if let Some(most) = respond.max_tokens {
        profile.max_tokens = most as usize;
    }
    if let Some(form) = judge.form {
        profile.judge = form.into();
    } else if profile.judge == JudgeForm::Probe
        && (judge.policy_file.is_some() || judge.prompt_file.is_some())
    {
        // A probe would not read them.
        profile.judge = JudgeForm::Likelihood;
    }
    if let Some(margin) = judge.tie_margin {
        profile.tie_margin = margin;
    }
    if let Some(form) = &settings.guard.form {
        profile.guard = guard_form(form)?;
    }
    Ok(())
}

/// The word for no guard.
const NO_GUARD: &str = "none";
const PROBE: &str = "probe";

fn guard_form(name: &str) -> Result<Option<GuardForm>> {
    Ok(match name {
        NO_GUARD => None,
        PROBE => Some(GuardForm::Probe),
        dialect => Some(GuardForm::Dialect(Dialect::named(dialect)?.id().to_owned())),
    })
}

/// What [`guard_form`] reads.
pub(crate) fn guard_name(form: Option<&GuardForm>) -> &str {
    match form {
        None => NO_GUARD,
        Some(GuardForm::Probe) => PROBE,
        Some(GuardForm::Dialect(name)) => name,
    }
}

/// The settings, completed by the profile, so that nothing is left open.
pub(crate) fn fill(settings: &mut Settings, profile: &Profile) {
    settings.induce.form = Some(profile.induction.into());
    settings.induce.candidates = Some(profile.candidates);
    settings.induce.min_gain = profile.min_gain;
    settings.induce.temperature = Some(profile.induction_sampling.temperature);
    settings.respond.candidates = Some(profile.responses);
    settings.respond.temperature = Some(profile.response_sampling.temperature);
    settings.respond.repetition_penalty = Some(profile.response_sampling.repetition_penalty);
    settings.respond.max_tokens = u32::try_from(profile.max_tokens).ok();
    settings.judge.form = Some(profile.judge.into());
    settings.judge.tie_margin = Some(profile.tie_margin);
    settings.guard.form = Some(guard_name(profile.guard.as_ref()).to_owned());
    let codes = profile.languages.codes();
    settings.filters.languages = Some(codes.into_iter().map(str::to_owned).collect());
}

impl From<Form> for InductionForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Reversed => Self::Reversed,
            Form::Chat => Self::Chat,
        }
    }
}

impl From<InductionForm> for Form {
    fn from(form: InductionForm) -> Self {
        match form {
            InductionForm::Reversed => Self::Reversed,
            InductionForm::Chat => Self::Chat,
        }
    }
}

impl From<Judging> for JudgeForm {
    fn from(form: Judging) -> Self {
        match form {
            Judging::Likelihood => Self::Likelihood,
            Judging::Pairwise => Self::Pairwise,
            Judging::Probe => Self::Probe,
        }
    }
}

impl From<JudgeForm> for Judging {
    fn from(form: JudgeForm) -> Self {
        match form {
            JudgeForm::Likelihood => Self::Likelihood,
            JudgeForm::Pairwise => Self::Pairwise,
            JudgeForm::Probe => Self::Probe,
        }
    }
}
