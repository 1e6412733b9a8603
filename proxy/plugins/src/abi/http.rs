//! `proxy_http_call`: only to pools the plugin's settings name.

use super::maps::list;
use crate::calls::HttpCallRequest;
use crate::fields::{is_token, is_value};
use crate::limits::{CALL_BODY_MAX, CALL_TIME_MAX, NAME_MAX};
use crate::memory::{Call, Halt, Status, answer, copy, put_u32, slice, view};
use crate::spec::Fields;
use crate::stream::Phase;
use crate::verdict::FaultKind;
use aegis_telemetry::events::PluginFault;
use bytes::Bytes;
use std::time::Duration;

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn http_call(
    mut call: Call<'_>,
    pool: i32,
    pool_len: i32,
    headers: i32,
    headers_len: i32,
    body: i32,
    body_len: i32,
    trailers: i32,
    trailers_len: i32,
    timeout_ms: i32,
    token_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        slice(memory, token_at, 4)?;
        let pool = slice(memory, pool, pool_len)?;
        let name = String::from_utf8_lossy(pool.get(..NAME_MAX).unwrap_or(pool)).into_owned();
        if !state
            .vm
            .http_call
            .iter()
            .any(|allowed| allowed.as_bytes() == pool)
        {
            PluginFault {
                plugin: &state.vm.name,
                kind: FaultKind::Refused.as_str(),
                detail: &format!("it may not call the pool `{name}`; `http_call` of the plugin lists those it may"),
            }
            .emit();
            return Err(Status::BadArgument.into());
        }
        let judged_now = state
            .stream()
            .is_some_and(|stream| stream.phase == Phase::ResponseBody);
        if judged_now {
            // A thread that serves requests stands still until the body is judged.
            return Err(Status::BadArgument.into());
        }
        let timeout = Duration::from_millis(timeout_ms.cast_unsigned().into());
        let trailers = list(memory, trailers, trailers_len)?;
        let head = Head::split(list(memory, headers, headers_len)?)?;
        if !trailers
            .iter()
            .all(|(name, value)| is_token(name) && is_value(value))
        {
            return Err(Status::BadArgument.into());
        }
        let request = HttpCallRequest {
            plugin: state.vm.name.clone(),
            site: state.site(),
            pool: name,
            method: head.method,
            path: head.path,
            authority: head.authority,
            scheme: head.scheme,
            headers: head.headers,
            body: copy(memory, body, body_len, CALL_BODY_MAX)?,
            trailers,
            timeout: if timeout.is_zero() {
                CALL_TIME_MAX
            } else {
                timeout.min(CALL_TIME_MAX)
            },
            response_max: CALL_BODY_MAX,
        };
        let context = state.context;
        let token = state.calls.admit(context).ok_or(Status::InternalFailure)?;
        state.calls.outbox.push((token, request));
        put_u32(memory, token_at, token)
    };
    answer(act())
}

/// `:method`, `:path` and `:authority` must be there, as in Envoy, and none twice.
struct Head {
    method: Bytes,
    path: Bytes,
    authority: Bytes,
    scheme: Option<Bytes>,
    headers: Fields,
}

impl Head {
    fn split(fields: Fields) -> Result<Self, Halt> {
        let (mut method, mut path, mut authority, mut scheme) = (None, None, None, None);
        let mut headers = Fields::with_capacity(fields.len());
        for (name, value) in fields {
            let place = match name.as_ref() {
                b":method" if is_token(&value) => &mut method,
                b":path"
                    if value.first() == Some(&b'/')
                        && value.iter().all(|b| *b > 0x20 && *b != 0x7f) =>
                {
                    &mut path
                }
                b":authority" if !value.is_empty() && is_value(&value) => &mut authority,
                b":scheme" if is_token(&value) => &mut scheme,
                name_bytes if is_token(name_bytes) && is_value(&value) => {
                    headers.push((name, value));
                    continue;
                }
                _ => return Err(Status::BadArgument.into()),
            };
            if place.replace(value).is_some() {
                return Err(Status::BadArgument.into());
            }
        }
        Ok(Self {
            method: method.ok_or(Status::BadArgument)?,
            path: path.ok_or(Status::BadArgument)?,
            authority: authority.ok_or(Status::BadArgument)?,
            scheme,
            headers,
        })
    }
}
