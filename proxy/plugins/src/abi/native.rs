//! Native operators, as foreign functions: a host that has none answers NotFound, and the module does without.
//!
//! A search is called for hundreds of times a request, so neither arguments nor answers are copied or allocated: the
//! argument names places in the module's memory, and the answer is the status.

use crate::limits;
use crate::memory::{Call, Halt, Status, copy, give_bytes, put_u32, slice, view};
use crate::native::{GROUPS_MAX, Group};

/// Compiles a regular expression over text. Argument: its source. Result: its number.
pub(super) const COMPILE_TEXT: &[u8] = b"aegis_rx_compile";
/// The same over bytes.
pub(super) const COMPILE_BYTES: &[u8] = b"aegis_rx_compile_bytes";
/// Searches. Argument: five words: number, address and length of the value, address of the groups, each two words, and
/// how many there is room for. Ok if it matches, else Empty.
pub(super) const SEARCH: &[u8] = b"aegis_rx_search";

/// The place of a group that took no part in the match.
const UNSET: u32 = u32::MAX;

pub(super) fn compile(
    call: &mut Call<'_>,
    text: bool,
    (source, len): (i32, i32),
    result: (i32, i32),
) -> Result<(), Halt> {
    let (memory, state) = view(call)?;
    if !state.starting {
        // A pattern costs milliseconds and memory that stays: rules are compiled once, and not by request.
        return Err(Status::BadArgument.into());
    }
    let source = copy(memory, source, len, limits::PATTERN_MAX)?;
    let vm = state.vm.clone();
    match state.operators.compile(&vm.patterns, text, &source) {
        Ok(number) => give_bytes(call, &number.to_le_bytes(), result),
        Err(refused) => {
            tracing::debug!(plugin = %vm.name, %refused, "a pattern stays with the module");
            Err(Status::Unimplemented.into())
        }
    }
}

pub(super) fn search(call: &mut Call<'_>, (argument, len): (i32, i32)) -> Result<(), Halt> {
    let (memory, state) = view(call)?;
    let (words, rest) = slice(memory, argument, len)?.as_chunks::<4>();
    let (&[number, value, value_len, groups, room], []) = (words, rest) else {
        return Err(Status::BadArgument.into());
    };
    let word = i32::from_le_bytes;
    let value = slice(memory, word(value), word(value_len))?;
    let room = usize::try_from(u32::from_le_bytes(room)).unwrap_or(GROUPS_MAX);
    let mut found: [Option<Group>; GROUPS_MAX] = [None; GROUPS_MAX];
    let found = found.get_mut(..room.min(GROUPS_MAX)).unwrap_or_default();
    let vm = &state.vm;
    let number = u32::from_le_bytes(number);
    match state.operators.search(&vm.patterns, number, value, found) {
        None => return Err(Status::BadArgument.into()),
        Some(false) => return Err(Status::Empty.into()),
        Some(true) => {}
    }
    let place = |at: usize| u32::try_from(at).unwrap_or(UNSET);
    let mut at = word(groups);
    for group in found.iter() {
        let (from, to) = group.map_or((UNSET, UNSET), |(from, to)| (place(from), place(to)));
        put_u32(memory, at, from)?;
        put_u32(memory, at.wrapping_add(4), to)?;
        at = at.wrapping_add(8);
    }
    Ok(())
}
