//! Several responses, of which a judge prefers one.

use async_trait::async_trait;
use futures::future::join_all;

use crate::{
    error::{Error, Result},
    record::{Instruction, Origin, Response, Usage, Verdict},
    stage::{PreferenceJudge, ResponseGenerator},
};

/// Responds several times and keeps the response that a judge prefers (best-of-n sampling, Stiennon et al., NeurIPS 2020,
/// arXiv 2009.01325).
///
/// Response `i` is asked for under a lineage whose run seed is `lineage.seed("best_response/i")`; the inner stage must
/// sample (temperature above 0), or all responses are the same. The distinct ones are compared one after the other: the
/// leader with the next one. The winner leads on; after a tie the leader stays. So `n` responses cost `n - 1` judgements at
/// most. A response that was cut off is left out if another one is whole, and one that cannot be made or compared is too.
///
/// It makes a weak expert better, as far as the judge can tell. It does not make the judge right: a response that won may
/// still be a bad one, which a [`Guard`](crate::Guard) has to find.
///
/// # Errors
/// If no response could be made: the last error. If an error of the judge [ends the run](Error::ends_run): that one.
///
/// ```
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let answers = ["No.", "Yes, and here is how to begin."];
/// let expert = respond_fn(move |instruction: Instruction| async move {
///     Ok(Response::new(answers[(instruction.lineage().seed("respond") % 2) as usize]))
/// });
/// let longer = judge_fn(|_, first: Response, second: Response| async move {
///     Ok(match first.text().len().cmp(&second.text().len()) {
///         std::cmp::Ordering::Greater => Judgement::first(),
///         std::cmp::Ordering::Less => Judgement::second(),
///         std::cmp::Ordering::Equal => Judgement::tie(),
///     })
/// });
/// let stage = stages::BestResponse::new(expert, longer, 8);
/// let response = stage.respond(&Instruction::new("Can I learn it?")).await?;
/// assert_eq!(response.text(), "Yes, and here is how to begin.");
/// assert_eq!(response.origin().unwrap().method, "best_of_8");
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct BestResponse<R, J> {
    generator: R,
    judge: J,
    candidates: u32,
}

impl<R, J> BestResponse<R, J> {
    /// Keeps the best of `candidates` (at least 1) responses of `generator`, as `judge` finds.
    pub fn new(generator: R, judge: J, candidates: u32) -> Self {
        Self {
            generator,
            judge,
            candidates: candidates.max(1),
        }
    }

    /// How many responses are made for each instruction.
    #[must_use]
    pub fn candidates(&self) -> u32 {
        self.candidates
    }
}

impl<R: ResponseGenerator, J: PreferenceJudge> BestResponse<R, J> {
    async fn draw(&self, instruction: &Instruction, i: u32) -> Result<Response> {
        let lineage = instruction.lineage();
        let seed = lineage.seed(&format!("best_response/{i}"));
        let instruction = instruction
            .clone()
            .with_lineage(lineage.clone().with_run_seed(seed));
        self.generator.respond(&instruction).await
    }
}

/// The distinct responses; those that were cut off only if all were.
fn distinct(responses: Vec<Response>) -> Vec<Response> {
    let is_whole = |response: &Response| !response.origin().is_some_and(|origin| origin.truncated);
    let all_cut_off = !responses.iter().any(is_whole);
    let mut distinct: Vec<Response> = Vec::new();
    for response in responses {
        let is_new = distinct.iter().all(|known| known.text() != response.text());
        if is_new && (all_cut_off || is_whole(&response)) {
            distinct.push(response);
        }
    }
    distinct
}

fn usage(origin: Option<&Origin>) -> Usage {
    origin.map(|origin| origin.usage).unwrap_or_default()
}

#[async_trait]
impl<R: ResponseGenerator, J: PreferenceJudge> ResponseGenerator for BestResponse<R, J> {
    async fn respond(&self, instruction: &Instruction) -> Result<Response> {
        let draws = join_all((0..self.candidates).map(|i| self.draw(instruction, i))).await;
        let (mut responses, mut spent, mut last_error) = (Vec::new(), Usage::default(), None);
        for draw in draws {
            match draw {
                Ok(response) => {
                    spent += usage(response.origin());
                    responses.push(response);
                }
                Err(error) => last_error = Some(error),
            }
        }
        let mut responses = distinct(responses).into_iter();
        let Some(mut leader) = responses.next() else {
            return Err(last_error.unwrap_or_else(|| Error::malformed("a response")));
        };
        for next in responses {
            let judgement = match self.judge.judge(instruction, &leader, &next).await {
                Ok(judgement) => judgement,
                // The next comparison would meet it too.
                Err(error) if error.ends_run() => return Err(error),
                // A response that cannot be compared does not win.
                Err(_) => continue,
            };
            spent += usage(judgement.origin());
            if judgement.verdict() == Verdict::Second {
                leader = next;
            }
        }
        let (text, origin) = leader.into_parts();
        let mut origin = origin.unwrap_or_default();
        origin.method = format!("best_of_{}", self.candidates);
        origin.usage = spent;
        Ok(Response::new(text)
            .with_lineage(instruction.lineage().clone())
            .with_origin(origin))
    }
}
