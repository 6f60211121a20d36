//! The table.

use std::fmt;

use crate::figures::Series;

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// It is shown for comparison.
    None,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// Behind every figure: ` ms`, ` MB` or nothing.
    pub unit: &'static str,
    pub goal: Goal,
    pub figures: Series,
    /// The absolute figures behind a ratio.
    pub note: String,
}

impl Row {
    /// What could not be measured.
    pub fn failed(what: String, error: &anyhow::Error) -> Self {
        Self { what, unit: "", goal: Goal::None, figures: Series::default(), note: format!("failed: {error:#}") }
    }

    pub fn has_failed(&self) -> bool {
        self.figures.is_empty()
    }

    /// A figure that is no number meets nothing.
    fn is_met(&self) -> bool {
        match self.goal {
            Goal::AtLeast(least) => self.figures.median() >= least,
            Goal::AtMost(most) => self.figures.median() <= most,
            Goal::None => true,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, goal, figures, note } = self;
        let met = if self.is_met() { "yes" } else { "**no**" };
        let (goal, met) = match goal {
            Goal::AtLeast(least) => (format!("≥ {least}{unit}"), met),
            Goal::AtMost(most) => (format!("≤ {most}{unit}"), met),
            Goal::None => (String::new(), ""),
        };
        if self.has_failed() {
            return write!(formatter, "| {what} | {goal} | | | | {note} |");
        }
        let (median, least, greatest) = (figures.median(), figures.least(), figures.greatest());
        write!(formatter, "| {what} | {goal} | {median:.2}{unit} | {least:.2}–{greatest:.2} | {met} | {note} |")
    }
}

/// Rows under their headings, in Markdown.
pub struct Table<'a>(pub &'a [Row]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| what | goal | median | range | met | behind it |\n|---|---|---|---|---|---|")?;
        self.0.iter().try_for_each(|row| writeln!(formatter, "{row}"))
    }
}
