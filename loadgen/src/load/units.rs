//! Figures with their units: written for people, and read from a command line.

use std::time::Duration;

/// Nanoseconds in the unit that suits them, to three significant digits: `1.23 ms`, `45.6 µs`.
pub(crate) fn time(ns: f64) -> String {
    if !ns.is_finite() {
        return "-".to_owned();
    }
    if ns < 999.5 {
        return format!("{ns:.0} ns");
    }
    let units = [("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    // By what is shown: 999.95 µs is rounded to a millisecond, so it is written as one.
    let fits = |(_, size): &(&str, f64)| ns / size < 999.5;
    let (unit, size) = units.into_iter().find(fits).unwrap_or(("s", 1e9));
    format!("{} {unit}", three_digits(ns / size))
}

/// As `time`, for a count of nanoseconds.
pub(crate) fn time_ns(ns: u64) -> String {
    time(ns as f64)
}

/// Seconds as they are planned: `10 s`, `1.5 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    let text = format!("{seconds:.2}");
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A whole number, its thousands apart: `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something: `1 thread`, `1,000 threads`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {what}{s}", count(number))
}

/// So many a second: `12,345/s`, and with three digits where there are few.
pub(crate) fn rate(per_s: f64) -> String {
    format!("{}/s", number(per_s))
}

/// A number that need not be whole: at least three digits of it, and all before the point.
pub(crate) fn number(number: f64) -> String {
    if !number.is_finite() {
        "-".to_owned()
    } else if number == 0.0 {
        "0".to_owned()
    } else if number < 0.0 {
        format!("-{}", self::number(-number))
    } else {
        three_digits(number)
    }
}

/// Bytes in powers of a thousand: `512 B`, `1.23 kB`, `45.6 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let units = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];
    let fits = |(_, size): &(&str, f64)| bytes as f64 / size < 999.5;
    let (unit, size) = units.into_iter().find(fits).unwrap_or(("TB", 1e12));
    format!("{} {unit}", three_digits(bytes as f64 / size))
}

/// A part of a whole: `12.3 %`. All is `100 %` and nothing is `0 %`, and nothing else is.
pub(crate) fn share(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() {
        "-".to_owned()
    } else if percent == 0.0 {
        "0 %".to_owned()
    } else if percent < 0.001 {
        "< 0.001 %".to_owned()
    } else if (99.95..100.0).contains(&percent) {
        if percent >= 99.9995 { "> 99.999 %".to_owned() } else { format!("{percent:.3} %") }
    } else if percent == 100.0 {
        "100 %".to_owned()
    } else if percent < 0.01 {
        format!("{percent:.3} %")
    } else {
        format!("{} %", three_digits(percent))
    }
}

/// Three digits that count, or all before the point if those are more; not for what is below zero.
fn three_digits(number: f64) -> String {
    if number < 9.995 {
        format!("{number:.2}")
    } else if number < 99.95 {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// Reads `5ms`, `200us`, `1.5s`, `2m`, `1h`; `0` needs no unit.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "" if number == 0.0 => 0.0,
        "" => return Err(format!("`{text}` has no unit; write {text}ms or {text}s")),
        unit => return Err(format!("`{unit}` is no unit of time; there are ns, us, ms, s, m, h")),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("`{text}` is too long"))
}

/// Reads `512`, `512B`, `10kB` (thousands), `64KiB` (1,024s).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let size: f64 = match unit {
        "" | "B" => 1.0,
        "kB" | "k" => 1e3,
        "MB" | "M" => 1e6,
        "GB" | "G" => 1e9,
        "KiB" => 1_024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        unit => return Err(format!("`{unit}` is no unit of size; there are B, kB, KiB, MB, MiB")),
    };
    let bytes = (number * size).round();
    // Larger ones would not be exact.
    if bytes > (1_u64 << 53) as f64 {
        return Err(format!("`{text}` is too much"));
    }
    Ok(bytes as u64)
}

/// As `parse_bytes`, for what is to be in memory.
pub(crate) fn parse_length(text: &str) -> Result<usize, String> {
    usize::try_from(parse_bytes(text)?).map_err(|_| format!("`{text}` is too much"))
}

/// Reads `1000`, `10k`, `1.5M`, each also with `/s` behind it.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text.strip_suffix("/s").unwrap_or(text))?;
    let size = match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        unit => return Err(format!("`{unit}` is no unit of rate; write 1000, 10k or 1.5M")),
    };
    Ok(number * size)
}

/// As `parse_rate`, for what cannot be nothing.
pub(crate) fn parse_rate_above_zero(text: &str) -> Result<f64, String> {
    match parse_rate(text)? {
        per_s if per_s > 0.0 => Ok(per_s),
        _ => Err("it must be above 0".into()),
    }
}

/// Reads `5%` and `0.05`.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let share = match unit {
        "" => number,
        "%" => number / 100.0,
        _ => return Err(format!("`{text}` is no share; write 5% or 0.05")),
    };
    if share > 1.0 {
        return Err(format!("`{text}` is more than all; write 5% or 0.05"));
    }
    Ok(share)
}

/// The number and what follows it. Only digits and a point: what else `f64` reads (`inf`, `1e9`,
/// `-1`) is no amount of anything.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 =
        number.parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    if !number.is_finite() {
        return Err(format!("`{text}` is too much"));
    }
    Ok((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (ns, text) in [
            (0, "0 ns"),
            (7, "7 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (1_234, "1.23 µs"),
            (9_994, "9.99 µs"),
            (9_996, "10.0 µs"),
            (45_600, "45.6 µs"),
            (99_960, "100 µs"),
            (999_499, "999 µs"),
            (999_950, "1.00 ms"),
            (1_230_000, "1.23 ms"),
            (999_950_000, "1.00 s"),
            (3_600_000_000_000, "3,600 s"),
        ] {
            assert_eq!(time_ns(ns), text, "{ns}");
        }
        assert_eq!(time(999.6), "1.00 µs");
        assert_eq!(time(f64::NAN), "-");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        let counts = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in counts {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        let counts = [(0, "0 threads"), (1, "1 thread"), (1_000, "1,000 threads")];
        for (number, text) in counts {
            assert_eq!(counted(number, "thread"), text);
        }
        let rates = [(0.0, "0/s"), (0.5, "0.50/s"), (12.34, "12.3/s"), (12_345.4, "12,345/s")];
        for (per_s, text) in rates {
            assert_eq!(rate(per_s), text);
        }
        assert_eq!(number(-1.5), "-1.50");
        assert_eq!((seconds(10.0), seconds(1.5)), ("10 s".to_owned(), "1.5 s".to_owned()));
    }

    #[test]
    fn bytes_are_in_thousands() {
        let sizes = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (999_950, "1.00 MB"),
            (64 << 20, "67.1 MB"),
        ];
        for (size, text) in sizes {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn only_all_is_all_and_only_nothing_is_nothing() {
        for (part, text) in [
            (0.0, "0 %"),
            (0.000_001, "< 0.001 %"),
            (0.000_05, "0.005 %"),
            (0.123_4, "12.3 %"),
            (0.9994, "99.9 %"),
            (0.999_9, "99.990 %"),
            (0.999_999, "> 99.999 %"),
            (1.0, "100 %"),
            (2.5, "250 %"),
        ] {
            assert_eq!(share(part), text, "{part}");
        }
    }

    #[test]
    fn what_people_write_is_read() {
        for (text, ns) in [
            ("5ms", 5_000_000),
            ("200us", 200_000),
            ("200 µs", 200_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("7ns", 7),
            ("0", 0),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
        for (text, size) in
            [("512", 512), ("10kB", 10_000), ("64KiB", 65_536), ("1.5MB", 1_500_000), ("0", 0)]
        {
            assert_eq!(parse_bytes(text), Ok(size), "{text}");
        }
        for (text, per_s) in [("1000", 1e3), ("10k", 1e4), ("1.5M/s", 1.5e6), ("0.5", 0.5)] {
            assert_eq!(parse_rate(text), Ok(per_s), "{text}");
        }
        assert_eq!(parse_length("1.5kB"), Ok(1_500));
        assert_eq!((parse_share("5%"), parse_share("0.05")), (Ok(0.05), Ok(0.05)));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_a_reason() {
        let refused = parse_time("5").unwrap_err();
        assert!(refused.contains("5ms"), "{refused}");
        for text in ["", "ms", "-5ms", "5 parsecs", "1e9s", "inf", "99999999999999999999s", "."] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        for text in ["", "-1", "5bits", "9999999999GiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        for text in ["", "10x", "-10", "NaN"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        for text in ["101%", "1.5", "5x", ""] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
