//! Properties: Envoy's names for facts of the stream, and ours under `aegis.`.
//!
//! Integers are 8 bytes, little endian, as in Envoy. A path is its segments separated by zero bytes.

use crate::limits::{NAME_MAX, PROPERTIES_BYTES_MAX};
use crate::memory::{Call, Halt, Status, answer, copy, give_bytes, slice, view};
use crate::state::State;
use crate::stream::{Phase, Stream};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

/// Namespaces whose values are facts.
const READ_ONLY: [&str; 7] = [
    "request.",
    "response.",
    "source.",
    "destination.",
    "connection.",
    "plugin_",
    "aegis.",
];

fn number(value: u64) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&value.to_le_bytes()))
}

fn text(value: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(value.as_bytes()))
}

fn address(of: SocketAddr) -> Option<Bytes> {
    text(&of.to_string())
}

fn find(state: &State, path: &str) -> Option<Bytes> {
    if let "plugin_name" | "plugin_root_id" | "plugin_vm_id" = path {
        return text(&state.vm.name);
    }
    let stream = state.stream()?;
    stream
        .own_property(path.as_bytes())
        .or_else(|| of_stream(stream, path))
}

fn of_stream(stream: &Stream, path: &str) -> Option<Bytes> {
    let (head, properties) = (&stream.head, &stream.properties);
    match path.split_once('.')? {
        ("request", rest) => of_request(stream, rest),
        ("response", rest) if stream.phase >= Phase::ResponseHeaders => match rest {
            "code" => number(stream.status.into()),
            _ => stream
                .response
                .get(rest.strip_prefix("headers.")?.as_bytes()),
        },
        ("source", "address") => address(head.source),
        ("source", "port") => number(head.source.port().into()),
        ("destination", "address") => address(head.destination),
        ("destination", "port") => number(head.destination.port().into()),
        ("connection", "tls_version") => head.tls_version.clone(),
        ("connection", "requested_server_name") => head.sni.clone(),
        ("connection", "mtls") => Some(Bytes::from_static(if head.client_cert.is_some() {
            &[1]
        } else {
            &[0]
        })),
        ("connection", "subject_peer_certificate") => {
            Some(head.client_cert.as_ref()?.subject.clone())
        }
        ("connection", "sha256_peer_certificate_digest") => {
            Some(head.client_cert.as_ref()?.sha256.clone())
        }
        ("aegis", "ja4") => head.ja4.clone(),
        ("aegis", "site") => text(&properties.site),
        ("aegis", "waf_policy_id") => number(properties.waf_policy.as_ref()?.0),
        ("aegis", "waf_policy") => Some(properties.waf_policy.as_ref()?.1.clone()),
        _ => {
            let mut extra = properties.extra.iter();
            extra
                .find(|(name, _)| name == path)
                .map(|(_, value)| value.clone())
        }
    }
}

fn of_request(stream: &Stream, rest: &str) -> Option<Bytes> {
    let head = &stream.head;
    let split = memchr::memchr(b'?', &head.target);
    match rest {
        "path" => Some(head.target.clone()),
        "url_path" => Some(head.target.slice(..split.unwrap_or(head.target.len()))),
        "query" => Some(split.map_or_else(Bytes::new, |at| head.target.slice(at + 1..))),
        "host" => Some(head.authority.clone()),
        "scheme" => Some(head.scheme.clone()),
        "method" => Some(head.method.clone()),
        "protocol" => Some(head.version.clone()),
        "id" => Some(head.request_id.clone()),
        "time" => {
            let since = head.received.duration_since(UNIX_EPOCH).unwrap_or_default();
            number(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
        }
        "size" => number(u64::try_from(stream.request_body.len()).unwrap_or(u64::MAX)),
        "referer" => stream.request.get(b"referer"),
        "useragent" => stream.request.get(b"user-agent"),
        _ => stream
            .request
            .get(rest.strip_prefix("headers.")?.as_bytes()),
    }
}

/// The path with its segments joined by `.`.
fn path(bytes: &[u8]) -> Result<String, Halt> {
    if bytes.len() > NAME_MAX {
        return Err(Status::BadArgument.into());
    }
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let dotted = bytes
        .iter()
        .map(|b| if *b == 0 { b'.' } else { *b })
        .collect();
    Ok(String::from_utf8(dotted).map_err(|_| Status::BadArgument)?)
}

pub(super) fn get(
    mut call: Call<'_>,
    name: i32,
    name_len: i32,
    ptr_at: i32,
    len_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let value = find(state, &path(slice(memory, name, name_len)?)?).ok_or(Status::NotFound)?;
        give_bytes(&mut call, &value, (ptr_at, len_at))
    };
    answer(act())
}

/// A module may keep what it likes with the stream, under names that are not facts.
pub(super) fn set(
    mut call: Call<'_>,
    name: i32,
    name_len: i32,
    value: i32,
    value_len: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let path = path(slice(memory, name, name_len)?)?;
        let fact = READ_ONLY.iter().any(|prefix| path.starts_with(prefix));
        if fact || path.is_empty() {
            return Err(Status::BadArgument.into());
        }
        let value = copy(memory, value, value_len, PROPERTIES_BYTES_MAX)?;
        let stream = state.stream_mut().ok_or(Status::BadArgument)?;
        if !stream.set_own_property(path.as_bytes(), value) {
            return Err(Status::BadArgument.into());
        }
        Ok(())
    };
    answer(act())
}
