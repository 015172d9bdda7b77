//! The key and the other headers that the caller sends with every request.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};

/// A key and headers. All values are treated as secrets.
#[derive(Clone)]
pub(crate) struct Credentials {
    headers: HeaderMap,
    key: Option<SecretString>,
}

impl Credentials {
    /// Checks a key, whose surrounding white space is removed, and headers.
    pub(crate) fn new(
        key: Option<SecretString>,
        named: &BTreeMap<String, SecretString>,
    ) -> Result<Self> {
        let mut headers = HeaderMap::new();
        let key = key.map(|key| SecretString::from(key.expose_secret().trim()));
        if let Some(key) = &key {
            let value = SecretString::from(format!("Bearer {}", key.expose_secret()));
            headers.insert(header::AUTHORIZATION, secret("key", &value)?);
        }
        for (name, value) in named {
            let parsed = HeaderName::try_from(name.as_str())
                .map_err(|_| Error::config("header", format!("{name:?} is no name of a header")))?;
            headers.insert(parsed, secret(name, value)?);
        }
        Ok(Self { headers, key })
    }

    /// The headers of a request, including that of the key.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether a key is sent, as `Authorization` or in a header of the caller's.
    pub(crate) fn has_key(&self) -> bool {
        let key = self.key.as_ref();
        let names = ["key", "token", "auth"];
        key.is_some_and(|key| !key.expose_secret().is_empty())
            || self.headers.keys().any(|header| {
                *header != header::AUTHORIZATION
                    && names.iter().any(|name| header.as_str().contains(name))
            })
    }

    /// The key and the values of all headers.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let key = self.key.as_ref().map(ExposeSecret::expose_secret);
        let values = self.headers.values();
        key.into_iter()
            .chain(values.filter_map(|value| value.to_str().ok()))
    }
}

fn secret(name: &str, value: &SecretString) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| {
        Error::config(name, "it holds a character that no header may hold, such as a line break; was it copied whole?")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
