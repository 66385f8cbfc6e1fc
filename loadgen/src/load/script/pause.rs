//! How long a connection thinks, and how durations are written.

use rand::RngExt;

/// Nothing in a script takes longer.
const NS_MAX: u64 = 24 * 3_600 * 1_000_000_000;

/// A distribution of think times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    Fixed { ns: u64 },
    Uniform { min_ns: u64, max_ns: u64 },
    Exponential { mean_ns: u64 },
}

const FORMS: &str = "write \"100ms\", \"uniform:50ms..200ms\" or \"exponential:100ms\"";

impl Pause {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None => duration_ns(text).map(|ns| Self::Fixed { ns }),
            Some(("uniform", range)) => {
                let (min, max) = range
                    .split_once("..")
                    .ok_or_else(|| format!("`{text}` has no range; {FORMS}"))?;
                let (min_ns, max_ns) = (duration_ns(min)?, duration_ns(max)?);
                if min_ns > max_ns {
                    return Err(format!("`{text}` begins above its end; {FORMS}"));
                }
                Ok(Self::Uniform { min_ns, max_ns })
            }
            Some(("exponential", mean)) => {
                duration_ns(mean).map(|mean_ns| Self::Exponential { mean_ns })
            }
            Some(_) => Err(format!("`{text}` is no think time; {FORMS}")),
        }
    }

    /// The next one.
    pub(super) fn sample_ns(self, random: &mut impl RngExt) -> u64 {
        match self {
            Self::Fixed { ns } => ns,
            Self::Uniform { min_ns, max_ns } => random.random_range(min_ns..=max_ns),
            Self::Exponential { mean_ns } => {
                // From (0, 1], since zero has no logarithm.
                let factor = -(1.0 - random.random::<f64>()).ln();
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "below 2^53, and not negative"
                )]
                let ns = (mean_ns as f64 * factor) as u64;
                ns.min(NS_MAX)
            }
        }
    }

    /// Never takes any time.
    pub(super) const fn is_zero(self) -> bool {
        matches!(
            self,
            Self::Fixed { ns: 0 }
                | Self::Uniform { max_ns: 0, .. }
                | Self::Exponential { mean_ns: 0 }
        )
    }
}

/// `500us`, `1.5s`, `2m`: at most a day.
pub(super) fn duration_ns(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is no duration; write a number and us, ms, s, m or h: \"2s\"");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ns = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        _ => return Err(wrong()),
    };
    let ns = number.parse::<f64>().map_err(|_| wrong())? * unit_ns;
    #[expect(clippy::cast_precision_loss, reason = "a day is below 2^53")]
    if ns > NS_MAX as f64 {
        return Err(format!("`{text}` is longer than a day, which is the limit"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most a day, and digits have no sign"
    )]
    let ns = ns.round() as u64;
    Ok(ns)
}
