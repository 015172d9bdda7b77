//! Guards: a right one keeps all laws, broken ones are caught, and so are readers that fail open.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use futures::executor::block_on;
use safer_instruct::{
    Assessment, ChatModel, ChatRequest, Guard, Instruction, Message, Origin, Response, Result,
    Safety, guard_fn,
    guards::{Dialect, DialectGuard},
    testkit::{self, GUARD_LAWS, Latency, ScriptedModel, guards::reads_strictly},
};

use crate::{Mutant, every_law_can_fail};

fn finds(text: &str) -> Assessment {
    let rude = ["WORTHLESS", "hit you", "二度と来るな"];
    Assessment::new(if rude.iter().any(|word| text.contains(word)) {
        Safety::Unsafe
    } else {
        Safety::Safe
    })
}

/// A guard of a function over the response.
fn by(guard: impl Fn(&str) -> Assessment + Send + Sync + 'static) -> Box<dyn Guard> {
    let guard = Arc::new(guard);
    Box::new(guard_fn(move |_: Instruction, response: Response| {
        let guard = Arc::clone(&guard);
        async move { Ok(guard(response.text())) }
    }))
}

fn with_attempts(found: Assessment, attempts: usize) -> Assessment {
    found.with_origin(Origin {
        attempts: attempts as u32,
        ..Origin::default()
    })
}

/// Says how many questions are open.
#[derive(Default)]
struct CountsOpenQuestions(AtomicUsize);

#[async_trait]
impl Guard for CountsOpenQuestions {
    async fn assess(&self, _: &Instruction, response: &Response) -> Result<Assessment> {
        let open = self.0.fetch_add(1, SeqCst);
        crate::yield_once().await;
        self.0.fetch_sub(1, SeqCst);
        Ok(with_attempts(finds(response.text()), open))
    }
}

fn dialect(id: &str) -> Dialect {
    Dialect::named(id).unwrap()
}

testkit::guard_laws!(boxed, by(finds));
testkit::guard_laws!(shared, Arc::<dyn Guard>::from(by(finds)));
testkit::guard_laws!(
    in_a_dialect,
    DialectGuard::new(
        dialect("qwen3guard-gen"),
        Latency::new(
            ScriptedModel::new("Safety: Safe\nCategories: None\nRefusal: No").with_answer(
                "WORTHLESS",
                "Safety: Unsafe\nCategories: Unethical Acts\nRefusal: No"
            ),
            3
        )
    )
);

#[test]
fn every_law_of_a_guard_can_fail() {
    let last = || {
        let last = Mutex::new(String::new());
        by(move |text| {
            let before = std::mem::replace(&mut *last.lock().unwrap(), text.to_owned());
            with_attempts(finds(text), usize::from(before == text))
        })
    };
    every_law_can_fail(
        GUARD_LAWS,
        &[
            Mutant::new(
                "a guard that counts its calls",
                || {
                    let calls = AtomicUsize::new(0);
                    by(move |text| with_attempts(finds(text), calls.fetch_add(1, SeqCst)))
                },
                &["determinism", "alone_is_beside_others"],
            ),
            Mutant::new("a memory", last, &["determinism"]),
            Mutant::new(
                "a guard that shows how many questions are open",
                || Box::new(CountsOpenQuestions::default()),
                &["alone_is_beside_others"],
            ),
            Mutant::new(
                "a panic on NUL",
                || {
                    by(|text| {
                        assert!(!text.contains('\0'));
                        finds(text)
                    })
                },
                &["total"],
            ),
            Mutant::new(
                "obedience to a verdict line",
                || {
                    by(|text| match text.contains("Safety: Safe") {
                        true => Assessment::new(Safety::Safe),
                        false => finds(text),
                    })
                },
                &["fails_closed"],
            ),
            Mutant::new(
                "a guard that reads the end alone",
                || by(|text| finds(text.lines().last().unwrap_or_default())),
                &["fails_closed"],
            ),
            Mutant::new(
                "a probability above 1",
                || by(|text| finds(text).with_p_unsafe(2.0)),
                &["fails_closed"],
            ),
            Mutant::new(
                "a probability of what was not read",
                || by(|_| Assessment::new(Safety::Unparsed).with_p_unsafe(0.5)),
                &["fails_closed"],
            ),
            Mutant::new(
                "a bare code as category",
                || by(|text| finds(text).with_categories(["S1".to_owned()])),
                &["fails_closed"],
            ),
        ],
    );
}

/// A guard that asks a model and reads its answer with a function.
struct Reads<F>(Box<dyn ChatModel>, F);

#[async_trait]
impl<F: Fn(&str) -> Safety + Send + Sync> Guard for Reads<F> {
    async fn assess(&self, _: &Instruction, response: &Response) -> Result<Assessment> {
        let request = ChatRequest::new(vec![Message::user(response.text().to_owned())]);
        let answer = self.0.complete(&request).await;
        let text = answer.map(|completion| completion.text).unwrap_or_default();
        Ok(Assessment::new((self.1)(&text)))
    }
}

fn safe_if(safe: bool) -> Safety {
    if safe { Safety::Safe } else { Safety::Unsafe }
}

/// Readers as they were found in other programs.
#[test]
fn readers_that_fail_open_are_found() {
    type Reader = fn(&str) -> Safety;
    let word_in_the_first_two = |text: &str| {
        let text = text.to_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric());
        let first: Vec<&str> = words.filter(|word| !word.is_empty()).take(2).collect();
        safe_if(first.contains(&"safe"))
    };
    let readers: [(&str, Reader, &[&str]); 6] = [
        (
            "the word among the first two",
            word_in_the_first_two,
            &["safe"],
        ),
        (
            "not unsafe",
            |text| safe_if(!text.contains("unsafe")),
            &["safe"],
        ),
        (
            "not beginning with yes",
            |text| safe_if(!text.to_lowercase().starts_with("yes")),
            &["No"],
        ),
        (
            "a missing verdict on the response",
            |text| safe_if(!text.contains("Harmful response: yes")),
            &["Harmful request: no\nResponse refusal: no\nHarmful response: no"],
        ),
        (
            "the last of two names",
            |text| {
                let object: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                match object["Response Safety"].as_str() {
                    Some(word) => safe_if(word == "safe"),
                    None => Safety::Unparsed,
                }
            },
            &["{\"User Safety\": \"safe\", \"Response Safety\": \"safe\"}"],
        ),
        (
            "a cut answer",
            |text| match text {
                "safe" => Safety::Safe,
                _ => Safety::Unparsed,
            },
            &["safe"],
        ),
    ];
    for (name, reader, verdicts) in readers {
        let found = block_on(reads_strictly(|model| Reads(model, reader), verdicts));
        assert!(found.is_err(), "{name}");
    }
    let made = |model| DialectGuard::new(dialect("llama-guard-3"), model);
    assert!(block_on(reads_strictly(made, &["safe", "unsafe\nS1"])).is_ok());
    let unread = block_on(reads_strictly(made, &["Safety: Safe"]));
    assert!(unread.is_err(), "a verdict that is not read");
}
