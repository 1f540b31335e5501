//! Who looks at a page: the session in the cookie of a request, and what else it says of where it came from.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

use super::Console;
use super::failure::Failure;
use crate::domain::{Company, CompanyId, CompanyScope, KeyScope};
use crate::http::auth::{LASTS, Session, Visitor};
use crate::http::problem::Problem;
use crate::http::server::Peer;

/// The cookie's name.
const COOKIE: &str = "turnpike_console";

/// A visitor with a session.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) session: Session,
    /// What the session was told by, to ask again later.
    text: Option<String>,
    /// The path with its query.
    pub(super) path: String,
}

impl Visit {
    /// Whether it is the operator's.
    pub(super) fn is_operator(&self) -> bool {
        matches!(self.session.visitor, Visitor::Operator)
    }

    /// The company whose visit it is.
    pub(super) fn own_company(&self) -> Option<&CompanyId> {
        match &self.session.visitor {
            Visitor::Operator => None,
            Visitor::Company(key) => Some(&key.company_id),
        }
    }

    /// Whether it may see what a key of a scope opens.
    pub(super) fn opens(&self, needed: KeyScope) -> bool {
        match &self.session.visitor {
            Visitor::Operator => true,
            Visitor::Company(key) => key.scope.opens(needed),
        }
    }

    /// Checks that it is the operator's.
    ///
    /// # Errors
    /// 404: what others may not see is not there for them.
    pub(super) fn must_be_operator(&self) -> Result<(), Problem> {
        if self.is_operator() { Ok(()) } else { Err(Problem::not_found("page")) }
    }

    /// Whether the session lasts still.
    pub(super) async fn lasts(&self, console: &Console) -> Result<bool, Problem> {
        Ok(console.app.gate.session(self.text.as_deref()).await?.is_some())
    }

    /// A company that the visitor may see so much of.
    ///
    /// # Errors
    /// 404, 403 or 503.
    pub(super) async fn company(&self, console: &Console, id: &str, needed: KeyScope) -> Result<Place, Problem> {
        let id: CompanyId = id.parse().map_err(|_| Problem::not_found("company"))?;
        let (company, scope) = console.app.gate.visited(&self.session.visitor, &id, needed).await?;
        Ok(Place { company, scope })
    }
}

/// A company that is looked at, with the right to its data.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) company: Arc<Company>,
    pub(super) scope: CompanyScope,
}

impl Place {
    /// The address of one of its pages; an empty one is that of the first.
    pub(super) fn address(&self, page: &str) -> String {
        let separator = if page.is_empty() { "" } else { "/" };
        format!("/console/companies/{}{separator}{page}", self.company.id)
    }
}

impl FromRequestParts<Arc<Console>> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Failure> {
        let gate = &console.app.gate;
        gate.refuse_foreign_pages(&parts.headers)?;
        let text = cookie(&parts.headers);
        let path = parts.uri.path_and_query().map_or("/console", |path| path.as_str()).to_owned();
        match gate.session(text.as_deref()).await? {
            Some(session) => Ok(Self { session, text, path }),
            // What was sent with a form is gone; where it stood is the place to go back to.
            None if parts.method != axum::http::Method::GET => {
                Err(Failure::NotLoggedIn { next: "/console".to_owned() })
            }
            None => Err(Failure::NotLoggedIn { next: path }),
        }
    }
}

/// What the request's cookie says.
pub(super) fn cookie(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

/// The cookie that holds a session, or with an empty text the one that takes it away.
pub(super) fn set_cookie(text: &str, is_https: bool) -> Option<HeaderValue> {
    let age = if text.is_empty() { 0 } else { LASTS.as_secs() };
    let secure = if is_https { "; Secure" } else { "" };
    let line = format!("{COOKIE}={text}; Path=/console; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&line).ok()
}

/// Whether the visitor's browser came by HTTPS, as a proxy before the service says.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    first(headers, "x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// Who a request is counted against: an address, or a network of IPv6, of which one visitor has as many addresses as they
/// like. A proxy is believed only from a near address; from elsewhere anybody could say so.
pub(super) fn source(headers: &HeaderMap, peer: Option<Peer>) -> IpAddr {
    let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |Peer(address)| address.to_canonical());
    let is_near = match peer {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    };
    let told = headers.get_all("x-forwarded-for").iter().next_back().and_then(|line| line.to_str().ok());
    let told = told.and_then(|line| line.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
    match told.filter(|_| is_near).map_or(peer, |address| address.to_canonical()) {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Whether a request that changes something was made by a page of the console's own origin. Browsers say so in one of two
/// headers; what is no browser has no cookies that a foreign page could use.
pub(super) fn is_own_page(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = first(headers, "x-forwarded-host").or_else(|| headers.get(header::HOST)?.to_str().ok());
    origins.next().is_none()
        && authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pairs =
            all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        pairs.collect()
    }

    #[test]
    fn a_form_of_another_origin_is_none_of_ours() {
        for (ours, all) in [
            (true, &[][..]),
            (true, &[("sec-fetch-site", "same-origin")]),
            (false, &[("sec-fetch-site", "same-site")]),
            (false, &[("sec-fetch-site", "cross-site")]),
            (false, &[("sec-fetch-site", "none")]),
            (false, &[("sec-fetch-site", "cross-site"), ("origin", "http://a"), ("host", "a")]),
            (true, &[("origin", "http://ops.example:8080"), ("host", "ops.example:8080")]),
            (true, &[("origin", "https://Ops.example"), ("host", "ops.example")]),
            (true, &[("origin", "https://ops.example"), ("host", "10.0.0.1"), ("x-forwarded-host", "ops.example")]),
            (false, &[("origin", "https://evil.example"), ("host", "ops.example")]),
            (false, &[("origin", "http://ops.example:3000"), ("host", "ops.example:8080")]),
            (false, &[("origin", "null"), ("host", "ops.example")]),
            (false, &[("origin", "https://ops.example")]),
        ] {
            assert_eq!(is_own_page(&headers(all)), ours, "{all:?}");
        }
    }

    #[test]
    fn only_a_near_proxy_says_who_came() {
        let told = headers(&[("x-forwarded-for", "1.2.3.4, 5.6.7.8")]);
        let from = |peer: &str, headers: &HeaderMap| source(headers, Some(Peer(peer.parse().unwrap()))).to_string();
        assert_eq!(from("127.0.0.1", &told), "5.6.7.8");
        assert_eq!(from("10.1.2.3", &told), "5.6.7.8");
        assert_eq!(from("9.9.9.9", &told), "9.9.9.9");
        assert_eq!(from("::ffff:9.9.9.9", &told), "9.9.9.9");
        assert_eq!(from("127.0.0.1", &HeaderMap::new()), "127.0.0.1");
        assert_eq!(from("2001:db8:1:2:3:4:5:6", &HeaderMap::new()), "2001:db8:1:2::");
        assert_eq!(from("127.0.0.1", &headers(&[("x-forwarded-for", "unknown")])), "127.0.0.1");
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |line: &str| cookie(&headers(&[("cookie", line)]));
        assert_eq!(found("turnpike_console=a.b").as_deref(), Some("a.b"));
        assert_eq!(found("x=1; turnpike_console=a.b;y=2").as_deref(), Some("a.b"));
        assert_eq!(found("turnpike_console2=a.b; my_turnpike_console=c"), None);
    }
}
