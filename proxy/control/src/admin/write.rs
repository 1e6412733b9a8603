//! What changes something: `POST` with a body of JSON, on the socket only. Each is written down, done or not.

use super::Ask;
use super::answer::{Answer, json_answer, problem};
use super::who::{Peer, admit};
use crate::orders::{Order, Refused};
use aegis_settings::model::AdminRole;
use aegis_telemetry::events::AdminWrite;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of a body.
const BODY_MAX: usize = 16 << 10;
/// Time for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The change a path stands for.
pub(super) fn change_of(path: &str) -> Option<&'static str> {
    match path {
        "/ban" => Some("ban"),
        "/allow" => Some("allow"),
        "/unban" => Some("unban"),
        _ => None,
    }
}

pub(super) async fn write<B>(
    request: Request<B>,
    what: &'static str,
    ask: &Ask,
    peer: Peer,
) -> Answer
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let process = peer.pid;
    let told = move |who: &str, detail: &str, result: &'static str, why: &str| {
        AdminWrite {
            what,
            who,
            process,
            detail,
            result,
            why,
        }
        .emit();
    };
    let (head, body) = request.into_parts();
    let who = match admit(&head.headers, peer, &ask.questions.tokens(), AdminRole::Ban) {
        Ok(who) => who,
        Err(denied) => {
            told(&denied.who, what, "denied", &denied.why);
            let mut answer = problem(denied.status, &denied.why);
            if denied.status == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer realm=\"aegis\"");
                answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            }
            return answer;
        }
    };
    // What a form on a web page can send is not JSON.
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.split(|&b| b == b';').next());
    if !kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json")) {
        let why = "the body is to be application/json";
        told(&who, what, "refused", why);
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    }
    let Ok(body) = timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await else {
        let why = "the body did not come in time";
        told(&who, what, "refused", why);
        return problem(StatusCode::REQUEST_TIMEOUT, why);
    };
    let Ok(body) = body else {
        let why = "the body is more than 16 KiB, or broke off";
        told(&who, what, "refused", why);
        return problem(StatusCode::PAYLOAD_TOO_LARGE, why);
    };
    let order = match Order::read(what, &body.to_bytes()) {
        Ok(order) => order,
        Err(why) => {
            told(&who, what, "refused", &why);
            return problem(StatusCode::BAD_REQUEST, &why);
        }
    };
    let orders = ask.orders.clone();
    let author = who.clone();
    // Written down where it is done: whoever asked may be gone before that, and this function with him.
    let done = tokio::task::spawn_blocking(move || {
        let detail = order.told();
        let done = orders.carry_out(order, &author);
        match &done {
            Ok(_) => told(&author, &detail, "done", ""),
            Err(refused) => told(&author, &detail, "refused", refused.parts().1),
        }
        done
    });
    match done.await {
        Ok(Ok(value)) => json_answer(StatusCode::OK, &value),
        Ok(Err(refused)) => {
            let (status, why) = refused.parts();
            problem(status, why)
        }
        Err(error) => {
            told(&who, what, "refused", "it ended without an outcome");
            tracing::error!(%error, "a change ended without an outcome; please report it");
            problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "something went wrong here",
            )
        }
    }
}

impl Refused {
    pub(super) fn parts(&self) -> (StatusCode, &str) {
        match self {
            Self::Wrong(why) => (StatusCode::BAD_REQUEST, why),
            Self::NotFound(why) => (StatusCode::NOT_FOUND, why),
            Self::Unsafe(why) => (StatusCode::CONFLICT, why),
        }
    }
}
