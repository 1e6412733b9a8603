//! Sites that ask clients for certificates.

use aegis_testkit::aegis::Builder;
use aegis_testkit::certs::{Authority, Pair};
use aegis_testkit::{Aegis, Curl, Origin, Reply};
use serde_json::{Value, json};

/// An origin that says hello.
#[must_use]
pub fn origin() -> Origin {
    Origin::start(|_| Reply::text("hello"))
}

/// A site that asks clients for certificates.
#[must_use]
pub fn site(host: &str, origin: &Origin, auth: &Value) -> Value {
    json!({ "hosts": [host], "origin": origin.url(), "waf": "off", "client_auth": auth })
}

/// `client_auth:` with this authority alone.
#[must_use]
pub fn asking(authority: &Authority) -> Value {
    json!({ "ca": authority.cert() })
}

/// `private.test` for clients of this authority, and `open.test` for everybody.
#[must_use]
pub fn before(origin: &Origin, auth: &Value) -> Builder {
    let open = json!({ "hosts": ["open.test"], "origin": origin.url(), "waf": "off" });
    Aegis::before(origin).set("sites", json!([site("private.test", origin, auth), open]))
}

/// The request with this certificate.
#[must_use]
pub fn shown(curl: Curl, pair: &Pair) -> Curl {
    let (cert, key) = (
        pair.cert.display().to_string(),
        pair.key.display().to_string(),
    );
    curl.arg(&["--cert", &cert, "--key", &key])
}
