//! Failed draws, worked on again.

use futures::executor::block_on;
use safer_instruct::{
    Result, SourceText,
    run::{End, Journal, RunReport, Runner, Status},
};

use crate::support::{
    Counted, can_be_spawned, folder, manifest, never, no_time, pipeline, price, reader, run,
    stream_of, texts,
};

const TEXTS: usize = 30;

fn retry(journal: &mut Journal, model: &Counted, texts: Vec<SourceText>) -> Result<RunReport> {
    let model = journal.record(model.clone(), "counted").with_price(price());
    let pipeline = pipeline(&model);
    let runner = Runner::new(journal, &pipeline, no_time, never);
    block_on(can_be_spawned(runner.retry(stream_of(texts))))
}

/// Place, kind and line of each row.
fn rows(path: &std::path::Path, sql: &str) -> Vec<(u64, String, String)> {
    let reader = reader(path);
    let mut query = reader.prepare(sql).unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(std::result::Result::unwrap).collect()
}

const OUTCOMES: &str = "SELECT place, kind, line FROM outcomes ORDER BY place";
const LETTERS: &str = "SELECT place, code, line FROM dead_letters ORDER BY number, place";

#[test]
fn a_retry_works_on_failed_draws_alone_and_keeps_what_they_were() {
    let (_folder, path) = folder();
    let model = Counted::default();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    model.fail(true);
    run(&mut journal, &model, texts(TEXTS)).unwrap();
    let before = rows(&path, OUTCOMES);
    // Three texts are wobbly, and each has two draws.
    let failed = [6, 7, 26, 27, 46, 47];
    let is_failed = |row: &&(u64, String, String)| row.1 == "failed";
    let places: Vec<u64> = before.iter().filter(is_failed).map(|row| row.0).collect();
    assert_eq!(places, failed);

    // It fails once more.
    let calls = model.calls();
    let report = retry(&mut journal, &model, texts(TEXTS)).unwrap();
    assert_eq!((report.end, report.progress.failed), (End::Complete, 6));
    assert_eq!(model.calls(), calls + 6, "one induction each");
    assert_eq!(rows(&path, OUTCOMES), before);

    model.fail(false);
    let report = retry(&mut journal, &model, texts(TEXTS)).unwrap();
    assert_eq!(
        (report.progress.failed, report.progress.done),
        (0, 2 * TEXTS as u64)
    );
    let after = rows(&path, OUTCOMES);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old.0, new.0);
        if old.1 != "failed" {
            assert_eq!(old, new);
        }
    }
    assert!(
        after
            .iter()
            .any(|row| failed.contains(&row.0) && row.1 == "kept")
    );
    let letters = rows(&path, LETTERS);
    let old = before.iter().filter(is_failed).map(|row| (row.0, &row.2));
    let expected: Vec<_> = old.clone().chain(old).collect();
    let found: Vec<_> = letters.iter().map(|row| (row.0, &row.2)).collect();
    assert_eq!(found, expected);
    assert!(letters.iter().all(|row| row.1 == "transport"));
    assert_eq!(Status::read(&path).unwrap().dead_letters, 12);

    // There is nothing left to retry.
    let calls = model.calls();
    retry(&mut journal, &model, texts(TEXTS)).unwrap();
    assert_eq!(model.calls(), calls);
}

/// No pair that an ordered filter let through may come out twice.
#[test]
fn a_retry_knows_the_pairs_of_the_other_texts() {
    let (folder, path) = folder();
    let model = Counted::default();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    model.fail(true);
    run(&mut journal, &model, texts(120)).unwrap();
    model.fail(false);
    retry(&mut journal, &model, texts(120)).unwrap();
    let out = folder.path().join("out");
    let summary = journal.export(&out).unwrap();
    let mut seen: Vec<String> = safer_instruct::dataset::read_pairs(out.join("pairs.jsonl"))
        .unwrap()
        .map(|pair| pair.unwrap().chosen)
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len() as u64, summary.kept());
}

#[test]
fn a_retry_refuses_another_input() {
    let (_folder, path) = folder();
    let model = Counted::default();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    model.fail(true);
    run(&mut journal, &model, texts(TEXTS)).unwrap();
    let calls = model.calls();
    let mut other = texts(TEXTS);
    other[3] = SourceText::new("post-3", "Your wobbly chair is gone.");
    let error = retry(&mut journal, &model, other).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("record 4 (\"post-3\") has another text"),
        "{error}"
    );
    let error = retry(&mut journal, &model, texts(2)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the input has 2 texts, and text 4 has failed"),
        "{error}"
    );
    assert_eq!(model.calls(), calls);
}
