//! What a request pays for its log line and its counters: no allocation, once the buffers have grown.
#![expect(
    unsafe_code,
    reason = "a counting allocator is the only witness of an allocation"
)]

use aegis_telemetry::access::{AccessLog, Format, Record, Target};
use aegis_telemetry::metrics::{CacheResult, WafVerdict, pool, site};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, SystemTime};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's duties are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's duties are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn record(agent: &[u8]) -> Record<'_> {
    Record {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_042),
        request_id: "01JD8Z3V6Q0000000000000000",
        peer: None,
        client: "2001:db8::7",
        method: b"GET",
        scheme: "https",
        host: b"shop.example.com",
        target: b"/a?q=1",
        version: "HTTP/2",
        status: 200,
        bytes_sent: 1234,
        bytes_received: 0,
        duration: Duration::from_micros(12_345),
        origin: Some("10.0.0.5:8080"),
        origin_time: Some(Duration::from_micros(900)),
        cache: "miss",
        site: "shop.example.com",
        route: "sites[0]",
        user_agent: Some(agent),
        referer: Some(b"https://shop.example.com/"),
        tls_version: Some("TLSv1.3"),
        client_cert: None,
        ja4: None,
        waf: Some("clean"),
        error: None,
        limit: None,
        would_limit: None,
        kind: "request",
    }
}

#[test]
fn a_request_is_logged_and_counted_without_an_allocation() {
    let dir = tempfile::tempdir().expect("a directory");
    let site = site("shop.example.com");
    let pool = pool("api");
    for format in [Format::Json, Format::Combined] {
        let log = AccessLog::open(format, Target::File(dir.path().join("log"))).expect("opens");
        let hostile = record(b"caf\xc3\xa9 \xff\"\n");
        let request = || {
            log.log(&record(b"curl/8"));
            log.log(&hostile);
            site.request(200, Duration::from_millis(3));
            site.waf(WafVerdict::Clean);
            pool.ok();
            CacheResult::Miss.count();
        };
        // Both buffers of the queue grow to more than what is measured needs.
        for _ in 0..2 {
            (0..1000).for_each(|_| request());
            assert!(log.flush(Duration::from_secs(60)));
        }
        // A thread that has to wait for the queue's lock makes its place in the parking lot once: several tries.
        let spent = (0..5).map(|_| {
            let before = COUNT.get();
            (0..100).for_each(|_| request());
            COUNT.get() - before
        });
        assert_eq!(spent.min(), Some(0), "{format:?}");
    }
}
