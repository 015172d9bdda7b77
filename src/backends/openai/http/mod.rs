//! How requests reach a server.
//!
//! [`transport`] is the trait that sends a request, and [`client`] implements it with `reqwest`. [`endpoints`] picks
//! one of several addresses, [`limits`] holds requests back until the server may be asked again, [`headers`] reads how
//! long that takes, and [`credentials`] are the key and the caller's headers.

#[cfg(feature = "reqwest")]
pub(crate) mod client;
pub(crate) mod credentials;
pub(crate) mod endpoints;
pub(crate) mod headers;
pub(crate) mod limits;
pub(crate) mod transport;
