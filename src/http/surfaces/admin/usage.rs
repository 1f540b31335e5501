//! What a company used of models, by day.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, Time};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::analytics::UsageReport;
use crate::domain::{CompanyId, KeyScope};
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::http::{App, openapi};

/// Days that are told unless the request says otherwise, and at most.
const DAYS: (i64, i64) = (30, 400);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(usage))
}

/// Which days are wanted: the last 30 unless this says otherwise.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Days {
    /// The first day, in UTC.
    #[param(format = Date, example = "2026-11-01")]
    from: Option<String>,
    /// The day after the last one.
    #[param(format = Date, example = "2026-12-01")]
    until: Option<String>,
}

/// Count tokens
///
/// By day, in UTC, and by model; at most 400 days.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/usage", tag = "Analytics", operation_id = "usage",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company."), Days),
    responses((status = 200, description = "The tokens.", body = UsageReport), openapi::Admission),
)]
async fn usage(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    Query(wanted): Query<Days>,
    headers: HeaderMap,
) -> Result<Json<UsageReport>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let (from, until) = range(&wanted, OffsetDateTime::now_utc().date())?;
    let moment = |day: Date| day.with_time(Time::MIDNIGHT).assume_utc();
    let cells = app.analytics.usage(&caller.scope, moment(from), moment(until)).await?;
    Ok(Json(UsageReport::of(&cells, from, until)))
}

fn range(wanted: &Days, today: Date) -> Result<(Date, Date), Problem> {
    let until = match &wanted.until {
        Some(text) => day("until", text)?,
        None => today.saturating_add(Duration::DAY),
    };
    let from = match &wanted.from {
        Some(text) => day("from", text)?,
        None => until.saturating_sub(Duration::days(DAYS.0)),
    };
    let days = (until - from).whole_days();
    if days <= 0 {
        return Err(Problem::bad_request("invalid_range", "`from` is not before `until`"));
    }
    if days > DAYS.1 {
        let detail = format!("these are {days} days, and at most {} are told at once", DAYS.1);
        return Err(Problem::bad_request("too_many_periods", detail));
    }
    Ok((from, until))
}

fn day(name: &str, text: &str) -> Result<Date, Problem> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok();
    day.filter(|day| (1970..=2200).contains(&day.year())).ok_or_else(|| {
        Problem::bad_request("invalid_time", format!("`{name}` is no day: it should look like 2026-11-20"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn days_are_the_last_ones_unless_the_request_says_otherwise() {
        let asked = |from: Option<&str>, until: Option<&str>| {
            let wanted = Days { from: from.map(str::to_owned), until: until.map(str::to_owned) };
            range(&wanted, date!(2026 - 11 - 20)).ok()
        };
        assert_eq!(asked(None, None), Some((date!(2026 - 10 - 22), date!(2026 - 11 - 21))));
        let november = Some((date!(2026 - 11 - 01), date!(2026 - 12 - 01)));
        assert_eq!(asked(Some("2026-11-01"), Some("2026-12-01")), november);
        for (from, until) in [
            (Some("2026-11-01"), Some("2026-11-01")),
            (Some("2025-01-01"), Some("2026-11-01")),
            (Some("yesterday"), None),
            (None, Some("2026-11-20T00:00:00Z")),
            (None, Some("1969-12-31")),
        ] {
            assert_eq!(asked(from, until), None, "{from:?} {until:?}");
        }
    }
}
