//! `waf:` of profiles, sites and routes.

use super::{Inspect, OnError};
use crate::define::{choices, default};
use crate::kind::file::path;
use crate::kind::http::rule_target;
use crate::kind::list;
use crate::kind::scalar::{choice, size, whole};
use crate::limits::{EXCLUSIONS_MAX, SECLANG_MAX};
use crate::overlay::overlay;
use std::path::PathBuf;

pub use crate::kind::http::RuleTarget;

overlay! {
    /// WAF values in force.
    pub struct Waf as "waf", off by mode = WafMode::Off;
    /// WAF values that one place sets.
    pub struct WafLayer {
        /// What the WAF does.
        mode: WafMode = choice() => default("block");
        /// Paranoia level of the Core Rule Set.
        paranoia: u8 = whole(1, 4) => default("1");
        /// Anomaly score of a request that blocks it.
        inbound_threshold: u32 = whole(1, 10_000) => default("5");
        /// Anomaly score of a response that blocks it.
        outbound_threshold: u32 = whole(1, 10_000) => default("4");
        /// Rules that are switched off, by id.
        exclude_rules: Vec<u32> = list(whole(1, 2_147_483_647), 0, EXCLUSIONS_MAX) => default("[]");
        /// Variables a rule shall not look at, such as `942100:ARGS:comment`.
        exclude_targets: Vec<RuleTarget> = list(rule_target(), 0, EXCLUSIONS_MAX) => default("[]");
        /// Files with own rules (SecLang), read after the setup of the Core Rule Set and before its rules: its settings
        /// (`tx.allowed_methods`), and rules that exclude others from what follows.
        seclang_before: Vec<PathBuf> = list(path(), 0, SECLANG_MAX) => default("[]");
        /// Files with own rules (SecLang), read after the Core Rule Set; with `seclang_before` at most 8 different lists in all.
        seclang: Vec<PathBuf> = list(path(), 0, SECLANG_MAX) => default("[]");
        /// What is inspected of responses.
        inspect_response: Inspect = choice() => default("headers");
        /// Text of a request body (form, JSON, XML, multipart fields) that is inspected.
        text_max: u64 = size(1 << 10, 1 << 30) => default("128KiB");
        /// Request body that is held back for the verdict.
        held_max: u64 = size(1 << 10, 1 << 30) => default("16MiB");
        /// Where a request is until a plugin that reads bodies has judged its body, if that has no length or more than
        /// 64 KiB; shorter ones never leave before.
        body_mode: BodyMode = choice() => default("hold");
        /// What happens to a request past either limit.
        over_limit: OverLimit = choice() => default("reject");
        /// Request bodies with a Content-Encoding.
        compressed: Compressed = choice() => default("reject");
        /// How many times its size a body may become by `decompress`.
        decompress_ratio_max: u32 = whole(1, 1_000) => default("20");
        /// Response body that is inspected.
        response_max: u64 = size(1 << 10, 1 << 30) => default("512KiB");
        /// One request in so many has the cost of each rule measured, for `aegis waf top`; 0 = none.
        measure_every: u32 = whole(0, 1_000_000) => default("1000");
        /// What a failure of the sandbox means for the request.
        on_error: OnError = choice() => default("deny");
    }
}

choices! {
    /// WAF mode.
    pub enum WafMode {
        /// Attacks get 403.
        Block = "block",
        /// Attacks are only written down.
        Detect = "detect",
        /// It does not run.
        Off = "off",
    }
}

choices! {
    /// Where a request with a long body waits.
    pub enum BodyMode {
        /// Its head goes to the origin at once; a block then costs the origin an aborted request.
        Hold = "hold",
        /// All of it is here, past 1 MiB on disk: the origin sees nothing of a request that is blocked.
        Spool = "spool",
    }
}

choices! {
    /// Past a limit of a request body.
    pub enum OverLimit {
        /// 413.
        Reject = "reject",
        /// What was judged goes on; a later block cuts the request.
        Stream = "stream",
    }
}

choices! {
    /// Compressed request bodies.
    pub enum Compressed {
        /// 415.
        Reject = "reject",
        /// Inspected decompressed.
        Decompress = "decompress",
    }
}
