use super::*;
use crate::boot::boot;
use crate::reload::Controller;
use crate::state::Phase;
use aegis_settings::Problem;
use parking_lot::{Condvar, Mutex};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A data plane that remembers what happened. A site's host says what becomes of it.
#[derive(Default)]
struct Plane {
    /// A file it needs though the settings do not name it; `bad` in it is refused.
    module: Mutex<Option<PathBuf>>,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default, Debug)]
struct Seen {
    begun: Vec<String>,
    /// What was in the module at each preparation.
    modules: Vec<String>,
    swapped: Vec<String>,
    /// Hosts whose preparation may end.
    released: Vec<String>,
}

fn host(validated: &Validated) -> String {
    validated.sites[0].name.clone()
}

impl Plane {
    fn wait_until(&self, what: &str, is: impl Fn(&Seen) -> bool) {
        let until = Instant::now() + LONG;
        let mut seen = self.seen.lock();
        while !is(&seen) {
            let timed_out = self.changed.wait_until(&mut seen, until).timed_out();
            assert!(!timed_out, "never {what}: {seen:?}");
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock());
        self.changed.notify_all();
    }

    fn release(&self, host: &str) {
        self.tell(|seen| seen.released.push(host.to_owned()));
    }

    fn swapped(&self) -> Vec<String> {
        self.seen.lock().swapped.clone()
    }
}

impl DataPlane for Plane {
    type Prepared = String;

    fn needs_background(&self, validated: &Validated) -> bool {
        host(validated).starts_with("slow")
    }

    fn extra_files(&self, _validated: &Validated) -> Vec<PathBuf> {
        self.module.lock().iter().cloned().collect()
    }

    fn prepare(
        &self,
        validated: &Arc<Validated>,
        copies: &Copies,
        progress: &Progress,
    ) -> Result<String, Rejection> {
        let host = host(validated);
        if let Some(module) = &*self.module.lock() {
            let text = fs::read_to_string(copies.get(module).unwrap_or(module))
                .map_err(|error| Rejection::new(format!("the module: {error}")))?;
            if text == "bad" {
                return Err(Rejection::new("the module is no module"));
            }
            self.tell(|seen| seen.modules.push(text));
        }
        self.tell(|seen| seen.begun.push(host.clone()));
        progress.say(format!("compiling {host}"));
        if host.starts_with("slow") {
            self.wait_until("released", |seen| seen.released.contains(&host));
        }
        assert!(!host.starts_with("panic"), "as asked");
        if host.starts_with("broken") {
            Err(Rejection::new("rules.conf:3: no such rule"))
        } else {
            Ok(host)
        }
    }

    fn probe(&self, prepared: &mut String) -> Result<(), Rejection> {
        if prepared.starts_with("unfit") {
            Err(Rejection::new("the port is taken"))
        } else {
            Ok(())
        }
    }

    fn swap(&self, prepared: String) {
        self.tell(|seen| seen.swapped.push(prepared));
    }
}

struct Node {
    dir: tempfile::TempDir,
    plane: Arc<Plane>,
    state: Arc<State>,
}

fn text(host: &str, more: &str) -> String {
    format!(
        "version: 1\nnode: {{ state_dir: state{more} }}\nlisteners: [{{ address: \"127.0.0.1:8080\" }}]\n\
         sites: [{{ hosts: [{host}], origin: \"http://127.0.0.1:1\", waf: {{ mode: block, seclang: [own.conf] }} }}]\n"
    )
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("own.conf"), "# 1").expect("writes");
        let state = Arc::new(State::new("0", None));
        let it = Self {
            dir,
            plane: Arc::default(),
            state,
        };
        it.put(&text("a.example.com", ""));
        it
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("aegis.yaml")
    }

    fn put(&self, text: &str) {
        let aside = self.dir.path().join("aside");
        fs::write(&aside, text).expect("writes");
        fs::rename(aside, self.path()).expect("renames");
    }

    fn try_start(&self) -> (Controller<Plane>, Result<From, Vec<String>>) {
        self.try_start_checked(&|_, _| Vec::new())
    }

    fn try_start_checked(
        &self,
        check: &dyn Fn(&Validated, &Copies) -> Vec<Problem>,
    ) -> (Controller<Plane>, Result<From, Vec<String>>) {
        let boot =
            boot(&self.path(), &self.default_state_dir(), check).expect("something to start with");
        let (tx, first) = std::sync::mpsc::channel();
        let plan = Plan {
            default_state_dir: self.default_state_dir(),
            poll: Some(Duration::from_millis(50)),
        };
        let controller = Controller::start(
            self.plane.clone(),
            self.state.clone(),
            boot,
            plan,
            move |outcome| {
                tx.send(outcome).expect("the test waits");
            },
        );
        (
            controller.expect("starts"),
            first.recv_timeout(LONG).expect("an outcome"),
        )
    }

    fn start(&self) -> Controller<Plane> {
        let (controller, outcome) = self.try_start();
        assert_eq!(outcome, Ok(From::File));
        controller
    }

    fn default_state_dir(&self) -> PathBuf {
        self.dir.path().join("default")
    }

    fn live(&self, host: &str) {
        self.plane.wait_until(&format!("live: {host}"), |seen| {
            seen.swapped.last().is_some_and(|last| last == host)
        });
    }

    fn config(&self) -> Value {
        self.state.to_json()["config"].clone()
    }

    /// Waits until the state is as wanted.
    fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + LONG;
        loop {
            let config = self.config();
            if is(&config) {
                return config;
            }
            assert!(Instant::now() < until, "never {what}: {config:#}");
            std::thread::yield_now();
        }
    }

    fn refused(&self, problem: &str) {
        self.until(&format!("refused because of {problem}"), |config| {
            config["last_try"]["problems"].to_string().contains(problem)
        });
    }
}

#[test]
fn an_edit_goes_live() {
    let node = Node::new();
    let _controller = node.start();
    assert_eq!(node.state.phase(), Phase::Ready);
    node.live("a.example.com");
    node.put(&text("b.example.com", ""));
    node.live("b.example.com");
    node.until("ok", |config| config["last_try"]["result"] == "ok");
}

#[test]
fn a_changed_file_that_is_referred_to_goes_live() {
    let node = Node::new();
    let _controller = node.start();
    let before = node.config()["live"]["id"].clone();
    fs::write(node.dir.path().join("own.conf"), "# 2").expect("writes");
    node.until("another id", |config| config["live"]["id"] != before);
}

#[test]
fn bad_files_are_refused_and_the_next_good_one_goes_live() {
    let node = Node::new();
    let _controller = node.start();
    let good = text("b.example.com", "");
    let half = &good[..good.len() / 2];
    let huge = format!("{good}#{}", "x".repeat(2 << 20));
    for (bad, problem) in [
        (half, "aegis.yaml:"),
        ("", "empty"),
        (huge.as_str(), "1MiB"),
        ("sites: {", "aegis.yaml:"),
    ] {
        node.put(bad);
        node.refused(problem);
        assert_eq!(node.plane.swapped().len(), 1);
        node.put(&text("a.example.com", ""));
        node.until("ok again", |config| config["last_try"]["result"] == "ok");
    }
    node.put(&good);
    node.live("b.example.com");
}

#[test]
fn a_file_that_goes_away_changes_nothing() {
    let node = Node::new();
    let _controller = node.start();
    fs::remove_file(node.path()).expect("removes");
    node.refused("does not exist");
    node.put(&text("b.example.com", ""));
    node.live("b.example.com");
}

#[test]
fn what_only_compiling_or_the_probe_can_tell_is_refused_too() {
    let node = Node::new();
    let _controller = node.start();
    node.put(&text("broken.example.com", ""));
    node.refused("no such rule");
    node.put(&text("unfit.example.com", ""));
    node.refused("the port is taken");
    assert_eq!(node.plane.swapped(), ["a.example.com"]);
    node.put(&text("b.example.com", ""));
    node.live("b.example.com");
}

#[test]
fn a_panic_while_preparing_is_a_refusal_like_any_other() {
    let node = Node::new();
    let _controller = node.start();
    node.put(&text("panic.example.com", ""));
    node.refused("please report it");
    node.put(&text("b.example.com", ""));
    node.live("b.example.com");
}

#[test]
fn a_key_that_needs_a_restart_refuses_the_whole_change_by_name() {
    let node = Node::new();
    let _controller = node.start();
    node.put(&text("b.example.com", ", workers: 7"));
    node.refused("node.workers needs a restart");
    assert_eq!(node.plane.swapped(), ["a.example.com"]);
}

#[test]
fn a_slow_change_is_prepared_aside_and_a_newer_one_supersedes_it() {
    let node = Node::new();
    let _controller = node.start();
    node.put(&text("slow1.example.com", ""));
    node.until("preparing", |config| {
        config["preparing"]["progress"] == "compiling slow1.example.com"
    });
    assert_eq!(node.plane.swapped(), ["a.example.com"]);
    // A change that needs no preparation does not wait for it.
    node.put(&text("b.example.com", ""));
    node.live("b.example.com");
    node.until("not preparing", |config| config["preparing"].is_null());
    // One that does, waits for its thread; what was prepared before is thrown away.
    node.put(&text("slow2.example.com", ""));
    node.plane.release("slow1.example.com");
    node.plane.wait_until("begun", |seen| {
        seen.begun.contains(&"slow2.example.com".to_owned())
    });
    node.plane.release("slow2.example.com");
    node.live("slow2.example.com");
    assert_eq!(
        node.plane.swapped(),
        ["a.example.com", "b.example.com", "slow2.example.com"]
    );
}

#[test]
fn taking_a_slow_change_back_ends_it() {
    let node = Node::new();
    let _controller = node.start();
    node.put(&text("slow.example.com", ""));
    node.until("preparing", |config| config["preparing"].is_object());
    node.put(&text("a.example.com", ""));
    node.until("not preparing", |config| config["preparing"].is_null());
    node.plane.release("slow.example.com");
    node.put(&text("b.example.com", ""));
    node.live("b.example.com");
    assert_eq!(node.plane.swapped(), ["a.example.com", "b.example.com"]);
}

#[test]
fn a_node_starts_from_last_known_good_with_all_originals_gone() {
    let node = Node::new();
    drop(node.start());
    for name in ["aegis.yaml", "own.conf"] {
        fs::remove_file(node.dir.path().join(name)).expect("removes");
    }
    let (_controller, outcome) = node.try_start();
    assert_eq!(outcome, Ok(From::LastGood));
    let config = node.config();
    assert_eq!(config["live"]["from"], "last-known-good");
    assert!(
        config["last_try"]["problems"]
            .to_string()
            .contains("does not exist")
    );
    // As soon as the file is good it goes live.
    fs::write(node.dir.path().join("own.conf"), "# 1").expect("writes");
    node.put(&text("b.example.com", ""));
    node.live("b.example.com");
}

#[test]
fn rules_that_no_longer_compile_at_a_start_are_passed_over_for_last_known_good() {
    let node = Node::new();
    drop(node.start());
    node.put(&text("broken.example.com", ""));
    let (_controller, outcome) = node.try_start();
    assert_eq!(outcome, Ok(From::LastGood));
    node.live("a.example.com");
    assert!(
        node.config()["last_try"]["problems"]
            .to_string()
            .contains("no such rule")
    );
}

#[test]
fn a_first_start_with_rules_that_do_not_compile_fails_with_the_problems() {
    let node = Node::new();
    node.put(&text("broken.example.com", ""));
    let (_controller, outcome) = node.try_start();
    assert_eq!(outcome, Err(vec!["rules.conf:3: no such rule".to_owned()]));
}

#[test]
fn a_first_start_without_good_settings_lists_every_problem() {
    let node = Node::new();
    node.put("version: 1\nlisteners: []\nsitess: []\n");
    let problems = boot(&node.path(), &node.default_state_dir(), &|_, _| Vec::new())
        .expect_err("nothing to start with");
    assert!(problems.len() > 1, "{problems:?}");
    let missing = boot(
        Path::new("/nowhere/aegis.yaml"),
        &node.default_state_dir(),
        &|_, _| Vec::new(),
    )
    .expect_err("missing");
    assert!(missing[0].message.contains("does not exist"));
}

#[test]
fn asking_reads_the_file_even_if_nothing_changed() {
    let node = Node::new();
    let controller = node.start();
    node.put(&text("broken.example.com", ""));
    node.refused("no such rule");
    let begun = node.plane.seen.lock().begun.len();
    controller.reload();
    node.plane
        .wait_until("read again", |seen| seen.begun.len() > begun);
}

#[test]
fn what_the_organs_find_wrong_at_a_start_is_passed_over_for_last_known_good() {
    let node = Node::new();
    drop(node.start());
    node.put(&text("expired.example.com", ""));
    let problem = Problem {
        severity: aegis_settings::Severity::Error,
        key: "certificates[0].cert".into(),
        message: "it has expired".into(),
        help: None,
        at: None,
    };
    let check = |validated: &Validated, _: &Copies| {
        if host(validated).starts_with("expired") {
            vec![problem.clone()]
        } else {
            vec![]
        }
    };
    let boot = boot(&node.path(), &node.default_state_dir(), &check).expect("last known good");
    assert_eq!(
        (boot.from, host(boot.validated()).as_str()),
        (From::LastGood, "a.example.com")
    );
    assert_eq!(boot.problems, [problem]);
}

#[path = "module_tests.rs"]
mod module;
