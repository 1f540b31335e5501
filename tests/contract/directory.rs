//! The contract of the directory. `directory_contract!` runs all checks on an adapter, each on a directory of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use turnpike::domain::webhook::{Disabled, Endpoint, Order, Payload, RateLimit, Secret};
use turnpike::domain::{ApiKey, Company, CompanyId, EndpointId, EventType, KeyScope};
use turnpike::ports::directory::Directory;
use turnpike::ports::store::Error;

use crate::store::{Store, scope};

/// Runs every check on the directory of the store that an async function makes.
macro_rules! directory_contract {
    ($adapter:ident, $make:path) => {
        mod $adapter {
            directory_contract! { @each $make;
                lists_companies_by_id adds_a_company_or_changes_it changes_a_company_that_nobody_else_has_changed finds_keys_by_hash
                refuses_a_key_that_is_there_already lists_keys_oldest_first changes_and_removes_keys_of_the_company_alone
                notes_the_last_use_of_a_key lists_endpoints_oldest_first
                refuses_another_companys_endpoint keeps_endpoints_of_companies_apart disables_an_endpoint
                changes_and_removes_endpoints_of_the_company_alone
                removes_a_company_with_all_it_has
            }
        }
    };
    (@each $make:path; $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            // Where a server is missing there is no store.
            if let Some(store) = Option::<super::Store>::from($make().await) {
                super::$check(store.directory.clone()).await;
            }
        }
    )*};
}

directory_contract!(on_mongodb, crate::store::mongodb::fresh);
directory_contract!(on_sqlite, crate::store::sqlite::fresh);

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_700_000_000 + seconds).unwrap()
}

fn company(id: &str) -> Company {
    Company {
        id: id.parse().unwrap(),
        name: format!("Ngân hàng {id}"),
        industry: Some("banking".to_owned()),
        languages: serde_json::from_str(r#"["vi", "en"]"#).unwrap(),
        pipeline: None,
        description: Some("A bank.".to_owned()),
        retention_days: Some(90),
        created_at: at(0) + Duration::from_nanos(987_654_321),
    }
}

fn key(company: &str, seed: u8) -> ApiKey {
    ApiKey::issue(company.parse::<CompanyId>().unwrap(), KeyScope::Backend, [seed; 24], at(0)).0
}

fn endpoint(company: &str, id: &str, created: i64) -> Endpoint {
    let url = format!("https://{company}.example.com/{id}");
    let event_types = vec![EventType::ConversationUpdated, EventType::MessageCreated];
    let (id, company) = (id.parse().unwrap(), company.parse().unwrap());
    Endpoint::new(id, company, url, Secret::shared([1; 32]), event_types, at(created))
}

async fn lists_companies_by_id(directory: Arc<dyn Directory>) {
    assert_eq!(directory.companies().await.unwrap(), []);
    for id in ["b", "a", "C", "a1"] {
        directory.put_company(&company(id)).await.unwrap();
    }
    assert_eq!(directory.companies().await.unwrap(), ["C", "a", "a1", "b"].map(company));
}

async fn adds_a_company_or_changes_it(directory: Arc<dyn Directory>) {
    let id: CompanyId = "comp_a".parse().unwrap();
    assert_eq!(directory.company(&id).await.unwrap(), None);
    assert!(directory.put_company(&company("comp_a")).await.unwrap());
    assert_eq!(directory.company(&id).await.unwrap(), Some(company("comp_a")));
    let renamed = Company { name: "Other".to_owned(), languages: vec![], ..company("comp_a") };
    assert!(!directory.put_company(&renamed).await.unwrap());
    assert_eq!(directory.companies().await.unwrap(), [renamed]);
}

async fn changes_a_company_that_nobody_else_has_changed(directory: Arc<dyn Directory>) {
    let (scope, known) = (scope("comp_a"), company("comp_a"));
    let named = |name: &str| Company { name: name.to_owned(), ..company("comp_a") };
    assert!(!directory.change_company(&scope, &known, &named("early")).await.unwrap());
    assert!(directory.add_company(&known).await.unwrap());
    assert!(!directory.add_company(&named("second")).await.unwrap());
    assert!(directory.change_company(&scope, &known, &named("first")).await.unwrap());
    assert!(!directory.change_company(&scope, &known, &named("late")).await.unwrap());
    assert_eq!(directory.companies().await.unwrap(), [named("first")]);
}

async fn finds_keys_by_hash(directory: Arc<dyn Directory>) {
    let expired = ApiKey { expires_at: Some(at(1)), ..key("comp_a", 2) };
    directory.add_key(&key("comp_a", 1)).await.unwrap();
    directory.add_key(&expired).await.unwrap();
    directory.add_key(&key("comp_b", 3)).await.unwrap();
    for expected in [key("comp_a", 1), expired, key("comp_b", 3)] {
        assert_eq!(directory.key(&expected.hash).await.unwrap(), Some(expected));
    }
    assert_eq!(directory.key(&key("comp_a", 4).hash).await.unwrap(), None);
}

async fn refuses_a_key_that_is_there_already(directory: Arc<dyn Directory>) {
    directory.add_key(&key("comp_a", 1)).await.unwrap();
    // Nobody takes over another company's key by bringing the same one.
    let stolen = ApiKey { company_id: "comp_b".parse().unwrap(), ..key("comp_a", 1) };
    let answer = directory.add_key(&stolen).await;
    assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
    assert_eq!(directory.key(&stolen.hash).await.unwrap(), Some(key("comp_a", 1)));
}

async fn lists_keys_oldest_first(directory: Arc<dyn Directory>) {
    let scope = scope("comp_a");
    assert_eq!(directory.keys(&scope).await.unwrap(), []);
    // Neither their hashes nor the texts of their times are in this order.
    let times = [at(0), at(0) + Duration::from_millis(500), at(1), at(36_000)];
    let keys: Vec<ApiKey> = times
        .iter()
        .zip([7, 3, 9, 1])
        .map(|(time, seed)| ApiKey { created_at: *time, ..key("comp_a", seed) })
        .collect();
    for one in [3, 0, 2, 1] {
        directory.add_key(&keys[one]).await.unwrap();
    }
    directory.add_key(&key("comp_b", 5)).await.unwrap();
    assert_eq!(directory.keys(&scope).await.unwrap(), keys);
}

async fn changes_and_removes_keys_of_the_company_alone(directory: Arc<dyn Directory>) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    for key in [key("comp_a", 1), key("comp_a", 2), key("comp_b", 3)] {
        directory.add_key(&key).await.unwrap();
    }
    let changed = ApiKey { expires_at: Some(at(60)), name: Some("Trang web".to_owned()), ..key("comp_a", 1) };
    assert!(directory.put_key(&a, &changed).await.unwrap());
    assert_eq!(directory.key(&changed.hash).await.unwrap(), Some(changed.clone()));
    assert_eq!(directory.keys(&a).await.unwrap().len(), 2);
    // Not by another company, be the key called its own or not.
    let foreign = ApiKey { expires_at: None, ..key("comp_b", 3) };
    assert!(matches!(directory.put_key(&a, &foreign).await, Err(Error::Invalid(_))));
    let claimed = ApiKey { company_id: "comp_a".parse().unwrap(), ..key("comp_b", 3) };
    assert!(!directory.put_key(&a, &claimed).await.unwrap());
    assert!(!directory.remove_key(&b, &changed.hash).await.unwrap());
    assert_eq!(directory.key(&foreign.hash).await.unwrap(), Some(key("comp_b", 3)));
    // A key that is gone is not brought back by whoever still holds it.
    assert!(directory.remove_key(&a, &changed.hash).await.unwrap());
    assert!(!directory.remove_key(&a, &changed.hash).await.unwrap());
    assert!(!directory.put_key(&a, &changed).await.unwrap());
    directory.touch_key(&a, &changed.hash, at(5)).await.unwrap();
    assert_eq!(directory.key(&changed.hash).await.unwrap(), None);
    assert_eq!(directory.keys(&a).await.unwrap(), [key("comp_a", 2)]);
}

async fn notes_the_last_use_of_a_key(directory: Arc<dyn Directory>) {
    let a = scope("comp_a");
    let key = key("comp_a", 1);
    directory.add_key(&key).await.unwrap();
    directory.touch_key(&scope("comp_b"), &key.hash, at(9)).await.unwrap();
    assert_eq!(directory.key(&key.hash).await.unwrap().unwrap().last_used_at, None);
    for (used, noted) in [(60, 60), (3_600, 3_600), (120, 3_600)] {
        directory.touch_key(&a, &key.hash, at(used) + Duration::from_millis(700)).await.unwrap();
        let expected = ApiKey { last_used_at: Some(at(noted)), ..key.clone() };
        assert_eq!(directory.key(&key.hash).await.unwrap(), Some(expected), "{used}");
    }
}

async fn lists_endpoints_oldest_first(directory: Arc<dyn Directory>) {
    let scope = scope("comp_a");
    assert_eq!(directory.endpoints(&scope).await.unwrap(), []);
    let endpoints = [("ep_b", 1), ("ep_c", 2), ("ep_a", 3)].map(|(id, created)| endpoint("comp_a", id, created));
    for one in [2, 0, 1] {
        directory.add_endpoint(&scope, &endpoints[one]).await.unwrap();
    }
    assert_eq!(directory.endpoints(&scope).await.unwrap(), endpoints);
    let answer = directory.add_endpoint(&scope, &endpoints[0]).await;
    assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
}

async fn refuses_another_companys_endpoint(directory: Arc<dyn Directory>) {
    let answer = directory.add_endpoint(&scope("comp_a"), &endpoint("comp_b", "ep", 0)).await;
    assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
}

async fn keeps_endpoints_of_companies_apart(directory: Arc<dyn Directory>) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    let id: EndpointId = "same".parse().unwrap();
    directory.add_endpoint(&a, &endpoint("comp_a", "same", 0)).await.unwrap();
    assert_eq!(directory.endpoint(&b, &id).await.unwrap(), None);
    assert!(!directory.disable_endpoint(&b, &id, &Disabled::now("not theirs")).await.unwrap());
    directory.add_endpoint(&b, &endpoint("comp_b", "same", 0)).await.unwrap();
    assert_eq!(directory.endpoints(&b).await.unwrap(), [endpoint("comp_b", "same", 0)]);
    assert_eq!(directory.endpoint(&a, &id).await.unwrap(), Some(endpoint("comp_a", "same", 0)));
}

async fn disables_an_endpoint(directory: Arc<dyn Directory>) {
    let scope = scope("comp_a");
    for id in ["ep_1", "ep_2"] {
        directory.add_endpoint(&scope, &endpoint("comp_a", id, 0)).await.unwrap();
    }
    let id: EndpointId = "ep_1".parse().unwrap();
    let by = Disabled { by: Some(uuid::Uuid::from_u128(7)), ..Disabled::now("410 Gone") };
    assert!(directory.disable_endpoint(&scope, &id, &by).await.unwrap());
    // The first reason stays, and whose it was.
    assert!(!directory.disable_endpoint(&scope, &id, &Disabled::now("by hand")).await.unwrap());
    assert!(!directory.disable_endpoint(&scope, &"ep_9".parse().unwrap(), &by).await.unwrap());
    let disabled = Endpoint { disabled: Some(by), ..endpoint("comp_a", "ep_1", 0) };
    assert_eq!(directory.endpoints(&scope).await.unwrap(), [disabled.clone(), endpoint("comp_a", "ep_2", 0)]);

    let enabled = Endpoint { disabled: None, ..disabled.clone() };
    assert!(directory.change_endpoint(&scope, &disabled, &enabled).await.unwrap());
    assert_eq!(directory.endpoint(&scope, &id).await.unwrap(), Some(enabled));
    assert!(directory.disable_endpoint(&scope, &id, &Disabled::now("again")).await.unwrap());
}

async fn changes_and_removes_endpoints_of_the_company_alone(directory: Arc<dyn Directory>) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    let theirs = endpoint("comp_b", "ep", 0);
    directory.add_endpoint(&a, &endpoint("comp_a", "ep", 0)).await.unwrap();
    directory.add_endpoint(&b, &theirs).await.unwrap();

    let known = endpoint("comp_a", "ep", 0);
    let mut changed = known.clone();
    changed.rotate(Secret::key_pair([2; 32]), at(7));
    changed.description = Some("Kho dữ liệu".to_owned());
    changed.filter.channels = ["web".to_owned()].into();
    changed.headers = BTreeMap::from([("x-key".to_owned(), "k".to_owned())]).try_into().unwrap();
    changed.payload = Payload::Thin;
    changed.retries.give_up_after_s = Some(60);
    changed.rate_limit = Some(RateLimit::try_from(5).unwrap());
    changed.order = Order::Ordered;
    assert!(directory.change_endpoint(&a, &known, &changed).await.unwrap());
    assert!(!directory.change_endpoint(&a, &known, &known).await.unwrap(), "it is not as it was known any more");
    assert_eq!(directory.endpoint(&a, &changed.id).await.unwrap(), Some(changed.clone()));
    assert_eq!(directory.endpoint(&b, &changed.id).await.unwrap(), Some(theirs.clone()));
    assert!(matches!(directory.change_endpoint(&b, &theirs, &changed).await, Err(Error::Invalid(_))));

    assert!(directory.remove_endpoint(&a, &changed.id).await.unwrap());
    assert!(!directory.remove_endpoint(&a, &changed.id).await.unwrap());
    assert!(!directory.change_endpoint(&a, &changed, &changed).await.unwrap(), "one that was removed stays so");
    assert_eq!(directory.endpoints(&a).await.unwrap(), []);
    assert_eq!(directory.endpoints(&b).await.unwrap(), [theirs]);
}

async fn removes_a_company_with_all_it_has(directory: Arc<dyn Directory>) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    for id in ["comp_a", "comp_b"] {
        directory.put_company(&company(id)).await.unwrap();
        directory.add_endpoint(&scope(id), &endpoint(id, "ep", 0)).await.unwrap();
    }
    for key in [key("comp_a", 1), key("comp_a", 2), key("comp_b", 3)] {
        directory.add_key(&key).await.unwrap();
    }
    assert_eq!(directory.remove_company(&a).await.unwrap(), (2, 1));
    assert_eq!(directory.companies().await.unwrap(), [company("comp_b")]);
    assert_eq!(directory.key(&key("comp_a", 1).hash).await.unwrap(), None);
    assert_eq!(directory.endpoints(&a).await.unwrap(), []);
    assert_eq!(directory.key(&key("comp_b", 3).hash).await.unwrap(), Some(key("comp_b", 3)));
    assert_eq!(directory.endpoints(&b).await.unwrap().len(), 1);
    assert_eq!(directory.remove_company(&a).await.unwrap(), (0, 0));
}
