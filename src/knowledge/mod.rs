//! A company's knowledge: read from files, cut into passages, encoded, put into the index, and judged when it is found.

pub mod chunk;
pub mod evaluate;
pub mod ingest;
pub mod load;
pub mod relevance;
pub mod sparse;
mod words;
