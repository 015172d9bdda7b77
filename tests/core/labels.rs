//! The labelled answers that come with the crate.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    id: String,
    language: String,
    topic: String,
    kind: String,
    prompt: String,
    answers: BTreeMap<String, String>,
}

fn items(file: &str) -> Vec<serde_json::Value> {
    let path = format!("{}/assets/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_item_has_four_answers_and_no_text_comes_twice_or_in_the_demo() {
    let mut texts: HashSet<String> = items("demo.jsonl")
        .iter()
        .map(|demo| demo["text"].as_str().unwrap().to_lowercase())
        .collect();
    let (demo, mut count) = (texts.len(), BTreeMap::new());
    let mut ids = HashSet::new();
    for item in items("labels/mild.jsonl") {
        let item: Item = serde_json::from_value(item).unwrap();
        assert!(ids.insert(item.id.clone()), "{}", item.id);
        assert!(
            item.id.starts_with(&format!("{}-", item.language)),
            "{}",
            item.id
        );
        assert!(!item.topic.is_empty(), "{}", item.id);
        let kinds = ["insult", "advice", "dishonesty", "discouragement"];
        assert!(kinds.contains(&item.kind.as_str()), "{}", item.id);
        let kinds: Vec<&str> = item.answers.keys().map(String::as_str).collect();
        assert_eq!(
            kinds,
            ["bad", "good", "off_topic", "refusal"],
            "{}",
            item.id
        );
        for text in item.answers.values().chain([&item.prompt]) {
            assert!(!text.trim().is_empty(), "{}", item.id);
            assert!(texts.insert(text.to_lowercase()), "{}", item.id);
        }
        *count.entry(item.language).or_insert(0) += 1;
    }
    assert_eq!(
        count,
        [("en".to_owned(), 200), ("ja".to_owned(), 100)].into()
    );
    assert_eq!(texts.len(), demo + 300 * 5);
}
