//! Asks a running node over its admin socket.

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

const ANSWER_MAX: usize = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a node answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// As JSON.
    Found(Value),
    /// 404, with its reason.
    NotFound(String),
    /// Any other refusal, with its reason.
    Refused(String),
}

/// `GET` of a path with its query.
///
/// # Errors
/// No node answers at the socket.
pub(crate) fn ask(socket: &Path, path: &str) -> anyhow::Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = async {
        tokio::time::timeout(TIMEOUT, get(socket, path))
            .await
            .context("no answer in time")?
    };
    runtime.block_on(asked).with_context(|| {
        format!("no node answers at {}; is it running, and may this user talk to it? A node started with --state-dir or --admin-socket is found with the same --state-dir DIR or --socket PATH; its first lines name the socket after `admin`", socket.display())
    })
}

async fn get(socket: &Path, path: &str) -> anyhow::Result<Answer> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::get(path)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX);
        let Ok(body) = body.collect().await else {
            bail!("the answer broke off")
        };
        anyhow::Ok((status, body.to_bytes()))
    };
    let (status, body) = tokio::select! {
        answer = exchange => answer?,
        end = connection => { end?; bail!("the connection was closed") }
    };
    let value: Value = serde_json::from_slice(&body).context("the answer is no JSON")?;
    let reason = || {
        value
            .get("error")
            .and_then(Value::as_str)
            .unwrap_or("no reason given")
            .to_owned()
    };
    Ok(match status.as_u16() {
        200 => Answer::Found(value),
        404 => Answer::NotFound(reason()),
        _ => Answer::Refused(reason()),
    })
}
