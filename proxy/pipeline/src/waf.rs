//! From a route's WAF settings to what the WAF module takes: its rules are compiled once for a profile, and everything
//! else a site may choose is data to each transaction.

use aegis_plugins::{Inspect, PluginSpec, limits};
use aegis_settings::resolved::{Compressed, OverLimit, Site, Waf, WafMode};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// CPU time for the head of a request, its response, and to compile nothing.
const DEADLINE: Duration = Duration::from_millis(500);
/// More of it for each KiB of body: long text costs up to 20 ms a KiB in the sandbox (Go's `regexp`), many small fields
/// twice that, and a thread is billed more where cores are contended; an honest body of the default `text_max` must have
/// room.
const DEADLINE_PER_KIB: Duration = Duration::from_millis(75);
/// Memory of one instance.
const MEMORY_MAX: u64 = 256 << 20;
/// The name in metrics and events.
pub const NAME: &str = "waf";

/// The rules one set of instances compiles: the Core Rule Set and these files. Sites with the same files share them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    seclang: Vec<PathBuf>,
}

/// Why a profile cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("SecLang file {path} cannot be read: {source}")]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

impl Profile {
    /// The profile of a route.
    #[must_use]
    pub fn of(waf: &Waf) -> Self {
        Self {
            seclang: waf.seclang.clone(),
        }
    }

    /// The profiles these sites need, each with the longest body a route may hold for it.
    #[must_use]
    pub fn all(sites: &[Arc<Site>]) -> BTreeMap<Self, u64> {
        let mut all = BTreeMap::new();
        for route in sites
            .iter()
            .flat_map(|site| &site.routes)
            .filter(|route| route.waf.mode != WafMode::Off)
        {
            let longest: &mut u64 = all.entry(Self::of(&route.waf)).or_default();
            *longest = (*longest)
                .max(route.waf.held_max)
                .max(route.waf.response_max);
        }
        all
    }

    /// What the plugin host runs for it.
    ///
    /// # Errors
    /// A SecLang file cannot be read.
    pub fn spec(&self, module: &Path, body_max: u64) -> Result<PluginSpec, Unreadable> {
        let mut files = Vec::with_capacity(self.seclang.len());
        for path in &self.seclang {
            let text = std::fs::read_to_string(path).map_err(|source| Unreadable {
                path: path.clone(),
                source,
            })?;
            files.push(serde_json::json!({ "name": path.display().to_string(), "text": text }));
        }
        Ok(PluginSpec {
            name: NAME.to_owned(),
            module: module.to_owned(),
            config: serde_json::json!({ "seclang": files }).to_string().into(),
            memory_max: MEMORY_MAX,
            deadline: DEADLINE,
            deadline_per_kib: DEADLINE_PER_KIB,
            deadline_max: limits::JOB_CPU_MAX,
            stack_max: limits::STACK_DEFAULT,
            http_call: Vec::new(),
            inspect: Inspect::Body,
            body_max,
        })
    }
}

/// The policy of a route, and a number by which the module remembers it: equal policies have equal numbers.
pub(crate) fn policy(waf: &Waf) -> (u64, Bytes) {
    let targets: Vec<_> = waf
        .exclude_targets
        .iter()
        .map(|target| serde_json::json!({ "rule": target.rule, "target": target.target }))
        .collect();
    let json = serde_json::json!({
        "mode": if waf.mode == WafMode::Detect { "detect" } else { "block" },
        "paranoia": waf.paranoia,
        "inbound": waf.inbound_threshold,
        "outbound": waf.outbound_threshold,
        "remove": waf.exclude_rules,
        "remove_targets": targets,
        "text_max": waf.text_max,
        "over_limit": match waf.over_limit { OverLimit::Reject => "reject", OverLimit::Stream => "stream" },
        "compressed": match waf.compressed { Compressed::Reject => "reject", Compressed::Decompress => "decompress" },
        "ratio_max": waf.decompress_ratio_max,
        "response": match waf.inspect_response {
            Inspect::Off => "off",
            Inspect::Headers => "headers",
            Inspect::Body => "body",
        },
        "response_max": waf.response_max,
    })
    .to_string();
    let mut hasher = DefaultHasher::new();
    hasher.write(json.as_bytes());
    (hasher.finish(), json.into())
}
