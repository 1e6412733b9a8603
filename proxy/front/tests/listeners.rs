//! The set of listeners changes while clients are served.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod support;

use aegis_certs::CertStore;
use aegis_settings::model::Listener;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{config, connect, get, is_closed, plain, receive, send, start, until};

fn at(address: SocketAddr) -> Listener {
    Listener { address, ..plain() }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn a_plan_that_is_dropped_leaves_everything_as_it_was() {
    let first = free();
    let door = start(config(), &[at(first)], CertStore::default());
    let second = free();
    let change = door.listeners.plan(&[at(second)]).unwrap();
    assert!(TcpStream::connect(second).is_ok(), "it is bound already");
    drop(change);
    assert!(TcpStream::connect(second).is_err());
    get(&mut connect(first), "/");
    assert_eq!(door.listeners.addresses(), [first]);
}

#[test]
fn of_a_plan_that_fails_nothing_is_left() {
    let first = free();
    let door = start(config(), &[at(first)], CertStore::default());
    let (second, taken) = (free(), TcpListener::bind("127.0.0.1:0").unwrap());
    let wanted = [at(first), at(second), at(taken.local_addr().unwrap())];
    let error = door.listeners.plan(&wanted).unwrap_err();
    assert!(error.to_string().contains("already in use"), "{error}");
    assert!(TcpStream::connect(second).is_err());
    get(&mut connect(first), "/");
}

#[test]
fn a_kept_listener_keeps_its_connections_and_those_of_one_that_goes_have_the_grace() {
    let (first, second, third) = (free(), free(), free());
    let door = start(config(), &[at(first), at(second)], CertStore::default());
    let (mut kept, mut idle, mut busy) = (connect(first), connect(second), connect(second));
    get(&mut kept, "/");
    get(&mut idle, "/");
    send(&mut busy, "/hold");
    until("the request is held", || {
        door.app.held.load(Ordering::SeqCst) == 1
    });
    let change = door.listeners.plan(&[at(third), at(first)]).unwrap();
    door.listeners.apply(change, Duration::from_secs(1));
    assert_eq!(door.listeners.addresses(), [third, first]);
    get(&mut connect(third), "/");
    get(&mut kept, "/");
    until("nobody new gets in", || TcpStream::connect(second).is_err());
    door.go();
    receive(&mut busy);
    assert!(is_closed(&mut idle), "the grace is over");
    get(&mut kept, "/");
    assert!(door.drained().cut >= 1);
}

#[test]
fn a_port_of_the_systems_choice_is_kept_by_a_change() {
    let door = start(config(), &[plain()], CertStore::default());
    let chosen = door.address();
    let change = door.listeners.plan(&[plain(), plain()]).unwrap();
    door.listeners.apply(change, Duration::from_secs(1));
    let addresses = door.listeners.addresses();
    assert_eq!(addresses[0], chosen);
    assert_ne!(addresses[1], chosen);
    get(&mut connect(addresses[1]), "/");
}
