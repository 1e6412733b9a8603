//! What people ask of verdicts and have changed: control's questions in the room's words.

use super::{Bans, wall};
use aegis_control::{Order, Orders, Put, Refused, Wanted};
use aegis_telemetry::metrics;
use aegis_verdicts::{Author, Kind, Millis, Prefix, Scope, Terms, Verdict, VerdictError};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Verdicts looked at for one answer.
const SCAN: usize = 100_000;
const PAGE: usize = 1_000;
/// Sites named in a refusal.
const SITES_SHOWN: usize = 10;

/// Who answers.
pub(crate) struct Clerk(pub(crate) Arc<Bans>);

/// Now, by the desk's clock, and how far ahead of it the wall clock is.
#[derive(Clone, Copy)]
struct Now {
    now: Millis,
    ahead: i64,
}

impl Clerk {
    fn now(&self) -> Now {
        let (clock, moment) = (self.0.desk.clock(), Instant::now());
        Now {
            now: clock.at(moment),
            ahead: clock.ahead(moment, wall()),
        }
    }

    fn scope(&self, site: Option<String>) -> Result<Scope, Refused> {
        let Some(site) = site else {
            return Ok(Scope::Node);
        };
        let current = self.0.current.lock();
        let sites = current
            .as_ref()
            .map_or(&[][..], |(validated, _)| &validated.sites);
        if sites.iter().any(|one| one.name == site) {
            return Ok(Scope::Site(site.into()));
        }
        let mut names: Vec<_> = sites
            .iter()
            .take(SITES_SHOWN)
            .map(|one| one.name.as_str())
            .collect();
        if sites.len() > SITES_SHOWN {
            names.push("…");
        }
        Err(Refused::Wrong(format!(
            "there is no site `{site}` here; sites are known by their first host: {}",
            names.join(", ")
        )))
    }

    fn put(&self, put: Put, author: &str) -> Result<Value, Refused> {
        let prefix = prefix(&put.prefix)?;
        let scope = self.scope(put.site)?;
        let now = self.now();
        let from = put.from.iter().copied().find(|from| prefix.contains(*from));
        if let Some(from) = from
            && put.ban
            && !put.force
        {
            metrics::VERDICTS_MADE.with(&["operator", "refused"]).inc();
            return Err(Refused::Unsafe(format!(
                "a ban of {prefix} covers {from}, where you are connected from: narrow it, or force it if you mean it"
            )));
        }
        let verdict = Verdict {
            kind: if put.ban { Kind::Ban } else { Kind::Allow },
            prefix,
            scope,
            author: Author::Operator(author.into()),
            reason: put.reason.as_str().into(),
            request: None,
            since: now.now,
            until: put
                .length
                .map(|length| now.now.saturating_add(super::millis(length))),
            l7_only: false,
            hits: 0,
        };
        let terms = Terms { force: put.force };
        let made = self.0.desk.put(&verdict, terms, now.now);
        let result = if made.is_ok() { "made" } else { "refused" };
        metrics::VERDICTS_MADE.with(&["operator", result]).inc();
        let (made, number) = made.map_err(refused)?;
        if made.evicted.is_some() {
            metrics::VERDICTS_EVICTED.inc();
        }
        Ok(json!({
            "verdict": told(&verdict, now),
            "replaced": made.replaced.map(|verdict| told(&verdict, now)),
            "kept": self.0.is_kept(number),
        }))
    }

    fn remove(&self, text: &str, site: Option<&str>) -> Result<Value, Refused> {
        let prefix = prefix(text)?;
        let (desk, now) = (&self.0.desk, self.now());
        let mut number = 0;
        let mut removed = Vec::new();
        // A site that is gone may still have bans: its name need not be known here.
        let is_meant = |scope: &Scope| match (site, scope) {
            (None, _) => true,
            (Some(site), Scope::Site(there)) => **there == *site,
            (Some(_), Scope::Node) => false,
        };
        for verdict in desk.table().on(prefix) {
            if is_meant(&verdict.scope)
                && let Some((gone, at)) = desk.remove(prefix, &verdict.scope)
            {
                number = at;
                removed.push(told(&gone, now));
            }
        }
        if removed.is_empty() {
            return Err(Refused::NotFound(self.why_not_there(prefix, site, now)));
        }
        Ok(json!({ "removed": removed, "kept": self.0.is_kept(number) }))
    }

    fn why_not_there(&self, prefix: Prefix, site: Option<&str>, now: Now) -> String {
        let place = site.map_or(String::new(), |site| format!(" on {site}"));
        let covering = self.0.desk.table().why(prefix.address(), now.now);
        let wider = covering
            .iter()
            .find(|one| one.verdict.prefix != prefix && one.verdict.prefix.covers(&prefix));
        match wider {
            Some(wider) => {
                let wider = wider.verdict.prefix;
                format!(
                    "there is no ban or allow of {prefix} itself{place}, but one of {wider}: unban that, or allow {prefix}"
                )
            }
            None => format!("there is no ban or allow of {prefix}{place}"),
        }
    }
}

impl Orders for Clerk {
    fn carry_out(&self, order: Order, author: &str) -> Result<Value, Refused> {
        match order {
            Order::Put(put) => self.put(put, author),
            Order::Remove { prefix, site } => self.remove(&prefix, site.as_deref()),
        }
    }

    fn why(&self, address: IpAddr) -> Value {
        let now = self.now();
        let table = self.0.desk.table();
        let address = address.to_canonical();
        let covering = table.why(address, now.now);
        let verdicts: Vec<_> = covering
            .iter()
            .map(|one| {
                let mut value = told(&one.verdict, now);
                value["holds"] = one.holds.into();
                value
            })
            .collect();
        let protected = table.protected(address.into());
        json!({
            "address": address.to_string(),
            "verdicts": verdicts,
            "protected": protected.map(|(prefix, what)| json!({ "prefix": prefix.to_string(), "what": what })),
        })
    }

    fn verdicts(&self, wanted: &Wanted) -> Result<Value, Refused> {
        let within = wanted.within.as_deref().map(prefix).transpose()?;
        if let Some(kind) = &wanted.kind
            && !["ban", "allow"].contains(&kind.as_str())
        {
            return Err(Refused::Wrong(format!(
                "`{kind}` is neither `ban` nor `allow`"
            )));
        }
        let is_wanted = |verdict: &Verdict| {
            within.is_none_or(|within| within.covers(&verdict.prefix))
                && wanted
                    .kind
                    .as_ref()
                    .is_none_or(|kind| *kind == kind_of(verdict))
                && wanted
                    .site
                    .as_ref()
                    .is_none_or(|site| match &verdict.scope {
                        Scope::Node => site == "node",
                        Scope::Site(there) => **there == *site.as_str(),
                    })
                && wanted.by.as_ref().is_none_or(|by| {
                    by == author_kind(&verdict.author) || by == verdict.author.name()
                })
        };
        let (table, now) = (self.0.desk.table(), self.now());
        let (mut found, mut next, mut scanned) = (Vec::new(), Some(wanted.from), 0);
        while let Some(from) = next
            && found.len() < wanted.limit
            && scanned < SCAN
        {
            // One at a time near the end, so that the next page begins right after the last one told.
            let most = PAGE.min(wanted.limit - found.len());
            let (page, after) = table.list(from, most, now.now);
            scanned += most;
            next = after;
            found.extend(
                page.iter()
                    .filter(|verdict| is_wanted(verdict))
                    .map(|verdict| told(verdict, now)),
            );
        }
        let stats = table.stats();
        Ok(
            json!({ "verdicts": found, "next": next, "entries": stats.entries, "entries_max": stats.entries_max }),
        )
    }
}

fn prefix(text: &str) -> Result<Prefix, Refused> {
    text.parse()
        .map_err(|error: VerdictError| Refused::Wrong(error.to_string()))
}

fn refused(error: VerdictError) -> Refused {
    match error {
        VerdictError::Protected { .. } => Refused::Unsafe(error.to_string()),
        error => Refused::Wrong(error.to_string()),
    }
}

fn kind_of(verdict: &Verdict) -> &'static str {
    match verdict.kind {
        Kind::Ban => "ban",
        Kind::Allow => "allow",
    }
}

fn author_kind(author: &Author) -> &'static str {
    if author.is_operator() {
        "operator"
    } else {
        "rule"
    }
}

fn told(verdict: &Verdict, now: Now) -> Value {
    let time = |millis: Millis| {
        let wall = i64::try_from(millis.saturating_add_signed(now.ahead)).ok()?;
        Some(
            Timestamp::from_millisecond(wall)
                .ok()?
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
        )
    };
    json!({
        "kind": kind_of(verdict),
        "prefix": verdict.prefix.to_string(),
        "site": match &verdict.scope {
            Scope::Node => Value::Null,
            Scope::Site(site) => Value::from(&**site),
        },
        "author": { "kind": author_kind(&verdict.author), "name": verdict.author.name() },
        "reason": &*verdict.reason,
        "request": verdict.request,
        "since": time(verdict.since),
        "until": verdict.until.and_then(time),
        "seconds_left": verdict.until.map(|until| until.saturating_sub(now.now).div_ceil(1000)),
        "http_only": !verdict.may_go_lower(),
        "hits": verdict.hits,
    })
}
