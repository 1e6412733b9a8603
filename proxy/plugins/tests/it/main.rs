//! The host against modules written as WAT: the ABI, hostile modules, the pool.
#![expect(clippy::expect_used, reason = "a test that cannot go on says why")]

mod abi;
mod calls;
mod examples;
mod hostile;
mod lies;
mod native;
mod phases;
mod pool;
mod prepare;
mod shared;
mod snapshot;
mod support;
mod wasi;
