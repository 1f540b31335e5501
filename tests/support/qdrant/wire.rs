//! Between what the protocol says and what the engine takes. What the tests' server does not know it refuses, so that
//! nothing passes here that a real server would understand otherwise.

use std::collections::HashMap;

use qdrant_client::qdrant as q;
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue as Wanted;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vector::Vector as Given;
use qdrant_edge::{
    AnyVariants, Condition, FieldCondition, Filter, HasIdCondition, Match, MatchAny, MatchValue, Payload, PointId,
    ValueVariants, Vector, VectorInternal, VectorStructInternal,
};
use serde_json::Value as Json;
use tonic::Status;

pub(super) fn invalid(what: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("Wrong input: {what}"))
}

pub(super) fn unknown(what: &str) -> Status {
    Status::unimplemented(format!("the tests' server does not know {what}"))
}

/// An engine's error as the server tells it.
pub(super) fn engine(error: qdrant_edge::OperationError) -> Status {
    invalid(error)
}

pub(super) fn point_id(id: Option<q::PointId>) -> Result<PointId, Status> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Num(number)) => Ok(PointId::NumId(number)),
        Some(PointIdOptions::Uuid(text)) => {
            text.parse().map(PointId::Uuid).map_err(|_| invalid(format!("Unable to parse UUID: {text}")))
        }
        None => Err(invalid("No ID options provided")),
    }
}

pub(super) fn wire_id(id: PointId) -> q::PointId {
    match id {
        PointId::NumId(number) => q::PointId::from(number),
        PointId::Uuid(id) => q::PointId::from(id.to_string()),
    }
}

pub(super) fn filter(filter: Option<q::Filter>) -> Result<Option<Filter>, Status> {
    let Some(q::Filter { should, must, must_not, min_should }) = filter else { return Ok(None) };
    if min_should.is_some() {
        return Err(unknown("min_should"));
    }
    let conditions = |list: Vec<q::Condition>| -> Result<Option<Vec<Condition>>, Status> {
        let list = list.into_iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        Ok((!list.is_empty()).then_some(list))
    };
    Ok(Some(Filter {
        should: conditions(should)?,
        min_should: None,
        must: conditions(must)?,
        must_not: conditions(must_not)?,
    }))
}

fn condition(given: q::Condition) -> Result<Condition, Status> {
    match given.condition_one_of {
        Some(ConditionOneOf::Field(field)) => field_condition(field),
        Some(ConditionOneOf::HasId(ids)) => {
            let ids = ids.has_id.into_iter().map(|id| point_id(Some(id))).collect::<Result<HasIdCondition, _>>()?;
            Ok(Condition::HasId(ids))
        }
        Some(ConditionOneOf::Filter(nested)) => Ok(Condition::Filter(filter(Some(nested))?.unwrap_or_default())),
        Some(_) => Err(unknown("this condition")),
        None => Err(invalid("Malformed Condition type")),
    }
}

fn field_condition(field: q::FieldCondition) -> Result<Condition, Status> {
    let path = field.key.parse().map_err(|()| invalid("Malformed key"))?;
    let wanted = match field.r#match.and_then(|wanted| wanted.match_value) {
        Some(Wanted::Keyword(text)) => Match::Value(MatchValue { value: ValueVariants::String(text) }),
        Some(Wanted::Keywords(list)) => {
            Match::Any(MatchAny { any: AnyVariants::Strings(list.strings.into_iter().collect()) })
        }
        _ => return Err(unknown("this match")),
    };
    Ok(Condition::Field(FieldCondition::new_match(path, wanted)))
}

/// Vectors by name, each a dense or a sparse one.
pub(super) fn vectors(vectors: Option<q::Vectors>) -> Result<Vec<(String, Vector)>, Status> {
    match vectors.and_then(|vectors| vectors.vectors_options) {
        Some(q::vectors::VectorsOptions::Vectors(named)) => {
            named.vectors.into_iter().map(|(name, vector)| Ok((name, one_vector(vector)?))).collect()
        }
        Some(_) => Err(unknown("vectors without a name")),
        None => Err(invalid("Expected some vectors")),
    }
}

#[expect(deprecated, reason = "clients still write vectors in the old fields")]
fn one_vector(vector: q::Vector) -> Result<Vector, Status> {
    match (vector.vector, vector.indices) {
        (Some(Given::Dense(dense)), _) => Ok(Vector::new_dense(dense.data)),
        (Some(Given::Sparse(sparse)), _) => Vector::new_sparse(sparse.indices, sparse.values).map_err(engine),
        (Some(_), _) => Err(unknown("this vector")),
        (None, Some(indices)) => Vector::new_sparse(indices.data, vector.data).map_err(engine),
        (None, None) => Ok(Vector::new_dense(vector.data)),
    }
}

pub(super) fn wire_vectors(vector: Option<VectorStructInternal>) -> q::VectorsOutput {
    let mut named = HashMap::new();
    if let Some(VectorStructInternal::Named(vectors)) = vector {
        for (name, vector) in vectors {
            let vector = match vector {
                VectorInternal::Dense(data) => q::vector_output::Vector::Dense(q::DenseVector { data }),
                VectorInternal::Sparse(sparse) => {
                    q::vector_output::Vector::Sparse(q::SparseVector { values: sparse.values, indices: sparse.indices })
                }
                VectorInternal::MultiDense(_) => continue,
            };
            named.insert(name.to_string(), q::VectorOutput { vector: Some(vector), ..q::VectorOutput::default() });
        }
    }
    let options = q::vectors_output::VectorsOptions::Vectors(q::NamedVectorsOutput { vectors: named });
    q::VectorsOutput { vectors_options: Some(options) }
}

/// Whether payloads or vectors are wanted; parts of them are not known here.
pub(super) fn with_payload(selector: Option<q::WithPayloadSelector>, default: bool) -> Result<bool, Status> {
    match selector.and_then(|selector| selector.selector_options) {
        None => Ok(default),
        Some(q::with_payload_selector::SelectorOptions::Enable(wanted)) => Ok(wanted),
        Some(_) => Err(unknown("parts of payloads")),
    }
}

pub(super) fn with_vectors(selector: Option<q::WithVectorsSelector>) -> Result<bool, Status> {
    match selector.and_then(|selector| selector.selector_options) {
        None => Ok(false),
        Some(q::with_vectors_selector::SelectorOptions::Enable(wanted)) => Ok(wanted),
        Some(_) => Err(unknown("some of the vectors")),
    }
}

pub(super) fn json(payload: HashMap<String, q::Value>) -> Json {
    Json::Object(payload.into_iter().map(|(name, value)| (name, json_value(value))).collect())
}

fn json_value(value: q::Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::from(value),
        Some(Kind::IntegerValue(value)) => Json::from(value),
        Some(Kind::DoubleValue(value)) => Json::from(value),
        Some(Kind::StringValue(value)) => Json::from(value),
        Some(Kind::ListValue(list)) => Json::Array(list.values.into_iter().map(json_value).collect()),
        Some(Kind::StructValue(object)) => json(object.fields),
    }
}

pub(super) fn wire_payload(payload: Option<Payload>) -> HashMap<String, q::Value> {
    payload.unwrap_or_default().0.into_iter().map(|(name, value)| (name, wire_value(value))).collect()
}

fn wire_value(json: Json) -> q::Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) if number.is_i64() => Kind::IntegerValue(number.as_i64().unwrap()),
        Json::Number(number) => Kind::DoubleValue(number.as_f64().unwrap()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(values) => Kind::ListValue(q::ListValue { values: values.into_iter().map(wire_value).collect() }),
        Json::Object(fields) => Kind::StructValue(q::Struct {
            fields: fields.into_iter().map(|(name, value)| (name, wire_value(value))).collect(),
        }),
    };
    q::Value { kind: Some(kind) }
}
