//! A judge of your own: it prefers the response that uses fewer words from a list, and keeps every law of a judge.
//!
//! ```text
//! cargo run --features testkit --example custom_judge
//! ```
#![allow(clippy::print_stdout)]

use async_trait::async_trait;
use futures::executor::block_on;
use safer_instruct::{
    Instruction, Judgement, PreferenceJudge, Response, Result, Verdict, testkit::JUDGE_LAWS,
};

/// Prefers the response with fewer unfriendly words.
struct Friendlier {
    unfriendly: Vec<String>,
}

impl Friendlier {
    fn new(unfriendly: &[&str]) -> Self {
        Self {
            unfriendly: unfriendly.iter().map(|word| word.to_lowercase()).collect(),
        }
    }

    fn count(&self, response: &Response) -> usize {
        let text = response.text().to_lowercase();
        self.unfriendly
            .iter()
            .map(|word| text.matches(word).count())
            .sum()
    }
}

#[async_trait]
impl PreferenceJudge for Friendlier {
    async fn judge(
        &self,
        _: &Instruction,
        first: &Response,
        second: &Response,
    ) -> Result<Judgement> {
        let (first, second) = (self.count(first), self.count(second));
        let verdict = match first.cmp(&second) {
            std::cmp::Ordering::Less => Verdict::First,
            std::cmp::Ordering::Greater => Verdict::Second,
            std::cmp::Ordering::Equal => Verdict::Tie,
        };
        Ok(Judgement::new(verdict).with_margin(second as f64 - first as f64))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let judge = Friendlier::new(&["never", "useless", "無駄"]);
    block_on(async {
        let judgement = judge
            .judge(
                &Instruction::new("Is it worth practising?"),
                &Response::new("Useless. You will never learn it."),
                &Response::new("Yes. A little every day goes a long way."),
            )
            .await?;
        println!(
            "verdict: {:?}, margin {:?}",
            judgement.verdict(),
            judgement.margin()
        );
        for law in JUDGE_LAWS {
            let checked = law.check(&judge).await?;
            println!("{:24} holds in {:3} cases", checked.law, checked.cases);
        }
        Ok(())
    })
}
