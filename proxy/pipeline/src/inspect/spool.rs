//! Bodies that are read whole before an origin is asked (`waf.body_mode: spool`).
//!
//! A body is kept in memory up to [`MEMORY_MAX`]; what comes then goes to a file without a name in the state directory,
//! so that nothing of it is left when the process is gone, however it went. For the verdict all of it is in memory once
//! more, and for the origin it is read piece by piece, anew for each try.
//!
//! Bounds: what is in memory is held within `node.bodies_held_max`, what is on disk within `node.bodies_spooled_max`, both
//! with shares of sites and sources; [`AT_ONCE`] files are written or read at a time, on threads that serve nobody.

use super::budget::{Budget, Payer, Permit, SPOOLED};
use crate::fault::Fault;
use aegis_telemetry::events::SpoolFailed;
use bytes::{Bytes, BytesMut};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What of a body is in memory before it goes to disk.
const MEMORY_MAX: usize = 1 << 20;
/// What is read at a time for the origin.
const PIECE: usize = 64 << 10;
/// Files that are written or read at a time.
const AT_ONCE: usize = 16;

/// Where bodies go that memory shall not keep.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    budget: Arc<Budget>,
    places: Arc<Semaphore>,
}

impl Disk {
    /// Bodies of `max` bytes together, in `dir`, which is made when it is needed.
    pub(crate) fn new(dir: PathBuf, max: u64) -> Arc<Self> {
        Arc::new(Self {
            dir,
            budget: Budget::new(SPOOLED, max),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// Does `work` where it may block, once there is a place. Whoever gives up before that leaves nothing behind, so that what
    /// waits here is in memory only as long as its request is.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await?
    }

    /// Does `work`, which holds no part of a body yet, where it may block. It goes on if nobody waits for it any more.
    fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> JoinHandle<io::Result<T>> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.run(work).await })
    }

    /// A file without a name.
    fn file(&self) -> io::Result<File> {
        match tempfile::tempfile_in(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut builder = DirBuilder::new();
                builder.recursive(true).mode(0o700).create(&self.dir)?;
                tempfile::tempfile_in(&self.dir)
            }
            made => made,
        }
    }

    fn failed(&self, error: &io::Error) -> Fault {
        SpoolFailed {
            error,
            dir: &self.dir,
        }
        .emit();
        Fault::BodiesSpooled
    }
}

/// How a request's body is kept.
#[derive(Debug)]
pub(crate) enum Kept {
    /// It is not.
    Nothing,
    /// It shall be, when somebody asks for it.
    Wanted(Box<Spool>),
    /// It is here.
    Whole(Box<Body>),
    /// It has gone where the origin's body comes from.
    Lent,
}

impl Kept {
    /// The body was read by us, and to its end.
    pub(crate) fn was_read(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Lent)
    }
}

/// A body on its way in.
#[derive(Debug)]
pub(crate) struct Spool {
    disk: Arc<Disk>,
    file: Option<Arc<File>>,
    on_disk: u64,
    /// What follows that.
    tail: BytesMut,
    memory: Permit,
    room: Permit,
}

impl Spool {
    /// Takes memory out of `bodies`, and room out of the budget of `disk`.
    pub(crate) fn new(disk: &Arc<Disk>, bodies: &Arc<Budget>, payer: &Payer) -> Self {
        Self {
            disk: Arc::clone(disk),
            file: None,
            on_disk: 0,
            tail: BytesMut::new(),
            memory: bodies.permit(payer.clone()),
            room: disk.budget.permit(payer.clone()),
        }
    }

    /// Keeps what came next.
    ///
    /// # Errors
    /// There is no room, or the disk failed.
    pub(crate) async fn push(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        if !self.memory.grow(chunk.len()) {
            return Err(Fault::BodiesHeld);
        }
        self.tail.extend_from_slice(chunk);
        if self.tail.len() > MEMORY_MAX {
            self.spill().await?;
        }
        Ok(())
    }

    async fn spill(&mut self) -> Result<(), Fault> {
        let block = self.tail.split().freeze();
        if !self.room.grow(block.len()) {
            return Err(Fault::BodiesSpooled);
        }
        let (disk, file, at) = (Arc::clone(&self.disk), self.file.take(), self.on_disk);
        self.on_disk += block.len() as u64;
        let written = self.disk.run(move || {
            let file = match file {
                Some(file) => file,
                None => Arc::new(disk.file()?),
            };
            file.write_all_at(&block, at)?;
            Ok(file)
        });
        match written.await {
            Ok(file) => self.file = Some(file),
            Err(error) => return Err(self.disk.failed(&error)),
        }
        self.memory.release();
        Ok(())
    }

    /// That was all.
    pub(crate) fn end(self) -> Body {
        Body {
            disk: self.disk,
            file: self.file.map(|file| (file, self.on_disk)),
            tail: self.tail.freeze(),
            memory: self.memory,
            room: self.room,
        }
    }
}

/// A whole body.
#[derive(Debug)]
pub(crate) struct Body {
    disk: Arc<Disk>,
    /// What of it is on disk, from its start.
    file: Option<(Arc<File>, u64)>,
    /// What follows that.
    tail: Bytes,
    memory: Permit,
    room: Permit,
}

impl Body {
    fn on_disk(&self) -> u64 {
        self.file.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        self.on_disk() + self.tail.len() as u64
    }

    /// All of it in memory, until [`Body::put_down`].
    ///
    /// # Errors
    /// There is no room, or the disk failed.
    pub(crate) async fn load(&mut self) -> Result<Vec<Bytes>, Fault> {
        let mut all = Vec::new();
        if let Some((file, bytes)) = &self.file {
            let length = usize::try_from(*bytes).unwrap_or(usize::MAX);
            if !self.memory.grow_to(length.saturating_add(self.tail.len())) {
                return Err(Fault::BodiesHeld);
            }
            let read = self.disk.run(read(Arc::clone(file), 0, length));
            let read = read.await;
            all.push(read.map_err(|error| self.disk.failed(&error))?);
        }
        if !self.tail.is_empty() {
            all.push(self.tail.clone());
        }
        Ok(all)
    }

    /// What is on disk need not be in memory too.
    pub(crate) fn put_down(&mut self) {
        self.memory.shrink_to(self.tail.len());
    }

    /// A plugin made this of it.
    ///
    /// # Errors
    /// It is longer, and there is no room.
    pub(crate) fn replace(&mut self, new: Bytes) -> Result<(), Fault> {
        if !self.memory.grow_to(new.len()) {
            return Err(Fault::BodiesHeld);
        }
        self.file = None;
        self.room.release();
        self.tail = new;
        Ok(())
    }
}

fn read(file: Arc<File>, at: u64, length: usize) -> impl FnOnce() -> io::Result<Bytes> {
    move || {
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, at)?;
        Ok(piece.into())
    }
}

/// A body on its way to the origin, as often as it takes.
#[derive(Debug)]
pub(crate) struct Replay {
    body: Box<Body>,
    /// What has been given.
    at: u64,
    /// The piece that is being read: a wait for it may be given up and begun anew.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Replay {
    pub(crate) fn new(body: Box<Body>) -> Self {
        Self {
            body,
            at: 0,
            reading: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.body.bytes() == 0
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.body.bytes()
    }

    /// Begins anew.
    pub(crate) fn rewind(&mut self) {
        self.at = 0;
        self.reading = None;
    }

    /// The next piece; `None` at the end. It loses nothing if it is not waited for to its end.
    ///
    /// # Errors
    /// The disk failed.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let body = &self.body;
        let on_disk = body.on_disk();
        let piece = match &body.file {
            Some((file, _)) if self.at < on_disk => {
                let left = usize::try_from(on_disk - self.at).unwrap_or(usize::MAX);
                let begin = || {
                    body.disk
                        .begin(read(Arc::clone(file), self.at, left.min(PIECE)))
                };
                let reading = self.reading.get_or_insert_with(begin);
                let piece = reading.await.unwrap_or_else(|error| Err(error.into()));
                self.reading = None;
                piece.map_err(|error| body.disk.failed(&error))?
            }
            _ => {
                let from = usize::try_from(self.at.saturating_sub(on_disk)).unwrap_or(usize::MAX);
                let end = body.tail.len().min(from.saturating_add(PIECE));
                if from >= end {
                    return Ok(None);
                }
                body.tail.slice(from..end)
            }
        };
        self.at += piece.len() as u64;
        Ok(Some(piece))
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
