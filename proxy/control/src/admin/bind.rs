//! Binding: a socket that replaces a stale one in one step and never has wider permissions than it should.

use crate::error::ControlError;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

pub(super) fn tcp(address: SocketAddr) -> Result<std::net::TcpListener, ControlError> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| ControlError::Metrics { address, error })
}

/// A bound admin socket; dropping it removes the file, if it is still ours.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    inode: u64,
    listener: UnixListener,
}

impl Socket {
    pub(super) fn bind(path: &Path) -> Result<Self, ControlError> {
        let inner = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            // Made under another name and renamed: whoever finds it finds it with its permissions, and a socket that a
            // dead or an ending process left is replaced without a gap.
            let aside = path.with_extension("new");
            match fs::remove_file(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&aside)?;
            fs::set_permissions(&aside, fs::Permissions::from_mode(0o660))?;
            listener.set_nonblocking(true)?;
            fs::rename(&aside, path)?;
            let inode = fs::metadata(path)?.ino();
            Ok(Self {
                path: path.to_path_buf(),
                inode,
                listener,
            })
        };
        inner().map_err(|error| ControlError::Socket {
            path: path.to_path_buf(),
            error,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle; the file goes when `self` does.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the admin socket stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_only_ones_own_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deep/admin.sock");
        let old = Socket::bind(&path).expect("binds");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let new = Socket::bind(&path).expect("takes over");
        drop(old);
        assert!(path.exists());
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn a_failure_names_the_place_and_the_key() {
        let error = Socket::bind(Path::new("/proc/nowhere/admin.sock")).expect_err("cannot");
        assert!(error.to_string().contains("/proc/nowhere/admin.sock"));
        assert!(error.to_string().contains("node.admin.socket"));
        let held = tcp(([127, 0, 0, 1], 0).into()).expect("binds");
        let error = tcp(held.local_addr().expect("bound")).expect_err("taken");
        assert!(error.to_string().contains("node.admin.metrics"));
    }
}
