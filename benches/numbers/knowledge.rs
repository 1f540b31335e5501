//! Ten thousand passages of a bank, made up from a seed, with vectors of random directions: what is measured is the
//! search, not what it finds, and nothing has to be embedded.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use turnpike::adapters::index::edge::{self, EdgeIndex};
use turnpike::adapters::store::sqlite::SqliteStore;
use turnpike::config::{self, Sources};
use turnpike::domain::knowledge::{Document, EncodedPassage, Passage};
use turnpike::domain::{CompanyScope, DocumentId, Language};
use turnpike::knowledge::sparse::SparseEncoder;
use turnpike::ports::index::KnowledgeIndex;
use turnpike::ports::store::DocumentRegister;
use turnpike::roles::data_dir::DataDir;
use turnpike::roles::embedder;

use crate::sites::COMPANY;
use crate::support::process::Site;

const PASSAGES_OF_A_DOCUMENT: usize = 20;
const WORDS_OF_A_PASSAGE: usize = 110;
/// Documents put at a time.
const BATCH: usize = 50;

const COMMON: &str = "the of and to a in for is on that by with your as be at or from are we will can if you may not \
    any all when must per each after before within more than our which has been";
const TOPICS: &str = "loan mortgage interest rate deposit savings account card credit debit transfer fee payment \
    repayment insurance currency exchange branch cheque overdraft salary statement balance limit guarantee collateral \
    contract signature document identity passport address appointment advisor pension investment fund share bond \
    dividend tax invoice merchant terminal refund dispute fraud password token application mobile internet message \
    notification schedule instalment penalty discount promotion reward cashback mileage lounge traveller student \
    family business company director treasury payroll leasing vehicle house apartment land renovation valuation \
    notary registration expiry renewal cancellation closure opening activation delivery replacement withdrawal cash \
    machine counter queue opening hours holiday weekend working day month quarter year maturity compound floating \
    fixed margin reference early partial full minimum maximum average annual monthly daily";

/// Numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[(self.unit() * words.len() as f64) as usize]
    }

    fn direction(&mut self, dimensions: usize) -> Vec<f32> {
        let raw: Vec<f64> = (0..dimensions).map(|_| self.unit() - 0.5).collect();
        let length = raw.iter().map(|value| value * value).sum::<f64>().sqrt();
        raw.into_iter().map(|value| (value / length) as f32).collect()
    }
}

/// A question in English that stands on its own.
pub(crate) fn question(n: usize) -> String {
    let mut random = Random(1_000_000 + n as u64);
    let topics: Vec<&str> = TOPICS.split_whitespace().collect();
    let (a, b, c) = (random.pick(&topics), random.pick(&topics), random.pick(&topics));
    match n % 3 {
        0 => format!("What is the {a} of a {b} with {c} for new customers?"),
        1 => format!("How do I change the {a} {b} on my {c} with the bank?"),
        _ => format!("Which documents are needed for a {a} {b} when I bring a {c}?"),
    }
}

/// Puts the passages into the index of the site's company, by the encoder that its service will use.
pub(crate) async fn put(site: &Site, passages: usize) {
    let settings = config::load(&Sources {
        file: Some(site.config_path()),
        env: BTreeMap::new(),
        flags: vec![("storage.data_dir".to_owned(), site.data_dir().display().to_string())],
    })
    .unwrap();
    // The model is loaded for its fingerprint alone.
    let encoder = embedder::encoder(embedder::open(&settings).unwrap().as_ref());
    let dimensions = encoder.dense.as_ref().map(|dense| dense.dimensions);
    let dir = DataDir::open(&settings.data_dir).unwrap();
    let store = SqliteStore::open(&dir.store()).unwrap();
    let index = EdgeIndex::new(dir.index(), encoder, edge::Settings::default());
    let scope = CompanyScope::granted(COMPANY.parse().unwrap());
    let mut random = Random(42);
    let documents: Vec<usize> = (0..passages / PASSAGES_OF_A_DOCUMENT).collect();
    for batch in documents.chunks(BATCH) {
        let encoded: Vec<_> = batch.iter().map(|&number| document(number, dimensions, &mut random)).collect();
        let registered: Vec<Document> = encoded.iter().map(|(id, passages)| register(id, passages)).collect();
        index.replace(&scope, encoded).await.unwrap();
        store.register(&scope, &registered).await.unwrap();
    }
    index.optimize(&scope).await.unwrap();
    assert_eq!(index.contents(&scope).await.unwrap().passages, documents.len() * PASSAGES_OF_A_DOCUMENT);
}

/// The documents of so many passages, the same ones in every run.
pub(crate) fn documents(passages: usize, dimensions: usize) -> Vec<(DocumentId, Vec<EncodedPassage>)> {
    let mut random = Random(42);
    (0..passages / PASSAGES_OF_A_DOCUMENT).map(|number| document(number, Some(dimensions), &mut random)).collect()
}

/// So many random directions, the same ones in every run.
pub(crate) fn directions(count: usize, dimensions: usize) -> Vec<Vec<f32>> {
    let mut random = Random(7);
    (0..count).map(|_| random.direction(dimensions)).collect()
}

fn document(number: usize, dimensions: Option<usize>, random: &mut Random) -> (DocumentId, Vec<EncodedPassage>) {
    let (common, topics): (Vec<&str>, Vec<&str>) =
        (COMMON.split_whitespace().collect(), TOPICS.split_whitespace().collect());
    let id: DocumentId = format!("terms-{number}").parse().unwrap();
    let title = format!("Terms of the {} {}, number {number}", random.pick(&topics), random.pick(&topics));
    let passages = (0..PASSAGES_OF_A_DOCUMENT).map(|ordinal| {
        let text = (0..WORDS_OF_A_PASSAGE).map(|_| match random.unit() {
            kind if kind < 0.4 => random.pick(&common).to_owned(),
            kind if kind < 0.8 => random.pick(&topics).to_owned(),
            // Names and figures, most of which stand in few passages.
            _ => format!("n{}", (random.unit().powi(3) * 20_000.0) as u32),
        });
        let passage = Passage {
            document_id: id.clone(),
            ordinal,
            title: title.clone(),
            url: None,
            headings: vec![format!("Section {ordinal}")],
            text: text.collect::<Vec<_>>().join(" "),
            language: Some(Language::ENGLISH),
            industry: Some("banking".to_owned()),
        };
        let sparse = SparseEncoder::default().encode_passage(&passage.search_text());
        EncodedPassage { dense: dimensions.map(|dimensions| random.direction(dimensions)), sparse, passage }
    });
    let passages = passages.collect();
    (id, passages)
}

fn register(id: &DocumentId, passages: &[EncodedPassage]) -> Document {
    Document {
        id: id.clone(),
        title: passages[0].passage.title.clone(),
        url: None,
        language: Some(Language::ENGLISH),
        fingerprint: "made up".to_owned(),
        collection: None,
        passages: passages.len(),
        bytes: passages.iter().map(|encoded| encoded.passage.text.len()).sum(),
        updated_at: OffsetDateTime::now_utc(),
    }
}
