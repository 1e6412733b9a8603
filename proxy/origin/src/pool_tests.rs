use super::{Pool, choose};
use crate::PoolSet;
use crate::endpoint::Endpoint;
use crate::probe::Prober;
use crate::resolve::{Resolve, Server};
use aegis_settings::model;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

fn settings(servers: &[&str]) -> model::Pool {
    model::Pool {
        name: "web".to_owned(),
        servers: servers.iter().map(|&s| s.to_owned()).collect(),
        tls: None,
        health: None,
        connect_timeout: Duration::from_secs(3),
        read_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        keepalive: Duration::from_secs(60),
        retries: 1,
    }
}

fn pool(settings: &model::Pool, previous: Option<&Pool>) -> Arc<Pool> {
    Pool::build(&Arc::new(settings.clone()), previous).expect("settings are good")
}

fn picks(pool: &Pool, n: usize) -> Vec<u16> {
    (0..n)
        .map(|_| {
            pool.pick(&[])
                .expect("there is an address")
                .endpoint
                .address
                .port()
        })
        .collect()
}

fn fail(endpoint: &Endpoint, times: usize) {
    (0..times).for_each(|_| endpoint.connect_failed());
}

#[test]
fn requests_go_round_robin() {
    let pool = pool(
        &settings(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]),
        None,
    );
    assert_eq!(picks(&pool, 6), [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_server_that_cannot_be_reached_is_left_out_and_all_are_tried_when_none_is_left() {
    let pool = pool(&settings(&["127.0.0.1:1", "127.0.0.1:2"]), None);
    let endpoints = pool.endpoints();
    fail(&endpoints[0], 2);
    assert_eq!(picks(&pool, 4), [2, 2, 2, 2]);
    fail(&endpoints[1], 2);
    assert_eq!(picks(&pool, 4), [1, 2, 1, 2]);
}

#[test]
fn a_further_try_goes_to_another_server() {
    let pool = pool(&settings(&["127.0.0.1:1", "127.0.0.1:2"]), None);
    for _ in 0..4 {
        let first = pool.pick(&[]).expect("an address").endpoint.address;
        let second = pool.pick(&[first]).expect("an address").endpoint.address;
        assert_ne!(first, second);
        pool.pick(&[first, second]).expect("all tried: any will do");
    }
}

#[test]
fn an_untried_server_that_is_down_is_better_than_one_that_failed_this_request() {
    let pool = pool(&settings(&["127.0.0.1:1", "127.0.0.1:2"]), None);
    let endpoints = pool.endpoints();
    fail(&endpoints[0], 2);
    let chosen = choose(&endpoints, 0, &[endpoints[1].address]).expect("two endpoints");
    assert_eq!(chosen.address.port(), 1);
}

#[test]
fn a_pool_without_address_says_so() {
    let pool = pool(&settings(&["no-such-name.invalid:80"]), None);
    assert_eq!(pool.pick(&[]).err(), Some(super::PickError::NoAddress));
}

#[test]
fn a_pool_that_changed_inherits_addresses_and_health_of_the_servers_it_keeps() {
    let old = pool(
        &settings(&["127.0.0.1:1", "127.0.0.1:2", "name.example:3"]),
        None,
    );
    fail(&old.endpoints()[0], 2);
    let name = Server::parse("name.example:3").expect("host:port");
    old.set_addresses(&name, &["192.0.2.3:3".parse().expect("an address")]);
    let mut changed = settings(&["127.0.0.1:1", "127.0.0.1:4", "name.example:3"]);
    changed.retries = 3;
    let new = pool(&changed, Some(&old));
    let view: Vec<_> = new
        .view()
        .into_iter()
        .map(|s| (s.address.port(), s.up))
        .collect();
    assert_eq!(view, [(1, false), (4, true), (3, true)]);
}

#[test]
fn new_addresses_of_a_name_keep_the_health_of_those_that_stay() {
    let pool = pool(&settings(&["name.example:80"]), None);
    let name = Server::parse("name.example:80").expect("host:port");
    let addresses: Vec<SocketAddr> = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]
        .iter()
        .map(|a| a.parse().expect("an address"))
        .collect();
    pool.set_addresses(&name, &addresses[..2]);
    let before = pool.endpoints();
    fail(&before[1], 2);
    pool.set_addresses(&name, &addresses[1..]);
    let view: Vec<_> = pool.view().into_iter().map(|s| (s.address, s.up)).collect();
    assert_eq!(view, [(addresses[1], false), (addresses[2], true)]);
    assert!(Arc::ptr_eq(&before[1], &pool.endpoints()[0]));
}

#[test]
fn an_unreadable_or_empty_ca_file_is_an_error_that_names_it() {
    let mut with_ca = settings(&["a.example:443"]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    for path in [file.path().to_owned(), "/nowhere/ca.pem".into()] {
        with_ca.tls = Some(model::OriginTls {
            name: None,
            verify: true,
            ca: Some(path.clone()),
        });
        let error = Pool::build(&Arc::new(with_ca.clone()), None).expect_err("no certificate");
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}

#[test]
fn the_certificate_is_checked_against_the_configured_name_or_the_host() {
    let mut tls = settings(&["10.0.0.1:443"]);
    tls.tls = Some(model::OriginTls {
        name: Some("shop.internal".to_owned()),
        verify: true,
        ca: None,
    });
    assert_eq!(
        pool(&tls, None).pick(&[]).expect("an address").peer.sni,
        "shop.internal"
    );
    tls.tls = Some(model::OriginTls {
        name: None,
        verify: false,
        ca: None,
    });
    let pick = pool(&tls, None).pick(&[]).expect("an address");
    assert_eq!(pick.peer.sni, "10.0.0.1");
    assert!(!pick.peer.options.verify_cert);
}

/// Answers what the test put in.
#[derive(Debug, Default)]
struct FakeDns(Mutex<Option<Vec<SocketAddr>>>);

#[async_trait]
impl Resolve for FakeDns {
    async fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
        self.0
            .lock()
            .expect("no panic")
            .clone()
            .ok_or_else(|| std::io::Error::other("SERVFAIL"))
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up_again_and_a_failing_resolver_changes_nothing() {
    let dns = Arc::new(FakeDns::default());
    let resolver: Arc<dyn Resolve> = dns.clone();
    let pool = pool(&settings(&["name.example:80"]), None);
    pool.start(&Handle::current(), &resolver, &Arc::default());
    pool.settle().await;
    assert!(pool.is_empty());

    let address: SocketAddr = "192.0.2.1:80".parse().expect("an address");
    *dns.0.lock().expect("no panic") = Some(vec![address, address]);
    while pool.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(pool.view().len(), 1);

    *dns.0.lock().expect("no panic") = None;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(pool.view().len(), 1, "the last addresses stay");
}

#[tokio::test]
async fn look_ups_and_probes_end_with_the_pool() {
    let dns = Arc::new(FakeDns::default());
    let resolver: Arc<dyn Resolve> = dns.clone();
    let mut checked = settings(&["name.example:80"]);
    checked.health = Some(health());
    let pool = pool(&checked, None);
    pool.start(&Handle::current(), &resolver, &Arc::default());
    pool.settle().await;
    drop(resolver);
    drop(pool);
    while Arc::strong_count(&dns) > 1 {
        tokio::task::yield_now().await;
    }
}

fn health() -> model::Health {
    model::Health {
        path: "/healthz".to_owned(),
        host: Some("shop.example".to_owned()),
        interval: Duration::from_millis(5),
        timeout: Duration::from_secs(5),
        unhealthy: 2,
        healthy: 2,
    }
}

/// A server that answers every connection with the status of the moment and keeps the last request head.
async fn server(status: Arc<Mutex<u16>>, seen: Arc<Mutex<String>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.expect("accepts");
            let mut head = vec![0; 4096];
            let read = connection.read(&mut head).await.unwrap_or(0);
            *seen.lock().expect("no panic") = String::from_utf8_lossy(&head[..read]).into_owned();
            let status = *status.lock().expect("no panic");
            let answer =
                format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.write_all(answer.as_bytes()).await.ok();
        }
    });
    address
}

#[tokio::test]
async fn health_checks_take_a_server_out_and_bring_it_back() {
    let (status, seen) = (
        Arc::new(Mutex::new(200)),
        Arc::new(Mutex::new(String::new())),
    );
    let address = server(Arc::clone(&status), Arc::clone(&seen)).await;
    let mut checked = settings(&[&address.to_string()]);
    checked.health = Some(health());
    let pool = pool(&checked, None);
    let resolver: Arc<dyn Resolve> = Arc::new(FakeDns::default());
    pool.start(&Handle::current(), &resolver, &Arc::<Prober>::default());
    let becomes = async |up: bool| {
        while pool.view()[0].up != up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    *status.lock().expect("no panic") = 500;
    becomes(false).await;
    *status.lock().expect("no panic") = 302;
    becomes(true).await;
    let head = seen.lock().expect("no panic").clone();
    assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Host: shop.example\r\n"), "{head}");
}

#[tokio::test]
async fn an_unchanged_pool_is_handed_on_and_a_changed_one_is_not() {
    let pools = |pool| BTreeMap::from([("web".to_owned(), Arc::new(pool))]);
    let resolver: Arc<dyn Resolve> = Arc::new(FakeDns::default());
    let first = PoolSet::with_resolver(resolver);
    let build = |pool, previous| {
        PoolSet::build(&pools(pool), Some(previous), &Handle::current()).expect("good")
    };
    let first = build(settings(&["127.0.0.1:1"]), &first);
    let same = build(settings(&["127.0.0.1:1"]), &first);
    let of = |set: &PoolSet| set.get("web").expect("the pool");
    assert!(Arc::ptr_eq(&of(&first), &of(&same)));
    let other = build(
        model::Pool {
            retries: 9,
            ..settings(&["127.0.0.1:1"])
        },
        &same,
    );
    assert!(!Arc::ptr_eq(&of(&same), &of(&other)));
}
