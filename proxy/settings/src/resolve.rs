//! From what is written to what counts for a request: profile, then site, then route, nearer wins key by key.
//!
//! For one route the layers are, each laid over the ones before it: the defaults, the profile the site names, the
//! site's own values, the profile the route names, the route's own values. What refers to nothing (an unknown profile)
//! is left out here and refused by [`crate::checks`].

use crate::context::Context;
use crate::kind::Section;
use crate::model::{
    Cache, CacheLayer, Https, Limits, LimitsLayer, Origin, OriginTls, Pool, Settings, SiteRoute,
    Waf, WafLayer,
};
use crate::overlay::{Layer, Sources};
use crate::resolved::{Action, Route, Site, SiteTls};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The values in force so far, and where they came from.
#[derive(Clone)]
struct Base {
    waf: Waf,
    cache: Cache,
    allowed: Vec<String>,
    limits: Limits,
    plugins: Vec<String>,
    sources: Sources,
}

/// What a site or a route sets.
struct Written<'a> {
    waf: Option<&'a WafLayer>,
    cache: Option<&'a CacheLayer>,
    limits: Option<&'a LimitsLayer>,
    methods: Option<&'a Vec<String>>,
    plugins: Option<&'a Vec<String>>,
}

/// Resolves every site.
pub(crate) fn sites(
    settings: &Settings,
    context: &Context<'_>,
    line_of: &dyn Fn(&str) -> u32,
) -> Vec<Arc<Site>> {
    let mut sources = Sources::new();
    let waf = WafLayer::defaults(&mut sources);
    let cache = CacheLayer::defaults(&mut sources);
    sources.insert("methods".to_owned(), "default".to_owned());
    let limits = LimitsLayer::defaults(&mut sources);
    sources.insert("plugins".to_owned(), "default".to_owned());
    let defaults = Base {
        waf,
        cache,
        allowed: Vec::new(),
        limits,
        plugins: Vec::new(),
        sources,
    };
    let resolver = Resolver {
        settings,
        context,
        line_of,
    };
    settings
        .sites
        .iter()
        .enumerate()
        .map(|(index, site)| Arc::new(resolver.site(index, site, &defaults)))
        .collect()
}

struct Resolver<'a, 'c> {
    settings: &'a Settings,
    context: &'a Context<'c>,
    line_of: &'a dyn Fn(&str) -> u32,
}

impl Resolver<'_, '_> {
    fn site(&self, index: usize, site: &crate::model::Site, defaults: &Base) -> Site {
        let key = format!("sites[{index}]");
        let mut base = defaults.clone();
        let own = Written {
            waf: site.waf.as_ref(),
            cache: site.cache.as_ref(),
            limits: site.limits.as_ref(),
            methods: site.methods.as_ref(),
            plugins: site.plugins.as_ref(),
        };
        self.lay(&mut base, &key, &own);
        let inherited = site
            .origin
            .as_ref()
            .map(|origin| (proxy(origin), self.source(&format!("{key}.origin"))));
        let mut routes = Vec::with_capacity(site.routes.len() + 1);
        for (at, written) in site.routes.iter().enumerate() {
            let key = format!("{key}.routes[{at}]");
            let Some((action, source)) = self.action(written, &key).or_else(|| inherited.clone())
            else {
                continue;
            };
            let mut base = base.clone();
            let own = Written {
                waf: written.waf.as_ref(),
                cache: written.cache.as_ref(),
                limits: written.limits.as_ref(),
                methods: written.methods.as_ref(),
                plugins: written.plugins.as_ref(),
            };
            self.lay(&mut base, &key, &own);
            base.sources.insert("action".to_owned(), source);
            let catches_all = written.matches.path == "/*" && written.matches.methods.is_empty();
            routes.push(Arc::new(base.route(
                key,
                written.matches.path.clone(),
                written.matches.methods.clone(),
                action,
            )));
            if catches_all && inherited.is_none() {
                break;
            }
        }
        if let Some((action, source)) = inherited {
            base.sources.insert("action".to_owned(), source);
            routes.push(Arc::new(base.route(
                key,
                "/*".to_owned(),
                Vec::new(),
                action,
            )));
        }
        Site {
            index,
            name: site.hosts.first().cloned().unwrap_or_default(),
            hosts: site.hosts.clone(),
            connections_max: site.connections_max,
            tls: SiteTls {
                redirect: https_port(self.settings).filter(|_| site.https == Https::Redirect),
                hsts: site.hsts.clone(),
                client_auth: site.client_auth.clone(),
            },
            routes,
        }
    }

    /// What a route itself says it does.
    fn action(&self, route: &SiteRoute, key: &str) -> Option<(Action, String)> {
        let (action, name) = if let Some(redirect) = &route.redirect {
            (
                Action::Redirect {
                    status: redirect.status,
                    to: redirect.to.clone(),
                },
                "redirect",
            )
        } else if let Some(respond) = &route.respond {
            let (status, content_type, body) = (
                respond.status,
                respond.content_type.clone(),
                respond.body.clone(),
            );
            (
                Action::Respond {
                    status,
                    content_type,
                    body,
                },
                "respond",
            )
        } else {
            (proxy(route.origin.as_ref()?), "origin")
        };
        Some((action, self.source(&format!("{key}.{name}"))))
    }

    fn source(&self, key: &str) -> String {
        format!("{key} ({})", self.context.source((self.line_of)(key)))
    }

    fn lay(&self, base: &mut Base, key: &str, written: &Written<'_>) {
        let profiles = &self.settings.profiles;
        let sources = &mut base.sources;
        self.layer(written.waf, &profiles.waf, key, &mut base.waf, sources);
        self.layer(
            written.cache,
            &profiles.cache,
            key,
            &mut base.cache,
            sources,
        );
        self.layer(
            written.limits,
            &profiles.limits,
            key,
            &mut base.limits,
            sources,
        );
        for (name, written, over) in [
            ("methods", written.methods, &mut base.allowed),
            ("plugins", written.plugins, &mut base.plugins),
        ] {
            if let Some(written) = written {
                over.clone_from(written);
                let source = self.source(&format!("{key}.{name}"));
                sources.insert(name.to_owned(), source);
            }
        }
    }

    /// Lays the profile that a layer names, then the layer.
    fn layer<L: Layer>(
        &self,
        layer: Option<&L>,
        profiles: &BTreeMap<String, L>,
        key: &str,
        over: &mut L::Resolved,
        sources: &mut Sources,
    ) {
        let Some(layer) = layer else { return };
        let from = |place: String| move |line| format!("{place} ({})", self.context.source(line));
        if let Some(name) = layer.profile()
            && let Some(profile) = profiles.get(&name.value)
        {
            profile.apply(
                over,
                &from(format!("profiles.{}.{}", L::NAME, name.value)),
                sources,
            );
        }
        layer.apply(over, &from(format!("{key}.{}", L::NAME)), sources);
    }
}

impl Base {
    fn route(&self, key: String, path: String, methods: Vec<String>, action: Action) -> Route {
        let Self {
            waf,
            cache,
            allowed,
            limits,
            plugins,
            sources,
        } = self.clone();
        Route {
            key,
            path,
            methods,
            allowed,
            action,
            waf,
            cache,
            limits,
            plugins,
            sources,
        }
    }
}

/// Where TLS is spoken: at its own port, else at that of the first listener which has one that is known.
pub(crate) fn https_port(settings: &Settings) -> Option<u16> {
    let tls = settings
        .listeners
        .iter()
        .filter(|listener| listener.tls.is_some());
    let mut ports = tls
        .map(|listener| listener.address.port())
        .filter(|port| *port != 0);
    let first = ports.next()?;
    Some(if ports.any(|port| port == 443) {
        443
    } else {
        first
    })
}

fn proxy(origin: &Origin) -> Action {
    let (Origin::Pool(name) | Origin::Url { url: name, .. }) = origin;
    Action::Proxy { pool: name.clone() }
}

/// Every pool: the named ones, and one for each origin that is a URL.
pub(crate) fn pools(settings: &Settings) -> BTreeMap<String, Arc<Pool>> {
    let mut pools: BTreeMap<_, _> = settings
        .pools
        .iter()
        .map(|(name, pool)| (name.clone(), Arc::new(pool.clone())))
        .collect();
    for origin in origins(settings) {
        if let Origin::Url { url, server, tls } = origin
            && !pools.contains_key(url)
        {
            let mut pool = Pool::blank(url);
            pool.servers = vec![server.clone()];
            pool.tls = tls.then(|| OriginTls::blank(""));
            pools.insert(url.clone(), Arc::new(pool));
        }
    }
    pools
}

/// Every origin of sites and routes.
fn origins(settings: &Settings) -> impl Iterator<Item = &Origin> {
    settings.sites.iter().flat_map(|site| {
        site.origin
            .iter()
            .chain(site.routes.iter().filter_map(|route| route.origin.as_ref()))
    })
}
