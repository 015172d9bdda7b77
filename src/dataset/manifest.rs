//! What a run is made with, and what differs between two runs.

use std::collections::BTreeMap;

use serde_json::Value;

/// A place at which two manifests differ.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference<'a> {
    /// Such as `model.name`.
    pub(crate) place: String,
    /// `None` if the place is not there.
    pub(crate) old: Option<&'a Value>,
    pub(crate) new: Option<&'a Value>,
}

/// The places at which two manifests differ, in the order of the new one.
pub(crate) fn differences<'a>(old: &'a Value, new: &'a Value) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    compare(Some(old), Some(new), "", &mut found);
    found
}

fn compare<'a>(
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    at: &str,
    found: &mut Vec<Difference<'a>>,
) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let gone = old.keys().filter(|key| !new.contains_key(*key));
            for key in new.keys().chain(gone) {
                let place = if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at}.{key}")
                };
                compare(old.get(key), new.get(key), &place, found);
            }
        }
        // A name with the value `null` counts as no name.
        _ if old.unwrap_or(&Value::Null) == new.unwrap_or(&Value::Null) => {}
        _ => {
            let place = if at.is_empty() {
                "the whole manifest"
            } else {
                at
            };
            found.push(Difference {
                place: place.to_owned(),
                old,
                new,
            });
        }
    }
}

/// The same value with all names in order. Other crates may turn on `preserve_order` of serde_json, and the same
/// manifest has to give the same bytes either way.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<_, _> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            map.into_iter().collect()
        }
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}
