//! A batch as `ExportTraceServiceRequest`, in the JSON of OTLP: ids in hexadecimal, numbers of 64 bits as text.

use super::{Kind, Span, Value};
use serde_json::{Value as Json, json};
use std::fmt::Write;
use std::time::SystemTime;

/// `STATUS_CODE_ERROR`
const ERROR: u8 = 2;

pub(super) fn batch(spans: &[Span], version: &str) -> Vec<u8> {
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let whole = json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", &Value::from("aegis")),
            attribute("service.version", &Value::from(version)),
        ] },
        "scopeSpans": [{ "scope": { "name": "aegis", "version": version }, "spans": spans }],
    }] });
    whole.to_string().into_bytes()
}

fn span(span: &Span) -> Json {
    let start = nanos(span.start);
    let took = u64::try_from(span.took.as_nanos()).unwrap_or(u64::MAX);
    let attributes: Vec<Json> = span
        .attributes
        .iter()
        .map(|(name, value)| attribute(name, value))
        .collect();
    let mut out = json!({
        "traceId": hex(&span.trace),
        "spanId": hex(&span.id),
        "name": span.name,
        "kind": match span.kind { Kind::Internal => 1, Kind::Server => 2, Kind::Client => 3 },
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": start.saturating_add(took).to_string(),
        "attributes": attributes,
    });
    if let Json::Object(fields) = &mut out {
        if let Some(parent) = &span.parent {
            fields.insert("parentSpanId".to_owned(), hex(parent).into());
        }
        if span.failed {
            fields.insert("status".to_owned(), json!({ "code": ERROR }));
        }
    }
    out
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
    };
    json!({ "key": name, "value": value })
}

fn nanos(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
