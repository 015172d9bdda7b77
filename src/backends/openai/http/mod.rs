//! How requests reach a server: which address is next, how often it may be asked, and what carries the bytes. [`credentials`] are the caller's headers.
//!
//! [`transport`] is the trait that carries a request, and [`client`] its implementation on `reqwest`. [`endpoints`] picks one of
//! several addresses, [`limits`] waits for a turn, and [`headers`] reads how long a server asks to wait.

#[cfg(feature = "reqwest")]
pub(crate) mod client;
pub(crate) mod credentials;
pub(crate) mod endpoints;
pub(crate) mod headers;
pub(crate) mod limits;
pub(crate) mod transport;
