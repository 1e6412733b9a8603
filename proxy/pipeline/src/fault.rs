//! One place where what went wrong becomes a status, a sentence and a word for the log.

use aegis_identity::Reject;
use aegis_origin::Fault as OriginFault;
use pingora_error::{Error, ErrorSource, ErrorType};
use std::borrow::Cow;

/// Why a request gets a page of ours instead of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The head cannot be understood, or not in one way only.
    BadRequest(&'static str),
    /// What was sent is no request, or its body breaks off being one.
    Rejected(Reject),
    /// No site answers for this host.
    NoSite,
    /// No site answers for this host, and the connection was made for another name.
    Misdirected,
    /// The site is only for clients with a certificate, who show it over TLS.
    NoClientCertificate,
    /// A method the route does not take, or `CONNECT`.
    Method,
    /// The client took too long to send.
    ClientTimeout,
    /// The body is longer than may be inspected.
    BodyTooLarge,
    /// The body's encoding cannot be inspected.
    BodyEncoding,
    /// A verdict keeps its client out.
    Banned,
    /// A plugin said no, with this status.
    Blocked(u16),
    /// A plugin failed, and it must not be passed by.
    PluginFailed,
    /// Too many bodies are held for a verdict.
    BodiesHeld,
    /// No room on disk for a body.
    BodiesSpooled,
    /// The site has as many connections as it may.
    SiteFull,
    /// There are as many connections to origins as there may be.
    OriginsFull,
    /// A limit of its route is reached; in so many seconds there is room again.
    Limited(u32),
    /// Modules are still being compiled; nothing is served uninspected.
    Starting,
    /// The request has passed this proxy too often.
    Loop,
    /// Only a stored answer would do, and there is none.
    NotCached,
    /// The origin.
    Origin(OriginFault),
    /// The origin did not wait for a request body that is held for a verdict.
    AnsweredEarly,
    /// A plugin ended the stream without an answer.
    ClosedByPlugin,
    /// A defect of ours.
    Internal,
    /// The client is gone: nobody to tell.
    ClientGone,
}

impl Fault {
    /// Sorts an error of Pingora.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        use ErrorType as E;
        if let Some(fault) = error.root_cause().downcast_ref::<Carried>() {
            return fault.0;
        }
        if let Some(why) = rejected(error) {
            return Self::Rejected(why);
        }
        match (error.esource(), error.etype()) {
            (ErrorSource::Upstream, kind) => Self::Origin(OriginFault::of(kind)),
            (ErrorSource::Downstream, E::ReadTimedout) => Self::ClientTimeout,
            (
                ErrorSource::Downstream,
                E::ReadError | E::WriteError | E::ConnectionClosed | E::WriteTimedout | E::H2Error,
            ) => Self::ClientGone,
            (ErrorSource::Downstream, E::InvalidHTTPHeader) => {
                Self::BadRequest("Its head does not follow the rules of HTTP.")
            }
            (ErrorSource::Downstream, _) => {
                Self::BadRequest("Its body does not follow the rules of HTTP.")
            }
            _ => Self::Internal,
        }
    }

    /// As an error that passes through Pingora and comes out of [`Fault::of`] again. It is never retried.
    pub(crate) fn into_error(self) -> Box<Error> {
        let mut error = Error::because(ErrorType::HTTPStatus(self.status()), "", Carried(self));
        error.as_in();
        error
    }

    /// The status; 0 when there is nobody to send it to.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Rejected(why) => why.status(),
            Self::Blocked(status) => status,
            Self::Banned | Self::NoClientCertificate => 403,
            Self::NoSite => 404,
            Self::Method => 405,
            Self::ClientTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::BodyEncoding => 415,
            Self::Misdirected => 421,
            Self::Limited(_) => 429,
            Self::Internal => 500,
            Self::AnsweredEarly
            | Self::Origin(
                OriginFault::ConnectRefused
                | OriginFault::ConnectFailed
                | OriginFault::Tls
                | OriginFault::Closed
                | OriginFault::BadResponse,
            ) => 502,
            Self::Origin(OriginFault::NoServer)
            | Self::PluginFailed
            | Self::BodiesHeld
            | Self::BodiesSpooled
            | Self::SiteFull
            | Self::OriginsFull
            | Self::Starting => 503,
            Self::NotCached
            | Self::Origin(
                OriginFault::ConnectTimeout | OriginFault::ReadTimeout | OriginFault::WriteTimeout,
            ) => 504,
            Self::Loop => 508,
            Self::ClientGone | Self::ClosedByPlugin => 0,
        }
    }

    /// The word in the access log and the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Rejected(why) => why.as_str(),
            Self::NoSite => "no_site",
            Self::Misdirected => "misdirected",
            Self::NoClientCertificate => "no_client_certificate",
            Self::Method => "method",
            Self::ClientTimeout => "client_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyEncoding => "body_encoding",
            Self::Blocked(_) => "blocked",
            Self::Banned => "banned",
            Self::PluginFailed => "plugin_failed",
            Self::BodiesHeld => "bodies_held",
            Self::BodiesSpooled => "bodies_spooled",
            Self::SiteFull => "site_connections",
            Self::OriginsFull => "origin_connections",
            Self::Limited(_) => "limited",
            Self::Starting => "starting",
            Self::Loop => "loop",
            Self::NotCached => "not_cached",
            Self::Origin(fault) => fault.as_str(),
            Self::AnsweredEarly => "origin_answered_early",
            Self::ClosedByPlugin => "closed_by_plugin",
            Self::Internal => "internal",
            Self::ClientGone => "client_gone",
        }
    }

    /// What happened, for the person who sees the page. Names no rule and no server.
    #[must_use]
    pub fn sentence(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::BadRequest(why) => return format!("This request cannot be served. {why}").into(),
            Self::Rejected(why) => {
                return format!("This request cannot be served. {}", why.sentence()).into();
            }
            Self::Limited(seconds) => {
                let unit = if seconds == 1 { "second" } else { "seconds" };
                return format!("More was asked of this site than one client may ask. It can be asked again in {seconds} {unit}.").into();
            }
            Self::NoSite => "No site is served under this name here.",
            Self::Misdirected => {
                "This connection was made for another site; a new one will be needed."
            }
            Self::NoClientCertificate => {
                "This site is only for those who show a certificate of their own, over TLS."
            }
            Self::Method => "This method is not served here.",
            Self::ClientTimeout => "The request took too long to arrive.",
            Self::BodyTooLarge => "What was sent is larger than this site takes.",
            Self::BodyEncoding => "What was sent is compressed in a way this site does not take.",
            Self::Blocked(_) => {
                "This request was blocked because it looks like an attack on the site."
            }
            Self::PluginFailed => "This request could not be checked, so it was not let through.",
            Self::BodiesHeld | Self::BodiesSpooled => {
                "Too much is being sent to this site right now."
            }
            Self::OriginsFull => "Too much is going on here right now.",
            Self::SiteFull => "Too many visitors are connected to this site right now.",
            Self::Banned => "Your address may not use this site for now.",
            Self::Starting => "This server is starting and will be ready in a moment.",
            Self::Loop => "This request goes round in a circle.",
            Self::NotCached => "Only what is stored here was asked for, and this is not.",
            Self::Origin(OriginFault::NoServer) => "The site has no server that could answer.",
            Self::Origin(
                OriginFault::ConnectTimeout | OriginFault::ReadTimeout | OriginFault::WriteTimeout,
            ) => "The site's server did not answer in time.",
            Self::Origin(OriginFault::Closed) => {
                "The site's server broke off before it had answered."
            }
            Self::Origin(OriginFault::BadResponse) => {
                "The site's server gave an answer that is not HTTP."
            }
            Self::Origin(_) => "The site's server cannot be reached.",
            Self::AnsweredEarly => "The site's server answered before it had what was sent to it.",
            Self::Internal => "Something went wrong here.",
            Self::ClientGone | Self::ClosedByPlugin => "The connection was closed.",
        })
    }

    /// Seconds after which another try makes sense.
    #[must_use]
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Self::Limited(seconds) => Some(seconds),
            Self::Starting => Some(2),
            Self::BodiesHeld
            | Self::BodiesSpooled
            | Self::SiteFull
            | Self::OriginsFull
            | Self::PluginFailed
            | Self::Origin(OriginFault::NoServer) => Some(5),
            _ => None,
        }
    }
}

/// Why the door ended what is read or written. An origin's codes mean nothing here.
fn rejected(error: &Error) -> Option<Reject> {
    if !matches!(error.esource(), ErrorSource::Downstream) {
        return None;
    }
    let cause = error.root_cause();
    if let Some(io) = cause.downcast_ref::<std::io::Error>() {
        return io.get_ref()?.downcast_ref::<Reject>().copied();
    }
    let reset = cause.downcast_ref::<h2::Error>()?.reason()?;
    Reject::of_reset_code(reset.into())
}

/// A fault on its way through Pingora's error type.
#[derive(Debug)]
struct Carried(Fault);

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl std::error::Error for Carried {}

#[cfg(test)]
mod tests {
    use super::{Fault, OriginFault};
    use pingora_error::{Error, ErrorType};

    #[test]
    fn faults_of_the_origin_are_told_apart() {
        for (kind, status, word) in [
            (ErrorType::ConnectRefused, 502, "origin_refused"),
            (ErrorType::ConnectTimedout, 504, "origin_connect_timeout"),
            (ErrorType::ReadTimedout, 504, "origin_read_timeout"),
            (ErrorType::ConnectionClosed, 502, "origin_closed"),
            (ErrorType::InvalidHTTPHeader, 502, "origin_bad_response"),
            (ErrorType::TLSHandshakeFailure, 502, "origin_tls"),
        ] {
            let fault = Fault::of(&Error::new_up(kind));
            assert_eq!((fault.status(), fault.as_str()), (status, word));
        }
    }

    #[test]
    fn a_client_that_is_gone_gets_no_page_and_a_slow_one_a_408() {
        assert_eq!(
            Fault::of(&Error::new_down(ErrorType::ConnectionClosed)).status(),
            0
        );
        assert_eq!(
            Fault::of(&Error::new_down(ErrorType::ReadTimedout)).status(),
            408
        );
        assert_eq!(
            Fault::of(&Error::new_down(ErrorType::InvalidHTTPHeader)).status(),
            400
        );
    }

    #[test]
    fn what_the_door_refuses_in_a_body_keeps_its_reason() {
        let why = aegis_identity::Reject::ChunkSize;
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, why);
        let error = Error::because(ErrorType::ReadError, "when reading body", io).into_down();
        let fault = Fault::of(&error.more_context("more"));
        assert_eq!(fault, Fault::Rejected(why));
        assert_eq!((fault.status(), fault.as_str()), (400, "chunk_size"));
    }

    #[test]
    fn a_stream_that_the_door_ended_tells_why_and_one_that_others_reset_does_not() {
        use aegis_identity::Reject;
        let reset = |why: Reject| h2::Error::from(h2::Reason::from(why.reset_code()));
        let error = |why| Error::because(ErrorType::ReadError, "when reading body", reset(why));
        for why in [Reject::BodyRate, Reject::BodyTimeout, Reject::SlowReader] {
            let fault = Fault::of(&error(why).into_down());
            assert_eq!(fault, Fault::Rejected(why));
            // The same from an origin.
            let fault = Fault::of(&error(why).into_up());
            assert!(matches!(fault, Fault::Origin(_)), "{fault:?}");
        }
        // A client accuses itself of something that its stream was not ended for.
        let fault = Fault::of(&error(Reject::ChunkSize).into_down());
        assert_eq!(fault, Fault::ClientGone);
    }

    #[test]
    fn a_stream_a_plugin_closed_is_told_from_a_client_that_left() {
        let fault = Fault::of(&Fault::ClosedByPlugin.into_error());
        assert_eq!((fault.status(), fault.as_str()), (0, "closed_by_plugin"));
    }

    #[test]
    fn a_fault_of_ours_comes_through_pingora_as_it_was() {
        for fault in [
            Fault::Blocked(403),
            Fault::Origin(OriginFault::NoServer),
            Fault::BadRequest("x"),
        ] {
            let error = fault.into_error().more_context("peer");
            assert_eq!(Fault::of(&error), fault);
            assert!(!error.retry());
        }
    }
}
