//! Child processes that end with their owner, and whose output can be read while they run.

use crate::wait;
use parking_lot::Mutex;
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Lines kept of each output; older ones are dropped.
const LINES_MAX: usize = 20_000;
/// Longest wait for what an ended child still had in its pipes.
const LAST_WORDS: Duration = Duration::from_secs(2);

type Spawn = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The thread that starts every child. The kernel ends a child with the *thread* that started it (see
/// [`Process::start`]), so that thread has to live as long as this program.
static SPAWNER: LazyLock<mpsc::SyncSender<Spawn>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::sync_channel::<Spawn>(16);
    thread::spawn(move || {
        for (mut command, answer) in receiver {
            // The asker may be gone; the child then ends by the drop of `Child`'s owner, not here.
            drop(answer.send(command.spawn()));
        }
    });
    sender
});

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    id: u32,
    child: Mutex<Child>,
    name: String,
    output: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `program`. `setpriv --pdeathsig` makes the kernel kill it when this program ends in whatever way.
    pub fn start<A: Into<OsString>>(program: &Path, args: impl IntoIterator<Item = A>) -> Self {
        Self::start_in(program, args, |_| {})
    }

    /// As [`Process::start`], with a say in folder and environment.
    pub fn start_in<A: Into<OsString>>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args.into_iter().map(Into::into));
        adjust(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (sender, receiver) = mpsc::channel();
        SPAWNER.send((command, sender)).expect("the spawner lives");
        let mut child = receiver
            .recv()
            .expect("the spawner answers")
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        readers.extend(
            child
                .stdout
                .take()
                .map(|out| keep_lines(out, Arc::clone(&output))),
        );
        readers.extend(
            child
                .stderr
                .take()
                .map(|err| keep_lines(err, Arc::clone(&output))),
        );
        let name = program
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Self {
            id: child.id(),
            child: Mutex::new(child),
            name,
            output,
            readers,
        }
    }

    /// Process id; `setpriv` replaces itself, so it is the program's own.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id)
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).unwrap_or_else(|e| panic!("signal to {}: {e}", self.name));
    }

    /// What it has written to stdout and stderr so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().join("\n")
    }

    /// “NAME what; it said: …” for a failure, with what it had said by then.
    pub fn told(&self, what: impl Display) -> impl Display {
        std::fmt::from_fn(move |f| write!(f, "{} {what}; it said:\n{}", self.name, self.output()))
    }

    /// Waits for a line that holds `part`.
    pub fn wait_for_line(&self, part: &str) -> String {
        wait::eventually(self.told(format_args!("says “{part}”")), || {
            self.output
                .lock()
                .iter()
                .find(|l| l.contains(part))
                .cloned()
        })
    }

    /// Its exit status, when it has ended; all it said is then in [`Process::output`].
    pub fn ended(&self) -> Option<ExitStatus> {
        let status = self
            .child
            .lock()
            .try_wait()
            .expect("the state of a child")?;
        // A child of its own may keep the pipes open for longer.
        wait::try_within(LAST_WORDS, || {
            self.readers
                .iter()
                .all(JoinHandle::is_finished)
                .then_some(())
        });
        Some(status)
    }

    /// Waits for its end.
    pub fn wait(&self, deadline: Duration) -> ExitStatus {
        wait::within(deadline, self.told("ends"), || self.ended())
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&self) {
        // Already gone is as good.
        let mut child = self.child.lock();
        drop(child.kill());
        drop(child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let lines = self.output.lock();
            let from = lines.len().saturating_sub(40);
            eprintln!(
                "--- last lines of {}:\n{}\n---",
                self.name,
                lines[from..].join("\n")
            );
        }
    }
}

fn keep_lines(from: impl Read + Send + 'static, to: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            let mut lines = to.lock();
            if lines.len() == LINES_MAX {
                lines.drain(..LINES_MAX / 2);
            }
            lines.push(line);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Process;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn what_a_child_said_last_is_there_when_it_has_ended() {
        for _ in 0..20 {
            let child = Process::start(Path::new("sh"), ["-c", "seq 5000; echo bye >&2; exit 3"]);
            assert_eq!(child.wait(Duration::from_secs(10)).code(), Some(3));
            assert!(child.output().contains("bye") && child.output().contains("5000"));
        }
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = Process::start(Path::new("sleep"), ["600"]);
        let proc = format!("/proc/{}", child.id());
        assert!(Path::new(&proc).exists());
        drop(child);
        assert!(!Path::new(&proc).exists());
    }
}
