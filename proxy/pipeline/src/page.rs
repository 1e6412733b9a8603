//! The page of a [`Fault`]: HTML, JSON (RFC 9457) or text by `Accept`, for people who know nothing of this proxy.
//!
//! It says what happened in one sentence, the request id, the time, and whom to tell. It names no rule, no server and no
//! version. HTML works without its style sheet, and in dark and light.

use crate::fault::Fault;
use bytes::Bytes;
use http::StatusCode;
use std::fmt::Write;
use std::time::SystemTime;

/// A page ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u32>,
}

/// What a client can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

impl Page {
    /// The page of `fault` for a request with this `Accept` value. `more` is a second sentence: progress, a hint.
    #[must_use]
    pub fn new(
        fault: Fault,
        id: &str,
        now: SystemTime,
        accept: Option<&[u8]>,
        more: Option<&str>,
    ) -> Self {
        let status = fault.status();
        let facts = Facts {
            status,
            title: title(status),
            sentence: &fault.sentence(),
            more,
            id,
            time: &httpdate::fmt_http_date(now),
        };
        let (content_type, body) = match form(accept) {
            Form::Html => ("text/html; charset=utf-8", facts.html()),
            Form::Json => ("application/problem+json", facts.json()),
            Form::Text => ("text/plain; charset=utf-8", facts.text()),
        };
        Self {
            status,
            content_type,
            body: body.into(),
            retry_after: fault.retry_after(),
        }
    }
}

struct Facts<'a> {
    status: u16,
    title: &'a str,
    sentence: &'a str,
    more: Option<&'a str>,
    id: &'a str,
    time: &'a str,
}

const WHOM: &str = "If this should not have happened, tell the people who run this site, and give them the request id.";

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:12vh auto;padding:0 1rem;color:#1b1b1f;background:#fff}\
h1{font-size:1.4rem;line-height:1.3}dt{font-weight:600}dd{margin:0 0 .6rem;font-family:ui-monospace,monospace;overflow-wrap:anywhere}\
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#16161a}}";

impl Facts<'_> {
    fn html(&self) -> String {
        let Self {
            status,
            title,
            sentence,
            id,
            time,
            ..
        } = self;
        let more = self
            .more
            .map(|more| format!("<p>{}</p>\n", escaped(more)))
            .unwrap_or_default();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <title>{status} {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{status} {title}</h1>\n<p>{}</p>\n{more}<p>{WHOM}</p>\n\
             <dl>\n<dt>Request id</dt><dd>{id}</dd>\n<dt>Time</dt><dd>{time}</dd>\n</dl>\n</main>\n</body>\n</html>\n",
            escaped(sentence)
        )
    }

    fn json(&self) -> String {
        let detail = [Some(self.sentence), self.more]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        let mut text = serde_json::json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": detail,
            "request_id": self.id,
            "time": self.time,
        })
        .to_string();
        text.push('\n');
        text
    }

    fn text(&self) -> String {
        let Self {
            status,
            title,
            sentence,
            id,
            time,
            ..
        } = self;
        let mut text = format!("{status} {title}\n\n{sentence}\n");
        if let Some(more) = self.more {
            // Writing to a string cannot fail.
            let _written = writeln!(text, "{more}");
        }
        let _written = write!(text, "{WHOM}\n\nRequest id: {id}\nTime:       {time}\n");
        text
    }
}

fn title(status: u16) -> &'static str {
    match status {
        403 => "Blocked",
        _ => StatusCode::from_u16(status)
            .ok()
            .and_then(|s| s.canonical_reason())
            .unwrap_or("Error"),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Chooses by the quality values of `Accept` (RFC 9110 §12.5.1). A client that would take anything gets text: it is a
/// tool, and browsers name HTML.
fn form(accept: Option<&[u8]>) -> Form {
    let Some(accept) = accept.and_then(|value| std::str::from_utf8(value).ok()) else {
        return Form::Text;
    };
    let mut best = (0, Form::Text);
    for range in accept.split(',').take(32) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let form = match name.to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" => Form::Html,
            "application/json" | "application/problem+json" => Form::Json,
            name if name.starts_with("application/") && name.ends_with("+json") => Form::Json,
            "text/plain" => Form::Text,
            _ => continue,
        };
        let quality = parts
            .find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")))
            .map_or(1000, quality);
        if quality > best.0 {
            best = (quality, form);
        }
    }
    best.1
}

/// `0.75` → 750; what is not a quality counts as 0.
fn quality(text: &str) -> u32 {
    text.parse::<f32>()
        .ok()
        .filter(|q| (0.0..=1.0).contains(q))
        .map_or(0, |q| (q * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::{Form, Page, form};
    use crate::fault::Fault;
    use aegis_identity::RequestId;
    use std::time::SystemTime;

    fn page(accept: Option<&[u8]>) -> (Page, String) {
        let page = Page::new(
            Fault::Blocked(403),
            RequestId::new(1_700_000_000_000, 7).as_str(),
            SystemTime::UNIX_EPOCH,
            accept,
            Some("a <b> c"),
        );
        let text = String::from_utf8(page.body.to_vec()).expect("text");
        (page, text)
    }

    #[test]
    fn accept_decides_the_form() {
        for (accept, expected) in [
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Form::Html,
            ),
            ("application/json", Form::Json),
            ("application/json;q=0.5, text/html;q=0.4", Form::Json),
            ("application/json;q=0, text/html;q=0.1", Form::Html),
            ("application/vnd.api+json", Form::Json),
            ("*/*", Form::Text),
            ("image/png", Form::Text),
            ("text/html;q=nonsense", Form::Text),
        ] {
            assert_eq!(form(Some(accept.as_bytes())), expected, "{accept}");
        }
        assert_eq!(form(None), Form::Text);
        assert_eq!(form(Some(b"\xff")), Form::Text);
    }

    #[test]
    fn every_form_says_what_happened_the_id_the_time_and_whom_to_tell() {
        for accept in [&b"text/html"[..], b"application/json", b"text/plain"] {
            let (page, text) = page(Some(accept));
            assert_eq!(page.status, 403);
            assert!(text.contains("looks like an attack"), "{text}");
            assert!(
                text.contains(RequestId::new(1_700_000_000_000, 7).as_str()),
                "{text}"
            );
            assert!(text.contains("Thu, 01 Jan 1970 00:00:00 GMT"), "{text}");
        }
        assert!(
            page(Some(b"text/html"))
                .1
                .contains("tell the people who run this site")
        );
    }

    #[test]
    fn html_is_escaped_and_json_is_a_problem_document() {
        assert!(page(Some(b"text/html")).1.contains("a &lt;b&gt; c"));
        let (page, text) = page(Some(b"application/json"));
        assert_eq!(page.content_type, "application/problem+json");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["status"], 403);
        assert_eq!(json["title"], "Blocked");
    }
}
