//! Servers that fail their checks are left out until they pass them.

use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::json;

fn named(name: &'static str) -> Origin {
    Origin::start(move |_| Reply::text(name))
}

#[test]
fn a_server_that_is_gone_is_left_out_and_comes_back() {
    let (stays, goes) = (named("stays"), named("goes"));
    let address = goes.address();
    let aegis = Aegis::before(&stays)
        .set("pools.both", json!({
            "servers": [stays.address().to_string(), address.to_string()],
            "health": { "path": "/health", "interval": "50ms", "timeout": "50ms", "unhealthy": 2, "healthy": 2 },
        }))
        .set("sites[0].origin", "both")
        .set("sites[0].cache.enabled", false)
        .start();
    let server = format!("server=\"{address}\"");
    let healthy = |value: f64| {
        eventually(
            format!("aegis_origin_healthy of {address} is {value}"),
            || {
                let now = aegis.metrics().sum("aegis_origin_healthy", &[&server]);
                ((now - value).abs() < f64::EPSILON).then_some(())
            },
        );
    };
    healthy(1.0);
    drop(goes);
    healthy(0.0);
    assert!((0..10).all(|_| aegis.get("/").text() == "stays"));
    let back = Origin::start_at(address, |_| Reply::text("back"));
    healthy(1.0);
    eventually("it takes part again", || {
        (aegis.get("/").text() == "back").then_some(())
    });
    assert!(back.hits("/health") >= 2);
}

#[test]
fn a_server_that_answers_500_to_the_check_is_left_out() {
    let sick = Origin::start(|request| {
        if request.path() == "/health" {
            Reply::status(500)
        } else {
            Reply::text("sick")
        }
    });
    let well = named("well");
    let aegis = Aegis::before(&well)
        .set(
            "pools.both",
            json!({
                "servers": [sick.address().to_string(), well.address().to_string()],
                "health": { "path": "/health", "interval": "50ms", "timeout": "50ms", "unhealthy": 1 },
            }),
        )
        .set("sites[0].origin", "both")
        .set("sites[0].cache.enabled", false)
        .start();
    eventually("the sick one is left out", || {
        (0..4)
            .all(|_| aegis.get("/").text() == "well")
            .then_some(())
    });
}

#[test]
fn with_every_server_down_each_is_still_tried() {
    let origin = Origin::start(|request| {
        if request.path() == "/health" {
            Reply::status(500)
        } else {
            Reply::text("here")
        }
    });
    let aegis = Aegis::before(&origin)
        .set(
            "pools.one",
            json!({
                "servers": [origin.address().to_string()],
                "health": { "path": "/health", "interval": "50ms", "timeout": "50ms", "unhealthy": 1 },
            }),
        )
        .set("sites[0].origin", "one")
        .start();
    eventually("it counts as down", || {
        (aegis
            .metrics()
            .sum("aegis_origin_healthy", &["pool=\"one\""])
            < 0.5)
            .then_some(())
    });
    assert_eq!(aegis.get("/").text(), "here");
}
