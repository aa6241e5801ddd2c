//! Medians and ranges of repeats.

use serde::{Deserialize, Serialize};

/// Smallest, median and largest of repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest.
    pub min: f64,
    /// Middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// Largest.
    pub max: f64,
}

impl Range {
    /// Of some values; all 0 of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Self { min: *min, median, max: *max }
    }

    /// All three changed alike, by a function that keeps their order.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { min: f(self.min), median: f(self.median), max: f(self.max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(Range::of([3.0, 1.0, 2.0]), Range { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Range::of([4.0, 1.0, 2.0, 9.0]), Range { min: 1.0, median: 3.0, max: 9.0 });
        assert_eq!(Range::of([5.0]), Range { min: 5.0, median: 5.0, max: 5.0 });
        assert_eq!(Range::of([]), Range::default());
    }

    #[test]
    fn one_wild_value_does_not_move_the_median() {
        assert_eq!(Range::of([1.0, 1.0, 1.0, 1000.0, 1.0]).median, 1.0);
        assert_eq!(Range::of([-1.0, -3.0, -2.0]).median, -2.0);
    }

    #[test]
    fn map_changes_all_three() {
        let doubled = Range::of([1.0, 2.0, 3.0]).map(|value| value * 2.0);
        assert_eq!(doubled, Range { min: 2.0, median: 4.0, max: 6.0 });
    }
}
