//! Keys that only a restart can change are refused by name.

use aegis_testkit::{Aegis, Origin, Reply, eventually};

#[test]
fn a_change_that_needs_a_restart_is_refused_by_the_name_of_its_keys() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let mut aegis = Aegis::before(&origin).start();
    aegis.rewrite(|c| {
        c.set("node.workers", 2).set("node.cache.memory", "32MiB");
    });
    let problems = eventually("it is refused", || {
        let problems = aegis.admin("/status")["config"]["last_try"]["problems"].to_string();
        problems.contains("restart").then_some(problems)
    });
    assert!(
        problems.contains("node.workers") && problems.contains("node.cache.memory"),
        "{problems}"
    );
    assert_eq!(aegis.get("/").text(), "hello");
}

#[test]
fn it_is_taken_at_the_restart() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let mut aegis = Aegis::before(&origin).start();
    aegis.rewrite(|c| {
        c.set("node.workers", 2);
    });
    aegis.restart(|_| {});
    aegis.wait_ready();
    assert_eq!(aegis.admin("/status")["config"]["live"]["from"], "file");
}
