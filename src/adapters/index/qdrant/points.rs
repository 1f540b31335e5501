//! Passages as points: their ids, their payloads, and the filters that find them again.

use std::collections::HashMap;

use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vector_output::Vector as Stored;
use qdrant_client::qdrant::vectors_output::VectorsOptions;
use qdrant_client::qdrant::{
    Condition, Filter as Conditions, ListValue, NamedVectors, PointId, PointStruct, RepeatedStrings, RetrievedPoint,
    Struct, Value, Vector, Vectors,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::domain::CompanyId;
use crate::domain::knowledge::{EncodedPassage, Passage, SparseVector};
use crate::ports::index::{Error, Filter};

pub(super) const DENSE: &str = "dense";
pub(super) const SPARSE: &str = "sparse";
pub(super) const COMPANY: &str = "company_id";
pub(super) const GENERATION: &str = "generation";
pub(super) const DOCUMENT: &str = "document_id";

/// The fields of a point.
pub(super) type Payload = HashMap<String, Value>;

/// The point of a passage in one generation of a company's index. Its upper half is that of the passage's own id, so
/// that points sort as passages do; its lower half follows from all of the name, so that no two companies share a point.
pub(super) fn point_id(company: &CompanyId, generation: Uuid, passage: Uuid) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x5d0b_9c1e_72a4_4f0e_8b6d_1fc3_0a95_e748);
    let name = Uuid::new_v5(&NAMESPACE, format!("{company}/{generation}/{passage}").as_bytes());
    Uuid::from_u64_pair(passage.as_u64_pair().0, name.as_u64_pair().1)
}

/// The point for a passage.
pub(super) fn point(company: &CompanyId, generation: Uuid, encoded: EncodedPassage) -> Result<PointStruct, Error> {
    let EncodedPassage { passage, dense, sparse } = encoded;
    let id = point_id(company, generation, passage.id());
    let mut payload = fields(&passage)?;
    payload.insert(COMPANY.to_owned(), company.as_str().into());
    payload.insert(GENERATION.to_owned(), generation.to_string().into());
    let mut vectors = HashMap::new();
    if let Some(dense) = dense {
        vectors.insert(DENSE.to_owned(), Vector::from(dense));
    }
    if !sparse.indices.is_empty() {
        let sparse: Vec<_> = sparse.indices.into_iter().zip(sparse.values).collect();
        vectors.insert(SPARSE.to_owned(), Vector::from(sparse));
    }
    Ok(PointStruct { id: Some(to_point_id(id)), payload, vectors: Some(named(vectors)) })
}

/// Vectors by name; it may be none, but the server wants to be told that.
pub(super) fn named(vectors: HashMap<String, Vector>) -> Vectors {
    Vectors::from(NamedVectors { vectors })
}

/// Something of ours as a payload.
pub(super) fn fields(of: &impl Serialize) -> Result<Payload, Error> {
    match serde_json::to_value(of).map_err(|error| Error::Failed(error.to_string()))? {
        Json::Object(object) => Ok(object.into_iter().map(|(name, value)| (name, to_value(value))).collect()),
        other => Err(Error::Failed(format!("{other} is no payload"))),
    }
}

/// Something of ours out of a payload.
pub(super) fn parsed<T: DeserializeOwned>(payload: Payload) -> Result<T, Error> {
    let object = payload.into_iter().map(|(name, value)| (name, to_json(value))).collect();
    serde_json::from_value(Json::Object(object))
        .map_err(|error| Error::Failed(format!("a stored point cannot be read: {error}")))
}

/// A passage of a point.
pub(super) fn passage(payload: Payload) -> Result<Passage, Error> {
    parsed(payload)
}

/// A passage of a point, with its vectors.
pub(super) fn encoded_passage(point: RetrievedPoint) -> Result<EncodedPassage, Error> {
    let mut encoded = EncodedPassage { passage: passage(point.payload)?, dense: None, sparse: SparseVector::default() };
    if let Some(VectorsOptions::Vectors(named)) = point.vectors.and_then(|vectors| vectors.vectors_options) {
        for vector in named.vectors.into_values() {
            match vector.into_vector() {
                Stored::Dense(dense) => encoded.dense = Some(dense.data),
                Stored::Sparse(sparse) => {
                    encoded.sparse = SparseVector { indices: sparse.indices, values: sparse.values };
                }
                Stored::MultiDense(_) => {}
            }
        }
    }
    Ok(encoded)
}

/// All points of one generation of a company's index.
pub(super) fn generation(company: &CompanyId, generation: Uuid) -> Conditions {
    Conditions::must([equals(COMPANY, company.as_str()), equals(GENERATION, &generation.to_string())])
}

/// What a question may find in it.
pub(super) fn findable(company: &CompanyId, current: Uuid, filter: &Filter) -> Result<Conditions, Error> {
    let mut conditions = generation(company, current);
    if let Some(industry) = &filter.industry {
        conditions.must.push(equals("industry", industry));
    }
    if let Some(language) = &filter.language {
        let written = serde_json::to_value(language).map_err(|error| Error::Failed(error.to_string()))?;
        let Json::String(language) = written else { return Err(Error::Failed(format!("cannot filter by {written}"))) };
        conditions.must.push(equals("language", &language));
    }
    Ok(conditions)
}

/// Points whose field holds this value. The client would make a text search of a value with spaces.
pub(super) fn equals(field: &str, value: &str) -> Condition {
    Condition::matches(field, MatchValue::Keyword(value.to_owned()))
}

/// Points whose field holds one of these values.
pub(super) fn one_of(field: &str, strings: Vec<String>) -> Condition {
    Condition::matches(field, MatchValue::Keywords(RepeatedStrings { strings }))
}

/// Points with these ids.
pub(super) fn has_id(ids: impl IntoIterator<Item = Uuid>) -> Condition {
    Condition::has_id(ids.into_iter().map(to_point_id))
}

pub(super) fn to_point_id(id: Uuid) -> PointId {
    PointId::from(id.to_string())
}

/// The id of a point that the server gave.
pub(super) fn uuid(id: Option<PointId>) -> Result<Uuid, Error> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Uuid(text)) => {
            Uuid::try_parse(&text).map_err(|_| Error::Failed(format!("point {text} is none of ours")))
        }
        other => Err(Error::Failed(format!("point {other:?} is none of ours"))),
    }
}

fn to_value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::String(text) => Kind::StringValue(text),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Kind::IntegerValue(whole),
            None => Kind::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(to_value).collect() }),
        Json::Object(object) => Kind::StructValue(Struct {
            fields: object.into_iter().map(|(name, value)| (name, to_value(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

fn to_json(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::IntegerValue(whole)) => whole.into(),
        Some(Kind::DoubleValue(number)) => number.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(to_json).collect(),
        Some(Kind::StructValue(object)) => {
            Json::Object(object.fields.into_iter().map(|(name, value)| (name, to_json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_sort_as_passages_and_no_two_companies_share_one() {
        let (a, b): (CompanyId, CompanyId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let mut passages: Vec<Uuid> = (0..200).map(|n| Uuid::new_v5(&Uuid::NAMESPACE_URL, &[n])).collect();
        passages.sort();
        let points: Vec<Uuid> = passages.iter().map(|passage| point_id(&a, one, *passage)).collect();
        assert!(points.is_sorted());
        for passage in passages {
            assert_ne!(point_id(&a, one, passage), point_id(&b, one, passage));
            assert_ne!(point_id(&a, one, passage), point_id(&a, two, passage));
            assert_eq!(point_id(&a, one, passage), point_id(&a, one, passage));
        }
    }

    #[test]
    fn payloads_come_back_as_they_were() {
        let json = serde_json::json!({"text": "lãi", "n": 7, "x": 0.5, "none": null, "list": ["a", {"b": true}]});
        assert_eq!(parsed::<Json>(fields(&json).unwrap()).unwrap(), json);
        assert!(fields(&"no object").is_err());
    }
}
