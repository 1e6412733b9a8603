//! What a site says about TLS: over what its requests must come, whose they may be, and what is said of that to the origin
//! and to browsers.
//!
//! **Invariant:** a site that asks for certificates of clients serves a request only if its connection was made by the
//! rules that the site has now: those of its own authorities and lists, as they are. Any other connection gets 421
//! (RFC 9110 §15.5.20), whatever name its handshake was made for: one that a browser shares between names of one
//! certificate (RFC 9113 §9.1.1), one from before a certificate was revoked, one that lies about its host.

use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::facts::Facts;
use crate::fault::Fault;
use aegis_identity::ClientCertificate;
use aegis_settings::model::{ClientAuthMode, ClientField, Hsts};
use aegis_settings::resolved::SiteTls;
use http::{HeaderValue, header};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use std::fmt::Write;

/// Of one site.
#[derive(Debug)]
pub(crate) struct Gate {
    /// It has no wish at all.
    is_open: bool,
    asking: Option<Asking>,
    redirect: Option<u16>,
    hsts: Option<HeaderValue>,
}

/// Certificates of clients.
#[derive(Debug)]
struct Asking {
    /// Which handshakes asked by these rules; `None` until that is known: then by none.
    rules: Option<[u8; 32]>,
    required: bool,
    forward: Vec<ClientField>,
}

impl Gate {
    pub(crate) fn build(tls: &SiteTls) -> Self {
        let asking = tls.client_auth.as_ref().map(|auth| Asking {
            rules: None,
            required: auth.mode == ClientAuthMode::Required,
            forward: auth.forward.clone(),
        });
        Self {
            is_open: asking.is_none() && tls.redirect.is_none() && tls.hsts.is_none(),
            asking,
            redirect: tls.redirect,
            hsts: tls.hsts.as_ref().and_then(hsts),
        }
    }

    /// Says by which rules handshakes ask for this site.
    pub(crate) fn know(&mut self, rules: [u8; 32]) {
        if let Some(asking) = &mut self.asking {
            asking.rules = Some(rules);
        }
    }

    /// Whose certificate the request came with, if the site asks.
    pub(crate) fn certificate<'a>(&self, ctx: &'a Ctx) -> Option<&'a ClientCertificate> {
        let rules = self.asking.as_ref()?.rules?;
        let asked = ctx.connection()?.asked()?;
        asked.certificate.as_ref().filter(|_| asked.rules == rules)
    }
}

/// Stage 6, after the site is known.
pub(crate) fn check(facts: &Facts<'_>, ctx: &Ctx) -> std::result::Result<(), Answer> {
    let Some(gate) = ctx.routed().map(|routed| &routed.site_plan.gate) else {
        return Ok(());
    };
    // Who asked for the refresh of a stored answer has passed here.
    if gate.is_open || ctx.is_subrequest {
        return Ok(());
    }
    if let Some(port) = gate.redirect
        && ctx.scheme() == "http"
    {
        return Err(redirect(facts, port));
    }
    gate.asking
        .as_ref()
        .map_or(Ok(()), |asking| admit(asking, ctx))
}

fn admit(asking: &Asking, ctx: &Ctx) -> std::result::Result<(), Answer> {
    if ctx
        .connection()
        .is_none_or(|connection| connection.tls.is_none())
    {
        return if asking.required {
            Err(Fault::NoClientCertificate.into())
        } else {
            Ok(())
        };
    }
    let asked = ctx.connection().and_then(|connection| connection.asked());
    let Some(asked) = asked.filter(|asked| Some(asked.rules) == asking.rules) else {
        return Err(Fault::Misdirected.into());
    };
    if asking.required && asked.certificate.is_none() {
        // The handshake does not let it come to this.
        return Err(Fault::NoClientCertificate.into());
    }
    Ok(())
}

/// To the same place over TLS: 301 where the method does not matter, 308 where it must stay (RFC 9110 §15.4).
fn redirect(facts: &Facts<'_>, port: u16) -> Answer {
    let Some(host) = facts.host.and_then(aegis_origin::normalize_host) else {
        return Fault::BadRequest("It names no host.").into();
    };
    let mut location = format!("https://{host}");
    if port != 443 {
        // Writing to a string cannot fail.
        let _written = write!(location, ":{port}");
    }
    location.push_str(facts.origin_form);
    let status = if matches!(facts.method, "GET" | "HEAD") {
        301
    } else {
        308
    };
    match HeaderValue::from_str(&location) {
        Ok(location) => Answer::Redirect { status, location },
        Err(_) => Fault::BadRequest("Its path cannot be redirected.").into(),
    }
}

fn hsts(written: &Hsts) -> Option<HeaderValue> {
    let mut value = format!("max-age={}", written.max_age.as_secs());
    if written.include_subdomains {
        value.push_str("; includeSubDomains");
    }
    if written.preload {
        value.push_str("; preload");
    }
    HeaderValue::from_str(&value).ok()
}

/// Tells browsers to come over TLS, and only over TLS (RFC 6797 §7.2).
pub(crate) fn strict_transport(head: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    let gate = ctx.routed().map(|routed| &routed.site_plan.gate);
    let Some(value) = gate.and_then(|gate| gate.hsts.as_ref()) else {
        return Ok(());
    };
    if ctx.scheme() == "https" {
        head.insert_header(header::STRICT_TRANSPORT_SECURITY, value.clone())?;
    } else {
        head.remove_header(&header::STRICT_TRANSPORT_SECURITY);
    }
    Ok(())
}

/// Tells the origin whose certificate it was. What a client wrote in these fields is gone already.
pub(crate) fn tell_origin(head: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let gate = ctx.routed().map(|routed| &routed.site_plan.gate);
    let Some((asking, shown)) =
        gate.and_then(|gate| Some((gate.asking.as_ref()?, gate.certificate(ctx)?)))
    else {
        return Ok(());
    };
    for field in &asking.forward {
        let (name, value) = match field {
            ClientField::Certificate => ("Client-Cert", &shown.field),
            ClientField::Subject => ("X-Client-Cert-Subject", &shown.subject),
            ClientField::Fingerprint => ("X-Client-Cert-Fingerprint", &shown.fingerprint),
        };
        head.insert_header(name, &**value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{hsts, redirect};
    use crate::answer::Answer;
    use crate::facts::Facts;
    use aegis_settings::model::Hsts;
    use pingora_http::RequestHeader;
    use std::time::Duration;

    #[test]
    fn a_redirect_keeps_host_path_and_method_and_names_a_port_that_is_not_the_usual() {
        for (method, host, port, status, location) in [
            ("GET", "A.example:80", 443, 301, "https://a.example/x?y=1"),
            (
                "HEAD",
                "a.example",
                8443,
                301,
                "https://a.example:8443/x?y=1",
            ),
            ("POST", "a.example", 443, 308, "https://a.example/x?y=1"),
            ("GET", "[::1]:80", 443, 301, "https://[::1]/x?y=1"),
        ] {
            let mut head = RequestHeader::build(method, b"/x?y=1", None).expect("a head");
            head.insert_header("Host", host).expect("a value");
            let answer = redirect(&Facts::of(&head).expect("a request"), port);
            let Answer::Redirect {
                status: found,
                location: to,
            } = answer
            else {
                panic!("{answer:?}")
            };
            assert_eq!((found, to.to_str().expect("text")), (status, location));
        }
    }

    #[test]
    fn the_policy_for_browsers_reads_as_the_standard_has_it() {
        let value = |include_subdomains, preload| {
            let written = Hsts {
                max_age: Duration::from_secs(31_536_000),
                include_subdomains,
                preload,
            };
            hsts(&written).expect("a value")
        };
        assert_eq!(value(false, false), "max-age=31536000");
        assert_eq!(
            value(true, true),
            "max-age=31536000; includeSubDomains; preload"
        );
    }
}
