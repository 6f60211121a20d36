//! Many measurements of one thing.

use std::time::Duration;

/// What was measured, round by round.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn least(&self) -> f64 {
        self.quantile(0.0)
    }

    pub fn greatest(&self) -> f64 {
        self.quantile(1.0)
    }

    /// The figure below which this share of all figures lies, between two of them in proportion; `NaN` when there is none,
    /// or one that is no number: such a one has no place among the others.
    pub fn quantile(&self, share: f64) -> f64 {
        if self.0.iter().any(|figure| figure.is_nan()) {
            return f64::NAN;
        }
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(clippy::cast_precision_loss, reason = "a short list")]
        let at = sorted.len().saturating_sub(1) as f64 * share;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the list")]
        let figure = |at: f64| sorted.get(at as usize).copied().unwrap_or(f64::NAN);
        let (below, above) = (figure(at.floor()), figure(at.ceil()));
        below + (above - below) * at.fract()
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<T: IntoIterator<Item = f64>>(figures: T) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
