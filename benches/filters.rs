//! How long filters take on texts of usual lengths.
#![allow(clippy::unwrap_used)]

use divan::{Bencher, counter::BytesCount};
use futures::executor::block_on;
use safer_instruct::{
    Draft, Filter, Instruction, OrderedFilter, SourceText,
    filters::{Distinct, NotCanned, NotQuoting, NotRepetitive, SameLanguage},
};

/// A short remark, a long answer, and the same in Japanese.
const TEXTS: [(&str, &str, usize); 4] = [
    ("en_short", "You never wash up, and I am done with it. ", 1),
    ("en_long", "You never wash up, and I am done with it. ", 50),
    (
        "ja_short",
        "皿くらい洗えよ。もう一緒に暮らすのはうんざりだ。",
        1,
    ),
    (
        "ja_long",
        "皿くらい洗えよ。もう一緒に暮らすのはうんざりだ。",
        50,
    ),
];

fn main() {
    divan::main();
}

fn text(name: &str) -> SourceText {
    let (_, text, times) = TEXTS.iter().find(|(known, _, _)| *known == name).unwrap();
    SourceText::new("a", text.repeat(*times))
}

fn names() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|(name, _, _)| *name)
}

fn on_text(bencher: Bencher<'_, '_>, name: &str, filter: &dyn Filter<SourceText>) {
    let item = text(name);
    bencher
        .counter(BytesCount::of_str(item.text()))
        .bench_local(|| block_on(filter.assess(&item)).unwrap());
}

fn on_draft(bencher: Bencher<'_, '_>, name: &str, filter: &dyn Filter<Draft>) {
    let source = text(name);
    let instruction = Instruction::new("Write an angry note about a kitchen that nobody cleans.");
    let bytes = BytesCount::of_str(source.text());
    let item = Draft::new(source).with_instruction(instruction);
    bencher
        .counter(bytes)
        .bench_local(|| block_on(filter.assess(&item)).unwrap());
}

#[divan::bench(args = names())]
fn not_canned(bencher: Bencher<'_, '_>, name: &str) {
    on_text(bencher, name, &NotCanned::new());
}

#[divan::bench(args = names())]
fn not_repetitive(bencher: Bencher<'_, '_>, name: &str) {
    on_text(bencher, name, &NotRepetitive::new());
}

#[divan::bench(args = names())]
fn not_quoting(bencher: Bencher<'_, '_>, name: &str) {
    on_draft(bencher, name, &NotQuoting::new());
}

#[divan::bench(args = names())]
fn same_language(bencher: Bencher<'_, '_>, name: &str) {
    on_draft(bencher, name, &SameLanguage);
}

#[divan::bench(args = names())]
fn distinct(bencher: Bencher<'_, '_>, name: &str) {
    let item = text(name);
    let mut filter = Distinct::new();
    bencher
        .counter(BytesCount::of_str(item.text()))
        .bench_local(|| filter.assess_next(&item));
}
