//! What `aegis check` says about what is wrong, letter for letter.

use super::{messages, minimal, parse};
use crate::{Severity, render};

/// What `aegis check` prints.
fn printed(text: &str) -> String {
    render(&parse(text).problems, false)
}

#[test]
fn everything_wrong_is_listed_at_once_with_place_and_remedy() {
    let text = "\
version: 1
pools:
  api: { servers: [10.0.0.1:80] }
  static: { servers: [10.0.0.2:80] }
listeners:
  - address: 0.0.0.0:443
  - address: 0.0.0.0:443
sites:
  - hosts: [a.example]
    origin: apiserver
    waf:
      mode: block
      paranoa: 2
  - hosts: [b.example, a.example]
    origin: sttic
";
    let expected = "\
error: listeners[1].address 0.0.0.0:443 is also listeners[0].address         aegis.yaml:7:14
       remove one, or give one of them another port
error: sites[0].origin: pool `apiserver` does not exist                      aegis.yaml:10:13
       pools here: api, static
error: sites[0].waf.paranoa is not a key                                     aegis.yaml:13:7
       did you mean `paranoia`?
error: sites[1].hosts[1] `a.example` is also sites[0].hosts[0]               aegis.yaml:14:24
       a host belongs to one site; remove one of them
error: sites[1].origin: pool `sttic` does not exist                          aegis.yaml:15:13
       did you mean `static`?
5 errors; nothing was changed
";
    assert_eq!(printed(text), expected);
}

#[test]
fn warnings_alone_do_not_refuse_the_settings() {
    let text = "\
version: 1
listeners: [{ address: \"[::]:443\", tls: {} }]
pools: { spare: { servers: [\"[fd00::1]:80\"] } }
sites:
  - hosts: [\"*\"]
    origin: http://127.0.0.1:3000
    routes:
      - match: { path: /a/* }
        respond: {}
      - match: { path: /a/b, methods: [GET] }
";
    let loaded = parse(text);
    assert!(loaded.result.is_ok());
    let expected = "\
warning: listeners[0].tls: there is no certificate, so a self-signed one is made and used  aegis.yaml:2:36
       browsers will warn; add one under `certificates:`
warning: pools.spare is used nowhere                                         aegis.yaml:3:10
       name it where it is meant to work, or remove it
warning: sites[0].routes[1] is never reached: sites[0].routes[0] (/a/*) comes before it and is as wide  aegis.yaml:10:9
       move it up, or remove it
3 warnings
";
    assert_eq!(render(&loaded.problems, false), expected);
}

/// One wrong thing, its key, the sentence and the remedy (empty = none).
#[rustfmt::skip]
const CASES: &[(&str, &str, &str, &str)] = &[
    // the file as a whole
    ("", "", "the file is empty", "the smallest one is:"),
    ("# nothing but this\n", "", "the file is empty", "the smallest one is:"),
    ("- a\n", "", "expected keys such as `version:`, found a list", "write `key: value`, one a line"),
    ("hello", "", "expected keys such as `version:`, found `hello`", "write `key: value`, one a line"),
    ("version: 1\n---\nversion: 1\n", "", "a second document starts here (`---`)", "a settings file is one document"),
    ("version: 1\n\tsites: x\n", "", "this is not YAML: while scanning a plain scalar, found a tab", "indent with spaces"),
    ("version: 1\nsites: [{ hosts: [\"*\"], orig", "", "this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'", "the file seems to end in the middle"),
    ("version: 1\nsites: \"abc", "", "this is not YAML: while scanning a quoted scalar, found unexpected end of stream", "the file seems to end in the middle"),
    ("version: 1\0", "", "the file is not text: byte 10 is 0x00", "settings are YAML in UTF-8"),
    // what YAML has and settings do not
    ("+x: &a 1", "x", "an anchor (`&name`) is not allowed", "remove it; to share values use a profile"),
    ("+node: *a", "node", "this is not YAML: while parsing node, found unknown anchor", "the file seems to end"),
    ("+node: !!map {}", "node", "a tag (`!name`) is not allowed", "remove it; the key alone decides the type"),
    ("+version: 1", "version", "version stands here a second time", "the first is in line 1; remove one"),
    ("+node: { workers: 1, workers: 2 }", "node.workers", "node.workers stands here a second time", "the first is in line 7"),
    ("+? [a]\n: b", "", "a key must be text", "write `key: value`"),
    // keys
    ("+nodes: {}", "nodes", "nodes is not a key", "did you mean `node`?"),
    ("+zzzzzz: {}", "zzzzzz", "zzzzzz is not a key", "keys here: version, node, listeners, certificates, profiles, pools, plugins, sites"),
    ("+node:", "node", "node: expected keys such as `state_dir:`, found nothing", "write `{}` for all defaults, or remove the key"),
    ("+node: 5", "node", "node: expected keys such as `state_dir:`, found `5`", ""),
    ("+node: [a]", "node", "node: expected keys such as `state_dir:`, found a list", ""),
    // numbers, sizes, times, choices
    ("+node: { workers: \"2\" }", "node.workers", "node.workers: expected a whole number from 0 to 1024, found the text `2`", "remove the quotes"),
    ("+node: { workers: 1025 }", "node.workers", "node.workers: expected a whole number from 0 to 1024, found `1025`", ""),
    ("+node: { workers: 2.0 }", "node.workers", "node.workers: expected a whole number from 0 to 1024, found `2.0`", ""),
    ("+node: { workers: 99999999999999999999999 }", "node.workers", "node.workers: expected a whole number from 0 to 1024, found `99999999999999999999999`", ""),
    ("+node: { cache: { memory: 64MB } }", "node.cache.memory", "node.cache.memory: expected a size from 1MiB to 16TiB, found `64MB`", "`MB` is not a unit here; the units are KiB, MiB, GiB and TiB"),
    ("+node: { cache: { memory: 1 } }", "node.cache.memory", "node.cache.memory: expected a size from 1MiB to 16TiB, found `1`", ""),
    ("+node: { shutdown: { grace: 25 } }", "node.shutdown.grace", "node.shutdown.grace: expected a time from 0s to 1h, found `25`", "a unit is missing; write `25s` or `25ms`"),
    ("+node: { log: { level: warning } }", "node.log.level", "node.log.level: expected `error`, `warn`, `info` or `debug`, found `warning`", ""),
    ("+node: { log: { access: jsn } }", "node.log.access", "node.log.access: expected `json`, `combined` or `off`, found `jsn`", "did you mean `json`?"),
    ("+node: { admin: { metrics: \"0.0.0.0:9901\" } }", "node.admin.metrics", "node.admin.metrics: expected a loopback address `ip:port`, found the text `0.0.0.0:9901`", "metrics are for this machine only; write 127.0.0.1:9901"),
    ("+node: { state_dir: \"\" }", "node.state_dir", "node.state_dir: expected a path, found the text ``", ""),
    // verdicts, tokens, masks
    ("+node: { verdicts: { entries_max: 1000001 } }", "node.verdicts.entries_max", "node.verdicts.entries_max: expected a whole number from 1 to 1000000, found `1000001`", ""),
    ("+node: { verdicts: { never_ban: [10.0.0.1/8] } }", "node.verdicts.never_ban[0]", "node.verdicts.never_ban[0]: expected an address or a network such as 10.0.0.0/8, found `10.0.0.1/8`", "10.0.0.1/8 has bits behind its length; write 10.0.0.0/8"),
    ("+node: { verdicts: { rules: [{ name: waf, fault: block }] } }", "node.verdicts.rules[0].fault", "node.verdicts.rules[0].fault: expected `waf_block`, `bad_request`, `limit_exceeded` or `module_refusal`, found `block`", ""),
    ("+node: { verdicts: { rules: [{ name: waf, fault: waf_block, count: 1 }] } }", "node.verdicts.rules[0].count", "node.verdicts.rules[0].count: expected a whole number from 2 to 16, found `1`", ""),
    ("+node: { verdicts: { rules: [{ fault: waf_block }] } }", "node.verdicts.rules[0].name", "node.verdicts.rules[0]: `name` is missing", "add `name:` with a name"),
    ("+node: { verdicts: { rules: [{ name: a, fault: waf_block }, { name: a, fault: bad_request }] } }", "node.verdicts.rules[1].name", "node.verdicts.rules[1].name `a` is also node.verdicts.rules[0].name", "give one of them another name"),
    ("+node: { verdicts: { rules: [{ name: a, fault: waf_block, ban: 2d }] } }", "node.verdicts.rules[0].ban", "node.verdicts.rules[0].ban 2d is longer than `ban_max`, 1d", "make it shorter, or `ban_max` longer"),
    ("+node: { verdicts: { rules: [{ name: a, fault: waf_block, node: { sites: 1 } }] } }", "node.verdicts.rules[0].node.sites", "node.verdicts.rules[0].node.sites: expected a whole number from 2 to 8, found `1`", ""),
    ("+node: { admin: { tokens: [{ name: ops, secret: hunter2, roles: [ban] }] } }", "node.admin.tokens[0].secret", "node.admin.tokens[0].secret: expected `file:PATH` or `env:NAME`, found something else", "for a file write `file:PATH`"),
    ("+node: { admin: { tokens: [{ name: ops, secret: env:AEGIS_TEST_NOT_SET, roles: [ban] }] } }", "node.admin.tokens[0].secret", "node.admin.tokens[0].secret: the environment variable AEGIS_TEST_NOT_SET is not set", "set it where aegis is started"),
    ("+node: { admin: { tokens: [{ name: ops, secret: env:PATH, roles: [] }] } }", "node.admin.tokens[0].roles", "node.admin.tokens[0].roles: expected at least 1, found 0", ""),
    ("+node: { admin: { tokens: [{ name: ops, secret: env:PATH, roles: [write] }] } }", "node.admin.tokens[0].roles[0]", "node.admin.tokens[0].roles[0]: expected `read` or `ban`, found `write`", ""),
    ("+node: { log: { mask: [\"a b\"] } }", "node.log.mask[0]", "node.log.mask[0]: expected the name of a parameter, found the text `a b`", ""),
    // certificates
    ("+certificates: [{ cert: a.pem, key: \"-----BEGIN PRIVATE KEY-----\" }]", "certificates[0].key", "certificates[0].key: expected `file:PATH` or `env:NAME`, found a key itself", "put it in a file only Aegis can read"),
    ("+certificates: [{ cert: a.pem, key: hunter2 }]", "certificates[0].key", "certificates[0].key: expected `file:PATH` or `env:NAME`, found something else", "for a file write `file:PATH`"),
    ("+certificates: [{ cert: a.pem, key: \"env:no good\" }]", "certificates[0].key", "certificates[0].key: expected `file:PATH` or `env:NAME`, found `env:` without a good name", "a name has letters"),
    ("+certificates: [{ cert: a.pem, key: env:AEGIS_TEST_NOT_SET }]", "certificates[0].key", "certificates[0].key: the environment variable AEGIS_TEST_NOT_SET is not set", "set it where aegis is started"),
    ("+certificates: [{ cert: tls/a.pem, key: file:a.key }]", "certificates[0].cert", "certificates[0].cert: /nowhere/tls/a.pem does not exist", "there is no folder /nowhere/tls"),
    ("+certificates: [{ key: file:a.key }]", "certificates[0].cert", "certificates[0]: `cert` is missing", "add `cert:` with a path"),
    // pools and plugins
    ("+pools: { a: {} }", "pools.a.servers", "pools.a: `servers` is missing", "add `servers:` with a list, 1 to 256: a server `host:port`"),
    ("+pools: { a: { servers: [] } }", "pools.a.servers", "pools.a.servers: expected at least 1, found 0", ""),
    ("+pools: { a: { servers: [app] } }", "pools.a.servers[0]", "pools.a.servers[0]: expected a server `host:port`, found `app`", "add a port, such as app:80"),
    ("+pools: { a: { servers: [\"https://app/\"] } }", "pools.a.servers[0]", "pools.a.servers[0]: expected a server `host:port`, found the text `https://app/`", "write app:443, and `tls: {}` at the pool"),
    ("+pools: { a: { servers: [\"10.0.0.300:80\"] } }", "pools.a.servers[0]", "pools.a.servers[0]: expected a server `host:port`, found the text `10.0.0.300:80`", "such as 10.0.0.5:8080"),
    ("+pools: { \"a.b\": { servers: [\"a:1\"] } }", "pools.a.b", "pools.a.b: is not a name: use letters, digits, `-` and `_`, at most 64, not `off`", ""),
    ("+pools: { a: { servers: [\"a:1\"], health: { interval: 1s } } }", "pools.a.health.timeout", "pools.a.health.timeout: 2s is longer than `interval`, 1s", "one probe ends before the next one starts"),
    ("+plugins: { p: { module: p.wasm, http_call: [x] } }", "plugins.p.http_call[0]", "plugins.p.http_call[0]: pool `x` does not exist", "there are no pools here"),
    ("+plugins: { p: { module: p.wasm, instances: fresh } }", "plugins.p.instances", "plugins.p.instances: expected `shared`, `per_request` or `per_filter`, found `fresh`", ""),
    ("+node: { plugins: { requests_per_instance: 0 } }", "node.plugins.requests_per_instance", "node.plugins.requests_per_instance: expected a whole number from 1 to 100000, found `0`", ""),
    // sites: these stand at the end of the first site
    ("    waf: strict", "sites[0].waf", "sites[0].waf: profile `strict` does not exist", "there are no profiles here"),
    ("    waf: detect", "sites[0].waf", "sites[0].waf: profile `detect` does not exist", "for the mode write `waf: { mode: detect }`"),
    ("    waf: [a]", "sites[0].waf", "sites[0].waf: expected the name of a profile, `off`, or keys in place, found a list", ""),
    ("    waf: { mode: }", "sites[0].waf.mode", "sites[0].waf.mode: expected `block`, `detect` or `off`, found nothing", "give it a value, or remove the key"),
    ("    waf: { profile: x }", "sites[0].waf.profile", "sites[0].waf.profile: profile `x` does not exist", "there are no profiles here"),
    ("    waf: { text_max: 32MiB }", "sites[0].waf.text_max", "sites[0].waf.text_max 32MiB is more than held_max 16MiB", "waf.text_max comes from: sites[0].waf (aegis.yaml:7)\nwaf.held_max comes from: default"),
    ("    waf: { held_max: 1GiB }", "sites[0].waf.held_max", "sites[0].waf.held_max 1GiB is more than node.bodies_held_max 256MiB, which all share", "waf.held_max comes from: sites[0].waf (aegis.yaml:7)"),
    ("    waf: { body_mode: keep }", "sites[0].waf.body_mode", "sites[0].waf.body_mode: expected `hold` or `spool`, found `keep`", ""),
    ("    waf: { body_mode: spool, over_limit: stream }", "sites[0].waf.body_mode", "sites[0].waf.body_mode: `spool` shows the origin nothing of a blocked request, over_limit `stream` the head of a long one: set over_limit to reject, or body_mode to hold", "waf.body_mode comes from: sites[0].waf (aegis.yaml:7)\nwaf.over_limit comes from: sites[0].waf (aegis.yaml:7)"),
    ("    waf: { exclude_targets: [942100] }", "sites[0].waf.exclude_targets[0]", "sites[0].waf.exclude_targets[0]: expected a rule and a variable, such as 942100:ARGS:comment, found `942100`", "to switch the whole rule off, name it in `exclude_rules`"),
    ("    waf: { exclude_targets: [\"942100:args:q\"] }", "sites[0].waf.exclude_targets[0]", "sites[0].waf.exclude_targets[0]: expected a rule and a variable, such as 942100:ARGS:comment, found the text `942100:args:q`", "a variable is in capitals"),
    ("    cache: { enabled: on }", "sites[0].cache.enabled", "sites[0].cache.enabled: expected true or false, found `on`", "write true"),
    ("    limits: fair", "sites[0].limits", "sites[0].limits: profile `fair` does not exist", "there are no profiles here"),
    ("    limits: [a]", "sites[0].limits", "sites[0].limits: expected the name of a profile, `off`, or keys in place, found a list", ""),
    ("    limits: { policies: [a] }", "sites[0].limits.policies", "sites[0].limits.policies: expected names with keys below, at most 8, found a list", ""),
    ("    limits: { policies: { p: on } }", "sites[0].limits.policies.p", "sites[0].limits.policies.p: expected keys such as `of:`, found `on`", ""),
    ("    limits: { policies: { p: off } }", "sites[0].limits.policies.p", "sites[0].limits.policies.p: no limit of this name is inherited", "no limit is inherited here; remove it"),
    ("+profiles: { limits: { f: { policies: { p: off } } } }", "profiles.limits.f.policies.p", "profiles.limits.f.policies.p: no limit of this name is inherited", "no limit is inherited here; remove it"),
    ("    limits: { policies: { p: { window: 1s } } }", "sites[0].limits.policies.p.limit", "sites[0].limits.policies.p: `limit` is missing", "add `limit:` with a number from 1 to 281474976710656, or bytes such as 10MiB"),
    ("    limits: { policies: { p: { limit: 1 } } }", "sites[0].limits.policies.p", "sites[0].limits.policies.p: `window` is missing", "add the time it is counted over, such as `window: 10s`"),
    ("    limits: { policies: { p: { limit: 0, window: 1s } } }", "sites[0].limits.policies.p.limit", "sites[0].limits.policies.p.limit: expected a number from 1 to 281474976710656, or bytes such as 10MiB, found `0`", ""),
    ("    limits: { policies: { p: { limit: 5MB, window: 1s } } }", "sites[0].limits.policies.p.limit", "sites[0].limits.policies.p.limit: expected a number from 1 to 281474976710656, or bytes such as 10MiB, found `5MB`", "`MB` is not a unit here"),
    ("    limits: { policies: { p: { limit: 1, window: 99ms } } }", "sites[0].limits.policies.p.window", "sites[0].limits.policies.p.window: expected a time from 100ms to 1d, found `99ms`", ""),
    ("    limits: { policies: { p: { limit: 1, window: 25h } } }", "sites[0].limits.policies.p.window", "sites[0].limits.policies.p.window: expected a time from 100ms to 1d, found `25h`", ""),
    ("    limits: { policies: { p: { of: request, limit: 1, window: 1s } } }", "sites[0].limits.policies.p.of", "sites[0].limits.policies.p.of: expected `requests`, `bytes`, `errors`, `waf_ms` or `in_flight`, found `request`", "did you mean `requests`?"),
    ("    limits: { policies: { p: { of: in_flight, limit: 1, window: 1s } } }", "sites[0].limits.policies.p.window", "sites[0].limits.policies.p.window: what is in flight has no window", "remove it; for requests in a time write `of: requests`"),
    ("    limits: { policies: { p: { of: in_flight, limit: 1, burst: 1 } } }", "sites[0].limits.policies.p.burst", "sites[0].limits.policies.p.burst: what is in flight has no burst", "remove it, or raise `limit`"),
    ("    limits: { policies: { p: { limit: 1, window: 1s, burst: 101 } } }", "sites[0].limits.policies.p.burst", "sites[0].limits.policies.p.burst: 101 is more than 100 windows' worth", "at most 100; or make `window` longer"),
    ("    limits: { policies: { p: { of: waf_ms, limit: 1024001, window: 1s } } }", "sites[0].limits.policies.p.limit", "sites[0].limits.policies.p.limit: 1024001 ms is more than 1024 cores compute in the window", "at most 1024000"),
    ("    limits: { policies: { p: { limit: 1, window: 1s, statuses: [404] } } }", "sites[0].limits.policies.p.statuses", "sites[0].limits.policies.p.statuses: `of: requests` does not look at statuses", "remove it, or write `of: errors`"),
    ("    limits: { policies: { p: { of: errors, limit: 1, window: 1s, statuses: [nope] } } }", "sites[0].limits.policies.p.statuses[0]", "sites[0].limits.policies.p.statuses[0]: expected a status such as 404, 4xx or 500-599, found `nope`", ""),
    ("    limits: { policies: { p: { of: errors, limit: 1, window: 1s, statuses: [499-400] } } }", "sites[0].limits.policies.p.statuses[0]", "sites[0].limits.policies.p.statuses[0]: expected a status such as 404, 4xx or 500-599, found `499-400`", "write 400-499"),
    ("    limits: { policies: { p: { of: bytes, limit: 1MiB, window: 1s, count_refused: true } } }", "sites[0].limits.policies.p.count_refused", "sites[0].limits.policies.p.count_refused: `of: bytes` never counts what is refused", "remove it, or write `of: requests`"),
    ("    limits: { policies: { p: { limit: 1, window: 1s, key: [address, site, address] } } }", "sites[0].limits.policies.p.key[2]", "sites[0].limits.policies.p.key[2]: `address` stands here twice", "remove one"),
    ("    limits: { policies: { p: { limit: 1, window: 1s, key: [ip] } } }", "sites[0].limits.policies.p.key[0]", "sites[0].limits.policies.p.key[0]: expected `address`, `path`, `site`, `ja4`, `header:NAME` or `cookie:NAME`, found `ip`", "did you mean `address`?"),
    ("    limits: { policies: { p: { limit: 1, window: 1s, key: [\"header:\"] } } }", "sites[0].limits.policies.p.key[0]", "sites[0].limits.policies.p.key[0]: expected `address`, `path`, `site`, `ja4`, `header:NAME` or `cookie:NAME`, found the text `header:`", "a name has 1 to 64 letters"),
    ("    limits: { policies: { p: { limit: 1, window: 1s, v6_prefix: 129 } } }", "sites[0].limits.policies.p.v6_prefix", "sites[0].limits.policies.p.v6_prefix: expected a whole number from 32 to 128, found `129`", ""),
    ("    plugins: [bots]", "sites[0].plugins[0]", "sites[0].plugins[0]: plugin `bots` does not exist", "there are no plugins here"),
    ("    routes: [{ match: { path: api }, respond: {} }]", "sites[0].routes[0].match.path", "sites[0].routes[0].match.path: expected a path `/exact` or `/prefix/*`, found `api`", "a path starts with `/`"),
    ("    routes: [{ match: { path: /a* }, respond: {} }]", "sites[0].routes[0].match.path", "sites[0].routes[0].match.path: expected a path `/exact` or `/prefix/*`, found `/a*`", "`*` stands only at the end, after `/`"),
    ("    routes: [{ match: { path: /a, methods: [Post] }, respond: {} }]", "sites[0].routes[0].match.methods[0]", "sites[0].routes[0].match.methods[0]: expected a method, found `Post`", "write POST"),
    ("    methods: [GET, TRACE]", "sites[0].methods[1]", "sites[0].methods[1]: expected a method, but not CONNECT or TRACE, found `TRACE`", "remove it: tunnels are not made here"),
    ("    methods: []", "sites[0].methods", "sites[0].methods: expected at least 1, found 0", ""),
    ("    methods: [GET, \"P ST\"]", "sites[0].methods[1]", "sites[0].methods[1]: expected a method, but not CONNECT or TRACE, found the text `P ST`", ""),
    ("    methods: [get]", "sites[0].methods[0]", "sites[0].methods[0]: expected a method, but not CONNECT or TRACE, found `get`", "write GET"),
    ("    methods: [GET]\n    routes: [{ match: { path: /a, methods: [PUT] } }]", "sites[0].routes[0].match.methods", "sites[0].routes[0].match.methods matches only PUT, which `methods` does not take: every request would get 405", "add them to `methods` of the route or its site"),
    ("    routes: [{ match: { path: /a }, respond: {}, redirect: { to: /b } }]", "sites[0].routes[0].respond", "sites[0].routes[0].respond cannot stand beside `redirect`", "a route asks an origin, or redirects, or responds: keep one"),
    ("    routes: [{ match: { path: /a }, redirect: { to: /b, status: 300 } }]", "sites[0].routes[0].redirect.status", "sites[0].routes[0].redirect.status: expected 301, 302, 303, 307 or 308, found `300`", ""),
    ("    routes: [{ match: { path: /a }, redirect: { to: \"https://{hst}/\" } }]", "sites[0].routes[0].redirect.to", "sites[0].routes[0].redirect.to: expected a URL or a path to redirect to, found the text `https://{hst}/`", "there are `{host}` and `{path}`; did you mean `{host}`?"),
    ("    routes: [{ match: { path: /a }, redirect: { to: /b }, waf: off }]", "sites[0].routes[0].waf", "sites[0].routes[0].waf has no effect: this route asks no origin", "remove it"),
    ("    routes: [{ match: { path: /a }, respond: { status: 204, body: x } }]", "sites[0].routes[0].respond.body", "sites[0].routes[0].respond.body: an answer with status 204 has no body", "remove it, or choose another status"),
    ("    routes: [{ match: { path: /a }, respond: { content_type: \"text/html\\r\\nX: y\" } }]", "sites[0].routes[0].respond.content_type", "sites[0].routes[0].respond.content_type: expected a media type such as text/html, found the text `text/html\\r\\nX: y`", ""),
    // tracing
    ("node: { tracing: { otlp: \"https://a:4318\" } }", "node.tracing.otlp", "node.tracing.otlp: expected a collector `http://host:port`, found the text `https://a:4318`", "spans go without TLS; let a collector on this machine pass them on"),
    ("node: { tracing: { otlp: \"http://a:4318/v1/traces\" } }", "node.tracing.otlp", "node.tracing.otlp: expected a collector `http://host:port`, found the text `http://a:4318/v1/traces`", "leave /v1/traces out; it is added"),
    ("node: { tracing: { otlp: \"http://a:4318\", sample: 1% } }", "node.tracing.sample", "node.tracing.sample: expected a number from 0 to 1, such as 0.01, found `1%`", "write it as a number, such as 0.01 for one in a hundred"),
    ("node: { tracing: {} }", "node.tracing.otlp", "node.tracing: `otlp` is missing", "add `otlp:` with a collector `http://host:port`"),
    ("node: { log: { events_kept: 4KiB } }", "node.log.events_kept", "node.log.events_kept: 4KiB is less than 1MiB", "make it larger, or 0 to keep none on disk"),
    // the parts of a handshake
    ("node: { client: { hello_timeout: 20s } }", "node.client.hello_timeout", "node.client.hello_timeout: 20s is longer than `handshake_timeout`, 10s", "a ClientHello is the first part of its handshake: make it shorter, or `handshake_timeout` longer"),
    ("node: { client: { handshake_timeout: 3s } }", "node.client.hello_timeout", "node.client.hello_timeout: 5s is longer than `handshake_timeout`, 3s", "a ClientHello is the first part of its handshake"),
    // whom to trust
    ("node: { client: { trusted_proxies: [10.0.0.300] } }", "node.client.trusted_proxies[0]", "node.client.trusted_proxies[0]: expected an address or a network such as 10.0.0.0/8, found `10.0.0.300`", ""),
    ("node: { client: { trusted_proxies: [10.1.0.0/8] } }", "node.client.trusted_proxies[0]", "node.client.trusted_proxies[0]: expected an address or a network such as 10.0.0.0/8, found `10.1.0.0/8`", "10.1.0.0/8 has bits behind its length; write 10.0.0.0/8, or the address alone"),
    ("node: { client: { trusted_proxies: [0.0.0.0/0] } }", "node.client.trusted_proxies", "node.client.trusted_proxies trusts half of all IPv4 addresses or more: anybody there could say who he is", "name the addresses of your proxies; if nobody else can reach this node, also set `node.client.trust_everyone: true`"),
    ("node: { client: { trusted_proxies: [\"::/1\", \"8000::/1\"] } }", "node.client.trusted_proxies", "node.client.trusted_proxies trusts half of all IPv6 addresses or more: anybody there could say who he is", "name the addresses of your proxies"),
    ("node: { client: { trusted_proxies: [0.0.0.0/2, 128.0.0.0/2] } }", "node.client.trusted_proxies", "node.client.trusted_proxies trusts half of all IPv4 addresses or more: anybody there could say who he is", "name the addresses of your proxies"),
    ("node: { client: { trusted_proxies: [10.0.0.0/8], trust_everyone: true } }", "node.client.trust_everyone", "node.client.trust_everyone has no effect: `node.client.trusted_proxies` does not trust everyone", "remove it"),
    ("node: { client: { forwarded_field: x-real-ip } }", "node.client.forwarded_field", "node.client.forwarded_field: expected `any`, `x-forwarded-for` or `forwarded`, found `x-real-ip`", ""),
    ("version: 1\nlisteners: [{ address: \"[::]:80\", proxy_protocol: required }]\nsites: [{ hosts: [a], origin: http://a }]", "listeners[0].proxy_protocol", "listeners[0].proxy_protocol: nobody is trusted to send the header, so nobody could connect", "name your load balancers in `node.client.trusted_proxies`"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\", proxy_protocol: optional }]\nsites: [{ hosts: [a], origin: http://a }]", "listeners[0].proxy_protocol", "listeners[0].proxy_protocol: expected `off` or `required`, found `optional`", ""),
    // TLS of sites
    ("    https: on", "sites[0].https", "sites[0].https: expected `optional` or `redirect`, found `on`", ""),
    ("    https: redirect", "sites[0].https", "sites[0].https: no listener speaks TLS to redirect to", "give a listener `tls: {}`"),
    ("    hsts: {}", "sites[0].hsts", "sites[0].hsts has no effect: no listener speaks TLS", "give a listener `tls: {}`"),
    ("version: 1\nlisteners: [{ address: \"[::]:443\", tls: {} }]\nsites: [{ hosts: [a], origin: http://a, hsts: { preload: true } }]", "sites[0].hsts.preload", "sites[0].hsts.preload: browsers take nobody in without `include_subdomains: true` and a `max_age` of at least 365d", "set both"),
    ("    client_auth: { mode: optional }", "sites[0].client_auth.ca", "sites[0].client_auth: `ca` is missing", "add `ca:` with a path"),
    ("    client_auth: { ca: gone.pem }", "sites[0].client_auth", "sites[0].client_auth: no listener speaks TLS, over which clients show their certificates", "give a listener `tls: {}`"),
    ("version: 1\nlisteners: [{ address: \"[::]:443\", tls: {} }]\nsites: [{ hosts: [a], origin: http://a, client_auth: { ca: gone.pem, forward: [subject, subject] } }]", "sites[0].client_auth.forward[1]", "sites[0].client_auth.forward[1] `subject` stands here twice", "remove one"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }, { address: \"[::]:0\", tls: {} }]\nsites: [{ hosts: [a], origin: http://a, https: redirect }]", "sites[0].https", "sites[0].https: the system chooses the port of TLS, so there is none to redirect to", "give the listener with `tls:` a port"),
    ("version: 1\nlisteners: [{ address: \"[::]:443\", tls: { preset: old } }]\nsites: [{ hosts: [a], origin: http://a }]", "listeners[0].tls.preset", "listeners[0].tls.preset: expected `intermediate` or `modern`, found `old`", ""),
    ("version: 1\nlisteners: [{ address: \"[::]:443\", tls: {} }]\nsites: [{ hosts: [192.0.2.1], origin: http://a, client_auth: { ca: gone.pem } }]", "sites[0].hosts[0]", "sites[0].hosts[0] 192.0.2.1: clients name no address in TLS, so nobody is asked for the certificate that `client_auth` wants", "give the site a name"),
    // whole settings
    ("version: 1\nnode: { bodies_spooled_max: 8MiB }\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [a], origin: http://a, waf: { body_mode: spool } }]", "sites[0].waf.held_max", "sites[0].waf.held_max 16MiB is more than node.bodies_spooled_max 8MiB, which all share", "waf.held_max comes from: default\nwaf.body_mode comes from: sites[0].waf (aegis.yaml:4)"),
    ("version: 2\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [a], origin: http://a }]", "version", "version: expected 1, found `2`", ""),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }]\nsites: []", "sites", "sites: expected at least 1, found 0", ""),
    ("version: 1\nlisteners: [{ address: \":80\" }]\nsites: [{ hosts: [a], origin: http://a }]", "listeners[0].address", "listeners[0].address: expected an address `ip:port`, found the text `:80`", "for every address write \"[::]:80\""),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }, { address: \"0.0.0.0:80\" }]\nsites: [{ hosts: [a], origin: http://a }]", "listeners[1].address", "listeners[1].address 0.0.0.0:80 overlaps listeners[0].address [::]:80", "remove one, or give one of them another port"),
    ("version: 1\nlisteners: [{ address: \"[::]:9901\" }]\nsites: [{ hosts: [a], origin: http://a }]", "node.admin.metrics", "node.admin.metrics 127.0.0.1:9901 overlaps listeners[0].address [::]:9901", "give one of them another port"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [a] }]", "sites[0]", "sites[0] has no origin", "add `origin:`"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [a], routes: [{ match: { path: /x }, respond: {} }] }]", "sites[0]", "sites[0] has no origin for requests that no route takes", "add `origin:`"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [a], origin: \"127.0.0.1:3000\" }]", "sites[0].origin", "sites[0].origin: expected `http://host:port`, `https://host` or the name of a pool, found the text `127.0.0.1:3000`", "for a server write http://127.0.0.1:3000"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [a], origin: \"http://me:secret@b\" }]", "sites[0].origin", "sites[0].origin: expected `http://host:port`, `https://host` or the name of a pool, found a URL with a user", "leave the user out"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [a], origin: http://b/c }]", "sites[0].origin", "sites[0].origin: expected `http://host:port`, `https://host` or the name of a pool, found `http://b/c`", "an origin has no path; requests keep theirs"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [\"a:80\"], origin: http://b }]", "sites[0].hosts[0]", "sites[0].hosts[0]: expected a host name, `*.name` or `*`, found the text `a:80`", "write the name without its port"),
    ("version: 1\nlisteners: [{ address: \"[::]:80\" }]\nsites: [{ hosts: [A.example, a.EXAMPLE], origin: http://b }]", "sites[0].hosts[1]", "sites[0].hosts[1] `a.example` is also sites[0].hosts[0]", "a host belongs to one site"),
];

#[test]
fn each_wrong_thing_names_its_key_and_its_remedy() {
    for (text, key, message, help) in CASES {
        let whole = match text.strip_prefix('+') {
            Some(top) => minimal(top),
            None if text.starts_with("    ") => minimal(text),
            None => (*text).to_owned(),
        };
        let loaded = parse(&whole);
        let said = messages(&loaded.problems);
        let found = loaded
            .problems
            .iter()
            .find(|problem| problem.message == *message);
        let found = found.unwrap_or_else(|| panic!("{text}\nexpected: {message}\nsaid: {said:#?}"));
        assert_eq!(found.severity, Severity::Error, "{text}");
        assert!(loaded.result.is_err(), "{text}");
        if !message.starts_with("this is not YAML")
            && !message.starts_with("an anchor")
            && !message.starts_with("a tag")
        {
            assert_eq!(found.key, *key, "{text}");
        }
        match &found.help {
            Some(given) => assert!(
                !help.is_empty() && given.starts_with(help),
                "{text}\n{given}"
            ),
            None => assert_eq!(*help, "", "{text}"),
        }
        assert!(found.at.is_some(), "{text}");
    }
}

#[test]
fn a_secret_is_never_repeated() {
    for key in [
        "hunter2",
        "-----BEGIN hunter2",
        "env:hunter2 hunter2",
        "file:",
    ] {
        let text = minimal(&format!(
            "certificates: [{{ cert: a.pem, key: \"{key}\" }}]"
        ));
        let said = render(&parse(&text).problems, false);
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = render(
        &parse(&minimal("").replace("http://", "http://me:hunter2@")).problems,
        false,
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn what_a_file_holds_cannot_write_on_the_terminal() {
    let said = render(
        &parse(&minimal(
            "\"no\\u001b[31mde\": 1\nnode: { workers: \"\\u001b[2J\" }",
        ))
        .problems,
        false,
    );
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn colour_is_only_there_when_asked_for() {
    let problems = parse("version: 2").problems;
    assert!(!render(&problems, false).contains('\u{1b}'));
    assert!(render(&problems, true).contains("\u{1b}[1;31merror\u{1b}[0m"));
    assert_eq!(render(&[], true), "");
}

#[test]
fn problems_can_be_read_by_a_program() {
    let problems = parse(&minimal("nodes: {}")).problems;
    let json = serde_json::to_value(&problems).expect("JSON");
    let expected = serde_json::json!([{
        "severity": "error",
        "key": "nodes",
        "message": "nodes is not a key",
        "help": "did you mean `node`?",
        "at": { "file": "aegis.yaml", "line": 7, "column": 1 },
    }]);
    assert_eq!(json, expected);
}
