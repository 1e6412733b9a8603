//! The files the settings refer to: that each can be read, how large they are together, and what they hold, as a hash.

use crate::context::Checker;
use crate::limits::REFERENCED_BYTES_MAX;
use crate::model::{Secret, Settings, WafLayer};
use crate::scalar::show_size;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Reads every file once, in order of the settings; returns their paths and the config id.
pub(crate) fn read(
    settings: &Settings,
    text: &str,
    checker: &mut Checker<'_, '_>,
) -> (Vec<PathBuf>, String) {
    let mut reader = Reader {
        hasher: blake3::Hasher::new(),
        left: REFERENCED_BYTES_MAX,
        full: false,
    };
    reader.hasher.update(text.as_bytes());
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for (key, path) in referenced(settings) {
        if checker.is_bad(&key) || !seen.insert(path.clone()) {
            continue;
        }
        match reader.read(&path) {
            Ok(()) => files.push(path),
            Err(Refused::TooMuch) if reader.full => {}
            Err(Refused::TooMuch) => {
                reader.full = true;
                let what = format!(
                    ": with {} the files the settings refer to have more than {}",
                    path.display(),
                    show_size(REFERENCED_BYTES_MAX)
                );
                checker.error(&key, &what, "use smaller files, or fewer");
            }
            Err(Refused::Unreadable(what, help)) => {
                checker.error(&key, &format!(": {} {what}", path.display()), help);
            }
        }
    }
    variables(settings, checker);
    let id = reader.hasher.finalize().to_hex();
    (files, id.chars().take(16).collect())
}

struct Reader {
    hasher: blake3::Hasher,
    left: u64,
    full: bool,
}

enum Refused {
    TooMuch,
    Unreadable(String, String),
}

impl Reader {
    fn read(&mut self, path: &Path) -> Result<(), Refused> {
        let failed = |error: io::Error| unreadable(&error, path);
        // Looked at before it is opened: opening a pipe would wait for its other end.
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            let what = if metadata.is_dir() {
                "is a directory"
            } else {
                "is not a regular file"
            };
            return Err(Refused::Unreadable(
                what.to_owned(),
                "name a file".to_owned(),
            ));
        }
        let mut file = File::open(path)
            .map_err(failed)?
            .take(self.left.saturating_add(1));
        // The length comes behind the content, so that bytes cannot move from one file to the next unseen.
        let bytes = io::copy(&mut file, &mut self.hasher).map_err(failed)?;
        self.left = self.left.checked_sub(bytes).ok_or(Refused::TooMuch)?;
        self.hasher.update(&bytes.to_le_bytes());
        Ok(())
    }
}

fn unreadable(error: &io::Error, path: &Path) -> Refused {
    let (what, help) = match error.kind() {
        io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.is_dir());
            let help = folder.map_or_else(
                || {
                    "create it, or correct the path; relative paths start at the settings file"
                        .to_owned()
                },
                |folder| {
                    format!(
                        "there is no folder {}; relative paths start at the settings file",
                        folder.display()
                    )
                },
            );
            ("does not exist".to_owned(), help)
        }
        io::ErrorKind::PermissionDenied => (
            "may not be read".to_owned(),
            "give the user that runs aegis the right to read it".to_owned(),
        ),
        _ => (
            format!("cannot be read: {error}"),
            "look at the file system".to_owned(),
        ),
    };
    Refused::Unreadable(what, help)
}

/// Every file with the key that names it, in order of the settings.
fn referenced(settings: &Settings) -> Vec<(String, PathBuf)> {
    let mut out = Vec::new();
    for (index, certificate) in settings.certificates.iter().enumerate() {
        out.push((
            format!("certificates[{index}].cert"),
            certificate.cert.clone(),
        ));
        if let Secret::File(path) = &certificate.key {
            out.push((format!("certificates[{index}].key"), path.clone()));
        }
    }
    for (index, token) in settings.node.admin.tokens.iter().enumerate() {
        if let Secret::File(path) = &token.secret {
            out.push((format!("node.admin.tokens[{index}].secret"), path.clone()));
        }
    }
    for (name, profile) in &settings.profiles.waf {
        seclang(&format!("profiles.waf.{name}"), Some(profile), &mut out);
    }
    for (name, pool) in &settings.pools {
        if let Some(ca) = pool.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
            out.push((format!("pools.{name}.tls.ca"), ca.clone()));
        }
    }
    for (name, plugin) in &settings.plugins {
        out.push((format!("plugins.{name}.module"), plugin.module.clone()));
    }
    for (index, site) in settings.sites.iter().enumerate() {
        let key = format!("sites[{index}]");
        if let Some(auth) = &site.client_auth {
            out.push((format!("{key}.client_auth.ca"), auth.ca.clone()));
            if let Some(crl) = &auth.crl {
                out.push((format!("{key}.client_auth.crl"), crl.clone()));
            }
        }
        seclang(&format!("{key}.waf"), site.waf.as_ref(), &mut out);
        for (at, route) in site.routes.iter().enumerate() {
            seclang(
                &format!("{key}.routes[{at}].waf"),
                route.waf.as_ref(),
                &mut out,
            );
        }
    }
    out
}

fn seclang(key: &str, layer: Option<&WafLayer>, out: &mut Vec<(String, PathBuf)>) {
    let lists = [
        (
            "seclang_before",
            layer.and_then(|layer| layer.seclang_before.as_ref()),
        ),
        ("seclang", layer.and_then(|layer| layer.seclang.as_ref())),
    ];
    for (name, files) in lists {
        for (index, file) in files.iter().flat_map(|set| &set.value).enumerate() {
            out.push((format!("{key}.{name}[{index}]"), file.clone()));
        }
    }
}

fn variables(settings: &Settings, checker: &mut Checker<'_, '_>) {
    let keys = settings.certificates.iter().enumerate();
    let keys = keys.map(|(index, one)| (format!("certificates[{index}].key"), &one.key));
    let tokens = settings.node.admin.tokens.iter().enumerate();
    let tokens =
        tokens.map(|(index, one)| (format!("node.admin.tokens[{index}].secret"), &one.secret));
    for (key, secret) in keys.chain(tokens) {
        if let Secret::Env(name) = secret
            && !checker.is_bad(&key)
            && std::env::var_os(name).is_none_or(|value| value.is_empty())
        {
            let help = "set it where aegis is started, or use `file:PATH`";
            checker.error(
                &key,
                &format!(": the environment variable {name} is not set"),
                help,
            );
        }
    }
}
