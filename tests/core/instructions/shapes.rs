//! Every shape gives the same pairs.

use std::io::Write;

use proptest::prelude::*;
use safer_instruct::dataset::{
    InstructionColumns, InstructionPair, InstructionReader, InstructionReport,
};

use super::{Case, share_gpt};

#[test]
fn a_pair_has_the_line_on_which_it_begins() {
    let pair = r#"{"instruction": "a", "response": "b"}"#;
    for (name, content, expected) in [
        (
            "a.jsonl",
            format!("\n{pair}\n{{\"messages\": []}}\n\n{pair}\n"),
            [2, 5],
        ),
        ("a.json", format!("[{pair},\n\n{pair}]"), [1, 3]),
        (
            "a.csv",
            "instruction,response\na,\"b\n\"\nc,d\n".to_owned(),
            [2, 4],
        ),
    ] {
        let case = Case::new(name, content);
        let mut reader = InstructionReader::open(&case.path).unwrap();
        assert_eq!(reader.line(), None);
        for line in expected {
            reader.next().unwrap().unwrap();
            assert_eq!(reader.line(), Some(line), "{name}");
        }
        assert!(reader.next().is_none());
    }
}

#[test]
fn columns_are_found_by_their_usual_names() {
    for (content, expected) in [
        (r#"{"instruction": "a", "response": "b"}"#, "a -> b"),
        (r#"{"instruction": "a", "output": "b"}"#, "a -> b"),
        (r#"{"prompt": "a", "completion": "b"}"#, "a -> b"),
        (r#"{"prompt": "a", "response": "b"}"#, "a -> b"),
        (r#"{"question": "a", "answer": "b"}"#, "a -> b"),
        // The first that are there.
        (
            r#"{"output": "d", "prompt": "c", "response": "b", "instruction": "a"}"#,
            "a -> b",
        ),
        // Texts of columns stay as they are.
        (
            r#"{"prompt": " a\r\n", "response": "\tb "}"#,
            " a\r\n -> \tb ",
        ),
        (
            r#"{"instruction": "名前は？", "output": "太郎です。"}"#,
            "名前は？ -> 太郎です。",
        ),
    ] {
        assert_eq!(Case::new("a.jsonl", content).items(), [expected]);
        let array = format!(" [\n{content}]");
        assert_eq!(Case::new("a.json", array).items(), [expected]);
    }
    for (header, expected) in [
        ("instruction,response", "a -> b"),
        ("instruction , output", "a -> b"),
        ("question,answer", "a -> b"),
        ("completion,prompt", "b -> a"),
    ] {
        let csv = format!("{header}\na,b\n");
        assert_eq!(Case::new("a.csv", csv).items(), [expected]);
    }
}

#[test]
fn named_columns_are_the_only_ones() {
    let content = r#"{"instruction": "x", "output": "y", "ask": "a", "context": "c", "say": "b", "messages": []}"#;
    let columns = InstructionColumns::new("ask", "say");
    let case = Case::new("a.jsonl", content).with(|o| o.with_columns(columns.clone()));
    assert_eq!(case.items(), ["a -> b"]);
    let case = case.with(|o| o.with_columns(columns.clone().with_input("context")));
    assert_eq!(case.items(), ["a\n\nc -> b"]);
    let csv = "ask,context,say\na,c,b\na,,b\n";
    let case = Case::new("a.csv", csv).with(|o| o.with_columns(columns.with_input("context")));
    assert_eq!(case.items(), ["a\n\nc -> b", "a -> b"]);
}

#[test]
fn the_input_of_alpaca_follows_the_instruction() {
    let lines = [
        r#"{"instruction": "Add.", "input": "1 and 2", "output": "3"}"#,
        r#"{"instruction": "Sing.", "input": " ", "output": "La."}"#,
        r#"{"instruction": "Hum.", "input": null, "output": "Mm."}"#,
        r#"{"instruction": "", "input": "1 and 2", "output": "3"}"#,
        r#"{"prompt": "Go.", "input": "1", "response": "Yes."}"#,
    ];
    let expected = [
        "Add.\n\n1 and 2 -> 3",
        "Sing. -> La.",
        "Hum. -> Mm.",
        "\n\n1 and 2 -> 3",
        "Go. -> Yes.",
    ];
    assert_eq!(Case::new("a.jsonl", lines.join("\n")).items(), expected);
    let csv = "instruction,input,output\nAdd.,1 and 2,3\n";
    assert_eq!(Case::new("a.csv", csv).items(), [expected[0]]);
}

#[test]
fn the_first_exchange_of_each_conversation() {
    let conversations = [
        share_gpt(&[
            ("human", " Hi! \n"),
            ("gpt", "\nHello."),
            ("human", "More."),
        ]),
        share_gpt(&[
            ("gpt", "And so on."),
            ("human", "Thanks."),
            ("gpt", "Sure."),
        ]),
        share_gpt(&[
            ("system", "Be kind."),
            ("human", "元気？"),
            ("gpt", "はい。"),
        ]),
        share_gpt(&[("human", "Hi!")]),
        share_gpt(&[("human", "One."), ("human", "Two."), ("gpt", "Three.")]),
        share_gpt(&[("human", "Hi!"), ("bing", "Hello.")]),
        share_gpt(&[]),
        share_gpt(&[("human", "  "), ("gpt", "Hello.")]),
        share_gpt(&[("human", "Hi!"), ("gpt", "\n")]),
    ];
    let expected = ["Hi! -> Hello.", "元気？ -> はい。"];
    let report = InstructionReport {
        pairs: 2,
        no_exchange: 5,
        empty_instruction: 1,
        empty_response: 1,
        ..InstructionReport::default()
    };
    for content in [
        conversations.join("\n"),
        conversations.join("\r\n\r\n"),
        format!("[{}]", conversations.join(",")),
        format!("\u{feff}\n[\n  {}\r\n]\n", conversations.join(",\r\n  ")),
    ] {
        let (items, counted) = Case::new("a.json", content).read();
        assert_eq!(
            (&items[..], counted),
            (&expected.map(String::from)[..], report)
        );
    }
    assert_eq!(report.passed_over(), 7);
    assert_eq!(
        report.to_string(),
        "2 pairs, 0 bad records, 7 passed over: 5 no_exchange, 1 empty_instruction, 1 empty_response"
    );
    assert_eq!(
        InstructionReport::default().to_string(),
        "0 pairs, 0 bad records, 0 passed over"
    );
}

#[test]
fn a_column_of_white_space_is_empty() {
    let lines = [
        r#"{"prompt": " \n", "response": "b"}"#,
        r#"{"prompt": "a", "response": "\t　"}"#,
        r#"{"prompt": "a", "response": "b"}"#,
    ];
    let (items, report) = Case::new("a.jsonl", lines.join("\n")).read();
    assert_eq!(items, ["a -> b"]);
    assert_eq!((report.empty_instruction, report.empty_response), (1, 1));
}

#[test]
fn debug_never_shows_a_text() {
    assert_eq!(
        format!("{:?}", InstructionPair::new("hidden", "so is it")),
        "InstructionPair { instruction: <6 bytes>, response: <8 bytes> }"
    );
}

#[test]
fn messages_of_chat_models() {
    let lines = [
        r#"{"messages": [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]}"#,
        r#"{"messages": [{"role": "system", "content": "S"}, {"role": "system", "content": "T"}, {"role": "user", "content":
            [{"type": "text", "text": "One "}, {"type": "text", "text": "two?"}]}, {"role": "assistant", "content": "Three."}]}"#,
        r#"{"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": "A cat."}]}"#,
        r#"{"messages": [{"role": "user", "content": "Look it up."}, {"role": "assistant", "content": null}]}"#,
        r#"{"messages": [{"role": "user", "content": "Look it up."}, {"role": "tool", "content": "x"}]}"#,
        r#"{"conversations": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."}]}"#,
        r#"{"instruction": "mixed", "response": "in"}"#,
    ];
    let expected = [
        "Hi! -> Hello.",
        "One two? -> Three.",
        "A? -> B.",
        "mixed -> in",
    ];
    let on_one_line = lines.map(|line| line.replace('\n', ""));
    for content in [on_one_line.join("\n"), format!("[{}]", lines.join(","))] {
        let (items, report) = Case::new("a.dat", content).read();
        assert_eq!(items, expected);
        assert_eq!(
            (report.not_text, report.empty_response, report.no_exchange),
            (1, 1, 1)
        );
    }
}

#[test]
fn compressed_files_are_told_by_content() {
    let content = format!("[{}]", share_gpt(&[("human", "Hi!"), ("gpt", "Hello.")]));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(content.as_bytes()).unwrap();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let gzip = gzip.finish().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(content.as_bytes(), level);
    for (name, packed) in [("a.json.gz", &gzip), ("a.json.zst", &zstd), ("a", &gzip)] {
        assert_eq!(Case::new(name, packed).items(), ["Hi! -> Hello."]);
    }
    assert_eq!(
        Case::new("a.json.gz", &gzip[..gzip.len() / 2]).items(),
        ["open: a.json.gz: the gzip data end too early: the file is cut off"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pair_survives_every_format(
        texts in prop::collection::vec(("[^\0]{0,40}[^\0\\s]", "[^\0]{0,40}[^\0\\s]"), 1..8),
        pretty: bool,
    ) {
        let pairs: Vec<_> = texts.into_iter().map(|(a, b)| InstructionPair::new(a, b)).collect();
        let lines: Vec<_> = pairs.iter().map(|pair| serde_json::to_string(pair).unwrap()).collect();
        let array = if pretty { serde_json::to_string_pretty(&pairs) } else { serde_json::to_string(&pairs) };
        let mut csv = csv::Writer::from_writer(Vec::new());
        for pair in &pairs {
            csv.serialize(pair).unwrap();
        }
        let csv = csv.into_inner().unwrap();
        let files = [("a.jsonl", lines.join("\n").into_bytes()), ("a.json", array.unwrap().into_bytes()), ("a.csv", csv)];
        for (name, content) in files {
            let case = Case::new(name, content);
            let read: Vec<_> = InstructionReader::open(&case.path).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(&read, &pairs, "{}", name);
        }
    }
}
