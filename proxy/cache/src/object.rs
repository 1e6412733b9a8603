//! A stored answer: immutable, shared, its head one block of bytes.
//!
//! A `HeaderMap` of ten fields takes ten to twenty allocations and about 2 KiB; here the head is one allocation of
//! names and values, end to end, and a table of where each is. Fields made from it share the block.

use crate::CacheError;
use crate::body::Body;
use crate::budget::Charge;
use crate::decide::Facts;
use crate::key::Variance;
use crate::vary::Vary;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Longest stored head: the table has 16-bit places.
pub const HEAD_MAX: usize = u16::MAX as usize;
/// Counted for an object beside its head and body: itself and its places in the store's maps and queues.
pub const OBJECT_OVERHEAD: usize = size_of::<Object>() + size_of::<Body>() + 256;

#[derive(Debug, Clone, Copy)]
struct Field {
    at: u16,
    name: u16,
    value: u16,
}

/// Status and fields.
#[derive(Debug)]
pub struct Head {
    status: StatusCode,
    block: Bytes,
    fields: Box<[Field]>,
}

impl Head {
    /// Packs a head. Take what is not to be stored out of it before ([`crate::decide::strip`]).
    ///
    /// # Errors
    /// [`CacheError::HeadTooLarge`] past [`HEAD_MAX`].
    pub fn new(status: StatusCode, headers: &HeaderMap) -> Result<Self, CacheError> {
        let length = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let mut block = Vec::with_capacity(length);
        let mut fields = Vec::with_capacity(headers.len());
        let short = |length: usize| u16::try_from(length).map_err(|_| CacheError::HeadTooLarge);
        for (name, value) in headers {
            let name = name.as_str().as_bytes();
            fields.push(Field {
                at: short(block.len())?,
                name: short(name.len())?,
                value: short(value.len())?,
            });
            block.extend_from_slice(name);
            block.extend_from_slice(value.as_bytes());
        }
        short(block.len())?;
        Ok(Self {
            status,
            block: block.into(),
            fields: fields.into(),
        })
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Has it none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The first value of a field, its name in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .map(|field| self.split(field))
            .find(|(known, _)| *known == name.as_bytes())
            .map(|(_, value)| value)
    }

    fn split(&self, field: &Field) -> (&[u8], &[u8]) {
        let middle = usize::from(field.at) + usize::from(field.name);
        let name = self
            .block
            .get(usize::from(field.at)..middle)
            .unwrap_or_default();
        (
            name,
            self.block
                .get(middle..middle + usize::from(field.value))
                .unwrap_or_default(),
        )
    }

    /// The fields again, in order, with room for `more`; values share the block.
    #[must_use]
    pub fn headers(&self, more: usize) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.fields.len() + more);
        for field in &self.fields {
            let (name, value) = self.split(field);
            // Both came out of a HeaderMap, so neither can fail.
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name),
                HeaderValue::from_maybe_shared(self.block.slice_ref(value)),
            ) {
                headers.append(name, value);
            }
        }
        headers
    }

    fn heap_bytes(&self) -> usize {
        self.block.len() + self.fields.len() * size_of::<Field>()
    }
}

/// A stored answer, or one that is still being received.
#[derive(Debug)]
pub struct Object {
    head: Head,
    facts: Facts,
    vary: Vary,
    variance: Option<Variance>,
    body: Arc<Body>,
    /// For all but the body, which has its own.
    _charge: Charge,
}

impl Object {
    pub(crate) fn new(parts: Parts, body: Arc<Body>, charge: Charge) -> Self {
        let Parts {
            head,
            facts,
            vary,
            variance,
        } = parts;
        Self {
            head,
            facts,
            vary,
            variance,
            body,
            _charge: charge,
        }
    }

    /// Status and fields.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Its freshness.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Which request fields chose it.
    #[must_use]
    pub fn vary(&self) -> &Vary {
        &self.vary
    }

    /// What they were.
    #[must_use]
    pub fn variance(&self) -> Option<Variance> {
        self.variance
    }

    /// Its bytes.
    #[must_use]
    pub fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// The fields to send, with room for `more`: those stored, and `Content-Length` where the origin sent none but the
    /// end has been seen.
    #[must_use]
    pub fn headers(&self, more: usize) -> HeaderMap {
        let mut headers = self.head.headers(more + 1);
        if let Some(length) = self.body.complete_length()
            && !headers.contains_key(CONTENT_LENGTH)
            && !matches!(
                self.head.status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT
            )
        {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        headers
    }
}

/// All of an object but its body.
#[derive(Debug)]
pub struct Parts {
    /// Status and fields.
    pub head: Head,
    /// Freshness.
    pub facts: Facts,
    /// Which request fields choose.
    pub vary: Vary,
    /// Their hash; `None` exactly if there are none.
    pub variance: Option<Variance>,
}

impl Parts {
    /// What is counted for it.
    #[must_use]
    pub fn cost(&self) -> usize {
        OBJECT_OVERHEAD + self.head.heap_bytes() + self.vary.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was_without_copying_its_values() {
        let mut headers = HeaderMap::new();
        headers.append("content-type", HeaderValue::from_static("text/html"));
        headers.append("x-two", HeaderValue::from_static("1"));
        headers.append("x-two", HeaderValue::from_bytes(b"\xff 2").unwrap());
        headers.append("x-empty", HeaderValue::from_static(""));
        let head = Head::new(StatusCode::OK, &headers).unwrap();
        assert_eq!(head.headers(3), headers);
        assert_eq!(
            (head.get("content-type"), head.get("x-none"), head.len()),
            (Some(&b"text/html"[..]), None, 4)
        );
        let back = head.headers(0);
        let value = back.get("content-type").unwrap().as_bytes().as_ptr();
        assert!(head.block.as_ptr_range().contains(&value));
    }

    #[test]
    fn a_head_is_bounded_at_the_limit() {
        let of = |length: usize| {
            let mut headers = HeaderMap::new();
            headers.insert("x", HeaderValue::from_bytes(&vec![b'a'; length]).unwrap());
            Head::new(StatusCode::OK, &headers).map(|head| head.heap_bytes())
        };
        assert_eq!(of(HEAD_MAX - 1), Ok(HEAD_MAX + size_of::<Field>()));
        assert_eq!(of(HEAD_MAX), Err(CacheError::HeadTooLarge));
    }
}
