//! What unit tests share.

use crate::{Inspect, PluginSpec};
use bytes::Bytes;
use std::time::Duration;

pub(crate) fn spec(name: &str) -> PluginSpec {
    PluginSpec {
        name: name.to_owned(),
        module: "none.wasm".into(),
        config: Bytes::new(),
        memory_max: 16 << 20,
        deadline: Duration::from_millis(20),
        deadline_per_kib: Duration::from_millis(1),
        stack_max: crate::limits::STACK_DEFAULT,
        http_call: Vec::new(),
        inspect: Inspect::Off,
        body_max: 1 << 20,
    }
}
