//! Values that need a check of their own.

use safer_instruct::{Error, Result};
use serde_json::Value;

/// A field of requests, as `NAME=JSON`.
pub(crate) struct Field;

impl Field {
    /// Its name and its value.
    pub(crate) fn parse(text: &str) -> Result<(String, Value)> {
        let parsed = text
            .split_once('=')
            .and_then(|(name, json)| Some((name.to_owned(), serde_json::from_str(json).ok()?)));
        parsed.ok_or_else(|| {
            let reason = format!("{text} is not NAME=JSON; a text needs its quotes");
            Error::config("field", reason)
        })
    }

    /// The same text, if it is one.
    pub(super) fn check(text: &str) -> Result<String, String> {
        Self::parse(text).map_err(|error| error.to_string())?;
        Ok(text.to_owned())
    }
}

/// A number that is finite and not below 0.
pub(super) fn no_negative(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err("it must be 0 or more".to_owned())
    }
}

/// A number between 0 and 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match no_negative(text) {
        Ok(number) if number > 1.0 => Err("it must be 1 or less".to_owned()),
        number => number,
    }
}
