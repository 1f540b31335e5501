//! Numbers of a company's turns, for the company.

use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::analytics::{Grain, Report};
use crate::domain::{CompanyId, KeyScope};
use crate::http::App;
use crate::http::extract::{Path, Query};
use crate::http::openapi;
use crate::http::problem::Problem;

/// Most periods in a report: a day of minutes, or four years of days.
const PERIODS: i64 = 1_500;
/// Times that every store can tell.
const YEARS: RangeInclusive<i32> = 1970..=2200;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(report))
}

/// Of what a report is wanted: by default the last 30 days by day, and by minute the last hour. Times are RFC 3339; the
/// first is taken down and the last up to a whole period in UTC, so that no period is told in part.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Its beginning.
    #[param(format = DateTime, example = "2026-11-19T00:00:00Z")]
    from: Option<String>,
    /// Its end, which is not part of it.
    #[param(format = DateTime, example = "2026-11-20T00:00:00Z")]
    to: Option<String>,
    /// How finely it is divided: by the day unless it is said.
    grain: Option<Grain>,
}

/// Count turns
///
/// By intent, language and finish reason, with degraded and failed shares and the percentiles of first-token times; in all
/// and for every period, in UTC. Without `from` and `to` the last 30 days, or with `grain=minute` the last 60 minutes; at
/// most 1,500 periods. The first period is taken from its beginning and the last one to its end.
#[utoipa::path(
    get,
    path = "/api/companies/{company_id}/analytics",
    tag = "Analytics",
    operation_id = "report",
    security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company."), Wanted),
    responses((status = 200, description = "The numbers.", body = Report), openapi::Admission),
)]
async fn report(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Json<Report>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let grain = wanted.grain.unwrap_or(Grain::Day);
    let (from, to) = range(&wanted, grain, OffsetDateTime::now_utc())?;
    let cells = app.analytics.cells(&caller.scope, from, to, grain).await?;
    Ok(Json(Report::of(&cells, from, to, grain)))
}

/// The beginning of the first period, and the end of the last one.
fn range(wanted: &Wanted, grain: Grain, now: OffsetDateTime) -> Result<(OffsetDateTime, OffsetDateTime), Problem> {
    let unless_given: i32 = match grain {
        Grain::Minute => 60,
        Grain::Day => 30,
    };
    let to = match &wanted.to {
        Some(text) => time_of("to", text)?,
        None => now,
    };
    let floor = grain.floor(to);
    let to = if floor == to && wanted.to.is_some() { floor } else { floor + grain.length() };
    let from = match &wanted.from {
        Some(text) => grain.floor(time_of("from", text)?),
        None => to - grain.length() * unless_given,
    };
    if from >= to {
        return Err(Problem::bad_request("invalid_range", "`from` is not before `to`"));
    }
    let periods = (to - from).whole_seconds() / grain.length().whole_seconds();
    if periods > PERIODS {
        return Err(Problem::bad_request(
            "too_many_periods",
            format!(
                "these are {periods} periods, and at most {PERIODS} are told at once: ask for less time, or by day"
            ),
        ));
    }
    Ok((from, to))
}

fn time_of(name: &str, text: &str) -> Result<OffsetDateTime, Problem> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().and_then(|time| time.checked_to_offset(time::UtcOffset::UTC));
    let time = time.ok_or_else(|| {
        let hint = "it should look like 2026-11-20T10:00:00Z; in an address a `+` is written %2B";
        Problem::bad_request("invalid_time", format!("`{name}` is no time in RFC 3339: {hint}"))
    })?;
    if !YEARS.contains(&time.year()) {
        let (first, last) = (YEARS.start(), YEARS.end());
        return Err(Problem::bad_request("invalid_time", format!("`{name}` is not in the years {first} to {last}")));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-20 10:20:30 UTC);

    fn wanted(from: Option<&str>, to: Option<&str>) -> Wanted {
        Wanted { from: from.map(str::to_owned), to: to.map(str::to_owned), grain: None }
    }

    #[test]
    fn a_report_ends_with_the_period_of_now_unless_it_says_otherwise() {
        let none = wanted(None, None);
        let by_day = (datetime!(2026-10-22 00:00 UTC), datetime!(2026-11-21 00:00 UTC));
        assert_eq!(range(&none, Grain::Day, NOW).unwrap(), by_day);
        let by_minute = (datetime!(2026-11-20 09:21 UTC), datetime!(2026-11-20 10:21 UTC));
        assert_eq!(range(&none, Grain::Minute, NOW).unwrap(), by_minute);
        // At the very beginning of a period that period has begun too.
        let midnight = datetime!(2026-11-20 00:00 UTC);
        assert_eq!(range(&none, Grain::Day, midnight).unwrap().1, datetime!(2026-11-21 00:00 UTC));
    }

    #[test]
    fn times_are_taken_to_whole_periods_in_utc() {
        let wanted = wanted(Some("2026-11-20T01:30:00+07:00"), Some("2026-11-20T00:00:01Z"));
        let days = (datetime!(2026-11-19 00:00 UTC), datetime!(2026-11-21 00:00 UTC));
        assert_eq!(range(&wanted, Grain::Day, NOW).unwrap(), days);
        let minutes = (datetime!(2026-11-19 18:30 UTC), datetime!(2026-11-20 00:01 UTC));
        assert_eq!(range(&wanted, Grain::Minute, NOW).unwrap(), minutes);
        let whole = Wanted { to: Some("2026-11-20T00:00:00Z".to_owned()), ..wanted };
        assert_eq!(range(&whole, Grain::Day, NOW).unwrap().1, datetime!(2026-11-20 00:00 UTC));
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let day = "2026-11-20T00:00:00Z";
        for (from, to, grain) in [
            (Some("yesterday"), None, Grain::Day),
            (Some("2026-11-20T00:00:00 07:00"), None, Grain::Day),
            (None, Some("2026-11-20"), Grain::Day),
            (Some(day), Some(day), Grain::Day),
            (Some(day), Some("2026-11-19T00:00:00Z"), Grain::Day),
            (Some("2026-11-18T22:00:00Z"), Some(day), Grain::Minute),
            (Some("0000-01-01T00:00:00Z"), None, Grain::Day),
            (Some("1969-12-31T23:59:59Z"), None, Grain::Day),
            (None, Some("9999-12-31T23:59:59Z"), Grain::Day),
            (None, Some("9999-12-31T23:59:59-23:59"), Grain::Day),
            (None, Some("-9999-01-01T00:00:00Z"), Grain::Day),
        ] {
            let answer = range(&wanted(from, to), grain, NOW);
            let problem = answer.expect_err(&format!("{from:?} {to:?} {grain:?}"));
            assert_eq!(problem.into_response().status(), 400);
        }
        let most = wanted(Some("2026-11-18T23:00:00Z"), Some(day));
        assert!(range(&most, Grain::Minute, NOW).is_ok());
    }
}
