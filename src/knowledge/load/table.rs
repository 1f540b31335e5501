//! Tables as text: each row becomes one line that can be understood without the others.

use super::tidy;

/// Longer headers are cut: they are repeated in each row.
const MAX_HEADER_CHARS: usize = 60;
/// Longer cells do not count for the rows they span: their text would be repeated too often.
const MAX_SPANNING_CHARS: usize = 100;
/// The most columns and rows that one cell can span.
const MAX_SPAN: usize = 20;
/// Columns beyond this have no header.
const MAX_COLUMNS: usize = 1_000;

/// One cell of a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    /// The text, in any shape.
    pub(super) text: String,
    /// Whether it is marked as a header.
    pub(super) is_header: bool,
    /// How many columns it takes; 0 counts as 1.
    pub(super) columns: usize,
    /// How many rows it takes; 0 counts as 1.
    pub(super) rows: usize,
}

/// Turns the rows of one table into lines.
#[derive(Debug, Default)]
pub(super) struct Table {
    headers: Vec<String>,
    lines: Vec<String>,
    /// The cells from rows above that reach into the next row: column, text, rows left.
    spanning: Vec<(usize, String, usize)>,
}

impl Table {
    /// Adds a row. Rows of header cells only, before the first other row, name the columns.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        let is_header = self.lines.is_empty() && !cells.is_empty() && cells.iter().all(|cell| cell.is_header);
        let placed = self.place(cells);
        if is_header {
            for (column, text) in placed {
                self.name(column, &text);
            }
            return;
        }
        let mut line = String::new();
        for (column, text) in placed.into_iter().filter(|(_, text)| !text.is_empty()) {
            if !line.is_empty() {
                line.push_str("; ");
            }
            if let Some(header) = self.headers.get(column).filter(|header| !header.is_empty()) {
                line.push_str(header);
                // Headers such as "Question:" bring their own sign.
                line.push_str(if header.ends_with([':', '?']) { " " } else { ": " });
            }
            line.push_str(&text);
        }
        if !line.is_empty() {
            self.lines.push(line);
        }
    }

    /// The rows so far, one line each; the headers alone when there were no others.
    pub(super) fn take(&mut self) -> String {
        if self.lines.is_empty() {
            let headers: Vec<String> = self.headers.drain(..).filter(|header| !header.is_empty()).collect();
            return headers.join("; ");
        }
        std::mem::take(&mut self.lines).join("\n")
    }

    /// Finds each cell's column, around the cells that reach down from above.
    fn place(&mut self, cells: Vec<Cell>) -> Vec<(usize, String)> {
        let mut placed = Vec::new();
        let mut from_above = std::mem::take(&mut self.spanning).into_iter().peekable();
        let mut below = Vec::new();
        let mut column = 0;
        let continue_down = |(at, text, left): (usize, String, usize), placed: &mut Vec<_>, below: &mut Vec<_>| {
            placed.push((at, text.clone()));
            if left > 1 {
                below.push((at, text, left - 1));
            }
        };
        for cell in cells {
            while let Some(span) = from_above.next_if(|(at, ..)| *at <= column) {
                column = column.max(span.0 + 1);
                continue_down(span, &mut placed, &mut below);
            }
            let text = tidy::line(&cell.text);
            let rows = cell.rows.clamp(1, MAX_SPAN);
            if rows > 1 && text.chars().nth(MAX_SPANNING_CHARS).is_none() {
                below.push((column, text.clone(), rows - 1));
            }
            let columns = cell.columns.clamp(1, MAX_SPAN);
            let is_wide = cell.is_header && columns > 1 && column < MAX_COLUMNS;
            if is_wide && self.lines.is_empty() && text.chars().nth(MAX_SPANNING_CHARS).is_none() {
                placed.extend((1..columns).map(|further| (column + further, text.clone())));
            }
            placed.push((column, text));
            column += columns;
        }
        for span in from_above {
            continue_down(span, &mut placed, &mut below);
        }
        placed.sort_by_key(|(at, _)| *at);
        below.sort_by_key(|(at, ..)| *at);
        self.spanning = below;
        placed
    }

    /// Names a column; a second row of headers refines the first.
    fn name(&mut self, column: usize, text: &str) {
        if column >= MAX_COLUMNS {
            return;
        }
        if self.headers.len() <= column {
            self.headers.resize(column + 1, String::new());
        }
        if let Some(header) = self.headers.get_mut(column) {
            if header.is_empty() {
                *header = text.to_owned();
            } else if !text.is_empty() && header != text {
                *header = format!("{header}, {text}");
            }
            *header = tidy::shortened(header, MAX_HEADER_CHARS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[&str], is_header: bool) -> Vec<Cell> {
        texts.iter().map(|text| Cell { text: (*text).to_owned(), is_header, ..Cell::default() }).collect()
    }

    #[test]
    fn each_row_carries_its_headers() {
        let mut table = Table::default();
        table.row(cells(&["Term", "Rate", ""], true));
        table.row(cells(&["12\nmonths", " 6% ", "new"], false));
        table.row(cells(&["24 months", "", ""], false));
        assert_eq!(table.take(), "Term: 12 months; Rate: 6%; new\nTerm: 24 months");
    }

    #[test]
    fn cells_span_rows_and_columns() {
        let mut table = Table::default();
        let wide = Cell { text: "Rate".into(), is_header: true, columns: 2, ..Cell::default() };
        let tall = Cell { text: "Loan".into(), is_header: true, rows: 2, ..Cell::default() };
        table.row(vec![tall, wide]);
        table.row(cells(&["new", "old"], true));
        let tall = Cell { text: "Car".into(), rows: 2, ..Cell::default() };
        table.row([vec![tall], cells(&["7%", "8%"], false)].concat());
        table.row(cells(&["6%", "9%"], false));
        assert_eq!(table.take(), "Loan: Car; Rate, new: 7%; Rate, old: 8%\nLoan: Car; Rate, new: 6%; Rate, old: 9%");
    }

    #[test]
    fn a_table_without_rows_keeps_its_headers() {
        let mut table = Table::default();
        table.row(cells(&["a", "b"], true));
        assert_eq!(table.take(), "a; b");
    }
}
