//! Bodies that are held, or judged piece by piece, on their way to the origin.

use super::{Announced, Incoming, Inspection, Open, Settled, broke_contract, settle};
use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::fault::Fault;
use aegis_plugins::Verdict;
use aegis_settings::model::Inspect;
use aegis_telemetry::metrics::WafVerdict;
use bytes::{Bytes, BytesMut};
use pingora_http::ResponseHeader;

/// What becomes of a body on its way.
#[derive(Debug)]
pub(crate) enum Held {
    /// It passes: nobody asked, or everything was judged in the request phase.
    Nothing,
    /// It waits for its end.
    Waiting { chunks: Vec<Bytes>, bytes: u64 },
    /// Longer than is held: each piece is judged before it passes.
    Passing {
        /// What a module asked to see more of first.
        pending: Vec<Bytes>,
        /// All that has come.
        bytes: u64,
    },
    /// Judged; a replay passes.
    Judged,
}

impl Held {
    pub(crate) const fn waiting() -> Self {
        Self::Waiting {
            chunks: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn passing(bytes: u64) -> Self {
        Self::Passing {
            pending: Vec::new(),
            bytes,
        }
    }

    /// Its end is not judged yet.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Passing { .. })
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

/// Parts of the body have been judged one by one, which is done once.
pub(crate) fn passes(ctx: &Ctx) -> bool {
    ctx.inspection
        .as_ref()
        .is_some_and(|inspection| matches!(inspection.held, Held::Passing { .. }))
}

/// The origin has answered, and the body is still on its way.
///
/// Pingora is kept from sending more of it while it waits here for the answer's head, so what is left of the body is
/// read, judged and dropped. An answer that says no can do without it; one that goes on from there would never end.
pub(crate) async fn finish(
    ctx: &mut Ctx,
    incoming: &mut impl Incoming,
    response: &ResponseHeader,
) -> Result<(), Answer> {
    let Some(inspection) = ctx.inspection.as_mut().filter(|i| i.held.goes_on()) else {
        return Ok(());
    };
    if inspection.rules.watched {
        inspection.let_go();
        ctx.note_waf(WafVerdict::Fault);
        return Ok(());
    }
    while goes_on(ctx) {
        let mut chunk = incoming.next().await?;
        let end = chunk.is_none();
        filter(ctx, &mut chunk, end).await?;
    }
    let refuses = response.status.is_client_error() || response.status.is_server_error();
    if refuses {
        Ok(())
    } else {
        Err(Fault::AnsweredEarly.into())
    }
}

/// The body is still on its way.
pub(crate) fn goes_on(ctx: &Ctx) -> bool {
    ctx.inspection.as_ref().is_some_and(|i| i.held.goes_on())
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
        let unannounced = self.announced == Announced::Nothing;
        if unannounced && chunk.as_ref().is_some_and(|chunk| !chunk.is_empty()) {
            // Nobody was asked about these bytes.
            return Err(Fault::BadRequest("It has a body that its head did not announce.").into());
        }
        match &mut self.held {
            Held::Nothing | Held::Judged => {
                // What was kept comes as it has become.
                let replaced = self.new_body.as_ref().filter(|_| !self.kept.was_read());
                if let Some(new) = replaced {
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

    /// Nobody looks at the rest; what is held goes with it.
    fn let_go(&mut self) {
        self.open.retain(|open| !open.inspector.reads_body);
        let mut rest = Held::passing(0);
        if let (Held::Waiting { chunks, .. }, Held::Passing { pending, .. }) =
            (&mut self.held, &mut rest)
        {
            pending.append(chunks);
            self.held = rest;
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
        let mut room = true;
        if let Some(chunk) = chunk.take().filter(|chunk| !chunk.is_empty()) {
            *bytes += chunk.len() as u64;
            if self.rules.reject_above.is_some_and(|max| *bytes > max) {
                return Err(Fault::BodyTooLarge.into());
            }
            room = self.permit.grow(chunk.len());
            chunks.push(chunk);
        }
        if !room {
            if !self.rules.watched {
                return Err(Fault::BodiesHeld.into());
            }
            ctx.note_waf(WafVerdict::Fault);
        }
        let streams = self.rules.stream_above.is_some_and(|max| *bytes > max) || !room;
        if !end && !streams {
            // Nothing to send yet; an empty piece is not written.
            *chunk = Some(Bytes::new());
            return Ok(());
        }
        let (chunks, bytes) = (std::mem::take(chunks), *bytes);
        if streams && !end {
            self.held = Held::passing(bytes);
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
                let detail = "it changed what the origin has already been sent";
                broke_contract(&open.inspector, &mut verdict, detail);
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
        let Held::Passing { bytes, .. } = &mut self.held else {
            return Ok(());
        };
        let new = chunk.take().filter(|chunk| !chunk.is_empty());
        *bytes += new.as_ref().map_or(0, Bytes::len) as u64;
        if self.rules.reject_above.is_some_and(|max| *bytes > max) {
            return Err(Fault::BodyTooLarge.into());
        }
        let new = new.into_iter().collect();
        self.judge_piece(ctx, new, chunk, end).await
    }

    /// One piece of a body that passes. A module that wants more first holds it, and what follows, until it lets go; it
    /// has what it was shown, so it is shown only what is new.
    async fn judge_piece(
        &mut self,
        ctx: &mut Ctx,
        new: Vec<Bytes>,
        chunk: &mut Option<Bytes>,
        end: bool,
    ) -> Result<(), Answer> {
        let mut wants_more = false;
        for mut open in std::mem::take(&mut self.open) {
            if !open.inspector.reads_body {
                self.open.push(open);
                continue;
            }
            let mut verdict = open.context.request_body(new.clone(), end).await;
            if verdict.edits.is_some() || verdict.new_body.is_some() {
                let detail = "it changed a body that passes in parts";
                broke_contract(&open.inspector, &mut verdict, detail);
            }
            let holds = verdict.held && !end && !open.inspector.watches;
            if let Settled::GoesOn = self.keep(ctx, open, verdict)? {
                wants_more |= holds;
            }
        }
        let Held::Passing { pending, .. } = &mut self.held else {
            return Ok(());
        };
        pending.extend(new);
        if wants_more {
            let held: usize = pending.iter().map(Bytes::len).sum();
            if !self.permit.grow_to(held) {
                return Err(Fault::BodiesHeld.into());
            }
            *chunk = Some(Bytes::new());
            return Ok(());
        }
        self.permit.release();
        *chunk = joined(std::mem::take(pending)).or_else(|| (!end).then(Bytes::new));
        if end {
            self.held = Held::Judged;
        }
        Ok(())
    }

    /// Settles the verdict of an open context; keeps the context if it will see more.
    fn keep(&mut self, ctx: &mut Ctx, open: Open, mut verdict: Verdict) -> Result<Settled, Answer> {
        let passing = matches!(self.held, Held::Passing { .. });
        let settled = settle(ctx, &open.inspector, &self.head, &mut verdict)?;
        let sees_more = passing || open.inspector.response != Inspect::Off;
        if sees_more && matches!(settled, Settled::GoesOn) {
            self.open.push(open);
        }
        Ok(settled)
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
