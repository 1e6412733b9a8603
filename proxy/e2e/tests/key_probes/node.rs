//! `version` and `node:`

use aegis_testkit::aegis::Builder;
use aegis_testkit::process::Signal;
use aegis_testkit::raw::Raw;
use aegis_testkit::{Aegis, Origin, Reply, eventually, ports, wait};
use serde_json::{Value, json};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

fn origin() -> Origin {
    Origin::start(|request| match request.path() {
        "/large" => Reply::text(vec![b'x'; 64 << 20]),
        "/slow" => Reply::text("late").after(Duration::from_secs(1)),
        path if path.starts_with("/keep") => Reply::cacheable(vec![b'x'; 700 << 10], 60),
        _ => Reply::text("hello"),
    })
}

fn collector() -> Origin {
    Origin::start(|_| Reply::text("{}"))
}

/// Starts with `key` at each value and gives what `see` saw.
fn each<T>(key: &str, values: [Value; 2], see: impl Fn(&mut Aegis, &Origin) -> T) -> [T; 2] {
    each_of(|builder| builder, key, values, see)
}

fn each_of<T>(
    with: impl Fn(Builder) -> Builder,
    key: &str,
    values: [Value; 2],
    see: impl Fn(&mut Aegis, &Origin) -> T,
) -> [T; 2] {
    values.map(|value| {
        let origin = origin();
        let mut aegis = with(Aegis::before(&origin)).set(key, value).start();
        see(&mut aegis, &origin)
    })
}

/// Whether the peer closes within a time that is long for the short value and short for the long one.
fn closes(mut client: Raw<TcpStream>) -> bool {
    client.closes_within(Duration::from_secs(2))
}

fn threads(aegis: &mut Aegis) -> usize {
    fs::read_dir(format!("/proc/{}/task", aegis.process().id()))
        .unwrap()
        .count()
}

rows! {
    "version" only_this_version_is_read {
        let code = |version: u32| Aegis::before(&origin()).set("version", version).check().status.code();
        assert_eq!([code(1), code(2)], [Some(0), Some(78)]);
    }
    "node.state_dir" state_is_kept_there {
        let kept = each("node.state_dir", [json!("here"), json!("there")], |aegis, _| {
            ["here", "there"].map(|d| aegis.dir().join(d).join("self-signed/cert.pem").exists())
        });
        assert_eq!(kept, [[true, false], [false, true]]);
    }
    "node.workers" workers_are_threads {
        let [one, four] = each("node.workers", [json!(1), json!(4)], |aegis, _| threads(aegis));
        assert_eq!(four - one, 3);
    }
    "node.admin.socket" the_socket_is_there {
        let there = each("node.admin.socket", [json!("a.sock"), json!("b.sock")], |aegis, _| {
            ["a.sock", "b.sock"].map(|s| aegis.dir().join(s).exists())
        });
        assert_eq!(there, [[true, false], [false, true]]);
    }
    "node.admin.metrics" metrics_are_there {
        let origin = origin();
        let other = ports::free_address();
        let aegis = Aegis::before(&origin).start();
        assert!(aegis_testkit::raw::try_get(other, "/metrics").is_none());
        let moved = Aegis::before(&origin).metrics_at(other).start();
        assert_eq!(moved.probe("/metrics").status(), 200);
        assert_eq!(aegis.probe("/metrics").status(), 200);
    }
    "node.log.access" lines_have_that_format {
        let firsts = each("node.log.access", [json!("json"), json!("combined")], |aegis, _| {
            aegis.get("/");
            let log = aegis.dir().join("access.log");
            eventually("a line", || fs::read_to_string(&log).ok()?.chars().next())
        });
        assert_eq!(firsts, ['{', '1']);
    }
    "node.log.access_path" lines_go_there {
        let there = each("node.log.access_path", [json!("a.log"), json!("b.log")], |aegis, _| {
            aegis.get("/");
            let logs = ["a.log", "b.log"].map(|l| aegis.dir().join(l));
            eventually("a line", || logs.iter().position(|l| fs::metadata(l).is_ok_and(|m| m.len() > 0)))
        });
        assert_eq!(there, [0, 1]);
    }
    "node.log.events_path" security_events_go_there {
        let there = each_of(Builder::waf, "node.log.events_path", [json!("a.log"), json!("b.log")], |aegis, _| {
            let attack = "/?q=1%27%20OR%20%271%27=%271%27--%20";
            let id = aegis.get(attack).header("x-request-id").to_owned();
            let logs = ["a.log", "b.log"].map(|l| aegis.dir().join(l));
            let (at, line) = eventually("an event", || {
                logs.iter().enumerate().find_map(|(at, l)| Some((at, fs::read_to_string(l).ok()?.lines().next()?.to_owned())))
            });
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&line["request_id"], &line["by"]["id"]), (&json!(id), &json!(949_110)));
            assert!(line["rules"].as_array().unwrap().iter().any(|rule| rule["id"] == 942_100), "{line:#}");
            at
        });
        assert_eq!(there, [0, 1]);
    }
    "node.log.events_kept" a_restart_remembers_them {
        let origin = Origin::start(|_| Reply::text("hello"));
        let found = [json!("64MiB"), json!(0)].map(|kept| {
            let mut aegis = Aegis::before(&origin).waf().set("node.log.events_kept", kept).start();
            let id = aegis.get("/?q=1%27%20OR%20%271%27=%271%27--%20").header("x-request-id").to_owned();
            aegis.restart_orderly();
            aegis.wait_ready();
            aegis.admin(&format!("/events?request={id}"))["status"] == 403
        });
        assert_eq!(found, [true, false]);
    }
    "node.log.level" less_severe_lines_are_left_out {
        let said = each("node.log.level", [json!("info"), json!("error")], |aegis, _| aegis.output().contains("settings are live"));
        assert_eq!(said, [true, false]);
    }
    "node.client.hello_timeout" a_hello_that_never_comes_is_closed {
        let with = |builder: Builder| builder.set("node.client.handshake_timeout", "600s");
        let closed = each_of(with, "node.client.hello_timeout", [json!("100ms"), json!("600s")], |aegis, _| closes(Raw::tcp(aegis.tls())));
        assert_eq!(closed, [true, false]);
    }
    "node.client.body_timeout" a_body_has_that_long {
        let ended = each("node.client.body_timeout", [json!("300ms"), json!("600s")], |aegis, _| drips(aegis, 2_000));
        assert_eq!(ended, [true, false]);
    }
    "node.client.receive_rate_min" a_body_has_to_come_that_fast {
        let with = |builder: Builder| builder.set("node.client.read_timeout", "300ms");
        let ended = each_of(with, "node.client.receive_rate_min", [json!("1MiB"), json!(1)], |aegis, _| drips(aegis, 2_000));
        assert_eq!(ended, [true, false]);
    }
    "node.client.send_rate_min" an_answer_has_to_be_taken_that_fast {
        let with = |builder: Builder| builder.set("node.client.write_timeout", "2s");
        let cut = each_of(with, "node.client.send_rate_min", [json!("1GiB"), json!(1)], |aegis, _| {
            let mut client = aegis.raw();
            client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut left = 67;
            wait::try_within(Duration::from_secs(6), || {
                if left > 0 {
                    client.take(1_000_000);
                    left -= 1;
                }
                (aegis.metrics().sum("aegis_connections_cut_total", &["reason=\"slow_reader\""]) > 0.0).then_some(())
            }).is_some()
        });
        assert_eq!(cut, [true, false]);
    }
    "node.client.connection_age_max" an_old_connection_ends_with_its_next_answer {
        let said = each("node.client.connection_age_max", [json!("100ms"), json!("720h")], |aegis, _| {
            let mut client = aegis.raw();
            wait::try_within(Duration::from_secs(3), || {
                (client.get("a", "/").header("connection") == Some("close")).then_some(())
            }).is_some()
        });
        assert_eq!(said, [true, false]);
    }
    "node.client.connections_per_address" one_more_of_an_address_is_closed {
        let closed = each("node.client.connections_per_address", [json!(1), json!(100)], |aegis, _| {
            let mut first = aegis.raw();
            assert_eq!(first.get("a", "/").status(), 200);
            closes(aegis.raw())
        });
        assert_eq!(closed, [true, false]);
    }
    "node.client.handshake_timeout" a_handshake_that_does_not_go_on_is_closed {
        let hello = client_hello();
        let with = |builder: Builder| builder.set("node.client.hello_timeout", "1s");
        let closed = each_of(with, "node.client.handshake_timeout", [json!("1s"), json!("600s")], |aegis, _| {
            let mut client = TcpStream::connect(aegis.tls()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            client.write_all(&hello).unwrap();
            // The server's part of it comes, and then the end or nothing.
            match client.read_to_end(&mut Vec::new()) {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::ConnectionReset,
            }
        });
        assert_eq!(closed, [true, false]);
    }
    "node.client.read_timeout" a_head_that_does_not_go_on_is_closed {
        let closed = each("node.client.read_timeout", [json!("100ms"), json!("600s")], |aegis, _| {
            let mut client = aegis.raw();
            client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
            client.answers_or_closes_within(Duration::from_secs(2))
        });
        assert_eq!(closed, [true, false]);
    }
    "node.client.write_timeout" a_client_that_does_not_read_is_closed {
        let logged = each("node.client.write_timeout", [json!("100ms"), json!("600s")], |aegis, _| {
            let mut client = aegis.raw();
            client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
            wait::try_within(Duration::from_secs(3), || aegis.access_log().pop()).is_some()
        });
        assert_eq!(logged, [true, false]);
    }
    "node.client.idle_timeout" an_idle_connection_is_closed {
        let closed = each("node.client.idle_timeout", [json!("100ms"), json!("600s")], |aegis, _| {
            let mut client = aegis.raw();
            assert_eq!(client.get("a", "/").status(), 200);
            closes(client)
        });
        assert_eq!(closed, [true, false]);
    }
    "node.client.connections_max" for_one_more_an_idle_one_goes {
        let closed = each("node.client.connections_max", [json!(1), json!(100)], |aegis, _| {
            let mut first = aegis.raw();
            assert_eq!(first.get("a", "/").status(), 200);
            assert_eq!(aegis.raw().get("a", "/").status(), 200);
            closes(first)
        });
        assert_eq!(closed, [true, false]);
    }
    "node.client.h2_streams_max" clients_are_told_how_many_streams {
        let told = each("node.client.h2_streams_max", [json!(7), json!(77)], |aegis, _| {
            let output = Command::new("nghttp").args(["-nv", &format!("https://{}/", aegis.tls())]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split("SETTINGS_MAX_CONCURRENT_STREAMS(0x03):").skip(1)
                .filter_map(|t| t.split(']').next()).find(|n| *n != "100").map(str::to_owned)
        });
        assert_eq!(told, [Some("7".to_owned()), Some("77".to_owned())]);
    }
    "node.tracing.otlp" spans_go_there {
        let collectors = [collector(), collector()];
        let got = [0, 1].map(|n: usize| {
            let tracing = json!({ "otlp": collectors[n].url(), "sample": 1 });
            let aegis = Aegis::before(&origin()).set("node.tracing", tracing).start();
            aegis.get("/");
            eventually("spans", || (collectors[n].hits("/v1/traces") > 0).then_some(()));
            collectors.each_ref().map(|collector| collector.hits("/v1/traces") > 0)
        });
        assert_eq!(got, [[true, false], [true, true]]);
    }
    "node.tracing.sample" that_share_of_requests_has_spans {
        let exported = [json!(1), json!(0)].map(|sample| {
            let collector = collector();
            let tracing = json!({ "otlp": collector.url(), "sample": sample });
            let aegis = Aegis::before(&origin()).set("node.tracing", tracing).start();
            aegis.get("/");
            wait::try_within(Duration::from_secs(3), || (collector.hits("/v1/traces") > 0).then_some(())).is_some()
        });
        assert_eq!(exported, [true, false]);
    }
    "node.client.trusted_proxies" their_word_about_a_client_is_believed {
        let clients = each("node.client.trusted_proxies", [json!(["127.0.0.0/8"]), json!(["192.0.2.0/24"])], |aegis, _| {
            aegis.curl("/").header("X-Forwarded-For: 203.0.113.9").send();
            aegis.logged("/")["client"].clone()
        });
        assert_eq!(clients, [json!("203.0.113.9"), json!("127.0.0.1")]);
    }
    "node.client.trust_everyone" everyone_is_trusted_only_when_that_is_said_twice {
        let code = |said: bool| {
            let builder = Aegis::before(&origin()).set("node.client.trusted_proxies", json!(["0.0.0.0/0"]));
            builder.set("node.client.trust_everyone", said).check().status.code()
        };
        assert_eq!([code(true), code(false)], [Some(0), Some(78)]);
    }
    "node.client.forwarded_field" only_that_field_names_a_client {
        let with = |builder: Builder| builder.set("node.client.trusted_proxies", json!(["127.0.0.1"]));
        let clients = each_of(with, "node.client.forwarded_field", [json!("forwarded"), json!("x-forwarded-for")], |aegis, _| {
            aegis.curl("/").header("X-Forwarded-For: 203.0.113.9").header("Forwarded: for=203.0.113.8").send();
            aegis.logged("/")["client"].clone()
        });
        assert_eq!(clients, [json!("203.0.113.8"), json!("203.0.113.9")]);
    }
    "node.cache.memory" what_does_not_fit_is_dropped {
        let hit = each("node.cache.memory", [json!("1MiB"), json!("64MiB")], |aegis, _| {
            for target in ["/keep/1", "/keep/2", "/keep/3"] {
                aegis.get(target);
            }
            aegis.get("/keep/1").header("cache-status").contains("hit")
        });
        assert_eq!(hit, [false, true]);
    }
    "node.limits.entries" so_many_are_counted {
        let origin = Origin::start(|_| Reply::text("x"));
        let entries = [1024, 4096].map(|entries| {
            let limits = json!({ "policies": { "p": { "limit": 1, "window": "1s" } } });
            let aegis = Aegis::before(&origin).set("sites[0].limits", limits).set("node.limits.entries", entries).start();
            aegis.admin("/status")["node"]["limits"]["entries"].as_u64()
        });
        assert_eq!(entries, [Some(1024), Some(4096)]);
    }
    "node.plugins.threads" plugin_threads_are_threads {
        let [one, three] = each_of(super::plugins::with_passing, "node.plugins.threads", [json!(1), json!(3)], |aegis, _| threads(aegis));
        assert_eq!(three - one, 2);
    }
    "node.plugins.queue_max" a_job_too_many_fails {
        let with = |builder| super::plugins::with_busy(builder).set("node.plugins", json!({ "threads": 1, "wait_max": "60s" }));
        assert_eq!(each_of(with, "node.plugins.queue_max", [json!(1), json!(1000)], |aegis, _| fails(aegis)), [true, false]);
    }
    "node.plugins.wait_max" a_job_that_waits_too_long_fails {
        let with = |builder| super::plugins::with_busy(builder).set("node.plugins.threads", 1);
        assert_eq!(each_of(with, "node.plugins.wait_max", [json!("1ms"), json!("60s")], |aegis, _| fails(aegis)), [true, false]);
    }
    "node.plugins.requests_per_instance" then_a_fresh_copy_takes_over {
        let with = |builder: Builder| builder.set("sites[0].waf", json!({ "mode": "block" })).set("node.plugins.threads", 1);
        let ended = each_of(with, "node.plugins.requests_per_instance", [json!(2), json!(64)], |aegis, _| {
            for _ in 0..5 {
                let answer = aegis.curl("/").header("User-Agent: Mozilla/5.0").header("Accept: */*").send();
                assert_eq!(answer.status, 200);
            }
            aegis.metrics().sum("aegis_plugin_instances_ended_total", &["requests"])
        });
        assert!(ended[0] >= 2.0 && ended[1] < 1.0, "{ended:?}");
    }
    "node.bodies_held_max" more_bodies_than_that_are_refused {
        let with = |builder: Builder| builder.set("sites[0].waf", json!({ "mode": "block", "held_max": "1MiB" }));
        let statuses = each_of(with, "node.bodies_held_max", [json!("1MiB"), json!("64MiB")], |aegis, _| {
            let mut half = aegis.raw();
            half.send("POST /half HTTP/1.1\r\nHost: a\r\nUser-Agent: a\r\nAccept: */*\r\nContent-Length: 900000\r\n");
            half.send("Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n");
            half.send(vec![b'x'; 800_000]);
            eventually("half of a body is held", || (aegis.metrics().sum("aegis_bodies_held_bytes", &[]) > 700e3).then_some(()));
            let upload = aegis.curl("/upload").arg(&["-F", "file=@-;filename=a.bin"]).header("User-Agent: a");
            upload.stdin(vec![7; 600_000]).send().status
        });
        assert_eq!(statuses, [503, 200]);
    }
    "node.bodies_spooled_max" more_bodies_on_disk_than_that_are_refused {
        let waf = json!({ "mode": "block", "body_mode": "spool", "held_max": "4MiB" });
        let with = |builder: Builder| builder.set("sites[0].waf", waf.clone());
        let statuses = each_of(with, "node.bodies_spooled_max", [json!("4MiB"), json!("64MiB")], |aegis, _| {
            let mut part = aegis.raw();
            part.send("POST /part HTTP/1.1\r\nHost: a\r\nContent-Length: 3500000\r\n\r\n");
            part.send(vec![b'x'; 3_000_000]);
            eventually("a part of a body is on disk", || (aegis.metrics().sum("aegis_bodies_spooled_bytes", &[]) > 2e6).then_some(()));
            let upload = aegis.curl("/upload").arg(&["-F", "file=@-;filename=a.bin"]).header("User-Agent: a");
            upload.stdin(vec![7; 3_000_000]).send().status
        });
        assert_eq!(statuses, [503, 200]);
    }
    "node.shutdown.grace" requests_in_flight_have_that_long {
        let statuses = each("node.shutdown.grace", [json!("10ms"), json!("20s")], |aegis, origin| {
            let request = aegis.curl("/slow");
            let in_flight = thread::spawn(move || request.send().status);
            eventually("the origin was asked", || (origin.hits("/slow") == 1).then_some(()));
            aegis.process().signal(Signal::TERM);
            in_flight.join().unwrap() == 200
        });
        assert_eq!(statuses, [false, true]);
    }
}

/// What a client begins a handshake with: one record.
fn client_hello() -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let client = thread::spawn(move || Command::new("curl").args(["-sk", &url]).output());
    let (mut tcp, _) = listener.accept().unwrap();
    let mut record = vec![0; 5];
    tcp.read_exact(&mut record).unwrap();
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    tcp.read_exact(&mut record[5..]).unwrap();
    drop(tcp);
    client.join().unwrap().unwrap();
    record
}

/// Whether a body that comes at so many bytes a second ends before its time.
fn drips(aegis: &Aegis, rate: usize) -> bool {
    let mut client = aegis.raw();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    wait::try_within(Duration::from_secs(2), || {
        let sent = client.try_send(vec![b'x'; rate / 50]);
        (!sent || client.answers_or_closes_within(Duration::from_millis(20))).then_some(())
    })
    .is_some()
}

/// Whether any of many requests at once is refused.
fn fails(aegis: &Aegis) -> bool {
    let ask = |i: usize| {
        let curl = aegis.curl(&format!("/{i}"));
        thread::spawn(move || curl.send().status)
    };
    let threads: Vec<_> = (0..12).map(ask).collect();
    threads.into_iter().any(|t| t.join().unwrap() == 503)
}
