//! The host against modules written as WAT: the ABI, hostile modules, the pool.

mod abi;
mod calls;
mod examples;
mod hostile;
mod phases;
mod pool;
mod prepare;
mod shared;
mod support;
mod wasi;
