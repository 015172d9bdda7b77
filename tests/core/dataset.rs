//! Reading and writing whole data sets.

use std::{fs, io::Write, path::Path};

use proptest::prelude::*;
use safer_instruct::{
    Draft, Error, Instruction, Judged, Lineage, Origin, Outcome, PreferencePair, Provenance,
    Reason, Side, SourceText, Stage, Usage, Verdict,
    dataset::{Columns, Reader, RunWriter, Summary, read_pairs, read_preferences},
};
use serde_json::json;

fn origin(tokens: u64) -> Origin {
    let usage = Usage {
        prompt_tokens: tokens,
        completion_tokens: 1,
    };
    Origin {
        method: "chat".into(),
        usage,
        ..Origin::default()
    }
}

fn draft(n: u64, text: &str) -> Box<Draft> {
    let source = SourceText::new(format!("t:{n}"), text).with_category("insult@1:a");
    Box::new(
        Draft::new(source).with_instruction(Instruction::new("Say it.").with_origin(origin(3))),
    )
}

fn pair(n: u64, text: &str) -> PreferencePair {
    PreferencePair {
        prompt: "Say something.".into(),
        chosen: "Good luck!".into(),
        rejected: text.into(),
        provenance: Provenance {
            lineage: Lineage::new(format!("t:{n}"), 0, 7),
            category: None,
            chosen_from: Side::Expert,
            rejected_from: Side::Source,
            induction: Some(origin(5)),
            response: None,
            counterpart: None,
            chosen_assessment: None,
            rejected_assessment: None,
            judgement: Judged {
                verdict: Verdict::First,
                expert_first: true,
                margin: Some(0.5),
                flipped: false,
                origin: None,
            },
        },
    }
}

fn outcome(n: u64) -> Outcome {
    let text = format!("text {n}\n\u{2028}だめ");
    match n % 5 {
        0 => Outcome::Dropped {
            stage: Stage::Judge,
            reason: Reason::new("tie").with_detail("0.1"),
            draft: draft(n, &text),
        },
        1 => Outcome::Failed {
            stage: Stage::Respond,
            error: Error::malformed("a number"),
            draft: draft(n, &text),
        },
        _ => Outcome::Kept(Box::new(pair(n, &text))),
    }
}

fn run(dir: &Path, range: std::ops::Range<u64>, complete: bool) -> Summary {
    let mut writer = RunWriter::create(dir, json!({"seed": 7})).unwrap();
    for n in range {
        writer.write(&outcome(n)).unwrap();
    }
    writer.finish(complete).unwrap()
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != ".lock")
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_run_is_four_files_and_every_outcome_is_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(dir.path(), 0..10, true);
    assert_eq!(
        (
            summary.read(),
            summary.kept(),
            summary.dropped(),
            summary.failed()
        ),
        (10, 6, 2, 2)
    );
    assert_eq!(summary.dropped_for(Stage::Judge, "tie"), 2);
    assert_eq!(summary.failed_with(Stage::Respond, "malformed"), 2);
    assert_eq!(
        summary.usage(),
        Usage {
            prompt_tokens: 6 * 5 + 4 * 3,
            completion_tokens: 10
        }
    );
    let names: Vec<String> = files(dir.path())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "dropped.jsonl",
            "failed.jsonl",
            "pairs.jsonl",
            "summary.json"
        ]
    );
    let read: Summary =
        serde_json::from_slice(&fs::read(dir.path().join("summary.json")).unwrap()).unwrap();
    assert_eq!(read, summary);
    let dropped = fs::read_to_string(dir.path().join("dropped.jsonl")).unwrap();
    assert_eq!(
        dropped.split('\n').next().unwrap(),
        "{\"id\":\"t:0\",\"draw\":0,\"run_seed\":0,\"category\":\"insult@1:a\",\"stage\":\"judge\",\"reason\":\"tie\",\
         \"detail\":\"0.1\",\"text\":\"text 0\\n\u{2028}だめ\",\"instruction\":{\"text\":\"Say it.\",\"origin\":\
         {\"method\":\"chat\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}}}"
    );
    let failed = fs::read_to_string(dir.path().join("failed.jsonl")).unwrap();
    assert!(
        failed.contains(
            "\"error_kind\":\"malformed\",\"error\":\"the model's answer is not a number\""
        ),
        "{failed}"
    );
}

#[test]
fn the_summary_is_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let table = run(dir.path(), 0..5, false).to_string();
    let expected = "\
read                                       5
kept                                       3    60.0 %
dropped                                    1    20.0 %
  judge    tie                             1
failed                                     1    20.0 %
  respond  malformed                       1
prompt tokens                             21
completion tokens                          5
the run is not complete";
    assert_eq!(table, expected);
}

#[test]
fn pairs_and_failures_can_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 0..10, true);
    let pairs: Vec<PreferencePair> = read_pairs(dir.path().join("pairs.jsonl"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let written: Vec<PreferencePair> = (0..10).filter_map(|n| outcome(n).pair().cloned()).collect();
    assert_eq!(pairs, written);
    let columns = Columns::default().with_id("id").with_category("category");
    let again = Reader::builder()
        .with_columns(columns)
        .open(dir.path().join("failed.jsonl"))
        .unwrap();
    let again: Vec<SourceText> = again.map(Result::unwrap).collect();
    assert_eq!(
        (again.len(), again[0].id(), again[0].category()),
        (2, "t:1", Some("insult@1:a"))
    );
    fs::write(dir.path().join("bad.jsonl"), "{\"prompt\": [\"hidden\"]}\n").unwrap();
    let error = read_pairs(dir.path().join("bad.jsonl"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with(
            "bad.jsonl:1: not a preference pair with prompt, chosen, rejected and provenance"
        ),
        "{error}"
    );
}

#[test]
fn preferences_of_anyone_are_read_and_bad_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pairs.jsonl");
    run(dir.path(), 0..10, true);
    let written: Vec<[String; 3]> = (0..10)
        .filter_map(|n| outcome(n).pair().cloned())
        .map(|pair| [pair.prompt, pair.chosen, pair.rejected])
        .collect();
    let read: Vec<[String; 3]> = read_preferences(&path)
        .unwrap()
        .map(Result::unwrap)
        .map(|texts| [texts.prompt, texts.chosen, texts.rejected])
        .collect();
    assert_eq!(read, written);

    let sound = r#"{"prompt": "hidden", "chosen": "hidden", "rejected": "hidden", "more": [1]}"#;
    let bad = [
        (
            r#"{"prompt": "hidden", "chosen": "hidden"}"#,
            "no column rejected; there are: chosen, prompt",
        ),
        (
            r#"{"prompt": "hidden", "chosen": ["hidden"], "rejected": "hidden"}"#,
            "column chosen is an array, not a string",
        ),
        (
            "{\"prompt\": \"hidden\\u0000\", \"chosen\": \"a\", \"rejected\": \"b\"}",
            "byte 7 of the prompt is a NUL character",
        ),
        ("[1]", "the record is an array, not an object"),
        (
            "{\"prompt\": \"hid",
            "not valid JSON: EOF while parsing a string at byte 15",
        ),
    ];
    let lines: Vec<&str> = bad.iter().map(|(line, _)| *line).chain([sound]).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let mut reader = read_preferences(&path).unwrap();
    for ((_, reason), line) in bad.iter().zip(1..) {
        let error = reader.next().unwrap().unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("pairs.jsonl:{line}: {reason}")),
            "{error}"
        );
        assert!(!error.contains("hidden"), "{error}");
    }
    let last = reader.next().unwrap().unwrap();
    assert_eq!((reader.line(), last.chosen.as_str()), (Some(6), "hidden"));
    assert!(!format!("{last:?}").contains("hidden"));
    assert!(reader.next().is_none());
}

#[test]
fn results_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut writer = RunWriter::create(&out, json!({"seed": 7})).unwrap();
    writer.write(&outcome(0)).unwrap();
    let error = RunWriter::create(&out, json!({})).unwrap_err().report();
    assert!(error.contains(".lock: it is in use"), "{error}");
    drop(writer);
    let before = files(&out);
    let refused = || {
        let error = RunWriter::create(&out, json!({})).unwrap_err().to_string();
        assert_eq!(
            error.replace(out.to_str().unwrap(), "OUT"),
            "output folder: OUT already holds a run; choose another folder"
        );
    };
    refused();
    assert_eq!(files(&out), before);
    for (name, _) in before {
        fs::remove_file(out.join(name)).unwrap();
    }
    run(&out, 0..5, true);
    refused();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = RunWriter::create(file.join("run"), json!({})).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if *path == file.join("run")),
        "{error}"
    );
}

#[test]
fn members_and_frames_follow_each_other() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |text: &str| {
        ruzstd::encoding::compress_to_vec(
            text.as_bytes(),
            ruzstd::encoding::CompressionLevel::Fastest,
        )
    };
    // A frame of foreign data, which readers skip.
    let foreign = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
    let packed = [
        [gzip("one\ntw"), gzip(""), gzip("o\n")].concat(),
        [zstd("one\ntw"), foreign, zstd("o\n")].concat(),
    ];
    for bytes in packed {
        // The ending says nothing of compression: the content does.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, bytes).unwrap();
        let texts: Vec<String> = Reader::open(&path)
            .unwrap()
            .map(|text| text.unwrap().text().to_owned())
            .collect();
        assert_eq!(texts, ["one", "two"]);
    }
}

#[test]
fn a_folder_is_read_in_the_order_of_names() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("b.txt", "second\nline\n"),
        ("a.txt", "first"),
        ("c.txt", " "),
        ("d.md", "other"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let show = |text: SourceText| format!("{} = {}", text.id(), text.text());
    let items: Vec<String> = Reader::open(dir.path())
        .unwrap()
        .map(|item| item.map_or_else(|error| error.to_string(), show))
        .collect();
    assert_eq!(items[..2], ["a = first", "b = second\nline"]);
    assert!(items[2].ends_with("c.txt: the text is empty"), "{items:?}");
    assert_eq!(items.len(), 3);
}

#[test]
fn a_limit_counts_texts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    fs::write(
        &path,
        "{\"text\":\"a\"}\nbad\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n",
    )
    .unwrap();
    let mut reader = Reader::builder().with_limit(2).open(&path).unwrap();
    assert_eq!(reader.by_ref().count(), 3);
    assert_eq!((reader.report().read, reader.report().bad), (2, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_survives_every_format(texts in prop::collection::vec("[^\0]{0,40}[^\0\\s]", 1..8)) {
        let dir = tempfile::tempdir().unwrap();
        let jsonl = dir.path().join("a.jsonl");
        let lines: Vec<String> = texts.iter().map(|text| json!({"text": text}).to_string()).collect();
        fs::write(&jsonl, lines.join("\n")).unwrap();
        let csv = dir.path().join("a.csv");
        let mut writer = csv::Writer::from_path(&csv).unwrap();
        writer.write_record(["n", "text"]).unwrap();
        for text in &texts {
            writer.write_record(["1", text]).unwrap();
        }
        writer.flush().unwrap();
        for path in [jsonl, csv] {
            let read: Vec<String> =
                Reader::open(&path).unwrap().map(|text| text.unwrap().text().to_owned()).collect();
            prop_assert_eq!(&read, &texts, "{}", path.display());
        }
    }
}
