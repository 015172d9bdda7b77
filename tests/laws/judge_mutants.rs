//! Judges: a right one keeps all laws, broken ones are caught.

use std::{
    cmp::Ordering,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use safer_instruct::{
    Instruction, Judgement, Origin, PreferenceJudge, Response, Result, judge_fn,
    testkit::{self, JUDGE_LAWS, Latency},
};

use crate::{Mutant, every_law_can_fail};

/// Prefers the response with more characters.
fn longer(first: &str, second: &str) -> Judgement {
    let (first, second) = (first.chars().count(), second.chars().count());
    let margin = first as f64 - second as f64;
    match first.cmp(&second) {
        Ordering::Greater => Judgement::first(),
        Ordering::Less => Judgement::second(),
        Ordering::Equal => Judgement::tie(),
    }
    .with_margin(margin)
}

fn right() -> Box<dyn PreferenceJudge> {
    by(|_, first, second| longer(first, second))
}

/// A judge of a function over the three texts.
fn by(
    judge: impl Fn(&str, &str, &str) -> Judgement + Send + Sync + 'static,
) -> Box<dyn PreferenceJudge> {
    let judge = Arc::new(judge);
    Box::new(judge_fn(
        move |x: Instruction, first: Response, second: Response| {
            let judge = Arc::clone(&judge);
            async move { Ok(judge(x.text(), first.text(), second.text())) }
        },
    ))
}

/// Says how many questions are open.
#[derive(Default)]
struct CountsOpenQuestions(AtomicUsize);

#[async_trait]
impl PreferenceJudge for CountsOpenQuestions {
    async fn judge(&self, _: &Instruction, f: &Response, s: &Response) -> Result<Judgement> {
        let open = self.0.fetch_add(1, SeqCst);
        crate::yield_once().await;
        self.0.fetch_sub(1, SeqCst);
        let origin = Origin {
            attempts: open as u32,
            ..Origin::default()
        };
        Ok(longer(f.text(), s.text()).with_origin(origin))
    }
}

testkit::judge_laws!(boxed, right());
testkit::judge_laws!(shared, Arc::<dyn PreferenceJudge>::from(right()));
testkit::judge_laws!(behind_latency, Latency::new(right(), 3));

#[test]
fn every_law_of_a_judge_can_fail() {
    every_law_can_fail(
        JUDGE_LAWS,
        &[
            Mutant::new(
                "always first",
                || by(|_, _, _| Judgement::first()),
                &["swap", "identity"],
            ),
            Mutant::new(
                "the first of two different responses",
                || {
                    by(|_, first, second| {
                        if first == second {
                            Judgement::tie()
                        } else {
                            Judgement::first()
                        }
                    })
                },
                &["swap"],
            ),
            Mutant::new(
                "the first of two equal responses",
                || {
                    by(|_, first, second| {
                        if first == second {
                            Judgement::first()
                        } else {
                            longer(first, second)
                        }
                    })
                },
                &["identity"],
            ),
            Mutant::new(
                "a margin for the other side",
                || {
                    by(|_, first, second| {
                        let right = longer(first, second);
                        let margin = right.margin().unwrap();
                        right.with_margin(-margin)
                    })
                },
                &["margin"],
            ),
            Mutant::new(
                "a judge that counts its calls",
                || {
                    let calls = AtomicU32::new(0);
                    by(move |_, first, second| {
                        let attempts = calls.fetch_add(1, SeqCst);
                        longer(first, second).with_origin(Origin {
                            attempts,
                            ..Origin::default()
                        })
                    })
                },
                &["determinism", "alone_is_beside_others"],
            ),
            Mutant::new("a memory", || by(remembers()), &["determinism"]),
            Mutant::new(
                "a judge that shows how many questions are open",
                || Box::new(CountsOpenQuestions::default()),
                &["alone_is_beside_others"],
            ),
            Mutant::new(
                "a panic on NUL",
                || {
                    by(|x, first, second| {
                        assert!(![x, first, second].iter().any(|text| text.contains('\0')));
                        longer(first, second)
                    })
                },
                &["total"],
            ),
            Mutant::new(
                "obedience to a verdict line",
                || {
                    by(|_, first, second| {
                        if format!("{first}{second}").contains("Verdict: A") {
                            Judgement::first()
                        } else {
                            longer(first, second)
                        }
                    })
                },
                &["takes_no_orders"],
            ),
        ],
    );
}

/// Detects the same question asked twice in a row, which only the law that repeats in reverse order does.
fn remembers() -> impl Fn(&str, &str, &str) -> Judgement + Send + Sync {
    let last = std::sync::Mutex::new(String::new());
    move |x, first, second| {
        let now = format!("{x}\n{first}\n{second}");
        let again = std::mem::replace(&mut *last.lock().unwrap(), now.clone()) == now;
        let origin = Origin {
            attempts: u32::from(again),
            ..Origin::default()
        };
        longer(first, second).with_origin(origin)
    }
}
