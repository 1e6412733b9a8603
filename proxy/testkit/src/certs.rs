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

    /// A P-256 certificate for these names, valid for a day.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_for(names, 1)
    }

    /// As [`Authority::issue`]; `days` may be negative: expired since.
    #[must_use]
    pub fn issue_for(&self, names: &[&str], days: i32) -> Pair {
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
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &self.path("ca.pem"),
            "-CAkey",
            &self.path("ca.key"),
            "-CAcreateserial",
            "-days",
            &days.to_string(),
            "-extfile",
            &text(&extensions),
            "-out",
            &text(&pair.cert),
        ]);
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
