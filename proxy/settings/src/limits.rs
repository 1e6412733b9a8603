//! Every maximum that does not belong to a single key.

/// Bytes of the settings file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all files the settings refer to, together.
pub const REFERENCED_BYTES_MAX: u64 = 64 << 20;
/// Lists and maps inside each other.
pub const DEPTH_MAX: usize = 32;
/// Problems kept of one reading; what comes after is only counted.
pub const PROBLEMS_MAX: usize = 1_000;
/// Characters of a name (pool, plugin, profile).
pub const NAME_MAX: usize = 64;
/// `listeners:`
pub const LISTENERS_MAX: usize = 64;
/// `node.client.trusted_proxies:`
pub const NETWORKS_MAX: usize = 1_000;
/// `node.verdicts.rules:`
pub const VERDICT_RULES_MAX: usize = 32;
/// `node.admin.tokens:`
pub const TOKENS_MAX: usize = 64;
/// `node.log.mask:`
pub const MASKS_MAX: usize = 64;
/// `certificates:`
pub const CERTIFICATES_MAX: usize = 10_000;
/// `profiles.waf:`, `profiles.cache:` and `profiles.limits:`, each.
pub const PROFILES_MAX: usize = 256;
/// Different lists of SecLang files in use; each costs a compiled rule set.
pub const WAF_COMPILED_MAX: usize = 8;
/// `limits.policies:` of one place, and those that hold for one route.
pub const LIMITS_MAX: usize = 8;
/// Parts of a limit's key.
pub const LIMIT_PARTS_MAX: usize = 4;
/// `limits.policies.*.statuses:`
pub const LIMIT_STATUSES_MAX: usize = 16;
/// The most a limit can let.
pub const LIMIT_AMOUNT_MAX: u64 = 1 << 48;
/// A limit's burst is at most so many windows' worth.
pub const LIMIT_BURST_WINDOWS_MAX: u64 = 100;
/// Cores a node can have, for how much a WAF can compute in a window.
pub const LIMIT_CORES_MAX: u64 = 1_024;
/// `pools:`
pub const POOLS_MAX: usize = 1_000;
/// `pools.*.servers:`
pub const SERVERS_MAX: usize = 256;
/// `plugins:` and the plugins of one site or route.
pub const PLUGINS_MAX: usize = 64;
/// `sites:`
pub const SITES_MAX: usize = 10_000;
/// `sites[].hosts:`
pub const HOSTS_MAX: usize = 1_000;
/// `sites[].routes:`
pub const ROUTES_MAX: usize = 1_000;
/// `methods:` of a site, a route, and of what a route matches.
pub const METHODS_MAX: usize = 64;
/// `exclude_rules:` and `exclude_targets:`, each.
pub const EXCLUSIONS_MAX: usize = 1_000;
/// `seclang_before:` and `seclang:`, each.
pub const SECLANG_MAX: usize = 64;
/// Least bytes of `node.log.events_kept`, if any.
pub const EVENTS_KEPT_MIN: u64 = 1 << 20;
/// Bytes of a path of a Unix socket.
pub const SOCKET_PATH_MAX: usize = 107;
