//! Stage 5: what proxies before this node told of a request, where they are trusted.

use crate::spans::Given;
use aegis_identity::{AddressText, Claims, Connection, Hops, Told, given_id};
use aegis_telemetry::metrics::FORWARDED_DOUBTED;
use http::{HeaderMap, HeaderValue};

/// What is believed of it. A request of a client that nobody stands before has none.
#[derive(Debug)]
pub(crate) struct Hearsay {
    pub(crate) told: Told,
    pub(crate) client_text: AddressText,
    /// `X-Request-Id`
    pub(crate) request_id: Option<Box<str>>,
    /// `traceparent`, `tracestate`
    pub(crate) trace: Option<Given>,
}

impl Hearsay {
    /// Reads the fields; `None` if who sends them is not trusted, or a client that a trusted one does not name.
    pub(crate) fn of(
        hops: &Hops,
        connection: &Connection,
        headers: &HeaderMap,
    ) -> Option<Box<Self>> {
        if connection.is_unnamed() || !hops.trusts(connection.client()) {
            return None;
        }
        let lines = |name: &str| -> Vec<&[u8]> {
            let all = headers.get_all(name).iter();
            all.map(HeaderValue::as_bytes).collect()
        };
        let claims = Claims {
            forwarded: lines("forwarded"),
            x_for: lines("x-forwarded-for"),
            x_proto: lines("x-forwarded-proto"),
            x_host: lines("x-forwarded-host"),
        };
        let told = hops.told(connection.client, &claims);
        if let Some(doubt) = told.doubt {
            FORWARDED_DOUBTED.with(&[doubt.as_str()]).inc();
        }
        Some(Box::new(Self {
            client_text: AddressText::new(told.client.ip()),
            request_id: one(headers, "x-request-id")
                .and_then(given_id)
                .map(Box::from),
            trace: Given::of(one(headers, "traceparent"), headers),
            told,
        }))
    }
}

/// The value of a field that came once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}
