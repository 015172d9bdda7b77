//! Bad input is named, counted and never lost without a message; the exact text of every error.

use std::{fs, io::Write, path::PathBuf};

use safer_instruct::dataset::{Columns, Format, Reader, ReaderBuilder};
use tempfile::TempDir;

/// A file with some content, and what comes of it, with the folder cut out of the errors.
struct Case {
    dir: TempDir,
    path: PathBuf,
    options: ReaderBuilder,
}

impl Case {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        Self {
            dir,
            path,
            options: Reader::builder(),
        }
    }

    fn with(mut self, change: impl FnOnce(ReaderBuilder) -> ReaderBuilder) -> Self {
        self.options = change(self.options);
        self
    }

    /// One line an item: `id = text`, or the report of the error.
    fn items(&self) -> Vec<String> {
        let folder = format!("{}/", self.dir.path().display());
        let clean = |error: safer_instruct::Error| error.report().replace(&folder, "");
        match self.options.clone().open(&self.path) {
            Err(error) => vec![format!("open: {}", clean(error))],
            Ok(reader) => reader
                .map(|item| match item {
                    Ok(source) => format!("{} = {}", source.id(), source.text()),
                    Err(error) => clean(error),
                })
                .collect(),
        }
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn nothing_to_read() {
    for (name, content, expected) in [
        (
            "a.jsonl",
            "",
            "open: a.jsonl: no records: the file is empty",
        ),
        (
            "a.txt",
            "\n \r\n\t\n",
            "open: a.txt: no records: the file is empty",
        ),
        ("a.csv", "", "open: a.csv: no header: the file is empty"),
        (
            "a.csv",
            "text\n",
            "open: a.csv: no records: the file is empty",
        ),
        (
            "a.md",
            "x",
            "open: format: the ending of a.md does not say whether it is JSONL, CSV or text; give the format",
        ),
    ] {
        assert_eq!(Case::new(name, content).items(), [expected]);
    }
    let missing = Reader::open("no/such/file.jsonl").unwrap_err();
    assert_eq!(
        missing.report(),
        "no/such/file.jsonl: No such file or directory (os error 2)"
    );
    let case = Case::new("a.md", "x");
    let error = Reader::open(case.dir.path()).unwrap_err().to_string();
    assert!(
        error.ends_with(": the folder holds no .txt files"),
        "{error}"
    );
}

#[test]
fn broken_json() {
    let lines = [
        r#"{"text": "good"}"#,
        r#"{"text": "hidden""#,
        r#"["hidden"]"#,
        r#"{"body": "hidden", "n": 1}"#,
        r#"{"text": 17}"#,
        r#"{"text": "  "}"#,
        r#"{"text": "hid\u0000den"}"#,
        r#"{"text": "\ud800 hidden"}"#,
        r#"{}"#,
        r#"{"text": "last"}"#,
    ];
    let items = Case::new("a.jsonl", lines.join("\n")).items();
    assert_eq!(
        items,
        [
            "a:1 = good",
            "a.jsonl:2: not valid JSON: EOF while parsing an object at byte 17",
            "a.jsonl:3: the record is an array, not an object",
            "a.jsonl:4: no column text; there are: body, n",
            "a.jsonl:5: column text is a number, not a string",
            "a.jsonl:6: the text is empty",
            "a.jsonl:7: byte 4 of the text is a NUL character",
            "a.jsonl:8: not valid JSON: unexpected end of hex escape at byte 17",
            "a.jsonl:9: no column text; the record is empty",
            "a:10 = last",
        ]
    );
    assert!(!items.join(" ").contains("hidden"), "errors show the data");
}

#[test]
fn deep_nesting_is_refused() {
    let brackets = "[".repeat(100_000);
    let deep = format!("{{\"text\": \"a\", \"b\": {brackets}\n{{\"text\": \"b\"}}");
    assert_eq!(
        Case::new("a.jsonl", deep).items(),
        [
            "a.jsonl:1: not valid JSON: recursion limit exceeded at byte 146",
            "a:2 = b"
        ]
    );
}

#[test]
fn ids_and_categories() {
    let lines = [
        r#"{"text": "a", "id": "x", "kind": null}"#,
        r#"{"text": "b", "id": 12345678901234567890, "kind": "t@1:k"}"#,
        r#"{"text": "c", "id": 1.5, "kind": null}"#,
        r#"{"text": "d", "id": "x", "kind": ""}"#,
        r#"{"text": "e", "id": " ", "kind": null}"#,
        r#"{"text": "f", "id": "f", "kind": 3}"#,
        r#"{"text": "g", "kind": null}"#,
    ];
    let columns = Columns::default().with_id("id").with_category("kind");
    let case = Case::new("a.jsonl", lines.join("\n")).with(|options| options.with_columns(columns));
    let expected = |fourth| {
        [
            "x = a",
            "12345678901234567890 = b",
            "a.jsonl:3: column id is a number, not a string or a whole number",
            fourth,
            "a.jsonl:5: the id is empty",
            "a.jsonl:6: column kind is a number, not a string or null",
            "a.jsonl:7: no column id; there are: kind",
        ]
    };
    assert_eq!(case.items(), expected("x = d"));
    let case = case.with(|options| options.with_unique_ids(true));
    assert_eq!(
        case.items(),
        expected("a.jsonl:4: an earlier record has the same id")
    );
}

#[test]
fn broken_csv() {
    assert_eq!(
        Case::new("a.csv", "id,body\n1,a\n").items(),
        ["open: a.csv:1: no column text; there are: id, body"]
    );
    assert_eq!(
        Case::new("a.csv", "text,text\na,b\n").items(),
        ["open: a.csv:1: the header names column text twice"]
    );
    let csv = "\u{feff}\"id\",text\r\n1,\"two\nlines, \"\"quoted\"\"\"\r\n\r\n2\r\n3,a,b\r\n4,さようなら\r\n5,\"open\r\n6,b";
    let columns = Columns::default().with_id("id");
    assert_eq!(
        Case::new("a.csv", csv)
            .with(|options| options.with_columns(columns))
            .items(),
        [
            "1 = two\nlines, \"quoted\"",
            "a.csv:5: the number of fields is 1, but the header has 2",
            "a.csv:6: the number of fields is 3, but the header has 2",
            "4 = さようなら",
            "a.csv:8: the file ends within quotes that are never closed",
        ]
    );
}

#[test]
fn encodings() {
    assert_eq!(
        Case::new(
            "a.txt",
            b"\xef\xbb\xbfone\r\nbad \xff byte\r\n\xe6\x97\xa5\xe6\x9c\xac\n"
        )
        .items(),
        [
            "a:1 = one",
            "a.txt:2: byte 5 of the record is not UTF-8",
            "a:3 = 日本"
        ]
    );
    assert_eq!(
        Case::new("a.txt", b"\xff\xfea\0").items(),
        ["open: a.txt: the file is UTF-16; convert it to UTF-8"]
    );
}

#[test]
fn a_record_that_is_too_long_is_passed_over() {
    let long = "x".repeat(10 << 20);
    let limit = "the record is longer than 4194304 bytes; split the text or allow longer records";
    assert_eq!(
        Case::new("a.txt", format!("one\n{long}\nthree")).items(),
        [
            "a:1 = one".to_owned(),
            format!("a.txt:2: {limit}"),
            "a:3 = three".to_owned()
        ]
    );
    assert_eq!(
        Case::new("a.csv", format!("text\n\"{long}\n{long}\"\nthree")).items(),
        [format!("a.csv:2: {limit}"), "a:4 = three".to_owned()]
    );
    assert_eq!(
        Case::new("a.txt", "abc\r\nabcd\nabc")
            .with(|options| options.with_max_record_bytes(3))
            .items(),
        [
            "a:1 = abc",
            "a.txt:2: the record is longer than 3 bytes; split the text or allow longer records",
            "a:3 = abc"
        ]
    );
}

#[test]
fn compressed_data_that_are_cut_off() {
    // Numbers do not compress away, so that whole lines come out before the end.
    let lines: String = (0..200_000)
        .map(|n| format!("text {}\n", n * 7919 % 1_000_003))
        .collect();
    for (name, packed, report) in [
        (
            "a.txt.gz",
            gzip(lines.as_bytes()),
            "a.txt.gz: the gzip data end too early: the file is cut off",
        ),
        (
            "a.txt.zst",
            zstd(lines.as_bytes()),
            "a.txt.zst: the zstd data end too early: the file is cut off",
        ),
    ] {
        let items = Case::new(name, &packed[..packed.len() - 10]).items();
        let (last, good) = items.split_last().unwrap();
        assert_eq!(last, report);
        assert_eq!(
            good.first().map(String::as_str),
            Some("a:1 = text 0"),
            "{name}"
        );
        assert!(good.iter().all(|item| item.starts_with("a:")), "{name}");
        assert_eq!(Case::new(name, &packed).items().len(), 200_000);
    }
}

#[test]
fn damaged_compressed_data() {
    let mut packed = gzip("a\n".repeat(100).as_bytes());
    let sum = packed.len() - 8;
    packed[sum] ^= 1;
    let items = Case::new("a.txt.gz", &packed).items();
    assert!(
        items
            .last()
            .unwrap()
            .contains("a.txt.gz: the gzip data are damaged: "),
        "{items:?}"
    );
    let mut packed = zstd("a\n".repeat(100).as_bytes());
    let sum = packed.len() - 1;
    packed[sum] ^= 1;
    let items = Case::new("a.txt.zst", &packed).items();
    assert!(
        items
            .last()
            .unwrap()
            .ends_with("a.txt.zst: the zstd data are damaged: the checksum differs"),
        "{items:?}"
    );
}

#[test]
fn a_bomb_is_one_bad_record() {
    let bomb = gzip(&vec![b'x'; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(
        Case::new("a.txt", &bomb).items(),
        [
            "a.txt:1: the record is longer than 4194304 bytes; split the text or allow longer records"
        ]
    );
}

#[test]
fn skipping_tells_of_each_bad_record() {
    let case = Case::new("a.dat", "{\"text\": \"a\"}\nx\n{\"text\": \"b\"}\n{}\n");
    let mut told = Vec::new();
    let mut reader = Reader::builder()
        .with_format(Format::Jsonl)
        .open(&case.path)
        .unwrap()
        .skip_bad(|error| told.push(error.to_string()));
    let ids: Vec<String> = reader
        .by_ref()
        .map(|source| source.unwrap().id().to_owned())
        .collect();
    let report = reader.get_ref().report();
    assert_eq!((report.read, report.bad), (2, 2));
    assert_eq!(ids, ["a:1", "a:3"]);
    assert_eq!(told.len(), 2);
    assert!(
        told[0].ends_with("a.dat:2: not valid JSON: expected value at byte 1"),
        "{}",
        told[0]
    );
}
