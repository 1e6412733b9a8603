//! `sites:` as written; what counts for a request is in [`crate::resolved`].

use super::{CacheLayer, ClientAuth, Hsts, Https, LimitsLayer, WafLayer};
use crate::define::{default, optional, required, settings};
use crate::kind::http::{
    content_type, location, method, redirect_status, route_path, served_method,
};
use crate::kind::net::{host, origin};
use crate::kind::scalar::{choice, name, text, whole};
use crate::kind::{list, maybe, section};
use crate::limits::{HOSTS_MAX, METHODS_MAX, PLUGINS_MAX, ROUTES_MAX};
use crate::overlay::laid;

pub use crate::kind::net::Origin;

settings! {
    /// A site: its hosts, and what happens to their requests.
    pub struct Site {
        /// Host names; `*.example.com` covers one label, `*` every host that no other site has.
        hosts: Vec<String> = list(host(), 1, HOSTS_MAX) => required(&["[shop.example.com, \"*.shop.example.com\"]"]);
        /// `http://host:port`, `https://host`, or the name of a pool; not needed if every request has a route.
        origin: Option<Origin> = maybe(origin()) => optional(&["app"]);
        /// What a request over plain HTTP gets.
        https: Https = choice() => default("optional");
        /// Tell browsers to come over TLS only (RFC 6797); `{}` for the defaults below.
        hsts: Option<Hsts> = maybe(section()) => optional(&[]);
        /// Ask clients for certificates; without it nobody is asked.
        client_auth: Option<ClientAuth> = maybe(section()) => optional(&[]);
        /// The WAF: the name of a profile, `off`, or keys of `profiles.waf.*` in place, with `profile: NAME` under them.
        waf: Option<WafLayer> = maybe(laid()) => optional(&["strict"]);
        /// The cache: the name of a profile, `off`, or keys of `profiles.cache.*` in place.
        cache: Option<CacheLayer> = maybe(laid()) => optional(&["{ profile: pages, ttl_default: 30s }"]);
        /// Methods the site takes; others get 405 with `Allow`. Without the key: all of IANA's registry but CONNECT and
        /// TRACE, which are never served. GET does not stand for HEAD: name both.
        methods: Option<Vec<String>> = maybe(list(served_method(), 1, METHODS_MAX))
            => optional(&["[GET, HEAD, POST]"]);
        /// Limits: the name of a profile, `off`, or keys of `profiles.limits.*` in place, with `profile: NAME` under them.
        limits: Option<LimitsLayer> = maybe(laid()) => optional(&["fair"]);
        /// Plugins in order.
        plugins: Option<Vec<String>> = maybe(list(name("the name of a plugin"), 0, PLUGINS_MAX))
            => optional(&["[bots]"]);
        /// Open connections of clients of this site, told by the server name of the handshake, else by the first request;
        /// one more is closed, or gets 503 if it is told by its request.
        connections_max: Option<usize> = maybe(whole(1, 10_000_000)) => optional(&["5000"]);
        /// Paths that differ; the first that matches counts, then the site itself.
        routes: Vec<SiteRoute> = list(section(), 0, ROUTES_MAX).shown(&[
            &["match", "origin", "waf", "cache", "limits", "methods", "plugins"],
            &["match", "redirect"],
            &["match", "respond"],
        ]) => default("[]");
    }
}

settings! {
    /// Paths of a site that differ.
    pub struct SiteRoute {
        /// Which requests.
        matches as "match": Match = section() => required(&[]);
        /// As the site's; this or `redirect` or `respond`, else the site's counts.
        origin: Option<Origin> = maybe(origin()) => optional(&["http://10.0.0.7:8080"]);
        /// Answer with a redirect.
        redirect: Option<Redirect> = maybe(section()) => optional(&[]);
        /// Answer as written here.
        respond: Option<Respond> = maybe(section()) => optional(&[]);
        /// Laid over the site's.
        waf: Option<WafLayer> = maybe(laid()) => optional(&["{ paranoia: 2 }"]);
        /// Laid over the site's.
        cache: Option<CacheLayer> = maybe(laid()) => optional(&["off"]);
        /// Methods the route takes, in place of the site's. `match.methods` says which requests come to this route at all,
        /// and leaves the others to the routes behind it; this says which of them get 405.
        methods: Option<Vec<String>> = maybe(list(served_method(), 1, METHODS_MAX)) => optional(&["[GET, HEAD]"]);
        /// Laid over the site's, limit by limit.
        limits: Option<LimitsLayer> = maybe(laid())
            => optional(&["{ policies: { login: { of: errors, limit: 10, window: 1m, penalty: 10m } } }"]);
        /// In place of the site's.
        plugins: Option<Vec<String>> = maybe(list(name("the name of a plugin"), 0, PLUGINS_MAX)) => optional(&["[]"]);
    }
}

settings! {
    /// Which requests a route is for.
    pub struct Match {
        /// `/exact`, or `/prefix/*`.
        path: String = route_path() => required(&["/api/*", "/old/*", "/robots.txt"]);
        /// Methods by which the route is chosen; none = any. What a route takes is another key: `methods` beside `match`.
        methods: Vec<String> = list(method(), 0, METHODS_MAX) => default("[]");
    }
}

settings! {
    /// A redirect.
    pub struct Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16 = redirect_status() => default("302");
        /// Where to; `{host}` and `{path}` (with the query) stand for those of the request.
        to: String = location() => required(&["https://{host}/new/"]);
    }
}

settings! {
    /// An answer.
    pub struct Respond {
        /// Its status.
        status: u16 = whole(200, 599) => default("200");
        /// Its `Content-Type`.
        content_type: String = content_type() => default("text/plain; charset=utf-8");
        /// Its body.
        body: String = text("text", 64 << 10) => default("\"\"");
    }
}
