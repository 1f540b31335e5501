//! Delays: a time in seconds is a sum of powers of two, and a message waits in one queue for each of them.

use std::time::Duration;

/// How many levels there are; level N waits 2^N seconds.
pub(super) const LEVELS: u32 = 18;
/// The longest way through the levels, in seconds: some 72 hours.
const LONGEST: u64 = (1 << LEVELS) - 1;

/// The way of a message through the levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The level whose exchange it goes in by.
    pub(super) level: u32,
    /// Where it waits, and for which queue.
    pub(super) routing_key: String,
    /// What is left to wait when it comes out.
    pub(super) rest: Duration,
}

impl Way {
    /// The way that takes as long as `after`, to the second below it; none when that is less than a second.
    pub(super) fn new(after: Duration, queue: &str) -> Option<Self> {
        let seconds = after.as_secs().min(LONGEST);
        let level = seconds.checked_ilog2()?;
        let digits = (0..LEVELS).rev().map(|level| if seconds >> level & 1 == 1 { "1." } else { "0." });
        let routing_key = digits.chain([queue]).collect();
        Some(Self { level, routing_key, rest: after.saturating_sub(Duration::from_secs(seconds)) })
    }
}

/// What leads from a level's exchange into its queue, and what leads past it to the level below.
pub(super) fn bindings(level: u32, levels: u32) -> (String, String) {
    let higher = "*.".repeat(levels.saturating_sub(level + 1) as usize);
    (format!("{higher}1.#"), format!("{higher}0.#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(after: Duration) -> Way {
        Way::new(after, "deliver").unwrap()
    }

    #[test]
    fn a_message_waits_where_its_bits_are_set() {
        let way = way(Duration::from_millis(5_700));
        assert_eq!(way.routing_key, "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.1.deliver");
        assert_eq!((way.level, way.rest), (2, Duration::from_millis(700)));
    }

    #[test]
    fn less_than_a_second_has_no_way() {
        assert_eq!(Way::new(Duration::from_millis(999), "deliver"), None);
        assert_eq!(way(Duration::from_secs(1)).level, 0);
    }

    #[test]
    fn what_is_longer_than_all_levels_has_a_rest() {
        let way = way(Duration::from_secs(LONGEST + 7));
        assert_eq!((way.level, way.rest), (LEVELS - 1, Duration::from_secs(7)));
        assert!(!way.routing_key.contains('0'));
    }

    #[test]
    fn bindings_look_at_their_own_digit() {
        assert_eq!(bindings(17, 18), ("1.#".to_owned(), "0.#".to_owned()));
        assert_eq!(bindings(15, 18), ("*.*.1.#".to_owned(), "*.*.0.#".to_owned()));
        let (waits, _) = bindings(0, 18);
        assert_eq!(waits.matches("*.").count(), 17);
    }
}
