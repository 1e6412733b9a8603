//! What a module answered.

use crate::open::OpenContext;
use crate::spec::Fields;
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// The outcome of one job.
#[derive(Debug)]
pub struct Verdict {
    /// What to do with the request or response.
    pub decision: Decision,
    /// The module asked for more body before it lets go of what it was shown (`Pause` on a part of a body).
    pub held: bool,
    /// The new list of header fields when the module changed it. For a request it begins with `:method`, `:path`,
    /// `:scheme`, `:authority`, for a response with `:status`.
    pub edits: Option<Fields>,
    /// When the module changed the body: what takes the place of all bytes shown since the last verdict that was not
    /// `held`.
    pub new_body: Option<Bytes>,
    /// `aegis_waf_event` calls, in order.
    pub events: Vec<ForeignEvent>,
    /// The context, when more of the request follows or the response shall be shown. Dropping it ends the context.
    pub open: Option<OpenContext>,
    /// CPU time it took on the plugin's thread.
    pub cpu: Duration,
}

impl Verdict {
    /// No verdict, for this reason.
    #[must_use]
    pub fn fault(kind: FaultKind) -> Self {
        Self {
            decision: Decision::Fault(kind),
            held: false,
            edits: None,
            new_body: None,
            events: Vec::new(),
            open: None,
            cpu: Duration::ZERO,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Continue,
    /// Answer with this.
    Respond(LocalResponse),
    /// End the stream without an answer (`proxy_close_stream`).
    Close,
    /// There is no verdict; the plugin's `on_error` says what that means.
    Fault(FaultKind),
}

/// An answer made by the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalResponse {
    /// 200 to 599.
    pub status: u16,
    /// Fields to send.
    pub headers: Fields,
    /// The body.
    pub body: Bytes,
    /// Why, in the module's words (`waf`, `waf_body_limit`, …).
    pub details: String,
}

/// A call of a foreign function that is a message to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignEvent {
    /// The function's name.
    pub name: &'static str,
    /// Its argument.
    pub data: Bytes,
}

/// Why there is no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The module trapped.
    Trap,
    /// It used up its CPU time, or the whole verdict took too long.
    Deadline,
    /// It asked for more memory than it may have.
    Memory,
    /// It used up its call stack.
    Stack,
    /// Too many jobs wait for the pool.
    QueueFull,
    /// The pool had no thread for it within the wait budget.
    QueueWait,
    /// The module ended itself (`proc_exit`, as some runtimes do in a panic).
    Exit,
    /// It broke the ABI: a bad pointer from its allocator, or a pause that nothing will end.
    Abi,
    /// It asked for what its settings do not allow, or the host is stopping.
    Refused,
    /// Another request's fault ended the instance this one was open in.
    Lost,
}

impl FaultKind {
    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::QueueFull => "queue_full",
            Self::QueueWait => "queue_wait",
            Self::Exit => "exit",
            Self::Abi => "abi",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
