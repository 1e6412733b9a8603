//! The host against modules written as WAT: the ABI, hostile modules, the pool.
#![expect(clippy::expect_used, reason = "a test that cannot go on says why")]

mod abi;
mod answers;
mod bodies;
mod calls;
mod conformance;
mod contexts;
mod dispatch;
mod examples;
mod fields;
mod harm;
mod hostile;
mod instances;
mod lies;
mod mutants;
mod native;
mod order;
mod phases;
mod pointers;
mod pool;
mod prepare;
mod probe;
mod properties;
mod queues;
mod reentry;
mod root;
mod shared;
mod snapshot;
mod stores;
mod support;
mod wasi;
