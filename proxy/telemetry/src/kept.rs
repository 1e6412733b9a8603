//! Security events on disk, so that a restart does not forget why a request was stopped: two files of lines of JSON in the
//! state directory, `events.jsonl` and the one before it, together no longer than the bound.
//!
//! Written as the event log is, by a thread of its own from a bounded queue: an event that is told may be lost in the 0.1 s
//! before a crash. Read once, at the start, into the ring; what is no event is passed over.

use crate::lines::{BYTES_MAX, Kind, LINES_MAX, Lines, Target};
use crate::ring::{self, Entry, Ring};
use arc_swap::ArcSwapOption;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

pub(crate) static STORE: ArcSwapOption<Lines> = ArcSwapOption::const_empty();

/// Longest line that is read back; an event is cut to size long before.
const LINE_MAX: u64 = 1 << 20;

/// The events of this process are kept while it lives. Dropping it writes what is queued.
#[derive(Debug)]
pub struct Kept {
    /// Ends with this one, or with the last request that writes to it.
    _lines: Arc<Lines>,
}

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Events.
    pub events: usize,
    /// Lines that are none: cut by a crash, or another's.
    pub passed_over: usize,
}

impl Kept {
    /// Takes what is kept in a directory into the ring of this process, and keeps what comes in `bytes_max` bytes at most.
    ///
    /// # Errors
    /// The files cannot be read or opened for appending, or no thread can be started.
    pub fn open(dir: &Path, bytes_max: u64) -> io::Result<(Self, Found)> {
        let (new, old) = (dir.join("events.jsonl"), dir.join("events.old.jsonl"));
        let mut found = Found::default();
        for path in [&old, &new] {
            match File::open(path) {
                Ok(file) => read(file, bytes_max, ring::global(), &mut found)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let target = Target::Pair {
            new,
            old,
            bytes_max: bytes_max / 2,
        };
        // What is written at once must fit into a file.
        let queued = usize::try_from(bytes_max / 2).unwrap_or(BYTES_MAX);
        let lines = Lines::open(Kind::Kept, target, queued.min(BYTES_MAX), LINES_MAX)?;
        let lines = Arc::new(lines);
        STORE.store(Some(Arc::clone(&lines)));
        Ok((Self { _lines: lines }, found))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        STORE.store(None);
    }
}

/// Reads the last `bytes_max` bytes.
fn read(mut file: File, bytes_max: u64, ring: &Ring, found: &mut Found) -> io::Result<()> {
    let skipped = file.metadata()?.len().saturating_sub(bytes_max);
    file.seek(SeekFrom::Start(skipped))?;
    let mut from = BufReader::new(file.take(bytes_max));
    let mut line = Vec::new();
    if skipped > 0 {
        from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
    }
    loop {
        line.clear();
        if from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line == b"\n" {
            continue;
        }
        match serde_json::from_slice::<Entry>(&line) {
            Ok(entry) => {
                found.events += 1;
                ring.push(entry);
            }
            Err(_) => found.passed_over += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn event(id: &str, detail: usize) -> Entry {
        Entry {
            detail: "x".repeat(detail),
            ..ring::tests::entry(id)
        }
    }

    #[test]
    fn what_was_kept_is_found_again_in_order_and_what_is_no_event_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let line = |id: &str| format!("{}\n", serde_json::to_string(&event(id, 1)).expect("JSON"));
        let old = [line("kept-1"), line("kept-2")].concat();
        fs::write(dir.path().join("events.old.jsonl"), old).expect("writes");
        let cut = line("kept-4");
        let new = [&line("kept-3"), "{}\n", "\u{0}\n", &cut[..cut.len() / 2]].concat();
        fs::write(dir.path().join("events.jsonl"), new).expect("writes");
        let (kept, found) = Kept::open(dir.path(), 1 << 20).expect("opens");
        assert_eq!((found.events, found.passed_over), (3, 3));
        assert!(ring::global().find("kept-1").is_some());
        assert!(ring::global().find("kept-4").is_none());
        drop(kept);
    }

    #[test]
    fn of_a_file_that_is_longer_than_is_kept_now_the_end_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let line = |n: u32| {
            format!(
                "{}\n",
                serde_json::to_string(&event(&format!("end-{n}"), 10)).expect("JSON")
            )
        };
        let all: String = (0..100).map(line).collect();
        fs::write(dir.path().join("long"), &all).expect("writes");
        let (ring, mut found) = (Ring::new(1_000, 1 << 30), Found::default());
        let bytes_max = 10 * line(99).len() as u64;
        let file = File::open(dir.path().join("long")).expect("opens");
        read(file, bytes_max, &ring, &mut found).expect("reads");
        assert_eq!(ring.recent(1)[0].request_id, "end-99");
        assert!(
            (8..=10).contains(&found.events) && found.passed_over == 0,
            "{found:?}"
        );
    }

    #[test]
    fn a_file_that_was_taken_away_is_made_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let new = dir.path().join("events.jsonl");
        let target = Target::Pair {
            new: new.clone(),
            old: dir.path().join("events.old.jsonl"),
            bytes_max: 100,
        };
        let lines = Lines::open(Kind::Kept, target, BYTES_MAX, LINES_MAX).expect("opens");
        for n in 0..3 {
            if n == 1 {
                fs::remove_file(&new).expect("there");
            }
            lines.push(format!("{}{n}\n", "x".repeat(60)).as_bytes());
            assert!(lines.flush(std::time::Duration::from_secs(10)));
        }
        assert!(
            fs::read_to_string(&new)
                .expect("there again")
                .ends_with("2\n")
        );
    }

    #[test]
    fn the_files_stay_within_their_bound_and_hold_the_newest() {
        let dir = tempfile::tempdir().expect("a folder");
        let bytes_max = 64 << 10;
        let target = Target::Pair {
            new: dir.path().join("events.jsonl"),
            old: dir.path().join("events.old.jsonl"),
            bytes_max: bytes_max / 2,
        };
        let lines = Lines::open(Kind::Kept, target, BYTES_MAX, LINES_MAX).expect("opens");
        for n in 0..400 {
            let mut line = serde_json::to_vec(&event(&format!("bound-{n}"), 700)).expect("JSON");
            line.push(b'\n');
            lines.push(&line);
            if n % 10 == 0 {
                assert!(lines.flush(std::time::Duration::from_secs(10)));
            }
        }
        drop(lines);
        let sizes: Vec<u64> = fs::read_dir(dir.path())
            .expect("a folder")
            .map(|file| file.and_then(|file| file.metadata()).expect("a file").len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().sum::<u64>() <= bytes_max, "{sizes:?}");
        let ring = Ring::new(1_000, 1 << 30);
        let mut found = Found::default();
        for name in ["events.old.jsonl", "events.jsonl"] {
            let file = File::open(dir.path().join(name)).expect("opens");
            read(file, bytes_max, &ring, &mut found).expect("reads");
        }
        assert_eq!(ring.recent(1)[0].request_id, "bound-399");
        assert_eq!(found.passed_over, 0);
        assert!(found.events >= 20, "{found:?}");
    }
}
