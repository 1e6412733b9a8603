//! Honest clients: requests at a steady rate, on connections that stay and on new ones, with TLS and without.

use crate::{h2, tls};
use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Requests a second of each kind of client; together some percent of one core.
const RATE: u32 = 20;

/// Asks for `seconds` and gives the milliseconds of each request; `None`: it failed. A request is timed from when it was
/// due, so that whoever waits behind a slow one waits in the figures too.
pub(crate) fn run(plain: SocketAddr, encrypted: SocketAddr, seconds: u64) -> Vec<Option<f64>> {
    let kinds: [fn(SocketAddr, &mut State) -> Result<()>; 4] = [kept, new, kept_h2, new_tls];
    let clients = kinds.into_iter().enumerate().map(|(n, ask)| {
        let to = if n < 2 { plain } else { encrypted };
        // So that they do not ask all at once.
        let phase = Duration::from_secs(1) / RATE * u32::try_from(n).unwrap_or(0) / 4;
        thread::spawn(move || client(ask, to, phase, seconds))
    });
    let clients: Vec<_> = clients.collect();
    let times = clients.into_iter().filter_map(|client| client.join().ok());
    times.flatten().collect()
}

/// What a client keeps between its requests.
#[derive(Default)]
struct State {
    plain: Option<TcpStream>,
    h2: Option<(boring::ssl::SslStream<TcpStream>, u32)>,
}

fn client(
    ask: fn(SocketAddr, &mut State) -> Result<()>,
    to: SocketAddr,
    phase: Duration,
    seconds: u64,
) -> Vec<Option<f64>> {
    let begin = Instant::now() + phase;
    let count = u32::try_from(seconds).unwrap_or(1) * RATE;
    let mut state = State::default();
    let times = (0..count).map(|n| {
        let due = begin + Duration::from_secs(1) / RATE * n;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let answered = ask(to, &mut state);
        let time = due.elapsed().as_secs_f64() * 1e3;
        if answered.is_err() {
            state = State::default();
        }
        answered.ok().map(|()| time)
    });
    times.collect()
}

fn kept(to: SocketAddr, state: &mut State) -> Result<()> {
    let mut tcp = match state.plain.take() {
        Some(tcp) => tcp,
        None => tls::tcp(to)?,
    };
    get(&mut tcp)?;
    state.plain = Some(tcp);
    Ok(())
}

fn new(to: SocketAddr, _: &mut State) -> Result<()> {
    get(&mut tls::tcp(to)?)
}

fn kept_h2(to: SocketAddr, state: &mut State) -> Result<()> {
    let (mut stream, number) = match state.h2.take() {
        Some(kept) => kept,
        None => {
            let mut stream = tls::connect(&tls::connector(true)?, to)?;
            stream.write_all(&h2::opening(None))?;
            (stream, 1)
        }
    };
    h2::get(&mut stream, number, "localhost", "/c/x")?;
    state.h2 = Some((stream, number + 2));
    Ok(())
}

fn new_tls(to: SocketAddr, _: &mut State) -> Result<()> {
    get(&mut tls::connect(&tls::connector(false)?, to)?)
}

/// Asks over HTTP/1.1 and reads all of the answer.
pub(crate) fn get(io: &mut (impl Read + Write)) -> Result<()> {
    io.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut came = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = io.read(&mut part)?;
        if read == 0 {
            bail!("closed");
        }
        came.extend_from_slice(part.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&came).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        if !head.starts_with("http/1.1 200") {
            bail!("{}", head.lines().next().unwrap_or_default());
        }
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|l| l.lines().next()?.trim().parse().ok());
        if length.is_none_or(|length: usize| body.len() >= length) {
            return Ok(());
        }
    }
}
