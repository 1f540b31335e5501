//! The names of queues and exchanges.

use crate::ports::bus::{Error, Queue};

/// The names of what belongs to one namespace.
#[derive(Clone, Debug)]
pub(super) struct Names(String);

impl Names {
    /// Names that begin with a namespace: letters, digits, `.`, `_` and `-`, at most 60 of them.
    pub(super) fn new(namespace: &str) -> Result<Self, Error> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if namespace.is_empty() || namespace.len() > 60 || !namespace.chars().all(is_plain) {
            return Err(Error::Invalid(format!(
                "{namespace:?} is no namespace for queues: 1 to 60 letters, digits, '.', '_' and '-'"
            )));
        }
        Ok(Self(namespace.to_owned()))
    }

    /// The full name of a queue or exchange.
    pub(super) fn of(&self, name: &str) -> String {
        format!("{}.{name}", self.0)
    }

    /// Where events go in.
    pub(super) fn events(&self) -> String {
        self.of("events")
    }

    /// The queue of dead letters.
    pub(super) fn dead(&self) -> String {
        self.of("dead")
    }

    /// A queue's name on the server.
    pub(super) fn queue(&self, queue: Queue) -> String {
        self.of(short(queue))
    }

    /// The queue or exchange of a delay level.
    pub(super) fn level(&self, level: u32) -> String {
        self.of(&format!("delay.{level}"))
    }

    /// The queue that has a name on the server.
    pub(super) fn parse(&self, name: &str) -> Option<Queue> {
        Queue::ALL.into_iter().find(|queue| self.queue(*queue) == name)
    }
}

/// A queue's name without a namespace.
pub(super) fn short(queue: Queue) -> &'static str {
    queue.name().rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_a_plain_word() {
        for wrong in ["", "a b", "turnpike/", "lãi", &"x".repeat(61)] {
            assert!(matches!(Names::new(wrong), Err(Error::Invalid(_))), "{wrong}");
        }
        let names = Names::new("stage-2").unwrap();
        assert_eq!(names.queue(Queue::Deliver), "stage-2.deliver");
        assert_eq!(names.parse("stage-2.deliver"), Some(Queue::Deliver));
        assert_eq!(names.parse("turnpike.deliver"), None);
    }
}
