//! The query and the path of a request, refused as problem documents like everything else.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The query. One that does not fit is a 400, `invalid_query`.
pub(super) struct Query<T>(pub(super) T);

/// The parameters in the path. Those that do not fit are a 400, `invalid_path`.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::bad_request("invalid_query", rejection.body_text())),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            // A route that asks for what its path does not have is a mistake of ours, and a 500.
            Err(rejection) => Err(Problem::new(rejection.status(), "invalid_path", rejection.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use axum::Router;
    use axum::body::Body;
    use axum::http::{Request, header};
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    #[tokio::test]
    async fn what_does_not_fit_is_a_problem_document() {
        let router: Router = Router::new().route(
            "/{id}",
            get(|Path(id): Path<u32>, Query(query): Query<HashMap<String, u32>>| async move {
                format!("{id} {}", query.len())
            }),
        );
        let service = TowerToHyperService::new(router);
        for (address, status) in [("/1?a=2", 200), ("/x?a=2", 400), ("/%FF", 400), ("/1?a=x", 400)] {
            let request = Request::builder().uri(address).body(Body::empty()).unwrap();
            let response = service.call(request).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{address}");
            let is_problem = response.headers()[header::CONTENT_TYPE] == "application/problem+json";
            assert_eq!(is_problem, status != 200, "{address}");
        }
    }
}
