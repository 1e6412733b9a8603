//! What a site says about TLS: who must come over it, and who may come at all.

use crate::define::{choices, default, optional, required, settings};
use crate::kind::file::path;
use crate::kind::scalar::{choice, flag, ms, secs, time};
use crate::kind::{list, maybe};
use std::path::PathBuf;
use std::time::Duration;

choices! {
    /// What plain HTTP gets.
    pub enum Https {
        /// The site.
        Optional = "optional",
        /// A redirect to the same place over TLS: 301 for GET and HEAD, 308 for the others.
        Redirect = "redirect",
    }
}

settings! {
    /// `Strict-Transport-Security` (RFC 6797), on answers over TLS.
    pub struct Hsts {
        /// How long browsers shall come over TLS only; 0s = no longer.
        max_age: Duration = time(ms(0), secs(10 * 365 * 86_400)) => default("365d");
        /// For all hosts below this one too.
        include_subdomains: bool = flag() => default("false");
        /// Ask to be built into browsers (hstspreload.org); hard to take back.
        preload: bool = flag() => default("false");
    }
}

settings! {
    /// Certificates of clients (mutual TLS).
    pub struct ClientAuth {
        /// Whether every client must show one.
        mode: ClientAuthMode = choice() => default("required");
        /// PEM file with the authorities that issue them; whoever they issued a certificate for TLS clients to is let in.
        ca: PathBuf = path() => required(&["tls/clients-ca.pem"]);
        /// PEM file with the authorities' revocation lists. With it, the authority that issued a client's certificate needs
        /// a list, or lets nobody in; those above it are checked where they have one. A list whose time ends goes on counting.
        crl: Option<PathBuf> = maybe(path()) => optional(&["tls/clients-crl.pem"]);
        /// What the origin is told of a client's certificate. Clients cannot write these fields themselves.
        forward: Vec<ClientField> = list(choice(), 0, 3) => default("[certificate]");
    }
}

choices! {
    /// Whether a certificate is needed.
    pub enum ClientAuthMode {
        /// Without one there is no connection.
        Required = "required",
        /// Without one the origin is told of none; a bad one is refused all the same.
        Optional = "optional",
    }
}

choices! {
    /// A field for the origin.
    pub enum ClientField {
        /// `Client-Cert`: the certificate (RFC 9440).
        Certificate = "certificate",
        /// `X-Client-Cert-Subject`: its subject, as in `CN=anna,O=Example` (RFC 4514).
        Subject = "subject",
        /// `X-Client-Cert-Fingerprint`: SHA-256 of it, in hexadecimal.
        Fingerprint = "fingerprint",
    }
}
