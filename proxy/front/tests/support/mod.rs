//! A door with an app that tells what it saw, certificates, and clients with deadlines.
#![allow(dead_code, reason = "each test file uses its part")]

use aegis_certs::{CertStore, Certificates, Times};
use aegis_front::{BindError, Door, DoorConfig, Drained, Listeners};
use aegis_identity::{Connection, Refuse, Reject};
use aegis_settings::model::{Certificate, Listener, ListenerTls, ProxyProtocol, Secret, TlsPreset};
use aegis_testkit::h2::{H2, LOOK};
use async_trait::async_trait;
use boring::asn1::Asn1Time;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::rsa::Rsa;
use boring::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslStream, SslVerifyMode};
use boring::x509::extension::SubjectAlternativeName;
use boring::x509::{X509, X509NameBuilder};
use bytes::Bytes;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use tokio::sync::watch;

/// Nothing here takes longer, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Answers each request with the facts of its connection; `/hold` only once it is let go.
pub(crate) struct App {
    pub(crate) held: AtomicUsize,
    trusts: AtomicBool,
    /// Connections that ended without an answer.
    pub(crate) cuts: Mutex<Vec<(SocketAddr, &'static str)>>,
    go: watch::Sender<bool>,
    cleaned: watch::Sender<bool>,
}

impl App {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            trusts: AtomicBool::new(false),
            cuts: Mutex::default(),
            go: watch::Sender::new(false),
            cleaned: watch::Sender::new(false),
        })
    }

    async fn answer(&self, session: &mut ServerSession) -> pingora_core::Result<()> {
        let connection = session
            .as_http2()
            .map_or_else(
                || {
                    session
                        .as_http1()
                        .and_then(|http1| http1.digest().proxy_digest.clone())
                },
                |http2| {
                    http2
                        .digest()
                        .and_then(|digest| digest.proxy_digest.clone())
                },
            )
            .expect("the door gives a digest");
        let connection = connection
            .user_data
            .as_ref()
            .and_then(|data| data.downcast_ref::<Arc<Connection>>())
            .expect("and in it the connection");
        let client = if connection.is_told() {
            format!(" client={}", connection.client)
        } else {
            String::new()
        };
        let body = match &connection.tls {
            None => format!("plain peer={}{client}\n", connection.peer),
            Some(tls) => format!(
                "{} {} sni={} alpn={} group={} peer={}{client}\n",
                tls.version,
                tls.cipher,
                tls.sni.as_deref().unwrap_or("-"),
                tls.alpn.map_or("-", |alpn| alpn.as_str()),
                tls.group.unwrap_or("-"),
                connection.peer
            ),
        };
        let body = match session.req_header().uri.path() {
            "/large" => "x".repeat(32 << 20),
            // As much as the window of a connection at its start.
            "/window" => "x".repeat(65_535),
            "/body" => {
                let mut length = 0;
                while let Some(part) = session.read_request_body().await? {
                    length += part.len();
                }
                format!("{length} bytes\n")
            }
            "/events" => return self.events(session).await,
            _ => body,
        };
        if session.req_header().uri.path() == "/hold" {
            self.held.fetch_add(1, Ordering::SeqCst);
            let mut go = self.go.subscribe();
            drop(go.wait_for(|go| *go).await);
        }
        let mut head = ResponseHeader::build(200, None)?;
        head.insert_header("content-length", body.len())?;
        session.write_response_header(Box::new(head)).await?;
        session.write_response_body(Bytes::from(body), true).await
    }

    /// One event now, one when it is let go.
    async fn events(&self, session: &mut ServerSession) -> pingora_core::Result<()> {
        let mut head = ResponseHeader::build(200, None)?;
        head.insert_header("content-length", 6)?;
        session.write_response_header(Box::new(head)).await?;
        let event = Bytes::from_static(b"one");
        session.write_response_body(event, false).await?;
        self.held.fetch_add(1, Ordering::SeqCst);
        let mut go = self.go.subscribe();
        drop(go.wait_for(|go| *go).await);
        let event = Bytes::from_static(b"two");
        session.write_response_body(event, true).await
    }
}

#[async_trait]
impl HttpServerApp for App {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        stop: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let mut cleaned = self.cleaned.subscribe();
        tokio::select! {
            biased;
            read = session.read_request() => {
                if !matches!(read, Ok(true)) {
                    return None;
                }
            }
            _ = cleaned.wait_for(|cleaned| *cleaned) => return None,
        }
        if *stop.borrow() {
            session.set_keepalive(None);
        }
        self.answer(&mut session).await.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }

    async fn http_cleanup(&self) {
        self.cleaned.send_replace(true);
    }
}

impl Refuse for App {
    fn trusts(&self, _peer: IpAddr) -> bool {
        self.trusts.load(Ordering::SeqCst)
    }

    fn refuse(&self, _connection: &Connection, head: &[u8], why: Reject) -> Vec<u8> {
        let body = format!("{why} {}", head.len());
        format!(
            "HTTP/1.1 {} No\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            why.status(),
            body.len()
        )
        .into_bytes()
    }

    fn admits(&self, connection: &Connection) -> bool {
        connection.sni() != Some("full")
    }

    fn cut(&self, connection: &Connection, why: &'static str) {
        let line = (connection.peer, why);
        self.cuts.lock().expect("no panic").push(line);
    }
}

/// A running door.
pub(crate) struct Running {
    pub(crate) app: Arc<App>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) listeners: Listeners,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Drained>>,
}

pub(crate) fn config() -> DoorConfig {
    DoorConfig {
        hello_timeout: DEADLINE,
        handshake_timeout: DEADLINE,
        idle_timeout: DEADLINE,
        head_timeout: DEADLINE,
        body_timeout: DEADLINE,
        read_timeout: DEADLINE,
        receive_rate_min: 0,
        write_timeout: DEADLINE,
        send_rate_min: 0,
        connection_age_max: 100 * DEADLINE,
        connections_max: 1000,
        connections_per_address: 1000,
        grace: DEADLINE,
    }
}

pub(crate) fn plain() -> Listener {
    Listener {
        address: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        proxy_protocol: ProxyProtocol::Off,
        reuse_port: false,
    }
}

pub(crate) fn tls(preset: TlsPreset, http2: bool) -> Listener {
    Listener {
        address: "127.0.0.1:0".parse().unwrap(),
        tls: Some(ListenerTls { preset, http2 }),
        reuse_port: false,
        proxy_protocol: ProxyProtocol::Off,
    }
}

pub(crate) fn start(config: DoorConfig, listeners: &[Listener], store: CertStore) -> Running {
    try_start(config, listeners, store).unwrap()
}

pub(crate) fn try_start(
    config: DoorConfig,
    listeners: &[Listener],
    store: CertStore,
) -> Result<Running, BindError> {
    let certificates = Arc::new(Certificates::new(store));
    let bound = Door::new(config, Arc::clone(&certificates)).bind(listeners)?;
    let (addresses, listeners) = (bound.addresses(), bound.listeners());
    let app = App::new();
    let (stop, stopped) = watch::channel(false);
    let thread = std::thread::spawn({
        let app = Arc::clone(&app);
        move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(bound.run(app, stopped)).unwrap()
        }
    });
    Ok(Running {
        app,
        addresses,
        certificates,
        listeners,
        stop,
        thread: Some(thread),
    })
}

impl Running {
    /// The reasons of all connections that ended without an answer so far.
    pub(crate) fn told(&self) -> Vec<&'static str> {
        let cuts = self.app.cuts.lock().expect("no panic");
        cuts.iter().map(|(_, why)| *why).collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Whether everybody's word is believed, or nobody's.
    pub(crate) fn trust(&self, everybody: bool) {
        self.app.trusts.store(everybody, Ordering::SeqCst);
    }

    /// Lets held requests go.
    pub(crate) fn go(&self) {
        self.app.go.send_replace(true);
    }

    pub(crate) fn say_stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn drained(mut self) -> Drained {
        self.say_stop();
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.say_stop();
        self.go();
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    tcp.set_write_timeout(Some(DEADLINE)).unwrap();
    tcp
}

/// Whether the other side closes without a byte: the end, or a reset.
pub(crate) fn is_closed(tcp: &mut impl Read) -> bool {
    let mut byte = [0];
    match tcp.read(&mut byte) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Sends a request without a body and reads the answer's body.
pub(crate) fn get(stream: &mut (impl Read + Write), path: &str) -> String {
    send(stream, path);
    receive(stream)
}

pub(crate) fn send(stream: &mut impl Write, path: &str) {
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .unwrap();
}

pub(crate) fn receive(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the answer is cut");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

pub(crate) fn until(what: &str, mut held: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !held() {
        assert!(begin.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Value of a metric's line, 0 if there is none.
pub(crate) fn metric(line: &str) -> u64 {
    let text = aegis_telemetry::metrics::render();
    text.lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
        .unwrap_or(0)
}

/// Connections cut for this reason.
pub(crate) fn cut(reason: &str) -> u64 {
    metric(&format!(
        "aegis_connections_cut_total{{reason=\"{reason}\"}}"
    ))
}

/// Requests refused for this reason.
pub(crate) fn requests_refused(reason: &str) -> u64 {
    metric(&format!(
        "aegis_requests_refused_total{{reason=\"{reason}\"}}"
    ))
}

pub(crate) fn refused(reason: &str) -> u64 {
    metric(&format!(
        "aegis_connections_refused_total{{reason=\"{reason}\"}}"
    ))
}

/// A client that believes every certificate.
pub(crate) fn client() -> SslConnectorBuilder {
    let mut builder = SslConnector::builder(SslMethod::tls()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder
}

pub(crate) fn shake(
    client: SslConnectorBuilder,
    name: &str,
    address: SocketAddr,
) -> Option<SslStream<TcpStream>> {
    let mut configured = client.build().configure().unwrap();
    configured.set_verify_hostname(false);
    configured.connect(name, connect(address)).ok()
}

/// A client of HTTP/2, with this initial window.
pub(crate) fn h2(address: SocketAddr, window: Option<u32>) -> H2<SslStream<TcpStream>> {
    let mut builder = client();
    builder.set_alpn_protos(b"\x02h2").unwrap();
    let mut stream = shake(builder, "a", address).unwrap();
    stream.get_mut().set_read_timeout(Some(LOOK)).unwrap();
    H2::over(stream, "a", window)
}

/// First alternative name of the certificate that a server showed.
pub(crate) fn shown(stream: &SslStream<TcpStream>) -> String {
    let certificate = stream.ssl().peer_certificate().unwrap();
    let names = certificate.subject_alt_names().unwrap();
    names.iter().next().unwrap().dnsname().unwrap().to_owned()
}

pub(crate) fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn rsa_key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

/// Certificates of these names, the first the default.
pub(crate) fn store(certificates: &[(&str, PKey<Private>)]) -> CertStore {
    let folder = TempDir::new().unwrap();
    let written: Vec<_> = certificates
        .iter()
        .enumerate()
        .map(|(index, (name, key))| write(folder.path(), index, name, key))
        .collect();
    let (store, problems) =
        CertStore::from_certificates(&written, SystemTime::now(), Times::Refuse).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    store
}

fn write(folder: &Path, index: usize, name: &str, key: &PKey<Private>) -> Certificate {
    use std::os::unix::fs::PermissionsExt;
    let cert = folder.join(format!("{index}.crt"));
    let key_path = folder.join(format!("{index}.key"));
    std::fs::write(&cert, certificate(name, key).to_pem().unwrap()).unwrap();
    std::fs::write(&key_path, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    std::fs::set_permissions(&key_path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Certificate {
        cert,
        key: Secret::File(key_path),
    }
}

fn certificate(name: &str, key: &PKey<Private>) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(90).unwrap())
        .unwrap();
    let names = SubjectAlternativeName::new()
        .dns(name)
        .build(&builder.x509v3_context(None, None))
        .unwrap();
    builder.append_extension(&names).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}
