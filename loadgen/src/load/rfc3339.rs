//! Dates as RFC 3339 writes them: `2026-03-01T12:00:00.25Z`.

const NS_PER_S: i64 = 1_000_000_000;

/// Nanoseconds since 1970; `None` where it is no such date, or one that has no place in 64 bits
/// (before 1677, after 2262). A leap second counts as the first of the next minute.
pub(crate) fn parse_unix_ns(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| digits(bytes.get(from..to)?);
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    //= rfc3339#section-5.6
    //# full-date       = date-fullyear "-" date-month "-" date-mday
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Readers and writers may agree on a space (the section's last note).
    let is_shaped = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !is_shaped || !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ns, offset) = fraction(bytes.get(19..)?)?;
    let days = days_since_1970(year, month, day);
    let seconds = days * 86_400 + (hour * 60 + minute) * 60 + second - offset_s(offset)?;
    seconds.checked_mul(NS_PER_S)?.checked_add(fraction_ns)
}

/// Only digits, and not many.
fn digits(bytes: &[u8]) -> Option<i64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    bytes.iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
}

/// The nanoseconds of a fraction of a second, if there is one, and what follows.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = bytes.split_first() else { return Some((0, bytes)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (written, rest) = rest.split_at(length);
    let kept = &written[..length.min(9)];
    let ns = digits(kept)? * 10_i64.pow(9 - kept.len() as u32);
    (length > 0).then_some((ns, rest))
}

/// What local time is ahead of UTC.
fn offset_s(bytes: &[u8]) -> Option<i64> {
    match bytes {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let seconds = (hours * 60 + minutes) * 60;
            let is_one = hours <= 23 && minutes <= 59;
            is_one.then_some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

const fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of the Gregorian calendar. Years begin in March, so that the day that is not in every year is
/// the last.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12; // since March
    let before = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    before + (153 * month + 2) / 5 + day - 1 - 719_468
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
            ("1990-12-31T23:59:60Z", 662_688_000_000_000_000),
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

    #[test]
    fn each_day_follows_the_one_before() {
        let mut expected = days_since_1970(1899, 12, 31);
        for year in 1900..2105 {
            for month in 1..=12 {
                for day in 1..=days_of(year, month) {
                    expected += 1;
                    assert_eq!(days_since_1970(year, month, day), expected);
                }
            }
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
