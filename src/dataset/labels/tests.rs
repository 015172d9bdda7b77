//! What each file gives, and the exact text of every error.

use std::{fs, io::Write};

use tempfile::TempDir;

use super::*;

/// What comes of a file, one line an item, with the folder cut out of the errors.
fn items(name: &str, content: impl AsRef<[u8]>) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, name, content);
    let folder = format!("{}/", dir.path().display());
    let clean = |error: Error| error.report().replace(&folder, "");
    match read_labels(path) {
        Err(error) => vec![format!("open: {}", clean(error))],
        Ok(reader) => reader
            .map(|item| item.map_or_else(clean, |record| shown(&record)))
            .collect(),
    }
}

fn file(dir: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// `prompt | response | harmful | refusal`, or `prompt | chosen > rejected`; then source and group, if there are.
fn shown(record: &LabelRecord) -> String {
    let flag = |flag: &Option<bool>| flag.map_or("?".to_owned(), |so| so.to_string());
    let label = match &record.label {
        Label::Response {
            text,
            harmful,
            refusal,
        } => format!("{text} | {} | {}", flag(harmful), flag(refusal)),
        Label::Pair { chosen, rejected } => format!("{chosen} > {rejected}"),
    };
    let mut shown = format!("{} | {label}", record.prompt);
    for more in [&record.source, &record.group].into_iter().flatten() {
        shown.push_str(" | ");
        shown.push_str(more);
    }
    shown
}

/// What comes of one line of JSON.
fn line(record: &str) -> String {
    let [item] = items("a.jsonl", record).try_into().unwrap();
    item
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &str) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(content.as_bytes(), level)
}

#[test]
fn every_name_of_a_column_is_read() {
    let record = |prompt: &str, response: &str, harmful: &str, source: &str| {
        let values = [
            (prompt, Value::from("Why?")),
            (response, Value::from("So.")),
            (harmful, Value::from(true)),
            ("refusal", Value::from(false)),
            (source, Value::from("ours")),
            ("group", Value::from("one")),
            ("id", Value::from(7)),
        ];
        let json: Map<String, Value> = values
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
        let csv = format!(
            "{prompt},{response},{harmful},refusal,{source},group,id\nWhy?,So.,true,false,ours,one,7\n"
        );
        [("a.jsonl", Value::Object(json).to_string()), ("a.csv", csv)]
    };
    for prompt in ["prompt", "instruction", "question"] {
        for response in ["response", "answer", "output", "completion"] {
            for harmful in ["harmful", "unsafe", "harm", "score"] {
                for source in ["source", "category"] {
                    for (name, content) in record(prompt, response, harmful, source) {
                        assert_eq!(
                            items(name, &content),
                            ["Why? | So. | true | false | ours | one"],
                            "{content}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn of_two_columns_for_one_thing_the_first_that_says_something_counts() {
    let record = r#"{"instruction": "b", "prompt": "a", "answer": "d", "response": " ", "score": 0.9, "harmful": null}"#;
    assert_eq!(line(record), "a | d | true | ?");
    let csv = "score,harmful,response\n0.9,,d\n0.9,no,d\n";
    assert_eq!(items("a.csv", csv), [" | d | true | ?", " | d | false | ?"]);
}

#[test]
fn every_spelling_of_a_label_is_read() {
    let words = [
        (
            true,
            [
                "true", "yes", "unsafe", "harmful", "refusal", " YES ", "Unsafe", "1", "0.75",
            ],
        ),
        (
            false,
            [
                "false",
                "no",
                "safe",
                "harmless",
                "compliance",
                " No ",
                "SAFE",
                "0",
                "0.25",
            ],
        ),
    ];
    for (so, words) in words {
        for word in words {
            let refusal = Value::from(word);
            let record = format!(r#"{{"response": "a", "refusal": {refusal}}}"#);
            assert_eq!(line(&record), format!(" | a | ? | {so}"), "{word}");
            let csv = format!("response,harmful\na,{word}\n");
            assert_eq!(items("a.csv", csv), [format!(" | a | {so} | ?")], "{word}");
        }
        let record = format!(r#"{{"response": "a", "harmful": {so}}}"#);
        assert_eq!(line(&record), format!(" | a | {so} | ?"));
    }
}

#[test]
fn a_score_of_a_half_and_more_is_harmful() {
    for (score, so) in [
        ("0", false),
        ("0.49999999", false),
        ("0.5", true),
        ("5e-1", true),
        ("0.50000001", true),
        ("1", true),
        ("1.0", true),
    ] {
        let record = format!(r#"{{"response": "a", "score": {score}}}"#);
        assert_eq!(line(&record), format!(" | a | {so} | ?"), "{score}");
        let csv = format!("response,score\na,{score}\n");
        assert_eq!(items("a.csv", csv), [format!(" | a | {so} | ?")], "{score}");
    }
    for score in [
        "-0.01", "1.01", "50", "\"nan\"", "\"inf\"", "\"-inf\"", "\"0,5\"",
    ] {
        let record = format!(r#"{{"response": "a", "score": {score}}}"#);
        assert_eq!(
            line(&record),
            "a.jsonl:1: column score is not true or false, yes or no, safe or unsafe, or a score from 0 to 1",
            "{score}"
        );
    }
}

#[test]
fn pairs_are_read_with_the_better_one_first() {
    let record =
        r#"{"rejected": "c", "chosen": "b", "prompt": "a", "response": "", "source": "s"}"#;
    assert_eq!(line(record), "a | b > c | s");
    let csv = "prompt,chosen,rejected,response\na,b,c,\n,\"b,\nb\",c,\n";
    assert_eq!(items("a.csv", csv), ["a | b > c", " | b,\nb > c"]);
    // Whether a pair is harmful is not asked.
    let record = r#"{"chosen": "b", "rejected": "c", "harmful": "who knows"}"#;
    assert_eq!(line(record), " | b > c");
    let pair = Label::Pair {
        chosen: "b".to_owned(),
        rejected: "c".to_owned(),
    };
    assert_eq!(pair.responses().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn an_empty_field_or_null_is_not_there() {
    for empty in ["null", "\"\"", "\" \\t\""] {
        let record = format!(
            r#"{{"prompt": {empty}, "response": "a", "harmful": {empty}, "refusal": "yes", "chosen": {empty},
            "rejected": {empty}, "source": {empty}, "group": {empty}}}"#
        );
        let read = line(&record.replace('\n', ""));
        assert_eq!(read, " | a | ? | true", "{empty}");
    }
    let csv = "prompt,response,harmful,refusal,source,group\n,a,,yes,, \n";
    assert_eq!(items("a.csv", csv), [" | a | ? | true"]);
    assert_eq!(
        line(r#"{"response": "a", "refusal": false}"#),
        " | a | ? | false"
    );
}

#[test]
fn a_text_is_kept_as_it_is_written() {
    let record = r#"{"prompt": " Why?\n", "response": "\tSo. ", "harmful": false}"#;
    assert_eq!(line(record), " Why?\n | \tSo.  | false | ?");
    let csv = "response,harmful\n\" \"\"So\"\" \",no\n";
    assert_eq!(items("a.csv", csv), [" |  \"So\"  | false | ?"]);
}

#[test]
fn a_bad_record_is_named_with_its_line_and_reading_goes_on() {
    let good = r#"{"response": "a", "harmful": true}"#;
    let lines = [
        good,
        "",
        r#"{"response": "a", "harmful": tru}"#,
        r#"["a"]"#,
        good,
        r#"{"response": "a""#,
    ];
    assert_eq!(
        items("a.jsonl", lines.join("\r\n")),
        [
            " | a | true | ?",
            "a.jsonl:3: not valid JSON: expected ident at byte 33",
            "a.jsonl:4: the record is an array, not an object",
            " | a | true | ?",
            "a.jsonl:6: not valid JSON: EOF while parsing an object at byte 16",
        ]
    );
    // The line is the one on which the record begins.
    let csv = "response,harmful\n\"a\n\nb\",yes\na\nb,no\nc,perhaps\n\"d,no";
    assert_eq!(
        items("a.csv", csv),
        [
            " | a\n\nb | true | ?",
            "a.csv:5: the number of fields is 1, but the header has 2",
            " | b | false | ?",
            "a.csv:7: column harmful is not true or false, yes or no, safe or unsafe, or a score from 0 to 1",
            "a.csv:8: the file ends within quotes that are never closed",
        ]
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_column() {
    for (record, expected) in [
        (
            r#"{"question": ["a"], "response": "b", "harm": 1}"#,
            "column question is an array, not a string",
        ),
        (
            r#"{"answer": {"text": "b"}, "harm": 1}"#,
            "column answer is an object, not a string",
        ),
        (
            r#"{"response": 4, "harm": 1}"#,
            "column response is a number, not a string",
        ),
        (
            r#"{"chosen": "b", "rejected": false}"#,
            "column rejected is a boolean, not a string",
        ),
        (
            r#"{"response": "b", "harm": 1, "category": 3}"#,
            "column category is a number, not a string",
        ),
        (
            r#"{"response": "b", "harm": 1, "group": 3}"#,
            "column group is a number, not a string",
        ),
        (
            r#"{"response": "b", "refusal": ["no"]}"#,
            "column refusal is an array, not true or false, yes or no, safe or unsafe, or a score from 0 to 1",
        ),
        (
            r#"{"response": "b", "unsafe": "unsure"}"#,
            "column unsafe is not true or false, yes or no, safe or unsafe, or a score from 0 to 1",
        ),
    ] {
        assert_eq!(line(record), format!("a.jsonl:1: {expected}"), "{record}");
    }
}

#[test]
fn a_record_without_response_or_label_is_named_with_its_columns() {
    for (record, expected) in [
        (
            r#"{"prompt": "a", "text": "b", "harmful": true}"#,
            "no column response, and no columns chosen and rejected; there are: harmful, prompt, text",
        ),
        (
            "{}",
            "no column response, and no columns chosen and rejected; the record is empty",
        ),
        (
            r#"{"chosen": "b", "rejected": " "}"#,
            "no column rejected beside chosen; there are: chosen, rejected",
        ),
        (
            r#"{"rejected": "b"}"#,
            "no column chosen beside rejected; there are: rejected",
        ),
        (
            r#"{"response": "b", "label": 1, "harmful": null}"#,
            "no label: neither `harmful` nor `refusal` says anything; there are: harmful, label, response",
        ),
    ] {
        assert_eq!(line(record), format!("a.jsonl:1: {expected}"), "{record}");
    }
    let csv = "text,harmful\na,yes\n";
    assert_eq!(
        items("a.csv", csv),
        [
            "a.csv:2: no column response, and no columns chosen and rejected; there are: harmful, text"
        ]
    );
}

#[test]
fn a_record_is_of_one_response_or_of_a_pair() {
    let both =
        "both one response and a pair: a record has response, or chosen and rejected; there are: ";
    for (more, columns) in [
        (
            r#""chosen": "b", "rejected": "c""#,
            "chosen, harmful, rejected, response",
        ),
        (r#""chosen": "b""#, "chosen, harmful, response"),
        (r#""rejected": "c""#, "harmful, rejected, response"),
    ] {
        let record = format!(r#"{{"response": "a", "harmful": true, {more}}}"#);
        assert_eq!(line(&record), format!("a.jsonl:1: {both}{columns}"));
    }
}

#[test]
fn bytes_that_are_no_text_are_named() {
    let mut lines = br#"{"response": "a", "harmful": 1}"#.to_vec();
    lines.extend(b"\n{\"response\": \"\xff\", \"harmful\": 1}\n");
    assert_eq!(
        items("a.jsonl", lines),
        [
            " | a | true | ?",
            "a.jsonl:2: byte 15 of the record is not UTF-8"
        ]
    );
    assert_eq!(
        items("a.csv", b"response,harmful\n\xc3\x28,1\n"),
        ["a.csv:2: byte 1 of the record is not UTF-8"]
    );
    assert_eq!(
        items("a.csv", b"respon\xff,harmful\na,1\n"),
        ["open: a.csv:1: byte 7 of the record is not UTF-8"]
    );
    assert_eq!(
        items("a.jsonl", b"\xff\xfe{\0}\0"),
        ["open: a.jsonl: the file is UTF-16; convert it to UTF-8"]
    );
}

#[test]
fn a_nul_character_is_named_with_its_column() {
    for column in ["question", "completion", "category", "group"] {
        let mut object = object(r#"{"completion": "a", "harmful": 1}"#).unwrap();
        object.insert(column.to_owned(), Value::from("so\0"));
        assert_eq!(
            line(&Value::Object(object).to_string()),
            format!("a.jsonl:1: byte 3 of the column {column} is a NUL character")
        );
    }
    for (column, row) in [("chosen", "\0,b"), ("rejected", "a,\0")] {
        let expected = format!("a.csv:2: byte 1 of the column {column} is a NUL character");
        assert_eq!(
            items("a.csv", format!("chosen,rejected\n{row}\n")),
            [expected]
        );
    }
}

#[test]
fn a_header_that_names_a_column_twice_is_refused() {
    assert_eq!(
        items("a.csv", "response,harmful, harmful\na,yes,no\n"),
        ["open: a.csv:1: the header names column harmful twice"]
    );
    // What is not read may come as often as it likes.
    assert_eq!(
        items("a.csv", ",response,,harmful\n1,a,2,yes\n"),
        [" | a | true | ?"]
    );
}

#[test]
fn an_empty_file_has_no_records() {
    assert_eq!(items("a.jsonl", ""), [""; 0]);
    assert_eq!(items("a.jsonl", "\n \r\n"), [""; 0]);
    assert_eq!(items("a.csv", "response,harmful\n"), [""; 0]);
    assert_eq!(items("a.csv", ""), ["open: a.csv: the file has no header"]);
    assert_eq!(
        items("a.csv", "\n\n"),
        ["open: a.csv: the file has no header"]
    );
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.jsonl");
    let error = read_labels(&missing).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if *path == missing),
        "{error:?}"
    );
}

#[test]
fn a_record_longer_than_16_mib_is_named_and_read_over() {
    let long = "a".repeat(16 << 20);
    let lines = format!(
        "{{\"response\": \"{long}\", \"harmful\": 1}}\n{{\"response\": \"a\", \"harmful\": 1}}\n"
    );
    assert_eq!(
        items("a.jsonl", lines),
        [
            "a.jsonl:1: the record is longer than 16777216 bytes; split the text or allow longer records",
            " | a | true | ?",
        ]
    );
}

#[test]
fn a_compressed_file_is_read_as_its_content() {
    let json = "\u{feff}{\"response\": \"a\", \"harmful\": true}\n{\"response\": \"b\", \"harmful\": false}\n";
    let csv = "\u{feff}response,harmful\na,yes\nb,no\n";
    let expected = [" | a | true | ?", " | b | false | ?"];
    for (name, content) in [
        ("a.jsonl", json.as_bytes().to_vec()),
        ("a.jsonl.gz", gzip(json)),
        ("a.jsonl.zst", zstd(json)),
        ("a.csv", csv.as_bytes().to_vec()),
        ("a.csv.gz", gzip(csv)),
        ("a.CSV.zst", zstd(csv)),
    ] {
        assert_eq!(items(name, content), expected, "{name}");
    }
}

#[test]
fn a_compressed_file_that_is_cut_off_ends_with_an_error() {
    let record = "{\"response\": \"a\", \"harmful\": true}\n";
    let mut whole = gzip(record);
    whole.truncate(whole.len() - 6);
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "a.jsonl.gz", whole);
    let mut reader = read_labels(&path).unwrap();
    let records: Vec<_> = reader.by_ref().collect();
    let (last, before) = records.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    let error = last.as_ref().unwrap_err();
    assert_eq!(
        error.report(),
        format!(
            "{}: the gzip data end too early: the file is cut off",
            path.display()
        )
    );
    assert!(reader.next().is_none(), "it is at its end");
}

#[test]
fn what_is_printed_shows_no_text() {
    let secret = "shade";
    let lines = [
        r#"{"prompt": "shade", "response": "shade", "harmful": 1, "source": "ours", "group": "shade"}"#,
        r#"{"prompt": "shade", "chosen": "shade", "rejected": "shade 2"}"#,
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "a.jsonl", lines.join("\n"));
    let mut reader = read_labels(&path).unwrap();
    let records: Vec<LabelRecord> = reader.by_ref().collect::<Result<_>>().unwrap();
    let printed = format!("{records:?} {reader:?}");
    assert!(!printed.contains(secret), "{printed}");
    for part in ["Some(true)", "\"ours\"", "Pair", "a.jsonl"] {
        assert!(printed.contains(part), "{printed}");
    }
    for bad in [
        r#"{"response": "shade", "harmful": "shade"}"#,
        r#"{"prompt": ["shade"], "response": "shade", "harmful": 1}"#,
        r#"{"response": "shade" "shade"}"#,
        r#"{"response": "shade", "chosen": "shade"}"#,
        r#"{"response": "shade\u0000", "harmful": 1}"#,
    ] {
        let error = line(bad);
        assert!(
            error.starts_with("a.jsonl:1: ") && !error.contains(secret),
            "{error}"
        );
    }
}
