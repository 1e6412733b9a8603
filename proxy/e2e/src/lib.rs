//! One test file per behaviour of the real binary, in `tests/`; here is what several of them need.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clients;
pub mod load;
pub mod s_client;
pub mod tls;
pub mod wasm;
