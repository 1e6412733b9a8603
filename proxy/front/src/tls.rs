//! The TLS side of a listener.

use crate::conn::Conn;
use crate::refusal::Refusal;
use aegis_certs::{Certificates, ClientAuth, Protocols, apply_policy, subject};
use aegis_identity::{Alpn, Asked, ClientCertificate, Ja4, TlsFacts};
use aegis_settings::model::{ListenerTls, TlsPreset};
use aegis_telemetry::metrics::TLS_HANDSHAKES;
use boring::asn1::Asn1Time;
use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::ssl::{
    ClientHello, ExtensionType, NameType, SelectCertError, Ssl, SslAcceptor, SslMethod, SslRef,
    SslVersion,
};
use pingora_core::protocols::tls::SslStream;
use pingora_core::protocols::tls::server::prepare_tls_stream;
use std::sync::{Arc, LazyLock};

/// Where a connection keeps the fingerprint of its `ClientHello` until the handshake is done.
static FINGERPRINT: LazyLock<Option<Index<Ssl, Ja4>>> = LazyLock::new(|| Ssl::new_ex_index().ok());

/// What a TLS listener accepts with.
///
/// The certificate is chosen in BoringSSL's early callback by switching to a context that the store has ready. Pingora's
/// own way (suspend the handshake, call an async callback, set certificate and key) allocates twice and encodes the
/// chain anew for every handshake.
pub(crate) fn acceptor(
    tls: &ListenerTls,
    certificates: Arc<Certificates>,
) -> Result<SslAcceptor, ErrorStack> {
    let protocols = if tls.http2 {
        Protocols::H2AndHttp1
    } else {
        Protocols::Http1
    };
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    apply_policy(&mut builder, protocols)?;
    builder.set_min_proto_version(Some(match tls.preset {
        TlsPreset::Intermediate => SslVersion::TLS1_2,
        TlsPreset::Modern => SslVersion::TLS1_3,
    }))?;
    builder.set_select_certificate_callback(move |hello| choose(&certificates, protocols, hello));
    Ok(builder.build())
}

fn choose(
    certificates: &Certificates,
    protocols: Protocols,
    mut hello: ClientHello<'_>,
) -> Result<(), SelectCertError> {
    fingerprint(&mut hello);
    let store = certificates.current();
    let name = hello.servername(NameType::HOST_NAME);
    let asking = store.client_auth(name).map(Arc::clone);
    let offer = store.choose(name).ok_or(SelectCertError::ERROR)?;
    let key =
        Arc::clone(offer.for_client(|| hello.get_extension(ExtensionType::SIGNATURE_ALGORITHMS)));
    hello
        .ssl_mut()
        .set_ssl_context(key.context(protocols))
        .map_err(|_| SelectCertError::ERROR)?;
    // After the context, which brings a session's of its own.
    asking
        .map_or(Ok(()), |asking| asking.ask(hello.ssl_mut()))
        .map_err(|_| SelectCertError::ERROR)
}

/// Keeps what the client's offer says of its program; some microseconds of a handshake.
fn fingerprint(hello: &mut ClientHello<'_>) {
    if let (Some(place), Some(ja4)) = (*FINGERPRINT, Ja4::of_client_hello(hello.as_bytes())) {
        hello.ssl_mut().set_ex_data(place, ja4);
    }
}

/// Shakes hands.
pub(crate) async fn handshake(
    acceptor: &SslAcceptor,
    conn: Conn,
) -> Result<SslStream<Conn>, Refusal> {
    let mut stream = prepare_tls_stream(acceptor, conn).map_err(|_| Refusal::TlsError)?;
    match stream.accept().await {
        Ok(()) => Ok(stream),
        Err(_) if stream.get_ref().is_hello_late() => Err(Refusal::HelloTimeout),
        Err(error) => {
            tracing::debug!(%error, "TLS handshake");
            Err(Refusal::of_handshake(&error))
        }
    }
}

/// What was agreed on; counted.
///
/// # Errors
/// The client's certificate cannot be taken after all.
pub(crate) fn facts(ssl: &SslRef) -> Result<TlsFacts, Refusal> {
    let asked = ClientAuth::of(ssl).map(|rules| asked(ssl, rules));
    let resumed = if ssl.session_reused() { "yes" } else { "no" };
    TLS_HANDSHAKES.with(&[ssl.version_str(), resumed]).inc();
    Ok(TlsFacts {
        asked: asked.transpose()?,
        version: ssl.version_str(),
        cipher: ssl.current_cipher().map_or("", |cipher| cipher.name()),
        sni: ssl.servername(NameType::HOST_NAME).and_then(server_name),
        alpn: ssl.selected_alpn_protocol().and_then(Alpn::from_wire),
        group: ssl.curve_name(),
        ja4: FINGERPRINT.and_then(|place| ssl.ex_data(place).copied()),
    })
}

/// Longest certificate of a client: the origin gets it with every request.
const CLIENT_CERTIFICATE_MAX: usize = 16 << 10;

/// What a client showed that was asked by these rules.
fn asked(ssl: &SslRef, rules: &ClientAuth) -> Result<Box<Asked>, Refusal> {
    let shown = ssl.peer_certificate();
    if shown.is_none() && rules.is_required() {
        return Err(Refusal::NoClientCertificate);
    }
    let certificate = shown.map(|shown| {
        let now = Asn1Time::days_from_now(0).map_err(|_| Refusal::TlsError)?;
        // A session that is resumed brings the certificate of its first handshake, and nobody looks at its time again.
        if *shown.not_after() < now {
            return Err(Refusal::ClientCertificate);
        }
        let der = shown.to_der().map_err(|_| Refusal::TlsError)?;
        if der.len() > CLIENT_CERTIFICATE_MAX {
            return Err(Refusal::ClientCertificate);
        }
        let digest = boring::sha::sha256(&der);
        let hex = digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        Ok(ClientCertificate {
            subject: subject(shown.subject_name()).into(),
            fingerprint: hex.into(),
            field: format!(":{}:", boring::base64::encode_block(&der)).into(),
        })
    });
    Ok(Box::new(Asked {
        rules: *rules.id(),
        certificate: certificate.transpose()?,
    }))
}

/// A name that is one: what a client puts there otherwise shall not reach a log or a module.
fn server_name(name: &str) -> Option<Box<str>> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty() && name.bytes().all(valid)).then(|| name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_name_is_kept_of_what_a_client_names() {
        assert_eq!(
            server_name("Shop.Example.").as_deref(),
            Some("shop.example")
        );
        for name in ["", ".", "a b", "a\nb", "a\"b", "é.example", "a/b"] {
            assert_eq!(server_name(name), None, "{name:?}");
        }
    }
}
