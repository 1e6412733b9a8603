//! A node that has served once serves again, whatever became of its files.

use aegis_testkit::certs::{Authority, served_subject};
use aegis_testkit::{Aegis, Origin, Reply};
use serde_json::json;
use std::fs;
use std::time::Duration;

#[test]
fn a_restart_with_a_broken_file_serves_by_the_last_good_one() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let mut aegis = Aegis::before(&origin).start();
    assert_eq!(aegis.get("/").text(), "hello");
    aegis.restart(|dir| fs::write(dir.join("aegis.yaml"), "version: [").unwrap());
    aegis.wait_ready();
    assert_eq!(aegis.get("/").text(), "hello");
    let status = aegis.admin("/status");
    assert_eq!(status["config"]["live"]["from"], "last-known-good");
    assert_eq!(status["config"]["last_try"]["result"], "rejected");
    assert!(aegis.metrics().sum("aegis_config_rejected_total", &[]) >= 1.0);
}

#[test]
fn a_restart_with_every_original_gone_serves_with_the_same_certificate() {
    let (origin, authority) = (Origin::start(|_| Reply::text("hello")), Authority::new());
    let pair = authority.issue(&["kept.test"]);
    let builder = Aegis::before(&origin);
    fs::copy(&pair.cert, builder.dir().join("kept.pem")).unwrap();
    fs::copy(&pair.key, builder.dir().join("kept.key")).unwrap();
    let mut aegis = builder
        .set(
            "certificates",
            json!([{ "cert": "kept.pem", "key": "file:kept.key" }]),
        )
        .start();
    assert_eq!(served_subject(aegis.tls(), "kept.test"), "kept.test");
    aegis.restart(|dir| {
        for file in ["aegis.yaml", "kept.pem", "kept.key"] {
            fs::remove_file(dir.join(file)).unwrap();
        }
    });
    aegis.wait_ready();
    assert_eq!(served_subject(aegis.tls(), "kept.test"), "kept.test");
    assert_eq!(aegis.get("/").text(), "hello");
}

#[test]
fn a_first_start_with_wrong_settings_ends_with_78_before_a_port_is_bound() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin)
        .set("sites[0].waf.paranoia", 9)
        .spawn();
    assert_eq!(
        aegis.process().wait(Duration::from_secs(20)).code(),
        Some(78)
    );
    let said = aegis.output();
    assert!(
        said.contains("sites[0].waf.paranoia") && said.contains("aegis.yaml:"),
        "{said}"
    );
    assert!(!aegis.dir().join("admin.sock").exists());
}
