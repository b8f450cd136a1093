//! Time spans that come from outside, and safe arithmetic with clocks.

use std::time::{Duration, Instant};

/// A time span that a store, a class, a certificate or a file states. It is never longer than [`Span::LONGEST`], so
/// that arithmetic with it does not overflow.
///
/// Parse every such number into this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(Duration);

impl Span {
    /// A span of zero length.
    pub const ZERO: Self = Self(Duration::ZERO);
    /// A hundred years. Longer spans become this one.
    pub const LONGEST: Self = Self(Duration::from_secs(100 * 365 * 86_400));

    /// That many seconds, or [`LONGEST`](Self::LONGEST).
    pub const fn from_secs(seconds: u64) -> Self {
        Self::capped(Duration::from_secs(seconds))
    }

    /// That long, or [`LONGEST`](Self::LONGEST).
    pub const fn capped(duration: Duration) -> Self {
        if duration.as_nanos() > Self::LONGEST.0.as_nanos() { Self::LONGEST } else { Self(duration) }
    }

    /// Exactly `duration`; `None` if it is longer than [`LONGEST`](Self::LONGEST).
    pub fn exactly(duration: Duration) -> Option<Self> {
        let span = Self::capped(duration);
        (span.0 == duration).then_some(span)
    }

    /// The length.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whether the length is zero.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The span multiplied by `factor`: 0.5 is half of it. NaN and negative factors give zero.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        if self.is_zero() || factor.is_nan() || factor <= 0.0 {
            return Self::ZERO;
        }
        let seconds = self.0.as_secs_f64() * factor;
        Self::capped(Duration::try_from_secs_f64(seconds).unwrap_or(Self::LONGEST.0))
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: impl Into<Self>) -> Self {
        Self::capped(self.0.saturating_add(other.into().0))
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self::capped(duration)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// A moment of the standard clock, or of a clock made from it, such as tokio's.
///
/// `+` and `-` between a moment and a duration panic if the result is out of range. A lint forbids them. These methods
/// do not panic.
pub trait Moment: Sized {
    /// The moment that is `by` later, at most [`Span::LONGEST`].
    #[must_use]
    fn later(self, by: impl Into<Span>) -> Self;

    /// The moment that is `by` earlier; the same moment if the clock cannot show one so early.
    #[must_use]
    fn earlier(self, by: impl Into<Span>) -> Self;
}

impl<T: From<Instant> + Into<Instant>> Moment for T {
    fn later(self, by: impl Into<Span>) -> Self {
        let at = self.into();
        at.checked_add(by.into().0).unwrap_or(at).into()
    }

    fn earlier(self, by: impl Into<Span>) -> Self {
        let at = self.into();
        at.checked_sub(by.into().0).unwrap_or(at).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_too_large_to_reckon_with() {
        let now = Instant::now();
        for seconds in [u64::MAX, u64::MAX / 2, i64::MAX as u64, 1 << 40] {
            let span = Span::from_secs(seconds);
            assert_eq!(span, Span::LONGEST, "{seconds}");
            assert_eq!(span.plus(span).times(1e300).plus(Duration::MAX), Span::LONGEST);
            assert!(now.later(span).later(span) > now && now.earlier(span) <= now);
        }
        assert_eq!(Span::capped(Duration::MAX), Span::LONGEST);
    }

    #[test]
    fn ordinary_numbers_are_as_they_were_told() {
        let hour = Span::from_secs(3600);
        assert_eq!(hour.times(2.0 / 3.0).get(), Duration::from_secs(2400));
        assert_eq!(hour.plus(Duration::from_secs(1)).get(), Duration::from_secs(3601));
        let now = Instant::now();
        assert_eq!(now.later(hour).earlier(hour), now);
        assert_eq!(Span::exactly(Duration::from_secs(7)), Some(Span::from_secs(7)));
        assert_eq!(Span::exactly(Duration::MAX), None);
    }

    #[test]
    fn what_is_no_number_is_no_time() {
        let second = Span::from_secs(1);
        assert_eq!(second.times(f64::NAN), Span::ZERO);
        assert_eq!(second.times(-1.0), Span::ZERO);
        assert_eq!(second.times(f64::INFINITY), Span::LONGEST);
        assert_eq!(Span::ZERO.times(f64::INFINITY), Span::ZERO);
    }
}
