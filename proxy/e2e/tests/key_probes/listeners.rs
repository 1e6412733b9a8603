//! `listeners:` and `certificates:`

use aegis_testkit::certs::{Authority, Pair, served_subject};
use aegis_testkit::{Aegis, Origin, Reply, ports, raw};
use rustix::net::{AddressFamily, SocketType};
use serde_json::{Value, json};

fn origin() -> Origin {
    Origin::start(|_| Reply::text("hello"))
}

fn certificate(cert: &Pair, key: &Pair) -> Value {
    json!([{ "cert": cert.cert, "key": format!("file:{}", key.key.display()) }])
}

rows! {
    "listeners[].address" it_listens_there {
        let origin = origin();
        let addresses = [ports::free_address(), ports::free_address()];
        let heard = addresses.map(|address| {
            let _aegis = Aegis::before(&origin).set("listeners[2]", json!({ "address": address.to_string() })).start();
            addresses.map(|a| raw::try_get(a, "/").is_some())
        });
        assert_eq!(heard, [[true, false], [false, true]]);
    }
    "listeners[].proxy_protocol" a_header_names_the_client_or_is_none {
        let origin = origin();
        let clients = ["off", "required"].map(|proxy_protocol| {
            let builder = Aegis::before(&origin).set("node.client.trusted_proxies", json!(["127.0.0.1"]));
            let aegis = builder.set("listeners[0].proxy_protocol", proxy_protocol).start();
            let mut client = aegis.raw();
            client.send("PROXY TCP4 203.0.113.9 198.51.100.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
            (client.answer().status(), aegis.access_log_of(|_| true)["client"].clone())
        });
        assert_eq!(clients, [(400, json!("127.0.0.1")), (200, json!("203.0.113.9"))]);
    }
    "listeners[].tls.preset" older_versions_are_refused {
        let origin = origin();
        let exits = ["intermediate", "modern"].map(|preset| {
            let aegis = Aegis::before(&origin).set("listeners[1].tls.preset", preset).start();
            aegis.curl_tls("a.test", "/").arg(&["--tls-max", "1.2"]).send().exit
        });
        assert_eq!(exits, [0, 35]);
    }
    "listeners[].reuse_port" another_process_may_share_the_address {
        let origin = origin();
        let shared = [false, true].map(|shared| {
            let aegis = Aegis::before(&origin).set("listeners[0].reuse_port", shared).start();
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            rustix::net::sockopt::set_socket_reuseport(&socket, true).unwrap();
            rustix::net::bind(&socket, &aegis.http()).is_ok()
        });
        assert_eq!(shared, [false, true]);
    }
    "listeners[].tls.http2" http2_is_offered {
        let origin = origin();
        let versions = [true, false].map(|http2| {
            let aegis = Aegis::before(&origin).set("listeners[1].tls.http2", http2).start();
            aegis.curl_tls("a.test", "/").http2().send().version
        });
        assert_eq!(versions, ["2", "1.1"]);
    }
    "certificates[].cert" it_is_what_clients_see {
        let (origin, authority) = (origin(), Authority::new());
        let seen = ["one.test", "two.test"].map(|name| {
            let pair = authority.issue(&[name]);
            let aegis = Aegis::before(&origin).set("certificates", certificate(&pair, &pair)).start();
            served_subject(aegis.tls(), "x.test")
        });
        assert_eq!(seen, ["one.test", "two.test"]);
    }
    "certificates[].key" it_must_be_the_certificates {
        let (origin, authority) = (origin(), Authority::new());
        let [one, two] = ["one.test", "two.test"].map(|n| authority.issue(&[n]));
        let code = |key: &Pair| Aegis::before(&origin).set("certificates", certificate(&one, key)).check().status.code();
        assert_eq!([code(&one), code(&two)], [Some(0), Some(78)]);
    }
}
