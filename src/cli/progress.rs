//! Progress of long work: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::knowledge::ingest;

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far a piece of work is.
pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    lines: Mutex<Lines>,
}

struct Lines {
    done: u64,
    total: u64,
    printed: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {eta}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(what);
            bar
        });
        Self { what, bar, lines: Mutex::new(Lines { done: 0, total: 0, printed: Instant::now() }) }
    }

    /// The work is over.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl ingest::Progress for Progress {
    fn started(&self, total: usize) {
        self.lines.lock().total = total as u64;
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
        }
    }

    fn advanced(&self, by: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(by as u64);
            return;
        }
        let mut lines = self.lines.lock();
        lines.done += by as u64;
        if lines.printed.elapsed() >= LINE_EVERY {
            lines.printed = Instant::now();
            eprintln!("{}: {} of {}", self.what, lines.done, lines.total);
        }
    }
}
