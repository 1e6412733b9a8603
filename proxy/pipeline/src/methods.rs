//! Which methods a route takes.
//!
//! It is the last word on a request's method: `match.methods` only chooses among routes, and the door has refused what is
//! no token. A method that is not taken gets 405 with `Allow` (RFC 9110 §15.5.6), and its connection goes on.

use http::HeaderValue;

/// All methods of IANA's registry but these: CONNECT and TRACE, which are never served (one makes a tunnel, the other
/// echoes what a page may not see), and `PRI` and `*`, which are registered so that nobody uses them.
///
/// Sorted, as it is searched.
const REGISTERED: [&str; 37] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// The methods of one route.
#[derive(Debug)]
pub(crate) struct Methods {
    /// As listed; none = all that are registered.
    listed: Box<[Box<str>]>,
    /// What a 405 says.
    allow: HeaderValue,
}

impl Methods {
    /// From the key `methods`; none = the default.
    pub(crate) fn new(listed: &[String]) -> Self {
        let allow = if listed.is_empty() {
            REGISTERED.join(", ")
        } else {
            listed.join(", ")
        };
        Self {
            listed: listed.iter().map(|method| method.as_str().into()).collect(),
            // Settings have let only tokens pass.
            allow: HeaderValue::from_str(&allow).unwrap_or(HeaderValue::from_static("")),
        }
    }

    /// Whether it is one of them (case counts, RFC 9110 §9.1).
    pub(crate) fn take(&self, method: &str) -> bool {
        if self.listed.is_empty() {
            matches!(method, "GET" | "HEAD" | "POST") || REGISTERED.binary_search(&method).is_ok()
        } else {
            self.listed.iter().any(|listed| **listed == *method)
        }
    }

    /// The value of `Allow`.
    pub(crate) fn allow(&self) -> HeaderValue {
        self.allow.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{Methods, REGISTERED};

    #[test]
    fn the_registered_ones_are_taken_unless_there_is_a_list() {
        assert!(REGISTERED.is_sorted());
        let all = Methods::new(&[]);
        for method in REGISTERED {
            assert!(all.take(method), "{method}");
        }
        for method in ["CONNECT", "TRACE", "PRI", "*", "get", "BREW", "PURGE", ""] {
            assert!(!all.take(method), "{method}");
        }
        assert!(all.allow().to_str().unwrap().contains("PATCH, POST, PROP"));
        let some = Methods::new(&["GET".to_owned(), "PURGE".to_owned()]);
        let taken = ["GET", "PURGE", "HEAD", "POST", "purge"].map(|method| some.take(method));
        assert_eq!(taken, [true, true, false, false, false]);
        assert_eq!(some.allow(), "GET, PURGE");
    }
}
