//! How large messages are.

use std::f64::consts::TAU;
use std::fmt;
use std::str::FromStr;

use rand::RngExt;

use super::super::units::parse_bytes;

/// The largest message that a load has; longer ones of a lognormal distribution are cut to it.
pub(crate) const SIZE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A distribution of sizes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Size {
    Fixed(usize),
    /// Both ends are in it.
    Uniform {
        min: usize,
        max: usize,
    },
    /// The logarithm is normal, with the standard deviation `sigma`: many short, a few very long.
    Lognormal {
        median: usize,
        sigma: f64,
    },
}

impl Size {
    /// The size of the next message.
    #[inline]
    pub(crate) fn sample(self, random: &mut impl RngExt) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform { min, max } => random.random_range(min..=max),
            Self::Lognormal { median, sigma } => {
                let factor = (sigma * normal(random)).exp();
                // The bounds come before the cast, so it is exact.
                #[expect(clippy::cast_precision_loss, reason = "at most 64 MiB")]
                let bytes = (median as f64 * factor).round().clamp(1.0, SIZE_BYTES_MAX as f64);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped to sizes"
                )]
                let bytes = bytes as usize;
                bytes
            }
        }
    }

    /// No message is larger.
    #[cfg(test)]
    pub(crate) const fn max(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform { max, .. } => max,
            Self::Lognormal { .. } => SIZE_BYTES_MAX,
        }
    }

    /// No message is smaller.
    #[cfg(test)]
    pub(crate) const fn min(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform { min, .. } => min,
            Self::Lognormal { .. } => 1,
        }
    }
}

/// A number of the standard normal distribution (Box and Muller's way).
fn normal(random: &mut impl RngExt) -> f64 {
    // From (0, 1], since zero has no logarithm.
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (TAU * random.random::<f64>()).cos()
}

const FORMS: &str = "give 32, uniform:10..200 or lognormal:200,1.5 (median, sigma)";

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (form, rest) = text.split_once(':').unwrap_or(("fixed", text));
        match form {
            "fixed" => size_bytes(rest).map(Self::Fixed),
            "uniform" => {
                let (min, max) = rest
                    .split_once("..")
                    .ok_or_else(|| format!("`{text}` has no range of sizes; {FORMS}"))?;
                let (min, max) = (size_bytes(min)?, size_bytes(max)?);
                if min > max {
                    return Err(format!("`{text}` begins above its end; {FORMS}"));
                }
                Ok(Self::Uniform { min, max })
            }
            "lognormal" => {
                let (median, sigma) = rest
                    .split_once(',')
                    .ok_or_else(|| format!("`{text}` has no median and sigma; {FORMS}"))?;
                let median = size_bytes(median)?;
                let sigma = sigma.trim().parse::<f64>().ok().filter(|s| (0.0..=5.0).contains(s));
                let sigma =
                    sigma.ok_or_else(|| format!("`{text}`: sigma is from 0 to 5; {FORMS}"))?;
                if median == 0 {
                    return Err(format!("`{text}`: the median is at least 1; {FORMS}"));
                }
                Ok(Self::Lognormal { median, sigma })
            }
            _ => Err(format!("`{text}` is no distribution of sizes; {FORMS}")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => write!(f, "{bytes} B"),
            Self::Uniform { min, max } => write!(f, "uniform, {min} to {max} B"),
            Self::Lognormal { median, sigma } => {
                write!(f, "lognormal, median {median} B, sigma {sigma}")
            }
        }
    }
}

fn size_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text)?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= SIZE_BYTES_MAX)
        .ok_or_else(|| format!("`{text}` is too large; a message has at most 64MiB"))
}
