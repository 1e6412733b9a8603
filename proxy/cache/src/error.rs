//! What can go wrong between an answer and its readers.

/// Why an answer could not be stored or read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The origin stopped before the end; what was received has been thrown away.
    #[error("the origin stopped before the end of the answer; nothing of it is stored")]
    Truncated,
    /// A reader fell behind the part of a too large answer that is still kept.
    #[error("reader too slow for an answer too large to store")]
    TooSlow,
    /// Nobody reads an answer that is too large to store.
    #[error("nobody is left to read an answer too large to store")]
    Unread,
    /// Every byte of the memory bound is in use by answers being received or read.
    #[error("no room in the cache (node.cache.memory)")]
    NoRoom,
    /// Status line and fields together are too long.
    #[error("response head too large to store")]
    HeadTooLarge,
    /// A range that is not inside the answer.
    #[error("range outside the stored answer")]
    Range,
}
