//! May this answer be stored (RFC 9111 §3), and what of its head (§3.1)?

use super::{Facts, Policy, Request, freshness};
use crate::directives::{Delta, ResponseDirectives, is_token};
use http::header::{
    AGE, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use std::time::{Duration, SystemTime};

/// Most names `Connection` may nominate before the answer is not stored.
const NOMINATED_MAX: usize = 32;

/// Why an answer is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// A status that answers only this very request, or is none of a whole answer (101, 206, 304, 401, 407, 412, 416).
    Status,
    /// `no-store`.
    NoStore,
    /// `private`: for one user.
    Private,
    /// `no-cache`: would be validated every time.
    NoCache,
    /// `Set-Cookie`: one visitor's cookie, a session above all, would be handed to everyone. The RFC permits storing;
    /// no origin means it.
    SetCookie,
    /// The request had `Authorization` and the origin did not allow sharing (§3.5).
    Authorization,
    /// Nothing gives it a lifetime, or its lifetime is over.
    Stale,
    /// `Vary: *`, too many names in it, or not readable.
    Vary,
    /// Longer than [`Policy::object_max`], or a length that cannot be read.
    TooLarge,
    /// Its `Cache-Control` or `Connection` cannot be read, so what it forbids is unknown.
    Malformed,
}

impl NotStored {
    /// A token for logs and `Cache-Status: detail`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::SetCookie => "set-cookie",
            Self::Authorization => "authorization",
            Self::Stale => "no-lifetime",
            Self::Vary => "vary",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
        }
    }
}

/// Decides over a whole answer's head. `asked` is when the request went to the origin, `received` when the head came.
///
/// # Errors
/// Why not.
pub fn store(
    request: &Request,
    status: StatusCode,
    headers: &HeaderMap,
    asked: SystemTime,
    received: SystemTime,
    policy: &Policy,
) -> Result<Facts, NotStored> {
    if status.is_informational()
        || matches!(status.as_u16(), 206 | 304 | 401 | 407 | 412 | 416)
        || headers.contains_key(CONTENT_RANGE)
    {
        return Err(NotStored::Status);
    }
    let directives = ResponseDirectives::parse(headers).map_err(|_| NotStored::Malformed)?;
    if directives.must_understand && !is_understood(status) {
        return Err(NotStored::Status);
    }
    // §5.2.2.3: a cache that knows must-understand and the status ignores the no-store beside it.
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    if directives.private {
        return Err(NotStored::Private);
    }
    if directives.no_cache {
        return Err(NotStored::NoCache);
    }
    let for_authorized =
        directives.public || directives.must_revalidate || directives.s_maxage.is_present();
    if request.authorized && !for_authorized {
        return Err(NotStored::Authorization);
    }
    if headers.contains_key(SET_COOKIE) {
        return Err(NotStored::SetCookie);
    }
    if crate::vary::Vary::of(headers).is_err() {
        return Err(NotStored::Vary);
    }
    match content_length(headers) {
        Ok(Some(length)) if length > policy.object_max => return Err(NotStored::TooLarge),
        Ok(_) => {}
        Err(Unreadable) => return Err(NotStored::TooLarge),
    }
    if nominated(headers).is_none() {
        return Err(NotStored::Malformed);
    }
    let lifetime = freshness::lifetime(status, headers, &directives, received, policy.ttl_default)
        .ok_or(NotStored::Stale)?;
    let age = freshness::initial_age(headers, asked, received);
    if lifetime <= age {
        return Err(NotStored::Stale);
    }
    // RFC 5861 §4 is the origin's express permission, so it holds beside s-maxage; must- and proxy-revalidate forbid it.
    let stale_if_error = match directives.stale_if_error {
        Delta::Seconds(seconds) if !directives.must_revalidate && !directives.proxy_revalidate => {
            Duration::from_secs(seconds.into())
        }
        _ => Duration::ZERO,
    };
    Ok(Facts {
        received,
        born: received.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
        lifetime,
        stale_if_error,
        stale_forbidden: directives.must_revalidate
            || directives.proxy_revalidate
            || directives.s_maxage.is_present(),
        for_authorized,
    })
}

/// Statuses whose caching rules are known here.
fn is_understood(status: StatusCode) -> bool {
    freshness::is_heuristically_cacheable(status) || matches!(status.as_u16(), 302 | 303 | 307)
}

/// A length that is not one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// `Content-Length`, if there is one.
///
/// # Errors
/// [`Unreadable`].
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Unreadable> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| Unreadable)?;
    if values.next().is_some() || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(Unreadable);
    }
    text.parse().map(Some).map_err(|_| Unreadable)
}

/// The fields of a head that are not stored: those of the connection (RFC 9110 §7.6.1), and `Age`, which is counted on.
#[must_use]
pub fn strip(headers: &HeaderMap) -> Vec<HeaderName> {
    let keep_alive = HeaderName::from_static("keep-alive");
    let proxy_connection = HeaderName::from_static("proxy-connection");
    let fixed = [
        CONNECTION,
        keep_alive,
        proxy_connection,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        AGE,
    ];
    let mut gone: Vec<HeaderName> = fixed
        .into_iter()
        .filter(|name| headers.contains_key(name))
        .collect();
    gone.extend(nominated(headers).unwrap_or_default());
    gone
}

/// The present fields named by `Connection`; `None` if it cannot be read.
fn nominated(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for line in headers.get_all(CONNECTION) {
        for name in line
            .as_bytes()
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
        {
            if names.len() == NOMINATED_MAX || !name.iter().copied().all(is_token) {
                return None;
            }
            names.push(HeaderName::from_bytes(name).ok()?);
        }
    }
    names.retain(|name| headers.contains_key(name));
    Some(names)
}

#[cfg(test)]
#[path = "storable_tests.rs"]
mod tests;
