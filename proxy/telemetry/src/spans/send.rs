//! The thread that sends.

use super::{BATCH_MAX, Message, Span, TRIES, json};
use crate::metrics::{SPANS_DROPPED, SPANS_EXPORTED};
use crate::throttle::Throttle;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Longest wait for a batch to fill.
const LINGER: Duration = Duration::from_secs(1);
/// Whole time of one try.
const TRY_MAX: Duration = Duration::from_secs(5);
/// Before the second try; twice that before the third.
const BACK_OFF: Duration = Duration::from_millis(500);
/// Of what a collector says.
const ANSWER_MAX: usize = 64 << 10;

/// Where spans go.
pub(super) struct Collector {
    authority: String,
    path: String,
}

/// Why a batch was not taken.
struct Refused {
    why: String,
    /// Another try may go better.
    again: bool,
}

impl Collector {
    pub(super) fn new(authority: &str, base: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            path: format!("{}/v1/traces", base.trim_end_matches('/')),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let tcp = TcpStream::connect(&self.authority).await;
        let tcp = tcp.map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(tcp))
            .await
            .map_err(|error| error.to_string())?;
        // It ends with the sender, or the collector.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn post(
        &self,
        kept: &mut Option<SendRequest<Full<Bytes>>>,
        body: &Bytes,
    ) -> Result<(), Refused> {
        let lost = |why: String| Refused { why, again: true };
        let mut sender = match kept.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await.map_err(lost)?,
        };
        let request = Request::post(&self.path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .header("user-agent", "aegis")
            .body(Full::new(body.clone()))
            .map_err(|error| Refused {
                why: error.to_string(),
                again: false,
            })?;
        let sent = sender.send_request(request).await;
        let answer = sent.map_err(|error| lost(error.to_string()))?;
        let status = answer.status();
        // Read, so that the connection can be used again.
        let read = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        if read.is_ok() {
            *kept = Some(sender);
        }
        if status.is_success() {
            return Ok(());
        }
        // OTLP/HTTP, "Failures": these, and a lost connection.
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(Refused {
            why: format!("status {status}"),
            again,
        })
    }
}

/// Sends until the exporter is gone.
pub(super) async fn run(mut waiting: Receiver<Message>, collector: &Collector, version: &str) {
    let mut kept = None;
    while let Some(first) = waiting.recv().await {
        let (mut spans, mut flushed) = (Vec::new(), Vec::new());
        let until = Instant::now() + LINGER;
        let mut next = Some(first);
        let mut requests = 0;
        while let Some(message) = next {
            match message {
                Message::Spans(more) => {
                    spans.extend(more);
                    requests += 1;
                }
                Message::Flush(done) => {
                    flushed.push(done);
                    break;
                }
            }
            if requests == BATCH_MAX {
                break;
            }
            next = timeout_at(until, waiting.recv()).await.unwrap_or(None);
        }
        if !spans.is_empty() {
            deliver(&spans, collector, version, &mut kept).await;
        }
        for done in flushed {
            // Who asked may have stopped waiting.
            let _late = done.send(());
        }
    }
}

async fn deliver(
    spans: &[Span],
    collector: &Collector,
    version: &str,
    kept: &mut Option<SendRequest<Full<Bytes>>>,
) {
    static THROTTLE: Throttle = Throttle::new(1);
    let body = Bytes::from(json::batch(spans, version));
    let mut pause = BACK_OFF;
    let mut why = String::new();
    for attempt in 1..=TRIES {
        let tried = timeout(TRY_MAX, collector.post(kept, &body)).await;
        match tried {
            Ok(Ok(())) => {
                SPANS_EXPORTED.inc_by(spans.len() as u64);
                return;
            }
            Ok(Err(refused)) => {
                why = refused.why;
                if !refused.again {
                    break;
                }
            }
            Err(_) => "no answer in time".clone_into(&mut why),
        }
        if attempt < TRIES {
            sleep(pause).await;
            pause *= 2;
        }
    }
    SPANS_DROPPED
        .with(&["collector"])
        .inc_by(spans.len() as u64);
    if THROTTLE.admit() {
        tracing::warn!(
            collector = collector.authority,
            spans = spans.len(),
            why,
            "spans are lost (node.tracing.otlp)"
        );
    }
}
