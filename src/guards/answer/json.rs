//! A JSON object with known fields: each at most once, and no other field.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::{
    Finding,
    fields::{Field, Gathered, Value},
};
use crate::guards::categories::Categories;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::guards) struct Json {
    pub(super) fields: Vec<Field>,
}

impl Json {
    pub(super) fn read(&self, answer: &str, known: Option<&Categories>) -> Option<Finding> {
        let Value::Object(members) = serde_json::from_str(answer).ok()? else {
            return None;
        };
        let mut gathered = Gathered::default();
        for (name, value) in members {
            let field = self.fields.iter().find(|field| field.label == name)?;
            gathered.take(field, &value, known)?;
        }
        gathered.finish(&self.fields)
    }
}

/// Keeps all members of an object: of two with the same name, `serde_json::Value` would keep the second and hide a
/// contradiction.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Word(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Word(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Word(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Word(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Word(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members: Vec<(String, Value)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(serde::de::Error::custom("a name comes twice"));
            }
            members.push((name, value));
        }
        Ok(Value::Object(members))
    }
}
