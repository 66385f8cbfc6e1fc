//! Dates as RFC 3339 writes them: `2026-03-01T12:00:00.25Z`.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Nanoseconds since 1970; `None` where it is no such date, or one that has no place in 64 bits
/// (before 1677, after 2262). A leap second counts as the last nanosecond before it.
pub(crate) fn parse_unix_ns(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos().try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("1969-12-31T23:59:59.5Z", -500_000_000),
            ("2026-03-01T12:00:00Z", 1_772_366_400_000_000_000),
            ("2026-03-01t12:00:00z", 1_772_366_400_000_000_000),
            ("2026-03-01 13:30:00.25+01:30", 1_772_366_400_250_000_000),
            ("2026-03-01T07:00:00.123456789123-05:00", 1_772_366_400_123_456_789),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000_000),
            // RFC 3339 section 5.8
            ("1985-04-12T23:20:50.52Z", 482_196_050_520_000_000),
            ("1996-12-19T16:39:57-08:00", 851_042_397_000_000_000),
            ("1990-12-31T23:59:60Z", 662_687_999_999_999_999),
        ] {
            assert_eq!(parse_unix_ns(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_no_time() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01T12:00:00",
            "2026-03-01T12:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:60:00Z",
            "2026-03-01T12:00:61Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00+0100",
            "2026-03-01T12:00:00+24:00",
            "2026-03-01T12:00:00Zulu",
            "+026-03-01T12:00:00Z",
            "2026-03-01T12:00:00,5Z",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_unix_ns(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn texts_of_any_kind_do_not_stop_it(
            text in ".{0,40}",
            near in "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.Z+-]{0,20}",
        ) {
            let _ = (parse_unix_ns(&text), parse_unix_ns(&near));
        }
    }
}
