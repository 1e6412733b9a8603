//! Bodies that are held, or judged piece by piece, on their way to the origin.

use super::{Incoming, Inspection, Open, Settled, settle};
use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::fault::Fault;
use aegis_plugins::{Decision, FaultKind, Verdict};
use aegis_settings::model::Inspect;
use bytes::{Bytes, BytesMut};

/// What becomes of a body on its way.
#[derive(Debug)]
pub(crate) enum Held {
    /// It passes: nobody asked, or everything was judged in the request phase.
    Nothing,
    /// It waits for its end.
    Waiting { chunks: Vec<Bytes>, bytes: u64 },
    /// Longer than is held: each piece is judged before it passes.
    Passing { pending: Vec<Bytes> },
    /// Judged; a replay passes.
    Judged,
}

impl Held {
    pub(crate) fn waiting() -> Self {
        Self::Waiting {
            chunks: Vec::new(),
            bytes: 0,
        }
    }
}

/// A new try begins: Pingora will replay the body from its start.
pub(crate) fn restart(ctx: &mut Ctx) {
    if let Some(inspection) = &mut ctx.inspection
        && matches!(inspection.held, Held::Waiting { .. })
    {
        inspection.held = Held::waiting();
        inspection.permit.release();
    }
}

/// Reads a body that still waits to its end and takes its verdict; the origin has answered without having got it.
pub(crate) async fn finish(ctx: &mut Ctx, incoming: &mut impl Incoming) -> Result<(), Answer> {
    let waits = |ctx: &Ctx| {
        ctx.inspection
            .as_ref()
            .is_some_and(|i| matches!(i.held, Held::Waiting { .. }))
    };
    while waits(ctx) {
        let mut chunk = incoming.next().await?;
        let end = chunk.is_none();
        filter(ctx, &mut chunk, end).await?;
    }
    Ok(())
}

/// Takes the next piece of the body; what is left in `chunk` goes to the origin.
pub(crate) async fn filter(
    ctx: &mut Ctx,
    chunk: &mut Option<Bytes>,
    end: bool,
) -> Result<(), Answer> {
    let Some(mut inspection) = ctx.inspection.take() else {
        return Ok(());
    };
    let result = inspection.filter(ctx, chunk, end).await;
    ctx.inspection = Some(inspection);
    result
}

impl Inspection {
    async fn filter(
        &mut self,
        ctx: &mut Ctx,
        chunk: &mut Option<Bytes>,
        end: bool,
    ) -> Result<(), Answer> {
        match &mut self.held {
            Held::Nothing | Held::Judged => {
                if let Some(new) = &self.new_body {
                    // The client's body was read to its end: it comes in one piece, and this takes its place.
                    *chunk = if end {
                        Some(new.clone())
                    } else {
                        Some(Bytes::new())
                    };
                }
                Ok(())
            }
            Held::Waiting { .. } => self.hold(ctx, chunk, end).await,
            Held::Passing { .. } => self.pass(ctx, chunk, end).await,
        }
    }

    async fn hold(
        &mut self,
        ctx: &mut Ctx,
        chunk: &mut Option<Bytes>,
        end: bool,
    ) -> Result<(), Answer> {
        let Held::Waiting { chunks, bytes } = &mut self.held else {
            return Ok(());
        };
        if let Some(chunk) = chunk.take().filter(|chunk| !chunk.is_empty()) {
            *bytes += chunk.len() as u64;
            if self.rules.reject_above.is_some_and(|max| *bytes > max) {
                return Err(Fault::BodyTooLarge.into());
            }
            if !self.permit.grow(chunk.len()) {
                return Err(Fault::BodiesHeld.into());
            }
            chunks.push(chunk);
        }
        let streams = self.rules.stream_above.is_some_and(|max| *bytes > max);
        if !end && !streams {
            // Nothing to send yet; an empty piece is not written.
            *chunk = Some(Bytes::new());
            return Ok(());
        }
        let chunks = std::mem::take(chunks);
        if streams && !end {
            self.held = Held::Passing {
                pending: Vec::new(),
            };
            *chunk = Some(Bytes::new());
            return self.judge_piece(ctx, chunks, chunk, false).await;
        }
        self.held = Held::Judged;
        *chunk = self.judge_whole(ctx, chunks).await?;
        Ok(())
    }

    /// The whole body is here: one verdict of each context, in order, each seeing what those before it made of it.
    async fn judge_whole(
        &mut self,
        ctx: &mut Ctx,
        mut chunks: Vec<Bytes>,
    ) -> Result<Option<Bytes>, Answer> {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        for mut open in std::mem::take(&mut self.open) {
            if !open.inspector.reads_body {
                self.open.push(open);
                continue;
            }
            let mut verdict = open.context.request_body(chunks.clone(), true).await;
            let new_body = verdict.new_body.take();
            let too_late = |new: &Bytes| new.len() != length && !self.sent_in_chunks();
            if verdict.edits.is_some() || new_body.as_ref().is_some_and(too_late) {
                // The origin has the head already.
                verdict.decision = Decision::Fault(FaultKind::Abi);
            } else if let Some(new) = new_body {
                chunks = vec![new.clone()];
                self.new_body = Some(new);
            }
            self.keep(ctx, open, verdict)?;
        }
        Ok(joined(chunks))
    }

    async fn pass(
        &mut self,
        ctx: &mut Ctx,
        chunk: &mut Option<Bytes>,
        end: bool,
    ) -> Result<(), Answer> {
        let Held::Passing { pending } = &mut self.held else {
            return Ok(());
        };
        let mut chunks = std::mem::take(pending);
        chunks.extend(chunk.take().filter(|chunk| !chunk.is_empty()));
        self.judge_piece(ctx, chunks, chunk, end).await
    }

    /// One piece of a body that passes. A module may ask to see more first; at the end everything goes.
    async fn judge_piece(
        &mut self,
        ctx: &mut Ctx,
        chunks: Vec<Bytes>,
        chunk: &mut Option<Bytes>,
        end: bool,
    ) -> Result<(), Answer> {
        let mut wants_more = false;
        for mut open in std::mem::take(&mut self.open) {
            if !open.inspector.reads_body {
                self.open.push(open);
                continue;
            }
            let verdict = open.context.request_body(chunks.clone(), end).await;
            wants_more |= verdict.held && !end;
            self.keep(ctx, open, verdict)?;
        }
        if !wants_more {
            self.permit.release();
        }
        if end {
            self.held = Held::Judged;
        }
        *chunk = joined(chunks).or_else(|| (!end).then(Bytes::new));
        Ok(())
    }

    /// Settles the verdict of an open context; keeps the context if it will see more.
    fn keep(&mut self, ctx: &mut Ctx, open: Open, mut verdict: Verdict) -> Result<(), Answer> {
        let passing = matches!(self.held, Held::Passing { .. });
        let settled = settle(ctx, &open.inspector, &self.head, &mut verdict)?;
        let sees_more = passing || open.inspector.response != Inspect::Off;
        if sees_more && matches!(settled, Settled::GoesOn) {
            self.open.push(open);
        }
        Ok(())
    }

    /// A body of another length fits only if no length was announced.
    fn sent_in_chunks(&self) -> bool {
        let announced = self
            .head
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(b"content-length"));
        !announced
    }
}

fn joined(chunks: Vec<Bytes>) -> Option<Bytes> {
    match chunks.len() {
        0 => None,
        1 => chunks.into_iter().next(),
        _ => {
            let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
            for chunk in chunks {
                all.extend_from_slice(&chunk);
            }
            Some(all.freeze())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::joined;
    use bytes::Bytes;

    #[test]
    fn pieces_are_joined_without_need_only_when_there_are_many() {
        assert_eq!(joined(vec![]), None);
        let one = Bytes::from("one");
        assert_eq!(
            joined(vec![one.clone()]).map(|joined| joined.as_ptr()),
            Some(one.as_ptr())
        );
        assert_eq!(
            joined(vec![one, Bytes::from("two")]),
            Some(Bytes::from("onetwo"))
        );
    }
}
