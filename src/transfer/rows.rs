//! How a passage stands in a file: its dense vector as base64 of little-endian f32, its sparse one as lists.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::knowledge::{EncodedPassage, Passage, SparseVector};
use crate::ports::index::Encoder;

/// The first line of a company's passages.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// What made the vectors, none when there are no passages.
    pub(super) encoder: Option<Encoder>,
}

/// A passage with its vectors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    passage: Passage,
    dense: Option<String>,
    sparse: Sparse,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sparse {
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl Row {
    /// The row of a passage. Dimensions are put in order, in which a backend may not have kept them.
    pub(super) fn of(encoded: EncodedPassage) -> Self {
        let EncodedPassage { passage, dense, sparse } = encoded;
        let dense = dense.map(|vector| {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            STANDARD.encode(bytes)
        });
        let mut weights: Vec<(u32, f32)> = sparse.indices.into_iter().zip(sparse.values).collect();
        weights.sort_unstable_by_key(|&(index, _)| index);
        let (indices, values) = weights.into_iter().unzip();
        Self { passage, dense, sparse: Sparse { indices, values } }
    }

    /// The passage alone.
    pub(super) fn into_passage(self) -> Passage {
        self.passage
    }

    /// The passage with its vectors, or what is wrong with them.
    pub(super) fn into_encoded(self) -> Result<EncodedPassage, String> {
        let Self { passage, dense, sparse: Sparse { indices, values } } = self;
        let dense = dense.map(|text| vector(&text)).transpose()?;
        if indices.len() != values.len() {
            return Err(format!("{} dimensions have {} weights", indices.len(), values.len()));
        }
        Ok(EncodedPassage { passage, dense, sparse: SparseVector { indices, values } })
    }
}

fn vector(text: &str) -> Result<Vec<f32>, String> {
    let bytes = STANDARD.decode(text).map_err(|error| format!("the dense vector is no base64: {error}"))?;
    let (values, rest) = bytes.as_chunks::<4>();
    if rest.is_empty() {
        Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
    } else {
        Err(format!("the dense vector has {} bytes, which are no whole numbers", bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(dense: Option<Vec<f32>>) -> EncodedPassage {
        EncodedPassage {
            passage: Passage {
                document_id: "d".parse().unwrap(),
                ordinal: 0,
                title: "T".into(),
                url: None,
                headings: vec!["H".into()],
                text: "Lãi suất".into(),
                language: "vi".parse().ok(),
                industry: None,
            },
            dense,
            sparse: SparseVector { indices: vec![1, 7, u32::MAX], values: vec![0.1, f32::MIN_POSITIVE, 3.25e7] },
        }
    }

    #[test]
    fn vectors_come_back_to_the_bit() {
        for passage in [encoded(None), encoded(Some(vec![0.1, -0.0, f32::MIN_POSITIVE, 1.0 / 3.0]))] {
            let text = serde_json::to_string(&Row::of(passage.clone())).unwrap();
            let back = serde_json::from_str::<Row>(&text).unwrap().into_encoded().unwrap();
            let bits = |vector: &EncodedPassage| {
                let dense = vector.dense.clone().map(|dense| dense.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
                (dense, vector.sparse.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
            };
            assert_eq!(back, passage);
            assert_eq!(bits(&back), bits(&passage));
        }
    }

    #[test]
    fn the_order_in_which_a_backend_keeps_dimensions_does_not_show() {
        let mut other = encoded(None);
        other.sparse = SparseVector { indices: vec![u32::MAX, 1, 7], values: vec![3.25e7, 0.1, f32::MIN_POSITIVE] };
        let text = |passage| serde_json::to_string(&Row::of(passage)).unwrap();
        assert_eq!(text(other), text(encoded(None)));
    }

    #[test]
    fn a_vector_that_is_none_is_an_error() {
        for wrong in ["%", "AAA=", "AAAAAAA="] {
            let mut row = Row::of(encoded(None));
            row.dense = Some(wrong.to_owned());
            assert!(row.into_encoded().is_err(), "{wrong}");
        }
        let mut row = Row::of(encoded(None));
        row.sparse.values.pop();
        assert!(row.into_encoded().is_err());
    }
}
