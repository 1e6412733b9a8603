//! A body as the module sees it: the chunks as they came until the module changes them.

use bytes::Bytes;

/// Bytes in one or more pieces.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    chunks: Vec<Bytes>,
    len: usize,
    changed: bool,
}

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len = self.len.saturating_add(chunk.len());
            self.chunks.push(chunk);
        }
    }

    /// Copies `out.len()` bytes from `start` on; `false` if there are not that many.
    pub(crate) fn copy(&self, start: usize, mut out: &mut [u8]) -> bool {
        let mut skip = start;
        for chunk in &self.chunks {
            if out.is_empty() {
                return true;
            }
            let Some(rest) = chunk.get(skip..) else {
                skip -= chunk.len();
                continue;
            };
            skip = 0;
            let n = rest.len().min(out.len());
            let (now, later) = out.split_at_mut(n);
            now.copy_from_slice(rest.get(..n).unwrap_or_default());
            out = later;
        }
        out.is_empty()
    }

    /// Puts `with` in the place of `len` bytes from `start` on; both are cut to what is there.
    pub(crate) fn splice(&mut self, start: usize, len: usize, with: &[u8]) {
        let start = start.min(self.len);
        let end = start.saturating_add(len).min(self.len);
        let old = self.join();
        let (head, tail) = (
            old.get(..start).unwrap_or_default(),
            old.get(end..).unwrap_or_default(),
        );
        let new = if head.is_empty() && tail.is_empty() {
            Bytes::copy_from_slice(with)
        } else {
            let mut new = Vec::with_capacity(head.len() + with.len() + tail.len());
            new.extend_from_slice(head);
            new.extend_from_slice(with);
            new.extend_from_slice(tail);
            Bytes::from(new)
        };
        self.len = new.len();
        self.chunks = vec![new];
        self.changed = true;
    }

    /// Lets go of everything; what it was, if the module changed it.
    pub(crate) fn release(&mut self) -> Option<Bytes> {
        let changed = self.changed.then(|| self.join());
        *self = Self::default();
        changed
    }

    fn join(&self) -> Bytes {
        match self.chunks.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => Bytes::from(many.concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(chunks: &[&'static str]) -> Buffer {
        let mut buffer = Buffer::default();
        for chunk in chunks {
            buffer.push(Bytes::from_static(chunk.as_bytes()));
        }
        buffer
    }

    #[test]
    fn a_range_is_copied_across_chunks() {
        let buffer = buffer(&["abc", "", "def", "g"]);
        assert_eq!(buffer.len(), 7);
        for start in 0..=7 {
            for end in start..=7 {
                let mut out = vec![0; end - start];
                assert!(buffer.copy(start, &mut out));
                assert_eq!(out, b"abcdefg"[start..end]);
            }
        }
        assert!(!buffer.copy(5, &mut [0; 3]));
        assert!(!buffer.copy(usize::MAX, &mut [0; 1]));
    }

    #[test]
    fn bytes_are_prepended_replaced_and_appended_and_only_a_change_is_reported() {
        let mut same = buffer(&["abc"]);
        assert_eq!(same.release(), None);
        let mut changed = buffer(&["abc", "def"]);
        changed.splice(0, 0, b"<");
        changed.splice(7, 0, b">");
        changed.splice(2, 2, b"-");
        assert_eq!(changed.release().as_deref(), Some(&b"<a-def>"[..]));
        assert_eq!(changed.len(), 0);
        let mut cut = buffer(&["abc"]);
        cut.splice(usize::MAX, usize::MAX, b"!");
        cut.splice(0, usize::MAX, b"");
        assert_eq!(cut.release().as_deref(), Some(&b""[..]));
    }
}
