//! A file of the data plane that the settings do not name: the WAF's module.

use super::*;

fn module(node: &Node) -> PathBuf {
    node.dir.path().join("waf.wasm")
}

fn put_module(node: &Node, text: &str) {
    let aside = node.dir.path().join("aside.wasm");
    fs::write(&aside, text).expect("writes");
    fs::rename(aside, module(node)).expect("renames");
}

fn with_module() -> Node {
    let node = Node::new();
    put_module(&node, "first");
    *node.plane.module.lock() = Some(module(&node));
    node
}

fn prepared(node: &Node, modules: &[&str]) {
    node.plane
        .wait_until("prepared", |seen| seen.modules == modules);
}

/// As the program does: without the module and without a copy of it there is no start.
fn check(node: &Node) -> impl Fn(&Validated, &Copies) -> Vec<Problem> {
    let module = module(node);
    move |_, copies| {
        if module.is_file() || copies.contains_key(&module) {
            return Vec::new();
        }
        vec![Problem {
            severity: aegis_settings::Severity::Error,
            key: "waf".into(),
            message: "the module is missing".into(),
            help: None,
            at: None,
        }]
    }
}

#[test]
fn a_new_module_goes_live_without_a_change_of_the_settings() {
    let node = with_module();
    let _controller = node.start();
    let before = node.config()["live"]["id"].clone();
    put_module(&node, "second");
    prepared(&node, &["first", "second"]);
    node.plane
        .wait_until("swapped", |seen| seen.swapped.len() == 2);
    assert_eq!(node.config()["live"]["id"], before);
}

#[test]
fn a_module_that_is_bad_or_gone_is_refused_and_the_old_one_stays() {
    let node = with_module();
    let _controller = node.start();
    put_module(&node, "bad");
    node.refused("no module");
    fs::remove_file(module(&node)).expect("removes");
    node.refused("the module:");
    assert_eq!(node.plane.swapped().len(), 1);
    put_module(&node, "first");
    node.until("ok again", |config| config["last_try"]["result"] == "ok");
    assert_eq!(node.plane.swapped().len(), 1, "it is the one in force");
}

#[test]
fn a_node_starts_from_the_copy_of_a_module_that_is_gone() {
    let node = with_module();
    drop(node.start());
    fs::remove_file(module(&node)).expect("removes");
    let (_controller, outcome) = node.try_start_checked(&check(&node));
    assert_eq!(outcome, Ok(From::LastGood));
    prepared(&node, &["first", "first"]);
    node.refused("the module");
    put_module(&node, "second");
    prepared(&node, &["first", "first", "second"]);
    node.until("from the file again", |config| {
        config["live"]["from"] == "file"
    });
}

#[test]
fn a_module_that_became_bad_before_a_start_is_passed_over_for_its_copy() {
    let node = with_module();
    drop(node.start());
    put_module(&node, "bad");
    let (_controller, outcome) = node.try_start();
    assert_eq!(outcome, Ok(From::LastGood));
    prepared(&node, &["first", "first"]);
}

#[test]
fn without_the_module_and_without_a_copy_there_is_no_start() {
    let node = with_module();
    fs::remove_file(module(&node)).expect("removes");
    let problems = boot(&node.path(), &node.default_state_dir(), &check(&node));
    assert_eq!(
        problems.expect_err("nothing")[0].message,
        "the module is missing"
    );
}
