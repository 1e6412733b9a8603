use super::*;
use crate::coverage::uncovered;
use crate::testing::{certificate, ec_key, rsa_key, write};
use aegis_settings::model::Secret;
use tempfile::TempDir;

fn read(certificates: &[Certificate]) -> Result<(CertStore, Vec<CertProblem>), Vec<CertProblem>> {
    CertStore::from_certificates(certificates, SystemTime::now(), Times::Refuse)
}

fn source(store: &CertStore, name: Option<&str>) -> String {
    let path = store.choose(name).unwrap().preferred().source().to_owned();
    let file = path.rsplit('/').next().unwrap();
    file.trim_end_matches(".crt").to_owned()
}

fn the_error(certificates: &[Certificate]) -> CertProblem {
    let mut problems = read(certificates).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

fn site(index: usize, hosts: &[&str]) -> Arc<Site> {
    Arc::new(Site {
        index,
        name: hosts[0].into(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        tls: Default::default(),
        connections_max: None,
        routes: Vec::new(),
    })
}

#[test]
fn the_name_itself_goes_before_the_wildcard_and_that_before_the_first() {
    let folder = TempDir::new().unwrap();
    let make = |file, names: &[&str]| {
        let key = ec_key();
        let leaf = certificate(None, names, (-1, 90), &key);
        write(folder.path(), file, &[leaf], &key)
    };
    let (store, problems) = read(&[
        make("first", &["first.example", "192.0.2.1", "2001:db8::1"]),
        make("wild", &["*.shop.example", "shop.example"]),
        make("exact", &["www.shop.example"]),
    ])
    .unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    for (name, file) in [
        (Some("www.shop.example"), "exact"),
        (Some("WWW.Shop.example."), "exact"),
        (Some("api.shop.example"), "wild"),
        (Some("shop.example"), "wild"),
        (Some("a.b.shop.example"), "first"),
        (Some(".shop.example"), "first"),
        (Some("elsewhere.example"), "first"),
        (Some("192.0.2.1"), "first"),
        (Some(""), "first"),
        (None, "first"),
    ] {
        assert_eq!(source(&store, name), file, "{name:?}");
    }
    assert!(store.find("[2001:DB8:0::1]").is_some());
    assert!(store.find("2001:db8::2").is_none());
}

#[test]
fn of_two_certificates_for_a_name_a_client_gets_the_one_it_can_check() {
    let folder = TempDir::new().unwrap();
    let (rsa, ecdsa) = (rsa_key(2048), ec_key());
    let old = certificate(None, &["shop.example"], (-1, 90), &rsa);
    let new = certificate(None, &["shop.example"], (-1, 90), &ecdsa);
    let (store, problems) = read(&[
        write(folder.path(), "rsa", &[old], &rsa),
        write(folder.path(), "ecdsa", &[new], &ecdsa),
    ])
    .unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    for name in [Some("shop.example"), None] {
        let offer = store.choose(name).unwrap();
        assert_eq!(source(&store, name), "ecdsa");
        let rsa_only: &[u8] = &[0, 2, 8, 4];
        let chosen = offer.for_client(|| Some(rsa_only));
        assert_eq!(chosen.kind(), crate::KeyKind::Rsa);
        let chosen = offer.for_client(|| None);
        assert_eq!(chosen.kind(), crate::KeyKind::EcdsaP256);
    }
}

#[test]
fn a_certificate_that_no_client_will_see_is_told() {
    let folder = TempDir::new().unwrap();
    let key = ec_key();
    let leaf = certificate(None, &["shop.example"], (-1, 90), &key);
    let twice = [
        write(folder.path(), "one", std::slice::from_ref(&leaf), &key),
        write(folder.path(), "two", &[leaf], &key),
    ];
    let (_, problems) = read(&twice).unwrap();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key, "certificates[1].cert");
    assert!(matches!(problems[0].what, CertError::NeverUsed { .. }));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let folder = TempDir::new().unwrap();
    let leaf = certificate(None, &["shop.example"], (-1, 90), &ec_key());
    let problem = the_error(&[write(folder.path(), "one", &[leaf], &ec_key())]);
    assert_eq!(problem.key, "certificates[0].key");
    assert!(matches!(problem.what, CertError::Mismatch { .. }));
}

#[test]
fn a_chain_in_the_wrong_order_is_refused_with_the_remedy() {
    let folder = TempDir::new().unwrap();
    let (issuer_key, key) = (ec_key(), ec_key());
    let issuer = certificate(Some("CA"), &[], (-1, 90), &issuer_key);
    let leaf = certificate(None, &["shop.example"], (-1, 90), &key);
    let problem = the_error(&[write(folder.path(), "one", &[issuer, leaf], &key)]);
    assert!(matches!(problem.what, CertError::LeafNotFirst { .. }));
    assert!(problem.help().contains("first"));
}

#[test]
fn a_gap_in_a_chain_is_a_warning() {
    let folder = TempDir::new().unwrap();
    let (stranger_key, key) = (ec_key(), ec_key());
    let stranger = certificate(Some("CA"), &[], (-1, 90), &stranger_key);
    let leaf = certificate(Some("shop"), &["shop.example"], (-1, 90), &key);
    let (_, problems) = read(&[write(folder.path(), "one", &[leaf, stranger], &key)]).unwrap();
    assert!(matches!(
        problems[..],
        [CertProblem {
            what: CertError::ChainGap { position: 2, .. },
            ..
        }]
    ));
}

#[test]
fn a_certificate_out_of_its_time_is_refused_with_the_date() {
    let folder = TempDir::new().unwrap();
    let key = ec_key();
    let over = certificate(None, &["shop.example"], (-90, -1), &key);
    let problem = the_error(&[write(folder.path(), "over", &[over], &key)]);
    assert!(matches!(problem.what, CertError::Expired { .. }));
    assert!(problem.to_string().contains("GMT"), "{problem}");

    let early = certificate(None, &["shop.example"], (1, 90), &key);
    let problem = the_error(&[write(folder.path(), "early", &[early], &key)]);
    assert!(matches!(problem.what, CertError::NotYetValid { .. }));
}

#[test]
fn a_certificate_out_of_its_time_is_served_at_a_start_and_where_it_was_served_before() {
    let folder = TempDir::new().unwrap();
    let (key, other) = (ec_key(), ec_key());
    for days in [(-90, -1), (1, 90)] {
        let leaf = certificate(None, &["shop.example"], days, &key);
        let written = [write(folder.path(), "one", &[leaf], &key)];
        let read =
            |times: Times<'_>| CertStore::from_certificates(&written, SystemTime::now(), times);
        assert!(read(Times::Refuse).is_err());
        let (store, problems) = read(Times::Serve).unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].is_served_out_of_time());
        assert_eq!(problems[0].severity(), Severity::Warning);
        assert!(store.find("shop.example").is_some());
        assert!(read(Times::ServeIfIn(&store)).is_ok());

        let leaf = certificate(None, &["shop.example"], days, &other);
        let newly = [write(folder.path(), "one", &[leaf], &other)];
        let read =
            CertStore::from_certificates(&newly, SystemTime::now(), Times::ServeIfIn(&store));
        assert_eq!(read.unwrap_err()[0].severity(), Severity::Error);
    }
}

#[test]
fn a_certificate_near_its_end_is_a_warning_in_proportion_to_its_life() {
    let folder = TempDir::new().unwrap();
    let key = ec_key();
    let soon = |days| {
        let leaf = certificate(None, &["shop.example"], days, &key);
        let (_, problems) = read(&[write(folder.path(), "one", &[leaf], &key)]).unwrap();
        problems.len()
    };
    assert_eq!(soon((-80, 10)), 1);
    assert_eq!(soon((-80, 20)), 0);
    assert_eq!(soon((-1, 5)), 0, "a short-lived one is not near its end");
}

#[test]
fn every_problem_is_told_at_once() {
    let folder = TempDir::new().unwrap();
    let key = ec_key();
    let leaf = certificate(None, &["shop.example"], (-1, 90), &key);
    let good = write(folder.path(), "good", &[leaf], &key);
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text.crt"), "no certificate here").unwrap();
    std::fs::write(
        path("cut.crt"),
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    std::fs::write(path("large.crt"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    let locked = key
        .private_key_to_pem_pkcs8_passphrase(boring::symm::Cipher::aes_128_cbc(), b"secret")
        .unwrap();
    std::fs::write(path("locked.key"), locked).unwrap();

    let cert = |name: &str| Certificate {
        cert: path(name),
        key: good.key.clone(),
    };
    let with_key = |key| Certificate {
        cert: good.cert.clone(),
        key,
    };
    let problems = read(&[
        cert("absent.crt"),
        cert("text.crt"),
        cert("cut.crt"),
        cert("large.crt"),
        with_key(Secret::File(path("absent.key"))),
        with_key(Secret::File(path("text.crt"))),
        with_key(Secret::File(path("locked.key"))),
        with_key(Secret::Env("AEGIS_TEST_NO_SUCH_VARIABLE".into())),
        good.clone(),
    ])
    .unwrap_err();
    let told: Vec<_> = problems
        .iter()
        .filter(|problem| problem.severity() == Severity::Error)
        .map(ToString::to_string)
        .collect();
    for (line, part) in told.iter().zip([
        "absent.crt cannot be read",
        "text.crt holds no certificate",
        "cut.crt holds a certificate that cannot be read",
        "large.crt is larger than 1048576 bytes",
        "absent.key cannot be read",
        "text.crt holds no private key",
        "locked.key is encrypted",
        "AEGIS_TEST_NO_SUCH_VARIABLE is not set",
    ]) {
        assert!(line.contains(part), "{line:?} lacks {part:?}");
    }
    assert_eq!(told.len(), 8, "{told:?}");
}

#[test]
fn a_key_that_everybody_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let key = ec_key();
    let leaf = certificate(None, &["shop.example"], (-1, 90), &key);
    let certificate = write(folder.path(), "one", &[leaf], &key);
    let Secret::File(path) = &certificate.key else {
        panic!("a file was written")
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (_, problems) = read(&[certificate]).unwrap();
    assert!(matches!(problems[0].what, CertError::KeyReadable { .. }));
}

#[test]
fn a_short_rsa_key_is_refused() {
    let folder = TempDir::new().unwrap();
    let key = rsa_key(1024);
    let leaf = certificate(None, &["shop.example"], (-1, 90), &key);
    let problem = the_error(&[write(folder.path(), "one", &[leaf], &key)]);
    assert!(matches!(problem.what, CertError::UnusableKey { .. }));
}

#[test]
fn the_common_name_counts_only_without_alternatives() {
    let folder = TempDir::new().unwrap();
    let key = ec_key();
    let old = certificate(Some("old.example"), &[], (-1, 90), &key);
    let new = certificate(Some("cn.example"), &["san.example"], (-1, 90), &key);
    let (store, _) = read(&[
        write(folder.path(), "old", &[old], &key),
        write(folder.path(), "new", &[new], &key),
    ])
    .unwrap();
    assert!(store.find("old.example").is_some());
    assert!(store.find("san.example").is_some());
    assert!(store.find("cn.example").is_none());
}

#[test]
fn hosts_without_a_certificate_are_found() {
    let folder = TempDir::new().unwrap();
    let key = ec_key();
    let leaf = certificate(None, &["*.shop.example", "192.0.2.1"], (-1, 90), &key);
    let (store, _) = read(&[write(folder.path(), "one", &[leaf], &key)]).unwrap();
    let sites = [
        site(0, &["www.shop.example", "*.shop.example", "192.0.2.1"]),
        site(1, &["shop.example", "*", "*.www.shop.example"]),
    ];
    let found: Vec<_> = uncovered(&sites, &store)
        .into_iter()
        .map(|host| (host.site, host.host))
        .collect();
    assert_eq!(
        found,
        [
            (1, "shop.example".to_owned()),
            (1, "*.www.shop.example".to_owned())
        ]
    );
}

#[test]
fn without_certificates_nothing_is_chosen() {
    let (store, problems) = read(&[]).unwrap();
    assert!(store.is_empty() && problems.is_empty());
    assert!(store.choose(Some("shop.example")).is_none());
}

#[test]
fn the_gauge_shows_the_end_of_what_is_in_force() {
    let folder = TempDir::new().unwrap();
    let key = ec_key();
    let store = |name: &str| {
        let leaf = certificate(None, &[name], (-1, 90), &key);
        read(&[write(folder.path(), "one", &[leaf], &key)])
            .unwrap()
            .0
    };
    let live = crate::Certificates::new(store("former.example"));
    live.swap(store("present.example"));
    let text = aegis_telemetry::metrics::render();
    assert!(text.contains("aegis_certificate_expiry_seconds{name=\"present.example\"} 1"));
    assert!(!text.contains("former.example"));
    assert!(live.current().find("present.example").is_some());
}
