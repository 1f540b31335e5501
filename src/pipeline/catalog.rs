//! The company pipelines with what is made of them once: compiled prompts and trained classifiers.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::prompt::{self, Prompts};
use super::stages::intent::{Classifier, Classifiers};
use crate::config::pipelines::{Pipeline, PipelineSet};
use crate::domain::Company;

/// A pipeline, ready to run.
pub struct ReadyPipeline {
    /// The pipeline as it is written.
    pub definition: Pipeline,
    /// Its prompts.
    pub prompts: Prompts,
    classifiers: Arc<Trained>,
    own: OnceLock<Arc<Classifier>>,
}

impl ReadyPipeline {
    /// Its classifier. The first one that is asked for trains all.
    pub fn classifier(&self) -> &Classifier {
        self.own.get_or_init(|| {
            let shared = self.classifiers.get().get(&self.definition.name).cloned();
            shared.unwrap_or_else(|| Arc::new(Classifier::train(&self.definition)))
        })
    }
}

/// The classifiers of a set, trained together: pipelines that learn from the same examples share one.
struct Trained {
    set: PipelineSet,
    classifiers: OnceLock<Classifiers>,
}

impl Trained {
    fn get(&self) -> &Classifiers {
        self.classifiers.get_or_init(|| Classifiers::train(&self.set))
    }
}

/// All pipelines.
pub struct Catalog {
    trained: Arc<Trained>,
    ready: HashMap<String, Arc<ReadyPipeline>>,
    root: Arc<ReadyPipeline>,
}

impl Catalog {
    /// Compiles a set of pipelines.
    ///
    /// # Errors
    /// When a prompt does not compile.
    pub fn new(set: PipelineSet) -> Result<Self, prompt::Error> {
        let trained = Arc::new(Trained { set, classifiers: OnceLock::new() });
        let make = |definition: &Pipeline| {
            Ok(Arc::new(ReadyPipeline {
                prompts: Prompts::compile(definition)?,
                definition: definition.clone(),
                classifiers: Arc::clone(&trained),
                own: OnceLock::new(),
            }))
        };
        let root = make(trained.set.for_industry(""))?;
        let mut ready = HashMap::new();
        for definition in trained.set.iter() {
            ready.insert(definition.name.clone(), make(definition)?);
        }
        Ok(Self { ready, root, trained })
    }

    /// The pipeline that a company names, or its industry's, or that of the industry its client names.
    pub fn for_company(&self, company: &Company, industry: Option<&str>) -> &Arc<ReadyPipeline> {
        let named = company.pipeline.as_deref().and_then(|name| self.ready.get(name));
        named.unwrap_or_else(|| self.for_industry(company.industry.as_deref().or(industry).unwrap_or_default()))
    }

    /// The pipeline of an industry, the root where none serves it.
    pub fn for_industry(&self, industry: &str) -> &Arc<ReadyPipeline> {
        self.ready.get(&self.trained.set.for_industry(industry).name).unwrap_or(&self.root)
    }

    /// All pipelines.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ReadyPipeline>> {
        self.ready.values()
    }

    /// The pipeline of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<ReadyPipeline>> {
        self.ready.get(name)
    }

    /// Trains all classifiers, so that no turn waits for one.
    pub fn warm(&self) {
        self.trained.get();
    }
}
