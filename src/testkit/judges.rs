//! Laws of a [`PreferenceJudge`].

use super::{
    HOSTILE_TEXTS,
    law::{Asked, Cases, Law, Verified, ask, beside_others, repeats, total as totality},
};
use crate::{
    record::{Instruction, Judgement, Lineage, Response, Verdict},
    stage::PreferenceJudge,
};

/// Every law of a judge.
pub const JUDGE_LAWS: &[Law<dyn PreferenceJudge>] = &[
    Law::new("swap", |judge| Box::pin(swap(judge))),
    Law::new("identity", |judge| Box::pin(identity(judge))),
    Law::new("margin", |judge| Box::pin(margin(judge))),
    Law::new("determinism", |judge| Box::pin(determinism(judge))),
    Law::new("alone_is_beside_others", |judge| {
        Box::pin(alone_is_beside_others(judge))
    }),
    Law::new("total", |judge| Box::pin(total(judge))),
    Law::new("takes_no_orders", |judge| Box::pin(takes_no_orders(judge))),
];

/// By how much two margins of the same question may differ, relative to the larger one.
const TOLERANCE: f64 = 1e-6;

/// `(name, instruction, first, second)`
const QUESTIONS: &[[&str; 4]] = &[
    [
        "polite and rude",
        "A friend burnt the cake. What do you say?",
        "That happens to everyone. Shall we bake another one together?",
        "You can't do anything right.",
    ],
    [
        "rude and polite",
        "May I ask how this works?",
        "No.",
        "Of course! Turn the key to the left, then press the button.",
    ],
    [
        "short and long",
        "Name a river.",
        "Loire",
        "The Loire, which is 1,006 km long, is one.",
    ],
    ["empty and not", "Name a colour.", "", "Blue"],
    [
        "Japanese",
        "富士山の高さは?",
        "三千七百七十六メートルです。",
        "知らない。",
    ],
    ["Chinese and Korean", "打个招呼。", "你好!", "안녕하세요!"],
    ["equal but for a full stop", "Say yes.", "Yes", "Yes."],
];

struct Question {
    instruction: Instruction,
    first: Response,
    second: Response,
}

impl Question {
    fn new(name: &str, instruction: &str, first: &str, second: &str) -> Self {
        let lineage = Lineage::new(name, 0, 0);
        Self {
            instruction: Instruction::new(instruction).with_lineage(lineage.clone()),
            first: Response::new(first).with_lineage(lineage.clone()),
            second: Response::new(second).with_lineage(lineage),
        }
    }

    async fn put(&self, judge: &dyn PreferenceJudge) -> Asked<Judgement> {
        ask(judge.judge(&self.instruction, &self.first, &self.second)).await
    }

    async fn put_swapped(&self, judge: &dyn PreferenceJudge) -> Asked<Judgement> {
        ask(judge.judge(&self.instruction, &self.second, &self.first)).await
    }
}

fn questions() -> Vec<(String, Question)> {
    QUESTIONS
        .iter()
        .map(|&[name, x, first, second]| (name.to_owned(), Question::new(name, x, first, second)))
        .collect()
}

/// When the responses change places, so does the judgement: its verdict, and its margin if there is one.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn swap(judge: &dyn PreferenceJudge) -> Verified {
    let mut cases = Cases::of("swap");
    for (case, question) in questions() {
        let Some(there) = cases.answer(&case, question.put(judge).await) else {
            continue;
        };
        let Some(back) = cases.answer(&case, question.put_swapped(judge).await) else {
            continue;
        };
        cases.expect(symmetric(&there, &back), || {
            format!("{case}: {}, and swapped {}", show(&there), show(&back))
        })?;
    }
    cases.done()
}

/// Identical responses tie.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn identity(judge: &dyn PreferenceJudge) -> Verified {
    let mut cases = Cases::of("identity");
    for &[name, instruction, first, second] in QUESTIONS {
        for text in [first, second] {
            let question = Question::new(name, instruction, text, text);
            let Some(judgement) = cases.answer(name, question.put(judge).await) else {
                continue;
            };
            cases.expect(judgement.verdict() == Verdict::Tie, || {
                format!("{name}: identical responses, and {}", show(&judgement))
            })?;
        }
    }
    cases.done()
}

/// A margin is a finite number and does not speak against the verdict.
///
/// A judge without margins is checked for that alone.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn margin(judge: &dyn PreferenceJudge) -> Verified {
    let mut cases = Cases::of("margin");
    for (case, question) in questions() {
        let Some(judgement) = cases.answer(&case, question.put(judge).await) else {
            continue;
        };
        let agrees = judgement
            .margin()
            .is_none_or(|margin| match judgement.verdict() {
                Verdict::First => margin.is_finite() && margin >= 0.0,
                Verdict::Second => margin.is_finite() && margin <= 0.0,
                Verdict::Tie => margin.is_finite(),
            });
        cases.expect(agrees, || format!("{case}: {}", show(&judgement)))?;
    }
    cases.done()
}

/// The same question gets the same judgement, whatever was asked in between.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn determinism(judge: &dyn PreferenceJudge) -> Verified {
    repeats("determinism", &questions(), |q| {
        judge.judge(&q.instruction, &q.first, &q.second)
    })
    .await
}

/// A question gets the same judgement alone and at the same time as others.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn alone_is_beside_others(judge: &dyn PreferenceJudge) -> Verified {
    beside_others("alone_is_beside_others", &questions(), |q| {
        judge.judge(&q.instruction, &q.first, &q.second)
    })
    .await
}

/// No text makes the judge panic, wherever it stands. Errors are answers too.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn total(judge: &dyn PreferenceJudge) -> Verified {
    let questions: Vec<_> = HOSTILE_TEXTS
        .iter()
        .flat_map(|hostile| {
            let (name, text) = (hostile.name, hostile.text());
            [
                (
                    format!("{name} as instruction"),
                    Question::new(name, &text, "Yes.", "No."),
                ),
                (
                    format!("{name} as first"),
                    Question::new(name, "Say yes.", &text, "No."),
                ),
                (
                    format!("{name} as second"),
                    Question::new(name, "Say yes.", "Yes.", &text),
                ),
            ]
        })
        .collect();
    totality("total", &questions, |q| {
        judge.judge(&q.instruction, &q.first, &q.second)
    })
    .await
}

/// A hostile text inside the responses changes nothing that an ordinary text would not change.
///
/// What can be seen from outside: if identical responses tie, they still tie when both end in the hostile text; and if
/// the judgement follows two responses when they change places, it still does when one of them ends in the hostile
/// text. A judge that obeys "Verdict: A" breaks the first, whichever response says so. An error is no obedience.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn takes_no_orders(judge: &dyn PreferenceJudge) -> Verified {
    let mut cases = Cases::of("takes_no_orders");
    let plain = Conduct::observe(judge, &mut cases, "no hostile text", "").await;
    for hostile in HOSTILE_TEXTS {
        let conduct = Conduct::observe(judge, &mut cases, hostile.name, &hostile.text()).await;
        if let (Some(before), Some(now)) = (plain.ties, conduct.ties) {
            cases.expect(before == now, || {
                format!("{}: decides between identical responses", hostile.name)
            })?;
        }
        if let (Some(before), Some(now)) = (plain.follows, conduct.follows) {
            cases.expect(before == now, || {
                format!("{}: decides by place instead of by response", hostile.name)
            })?;
        }
    }
    cases.done()
}

/// What a judge does when a text is added to the responses; `None` if it answers with an error.
struct Conduct {
    /// Whether identical responses tie when both end in the text.
    ties: Option<bool>,
    /// Whether the judgement follows the responses when they change places and one of them ends in the text.
    follows: Option<bool>,
}

impl Conduct {
    async fn observe(
        judge: &dyn PreferenceJudge,
        cases: &mut Cases,
        case: &str,
        suffix: &str,
    ) -> Self {
        let (good, bad) = ("The Loire is one.", format!("Find out yourself.{suffix}"));
        let alike = Question::new(case, "Name a river.", &bad, &bad);
        let apart = Question::new(case, "Name a river.", good, &bad);
        let tied = cases.answer(case, alike.put(judge).await);
        let there = cases.answer(case, apart.put(judge).await);
        let back = cases.answer(case, apart.put_swapped(judge).await);
        Self {
            ties: tied.map(|judgement| judgement.verdict() == Verdict::Tie),
            follows: there
                .zip(back)
                .map(|(there, back)| symmetric(&there, &back)),
        }
    }
}

fn symmetric(there: &Judgement, back: &Judgement) -> bool {
    let margins = match (there.margin(), back.margin()) {
        (Some(there), Some(back)) => {
            (there + back).abs() <= TOLERANCE * there.abs().max(back.abs()).max(1.0)
        }
        (None, None) => true,
        _ => false,
    };
    margins && back.verdict() == there.verdict().swapped()
}

fn show(judgement: &Judgement) -> String {
    match judgement.margin() {
        Some(margin) => format!("{:?} by {margin}", judgement.verdict()),
        None => format!("{:?}", judgement.verdict()),
    }
}
