//! What clients see of TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod support;

use aegis_settings::model::TlsPreset::{Intermediate, Modern};
use boring::ssl::SslVersion;
use std::process::Command;
use support::{
    client, config, ec_key, get, plain, refused, rsa_key, shake, shown, start, store, tls, until,
};

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn openssl_is_shown_the_certificate_of_the_name_it_asks_for() {
    let door = start(
        config(),
        &[tls(Intermediate, true)],
        store(&[
            ("first.example", ec_key()),
            ("*.shop.example", ec_key()),
            ("www.shop.example", ec_key()),
        ]),
    );
    let subject = |name: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &door.address().to_string()]);
        if name.is_empty() {
            openssl.arg("-noservername");
        } else {
            openssl.args(["-servername", name]);
        }
        let text = run(&mut openssl);
        let line = text.lines().find(|line| line.starts_with("subject="));
        line.unwrap_or_else(|| panic!("{text}")).replace(' ', "")
    };
    assert_eq!(subject("www.shop.example"), "subject=CN=www.shop.example");
    assert_eq!(subject("API.shop.example"), "subject=CN=*.shop.example");
    assert_eq!(subject("a.b.shop.example"), "subject=CN=first.example");
    assert_eq!(subject("elsewhere.example"), "subject=CN=first.example");
    assert_eq!(subject(""), "subject=CN=first.example");
}

#[test]
fn new_certificates_count_from_the_next_handshake_on() {
    let door = start(
        config(),
        &[tls(Intermediate, false)],
        store(&[("former.example", ec_key())]),
    );
    let mut open = shake(client(), "any.example", door.address()).unwrap();
    assert_eq!(shown(&open), "former.example");
    door.certificates
        .swap(store(&[("present.example", ec_key())]));
    let next = shake(client(), "any.example", door.address()).unwrap();
    assert_eq!(shown(&next), "present.example");
    assert!(get(&mut open, "/").contains("sni=any.example"));
}

#[test]
fn the_post_quantum_group_is_agreed_on_and_told() {
    let door = start(
        config(),
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let facts = |groups: &str| {
        let mut client = client();
        client.set_curves_list(groups).unwrap();
        get(&mut shake(client, "a", door.address()).unwrap(), "/")
    };
    let text = facts("X25519MLKEM768:X25519");
    assert!(text.contains("group=X25519MLKEM768"), "{text}");
    assert!(text.starts_with("TLSv1.3 "), "{text}");
    assert!(facts("P-384").contains("group=P-384"));
}

#[test]
fn a_version_below_the_oldest_allowed_is_refused_and_counted() {
    let door = start(
        config(),
        &[tls(Modern, true), tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let before = refused("tls_version");
    let connect = |index: usize, version: &str| {
        run(Command::new("openssl").args([
            "s_client",
            "-connect",
            &door.addresses[index].to_string(),
            version,
        ]))
    };
    let refusal = connect(0, "-tls1_2");
    assert!(refusal.contains("protocol version"), "{refusal}");
    until("the refusal is counted", || refused("tls_version") > before);
    assert!(connect(0, "-tls1_3").contains("TLSv1.3"));
    assert!(connect(1, "-tls1_2").contains("TLSv1.2"));
    let mut old = client();
    old.set_min_proto_version(None).unwrap();
    old.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
    assert!(shake(old, "a", door.addresses[1]).is_none());
}

#[test]
fn curl_speaks_the_protocol_that_the_listener_offers() {
    let door = start(
        config(),
        &[tls(Intermediate, true), tls(Intermediate, false), plain()],
        store(&[("a", ec_key())]),
    );
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--max-time", "30", "-w", "%{http_version}"]);
        run(curl.args(arguments))
    };
    let [h2, h1, clear] = [0, 1, 2].map(|index| door.addresses[index].to_string());
    let answer = curl(&["--http2", &format!("https://{h2}/")]);
    assert!(
        answer.contains("alpn=h2 ") && answer.ends_with("\n2"),
        "{answer}"
    );
    let answer = curl(&["--http1.1", &format!("https://{h2}/")]);
    assert!(
        answer.contains("alpn=http/1.1 ") && answer.ends_with("\n1.1"),
        "{answer}"
    );
    let answer = curl(&["--http2", &format!("https://{h1}/")]);
    assert!(
        answer.contains("alpn=http/1.1 ") && answer.ends_with("\n1.1"),
        "{answer}"
    );
    let answer = curl(&[&format!("http://{clear}/")]);
    assert!(answer.starts_with("plain peer=127.0.0.1:"), "{answer}");
}

#[test]
fn a_client_without_a_protocol_in_common_is_refused() {
    let door = start(
        config(),
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let before = refused("tls_alpn");
    let mut other = client();
    other.set_alpn_protos(b"\x03ftp").unwrap();
    assert!(shake(other, "a", door.address()).is_none());
    until("the refusal is counted", || refused("tls_alpn") > before);
    let mut none = shake(client(), "a", door.address()).unwrap();
    assert!(get(&mut none, "/").contains("alpn=- "));
}

#[test]
fn a_client_that_cannot_check_ecdsa_is_shown_rsa() {
    let door = start(
        config(),
        &[tls(Intermediate, true)],
        store(&[("a.example", ec_key()), ("a.example", rsa_key())]),
    );
    let kind = |algorithms: &str| {
        let mut client = client();
        client.set_sigalgs_list(algorithms).unwrap();
        let stream = shake(client, "a.example", door.address()).unwrap();
        let certificate = stream.ssl().peer_certificate().unwrap();
        certificate.public_key().unwrap().id()
    };
    assert_eq!(
        kind("rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"),
        boring::pkey::Id::EC
    );
    assert_eq!(kind("rsa_pss_rsae_sha256"), boring::pkey::Id::RSA);
}

#[test]
fn a_resumed_session_has_its_facts_too() {
    let door = start(
        config(),
        &[tls(Intermediate, false)],
        store(&[("a.example", ec_key())]),
    );
    let session = std::sync::Arc::new(std::sync::Mutex::new(None));
    let connect = |resume: Option<boring::ssl::SslSession>| {
        let mut builder = client();
        builder.set_session_cache_mode(boring::ssl::SslSessionCacheMode::CLIENT);
        let kept = std::sync::Arc::clone(&session);
        builder.set_new_session_callback(move |_, new| *kept.lock().unwrap() = Some(new));
        let mut configured = builder.build().configure().unwrap();
        configured.set_verify_hostname(false);
        if let Some(resume) = resume {
            #[expect(unsafe_code, reason = "boring has no safe way to resume a session")]
            // SAFETY: the session is of a context made the same way.
            unsafe {
                configured.set_session(&resume).unwrap();
            }
        }
        let mut stream = configured
            .connect("a.example", support::connect(door.address()))
            .unwrap();
        let text = get(&mut stream, "/");
        (stream.ssl().session_reused(), text)
    };
    let (reused, _) = connect(None);
    assert!(!reused);
    let ticket = session.lock().unwrap().take();
    let (reused, text) = connect(ticket);
    assert!(reused);
    assert!(
        text.contains("sni=a.example") && text.contains("group=X25519"),
        "{text}"
    );
}

#[test]
fn plain_http_on_a_tls_port_is_counted_as_such() {
    let door = start(
        config(),
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let before = refused("not_tls");
    let mut tcp = door.connect();
    support::send(&mut tcp, "/");
    until("it is counted", || refused("not_tls") > before);
}

#[test]
fn without_a_certificate_a_handshake_fails_and_plain_listeners_serve() {
    let door = start(
        config(),
        &[tls(Intermediate, true), plain()],
        aegis_certs::CertStore::default(),
    );
    let before = refused("no_certificate");
    assert!(shake(client(), "a", door.address()).is_none());
    until("it is counted", || refused("no_certificate") > before);
    assert!(get(&mut support::connect(door.addresses[1]), "/").starts_with("plain"));
}
