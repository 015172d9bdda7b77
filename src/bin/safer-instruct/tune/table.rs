//! The table of what has been learnt.

use futures::executor::block_on;
use safer_instruct::{
    Result, backends::candle::CandleModel, dataset::InstructionPair, stages::ReversedInduction,
    train::TrainingReport,
};

use crate::measure::{MiniLm, Row, first_sentence, induce};

/// Responses that are worked on at once.
const CONCURRENCY: usize = 16;

/// The pairs that instructions are compared with, and by what.
pub(super) struct Table {
    pub(super) embedding: MiniLm,
    pub(super) pairs: Vec<InstructionPair>,
    /// The instructions of so many pairs are printed.
    pub(super) show: usize,
}

impl Table {
    /// Prints how well both models find the instruction of each response, beside the response's first sentence.
    pub(super) fn print(
        &self,
        before: &CandleModel,
        after: &CandleModel,
        report: &TrainingReport,
    ) -> Result<()> {
        let truth: Vec<String> = self
            .pairs
            .iter()
            .map(|pair| pair.instruction.clone())
            .collect();
        let truth_embedded = self.embedding.embed(&truth)?;
        let row = |induced: &[String]| {
            Row::measure(&self.pairs, &truth_embedded, induced, &self.embedding)
        };
        let first: Vec<String> = self.pairs.iter().map(first_sentence).collect();
        let (before, after) = (self.induce(before), self.induce(after));

        let count = self.pairs.len();
        println!("\n{count} held-out responses, and the instructions that were found for them:\n");
        println!("{}", Row::HEADER);
        for (name, induced) in [
            ("what people had asked", &truth),
            ("the response's first sentence", &first),
            ("the model before", &before),
            ("the model after", &after),
        ] {
            println!("{}", row(induced)?.line(name, None));
        }
        if let (Some(before), Some(best)) = (report.held_out_before, report.held_out_best) {
            println!(
                "\nloss on the true instruction, nats a token: {before:.2} before, {best:.2} after"
            );
        }
        println!("\n{}", Row::LEGEND);
        for (at, pair) in self.pairs.iter().take(self.show).enumerate() {
            println!("\nasked:  {}", pair.instruction);
            for (name, induced) in [("before", &before), ("after", &after)] {
                println!("{name:7} {}", induced.get(at).map_or("", String::as_str));
            }
        }
        Ok(())
    }

    fn induce(&self, model: &CandleModel) -> Vec<String> {
        let stage = ReversedInduction::new(model.clone());
        block_on(induce(&stage, &self.pairs, CONCURRENCY, |_| {})).0
    }
}
