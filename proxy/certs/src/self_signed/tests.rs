use super::*;
use crate::store::CertStore;
use tempfile::TempDir;

fn sites(hosts: &[&str]) -> Vec<Arc<Site>> {
    vec![Arc::new(Site {
        index: 0,
        name: "site".into(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        tls: Default::default(),
        connections_max: None,
        routes: Vec::new(),
    })]
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_made_once_kept_for_its_owner_alone_and_covers_the_sites() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let hosts = sites(&["shop.example", "*.shop.example", "*", "192.0.2.9"]);
    let (store, warnings) = CertStore::self_signed(&state, &hosts).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(store.is_self_signed());
    for host in [
        "localhost",
        "127.0.0.1",
        "::1",
        "shop.example",
        "a.shop.example",
        "192.0.2.9",
    ] {
        assert!(store.find(host).is_some(), "{host}");
    }
    let kept = state.join("self-signed");
    assert_eq!(mode(&kept), 0o700);
    assert_eq!(mode(&kept.join("key.pem")), 0o600);
    assert_eq!(mode(&kept.join("cert.pem")), 0o600);
    let before = fs::read(kept.join("cert.pem")).unwrap();
    CertStore::self_signed(&state, &hosts).unwrap();
    assert_eq!(fs::read(kept.join("cert.pem")).unwrap(), before);
    assert_eq!(
        fs::read_dir(&kept).unwrap().count(),
        2,
        "nothing else is left"
    );
}

#[test]
fn it_is_renewed_in_its_last_month() {
    let folder = TempDir::new().unwrap();
    let now = SystemTime::now();
    let hosts = sites(&["shop.example"]);
    let load = |now| {
        load_or_make(folder.path(), &hosts, now)
            .unwrap()
            .0
            .not_after()
    };
    let first = load(now);
    assert_eq!(load(now + DAY * 334), first);
    let renewed = load(now + DAY * 336);
    assert!(renewed > first);
    assert!(renewed > now + DAY * 700);
}

#[test]
fn a_new_host_makes_a_new_one() {
    let folder = TempDir::new().unwrap();
    CertStore::self_signed(folder.path(), &sites(&["one.example"])).unwrap();
    let (store, _) = CertStore::self_signed(folder.path(), &sites(&["two.example"])).unwrap();
    assert!(store.find("two.example").is_some());
}

#[test]
fn a_damaged_one_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let hosts = sites(&["shop.example"]);
    CertStore::self_signed(folder.path(), &hosts).unwrap();
    for name in ["key.pem", "cert.pem"] {
        fs::write(folder.path().join("self-signed").join(name), "half a fi").unwrap();
        CertStore::self_signed(folder.path(), &hosts).unwrap();
    }
}

#[test]
fn more_hosts_than_it_takes_are_a_warning() {
    let folder = TempDir::new().unwrap();
    let hosts: Vec<_> = (0..150).map(|n| format!("h{n}.example")).collect();
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let (store, warnings) = CertStore::self_signed(folder.path(), &sites(&hosts)).unwrap();
    assert!(store.find("h0.example").is_some());
    assert!(matches!(
        warnings[..],
        [crate::CertProblem {
            what: CertError::TooManyHosts { .. },
            ..
        }]
    ));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let problems = CertStore::self_signed(&file, &sites(&["shop.example"])).unwrap_err();
    assert!(problems[0].to_string().contains("cannot be kept at"));
    assert!(problems[0].help().contains("node.state_dir"));
}
