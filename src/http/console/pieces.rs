//! Small things that stand on many pages.

use maud::{Markup, html};
use time::OffsetDateTime;

use super::words;

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Broken.
    Bad,
    /// Neither.
    Plain,
}

impl Tone {
    /// What comes first when somebody has to look at it.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Bad => 0,
            Self::Warn => 1,
            Self::Plain => 2,
            Self::Good => 3,
        }
    }

    /// The name of its class.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Plain => "calm",
        }
    }
}

/// A word that says how something is.
pub(super) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (tone.name()) } { (text) } }
}

/// A moment: how long ago, with the moment itself to be seen on asking.
pub(super) fn moment(at: OffsetDateTime) -> Markup {
    let now = OffsetDateTime::now_utc();
    html! { time datetime=(words::rfc3339(at)) title=(words::exact(at)) { (words::relative(at, now)) } }
}

/// A number with its name.
pub(super) fn tile(name: &str, value: &str, more: &Markup) -> Markup {
    html! {
        div.tile {
            dt { (name) }
            dd { span.value { (value) } span.more { (more) } }
        }
    }
}

/// Something with a heading.
pub(super) fn panel(title: &str, content: &Markup) -> Markup {
    html! { section.panel { h2 { (title) } (content) } }
}

/// What stands where there is nothing yet.
pub(super) fn empty(what: &str, then: &Markup) -> Markup {
    html! { div.empty { p { strong { (what) } } p { (then) } } }
}

/// Something that could not be read.
pub(super) fn unread(what: &str) -> Markup {
    html! { p.unread { (what) " cannot be read right now." } }
}

/// Shares of a whole, the largest first.
pub(super) fn shares(title: &str, mut all: Vec<(String, u64)>) -> Markup {
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let total: u64 = all.iter().map(|(_, count)| count).sum();
    let most = all.first().map_or(1, |(_, count)| (*count).max(1));
    let share = |count: u64| count as f64 / total.max(1) as f64;
    html! {
        section.panel {
            h2 { (title) }
            @if all.is_empty() {
                p.none { "No turns yet." }
            } @else {
                table.shares {
                    caption.unseen { (title) }
                    thead.unseen {
                        tr { th scope="col" { "Name" } th scope="col" { "Turns" } th scope="col" { "Share" } }
                    }
                    tbody {
                        @for (name, count) in all {
                            tr {
                                th scope="row" { (name) }
                                td.num { (words::number(count)) }
                                td.num.soft { (words::percent(share(count))) }
                                td.bar aria-hidden="true" {
                                    svg width="100%" height="6" {
                                        rect.ground.faint width="100%" height="6" rx="3" {}
                                        rect.ground.one height="6" rx="3"
                                            width={ (format!("{:.1}", 100.0 * count as f64 / most as f64)) "%" } {}
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
