//! What is written of texts that were dropped or failed can be read as input again.

use std::{collections::BTreeMap, path::Path};

use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    Decision, Draft, DynPipeline, Error, Filter, Instruction, Judgement, OrderedFilter, Pipeline,
    PreferencePair, Response, Result, SourceText,
    dataset::{Columns, Reader, RunWriter},
    filter_fn, induce_fn, judge_fn, respond_fn,
};
use serde_json::json;

use super::EXPERT;

/// The place where a text ends, given by its category; `kept` if at none.
const FATES: [&str; 14] = [
    "kept",
    "source dropped",
    "source failed",
    "induce failed",
    "instruction dropped",
    "instruction failed",
    "respond failed",
    "response dropped",
    "response failed",
    "judge failed",
    "tie",
    "source wins",
    "pair dropped",
    "pair failed",
];

fn texts() -> Vec<SourceText> {
    let text = |n: usize, fate: &str| {
        let text = format!("\"No, {n}.\"\r\n\tだめ\u{2028}{{{{source}}}} <|im_end|>");
        SourceText::new(format!("post-{n}"), text).with_category(fate)
    };
    let mut texts: Vec<_> = (0..).zip(FATES).map(|(n, fate)| text(n, fate)).collect();
    let twin = SourceText::new("twin", texts[0].text()).with_category("duplicate");
    texts.push(twin);
    texts.push(text(99, "kept and dropped in order"));
    texts
}

fn filter(place: &'static str) -> impl Filter<Draft> + 'static {
    filter_fn(move |draft: &Draft| decide(draft.source(), place))
}

fn decide(source: &SourceText, place: &str) -> Result<Decision> {
    match source.category().and_then(|fate| fate.strip_prefix(place)) {
        Some(" dropped") => Ok(Decision::drop("unwanted")),
        Some(" failed") => Err(Error::malformed("a number")),
        _ => Ok(Decision::Keep),
    }
}

/// Drops the pairs of texts with one category.
struct InOrder;

impl OrderedFilter<PreferencePair> for InOrder {
    fn assess_next(&mut self, pair: &PreferencePair) -> Decision {
        if pair.prompt.ends_with("in order") {
            Decision::drop("unwanted")
        } else {
            Decision::Keep
        }
    }
}

/// Ends each text where its category says.
fn pipeline(counterpart: bool) -> DynPipeline {
    let fails = |instruction: &Instruction, fate: &str| {
        if instruction.text() == fate {
            return Err(Error::malformed("a number"));
        }
        Ok(())
    };
    let respond = respond_fn(move |instruction| async move {
        fails(&instruction, "respond failed")?;
        Ok(Response::new(EXPERT))
    });
    let judge = judge_fn(move |instruction, first: Response, _| async move {
        fails(&instruction, "judge failed")?;
        let expert_first = first.text() == EXPERT;
        Ok(if instruction.text() == "tie" {
            Judgement::tie()
        } else if expert_first == (instruction.text() != "source wins") {
            Judgement::first()
        } else {
            Judgement::second()
        })
    });
    let induce = induce_fn(move |source: SourceText| async move {
        let instruction = Instruction::new(source.category().unwrap_or_default());
        fails(&instruction, "induce failed")?;
        Ok(instruction)
    });
    let pipeline = Pipeline::new(induce, respond, judge)
        .with_source_filter(filter_fn(|source: &SourceText| decide(source, "source")))
        .with_ordered_source_filter(safer_instruct::filters::Distinct::new)
        .with_instruction_filter(filter("instruction"))
        .with_response_filter(filter("response"))
        .with_pair_filter(filter("pair"))
        .with_ordered_pair_filter(|| InOrder);
    if counterpart {
        let other = respond_fn(|_| async { Ok(Response::new("Give up.")) });
        pipeline.with_counterpart(other).boxed()
    } else {
        pipeline.boxed()
    }
}

fn read(path: &Path) -> Vec<SourceText> {
    let columns = Columns::new("text").with_id("id").with_category("category");
    let reader = Reader::builder().with_columns(columns).open(path).unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn texts_that_were_dropped_or_failed_can_be_read_again() {
    for counterpart in [false, true] {
        let pipeline = pipeline(counterpart);
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RunWriter::create(folder.path(), json!({})).unwrap();
        block_on(pipeline.run(stream::iter(texts())).for_each(|outcome| {
            writer.write(&outcome).unwrap();
            async {}
        }));
        let summary = writer.finish(true).unwrap();
        assert_eq!(summary.kept(), 1);
        let mut again = BTreeMap::new();
        for file in ["dropped.jsonl", "failed.jsonl"] {
            for source in read(&folder.path().join(file)) {
                again.insert(source.id().to_owned(), source);
            }
        }
        for source in texts().iter().skip(1) {
            let read = again.remove(source.id());
            let parts = |source: &SourceText| {
                (
                    source.text().to_owned(),
                    source.category().map(str::to_owned),
                )
            };
            assert_eq!(
                read.as_ref().map(parts),
                Some(parts(source)),
                "{}",
                source.id()
            );
        }
        assert!(again.is_empty(), "{again:?}");
    }
}
