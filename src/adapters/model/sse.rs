//! Server-sent events as providers send them, read without copying: an event that lies whole in what came from the
//! network is a slice of it.
//!
//! The ready-made parser, crate `eventsource-stream`, moves all unread bytes and makes several strings for every event,
//! and holds lines of any length; this one reads only the `data` field, which is all that providers use.
//! Format: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.

use bytes::{Buf, Bytes};

mod chunks;

pub(super) use chunks::{Frame, Text, chunks};

/// Bytes that one event may have, and so one line: beyond it the answer is not an event stream.
pub(super) const EVENT_LIMIT: usize = 1024 * 1024;

/// An event that is longer than any provider's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {EVENT_LIMIT} bytes")]
pub(super) struct TooLong;

/// Cuts bytes into events. Feed it with `push` when `next` has no more.
#[derive(Default)]
pub(super) struct Parser {
    /// What came from the network and is not read yet.
    unread: Bytes,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// The data lines of the event being read.
    data: Data,
    /// The last line ended with a carriage return; a line feed that follows belongs to it.
    after_return: bool,
    /// The first line has been read, so no byte order mark can come any more.
    begun: bool,
}

#[derive(Default)]
enum Data {
    #[default]
    None,
    /// One line, as nearly all events have.
    One(Bytes),
    /// Lines joined by line feeds.
    Many(Vec<u8>),
}

impl Parser {
    /// Takes the next bytes of the network.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if self.unread.is_empty() {
            self.unread = bytes;
        } else {
            let mut joined = Vec::from(std::mem::take(&mut self.unread));
            joined.extend_from_slice(&bytes);
            self.unread = joined.into();
        }
    }

    /// The data of the next event that is complete.
    ///
    /// # Errors
    /// When an event is longer than [`EVENT_LIMIT`].
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        loop {
            if self.after_return && !self.unread.is_empty() {
                self.after_return = false;
                if self.unread.first() == Some(&b'\n') {
                    self.unread.advance(1);
                }
            }
            let Some(end) = self.unread.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                if self.line.len() + self.unread.len() > EVENT_LIMIT {
                    return Err(TooLong);
                }
                self.line.extend_from_slice(&self.unread);
                // An empty slice would still hold the connection's whole buffer, as long as the model thinks.
                self.unread = Bytes::new();
                return Ok(None);
            };
            let mut line = self.unread.split_to(end);
            self.after_return = self.unread.first() == Some(&b'\r');
            self.unread.advance(1);
            if !self.line.is_empty() {
                self.line.extend_from_slice(&line);
                line = std::mem::take(&mut self.line).into();
            }
            if let Some(event) = self.read_line(line)? {
                return Ok(Some(event));
            }
        }
    }

    /// The data of an event that the end of the stream cut off before its blank line. It may be half an event.
    pub(super) fn finish(&mut self) -> Option<Bytes> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            // An event too long to be one is no event.
            self.read_line(line.into()).ok()?;
        }
        self.take_data()
    }

    fn read_line(&mut self, mut line: Bytes) -> Result<Option<Bytes>, TooLong> {
        if !self.begun {
            self.begun = true;
            if line.starts_with(b"\xEF\xBB\xBF") {
                line.advance(3);
            }
        }
        if line.is_empty() {
            return Ok(self.take_data());
        }
        // Comments, other fields, and what is no field at all (HTML, say) carry nothing.
        if !line.starts_with(b"data") {
            return Ok(None);
        }
        line.advance(4);
        match line.first() {
            None => {}
            Some(b':') => line.advance(1),
            Some(_) => return Ok(None),
        }
        if line.first() == Some(&b' ') {
            line.advance(1);
        }
        self.data = match std::mem::take(&mut self.data) {
            Data::None => Data::One(line),
            Data::One(first) => Data::Many([&*first, b"\n", &*line].concat()),
            Data::Many(mut lines) => {
                lines.push(b'\n');
                lines.extend_from_slice(&line);
                Data::Many(lines)
            }
        };
        let length = match &self.data {
            Data::None => 0,
            Data::One(line) => line.len(),
            Data::Many(lines) => lines.len(),
        };
        if length > EVENT_LIMIT { Err(TooLong) } else { Ok(None) }
    }

    fn take_data(&mut self) -> Option<Bytes> {
        match std::mem::take(&mut self.data) {
            Data::None => None,
            Data::One(line) => Some(line),
            Data::Many(lines) => Some(lines.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for part in parts {
            parser.push(Bytes::copy_from_slice(part));
            while let Some(event) = parser.next().unwrap() {
                events.push(String::from_utf8(event.to_vec()).unwrap());
            }
        }
        events.extend(parser.finish().map(|event| String::from_utf8(event.to_vec()).unwrap()));
        events
    }

    const STREAM: &str = "\u{feff}: hello\r\n\r\ndata: {\"a\":\"lãi suất\"}\r\n\r\nevent: x\ndata:no space\nid: 7\n\n:keep\n\
                          data: two\ndata:  lines\n\ndata\n\ndatax: not a field\n\ndata: cr\r\rdata: cut";

    #[test]
    fn every_form_of_the_format_is_read() {
        let expected = ["{\"a\":\"lãi suất\"}", "no space", "two\n lines", "", "cr", "cut"];
        assert_eq!(events([STREAM.as_bytes()]), expected);
    }

    #[test]
    fn an_event_that_came_whole_is_not_copied() {
        let bytes = Bytes::from_static(b"data: {\"x\":1}\n\n");
        let mut parser = Parser::default();
        parser.push(bytes.clone());
        let event = parser.next().unwrap().unwrap();
        assert_eq!(event.as_ptr(), bytes.slice(6..).as_ptr());
    }

    #[test]
    fn a_line_or_an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let mut outcome = Ok(None);
        for _ in 0..=EVENT_LIMIT / 65_536 {
            parser.push(Bytes::from(vec![b'x'; 65_536]));
            outcome = parser.next();
        }
        assert_eq!(outcome, Err(TooLong));

        let mut parser = Parser::default();
        parser.push(Bytes::from("data: 0123456789\n".repeat(EVENT_LIMIT / 10)));
        assert_eq!(parser.next(), Err(TooLong));
    }

    proptest! {
        #[test]
        fn the_cuts_of_the_network_do_not_matter(cuts in proptest::collection::vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut rest = STREAM.as_bytes();
            let mut before = 0;
            for cut in cuts {
                let (part, tail) = rest.split_at(cut - before);
                parts.push(part);
                rest = tail;
                before = cut;
            }
            parts.push(rest);
            prop_assert_eq!(events(parts), events([STREAM.as_bytes()]));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut parser = Parser::default();
            parser.push(bytes.into());
            while let Ok(Some(_)) = parser.next() {}
            parser.finish();
        }
    }
}
