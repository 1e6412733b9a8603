//! The pipeline over real sockets: a plain accept loop in front, origins that write down every byte behind.

mod cache_answers;
mod cache_fills;
mod plugins;
mod proxying;
mod support;
