//! Valid lengths of a new-flow table: powers of two (as in VPP) and primes (as in the Maglev
//! paper). In both, a walk with a suitable skip visits every slot once.

/// The length of a new-flow table, in slots: a power of two or a prime, 1 to 2^24.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableLength(u32);

/// A length that is neither a power of two nor a prime, or out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a new-flow table's length is a power of two or a prime from 1 to 16777216, not {requested}; \
     the nearest are {} and {}", nearest[0], nearest[1]
)]
pub struct TableLengthError {
    /// What was asked for.
    pub requested: u64,
    /// The two nearest valid lengths, in ascending order.
    pub nearest: [u32; 2],
}

impl TableLength {
    /// The longest table: 2^24 slots.
    pub const MAX: u32 = 1 << 24;

    /// The default, a prime: 100 slots for each of 655 ASs keep shares within 1 %.
    pub const DEFAULT: Self = Self(65_537);

    /// Checks a length (`new_len`).
    ///
    /// # Errors
    ///
    /// When it is neither a power of two nor a prime, or not within 1 to 2^24.
    pub fn new(slots: u64) -> Result<Self, TableLengthError> {
        let error = |nearest| TableLengthError { requested: slots, nearest };
        match u32::try_from(slots) {
            Ok(0) => Err(error([1, 2])),
            Ok(length) if length <= Self::MAX => {
                if is_valid(length) {
                    return Ok(Self(length));
                }
                // 1 and 2^24 are valid, so that both searches end.
                let below = (1..length).rev().find(|&n| is_valid(n)).unwrap_or(1);
                let above = (length..Self::MAX).find(|&n| is_valid(n)).unwrap_or(Self::MAX);
                Err(error([below, above]))
            }
            _ => {
                let below = (1..Self::MAX).rev().find(|&n| is_valid(n)).unwrap_or(1);
                Err(error([below, Self::MAX]))
            }
        }
    }

    /// The length in slots.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for TableLength {
    fn default() -> Self {
        Self::DEFAULT
    }
}

fn is_valid(length: u32) -> bool {
    length.is_power_of_two() || is_prime(length)
}

/// Trial division: at most 2048 odd divisors for lengths up to 2^24.
fn is_prime(n: u32) -> bool {
    if n < 4 {
        return n > 1;
    }
    !n.is_multiple_of(2)
        && (3..).step_by(2).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_and_primes_are_valid() {
        for slots in [1, 2, 3, 4, 5, 7, 1024, 4093, 65_536, 65_537, 16_777_213, 1 << 24] {
            assert_eq!(TableLength::new(slots).map(|l| u64::from(l.get())), Ok(slots));
        }
    }

    #[test]
    fn others_are_refused_with_the_two_nearest() {
        for (slots, nearest) in [
            (0, [1, 2]),
            (6, [5, 7]),
            (9, [8, 11]),
            (15, [13, 16]),
            (1000, [997, 1009]),
            (65_535, [65_521, 65_536]),
            (16_777_215, [16_777_213, 16_777_216]),
            (16_777_217, [16_777_213, 16_777_216]),
            (1 << 32, [16_777_213, 16_777_216]),
        ] {
            let error = TableLength::new(slots).unwrap_err();
            assert_eq!(error, TableLengthError { requested: slots, nearest });
        }
    }

    #[test]
    fn the_error_names_them() {
        let text = TableLength::new(1000).unwrap_err().to_string();
        assert!(text.contains("not 1000") && text.contains("997 and 1009"), "{text}");
    }
}
