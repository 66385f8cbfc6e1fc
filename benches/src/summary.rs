//! Several runs as one figure: the median, and how far they lie apart.

/// Median, quartiles and range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// Between these is the middle half of them.
    pub quartiles: [f64; 2],
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Summary {
    /// Of at least one figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        // Between two of them, in proportion.
        let at = |part: f64| {
            let place = part * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Self { median: at(0.5), quartiles: [at(0.25), at(0.75)], min, max })
    }

    /// `median (min to max)`.
    pub fn show(&self, decimals: usize) -> String {
        format!(
            "{:.*} ({:.*} to {:.*})",
            decimals, self.median, decimals, self.min, decimals, self.max
        )
    }

    /// `median [quartile to quartile] (min to max)`.
    pub fn show_with_quartiles(&self, decimals: usize) -> String {
        let Self { median, quartiles: [low, high], min, max } = self;
        format!(
            "{median:.decimals$} [{low:.decimals$} to {high:.decimals$}] \
             ({min:.decimals$} to {max:.decimals$})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        assert_eq!(Summary::of([]), None);
        let odd = Summary::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Summary { median: 2.0, quartiles: [1.5, 2.5], min: 1.0, max: 3.0 });
        assert_eq!(Summary::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(odd.show(1), "2.0 (1.0 to 3.0)");
        assert_eq!(odd.show_with_quartiles(2), "2.00 [1.50 to 2.50] (1.00 to 3.00)");
        let five = Summary::of([5.0, 1.0, 4.0, 2.0, 90.0]).unwrap();
        assert_eq!((five.median, five.quartiles), (4.0, [2.0, 5.0]));
        assert_eq!(Summary::of([7.0]).unwrap().quartiles, [7.0, 7.0]);
    }
}
