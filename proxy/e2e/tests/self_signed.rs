//! Without a certificate one is made, once.

use aegis_testkit::{Aegis, Origin, Reply};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_certificate_is_made_once_and_kept_across_restarts() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let mut aegis = Aegis::before(&origin).start();
    let cert = aegis.dir().join("state/self-signed/cert.pem");
    let made = fs::read(&cert).unwrap();
    aegis.restart(|_| {});
    aegis.wait_ready();
    assert_eq!(fs::read(&cert).unwrap(), made);
    let answer = aegis.curl_tls("localhost", "/").cacert(&cert).send();
    assert_eq!(answer.status, 200, "{}", answer.error);
}

#[test]
fn only_its_owner_reads_the_key() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let key = fs::metadata(aegis.dir().join("state/self-signed/key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}
