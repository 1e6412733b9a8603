//! Shared queues (`proxy_register_shared_queue`, …): first in, first out, consumed by the root context.

use crate::limits::{NAME_MAX, hit};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Queues of a plugin, over all sites.
const QUEUES_MAX: usize = 256;
/// Queues of one site.
const SITE_QUEUES_MAX: usize = 16;
const ITEMS_MAX: usize = 1024;
const BYTES_MAX: usize = 1 << 20;

/// Queues by site and name; an id is its place, from 1 on.
#[derive(Default)]
pub(crate) struct SharedQueues {
    inner: Mutex<Vec<Queue>>,
}

struct Queue {
    site: Arc<str>,
    name: Vec<u8>,
    items: VecDeque<Bytes>,
    bytes: usize,
}

/// Why a queue does not do as it is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum QueueError {
    /// There is none with this id or name, or it belongs to another site.
    NotFound,
    /// Nothing in it.
    Empty,
    /// No room.
    Full,
}

impl SharedQueues {
    /// The id of the site's queue, which is made if there is none.
    pub(crate) fn register(&self, site: &Arc<str>, name: &[u8]) -> Result<u32, QueueError> {
        let mut queues = self.inner.lock();
        if let Some(id) = find(&queues, site, name) {
            return Ok(id);
        }
        let of_site = queues.iter().filter(|q| q.site == *site).count();
        if queues.len() >= QUEUES_MAX || of_site >= SITE_QUEUES_MAX || name.len() > NAME_MAX {
            hit("plugin_shared_queues");
            return Err(QueueError::Full);
        }
        queues.push(Queue {
            site: site.clone(),
            name: name.to_vec(),
            items: VecDeque::new(),
            bytes: 0,
        });
        u32::try_from(queues.len()).map_err(|_| QueueError::Full)
    }

    /// The site's queue, else the one under no site.
    pub(crate) fn resolve(&self, site: &str, name: &[u8]) -> Result<u32, QueueError> {
        let queues = self.inner.lock();
        find(&queues, site, name)
            .or_else(|| find(&queues, "", name))
            .ok_or(QueueError::NotFound)
    }

    pub(crate) fn push(&self, site: &str, id: u32, item: Bytes) -> Result<(), QueueError> {
        self.with(site, id, |queue| {
            if queue.items.len() >= ITEMS_MAX || queue.bytes + item.len() > BYTES_MAX {
                hit("plugin_shared_queue_items");
                return Err(QueueError::Full);
            }
            queue.bytes += item.len();
            queue.items.push_back(item);
            Ok(())
        })
    }

    pub(crate) fn pop(&self, site: &str, id: u32) -> Result<Bytes, QueueError> {
        self.with(site, id, |queue| {
            let item = queue.items.pop_front().ok_or(QueueError::Empty)?;
            queue.bytes -= item.len();
            Ok(item)
        })
    }

    /// Puts an item that was taken out to where it was; whoever filled the queue meanwhile took its room.
    pub(crate) fn put_back(&self, site: &str, id: u32, item: Bytes) {
        let put = self.with(site, id, |queue| {
            if queue.items.len() >= ITEMS_MAX || queue.bytes + item.len() > BYTES_MAX {
                return Err(QueueError::Full);
            }
            queue.bytes += item.len();
            queue.items.push_front(item);
            Ok(())
        });
        if put.is_err() {
            hit("plugin_shared_queue_items");
        }
    }

    pub(crate) fn len(&self, id: u32) -> usize {
        self.with("", id, |queue| Ok(queue.items.len()))
            .unwrap_or_default()
    }

    /// Names of the queues under no site, by id, for a snapshot; nothing if there are others, or items.
    pub(crate) fn kept(&self) -> Option<Vec<Vec<u8>>> {
        let queues = self.inner.lock();
        let plain = |queue: &Queue| queue.site.is_empty() && queue.items.is_empty();
        let names = || queues.iter().map(|queue| queue.name.clone()).collect();
        queues.iter().all(plain).then(names)
    }

    /// Makes those of a snapshot again; `false` if they do not get the ids they had.
    pub(crate) fn restore(&self, names: &[Vec<u8>]) -> bool {
        let root = Arc::from("");
        let mut numbered = names.iter().zip(1..);
        numbered.all(|(name, id)| self.register(&root, name) == Ok(id))
    }

    /// Whether the module uses queues at all.
    pub(crate) fn any(&self) -> bool {
        !self.inner.lock().is_empty()
    }

    /// A root context (no site) reaches every queue, a request only its site's and the root's.
    fn with<T>(
        &self,
        site: &str,
        id: u32,
        act: impl FnOnce(&mut Queue) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let mut queues = self.inner.lock();
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let queue = index
            .and_then(|index| queues.get_mut(index))
            .ok_or(QueueError::NotFound)?;
        if !site.is_empty() && !queue.site.is_empty() && *queue.site != *site {
            return Err(QueueError::NotFound);
        }
        act(queue)
    }
}

fn find(queues: &[Queue], site: &str, name: &[u8]) -> Option<u32> {
    let place = queues
        .iter()
        .position(|q| *q.site == *site && q.name == name)?;
    u32::try_from(place + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_out_as_they_went_in_and_only_for_their_site_and_the_root() {
        let (queues, a) = (SharedQueues::default(), Arc::from("a"));
        let id = queues.register(&a, b"q").expect("room");
        assert_eq!(queues.register(&a, b"q"), Ok(id));
        assert_eq!(queues.resolve("a", b"q"), Ok(id));
        assert_eq!(queues.resolve("b", b"q"), Err(QueueError::NotFound));
        for item in ["1", "2"] {
            queues
                .push("a", id, Bytes::from_static(item.as_bytes()))
                .expect("room");
        }
        assert_eq!(
            queues.push("b", id, Bytes::new()),
            Err(QueueError::NotFound)
        );
        assert_eq!(queues.pop("b", id), Err(QueueError::NotFound));
        assert_eq!(queues.pop("", id), Ok(Bytes::from_static(b"1")));
        assert_eq!(queues.pop("a", id), Ok(Bytes::from_static(b"2")));
        assert_eq!(queues.pop("a", id), Err(QueueError::Empty));
        for wrong in [0, id + 1, u32::MAX] {
            assert_eq!(queues.pop("a", wrong), Err(QueueError::NotFound));
        }
    }

    #[test]
    fn queues_and_their_items_are_bounded() {
        let (queues, a) = (SharedQueues::default(), Arc::from("a"));
        let id = queues.register(&a, b"0").expect("room");
        for _ in 0..ITEMS_MAX {
            queues.push("a", id, Bytes::new()).expect("room");
        }
        assert_eq!(queues.push("a", id, Bytes::new()), Err(QueueError::Full));
        for n in 1..SITE_QUEUES_MAX {
            queues.register(&a, n.to_string().as_bytes()).expect("room");
        }
        assert_eq!(queues.register(&a, b"more"), Err(QueueError::Full));
        let big = queues.resolve("a", b"1").expect("there");
        assert_eq!(
            queues.push("a", big, Bytes::from(vec![0; BYTES_MAX + 1])),
            Err(QueueError::Full)
        );
    }
}
