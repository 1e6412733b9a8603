//! Bodies that are read in the request phase.

use super::body::Held;
use super::spool::Kept;
use super::{Announced, Incoming, Inspection};
use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::fault::Fault;
use aegis_telemetry::metrics::WafVerdict;

impl Inspection {
    /// Reads a body that is short, or shall be kept; finds out at once that a long one is too long.
    pub(super) async fn read(
        &mut self,
        ctx: &mut Ctx,
        incoming: &mut impl Incoming,
    ) -> Result<(), Answer> {
        if self.whole.is_some() || self.held.goes_on() {
            return Ok(());
        }
        self.keep_whole(incoming).await?;
        if let Kept::Whole(body) = &mut self.kept {
            self.whole = Some(body.load().await?);
            return Ok(());
        }
        match self.announced {
            Announced::Nothing => Ok(()),
            Announced::Long(_) => {
                self.check_announced()?;
                self.held = Held::waiting();
                Ok(())
            }
            Announced::Short => self.read_short(ctx, incoming).await,
        }
    }

    fn check_announced(&self) -> Result<(), Fault> {
        match (self.announced, self.rules.reject_above) {
            (Announced::Long(Some(length)), Some(max)) if length > max => Err(Fault::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// Reads a body that shall be kept.
    async fn keep_whole(&mut self, incoming: &mut impl Incoming) -> Result<(), Fault> {
        let mut spool = match std::mem::replace(&mut self.kept, Kept::Nothing) {
            Kept::Wanted(spool) => spool,
            other => {
                self.kept = other;
                return Ok(());
            }
        };
        self.check_announced()?;
        let mut length = 0;
        while let Some(chunk) = incoming.next().await? {
            length += chunk.len() as u64;
            if self.rules.reject_above.is_some_and(|max| length > max) {
                return Err(Fault::BodyTooLarge);
            }
            spool.push(&chunk).await?;
        }
        self.kept = Kept::Whole(Box::new(spool.end()));
        Ok(())
    }

    async fn read_short(
        &mut self,
        ctx: &mut Ctx,
        incoming: &mut impl Incoming,
    ) -> Result<(), Answer> {
        let mut chunks = Vec::new();
        let mut length = 0;
        while let Some(chunk) = incoming.next().await? {
            length += chunk.len() as u64;
            if self.rules.reject_above.is_some_and(|max| length > max) {
                return Err(Fault::BodyTooLarge.into());
            }
            if !self.permit.grow(chunk.len()) {
                if !self.rules.watched {
                    return Err(Fault::BodiesHeld.into());
                }
                // Pingora has what was read, and will show it again on its way.
                ctx.note_waf(WafVerdict::Fault);
                self.permit.release();
                self.held = Held::passing(0);
                return Ok(());
            }
            chunks.push(chunk);
        }
        self.whole = Some(chunks);
        Ok(())
    }
}
