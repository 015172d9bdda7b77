//! What was learnt, in a table.

use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    InstructionGenerator, Result, backends::candle::CandleModel, dataset::InstructionPair,
    stages::ReversedInduction, train::TrainingReport,
};

use crate::{
    embedding::MiniLm,
    measure::{self, Row},
    pairs,
    process::Stop,
};

/// What instructions are compared with, and how.
pub(crate) struct Table {
    pub(crate) embedding: MiniLm,
    pub(crate) pairs: Vec<InstructionPair>,
    /// So many are printed.
    pub(crate) show: usize,
}

impl Table {
    /// Prints how well both models find the instruction of each response, and what the response's first sentence would do. False if
    /// it was stopped.
    pub(crate) fn print(
        &self,
        before: &CandleModel,
        after: &CandleModel,
        report: &TrainingReport,
        stop: &Stop,
    ) -> Result<bool> {
        let truth: Vec<String> = self
            .pairs
            .iter()
            .map(|pair| pair.instruction.clone())
            .collect();
        let truth_embedded = self.embedding.embed(&truth)?;
        let row = |induced: &[String]| {
            measure::row(&self.pairs, &truth_embedded, induced, &self.embedding)
        };
        let first: Vec<String> = self.pairs.iter().map(pairs::first_sentence).collect();
        let (before, after) = (self.induce(before, stop), self.induce(after, stop));
        if stop.is_heard() {
            return Ok(false);
        }

        let count = self.pairs.len();
        println!(
            "\n{count} responses that were held out, and the instructions that were found for them:\n"
        );
        println!("{}", Row::HEADER);
        println!("{}", row(&truth)?.line("what people had asked", None));
        println!(
            "{}",
            row(&first)?.line("the response's first sentence", None)
        );
        println!("{}", row(&before)?.line("the model before", None));
        println!("{}", row(&after)?.line("the model after", None));
        if let (Some(before), Some(best)) = (report.held_out_before, report.held_out_best) {
            println!(
                "\nsurprise at the true instruction, nats a token: {before:.2} before, {best:.2} after"
            );
        }
        println!(
            "\ncos     how near in meaning to what was asked: 1 is the same, 0 has nothing to do with it"
        );
        println!(
            "hit     how often it is nearer to the true instruction than to any of the {count}"
        );
        println!("copied  how much is copied from the response; people copy a little");
        println!("asks    how often it looks like a request or a question at all");
        for (at, pair) in self.pairs.iter().take(self.show).enumerate() {
            println!("\nasked:  {}", pair.instruction);
            for (name, induced) in [("before", &before), ("after", &after)] {
                println!("{name:7} {}", induced.get(at).map_or("", String::as_str));
            }
        }
        Ok(true)
    }

    /// The instruction of every pair, empty where the induction failed or was stopped.
    fn induce(&self, model: &CandleModel, stop: &Stop) -> Vec<String> {
        let stage = ReversedInduction::new(model.clone());
        let induced = stream::iter(&self.pairs).map(|pair| {
            let source = pairs::source(pair);
            let stage = &stage;
            async move {
                if stop.is_heard() {
                    return String::new();
                }
                let instruction = stage.induce(&source).await;
                instruction.map_or(String::new(), |instruction| instruction.text().to_owned())
            }
        });
        block_on(induced.buffered(16).collect())
    }
}
