//! What is said of an endpoint by those who add or change it, checked before it is kept.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

use super::{Endpoint, Headers, InvalidHeader, InvalidRateLimit, Order, Payload, RateLimit, Retries};
use crate::domain::event::{EventType, NotOffered};

/// Longest address in bytes.
const URL_BYTES: usize = 2048;
/// Longest description in characters.
const DESCRIPTION_CHARS: usize = 500;
/// Most names that a filter lists, of channels and of intents.
const FILTER_NAMES: usize = 50;
/// Longest name in a filter, in characters.
const FILTER_CHARS: usize = 100;
/// Longest time between two tries, in seconds: a day.
const DELAY_S: u32 = 86_400;
/// Longest time until a webhook is given up, in seconds: thirty days.
const GIVE_UP_S: u32 = 2_592_000;

/// What is wrong with what is said.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    /// An address longer than any that is meant.
    #[error("an address has at most {URL_BYTES} bytes")]
    Url,
    /// It would hear of nothing.
    #[error("name at least one event type")]
    NoEventType,
    /// A type that is none, or none to ask for.
    #[error(transparent)]
    EventType(#[from] NotOffered),
    /// The description is too long, or not to be shown.
    #[error("a description has at most {DESCRIPTION_CHARS} characters, none of them control characters")]
    Description,
    /// The filter lists too much, or what is no name.
    #[error(
        "a filter lists at most {FILTER_NAMES} channels and {FILTER_NAMES} intents, each of 1 to {FILTER_CHARS} \
         characters, none of them control characters"
    )]
    Filter,
    /// A header that cannot be sent.
    #[error(transparent)]
    Header(#[from] InvalidHeader),
    /// A schedule that is none.
    #[error("delays are 1 to {DELAY_S} seconds, and what is given up is given up after 1 to {GIVE_UP_S}")]
    Retries,
    /// A limit that is none.
    #[error(transparent)]
    RateLimit(#[from] InvalidRateLimit),
}

impl Invalid {
    /// A short name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url => "invalid_url",
            Self::NoEventType | Self::EventType(_) => "unknown_event_type",
            Self::Description => "invalid_description",
            Self::Filter => "invalid_filter",
            Self::Header(_) => "invalid_header",
            Self::Retries => "invalid_retries",
            Self::RateLimit(_) => "invalid_rate_limit",
        }
    }
}

/// What is said of an endpoint. What is not named stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// Where webhooks are posted, as whoever looked the address up has written it.
    pub url: Option<String>,
    /// What it wants to hear of.
    pub event_types: Option<Vec<String>>,
    /// Of which channels; none for all.
    pub channels: Option<Vec<String>>,
    /// Of which intents; none for all.
    pub intents: Option<Vec<String>>,
    /// What people call it; an empty text takes that away.
    pub description: Option<String>,
    /// All headers of its own.
    pub headers: Option<BTreeMap<String, String>>,
    /// How much a webhook says.
    pub payload: Option<Payload>,
    /// When it is tried again.
    pub retries: Option<Retries>,
    /// Deliveries per second; none for as many as come.
    pub rate_limit: Option<Option<u32>>,
    /// In which order it gets them.
    pub order: Option<Order>,
}

impl Form {
    /// Puts what is said into an endpoint.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn fill(self, endpoint: &mut Endpoint) -> Result<(), Invalid> {
        if let Some(url) = self.url {
            endpoint.url = Some(url).filter(|url| url.len() <= URL_BYTES).ok_or(Invalid::Url)?;
        }
        if let Some(names) = self.event_types {
            endpoint.event_types = event_types(&names)?;
        }
        for (names, filter) in
            [(self.channels, &mut endpoint.filter.channels), (self.intents, &mut endpoint.filter.intents)]
        {
            if let Some(names) = names {
                *filter = filtered(names)?;
            }
        }
        if let Some(text) = self.description {
            endpoint.description = described(&text)?;
        }
        if let Some(headers) = self.headers {
            endpoint.headers = Headers::try_from(headers)?;
        }
        endpoint.payload = self.payload.unwrap_or(endpoint.payload);
        if let Some(retries) = self.retries {
            let is_in = |seconds: Option<u32>, most| seconds.is_none_or(|seconds| (1..=most).contains(&seconds));
            let Retries { initial_delay_s, max_delay_s, give_up_after_s } = retries;
            let fits =
                is_in(initial_delay_s, DELAY_S) && is_in(max_delay_s, DELAY_S) && is_in(give_up_after_s, GIVE_UP_S);
            endpoint.retries = fits.then_some(retries).ok_or(Invalid::Retries)?;
        }
        if let Some(limit) = self.rate_limit {
            endpoint.rate_limit = limit.map(RateLimit::try_from).transpose()?;
        }
        endpoint.order = self.order.unwrap_or(endpoint.order);
        Ok(())
    }
}

fn event_types(names: &[String]) -> Result<Vec<EventType>, Invalid> {
    let mut found = Vec::new();
    for name in names {
        let event_type = EventType::offered(name)?;
        if !found.contains(&event_type) {
            found.push(event_type);
        }
    }
    if found.is_empty() { Err(Invalid::NoEventType) } else { Ok(found) }
}

fn filtered(names: Vec<String>) -> Result<BTreeSet<String>, Invalid> {
    let is_name = |name: &String| {
        let chars = name.chars().count();
        (1..=FILTER_CHARS).contains(&chars) && !name.chars().any(char::is_control)
    };
    let names: BTreeSet<String> = names.into_iter().map(|name| name.nfc().collect()).collect();
    if names.len() > FILTER_NAMES || !names.iter().all(is_name) {
        return Err(Invalid::Filter);
    }
    Ok(names)
}

fn described(text: &str) -> Result<Option<String>, Invalid> {
    let text = text.nfc().collect::<String>().trim().to_owned();
    if text.chars().count() > DESCRIPTION_CHARS || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Invalid::Description);
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook::Secret;

    fn filled(form: Form) -> Result<Endpoint, Invalid> {
        let now = time::OffsetDateTime::UNIX_EPOCH;
        let (id, company) = ("ep_1".parse().unwrap(), "acme".parse().unwrap());
        let url = "https://acme.example/".to_owned();
        let types = vec![EventType::ConversationUpdated];
        let mut endpoint = Endpoint::new(id, company, url, Secret::shared([1; 32]), types, now);
        form.fill(&mut endpoint)?;
        Ok(endpoint)
    }

    fn names(count: usize) -> Option<Vec<String>> {
        Some((0..count).map(|n| format!("name-{n}")).collect())
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_named_is_taken() {
        let form = Form {
            event_types: Some(vec!["message.created".to_owned(), "message.created".to_owned()]),
            channels: Some(vec!["web".to_owned()]),
            description: Some(" Kho dữ liệu ".to_owned()),
            rate_limit: Some(Some(5)),
            ..Form::default()
        };
        let endpoint = filled(form).unwrap();
        assert_eq!(endpoint.event_types, [EventType::MessageCreated]);
        assert_eq!(endpoint.description.as_deref(), Some("Kho dữ liệu"));
        assert_eq!(endpoint.rate_limit.map(RateLimit::per_second), Some(5));
        let mut same = endpoint.clone();
        Form::default().fill(&mut same).unwrap();
        assert_eq!(same, endpoint);
        let none = Form {
            channels: Some(Vec::new()),
            description: Some(String::new()),
            rate_limit: Some(None),
            ..Form::default()
        };
        none.fill(&mut same).unwrap();
        assert!(same.filter.is_open() && same.description.is_none() && same.rate_limit.is_none());
    }

    #[test]
    fn what_is_too_long_too_much_or_nothing_is_refused() {
        let retries =
            |initial_delay_s, give_up_after_s| Some(Retries { initial_delay_s, max_delay_s: None, give_up_after_s });
        let headers = |name: &str, value: &str| Some(BTreeMap::from([(name.to_owned(), value.to_owned())]));
        for (form, code) in [
            (Form { url: Some("x".repeat(2049)), ..Form::default() }, "invalid_url"),
            (Form { event_types: Some(Vec::new()), ..Form::default() }, "unknown_event_type"),
            (Form { event_types: Some(vec!["turn.completed".to_owned()]), ..Form::default() }, "unknown_event_type"),
            (Form { channels: names(51), ..Form::default() }, "invalid_filter"),
            (Form { intents: Some(vec![String::new()]), ..Form::default() }, "invalid_filter"),
            (Form { intents: Some(vec!["x".repeat(101)]), ..Form::default() }, "invalid_filter"),
            (Form { description: Some("x".repeat(501)), ..Form::default() }, "invalid_description"),
            (Form { description: Some("a\u{7}b".to_owned()), ..Form::default() }, "invalid_description"),
            (Form { headers: headers("x-key", "a\r\nb: c"), ..Form::default() }, "invalid_header"),
            (Form { headers: headers("webhook-id", "a"), ..Form::default() }, "invalid_header"),
            (Form { retries: retries(Some(0), None), ..Form::default() }, "invalid_retries"),
            (Form { retries: retries(None, Some(2_592_001)), ..Form::default() }, "invalid_retries"),
            (Form { rate_limit: Some(Some(0)), ..Form::default() }, "invalid_rate_limit"),
            (Form { rate_limit: Some(Some(1001)), ..Form::default() }, "invalid_rate_limit"),
        ] {
            let error = filled(form).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
        assert!(filled(Form { channels: names(50), ..Form::default() }).is_ok());
    }
}
