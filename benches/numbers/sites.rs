//! The sites that are measured: the settings of all of them, and the file system that they stand on.

use std::path::Path;

use time::OffsetDateTime;
use turnpike::domain::turn::UserInfo;
use turnpike::domain::{FinishReason, Language, TurnId, TurnRecord};

use crate::provider::Provider;
use crate::support::process::Site;

/// The company that is asked.
pub(crate) const COMPANY: &str = "bench";

/// The settings of a site: no limit on requests, the provider given, an embedding model if there is one.
pub(crate) fn settings(provider: Option<&Provider>, models: Option<&Path>) -> String {
    let mut settings = "[limits]\nrequests_per_minute = 10000000\n".to_owned();
    if let Some(provider) = provider {
        settings.push_str(&format!(
            "[providers.mock]\nkind = \"openai\"\nbase_url = {:?}\napi_key = \"none\"\nmodels = [\"m\"]\n",
            provider.base_url()
        ));
    }
    if let Some(models) = models {
        settings.push_str(&format!("[embedder]\nenabled = true\nmodels_dir = {:?}\n", models.display().to_string()));
    }
    settings
}

/// A site without knowledge and without a model, and its company's key.
pub(crate) fn plain(provider: &Provider) -> (Site, String) {
    let site = Site::new(&settings(Some(provider), None));
    let key = site.company(COMPANY);
    (site, key)
}

/// A customer's turn, as long as they usually are.
pub(crate) fn turn(session: &str) -> TurnRecord {
    let (company, session) = (COMPANY.parse().unwrap(), session.parse().unwrap());
    TurnRecord {
        channel: "web".to_owned(),
        user: UserInfo { user_id: Some("customer".to_owned()), ..UserInfo::default() },
        message: "Lãi suất vay mua nhà hai mươi năm là bao nhiêu?".to_owned(),
        answer: "Lãi suất năm đầu là 7,5 %. ".repeat(40),
        finish_reason: FinishReason::Stop,
        language: Some(Language::VIETNAMESE),
        model: Some("mock/m".to_owned()),
        ..TurnRecord::begun(TurnId::generate(), company, session, OffsetDateTime::now_utc())
    }
}
