//! What was shown, as a table: how many, how long, and which crate did it.

use std::fmt::Write as _;
use std::time::Duration;

/// Rows are added while the story goes on, and printed at its end.
pub(crate) struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    count: String,
    time: String,
    by: &'static str,
}

impl Table {
    pub(crate) fn new() -> Self {
        let mut table = Self { rows: Vec::new() };
        table.add("what", "how often", "how long", "by");
        table
    }

    /// `what` happened; `by` names the crates that did it.
    pub(crate) fn add(
        &mut self,
        what: impl Into<String>,
        count: impl ToString,
        time: impl Into<String>,
        by: &'static str,
    ) {
        self.rows.push(Row {
            what: what.into(),
            count: count.to_string(),
            time: time.into(),
            by,
        });
    }

    /// As many columns as there is something to say.
    pub(crate) fn to_text(&self) -> String {
        let width = |of: fn(&Row) -> &str| {
            let lengths = self.rows.iter().map(|row| of(row).chars().count());
            lengths.max().unwrap_or_default()
        };
        let (what, count) = (width(|row| &row.what), width(|row| &row.count));
        let time = width(|row| &row.time);
        let mut text = String::new();
        for row in &self.rows {
            // Writing to a `String` does not fail.
            let _ = writeln!(
                text,
                "   {:<what$}  {:>count$}  {:>time$}  {}",
                row.what, row.count, row.time, row.by
            );
        }
        text
    }
}

/// A time as people read it.
pub(crate) fn readable(time: Duration) -> String {
    match time.as_nanos() {
        0..1_000 => format!("{} ns", time.as_nanos()),
        1_000..1_000_000 => format!("{:.1} µs", time.as_secs_f64() * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// A number as people read it.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
