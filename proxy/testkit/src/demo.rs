//! The demo origin: a small shop with pages, images, a search form, a JSON API and an upload.
//!
//! | path | what | cache |
//! |---|---|---|
//! | `/`, `/about`, `/product/N` | pages; `/` takes [`FRONT_PAGE_TAKES`], as one made from a database would | 60 s |
//! | `/img/NAME.svg`, `/style.css` | images, style | a day |
//! | `/search?q=` | a search form and what it found | none |
//! | `/api/products`, `/api/products/N`, `POST /api/reviews` | JSON | none |
//! | `POST /upload` | answers size and SHA-256 of the body, and of each file in a multipart body | none |
//! | `/slow?ms=`, `/chunked`, `/trickle` | late, without a length, in drips | none |

mod pages;

use crate::origin::{Origin, Received};
use crate::reply::Reply;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::time::Duration;

/// How long the front page takes to make.
pub const FRONT_PAGE_TAKES: Duration = Duration::from_millis(60);

/// What the shop sells: name, price in cents, colour of its picture.
pub(crate) const PRODUCTS: [(&str, u32, &str); 4] = [
    ("Teapot", 2490, "#b5523b"),
    ("Lantern", 3900, "#c9a227"),
    ("Blanket", 5600, "#3b6ea5"),
    ("Bowl", 1250, "#4c8c5d"),
];

/// Serves the shop there until dropped.
#[must_use]
pub fn serve(address: SocketAddr) -> Origin {
    Origin::unrecorded(address, answer)
}

/// The shop's answer to a request.
#[must_use]
pub fn answer(request: &Received) -> Reply {
    let path = request.path();
    match (request.method.as_str(), path) {
        ("GET" | "HEAD", "/") => page(pages::front(), 60).after(FRONT_PAGE_TAKES),
        ("GET" | "HEAD", "/about") => page(pages::about(), 60),
        ("GET" | "HEAD", "/style.css") => {
            Reply::new("text/css", pages::STYLE).header("cache-control", "public, max-age=86400")
        }
        ("GET" | "HEAD", "/search") => page(pages::search(&query(&request.target, "q")), 0),
        ("GET" | "HEAD", "/api/products") => api(&json!(
            PRODUCTS
                .iter()
                .enumerate()
                .map(|(i, _)| product(i))
                .collect::<Vec<_>>()
        )),
        ("POST", "/api/reviews") => review(&request.body),
        ("POST" | "PUT", "/upload") => api(&json!({
            "size": request.body.len(),
            "sha256": sha256(&request.body),
            "files": files(&request.header("content-type"), &request.body),
        })),
        ("GET" | "HEAD", "/slow") => {
            let ms = query(&request.target, "ms")
                .parse::<u64>()
                .unwrap_or(1000)
                .min(60_000);
            Reply::text("slow\n").after(Duration::from_millis(ms))
        }
        ("GET", "/chunked") => {
            Reply::parts((0..10).map(|i| (Duration::ZERO, Bytes::from(format!("part {i}\n")))))
        }
        ("GET", "/trickle") => Reply::parts((0..5).map(|i| {
            (
                Duration::from_millis(200),
                Bytes::from(format!("drip {i}\n")),
            )
        })),
        ("GET" | "HEAD", _) => numbered(path),
        _ => Reply::status(405).header("allow", "GET, HEAD"),
    }
}

fn numbered(path: &str) -> Reply {
    let index = |text: &str| text.parse::<usize>().ok().filter(|i| *i < PRODUCTS.len());
    if let Some(i) = path.strip_prefix("/product/").and_then(index) {
        page(pages::product(i), 60)
    } else if let Some(i) = path.strip_prefix("/api/products/").and_then(index) {
        api(&product(i))
    } else if let Some(i) = path
        .strip_prefix("/img/")
        .and_then(|p| p.strip_suffix(".svg"))
        .and_then(index)
    {
        Reply::new("image/svg+xml", pages::picture(i))
            .header("cache-control", "public, max-age=86400")
    } else {
        Reply::status(404)
    }
}

fn page(html: String, seconds: u32) -> Reply {
    let reply = Reply::new("text/html; charset=utf-8", html);
    match seconds {
        0 => reply.header("cache-control", "no-store"),
        s => reply.header("cache-control", &format!("public, max-age={s}")),
    }
}

fn api(value: &Value) -> Reply {
    Reply::new("application/json", format!("{value}\n")).header("cache-control", "no-store")
}

fn product(i: usize) -> Value {
    let (name, cents, _) = PRODUCTS[i];
    json!({ "id": i, "name": name, "cents": cents, "picture": format!("/img/{i}.svg") })
}

fn review(body: &[u8]) -> Reply {
    match serde_json::from_slice::<Value>(body) {
        Ok(review) => {
            let mut reply = api(&json!({ "accepted": review }));
            reply.status = http::StatusCode::CREATED;
            reply
        }
        Err(_) => Reply::status(400),
    }
}

/// SHA-256 in hex, as `sha256sum` prints it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Size and hash of each part of a multipart body.
fn files(content_type: &str, body: &[u8]) -> Vec<Value> {
    let Some((_, boundary)) = content_type.split_once("boundary=") else {
        return Vec::new();
    };
    let boundary = format!(
        "\r\n--{}",
        boundary
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_matches('"')
    );
    // The first boundary has no line break before it.
    let body = [b"\r\n", body].concat();
    let mut starts: Vec<usize> = find_all(&body, boundary.as_bytes());
    let end = starts.pop();
    let ends = starts.iter().skip(1).copied().chain(end);
    let parts = starts.iter().zip(ends).filter_map(|(from, to)| {
        let part = body.get(from + boundary.len()..to)?;
        part.get(find_all(part, b"\r\n\r\n").first()? + 4..)
    });
    parts
        .map(|p| json!({ "size": p.len(), "sha256": sha256(p) }))
        .collect()
}

fn find_all(bytes: &[u8], part: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = bytes.get(at..).and_then(|rest| find(rest, part)) {
        found.push(at + next);
        at += next + part.len();
    }
    found
}

/// Looks at the first byte first: bodies have megabytes, and this also runs unoptimised.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let (first, rest) = part.split_first()?;
    let starts = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| *b == first)
        .map(|(i, _)| i);
    starts
        .filter_map(|i| Some((i, bytes.get(i + 1..i + part.len())?)))
        .find(|(_, tail)| *tail == rest)
        .map(|(i, _)| i)
}

/// A parameter of the query, `+` and `%xx` decoded; empty when absent.
fn query(target: &str, name: &str) -> String {
    let pairs = target.split_once('?').map_or("", |(_, q)| q).split('&');
    let value = pairs
        .filter_map(|p| p.split_once('='))
        .find(|(n, _)| *n == name);
    value.map_or_else(String::new, |(_, v)| decode(v))
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                if let (Some(high), Some(low)) = (hex(bytes.next()), hex(bytes.next())) {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{query, serve, sha256};
    use crate::{curl::Curl, ports};

    #[test]
    fn an_upload_is_answered_with_its_size_and_hash() {
        let shop = serve(ports::free_address());
        let bytes = vec![7; 100_000];
        let answer = Curl::get(format!("{}/upload", shop.url()))
            .body(bytes.clone())
            .send();
        assert_eq!(answer.json()["size"], 100_000);
        assert_eq!(answer.json()["sha256"], sha256(&bytes).as_str());
    }

    #[test]
    fn a_file_in_a_form_is_hashed_without_what_is_around_it() {
        let shop = serve(ports::free_address());
        let form = Curl::get(format!("{}/upload", shop.url())).arg(&[
            "-F",
            "a=1",
            "-F",
            "file=@-;filename=x",
        ]);
        let files = form.stdin(vec![b'\r'; 5_000]).send().json()["files"].clone();
        assert_eq!(files[1]["size"], 5_000);
        assert_eq!(files[1]["sha256"], sha256(&[b'\r'; 5_000]).as_str());
        assert!(files[2].is_null());
    }

    #[test]
    fn a_search_shows_what_was_asked_without_letting_it_in() {
        let shop = serve(ports::free_address());
        let answer = Curl::get(format!("{}/search?q=%3Cb%3Etea", shop.url())).send();
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("&lt;b&gt;tea"));
    }

    #[test]
    fn queries_are_decoded() {
        assert_eq!(query("/search?x=1&q=a+b%21", "q"), "a b!");
    }
}
