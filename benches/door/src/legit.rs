//! Honest clients: requests at a steady rate, on connections that stay and on new ones, with TLS and without.

use crate::h2::Client;
use crate::tls;
use anyhow::{Result, bail};
use boring::ssl::{SslConnector, SslStream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Requests a second of each kind of client; together some percent of one core.
const RATE: u32 = 20;

/// One way to ask.
type Ask = fn(SocketAddr, &mut State) -> Result<()>;

/// Plain ones first.
const KINDS: [(&str, Ask); 4] = [
    ("kept", kept),
    ("new", new),
    ("kept_h2", kept_h2),
    ("new_tls", new_tls),
];

/// A request that was made.
pub(crate) struct Asked {
    pub(crate) kind: &'static str,
    /// Milliseconds from when it was due, so that whoever waits behind a slow one waits in the figures too.
    pub(crate) answered: Result<f64>,
}

/// Asks for `seconds`.
pub(crate) fn run(plain: SocketAddr, encrypted: SocketAddr, seconds: u64) -> Vec<Asked> {
    let clients = KINDS.into_iter().enumerate().map(|(n, (kind, ask))| {
        let to = if n < 2 { plain } else { encrypted };
        // So that they do not ask all at once.
        let phase = Duration::from_secs(1) / RATE * u32::try_from(n).unwrap_or(0) / 4;
        thread::spawn(move || {
            let answers = client(ask, to, phase, seconds).into_iter();
            let asked = answers.map(|answered| Asked { kind, answered });
            asked.collect::<Vec<_>>()
        })
    });
    let clients: Vec<_> = clients.collect();
    let times = clients.into_iter().filter_map(|client| client.join().ok());
    times.flatten().collect()
}

/// What a client keeps between its requests.
#[derive(Default)]
struct State {
    plain: Option<TcpStream>,
    h2: Option<Client<SslStream<TcpStream>>>,
    connector: Option<SslConnector>,
}

impl State {
    fn connect(&mut self, to: SocketAddr, h2: bool) -> Result<SslStream<TcpStream>> {
        let connector = match self.connector.take() {
            Some(connector) => connector,
            None => tls::connector(h2)?,
        };
        tls::connect(self.connector.insert(connector), to)
    }
}

fn client(ask: Ask, to: SocketAddr, phase: Duration, seconds: u64) -> Vec<Result<f64>> {
    let begin = Instant::now() + phase;
    let count = u32::try_from(seconds).unwrap_or(1) * RATE;
    let mut state = State::default();
    let times = (0..count).map(|n| {
        let due = begin + Duration::from_secs(1) / RATE * n;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        ask(to, &mut state).map(|()| due.elapsed().as_secs_f64() * 1e3)
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
    let mut client = match state.h2.take() {
        Some(client) => client,
        None => Client::new(state.connect(to, true)?)?,
    };
    client.get("localhost", "/c/x")?;
    state.h2 = Some(client);
    Ok(())
}

fn new_tls(to: SocketAddr, state: &mut State) -> Result<()> {
    get(&mut state.connect(to, false)?)
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
