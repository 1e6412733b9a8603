//! A process that may open no more files. Alone in its process, for the limit counts for all of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod support;

use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::File;
use support::{config, get, plain, refused, start, until};

#[test]
fn a_door_without_files_waits_instead_of_spinning_and_serves_when_there_are_some() {
    let door = start(config(), &[plain()], aegis_certs::CertStore::default());
    // The client's own socket has to be there before.
    get(&mut door.connect(), "/");
    let client = std::net::TcpStream::connect(door.address());
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(256);
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut waiting = client.unwrap();
    get(&mut waiting, "/");

    let spare = File::open("/dev/null").unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // Room for the client's end alone.
    drop(spare);
    let mut late = door.connect();
    until("the refusal is counted", || refused("accept") >= 2);
    drop(files);
    get(&mut late, "/");
    get(&mut waiting, "/");
    assert!(refused("accept") < 100, "{}", refused("accept"));
}
