//! Requests shown to an instance before its snapshot is taken, so that what is made at first use is in it.

use crate::guest::{Guest, StartFault};
use crate::spec::{Properties, RequestHead, ResponseHead};
use crate::stream::{Step, Stream};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

/// A kind of body and one of it; the first is none.
const KINDS: [(&str, &str); 6] = [
    ("", ""),
    (
        "application/x-www-form-urlencoded",
        "name=Ada+Lovelace&street=12+St+James+Square&note=please+ring+twice&count=2",
    ),
    (
        "application/json",
        r#"{"id":42,"items":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"note":"please ring twice"}"#,
    ),
    (
        "multipart/form-data; boundary=boundary",
        "--boundary\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nAn order\r\n\
         --boundary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"note.txt\"\r\n\
         Content-Type: text/plain\r\n\r\nplease ring twice\r\n--boundary--\r\n",
    ),
    (
        "application/xml",
        "<?xml version=\"1.0\"?><order><item sku=\"A-1\">2</item></order>",
    ),
    ("text/plain", "please ring twice"),
];

/// One request of each kind, with a response.
pub(super) fn everything(
    guest: &mut Guest,
    properties: &Arc<Properties>,
) -> Result<(), StartFault> {
    KINDS
        .iter()
        .try_for_each(|(kind, body)| one(guest, properties, kind, body))
}

/// The most usual one again.
pub(super) fn once_more(guest: &mut Guest, properties: &Arc<Properties>) -> Result<(), StartFault> {
    one(guest, properties, "", "")
}

fn one(
    guest: &mut Guest,
    properties: &Arc<Properties>,
    kind: &'static str,
    body: &'static str,
) -> Result<(), StartFault> {
    let failed = |fault: crate::guest::Fault| {
        let what = format!(
            "a plain request ({}) broke it: {}",
            fault.kind, fault.detail
        );
        StartFault::new("warm-up", what)
    };
    guest.begin(crate::limits::CONFIGURE_MAX);
    let mut steps = VecDeque::new();
    steps.push_back(Step::RequestHeaders {
        end: body.is_empty(),
    });
    if !body.is_empty() {
        steps.push_back(Step::RequestBody {
            chunks: vec![Bytes::from_static(body.as_bytes())],
            end: true,
        });
    }
    let stream = Stream::new(Arc::new(head(kind, body)), properties.clone(), steps);
    let id = guest.open(stream).map_err(|(_, fault)| failed(fault))?;
    guest.advance(id).map_err(failed)?;
    // Whatever it thinks of the request: rules of one's own may refuse anything.
    let text = |name: &'static str| Bytes::from_static(name.as_bytes());
    if let Some(stream) = guest.stream(id) {
        stream.steps.push_back(Step::ResponseHeaders(ResponseHead {
            status: 200,
            headers: vec![
                (text("Content-Type"), text("text/html; charset=utf-8")),
                (text("Server"), text("origin")),
            ],
            end: false,
        }));
        stream.steps.push_back(Step::ResponseBody {
            chunks: vec![text(
                "<!doctype html><title>Orders</title><p>Thank you.</p>",
            )],
            end: true,
        });
    }
    guest.advance(id).map_err(failed)?;
    guest.finish(id).map_err(failed)?;
    Ok(())
}

fn head(kind: &'static str, body: &'static str) -> RequestHead {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut headers = vec![
        (bytes("Host"), bytes("localhost")),
        (
            bytes("User-Agent"),
            bytes("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ),
        (
            bytes("Accept"),
            bytes("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ),
        (bytes("Accept-Language"), bytes("en-GB,en;q=0.9")),
        (bytes("Accept-Encoding"), bytes("gzip, deflate, br")),
        (bytes("Referer"), bytes("https://localhost/products")),
        (bytes("Cookie"), bytes("theme=dark; language=en")),
    ];
    if !kind.is_empty() {
        headers.push((bytes("Content-Type"), bytes(kind)));
        headers.push((bytes("Content-Length"), Bytes::from(body.len().to_string())));
    }
    RequestHead {
        method: bytes(if kind.is_empty() { "GET" } else { "POST" }),
        target: bytes("/orders?page=2&sort=price&dir=asc"),
        scheme: bytes("https"),
        authority: bytes("localhost"),
        version: bytes("HTTP/1.1"),
        headers,
        source: local,
        destination: local,
        request_id: bytes("00000000000000000000000000"),
        received: SystemTime::now(),
        tls_version: None,
        sni: None,
        ja4: None,
        client_cert: None,
    }
}
