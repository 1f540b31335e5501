//! Samples, and the aligned tables that they are printed in.

/// Measured values of one thing.
#[derive(Clone, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn extend(&mut self, values: impl IntoIterator<Item = f64>) {
        self.0.extend(values);
    }

    /// The value below which so many percent lie, by nearest rank; NaN when nothing was measured.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.percentile(50)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.percentile(99)
    }

    pub(crate) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The share of values in a range, 0 to 1.
    pub(crate) fn share(&self, range: std::ops::Range<f64>) -> f64 {
        self.0.iter().filter(|value| range.contains(value)).count() as f64 / self.0.len().max(1) as f64
    }
}

/// Rows of texts under heads; the first column and the last are set to the left, the numbers between to the right.
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose last column is what has to be reached.
    pub(crate) fn new(title: impl Into<String>, heads: &[&str]) -> Self {
        let mut first: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
        first.push("to reach".to_owned());
        Self { title: title.into(), rows: vec![first] }
    }

    pub(crate) fn row(&mut self, name: impl Into<String>, numbers: &[String], reach: impl Into<String>) {
        let mut row = vec![name.into()];
        row.extend_from_slice(numbers);
        row.push(reach.into());
        assert_eq!(row.len(), self.rows[0].len(), "a row has as many cells as the heads");
        self.rows.push(row);
    }

    pub(crate) fn print(&self) {
        println!("\n{}", self.title);
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            let last = row.len() - 1;
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                column if column == last => cell.clone(),
                _ => format!("{cell:>width$}"),
            });
            println!("  {}", cells.collect::<Vec<_>>().join("  "));
        }
    }
}

/// Milliseconds.
pub(crate) fn ms(value: f64) -> String {
    format!("{value:.2} ms")
}

/// How many times one value is another, where the other is something.
pub(crate) fn ratio(value: f64, compared: f64) -> String {
    if compared > 0.0 { format!("{:.2}x", value / compared) } else { "-".to_owned() }
}

/// What has to be reached, and whether it is.
pub(crate) fn reach(target: &str, is_reached: bool) -> String {
    format!("{target}: {}", if is_reached { "reached" } else { "NOT REACHED" })
}
