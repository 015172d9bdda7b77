//! Files of source texts, of instructions with responses, and of pairs: each ends, and no error shows what a record says.
#![no_main]

use std::{fs, path::Path};

use libfuzzer_sys::fuzz_target;
use safer_instruct::{
    Error, Result,
    dataset::{Columns, InstructionColumns, InstructionReader, Reader, read_pairs},
};
use safer_instruct_fuzz::{Script, TEXTS, check, check_report};

fuzz_target!(|input: &[u8]| {
    // The first line is that of a script without answers, the rest is the file.
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let script = Script::read(&input[..end]);
    let ending = ["csv", "txt"].into_iter().find(|ending| script.has(ending));
    let folder = tempfile::tempdir().unwrap();
    let path = folder
        .path()
        .join("file")
        .with_extension(ending.unwrap_or("json"));
    fs::write(&path, input.get(end + 1..).unwrap_or_default()).unwrap();
    let most = if script.has("short") { 64 } else { 1 << 20 };
    sources(&script, &path, most);
    instructions(&script, &path, most);
    all(read_pairs(&path));
});

fn sources(script: &Script, path: &Path, most: usize) {
    let mut columns = Columns::new("text");
    if script.has("columns") {
        columns = columns.with_id("id").with_category("category");
    }
    let builder = Reader::builder()
        .with_columns(columns)
        .with_max_record_bytes(most)
        .with_unique_ids(script.has("unique"));
    let items = all(builder.open(path));
    if let Some((reader, good, bad)) = items {
        let report = reader.report();
        assert_eq!((report.read, report.bad), (good, bad));
    }
}

fn instructions(script: &Script, path: &Path, most: usize) {
    let mut builder = InstructionReader::builder().with_max_record_bytes(most);
    if script.has("columns") {
        let columns = InstructionColumns::new("instruction", "response");
        builder = builder.with_columns(columns.with_input("input"));
    }
    if let Some((reader, good, _)) = all(builder.open(path)) {
        assert_eq!(reader.report().pairs, good);
    }
}

/// What is read to the end, and how many records are good and bad, if it can be opened.
fn all<R: Iterator<Item = Result<T>>, T>(opened: Result<R>) -> Option<(R, u64, u64)> {
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(error) => {
            check_report(&error);
            return None;
        }
    };
    let (mut good, mut bad) = (0, 0);
    for item in reader.by_ref() {
        match item {
            Ok(_) => good += 1,
            Err(error) => {
                bad += u64::from(matches!(error, Error::Input { .. }));
                if error.report().contains("; there are: ") {
                    // Names of columns are shown.
                    check_report(&error);
                } else {
                    check::<()>(&Err(error), &TEXTS);
                }
            }
        }
    }
    Some((reader, good, bad))
}
