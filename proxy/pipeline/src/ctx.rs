//! What a request carries from its first stage to its log line.

use crate::answer::Answer;
use crate::cache::CacheCtx;
use crate::fault::Fault;
use crate::hearsay::Hearsay;
use crate::inspect::Inspection;
use crate::lent::Owner;
use crate::limits::stage::Asked;
use crate::live::Live;
use crate::snapshot::{Place, Routed, Snapshot};
use crate::spans::{self, Given, Times};
use aegis_identity::{AddressText, ClientCertificate, Connection, Place as Counted, RequestId};
use aegis_origin::{Endpoint, Pool};
use aegis_telemetry::metrics::WafVerdict;
use aegis_verdicts::FaultKind;
use http::Version;
use pingora_error::Error;
use pingora_proxy::Session;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// One request.
#[derive(Debug)]
pub struct Ctx {
    pub(crate) id: RequestId,
    pub(crate) time: SystemTime,
    pub(crate) started: Instant,
    pub(crate) version: Version,
    connection: Option<Arc<Connection>>,
    /// What trusted proxies told of it.
    hearsay: Option<Box<Hearsay>>,
    /// When its stages began and ended, if its trace is recorded.
    pub(crate) times: Option<Box<Times>>,
    /// The cache asks for itself, for whoever asked before.
    pub(crate) is_subrequest: bool,
    /// The one configuration this request is served by; `None` while the node starts.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) place: Option<Place>,
    /// What the limits of its route said.
    pub(crate) limits: Asked,
    /// Why it got a page.
    pub(crate) fault: Option<Fault>,
    /// A second sentence for that page.
    pub(crate) more: Option<Arc<String>>,
    /// A module's answer, on its way through an error of Pingora.
    pub(crate) answer: Option<Answer>,
    /// What plugins have to do with it.
    pub(crate) inspection: Option<Box<Inspection>>,
    /// The gravest thing the WAF said.
    pub(crate) waf: Option<WafVerdict>,
    /// What its client did wrong, as a plugin says.
    pub(crate) offence: Option<FaultKind>,
    /// A module has said why it stopped the request.
    pub(crate) explained: bool,
    /// The plugin without a verdict that ended the request, and its kind of fault.
    pub(crate) no_verdict: Option<Box<(String, &'static str)>>,
    pub(crate) origin: OriginCtx,
    pub(crate) cache: CacheCtx,
    /// Whose session it is while that is lent to one with a body of ours.
    pub(crate) owner: Option<Owner>,
}

/// How the origin was asked.
#[derive(Debug, Default)]
pub(crate) struct OriginCtx {
    /// The server of the present try.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    /// Addresses of tries that failed.
    pub(crate) tried: Vec<SocketAddr>,
    /// Tries that count against `retries`.
    pub(crate) retries: u32,
    /// A reused connection was found closed once already.
    pub(crate) stale_connection: bool,
    pub(crate) asked: Option<Instant>,
    /// Its place among the connections to origins.
    pub(crate) place: Option<Counted>,
    /// Time to the response head.
    pub(crate) head_after: Option<Duration>,
}

impl Ctx {
    pub(crate) fn new() -> Self {
        Self {
            id: RequestId::generate(),
            time: SystemTime::now(),
            started: Instant::now(),
            version: Version::HTTP_11,
            connection: None,
            hearsay: None,
            times: None,
            is_subrequest: false,
            snapshot: None,
            place: None,
            limits: Asked::default(),
            fault: None,
            more: None,
            answer: None,
            inspection: None,
            waf: None,
            offence: None,
            explained: false,
            no_verdict: None,
            origin: OriginCtx::default(),
            cache: CacheCtx::default(),
            owner: None,
        }
    }

    /// Takes what is known before the first stage.
    pub(crate) fn begin(&mut self, session: &Session, live: &Live) {
        self.version = session.req_header().version;
        self.connection = connection(session);
        self.is_subrequest = session.is_subrequest();
        self.snapshot = live.snapshot();
        let starting;
        let node = match &self.snapshot {
            Some(snapshot) => &snapshot.node,
            None => {
                starting = live.node();
                &**starting
            }
        };
        let headers = &session.req_header().headers;
        let connection = self.connection.as_deref();
        let hearsay = connection.and_then(|from| Hearsay::of(&node.hops, from, headers));
        if let Some(tracer) = node.tracer.as_ref().filter(|_| !self.is_subrequest) {
            let given = hearsay.as_ref().and_then(|hearsay| hearsay.trace.as_ref());
            self.times = spans::wanted(tracer, given, &self.id);
        }
        self.hearsay = hearsay;
    }

    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_deref()
    }

    /// The client: whom trusted proxies name, else the other end of the connection. Whoever wants to know who asks, asks
    /// here. The port is 0 where it is not known.
    pub(crate) fn client(&self) -> SocketAddr {
        match (&self.hearsay, self.connection()) {
            (Some(hearsay), _) => hearsay.told.client,
            (None, Some(connection)) => connection.client,
            (None, None) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        }
    }

    pub(crate) fn client_text(&self) -> &str {
        match (&self.hearsay, self.connection()) {
            (Some(hearsay), _) => hearsay.client_text.as_str(),
            (None, Some(connection)) => connection.client_text(),
            (None, None) => "0.0.0.0",
        }
    }

    /// Whether the client's address is what somebody told, by a field or by the PROXY protocol, and not the other end of
    /// the socket: nothing below HTTP ever sees a packet of it.
    pub(crate) fn is_forwarded(&self) -> bool {
        let named = self
            .hearsay
            .as_ref()
            .is_some_and(|hearsay| hearsay.told.named);
        named || self.connection().is_some_and(Connection::is_told)
    }

    /// The other end of the socket, where that is not the client.
    pub(crate) fn proxy_text(&self) -> Option<AddressText> {
        let connection = self.connection().filter(|_| self.is_forwarded())?;
        Some(AddressText::new(connection.peer.ip()))
    }

    /// The client and the trusted proxies after it, for `X-Forwarded-For`.
    pub(crate) fn chain(&self) -> &str {
        match &self.hearsay {
            Some(hearsay) => &hearsay.told.chain,
            None => self.client_text(),
        }
    }

    /// `https` or `http`, as the client spoke to the first of us.
    pub(crate) fn scheme(&self) -> &'static str {
        let told = self
            .hearsay
            .as_ref()
            .and_then(|hearsay| hearsay.told.scheme);
        told.unwrap_or_else(|| self.connection().map_or("http", Connection::scheme))
    }

    /// The host the client asked the first proxy for, if that told.
    pub(crate) fn forwarded_host(&self) -> Option<&str> {
        self.hearsay.as_ref()?.told.host.as_deref()
    }

    /// The id this request is known by: a trusted proxy's, else ours.
    pub(crate) fn request_id(&self) -> &str {
        let given = self
            .hearsay
            .as_ref()
            .and_then(|hearsay| hearsay.request_id.as_deref());
        given.unwrap_or_else(|| self.id.as_str())
    }

    /// The trace that a trusted proxy began.
    pub(crate) fn given_trace(&self) -> Option<&Given> {
        self.hearsay.as_ref()?.trace.as_ref()
    }

    /// The certificate the client showed, if the site of this request asks for one.
    pub(crate) fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.routed()?.site_plan.gate.certificate(self)
    }

    /// Remembers what the WAF said, if it is graver than what it said before.
    pub(crate) fn note_waf(&mut self, verdict: WafVerdict) {
        let gravity = |verdict| match verdict {
            WafVerdict::Clean => 0,
            WafVerdict::Detect => 1,
            WafVerdict::Fault => 2,
            WafVerdict::Limit => 3,
            WafVerdict::Block => 4,
        };
        if self
            .waf
            .is_none_or(|before| gravity(before) < gravity(verdict))
        {
            self.waf = Some(verdict);
        }
    }

    /// An answer that has to leave through an error of Pingora.
    pub(crate) fn stop(&mut self, answer: Answer) -> Box<Error> {
        match answer {
            Answer::Page(fault) => fault.into_error(),
            answer => {
                self.answer = Some(answer);
                Fault::Blocked(403).into_error()
            }
        }
    }

    /// Site, route and what was worked out for them.
    pub(crate) fn routed(&self) -> Option<Routed<'_>> {
        self.snapshot.as_ref()?.routed(self.place?)
    }

    pub(crate) fn pool(&self) -> Option<Arc<Pool>> {
        self.routed()?.entry.pool.clone()
    }

    pub(crate) fn closes_origin_connection(&self) -> bool {
        let pool = self.routed().and_then(|routed| routed.entry.pool.as_ref());
        pool.is_some_and(|pool| pool.settings().keepalive.is_zero())
    }
}

/// The facts `front` attached to the connection; without `front`, what the socket says.
fn connection(session: &Session) -> Option<Arc<Connection>> {
    let digest = session.digest()?;
    let attached = digest
        .proxy_digest
        .as_ref()
        .and_then(|proxy| proxy.user_data.as_ref());
    if let Some(connection) = attached.and_then(|data| data.downcast_ref::<Arc<Connection>>()) {
        return Some(Arc::clone(connection));
    }
    let socket = digest.socket_digest.as_ref()?;
    let address = |address: Option<&pingora_core::protocols::l4::socket::SocketAddr>| {
        address?.as_inet().copied()
    };
    let peer = address(socket.peer_addr())?;
    Some(Arc::new(Connection::new(
        0,
        peer,
        address(socket.local_addr()).unwrap_or(peer),
        None,
    )))
}
