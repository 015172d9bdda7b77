//! A filter of your own: it drops texts that are mostly punctuation, and keeps every law of a filter.
//!
//! ```text
//! cargo run --features testkit --example custom_filter
//! ```
#![allow(clippy::print_stdout)]

use async_trait::async_trait;
use futures::executor::block_on;
use safer_instruct::{Decision, Filter, Reason, Result, SourceText, Subject, testkit::filter_laws};

/// Drops texts with too small a share of letters and digits of any script.
struct MostlyLetters {
    share: f64,
}

// `Subject` is the newest text of an item: one implementation serves at every place of the pipeline.
#[async_trait]
impl<T: Subject + Sync> Filter<T> for MostlyLetters {
    async fn assess(&self, item: &T) -> Result<Decision> {
        let text = item.subject();
        let all = text.chars().filter(|c| !c.is_whitespace()).count();
        let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
        if letters as f64 >= self.share * all.max(1) as f64 {
            return Ok(Decision::Keep);
        }
        let detail = format!("{letters} of {all} characters");
        Ok(Decision::Drop(
            Reason::new("few_letters").with_detail(detail),
        ))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = MostlyLetters { share: 0.5 };
    block_on(async {
        for text in ["Nobody asked you.", "誰も聞いていない。", "?!?! ... no"] {
            match filter.assess(&SourceText::new("text", text)).await? {
                Decision::Keep => println!("keep  {text}"),
                Decision::Drop(reason) => println!("drop  {text}: {reason}"),
            }
        }
        for law in filter_laws::<SourceText>() {
            let checked = law.check(&filter).await?;
            println!("{:24} holds in {:3} cases", checked.law, checked.cases);
        }
        Ok(())
    })
}
