//! `plugins:` proxy-wasm modules.

use crate::define::{choices, default, required, settings};
use crate::kind::file::path;
use crate::kind::list;
use crate::kind::scalar::{choice, ms, name, secs, size, text, time};
use crate::limits::POOLS_MAX;
use std::path::PathBuf;
use std::time::Duration;

settings! {
    /// A proxy-wasm module.
    pub struct Plugin {
        @name name;
        /// The `.wasm` file.
        module: PathBuf = path() => required(&["modules/bots.wasm"]);
        /// Given to the module at its start, as it is written.
        config: String = text("text", 256 << 10) => default("\"\"");
        /// When it runs.
        stage: PluginStage = choice() => default("before_origin");
        /// What a failure of the module means for the request.
        on_error: OnError = choice() => default("deny");
        /// Memory of one instance.
        memory_max: u64 = size(1 << 20, 4 << 30) => default("64MiB");
        /// CPU time for one call into the module.
        deadline: Duration = time(ms(1), secs(60)) => default("20ms");
        /// More of it for every KiB of body.
        deadline_per_kib: Duration = time(ms(0), secs(1)) => default("1ms");
        /// Pools it may call by `proxy_http_call`.
        http_call: Vec<String> = list(name("the name of a pool"), 0, POOLS_MAX) => default("[]");
        /// What it is shown of responses.
        inspect_response: Inspect = choice() => default("off");
        /// Longest request body it is shown; more is refused with 413.
        body_max: u64 = size(0, 1 << 30) => default("1MiB");
        /// Whether requests share its instances. Modules that are not trusted have one for each request, which is a copy
        /// of an instance that was configured once.
        instances: PluginInstances = choice() => default("shared");
    }
}

choices! {
    /// Who shares an instance of a plugin.
    pub enum PluginInstances {
        /// Requests, one after the other and beside each other; what the module remembers stays.
        Shared = "shared",
        /// Nobody: each request has its own, and its response.
        PerRequest = "per_request",
        /// Nobody either: no two plugins of a request ever share one here.
        PerFilter = "per_filter",
    }
}

choices! {
    /// When a plugin runs.
    pub enum PluginStage {
        /// Before the cache.
        BeforeCache = "before_cache",
        /// Only when the origin is asked.
        BeforeOrigin = "before_origin",
    }
}

choices! {
    /// What a failing module means.
    pub enum OnError {
        /// The request goes on.
        Allow = "allow",
        /// 503.
        Deny = "deny",
    }
}

choices! {
    /// What of a response is shown.
    pub enum Inspect {
        /// Nothing.
        Off = "off",
        /// Status and headers.
        Headers = "headers",
        /// Status, headers and body.
        Body = "body",
    }
}
