//! Prompted stages on scripted models.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use futures::executor::block_on;
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Continuation, Decision, Draft, Error, FinishReason,
    Instruction, InstructionGenerator, Judgement, Lineage, ModelId, Origin, PreferenceJudge,
    Prompt, Response, ResponseGenerator, ScoreRequest, Scores, ScoringModel, SourceText, Usage,
    complete_fn, filter_fn, induce_fn, judge_fn,
    prompt::built_in,
    score_fn,
    stages::{BestOf, BestResponse, ChatInduction, ExpertResponse, ReversedInduction},
};

const COST: Usage = Usage {
    prompt_tokens: 10,
    completion_tokens: 2,
};

type Seen = Arc<Mutex<Vec<ChatRequest>>>;

/// A model that gives the answers one after the other, the last one for ever, and the requests that it has seen.
fn scripted(
    answers: &'static [&'static str],
    finish_reason: FinishReason,
) -> (impl ChatModel, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let model = complete_fn(move |request: ChatRequest| {
        let mut log = log.lock().unwrap();
        let text = answers[log.len().min(answers.len() - 1)].to_owned();
        log.push(request);
        async move {
            let model = Arc::new(ModelId::new("scripted"));
            Ok(Completion::new(text, finish_reason, COST, model))
        }
    });
    (model, seen)
}

fn source(text: &str) -> SourceText {
    SourceText::new("t", text).with_lineage(Lineage::new("t", 0, 7))
}

#[test]
fn an_answer_without_words_is_asked_for_again_with_the_next_seed() {
    let (model, seen) = scripted(&["...", "\n", "Say hello."], FinishReason::Stop);
    let source = source("Hello!");
    let instruction = block_on(ReversedInduction::new(model).induce(&source)).unwrap();
    let seed = source.lineage().seed("induce");
    assert_eq!(
        instruction.origin(),
        Some(&Origin {
            method: "reversed".into(),
            model: Some(Arc::new(ModelId::new("scripted"))),
            prompt_hash: Some(built_in::INDUCE_REVERSED.template().hash().clone()),
            seed: Some(seed.wrapping_add(2)),
            attempts: 3,
            truncated: false,
            logprob: None,
            usage: Usage {
                prompt_tokens: 30,
                completion_tokens: 6
            },
        })
    );
    assert_eq!(instruction.lineage(), source.lineage());
    let seen = seen.lock().unwrap();
    let temperatures: Vec<f64> = seen
        .iter()
        .map(|request| request.sampling.temperature)
        .collect();
    assert_eq!(
        temperatures,
        [0.0, 0.7, 0.7],
        "the likeliest answer would not change"
    );
    assert_eq!(
        (seen[0].max_tokens, &seen[0].stop[..]),
        (64, &["\n###".to_owned()][..])
    );
    assert_eq!(seen[1].sampling.seed, seed.wrapping_add(1));
}

#[test]
fn resampling_ends_and_other_errors_end_it_at_once() {
    let (model, seen) = scripted(&["?"], FinishReason::Stop);
    let stage = ReversedInduction::new(model).with_resamples(1);
    let error = block_on(stage.induce(&source("Hello!"))).unwrap_err();
    assert!(
        matches!(error, Error::Exhausted { attempts: 2, .. }),
        "{error}"
    );
    assert_eq!(seen.lock().unwrap().len(), 2);

    let refusing = complete_fn(|_| async { Err(Error::config("x", "y")) });
    let error = block_on(ChatInduction::new(refusing).induce(&source("Hello!"))).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
}

#[test]
fn an_instruction_is_truncated_only_if_it_was_cut_itself() {
    for (answer, truncated) in [
        ("Write a poem about", true),
        ("Write a poem.\nIt should", false),
    ] {
        let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
        let (model, _) = scripted(answers, FinishReason::Length);
        let instruction = block_on(ChatInduction::new(model).induce(&source("Hello!"))).unwrap();
        assert_eq!(
            instruction.origin().unwrap().truncated,
            truncated,
            "{answer}"
        );
    }
}

#[test]
fn the_language_of_the_text_chooses_the_prompt() {
    for (text, prompt) in [
        (
            "Please wash the dishes before you leave.",
            built_in::INDUCE_EN,
        ),
        ("皿を洗ってから出かけてください。", built_in::INDUCE_JA),
        ("나가기 전에 설거지를 해 주세요.", built_in::INDUCE_OTHER),
    ] {
        let (model, seen) = scripted(&["Ok then"], FinishReason::Stop);
        let instruction = block_on(ChatInduction::new(model).induce(&source(text))).unwrap();
        let hash = instruction.origin().unwrap().prompt_hash.clone().unwrap();
        assert_eq!(hash, *prompt.template().hash(), "{text}");
        let Prompt::Chat(messages) = seen.lock().unwrap()[0].prompt.clone() else {
            panic!()
        };
        assert!(messages.last().unwrap().content.contains(text));
        assert_eq!(
            messages[0].content.contains("in Korean"),
            text.contains("설거지")
        );
    }
}

#[test]
fn a_prompt_of_ones_own_is_checked_when_it_is_set() {
    let (model, seen) = scripted(&["A greeting?"], FinishReason::Stop);
    assert!(
        ReversedInduction::new(&model)
            .with_prompt("{{text}}")
            .is_err()
    );
    let stage = ReversedInduction::new(&model)
        .with_prompt("T: {{source}}\nI:")
        .unwrap();
    block_on(stage.induce(&source("{{source}}"))).unwrap();
    assert_eq!(
        seen.lock().unwrap()[0].prompt,
        Prompt::Raw("T: {{source}}\nI:".into())
    );
}

#[test]
fn the_policy_holds_whatever_the_order_of_the_setters() {
    let markdown = "## system\n{{policy}}\n## user\n{{instruction}}";
    let (model, seen) = scripted(&["Of course."], FinishReason::Length);
    let first = ExpertResponse::new(&model)
        .with_policy("P")
        .with_prompt(markdown)
        .unwrap();
    let second = ExpertResponse::new(&model)
        .with_prompt(markdown)
        .unwrap()
        .with_policy("P");
    let x = Instruction::new("Help me.");
    let a = block_on(first.respond(&x)).unwrap();
    let b = block_on(second.respond(&x)).unwrap();
    assert_eq!(a, b);
    assert!(a.origin().unwrap().truncated);
    let Prompt::Chat(messages) = seen.lock().unwrap()[0].prompt.clone() else {
        panic!()
    };
    assert_eq!(messages[0].content, "P");
    let other = block_on(second.with_policy("Q").respond(&x)).unwrap();
    assert_ne!(
        other.origin().unwrap().prompt_hash,
        a.origin().unwrap().prompt_hash
    );
}

#[test]
fn an_empty_response_is_asked_for_again() {
    let (model, _) = scripted(&["  ", "以下のとおりです。"], FinishReason::Stop);
    let response = block_on(ExpertResponse::new(model).respond(&Instruction::new("はい"))).unwrap();
    assert_eq!(
        (response.text(), response.origin().unwrap().attempts),
        ("以下のとおりです。", 2)
    );
}

/// Scores a prompt by the digit that it ends with, and counts the requests.
fn scorer(calls: &Arc<Mutex<usize>>) -> impl ScoringModel + use<> {
    let calls = calls.clone();
    score_fn(move |request: ScoreRequest| {
        *calls.lock().unwrap() += 1;
        async move {
            let Prompt::Chat(messages) = &request.prompt else {
                panic!()
            };
            assert_eq!(request.continuations, ["The text."]);
            let digit = messages[0]
                .content
                .chars()
                .last()
                .unwrap()
                .to_digit(10)
                .unwrap();
            Ok(Scores {
                continuations: vec![Continuation {
                    logprob: -f64::from(digit),
                    tokens: 1,
                }],
                usage: COST,
                model: Arc::new(ModelId::new("scorer")),
            })
        }
    })
}

#[test]
fn best_of_scores_each_distinct_candidate_once_and_adds_up_the_cost() {
    let text = source("The text.");
    let digits: Vec<u64> = (0..6)
        .map(|i| {
            let seed = text.lineage().seed(&format!("best_of/{i}"));
            text.lineage().clone().with_run_seed(seed).seed("induce") % 4
        })
        .collect();
    let induce = induce_fn(|source: SourceText| async move {
        let origin = Origin {
            usage: COST,
            attempts: 1,
            ..Origin::default()
        };
        let digit = source.lineage().seed("induce") % 4;
        Ok(Instruction::new(format!("Say {digit}")).with_origin(origin))
    });
    let calls = Arc::new(Mutex::new(0));
    let best = block_on(BestOf::new(induce, scorer(&calls), 6).induce(&text)).unwrap();
    let mut distinct = digits.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 1 && distinct.len() < 6);
    assert_eq!(*calls.lock().unwrap(), distinct.len());
    assert_eq!(best.text(), format!("Say {}", distinct[0]));
    assert_eq!(best.lineage(), text.lineage());
    let origin = best.origin().unwrap();
    assert_eq!(origin.method, "best_of_6");
    assert_eq!(origin.usage.prompt_tokens, 10 * (6 + distinct.len() as u64));
}

#[test]
fn best_of_weighs_how_likely_a_candidate_is_if_all_candidates_say_it() {
    // "Say 0" makes the text likeliest, but was an unlikely thing to say; "Say 3" is the other way round.
    let likelihood = |digit: u64| f64::from(u32::try_from(digit).unwrap()) - 4.0;
    let induce = move |known_up_to: u64| {
        induce_fn(move |source: SourceText| async move {
            let digit = source.lineage().seed("induce") % 4;
            let origin = Origin {
                logprob: (digit < known_up_to).then(|| likelihood(digit)),
                ..Origin::default()
            };
            Ok(Instruction::new(format!("Say {digit}")).with_origin(origin))
        })
    };
    let calls = Arc::new(Mutex::new(0));
    let said = |known_up_to, weight| {
        let best = BestOf::new(induce(known_up_to), scorer(&calls), 32);
        let best = best.with_likelihood_weight(weight);
        block_on(best.induce(&source("The text.")))
            .unwrap()
            .text()
            .to_owned()
    };
    assert_eq!(said(4, 0.5), "Say 0");
    assert_eq!(said(4, 1.5), "Say 3");
    assert_eq!(said(3, 1.5), "Say 0", "one candidate does not say it");
}

#[test]
fn best_of_fails_only_if_every_candidate_does() {
    let some = induce_fn(|source: SourceText| async move {
        if source.lineage().seed("induce").is_multiple_of(2) {
            Ok(Instruction::new("Say 1"))
        } else {
            Err(Error::malformed("x"))
        }
    });
    let calls = Arc::new(Mutex::new(0));
    let best = block_on(BestOf::new(some, scorer(&calls), 16).induce(&source("The text.")));
    assert_eq!(best.unwrap().text(), "Say 1");

    let none = induce_fn(|_| async { Err(Error::malformed("x")) });
    let error = block_on(BestOf::new(none, scorer(&calls), 3).induce(&source("The text.")));
    assert!(matches!(error, Err(Error::Malformed { .. })));
}

#[test]
fn best_of_prefers_candidates_that_pass_the_filters() {
    let text = source("The text.");
    let digits: BTreeSet<u64> = (0..8)
        .map(|i| {
            let seed = text.lineage().seed(&format!("best_of/{i}"));
            text.lineage().clone().with_run_seed(seed).seed("induce") % 4
        })
        .collect();
    let induce = || {
        induce_fn(|source: SourceText| async move {
            let digit = source.lineage().seed("induce") % 4;
            Ok(Instruction::new(format!("Say {digit}")))
        })
    };
    let least = *digits.first().unwrap();
    let drop_least = filter_fn(move |draft: &Draft| {
        let dropped = draft.instruction()?.text() == format!("Say {least}");
        Ok(if dropped {
            Decision::drop("least")
        } else {
            Decision::Keep
        })
    });
    let calls = Arc::new(Mutex::new(0));
    let best = BestOf::new(induce(), scorer(&calls), 8).with_filter(drop_least);
    let second = digits.iter().nth(1).unwrap();
    let found = block_on(best.induce(&text)).unwrap();
    assert_eq!(found.text(), format!("Say {second}"));
    assert_eq!(*calls.lock().unwrap(), digits.len() - 1);

    let drop_all = filter_fn(|_: &Draft| Ok(Decision::drop("all")));
    let best = BestOf::new(induce(), scorer(&calls), 8).with_filter(drop_all);
    let found = block_on(best.induce(&text)).unwrap();
    assert_eq!(found.text(), format!("Say {least}"));
}

/// Prefers the later letter, finds `=` as good as anything, cannot read `?`, and is set up wrongly for `#`.
fn alphabet(count: Arc<Mutex<u32>>) -> impl PreferenceJudge {
    judge_fn(move |_, first: Response, second: Response| {
        *count.lock().unwrap() += 1;
        async move {
            let texts = [first.text(), second.text()];
            if texts.contains(&"?") {
                return Err(Error::malformed("a verdict"));
            }
            if texts.contains(&"#") {
                return Err(Error::config("judge", "there is no probe"));
            }
            let origin = Origin {
                usage: COST,
                ..Origin::default()
            };
            let judgement = match (texts.contains(&"="), texts[0] > texts[1]) {
                (true, _) => Judgement::tie(),
                (_, true) => Judgement::first(),
                (_, false) => Judgement::second(),
            };
            Ok(judgement.with_origin(origin))
        }
    })
}

/// The best of the answers, its cost, and how often the judge was asked. An answer that ends in `…` was cut off, and `!` is
/// an error.
fn best(answers: &'static [&'static str]) -> (Result<Response, Error>, u32) {
    let (asked, seeds) = (
        Arc::new(Mutex::new(0)),
        Arc::new(Mutex::new(BTreeSet::new())),
    );
    let (number, seen) = (Mutex::new(0), seeds.clone());
    let expert = safer_instruct::respond_fn(move |instruction: Instruction| {
        seen.lock()
            .unwrap()
            .insert(instruction.lineage().seed("respond"));
        let mut number = number.lock().unwrap();
        let text = answers[*number];
        *number += 1;
        async move {
            if text == "!" {
                return Err(Error::malformed("a text with words"));
            }
            let origin = Origin {
                usage: COST,
                truncated: text.ends_with('…'),
                ..Origin::default()
            };
            Ok(Response::new(text).with_origin(origin))
        }
    });
    let stage = BestResponse::new(expert, alphabet(asked.clone()), answers.len() as u32);
    let instruction = Instruction::new("Which?").with_lineage(Lineage::new("t", 0, 7));
    let response = block_on(stage.respond(&instruction));
    assert_eq!(
        seeds.lock().unwrap().len(),
        answers.len(),
        "each has its own seed"
    );
    let asked = *asked.lock().unwrap();
    (response, asked)
}

#[test]
fn the_response_that_the_judge_prefers_is_kept() {
    for (answers, winner, asked) in [
        (&["a", "c", "b"][..], "c", 2),
        // Equal ones are compared once.
        (&["b", "b", "a", "b"], "b", 1),
        // After a tie the leader stays.
        (&["b", "=", "a"], "b", 2),
        (&["=", "b"], "=", 1),
        // What cannot be compared does not win, and what failed is left out.
        (&["a", "?", "b"], "b", 2),
        (&["!", "a", "!"], "a", 0),
        // One that was cut off comes last.
        (&["z…", "a", "b"], "b", 1),
        (&["a…", "b…"], "b…", 1),
    ] {
        let (response, judged) = best(answers);
        assert_eq!(response.unwrap().text(), winner, "{answers:?}");
        assert_eq!(judged, asked, "{answers:?}");
    }
    let (response, _) = best(&["!", "!"]);
    assert!(matches!(response.unwrap_err(), Error::Malformed { .. }));
    // What the next text would meet too is not passed over.
    let (response, asked) = best(&["a", "#", "b"]);
    assert!(response.unwrap_err().ends_run());
    assert_eq!(asked, 1);
}

#[test]
fn the_best_response_tells_what_all_of_them_cost() {
    let (response, _) = best(&["a", "c", "b"]);
    let response = response.unwrap();
    let origin = response.origin().unwrap();
    assert_eq!(origin.method, "best_of_3");
    // Three responses and two judgements.
    assert_eq!(
        origin.usage,
        Usage {
            prompt_tokens: 50,
            completion_tokens: 10
        }
    );
    assert_eq!(response.lineage(), &Lineage::new("t", 0, 7));
}
