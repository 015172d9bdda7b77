//! How fast source texts and instructions are read and pairs are written.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf};

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use safer_instruct::{
    Judged, Lineage, Outcome, PreferencePair, Provenance, Side, Verdict,
    dataset::{InstructionReader, Reader, RunWriter},
};

fn main() {
    divan::main();
}

/// Texts in a file: enough that opening it does not count.
const TEXTS: usize = 10_000;

/// Characters of a text: a short post, and a page.
const LENGTHS: [usize; 2] = [200, 4000];

fn input(name: &str, length: usize) -> (tempfile::TempDir, PathBuf, u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let text = "You will never be any good. ".repeat(length / 28);
    let content = match name {
        "a.jsonl" => format!("{{\"text\": \"{text}\"}}\n").repeat(TEXTS),
        _ => format!("text\n{}", format!("\"{text}\"\n").repeat(TEXTS)),
    };
    fs::write(&path, &content).unwrap();
    (dir, path, content.len() as u64)
}

fn read(bencher: Bencher<'_, '_>, name: &str, length: usize) {
    let (_dir, path, bytes) = input(name, length);
    bencher
        .counter(BytesCount::new(bytes))
        .counter(ItemsCount::new(TEXTS))
        .bench(|| Reader::open(&path).unwrap().map(Result::unwrap).count());
}

#[divan::bench(args = LENGTHS)]
fn read_jsonl(bencher: Bencher<'_, '_>, length: usize) {
    read(bencher, "a.jsonl", length);
}

#[divan::bench(args = LENGTHS)]
fn read_csv(bencher: Bencher<'_, '_>, length: usize) {
    read(bencher, "a.csv", length);
}

/// Conversations in one array, as ShareGPT's.
#[divan::bench(args = LENGTHS)]
fn read_conversations(bencher: Bencher<'_, '_>, length: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let text = "Keep at it and you will be good. ".repeat(length / 33);
    let turns = serde_json::json!([{"from": "human", "value": "And my plan?"}, {"from": "gpt", "value": text}]);
    let conversation = serde_json::json!({ "conversations": turns }).to_string();
    let content = format!("[{}]", vec![conversation; TEXTS].join(","));
    fs::write(&path, &content).unwrap();
    bencher
        .counter(BytesCount::new(content.len()))
        .counter(ItemsCount::new(TEXTS))
        .bench(|| {
            InstructionReader::open(&path)
                .unwrap()
                .map(Result::unwrap)
                .count()
        });
}

#[divan::bench(args = LENGTHS)]
fn write_pairs(bencher: Bencher<'_, '_>, length: usize) {
    let text = "You will never be any good. ".repeat(length / 28);
    let outcome = Outcome::Kept(Box::new(PreferencePair {
        prompt: "Say something about my plan.".to_owned(),
        chosen: text.clone(),
        rejected: text,
        provenance: Provenance {
            lineage: Lineage::new("a:1", 0, 0),
            category: None,
            chosen_from: Side::Expert,
            rejected_from: Side::Source,
            induction: None,
            response: None,
            counterpart: None,
            chosen_assessment: None,
            rejected_assessment: None,
            judgement: Judged {
                verdict: Verdict::First,
                expert_first: true,
                margin: None,
                flipped: false,
                origin: None,
            },
        },
    }));
    bencher
        .counter(ItemsCount::new(1000_usize))
        .with_inputs(|| {
            let dir = tempfile::tempdir().unwrap();
            let writer = RunWriter::create(dir.path(), serde_json::Value::Null).unwrap();
            (dir, writer)
        })
        .bench_values(|(dir, mut writer)| {
            for _ in 0..1000 {
                writer.write(&outcome).unwrap();
            }
            writer.finish(true).unwrap();
            dir
        });
}
