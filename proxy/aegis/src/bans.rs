//! The node's bans and allows: made at the start from what is on disk, kept there while it runs, fed by the settings.

mod keeper;
mod orders;
mod protected;

pub(crate) use orders::Clerk;

use aegis_pipeline::Snapshot;
use aegis_settings::model::{self, VerdictFault, VerdictRule};
use aegis_settings::resolved::Validated;
use aegis_telemetry::metrics;
use aegis_verdicts::{Clock, Desk, FaultKind, Millis, RuleSpec, Store};
use keeper::Keeper;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The settings in force, for what has to be looked up again now and then.
type Current = Option<(Arc<Validated>, Option<Arc<Snapshot>>)>;

/// The desk and the settings it works by.
pub(crate) struct Bans {
    pub(crate) desk: Arc<Desk>,
    current: Mutex<Current>,
    dir: PathBuf,
    keeper: Mutex<Option<Keeper>>,
}

impl Bans {
    /// Reads what is kept in the state directory.
    pub(crate) fn open(settings: &model::Node) -> anyhow::Result<Arc<Self>> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)
            .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
        let clock = Clock::new(Instant::now(), wall());
        let desk = Desk::new(settings.verdicts.entries_max, secret, clock)?;
        let dir = settings.state_dir.join("verdicts");
        restore(&desk, &dir);
        Ok(Arc::new(Self {
            desk: Arc::new(desk),
            current: Mutex::default(),
            dir,
            keeper: Mutex::default(),
        }))
    }

    /// Begins to keep changes on disk. Not before there is anybody to serve: a process that fails to start must not take
    /// the files from one that runs.
    pub(crate) fn keep(self: &Arc<Self>) -> anyhow::Result<()> {
        let keeper = Keeper::start(Arc::clone(self))?;
        *self.keeper.lock() = Some(keeper);
        Ok(())
    }

    /// Works by these settings from now on.
    pub(crate) fn apply(&self, validated: &Arc<Validated>, snapshot: Option<&Arc<Snapshot>>) {
        *self.current.lock() = Some((Arc::clone(validated), snapshot.cloned()));
        let rules = &validated.settings.node.verdicts.rules;
        if let Err(error) = self.desk.set_rules(rules.iter().map(spec).collect()) {
            // The settings allow nothing that the room does not.
            tracing::error!(%error, "the former rules of bans stay in force; please report it");
        }
        self.protect();
    }

    /// Looks up anew who may not be banned: addresses of this machine and of origins change.
    fn protect(&self) {
        let Some((validated, snapshot)) = self.current.lock().clone() else {
            return;
        };
        let never_ban = protected::find(&validated.settings, snapshot.as_deref());
        let lifted = self.desk.protect(&never_ban);
        if let Some(first) = lifted.first() {
            tracing::warn!(
                lifted = lifted.len(),
                first = %first.prefix,
                "bans of what may not be banned are lifted"
            );
        }
    }

    /// Waits until a change is on disk; whether it is.
    fn is_kept(&self, number: u64) -> bool {
        const WAIT: Duration = Duration::from_secs(2);
        let keeper = self.keeper.lock().as_ref().map(Keeper::waiter);
        keeper.is_some_and(|waiter| waiter.wait(number, WAIT))
    }

    /// Writes down what there is, for the end of the process.
    pub(crate) fn close(&self) {
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.stop();
        }
    }
}

fn restore(desk: &Desk, dir: &Path) {
    let found = Store::read(dir);
    for problem in &found.problems {
        metrics::VERDICTS_STORE_ERRORS.inc();
        tracing::warn!("bans and allows: {problem}");
    }
    if found.verdicts.is_empty() {
        return;
    }
    let restored = desk
        .table()
        .restore(found.verdicts, desk.clock().at(Instant::now()));
    metrics::VERDICTS.set(i64::try_from(restored.kept).unwrap_or(i64::MAX));
    tracing::info!(
        kept = restored.kept,
        ended = restored.ended,
        refused = restored.refused,
        "bans and allows of before"
    );
}

/// The wall clock.
fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, millis)
}

fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}

fn spec(rule: &VerdictRule) -> RuleSpec {
    RuleSpec {
        name: rule.name.clone(),
        fault: match rule.fault {
            VerdictFault::WafBlock => FaultKind::WafBlock,
            VerdictFault::BadRequest => FaultKind::BadRequest,
            VerdictFault::LimitExceeded => FaultKind::LimitExceeded,
            VerdictFault::ModuleRefusal => FaultKind::ModuleRefusal,
        },
        count: rule.count,
        window: millis(rule.window),
        ban: millis(rule.ban),
        ban_max: millis(rule.ban_max),
        v6_prefix: rule.v6_prefix,
        node: rule
            .node
            .as_ref()
            .map(|node| (node.sites, millis(node.within))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_settings::parse;
    use aegis_verdicts::Rule;

    /// Whatever the settings allow the room takes.
    #[test]
    fn rules_at_the_bounds_of_the_settings_are_rules() {
        for (count, window, ban, ban_max, v6, sites, within) in [
            ("2", "1s", "1s", "1s", "32", "2", "1m"),
            ("16", "1d", "30d", "30d", "128", "8", "1d"),
        ] {
            let text = format!(
                "version: 1\nlisteners: [{{ address: \"[::]:80\" }}]\nsites: [{{ hosts: [a], origin: http://a }}]\n\
                 node: {{ verdicts: {{ rules: [{{ name: {}, fault: waf_block, count: {count}, window: {window}, ban: {ban}, \
                 ban_max: {ban_max}, v6_prefix: {v6}, node: {{ sites: {sites}, within: {within} }} }}] }} }}",
                "n".repeat(64)
            );
            let loaded = parse(&text, "aegis.yaml", Path::new("/nowhere"));
            let validated = loaded.result.expect("good settings");
            let rules = &validated.settings.node.verdicts.rules;
            assert!(Rule::new(spec(&rules[0])).is_ok(), "{text}");
        }
    }
}
