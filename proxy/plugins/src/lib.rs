//! The sandbox: a proxy-wasm 0.2.0/0.2.1 host on wasmtime.
//!
//! A [`Host`] owns a pool of threads. [`Host::prepare`] turns a [`PluginSpec`] into a running [`Plugin`];
//! [`Plugin::request`] asks it about a request and gives a [`Verdict`]. An instance is held only while it computes: a
//! stream that waits for its response, for more body or for an HTTP call stays open in its instance, which serves others
//! meanwhile.
//!
//! Invariants:
//! - a module reaches nothing but the functions in [`host_functions`]: no file, no socket, no environment;
//! - every job has a CPU deadline, every instance a bound on memory, tables, call stack and open contexts;
//! - a fault ends the instance it happened in, with the streams open there, and nothing else;
//! - machine code is loaded only if this node compiled it ([`Host`]'s folder of compiled modules is MACed).
#![deny(unsafe_code)]

mod abi;
mod body;
mod builder;
mod calls;
mod compiled;
mod drive;
mod engine;
mod error;
mod fields;
mod guest;
mod host;
pub mod limits;
mod memory;
mod module;
mod native;
mod open;
mod pairs;
mod plugin;
mod pool;
mod slot;
mod snapshot;
mod source;
mod spec;
mod state;
mod stream;
#[cfg(test)]
mod testing;
mod ticket;
mod trusted;
mod verdict;
mod vm;
mod weight;
mod work;

pub use abi::{HostFunction, Support, host_functions};
pub use calls::{HttpCallError, HttpCallRequest, HttpCallResponse, HttpCalls, NoHttpCalls};
pub use error::PluginError;
pub use host::{Host, HostConfig, LateEvent, Made, Report, Running, Stage, Standing};
pub use open::OpenContext;
pub use plugin::Plugin;
pub use spec::{
    Body, ClientCert, Fields, Inspect, Instances, PluginSpec, Properties, RequestHead, ResponseHead,
};
pub use verdict::{Decision, FaultKind, ForeignEvent, LocalResponse, Verdict};
