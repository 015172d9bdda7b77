//! What a run would do, without doing it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clap::ValueEnum;
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Continuation, Draft, Error, Filter, FinishReason,
    Instruction, Judgement, ModelId, PreferenceJudge, Prompt, Response, Result, ScoreRequest,
    Scores, ScoringModel, SourceText, Usage, judge_fn,
    profiles::{GuardForm, JudgeForm, Profile},
};

use super::{
    layout,
    models::{Model, bundled_adapter, expected_heads},
    profile::{self, Facts, guard_name},
    stages::{Parts, Prompts},
    texts::Counted,
};
use crate::settings::{Chosen, Form, Judging, Place, Settings, money};

/// Characters of a token, where words are set apart by spaces; elsewhere it is one.
const CHARS_A_TOKEN: u64 = 4;

/// Prints models, form, filters, the prompts of the first text, and an estimate of calls, tokens and cost.
pub(crate) async fn print(settings: &Settings, prompts: &Prompts, counted: &Counted) -> Result<()> {
    let chosen = settings.models()?;
    let [induce, _, judge, _] = &chosen;
    let has_adapter = match settings.adapter() {
        Some(given) => given.is_some(),
        None => bundled_adapter(settings, induce).is_some(),
    };
    // What a file holds is not known before it is loaded; an instruct model is assumed.
    let probe = expected_heads(settings, judge)?;
    let facts = [has_adapter, false, false].map(|has_adapter| Facts {
        has_chat_template: true,
        has_adapter,
        probe,
    });
    let profile = profile::of(settings, &chosen, facts)?;
    println!("texts      {}", counted.texts);
    let asks = matches!(profile.guard, Some(GuardForm::Dialect(_)));
    for (stage, model) in STAGES.iter().zip(&chosen).take(if asks { 4 } else { 3 }) {
        println!("{stage:<10} {}", describe(model));
    }
    println!(
        "induction  {}, {}",
        value_name(&Form::from(profile.induction)),
        if has_adapter {
            "with an adapter"
        } else {
            "without an adapter"
        }
    );
    println!("responses  at most {} tokens", profile.max_tokens);
    println!("judgement  {}", value_name(&Judging::from(profile.judge)));
    println!("guard      {}", describe_guard(settings, &profile));
    println!("languages  {}", profile.languages);
    if !counted.uncovered.is_empty() {
        println!("           {}", counted.uncovered);
    }
    let filters = toml::to_string(&settings.filters).map_err(|error| Error::Other(error.into()))?;
    println!(
        "filters    {}",
        filters.trim_end().replace('\n', "\n           ")
    );
    let Some(first) = &counted.first else {
        return Ok(());
    };
    let parts = Parts {
        settings,
        profile: &profile,
        prompts,
    };
    let asked = ask(&parts, first).await?;
    for (stage, calls) in STAGES.iter().zip(&asked) {
        // A probe reads states, and is asked nothing.
        let Some(Call { prompt, .. }) = calls.first() else {
            continue;
        };
        let id = layout::block(first.lineage().source_id());
        println!(
            "\nprompt of the stage {stage} for the text {}:",
            id.trim_start()
        );
        print_prompt(prompt);
    }
    print_estimate(settings, counted, &chosen, &asked);
    Ok(())
}

const STAGES: [&str; 4] = ["induce", "respond", "judge", "guard"];

fn describe_guard(settings: &Settings, profile: &Profile) -> String {
    let name = guard_name(profile.guard.as_ref());
    let limits = &settings.guard;
    match profile.guard {
        None => name.to_owned(),
        Some(_) => format!(
            "{name}; P(unsafe) of the chosen response at most {}, of the rejected one at least {}; P(refusal) at most {}",
            limits.max_chosen, limits.min_rejected, limits.max_refusal
        ),
    }
}

fn describe(model: &Chosen) -> String {
    match &model.place {
        Place::Local(_) => format!("{} on this machine", model.name),
        Place::Served { base_url, .. } => format!("{} at {base_url}", model.name),
    }
}

fn value_name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or(String::new(), |value| value.get_name().to_owned())
}

fn print_prompt(prompt: &Prompt) {
    match prompt {
        Prompt::Chat(messages) => {
            for message in messages {
                println!("  {}:", message.role.as_str());
                println!("{}", layout::block(&message.content));
            }
        }
        Prompt::Raw(text) => println!("{}", layout::block(text)),
        other => println!("{}", layout::block(&format!("{other:?}"))),
    }
}

/// One question to a model.
#[derive(Clone)]
struct Call {
    prompt: Prompt,
    most_written: u64,
}

/// Writes down what it is asked, and gives a placeholder.
struct Listener {
    calls: Mutex<Vec<Call>>,
    says: &'static str,
    /// Whether each answer is another one: candidates that are the same would be scored once.
    numbered: bool,
}

impl Listener {
    fn new(says: &'static str) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            says,
            numbered: false,
        })
    }

    fn numbered(says: &'static str) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            says,
            numbered: true,
        })
    }

    /// How many calls there are with this one.
    fn hear(&self, prompt: &Prompt, most_written: u64) -> usize {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(Call {
            prompt: prompt.clone(),
            most_written,
        });
        calls.len()
    }

    fn calls(&self) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.clone()
    }
}

#[async_trait]
impl ChatModel for Listener {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let number = self.hear(&request.prompt, request.max_tokens as u64);
        let text = if self.numbered {
            format!("{} {number}", self.says)
        } else {
            self.says.to_owned()
        };
        let model = Arc::new(ModelId::new("none"));
        Ok(Completion::new(
            text,
            FinishReason::Stop,
            Usage::default(),
            model,
        ))
    }
}

#[async_trait]
impl ScoringModel for Listener {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        self.hear(&request.prompt, 0);
        let zero = Continuation {
            logprob: 0.0,
            tokens: 1,
        };
        Ok(Scores {
            continuations: vec![zero; request.continuations.len()],
            usage: Usage::default(),
            model: Arc::new(ModelId::new("none")),
        })
    }
}

/// What each stage asks for a text.
async fn ask(parts: &Parts<'_>, text: &SourceText) -> Result<[Vec<Call>; 4]> {
    // The prompts follow the language.
    let japanese = text
        .text()
        .chars()
        .any(|c| matches!(c, '\u{3040}'..='\u{30ff}'));
    let (instruction, response) = if japanese {
        (
            "（導き出された指示がここに入ります）",
            "（その指示への応答がここに入ります）",
        )
    } else {
        (
            "(the induced instruction stands here)",
            "(the response to that instruction stands here)",
        )
    };
    let [induce, scorer, respond, judge, guard] = [
        Listener::numbered(instruction),
        Listener::new(""),
        if parts.profile.responses > 1 {
            Listener::numbered(response)
        } else {
            Listener::new(response)
        },
        Listener::new("Verdict: A"),
        Listener::new(""),
    ];
    let model = |listener: &Arc<Listener>| -> Arc<dyn Model> { listener.clone() };
    parts
        .inducer(model(&induce), model(&scorer))?
        .induce(text)
        .await?;
    let instruction = Instruction::new(instruction).with_lineage(text.lineage().clone());
    if let Some(filter) = parts.related(model(&scorer)) {
        let draft = Draft::new(text.clone()).with_instruction(instruction.clone());
        filter.assess(&draft).await?;
    }
    let comparing = || -> Result<Box<dyn PreferenceJudge>> {
        match parts.profile.judge {
            JudgeForm::Probe => Ok(Box::new(judge_fn(|_, _, _| async { Ok(Judgement::tie()) }))),
            _ => parts.judge(model(&judge), None),
        }
    };
    let expert = parts.expert(model(&respond), comparing()?)?;
    expert.respond(&instruction).await?;
    let (response, other) = (Response::new(response), Response::new(text.text()));
    comparing()?.judge(&instruction, &response, &other).await?;
    if let Some(GuardForm::Dialect(_)) = parts.profile.guard
        && let Some(stage) = parts.guard(Some(model(&guard)), None)?
    {
        stage.assess(&instruction, &response).await?;
        stage.assess(&instruction, &other).await?;
    }
    let induced = induce.calls().into_iter().chain(scorer.calls()).collect();
    Ok([induced, respond.calls(), judge.calls(), guard.calls()])
}

/// Tokens of a text, roughly.
fn tokens(chars: u64, dense: u64) -> u64 {
    dense + chars.saturating_sub(dense).div_ceil(CHARS_A_TOKEN)
}

fn tokens_of(text: &str) -> u64 {
    let dense = text.chars().filter(|c| *c >= '\u{2e80}').count();
    tokens(text.chars().count() as u64, dense as u64)
}

fn tokens_of_prompt(prompt: &Prompt) -> u64 {
    match prompt {
        Prompt::Chat(messages) => messages
            .iter()
            .map(|message| tokens_of(&message.content))
            .sum(),
        Prompt::Raw(text) => tokens_of(text),
        _ => 0,
    }
}

fn print_estimate(
    settings: &Settings,
    counted: &Counted,
    chosen: &[Chosen; 4],
    asked: &[Vec<Call>; 4],
) {
    let texts = counted.texts - counted.uncovered.total();
    let draws = texts * u64::from(settings.run.draws);
    let first = counted
        .first
        .as_ref()
        .map_or(0, |text| tokens_of(text.text()));
    let mean = tokens(counted.chars, counted.dense) / counted.texts.max(1);
    let (mut calls, mut read, mut written, mut cost) = (0, 0, 0, 0_u64);
    for ((at, asked), model) in asked.iter().enumerate().zip(chosen) {
        for call in asked {
            // The text stands in the prompts of induction and judgement.
            let others = tokens_of_prompt(&call.prompt);
            let of_text = if at == 1 { (0, 0) } else { (first, mean) };
            let usage = Usage {
                prompt_tokens: (others.saturating_sub(of_text.0) + of_text.1) * draws,
                completion_tokens: call.most_written * draws,
            };
            calls += draws;
            read += usage.prompt_tokens;
            written += usage.completion_tokens;
            cost += model.price.cost(usage);
        }
    }
    println!("\nat most {calls} calls, about {read} tokens read and at most {written} written");
    if cost > 0 {
        println!("at most about {}", money(cost));
    }
}
