//! Why a row is refused, as the metric and the page say it. Written down here a second time on purpose: a word or a status
//! that changes is seen by clients and dashboards.

/// Makes [`Refused`] out of one table.
macro_rules! refused {
    ($($name:ident $word:literal $status:literal,)*) => {
        /// A reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the words say it")]
        pub enum Refused { $($name,)* }

        impl Refused {
            /// The word in the metric and the log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The status a client gets.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

refused! {
    EmptyLines "empty_lines" 400,
    Method "method_token" 400,
    TargetByte "target_byte" 400,
    TargetForm "target_form" 400,
    TargetTooLong "target_too_long" 414,
    Version "version" 400,
    VersionUnknown "version_unknown" 505,
    LineEnding "line_ending" 400,
    Control "control_byte" 400,
    FieldName "field_name" 400,
    FieldSpace "field_space" 400,
    Folding "folding" 400,
    HostMissing "host_missing" 400,
    HostSeveral "host_several" 400,
    HostInvalid "host_invalid" 400,
    HostDisagrees "host_disagrees" 400,
    LengthInvalid "length_invalid" 400,
    LengthSeveral "length_several" 400,
    LengthTooLarge "length_too_large" 413,
    LengthAndCoding "length_and_coding" 400,
    CodingInvalid "coding_invalid" 400,
    CodingUnknown "coding_unknown" 501,
    CodingIn10 "coding_in_http10" 400,
    FramingName "framing_name" 400,
    ConnectionOption "connection_option" 400,
    HeadTooLarge "head_too_large" 431,
    FieldsTooMany "fields_too_many" 431,
    FieldTooLong "field_too_long" 431,
    ChunkSize "chunk_size" 400,
    ChunkExtension "chunk_extension" 400,
    ChunkEnd "chunk_end" 400,
    Trailer "trailer" 400,
    TrailersTooLarge "trailers_too_large" 431,
}
