//! Numbers, times and addresses as people read them.

use std::fmt::Write;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A number with its thousands apart.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number without a fraction.
pub(super) fn whole(value: f64) -> String {
    number(value.round().clamp(0.0, 1e15) as u64)
}

/// A count of things: `1 message`, `2 messages`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// A time in milliseconds, as exact as it is of use.
pub(super) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms <= 0.0 => "0 ms".to_owned(),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 10_000.0 => format!("{:.2} s", ms / 1_000.0),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms => length(ms / 1_000.0),
    }
}

/// A length of time in its largest unit.
pub(super) fn length(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 60.0 => (s, "s"),
        s if s < 3_600.0 => (s / 60.0, "min"),
        s if s < 86_400.0 => (s / 3_600.0, "h"),
        s if s < 2.0 * 86_400.0 => return "1 day".to_owned(),
        s => (s / 86_400.0, "days"),
    };
    format!("{:.0} {unit}", value.floor())
}

/// A share from 0 to 1 in percent. What is not all of it is not said to be.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p <= 0.0 || p >= 100.0 => format!("{p:.0} %"),
        p if p < 0.1 => "< 0.1 %".to_owned(),
        p if p > 99.9 => "> 99.9 %".to_owned(),
        p if !(1.0..=99.0).contains(&p) => format!("{p:.1} %"),
        p => format!("{:.0} %", p.clamp(1.0, 99.0)),
    }
}

/// A size in its largest unit.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return count(n, "byte", "bytes");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A text with its first letter large.
pub(super) fn begun(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + letters.as_str()
}

/// How far a moment is from now.
pub(super) fn relative(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - at).as_seconds_f64();
    match seconds {
        s if s.abs() < 5.0 => "just now".to_owned(),
        s if s > 0.0 => format!("{} ago", length(s)),
        s => format!("in {}", length(-s)),
    }
}

/// A moment to the second, in UTC.
pub(super) fn exact(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

/// A moment for programs.
pub(super) fn rfc3339(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

/// A text as a part of an address (RFC 3986, 2.1).
pub(super) fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}

/// The beginning of a text, on one line.
pub(super) fn short(text: &str, chars: usize) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= chars {
        return flat;
    }
    let cut: String = flat.chars().take(chars).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn numbers_read_well() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), text);
        }
        assert_eq!((count(1, "turn", "turns"), count(0, "turn", "turns")), ("1 turn".into(), "0 turns".into()));
        for (ms, text) in
            [(0.44, "0.4 ms"), (12.6, "13 ms"), (1_234.0, "1.23 s"), (34_567.0, "34.6 s"), (600_000.0, "10 min")]
        {
            assert_eq!(milliseconds(ms), text);
        }
        for (n, text) in
            [(1, "1 byte"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (20 << 20, "20 MiB"), (3 << 40, "3.0 TiB")]
        {
            assert_eq!(bytes(n).replace(',', ""), text);
        }
    }

    #[test]
    fn a_share_that_is_not_all_is_not_said_to_be() {
        for (share, text) in [
            (0.0, "0 %"),
            (0.0005, "< 0.1 %"),
            (0.005, "0.5 %"),
            (0.5, "50 %"),
            (0.994, "99.4 %"),
            (0.99999, "> 99.9 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), text, "{share}");
        }
    }

    #[test]
    fn moments_are_told_from_now() {
        let now = datetime!(2026-11-20 10:00 UTC);
        for (at, text) in [
            (datetime!(2026-11-20 09:59:58 UTC), "just now"),
            (datetime!(2026-11-20 09:59:00 UTC), "1 min ago"),
            (datetime!(2026-11-20 07:00 UTC), "3 h ago"),
            (datetime!(2026-11-19 08:00 UTC), "1 day ago"),
            (datetime!(2026-11-10 10:00 UTC), "10 days ago"),
            (datetime!(2026-11-20 10:00:30 UTC), "in 30 s"),
        ] {
            assert_eq!(relative(at, now), text);
        }
        assert_eq!(exact(datetime!(2026-11-20 17:00 +07:00)), "2026-11-20 10:00:00 UTC");
    }

    #[test]
    fn addresses_hold_any_text() {
        assert_eq!(encode("lãi/suất?&#"), "l%C3%A3i%2Fsu%E1%BA%A5t%3F%26%23");
        assert_eq!(short("  một   hai\nba ", 7), "một hai…");
    }
}
