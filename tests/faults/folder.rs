//! The outcomes that a folder has.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::{checks::Row, trial::Trial};

impl Trial {
    /// What a crash has left: as far as `progress.jsonl` can be read, and each file has its lines.
    pub(crate) fn folder_rows(&self) -> Vec<Row> {
        let lines = |name: &str| {
            let bytes = fs::read(self.order.folder.join(name)).unwrap_or_default();
            let whole = bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let lines = bytes[..whole].split_inclusive(|byte| *byte == b'\n');
            lines
                .map(|line| line[..line.len() - 1].to_vec())
                .collect::<Vec<_>>()
                .into_iter()
        };
        let mut files: BTreeMap<&str, _> = [
            ("kept", "pairs.jsonl"),
            ("dropped", "dropped.jsonl"),
            ("failed", "failed.jsonl"),
        ]
        .map(|(kind, name)| (kind, lines(&format!("{name}.partial")).chain(lines(name))))
        .into();
        let mut rows = Vec::new();
        for mark in lines("progress.jsonl").skip(1) {
            let Ok(mark) = serde_json::from_slice::<Value>(&mark) else {
                break;
            };
            let kind = mark["kind"].as_str().unwrap();
            let Some(line) = files.get_mut(kind).unwrap().next() else {
                break;
            };
            rows.push((
                rows.len() as u64,
                mark["id"].as_str().unwrap().to_owned(),
                mark["draw"].as_u64().unwrap() as u32,
                kind.to_owned(),
                String::from_utf8(line).unwrap_or_default(),
            ));
        }
        rows
    }
}
