//! What the guard adds to reading a request: `RESULT door guard_us_per_request <value> us`.
//!
//! The same bytes are copied into the reader's buffer as a socket would, once as they are and once judged. Rounds of both
//! are interleaved on one thread; the difference of the medians is reported, and both beside it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the output is what it is for")]

use aegis_front::guard::{Machine, Step};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 101;
const REQUESTS: usize = 20_000;

/// As a browser sends it: twelve fields.
const GET: &[u8] = b"GET /assets/app.8f3b1c.js?v=20240611&lang=en HTTP/1.1\r\n\
Host: shop.example.com\r\n\
Connection: keep-alive\r\n\
sec-ch-ua: \"Chromium\";v=\"126\", \"Not;A=Brand\";v=\"24\", \"Google Chrome\";v=\"126\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\n\
Referer: https://shop.example.com/catalogue/shoes?page=2\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: session=5f0c6a1e9b7d4c2e8a3f; theme=dark; _ga=GA1.2.1234567890.1718000000\r\n\
\r\n";

/// Chunks of 16 KiB, as an upload comes.
fn upload() -> Vec<u8> {
    let mut bytes = b"POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..64 {
        bytes.extend_from_slice(b"4000\r\n");
        bytes.extend(std::iter::repeat_n(b'x', 0x4000));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Microseconds for each of `times` reads of `bytes`.
fn read(bytes: &[u8], buffer: &mut Vec<u8>, times: usize, guard: bool) -> f64 {
    let mut machine = Machine::default();
    let begin = Instant::now();
    for _ in 0..times {
        for part in black_box(bytes).chunks(65_536) {
            buffer.clear();
            buffer.extend_from_slice(part);
            if guard {
                let mut good = 0;
                while let Ok(Step::Pass { len, .. }) =
                    machine.step(buffer.get(good..).unwrap_or_default())
                {
                    good += len;
                    if good >= buffer.len() {
                        break;
                    }
                }
                assert_eq!(good, buffer.len(), "all of it is good");
            }
            black_box(&buffer);
        }
    }
    begin.elapsed().as_secs_f64() * 1e6 / times as f64
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure(metric: &str, bytes: &[u8], times: usize) {
    let mut buffer = Vec::with_capacity(65_536);
    let (with, without): (Vec<f64>, Vec<f64>) = (0..ROUNDS)
        .map(|_| {
            let without = read(bytes, &mut buffer, times, false);
            (read(bytes, &mut buffer, times, true), without)
        })
        .unzip();
    let (with, without) = (median(with), median(without));
    println!(
        "RESULT door {metric} {:.3} us ({with:.3} with, {without:.3} without, {} bytes)",
        with - without,
        bytes.len()
    );
}

fn main() {
    measure("guard_us_per_request", GET, REQUESTS);
    measure("guard_us_per_chunked_mib", &upload(), 20);
}
