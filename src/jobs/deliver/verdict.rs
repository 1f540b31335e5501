//! What an endpoint's answer means.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::gate::Report;
use crate::ports::webhook::{Answer, Error};

/// What became of one try.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// 2xx.
    Delivered,
    /// 410: the endpoint wants no more.
    Gone,
    /// 429 or 503: not now.
    Busy {
        /// How long the endpoint asks to be left alone, if it says.
        retry_after: Option<Duration>,
        /// What it answered.
        reason: String,
    },
    /// Anything else, 3xx and 4xx included: receivers get mended.
    Failed {
        /// For the metric.
        label: &'static str,
        /// What happened.
        reason: String,
    },
}

impl Verdict {
    /// What an answer that came at `now`, or its absence, means.
    pub(super) fn of(answer: &Result<Answer, Error>, now: OffsetDateTime) -> Self {
        match answer {
            Ok(Answer { status: 200..=299, .. }) => Self::Delivered,
            Ok(Answer { status: 410, .. }) => Self::Gone,
            Ok(answer @ Answer { status: 429 | 503, .. }) => Self::Busy {
                retry_after: answer.retry_after.as_deref().and_then(|text| retry_after(text, now)),
                reason: reason(answer),
            },
            Ok(answer) => Self::Failed { label: "status", reason: reason(answer) },
            Err(error) => Self::Failed {
                label: match error {
                    Error::Url(_) => "url",
                    Error::Address(_) => "address",
                    Error::Dns(_) => "dns",
                    Error::Connect(_) => "connect",
                    Error::Tls(_) => "tls",
                    Error::Timeout(_) => "timeout",
                    Error::Protocol(_) => "protocol",
                },
                reason: error.to_string(),
            },
        }
    }

    /// Its name in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::Busy { .. } => "busy",
            Self::Failed { label, .. } => label,
        }
    }

    /// What the endpoint or the network said.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Delivered | Self::Gone => "",
            Self::Busy { reason, .. } | Self::Failed { reason, .. } => reason,
        }
    }

    /// What the endpoint's gate is told.
    pub(super) fn report(&self) -> Report {
        match self {
            Self::Delivered | Self::Gone => Report::Success,
            Self::Busy { retry_after: Some(pause), reason } => Report::Busy { pause: *pause, reason: reason.clone() },
            Self::Busy { retry_after: None, reason } | Self::Failed { reason, .. } => {
                Report::Failure { reason: reason.clone() }
            }
        }
    }
}

/// What goes into logs and dead letters: of the body only its length, for a receiver may echo texts and ids in it.
fn reason(answer: &Answer) -> String {
    format!("the endpoint answered {}, {} bytes read", answer.status, answer.body_start.len())
}

/// A `Retry-After` in seconds or as a date (RFC 9110, 10.2.3). A time that is over says nothing.
fn retry_after(text: &str, now: OffsetDateTime) -> Option<Duration> {
    let text = text.trim();
    let named = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More digits than a number holds ask for longer than anyone waits.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Duration::MAX,
        // HTTP's date is mail's with the zone written as GMT.
        Err(_) => (OffsetDateTime::parse(text, &Rfc2822).ok()? - now).try_into().ok()?,
    };
    (!named.is_zero()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(1994-11-06 08:49:00 UTC);

    fn answer(status: u16, retry_after: Option<&str>) -> Result<Answer, Error> {
        Ok(Answer {
            status,
            http_version: "HTTP/1.1",
            headers: Vec::new(),
            retry_after: retry_after.map(str::to_owned),
            body_start: bytes::Bytes::from_static(b"no\n"),
        })
    }

    #[test]
    fn only_2xx_is_success() {
        for status in [200, 201, 204, 299] {
            assert_eq!(Verdict::of(&answer(status, None), NOW), Verdict::Delivered, "{status}");
        }
        assert_eq!(Verdict::of(&answer(410, None), NOW), Verdict::Gone);
        for status in [100, 301, 302, 304, 307, 400, 401, 404, 409, 422, 500, 502, 599, 999] {
            let verdict = Verdict::of(&answer(status, Some("9")), NOW);
            assert_eq!(
                verdict,
                Verdict::Failed { label: "status", reason: format!("the endpoint answered {status}, 3 bytes read") }
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("0", None),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            for status in [429, 503] {
                let Verdict::Busy { retry_after, .. } = Verdict::of(&answer(status, Some(text)), NOW) else { panic!() };
                assert_eq!(retry_after, seconds.map(Duration::from_secs), "{text:?}");
            }
        }
        assert_eq!(retry_after("99999999999999999999999", NOW), Some(Duration::MAX));
    }
}
