//! Asks a running node over its admin socket.

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::http::request::Builder;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};
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

/// Whom to ask, and with which token.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: PathBuf,
    pub(crate) token: Option<String>,
}

impl Client {
    /// `GET` of a path with its query.
    ///
    /// # Errors
    /// No node answers at the socket.
    pub(crate) fn ask(&self, path: &str) -> anyhow::Result<Answer> {
        self.run(Request::get(path), Bytes::new())
    }

    /// `POST` of JSON to a path.
    ///
    /// # Errors
    /// No node answers at the socket.
    pub(crate) fn tell(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let request = Request::post(path).header("content-type", "application/json");
        self.run(request, body.to_string().into())
    }

    fn run(&self, mut request: Builder, body: Bytes) -> anyhow::Result<Answer> {
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request
            .header("host", "localhost")
            .body(Full::from(body))
            .context("the token cannot be shown: it has characters that no header may have")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let asked = async {
            tokio::time::timeout(TIMEOUT, exchange(&self.socket, request))
                .await
                .context("no answer in time")?
        };
        runtime.block_on(asked).with_context(|| {
            format!("no node answers at {}; is it running, and may this user talk to it? A node started with --state-dir or --admin-socket is found with the same --state-dir DIR or --socket PATH; its first lines name the socket after `admin`", self.socket.display())
        })
    }
}

async fn exchange(socket: &Path, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
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
