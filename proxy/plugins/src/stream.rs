//! One HTTP stream in an instance: what the module may see of it, and how far it has come.

use crate::body::Buffer;
use crate::fields::FieldList;
use crate::limits::{EVENTS_BYTES_MAX, EVENTS_MAX, PROPERTIES_BYTES_MAX, PROPERTIES_MAX, hit};
use crate::spec::{Properties, RequestHead, ResponseHead};
use crate::ticket::Waiter;
use crate::verdict::{ForeignEvent, LocalResponse};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A callback to come. Trailers have none: the proxy under us does not hand them over.
#[derive(Debug)]
pub(crate) enum Step {
    /** `proxy_on_request_headers` */
    RequestHeaders {
        /** Nothing follows. */
        end: bool,
    },
    /** `proxy_on_request_body` */
    RequestBody {
        /** Bytes that came. */
        chunks: Vec<Bytes>,
        /** The last. */
        end: bool,
    },
    /** `proxy_on_response_headers` */
    ResponseHeaders(ResponseHead),
    /** `proxy_on_response_body` */
    ResponseBody {
        /** Bytes that came. */
        chunks: Vec<Bytes>,
        /** The last. */
        end: bool,
    },
}

/// How far a stream has come; decides what may be read and what may still be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    RequestHeaders,
    RequestBody,
    /// The request's verdict is out, the response is not here.
    Between,
    ResponseHeaders,
    ResponseBody,
    Done,
}

/// One HTTP context.
pub(crate) struct Stream {
    pub(crate) head: Arc<RequestHead>,
    pub(crate) properties: Arc<Properties>,
    pub(crate) phase: Phase,
    pub(crate) steps: VecDeque<Step>,
    /// The module said `Pause` and has not been told to go on.
    pub(crate) paused: bool,
    /// `proxy_continue_stream` was called inside the callback that runs.
    pub(crate) resumed: bool,
    /// The last step was a part of a body: a pause there means "more first".
    pub(crate) partial: bool,
    pub(crate) request: FieldList,
    pub(crate) request_body: Buffer,
    pub(crate) status: u16,
    pub(crate) response: FieldList,
    pub(crate) response_body: Buffer,
    pub(crate) local: Option<LocalResponse>,
    pub(crate) closed: bool,
    pub(crate) events: Vec<ForeignEvent>,
    events_bytes: usize,
    /// What the module stored with `proxy_set_property`.
    own_properties: Vec<(Vec<u8>, Bytes)>,
    /// More of the request follows.
    pub(crate) more: bool,
    /// The first verdict is out: whoever asked holds the context, or it ends.
    pub(crate) handed_over: bool,
    pub(crate) waiter: Option<Waiter>,
    /// `proxy_on_done` said no: the context stays until `proxy_done`.
    pub(crate) lingering: bool,
    pub(crate) cpu: Duration,
}

impl Stream {
    pub(crate) fn new(
        head: Arc<RequestHead>,
        properties: Arc<Properties>,
        steps: VecDeque<Step>,
    ) -> Self {
        let pseudo = [
            (":method", &head.method),
            (":path", &head.target),
            (":scheme", &head.scheme),
            (":authority", &head.authority),
        ];
        let mut fields = Vec::with_capacity(head.headers.len() + pseudo.len());
        fields.extend(
            pseudo.map(|(name, value)| (Bytes::from_static(name.as_bytes()), value.clone())),
        );
        fields.extend(head.headers.iter().cloned());
        Self {
            head,
            properties,
            phase: Phase::RequestHeaders,
            steps,
            paused: false,
            resumed: false,
            partial: false,
            request: FieldList::new(fields),
            request_body: Buffer::default(),
            status: 0,
            response: FieldList::default(),
            response_body: Buffer::default(),
            local: None,
            closed: false,
            events: Vec::new(),
            events_bytes: 0,
            own_properties: Vec::new(),
            more: false,
            handed_over: false,
            waiter: None,
            lingering: false,
            cpu: Duration::ZERO,
        }
    }

    /// Whether the stream is still in its request half.
    pub(crate) fn in_request(&self) -> bool {
        self.phase <= Phase::RequestBody
    }

    /// Keeps a message of the module for the verdict; `false` if there are too many.
    pub(crate) fn add_event(&mut self, event: ForeignEvent) -> bool {
        let bytes = self.events_bytes.saturating_add(event.data.len());
        if self.events.len() >= EVENTS_MAX || bytes > EVENTS_BYTES_MAX {
            hit("plugin_events");
            return false;
        }
        self.events_bytes = bytes;
        self.events.push(event);
        true
    }

    pub(crate) fn take_events(&mut self) -> Vec<ForeignEvent> {
        self.events_bytes = 0;
        std::mem::take(&mut self.events)
    }

    pub(crate) fn own_property(&self, path: &[u8]) -> Option<Bytes> {
        let mut own = self.own_properties.iter();
        own.find(|(name, _)| name == path)
            .map(|(_, value)| value.clone())
    }

    /// Stores a property; `false` if there are too many.
    pub(crate) fn set_own_property(&mut self, path: &[u8], value: Bytes) -> bool {
        let others = self.own_properties.iter().filter(|(name, _)| name != path);
        let bytes = others.fold(0, |sum, (name, value)| sum + name.len() + value.len());
        let count = self.own_properties.len();
        let there = self
            .own_properties
            .iter_mut()
            .find(|(name, _)| name == path);
        if bytes + path.len() + value.len() > PROPERTIES_BYTES_MAX {
            hit("plugin_properties");
            return false;
        }
        match there {
            Some((_, old)) => *old = value,
            None if count < PROPERTIES_MAX => {
                self.own_properties.push((path.to_vec(), value));
            }
            None => {
                hit("plugin_properties");
                return false;
            }
        }
        true
    }
}
