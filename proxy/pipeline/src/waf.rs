//! From a route's WAF settings to what the WAF module takes: its rules are compiled once for a profile, and everything
//! else a site may choose is data to each transaction.

use aegis_plugins::{Inspect, Instances, PluginSpec, Properties, limits};
use aegis_settings::resolved::{Compressed, OverLimit, Site, Waf, WafMode};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// CPU time for the head of a request, its response, and to compile nothing.
const DEADLINE: Duration = Duration::from_millis(500);
/// More of it for each KiB of body: honest text takes 1 ms a KiB, the worst that is known (900 fields of prose, quotes
/// only) 5, and a thread is billed up to three times that where cores are contended.
const DEADLINE_PER_KIB: Duration = Duration::from_millis(20);
/// Memory of one instance.
const MEMORY_MAX: u64 = 256 << 20;
/// Longest body a route can have held for it; what a route does hold is its own affair.
const BODY_MAX: u64 = 1 << 30;
/// The number of a policy that no route has.
const NO_POLICY: u64 = u64::MAX;
/// The name in metrics and events.
pub const NAME: &str = "waf";

/// The rules one set of instances compiles: the Core Rule Set and these files. Sites with the same files share them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    before: Vec<PathBuf>,
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
            before: waf.seclang_before.clone(),
            seclang: waf.seclang.clone(),
        }
    }

    /// Its own SecLang files, in the order they are read.
    pub fn seclang(&self) -> impl Iterator<Item = &PathBuf> {
        self.before.iter().chain(&self.seclang)
    }

    /// The profiles these sites need.
    #[must_use]
    pub fn all(sites: &[Arc<Site>]) -> BTreeSet<Self> {
        let routes = sites.iter().flat_map(|site| &site.routes);
        routes
            .filter(|route| route.waf.mode != WafMode::Off)
            .map(|route| Self::of(&route.waf))
            .collect()
    }

    /// What the plugin host runs for it, in instances that serve so many requests each.
    ///
    /// Equal rules give equal specs wherever their files lie, and so do routes that differ in their bounds: the host
    /// compiles them once.
    ///
    /// # Errors
    /// A SecLang file cannot be read.
    pub fn spec(
        &self,
        module: &Path,
        requests_per_instance: u32,
    ) -> Result<PluginSpec, Unreadable> {
        let mut names = BTreeSet::new();
        let before = read(&self.before, &mut names)?;
        let mut config = serde_json::json!({ "seclang": read(&self.seclang, &mut names)? });
        if !before.is_empty() {
            config["before"] = before.into();
        }
        Ok(PluginSpec {
            name: NAME.to_owned(),
            module: module.to_owned(),
            config: config.to_string().into(),
            memory_max: MEMORY_MAX,
            deadline: DEADLINE,
            deadline_per_kib: DEADLINE_PER_KIB,
            deadline_max: limits::JOB_CPU_MAX,
            stack_max: limits::STACK_DEFAULT,
            http_call: Vec::new(),
            inspect: Inspect::Body,
            body_max: BODY_MAX,
            instances: Instances::Recycled {
                requests: requests_per_instance,
                warm_up: Some(Arc::new(plain())),
            },
        })
    }
}

/// Files as the module takes them, by names that no two of them share.
fn read<'a>(
    paths: &'a [PathBuf],
    names: &mut BTreeSet<Cow<'a, str>>,
) -> Result<Vec<serde_json::Value>, Unreadable> {
    let file = |path: &'a PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|source| Unreadable {
            path: path.clone(),
            source,
        })?;
        let mut name = path.file_name().unwrap_or_default().to_string_lossy();
        if !names.insert(name.clone()) {
            // So that a mistake in one of them can be found.
            name = path.to_string_lossy();
        }
        Ok(serde_json::json!({ "name": name, "text": text }))
    };
    paths.iter().map(file).collect()
}

/// What the WAF is told of a request that is of no site: the defaults of a site, but for what is measured. Every key is in
/// it, so that a module that does not know one is found out before it serves.
#[must_use]
pub fn plain() -> Properties {
    let waf = Waf {
        measure_every: 0,
        ..Waf::default()
    };
    Properties {
        waf_policy: Some((NO_POLICY, json(&waf).into())),
        ..Properties::default()
    }
}

/// The policy of a route, and a number by which the module remembers it: equal policies have equal numbers.
pub(crate) fn policy(waf: &Waf) -> (u64, Bytes) {
    let json = json(waf);
    (number(&json), json.into())
}

fn json(waf: &Waf) -> String {
    let targets: Vec<_> = waf
        .exclude_targets
        .iter()
        .map(|target| serde_json::json!({ "rule": target.rule, "target": target.target }))
        .collect();
    serde_json::json!({
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
        "measure_every": waf.measure_every,
    })
    .to_string()
}

/// Under a secret of this process: nobody can write a policy that is taken for another's.
fn number(json: &str) -> u64 {
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SECRET.hash_one(json).min(NO_POLICY - 1)
}

#[cfg(test)]
mod tests {
    use super::{NO_POLICY, Profile, number};
    use std::path::{Path, PathBuf};

    fn config(seclang: &[PathBuf]) -> String {
        let profile = Profile {
            before: Vec::new(),
            seclang: seclang.to_vec(),
        };
        let spec = profile.spec(Path::new("waf.wasm"), 64).expect("readable");
        String::from_utf8_lossy(&spec.config).into_owned()
    }

    #[test]
    fn equal_rules_are_one_spec_wherever_they_lie() {
        let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
        let (one, two) = (one.expect("a folder"), two.expect("a folder"));
        let write = |dir: &tempfile::TempDir, name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("writes");
            path
        };
        let (a, b) = (
            write(&one, "own.conf", "# a"),
            write(&two, "own.conf", "# a"),
        );
        assert_eq!(
            config(std::slice::from_ref(&a)),
            config(std::slice::from_ref(&b))
        );
        let both = config(&[a, b.clone()]);
        assert!(both.contains("own.conf") && both.contains(&b.display().to_string()));
        let other = write(&two, "own.conf", "# b");
        assert_ne!(config(&[other]), config(&[write(&one, "own.conf", "# a")]));
    }

    #[test]
    fn equal_policies_have_equal_numbers_and_none_has_the_reserved_one() {
        assert_eq!(number("{}"), number("{}"));
        assert_ne!(number("{}"), number("{ }"));
        assert!((0..1000).all(|n| number(&n.to_string()) != NO_POLICY));
    }
}
