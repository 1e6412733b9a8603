//! Authorities and certificates made by the openssl command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// An authority and what it signed, in a folder that goes with it.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
}

/// Files of one certificate.
#[derive(Debug, Clone)]
pub struct Pair {
    /// PEM, leaf only.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority with a P-256 key.
    #[must_use]
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a folder");
        let authority = Self { dir };
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=Aegis test authority",
            "-keyout",
            &authority.path("ca.key"),
            "-out",
            &authority.path("ca.pem"),
        ]);
        authority
    }

    /// The authority's certificate.
    #[must_use]
    pub fn cert(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A P-256 certificate for these names, valid for 60 days.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.sign(names, &["-days", "60"])
    }

    /// A certificate that ended long ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Pair {
        // openssl 3.0 cannot set dates with `x509 -req`; a negative number of days it can.
        self.sign(names, &["-days", "-1"])
    }

    /// Its revocation list with these in it, valid for 30 days.
    #[must_use]
    pub fn revocation_list(&self, revoked: &[&Pair]) -> PathBuf {
        self.list(revoked, &["-crldays", "30"])
    }

    /// A revocation list with these in it that ended long ago.
    #[must_use]
    pub fn revocation_list_expired(&self, revoked: &[&Pair]) -> PathBuf {
        let times = [
            "-crl_lastupdate",
            "20200101000000Z",
            "-crl_nextupdate",
            "20200201000000Z",
        ];
        self.list(revoked, &times)
    }

    fn list(&self, revoked: &[&Pair], validity: &[&str]) -> PathBuf {
        let (stem, configuration) = (
            format!("list-{:08x}", fastrand::u32(..)),
            self.path("ca.cnf"),
        );
        let (database, ca, key) = (
            self.path("ca.txt"),
            self.path("ca.pem"),
            self.path("ca.key"),
        );
        std::fs::write(&database, "").expect("a file");
        std::fs::write(
            &configuration,
            format!("[ca]\ndefault_ca=d\n[d]\ndatabase={database}\ncertificate={ca}\nprivate_key={key}\ndefault_md=sha256\n"),
        )
        .expect("a file");
        for pair in revoked {
            openssl(&[
                "ca",
                "-config",
                &configuration,
                "-revoke",
                &text(&pair.cert),
            ]);
        }
        let list = self.dir.path().join(format!("{stem}.crl"));
        let out = text(&list);
        let command = ["ca", "-config", &configuration, "-gencrl", "-out", &out];
        openssl(&[&command[..], validity].concat());
        list
    }

    fn sign(&self, names: &[&str], validity: &[&str]) -> Pair {
        let stem = format!("{}-{:08x}", names[0].replace('*', "any"), fastrand::u32(..));
        let pair = Pair {
            cert: self.dir.path().join(format!("{stem}.pem")),
            key: self.dir.path().join(format!("{stem}.key")),
        };
        let request = self.path(&format!("{stem}.csr"));
        let extensions = self.dir.path().join(format!("{stem}.ext"));
        let alternative: Vec<String> = names
            .iter()
            .map(|n| {
                if n.parse::<std::net::IpAddr>().is_ok() {
                    format!("IP:{n}")
                } else {
                    format!("DNS:{n}")
                }
            })
            .collect();
        std::fs::write(
            &extensions,
            format!("subjectAltName={}\n", alternative.join(",")),
        )
        .expect("a file");
        openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &format!("/CN={}", names[0]),
            "-keyout",
            &text(&pair.key),
            "-out",
            &request,
        ]);
        let (ca, ca_key) = (self.path("ca.pem"), self.path("ca.key"));
        let (extensions, cert) = (text(&extensions), text(&pair.cert));
        let command = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &extensions,
            "-out",
            &cert,
        ];
        openssl(&[&command[..], validity].concat());
        pair
    }

    fn path(&self, name: &str) -> String {
        text(&self.dir.path().join(name))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// The subject of a PEM certificate file, or of what a TLS server at `address` shows for `sni`.
#[must_use]
pub fn served_subject(address: std::net::SocketAddr, sni: &str) -> String {
    let script = format!(
        "openssl s_client -connect {address} -servername {sni} </dev/null 2>/dev/null | openssl x509 -noout -subject -nameopt multiline"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("openssl runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|l| {
            l.trim()
                .strip_prefix("commonName")
                .map(|v| v.trim_start_matches([' ', '=']).to_owned())
        })
        .unwrap_or_default()
}

/// Runs openssl; panics with its words when it fails.
pub fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(args)
        .output()
        .expect("openssl is installed");
    assert!(
        output.status.success(),
        "openssl {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::{Authority, openssl};

    #[test]
    fn certificates_are_valid_or_expired_as_asked() {
        let authority = Authority::new();
        let ca = authority.cert().display().to_string();
        let verify = |cert: &std::path::Path| {
            std::process::Command::new("openssl")
                .args(["verify", "-CAfile", &ca])
                .arg(cert)
                .output()
                .unwrap()
        };
        assert!(
            verify(&authority.issue(&["a.test", "*.b.test", "127.0.0.1"]).cert)
                .status
                .success()
        );
        let expired = verify(&authority.issue_expired(&["a.test"]).cert);
        assert!(String::from_utf8_lossy(&expired.stderr).contains("expired"));
        assert!(openssl(&["version"]).starts_with("OpenSSL"));
    }
}
