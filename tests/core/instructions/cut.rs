//! Files that end too early, at every byte.

use super::{Case, share_gpt};

/// Every record that was closed before the cut comes out, and the cut is reported.
#[test]
fn an_array_that_is_cut_off_anywhere() {
    let records = [
        share_gpt(&[("human", "A \"brace\" }], {["), ("gpt", "B\\")]),
        r#"{"instruction": "名前は？", "output": "太郎です。"}"#.to_owned(),
        share_gpt(&[("human", "C"), ("gpt", "D")]),
    ];
    let pairs = [
        "A \"brace\" }], {[ -> B\\",
        "名前は？ -> 太郎です。",
        "C -> D",
    ];
    let whole = format!("[\n{}\n]", records.join(",\n"));
    let mut ends = Vec::new();
    for record in &records {
        ends.push(whole.find(record.as_str()).unwrap() + record.len());
    }
    let report_of = |cut: usize| -> Vec<String> {
        let read = ends.iter().filter(|end| **end <= cut).count();
        let begun = records
            .iter()
            .zip(&ends)
            .filter(|(r, end)| *end - r.len() < cut);
        let begun = begun.count();
        let mut expected: Vec<String> = pairs[..read]
            .iter()
            .map(|pair| (*pair).to_owned())
            .collect();
        if begun > read {
            let bytes = cut - (ends[read] - records[read].len());
            let line = begun + 1;
            expected.push(format!(
                "a.json:{line}: record {begun} is cut off after {bytes} bytes: the file ends before the array does"
            ));
        } else {
            let line = 1 + whole.as_bytes()[..cut]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            expected.push(format!(
                "a.json:{line}: the array is never closed: the file is cut off behind record {read}"
            ));
        }
        expected
    };
    for cut in 1..whole.len() {
        let case = Case::new("a.json", &whole.as_bytes()[..cut]);
        assert_eq!(case.items(), report_of(cut), "cut at {cut}");
    }
    assert_eq!(Case::new("a.json", &whole).items(), pairs);
}

#[test]
fn lines_that_are_cut_off_anywhere() {
    let records = [
        share_gpt(&[("human", "A"), ("gpt", "B")]),
        r#"{"instruction": "名前は？", "output": "太郎です。"}"#.to_owned(),
    ];
    let pairs = ["A -> B", "名前は？ -> 太郎です。"];
    let whole = records.join("\n");
    for cut in 1..whole.len() {
        let items = Case::new("a.jsonl", &whole.as_bytes()[..cut]).items();
        let first = records[0].len();
        let read = usize::from(cut >= first);
        assert_eq!(items[..read], pairs[..read], "cut at {cut}");
        if cut == first || cut == first + 1 {
            assert_eq!(items.len(), 1, "between records nothing is lost");
            continue;
        }
        assert_eq!(items.len(), read + 1, "cut at {cut}: {items:?}");
        let line = format!("a.jsonl:{}: ", read + 1);
        let reason = items[read].strip_prefix(&line).unwrap();
        assert!(
            reason.starts_with("not valid JSON: EOF ") || reason.ends_with(" is not UTF-8"),
            "cut at {cut}: {reason}"
        );
    }
}

#[test]
fn rows_that_are_cut_off_anywhere() {
    let whole = "instruction,response\r\n\"A, \"\"b\"\"\",\"B\nC\"\r\n名前は？,太郎です。\r\n";
    let header = "instruction,response".len();
    let first = whole.find("C\"").unwrap() + 2;
    for cut in 0..whole.len() {
        let items = Case::new("a.csv", &whole.as_bytes()[..cut]).items();
        if cut < header {
            assert!(
                items[0].starts_with("open: a.csv"),
                "cut at {cut}: {items:?}"
            );
        } else if cut >= first {
            assert_eq!(items[0], "A, \"b\" -> B\nC", "cut at {cut}");
        } else {
            assert_eq!(items.len(), 1, "cut at {cut}: {items:?}");
            assert!(items[0].contains("a.csv"), "cut at {cut}: {items:?}");
        }
    }
    assert_eq!(
        Case::new("a.csv", &whole[..first - 1]).items(),
        ["a.csv:2: the file ends within quotes that are never closed"]
    );
}

/// A cut is told from a record with a quote that is never closed, which includes everything after it.
#[test]
fn only_a_file_that_is_cut_off_is_called_so() {
    let pair = r#"{"instruction": "A", "output": "B"}"#;
    let is_cut_off = |content: String| {
        let case = Case::new("a.json", content);
        let options = case.options.clone().with_max_record_bytes(80);
        let mut reader = options.open(&case.path).unwrap();
        let errors = reader.by_ref().filter(Result::is_err).count();
        (errors, reader.is_cut_off())
    };
    assert_eq!(is_cut_off(format!("[{pair}]")), (0, false));
    assert_eq!(is_cut_off(format!("[{pair}, {pair}")), (1, true));
    assert_eq!(is_cut_off(format!("[{pair}, {{\"instr")), (1, true));
    assert_eq!(is_cut_off(format!("[{pair}, 7, {pair}]")), (1, false));
    let unclosed = format!("[{pair}, {{\"instruction\": \"A}}, {pair}, {pair}, {pair}]");
    assert_eq!(is_cut_off(unclosed), (1, false));
    // Lines after a bad one are read.
    assert_eq!(is_cut_off(format!("{pair}\n{{\"instr")), (1, false));
}
