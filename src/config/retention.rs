//! How long something is kept, by the calendar: `13 months`, `90 days`, `forever`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Months, Utc};
use serde::Deserialize;

/// A hundred years: more is a mistake, or `forever`.
const MOST_MONTHS: u32 = 1200;
const MOST_DAYS: u32 = 36_500;

/// How long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Retention {
    /// Until somebody decides otherwise.
    Forever,
    /// By the calendar: the same day so many months later, or the last one of a shorter month.
    Months(u32),
    /// Days of 24 hours.
    Days(u32),
}

impl Retention {
    /// What is over by this instant need not be kept at `now`; `None` when everything must be.
    pub fn ends(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match *self {
            Self::Forever => None,
            Self::Months(months) => now.checked_sub_months(Months::new(months)),
            Self::Days(days) => now.checked_sub_days(Days::new(days.into())),
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Forever => write!(formatter, "forever"),
            Self::Months(1) => write!(formatter, "1 month"),
            Self::Months(months) => write!(formatter, "{months} months"),
            Self::Days(1) => write!(formatter, "1 day"),
            Self::Days(days) => write!(formatter, "{days} days"),
        }
    }
}

impl FromStr for Retention {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NEEDED: &str = "a number of days, months or years such as \"13 months\", at least 1 day and at most 100 years, \
                              or \"forever\" is needed";
        let parse = || {
            let (number, unit) = text.split_once(' ')?;
            let number: u32 = number.parse().ok().filter(|number| *number > 0)?;
            match unit.trim_start() {
                "day" | "days" if number <= MOST_DAYS => Some(Self::Days(number)),
                "month" | "months" if number <= MOST_MONTHS => Some(Self::Months(number)),
                "year" | "years" if number <= MOST_MONTHS / 12 => Some(Self::Months(number * 12)),
                _ => None,
            }
        };
        if text == "forever" { Ok(Self::Forever) } else { parse().ok_or(NEEDED) }
    }
}

impl TryFrom<String> for Retention {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_counted_by_the_calendar() {
        let now: DateTime<Utc> = "2026-03-31T12:00:00Z".parse().expect("an instant");
        for (text, end) in [
            ("13 months", "2025-02-28T12:00:00Z"),
            ("1 month", "2026-02-28T12:00:00Z"),
            ("2 years", "2024-03-31T12:00:00Z"),
            ("90 days", "2025-12-31T12:00:00Z"),
        ] {
            let retention: Retention = text.parse().expect(text);
            assert_eq!(retention.ends(now), Some(end.parse().expect("an instant")), "{text}");
            assert_eq!(retention.to_string().parse(), Ok(retention), "{text}");
        }
        assert_eq!("forever".parse::<Retention>().map(|forever| forever.ends(now)), Ok(None));
        for text in
            ["", "13", "months", "0 days", "-1 months", "1.5 years", "13 Months", "13 weeks", "101 years", "ever"]
        {
            assert!(text.parse::<Retention>().is_err(), "{text}");
        }
    }
}
