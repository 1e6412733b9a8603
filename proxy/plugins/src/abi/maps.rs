//! Header fields, and the trailer fields of an HTTP call's response.
//!
//! A map can be read from its own callback on, and changed while what it belongs to has not been sent: request fields
//! until the request's verdict, response fields in `proxy_on_response_headers`. Trailers of requests and responses do not
//! exist here: their maps are a bad argument.

use crate::fields::{FieldError, FieldList};
use crate::limits::{FIELDS_BYTES_MAX, hit};
use crate::memory::{Call, Halt, Status, answer, copy, give, give_bytes, put_len, slice, view};
use crate::pairs::{self, PairsError};
use crate::state::State;
use crate::stream::Phase;
use bytes::Bytes;

const REQUEST_HEADERS: i32 = 0;
const RESPONSE_HEADERS: i32 = 2;
const CALL_RESPONSE_HEADERS: i32 = 6;
const CALL_RESPONSE_TRAILERS: i32 = 7;

fn readable(state: &State, kind: i32) -> Result<&FieldList, Halt> {
    let stream = state.stream();
    let response = state.calls.response.as_ref();
    let list = match kind {
        REQUEST_HEADERS => stream.map(|s| &s.request),
        RESPONSE_HEADERS => stream
            .filter(|s| s.phase >= Phase::ResponseHeaders)
            .map(|s| &s.response),
        CALL_RESPONSE_HEADERS => response.map(|r| &r.headers),
        CALL_RESPONSE_TRAILERS => response.map(|r| &r.trailers),
        _ => None,
    };
    Ok(list.ok_or(Status::BadArgument)?)
}

fn writable(state: &mut State, kind: i32) -> Result<&mut FieldList, Halt> {
    let stream = state.stream_mut().ok_or(Status::BadArgument)?;
    let list = match (kind, stream.phase) {
        (REQUEST_HEADERS, Phase::RequestHeaders | Phase::RequestBody) => &mut stream.request,
        (RESPONSE_HEADERS, Phase::ResponseHeaders) => &mut stream.response,
        _ => return Err(Status::BadArgument.into()),
    };
    Ok(list)
}

fn refused(error: &FieldError) -> Halt {
    if *error == FieldError::TooMany {
        hit("plugin_header_fields");
    }
    Status::BadArgument.into()
}

/// A list a module hands over.
pub(super) fn list(memory: &[u8], ptr: i32, len: i32) -> Result<crate::spec::Fields, Halt> {
    pairs::parse(slice(memory, ptr, len)?).map_err(|error| match error {
        PairsError::Malformed => Status::ParseFailure.into(),
        PairsError::TooMany => refused(&FieldError::TooMany),
    })
}

/// The size is that of the whole list on the wire.
pub(super) fn get_size(mut call: Call<'_>, kind: i32, at: i32) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        put_len(memory, at, pairs::size(readable(state, kind)?.items()))
    };
    answer(act())
}

pub(super) fn get_pairs(
    mut call: Call<'_>,
    kind: i32,
    ptr_at: i32,
    len_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let size = pairs::size(readable(call.data(), kind)?.items());
        // Written once, straight into the guest.
        give(&mut call, size, (ptr_at, len_at), |out, state| {
            readable(state, kind).is_ok_and(|list| pairs::write(list.items(), out))
        })
    };
    answer(act())
}

pub(super) fn set_pairs(
    mut call: Call<'_>,
    kind: i32,
    ptr: i32,
    len: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let fields = list(memory, ptr, len)?;
        writable(state, kind)?
            .set_all(fields)
            .map_err(|e| refused(&e))
    };
    answer(act())
}

pub(super) fn get_value(
    mut call: Call<'_>,
    kind: i32,
    name: i32,
    name_len: i32,
    ptr_at: i32,
    len_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let value = readable(state, kind)?
            .get(slice(memory, name, name_len)?)
            .ok_or(Status::NotFound)?;
        give_bytes(&mut call, &value, (ptr_at, len_at))
    };
    answer(act())
}

pub(super) fn add(
    call: Call<'_>,
    kind: i32,
    name: i32,
    name_len: i32,
    value: i32,
    value_len: i32,
) -> wasmtime::Result<i32> {
    edit(
        call,
        kind,
        (name, name_len),
        (value, value_len),
        FieldList::add,
    )
}

pub(super) fn replace(
    call: Call<'_>,
    kind: i32,
    name: i32,
    name_len: i32,
    value: i32,
    value_len: i32,
) -> wasmtime::Result<i32> {
    edit(
        call,
        kind,
        (name, name_len),
        (value, value_len),
        FieldList::replace,
    )
}

/// Takes name and value from the guest and does this with them.
fn edit(
    mut call: Call<'_>,
    kind: i32,
    name: (i32, i32),
    value: (i32, i32),
    act: impl Fn(&mut FieldList, Bytes, Bytes) -> Result<(), FieldError>,
) -> wasmtime::Result<i32> {
    let mut inner = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let list = writable(state, kind)?;
        let name = copy(memory, name.0, name.1, FIELDS_BYTES_MAX)?;
        let value = copy(memory, value.0, value.1, FIELDS_BYTES_MAX)?;
        act(list, name, value).map_err(|e| refused(&e))
    };
    answer(inner())
}

pub(super) fn remove(
    mut call: Call<'_>,
    kind: i32,
    name: i32,
    name_len: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let name = slice(memory, name, name_len)?;
        writable(state, kind)?.remove(name).map_err(|e| refused(&e))
    };
    answer(act())
}
