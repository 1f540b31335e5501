//! The sites that are measured: the settings of all of them, and the file system that they stand on.

use std::path::Path;

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
