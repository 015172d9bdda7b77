//! Bad input is named, counted and never lost without a message; the exact text of every error.

use proptest::prelude::*;
use safer_instruct::dataset::{
    Format, InstructionColumns, InstructionReader, InstructionReaderBuilder, into_stream,
};

use super::{Case, share_gpt, show};

#[test]
fn nothing_to_read() {
    let unasked = share_gpt(&[("human", "Hi!")]);
    let unanswered = r#"{"prompt": "Hi!", "completion": ""}"#;
    for (name, content, expected) in [
        (
            "a.jsonl",
            String::new(),
            "a.jsonl: no records: the file is empty",
        ),
        ("a", " \r\n".into(), "a: no records: the file is empty"),
        (
            "a.json",
            " [ ]\n".into(),
            "a.json: no records: the array is empty",
        ),
        (
            "a.csv",
            String::new(),
            "a.csv: no header: the file is empty",
        ),
        (
            "a.csv",
            "instruction,response\n".into(),
            "a.csv: no records: the file is empty",
        ),
        (
            "a.json",
            format!("[{unasked},{unanswered},{unasked}]"),
            "a.json: no record holds an instruction and a response: \
             0 pairs, 0 bad records, 3 passed over: 2 no_exchange, 1 empty_response",
        ),
        (
            "a.csv",
            "prompt,completion\nHi!,\n".into(),
            "a.csv: no record holds an instruction and a response: \
             0 pairs, 0 bad records, 1 passed over: 1 empty_response",
        ),
        (
            "a.md",
            "# Title".into(),
            "format: neither the ending of a.md nor its first character says whether it is JSON or CSV; give the format",
        ),
        (
            "a.csv",
            "prompt,chosen,rejected\n".into(),
            "a.csv:1: no known columns of an instruction and its response (name yours); there are: prompt, chosen, rejected",
        ),
        (
            "a.csv",
            "answer,question,answer\n".into(),
            "a.csv:1: the header names column answer twice",
        ),
        (
            "a.csv",
            "question,\"answer\n".into(),
            "a.csv:1: the file ends within quotes that are never closed",
        ),
    ] {
        assert_eq!(
            Case::new(name, content).items(),
            [format!("open: {expected}")]
        );
    }
    let columns = InstructionColumns::new("ask", "say");
    let case = Case::new("a.csv", "ask,answer\n").with(|o| o.with_columns(columns));
    assert_eq!(
        case.items(),
        ["open: a.csv:1: no column say; there are: ask, answer"]
    );
    let case = Case::new("a.jsonl", unanswered).with(|o| o.with_format(Format::Text));
    assert_eq!(
        case.items(),
        ["open: format: plain text has no columns; give JSONL or CSV"]
    );
    let case = Case::new("a.md", "question,answer\na,b").with(|o| o.with_format(Format::Csv));
    assert_eq!(case.items(), ["a -> b"]);
    let missing = InstructionReader::open("no/such/file.jsonl").unwrap_err();
    assert_eq!(
        missing.report(),
        "no/such/file.jsonl: No such file or directory (os error 2)"
    );
}

/// Records, and what is wrong with them.
const BROKEN: &[(&str, &str)] = &[
    ("[\"hidden\"]", "the record is an array, not an object"),
    (
        r#"{"prompt": "hidden" "x"}"#,
        "not valid JSON: expected `,` or `}` at byte 21",
    ),
    (
        r#"{"prompt": "hidden", "chosen": "x"}"#,
        "no known columns of an instruction and its response (name yours); there are: chosen, prompt",
    ),
    (
        "{}",
        "no known columns of an instruction and its response (name yours); the record is empty",
    ),
    (
        r#"{"prompt": "hidden", "response": 17}"#,
        "column response is a number, not a string",
    ),
    (
        r#"{"instruction": [], "output": "hidden"}"#,
        "column instruction is an array, not a string",
    ),
    (
        r#"{"instruction": "hidden", "input": true, "output": ""}"#,
        "column input is a boolean, not a string",
    ),
    (
        r#"{"prompt": "hid\u0000den", "response": "x"}"#,
        "byte 4 of the instruction is a NUL character",
    ),
    (
        r#"{"prompt": "x", "response": "\u0000hidden"}"#,
        "byte 1 of the response is a NUL character",
    ),
    (
        r#"{"prompt": "\ud800 hidden", "response": ""}"#,
        "not valid JSON: unexpected end of hex escape at byte 19",
    ),
    (
        r#"{"messages": "hidden"}"#,
        "column messages is a string, not an array",
    ),
    (
        r#"{"messages": ["hidden"]}"#,
        "turn 1 of messages is a string, not an object",
    ),
    (
        r#"{"conversations": [{"value": "hidden"}]}"#,
        "turn 1 of conversations has neither from nor role",
    ),
    (
        r#"{"conversations": [{"from": 1, "value": "hidden"}]}"#,
        "turn 1 of conversations is from a number, not a string",
    ),
    (
        r#"{"messages": [{"role": "user", "content": "hidden"}, {"role": "assistant"}]}"#,
        "turn 2 of messages has neither value nor content",
    ),
    (
        r#"{"messages": [{"role": "user", "content": {}}]}"#,
        "turn 1 of messages holds an object, not a text",
    ),
    (
        r#"{"messages": [{"role": "user", "content": [{"type": "text"}]}]}"#,
        "turn 1 of messages has a part without type or without text",
    ),
    (
        r#"{"messages": [{"role": "user", "content": ["hidden"]}]}"#,
        "turn 1 of messages has a part without type or without text",
    ),
];

#[test]
fn broken_records_are_named_and_passed_over() {
    let good = r#"{"prompt": "a", "response": "b"}"#;
    for (record, reason) in BROKEN {
        let lines = Case::new("a.jsonl", format!("{good}\n{record}\n{good}"));
        let expected = ["a -> b", &format!("a.jsonl:2: {reason}"), "a -> b"];
        assert_eq!(lines.items(), expected);
        let array = Case::new("a.jsonl", format!("[{good},\n{record}\n,{good}]"));
        let expected = [
            "a -> b",
            &format!("a.jsonl:2: record 2: {reason}"),
            "a -> b",
        ];
        assert_eq!(array.items(), expected);
        let (items, report) = array.read();
        assert_eq!((report.pairs, report.bad), (2, 1));
        assert!(!items.concat().contains("hidden"), "errors show the data");
    }
    let columns = InstructionColumns::new("prompt", "response").with_input("input");
    let case = Case::new("a.jsonl", good).with(|o| o.with_columns(columns));
    assert_eq!(
        case.items(),
        ["a.jsonl:1: no column input; there are: prompt, response"]
    );
}

#[test]
fn places_within_a_record_of_several_lines() {
    let content = "[\n{\"prompt\":\n  \"hidden\",\n  oops}]";
    assert_eq!(
        Case::new("a.json", content).items(),
        ["a.json:2: record 1: not valid JSON: key must be a string at byte 26"]
    );
    let mut bytes = b"[{\"prompt\": \"a\",\n\"response\": \"\xff\"}]".to_vec();
    let expected = "a.json:1: record 1: byte 30 of the record is not UTF-8";
    assert_eq!(Case::new("a.json", &bytes).items(), [expected]);
    bytes.extend(b"\n\n{}");
    let expected = [
        expected,
        "a.json:4: the array ends before the file does; only the array is read",
    ];
    assert_eq!(Case::new("a.json", &bytes).items(), expected);
}

#[test]
fn lines_in_front_of_the_first_record_count() {
    let content = "\r\n\n {\"prompt\": \"a\", \"response\": \"b\"}\n\n1\n";
    let expected = ["a -> b", "a.jsonl:5: the record is a number, not an object"];
    assert_eq!(Case::new("a.jsonl", content).items(), expected);
    assert_eq!(
        Case::new("a.jsonl", "\n1\n").items(),
        ["a.jsonl:2: the record is a number, not an object"]
    );
}

#[test]
fn broken_rows_are_named_and_passed_over() {
    let csv = "\u{feff}question,answer\r\na,\"two\nlines\"\r\n1\r\n1,2,3\r\n\r\nhid\0den,x\r\n,x\r\nさようなら,またね\r\n";
    let (items, report) = Case::new("a.csv", csv).read();
    assert_eq!(
        items,
        [
            "a -> two\nlines",
            "a.csv:4: the number of fields is 1, but the header has 2",
            "a.csv:5: the number of fields is 3, but the header has 2",
            "a.csv:7: byte 4 of the instruction is a NUL character",
            "さようなら -> またね",
        ]
    );
    assert_eq!(
        (report.pairs, report.bad, report.empty_instruction),
        (2, 3, 1)
    );
    assert_eq!(
        Case::new("a.csv", b"question,answer\na,\xff\nb,c").items(),
        ["a.csv:2: byte 3 of the record is not UTF-8", "b -> c"]
    );
    assert_eq!(
        Case::new("a.jsonl", b"\xff\xfe{\0").items(),
        ["open: a.jsonl: the file is UTF-16; convert it to UTF-8"]
    );
}

#[test]
fn a_record_that_is_too_long_is_passed_over() {
    let long = "x".repeat(10 << 20);
    let good = r#"{"prompt": "a", "response": "b"}"#;
    let record = format!(r#"{{"prompt": "a", "response": "{long}"}}"#);
    let limit = "the record is longer than 4194304 bytes; split the text or allow longer records";
    let lines = Case::new("a.jsonl", format!("{good}\n{record}\n{good}"));
    assert_eq!(
        lines.items(),
        ["a -> b", &format!("a.jsonl:2: {limit}"), "a -> b"]
    );
    let array = Case::new("a.json", format!("[{good}, {record}, {good}]"));
    assert_eq!(
        array.items(),
        ["a -> b", &format!("a.json:1: record 2: {limit}"), "a -> b"]
    );
    let csv = Case::new("a.csv", format!("prompt,response\na,{long}\na,b"));
    assert_eq!(
        csv.items(),
        [format!("a.csv:2: {limit}"), "a -> b".to_owned()]
    );
    let small = Case::new("a.json", format!("[{good}]"));
    let max = |max| move |o: InstructionReaderBuilder| o.with_max_record_bytes(max);
    let small = small.with(max(good.len()));
    assert_eq!(small.items(), ["a -> b"]);
    let small = small.with(max(good.len() - 1));
    assert_eq!(
        small.items(),
        [
            "a.json:1: record 1: the record is longer than 31 bytes; split the text or allow longer records"
        ]
    );
}

#[test]
fn skipping_tells_of_each_bad_record_and_streams_go_on() {
    let case = Case::new(
        "a.json",
        r#"[{"prompt": "a", "response": "b"}, 1, {"prompt": "#,
    );
    let mut told = Vec::new();
    let mut reader = InstructionReader::open(&case.path)
        .unwrap()
        .skip_bad(|error| told.push(error.to_string()));
    let pairs: Vec<_> = reader.by_ref().map(|pair| show(&pair.unwrap())).collect();
    let report = reader.get_ref().report();
    assert_eq!(
        (pairs, report.pairs, report.bad),
        (vec!["a -> b".to_owned()], 1, 2)
    );
    assert!(told[0].ends_with("a.json:1: record 2: the record is a number, not an object"));
    assert!(
        told[1].contains("record 3 is cut off after 11 bytes"),
        "{told:?}"
    );
    let reader = InstructionReader::open(&case.path).unwrap();
    assert!(!format!("{reader:?}").contains("-> b"));
    let stream = into_stream(reader).unwrap();
    let items = futures::executor::block_on(futures::StreamExt::collect::<Vec<_>>(stream));
    assert_eq!(items.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bytes are, reading ends without a panic.
    #[test]
    fn any_bytes_can_be_read(bytes in prop::collection::vec(prop::sample::select(b"[]{},:\"\\ \n\xffau0".to_vec()), 0..60)) {
        for name in ["a.json", "a.csv", "a"] {
            let items = Case::new(name, &bytes).items();
            prop_assert!(items.len() <= bytes.len() + 1);
        }
    }
}
