//! How long a connection thinks, and how durations are written.

use rand::RngExt;

use super::super::units::parse_time;

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
    let ns = u64::try_from(parse_time(text.trim())?.as_nanos()).ok();
    ns.filter(|ns| *ns <= NS_MAX)
        .ok_or_else(|| format!("`{text}` is longer than a day, which is the limit"))
}
