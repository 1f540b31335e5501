//! `turnpike search`.

use std::process::ExitCode;

use clap::Args;

use super::Common;
use crate::domain::CompanyId;
use crate::pipeline::stages::language::{Detector, Hints};
use crate::pipeline::stages::retrieve::Retriever;
use crate::ports::index::Filter;
use crate::roles::parts::{Parts, Purpose};

#[derive(Args)]
pub(super) struct Arguments {
    /// Whose knowledge
    #[arg(long)]
    company: CompanyId,
    /// The question
    query: String,
    /// Passages at most; the pipeline's own limit otherwise
    #[arg(long)]
    limit: Option<usize>,
    /// Show also what the relevance threshold would leave out
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let parts = Parts::open(&settings, "search", Purpose::Knowledge).await?;
    let (company, scope) = super::company(parts.stores.directory.as_ref(), &arguments.company).await?;
    let mut retrieval = parts.catalog.for_company(&company, None).definition.retrieval;
    retrieval.limit = arguments.limit.unwrap_or(retrieval.limit);
    retrieval.candidates = retrieval.candidates.max(retrieval.limit);
    if arguments.all {
        retrieval.threshold = 0.0;
    }
    let retriever = Retriever::new(parts.index.clone(), parts.embedder.clone());
    let language =
        Detector::new().detect(&arguments.query, &Hints { allowed: &company.languages, prior: None }).language;
    let embedded = retriever.embed(&arguments.query, language).await;
    let found = retriever.search(&scope, &arguments.query, embedded, Filter::default(), &retrieval).await?;
    if arguments.json {
        let hits: Vec<_> = found
            .iter()
            .map(|ranked| {
                serde_json::json!({
                    "relevance": ranked.relevance, "score": ranked.hit.score, "dense": ranked.hit.dense,
                    "sparse": ranked.hit.sparse, "passage": ranked.hit.passage,
                })
            })
            .collect();
        say!("{}", serde_json::to_string_pretty(&hits)?);
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        say!("nothing relevant");
    }
    for (n, ranked) in found.iter().enumerate() {
        let passage = &ranked.hit.passage;
        say!("{}. {}  {}  relevance {:.2}", n + 1, passage.document_id, passage.title, ranked.relevance);
        for line in passage.text.lines() {
            say!("   {line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
