//! Weighted reciprocal rank fusion (Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and
//! individual Rank Learning Methods", 2009), with ties broken by id: the engine's own has no fixed order. Both
//! adapters rank by it, so that the same knowledge has the same answers in either.

use std::collections::HashMap;

use uuid::Uuid;

use crate::ports::index::Rank;

/// How slowly the worth of a rank falls: the constant of the paper.
pub(super) const K: f32 = 60.0;

/// A passage of the fused list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fused {
    pub(super) id: Uuid,
    pub(super) score: f32,
    pub(super) dense: Option<Rank>,
    pub(super) sparse: Option<Rank>,
}

/// Fuses two lists of ids and scores, and keeps the first `limit`.
pub(super) fn fuse(dense: (Vec<(Uuid, f32)>, f32), sparse: (Vec<(Uuid, f32)>, f32), limit: usize) -> Vec<Fused> {
    let mut fused: HashMap<Uuid, Fused> = HashMap::new();
    for (id, rank) in ranked(dense.0) {
        let entry = fused.entry(id).or_insert(Fused { id, score: 0.0, dense: None, sparse: None });
        entry.score += dense.1 * worth(rank);
        entry.dense = Some(rank);
    }
    for (id, rank) in ranked(sparse.0) {
        let entry = fused.entry(id).or_insert(Fused { id, score: 0.0, dense: None, sparse: None });
        entry.score += sparse.1 * worth(rank);
        entry.sparse = Some(rank);
    }
    let mut fused: Vec<Fused> = fused.into_values().collect();
    fused.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    fused.truncate(limit);
    fused
}

fn ranked(mut list: Vec<(Uuid, f32)>) -> impl Iterator<Item = (Uuid, Rank)> {
    list.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list.into_iter().enumerate().map(|(place, (id, score))| (id, Rank { rank: place + 1, score }))
}

#[expect(clippy::cast_precision_loss, reason = "ranks are small")]
fn worth(rank: Rank) -> f32 {
    1.0 / (K + rank.rank as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn what_both_sides_find_comes_first() {
        let dense = vec![(id(1), 0.9), (id(2), 0.8)];
        let sparse = vec![(id(3), 12.0), (id(2), 11.0)];
        let fused = fuse((dense, 1.0), (sparse, 1.0), 10);
        assert_eq!(fused.iter().map(|f| f.id).collect::<Vec<_>>(), [id(2), id(1), id(3)]);
        assert_eq!(fused[0].dense, Some(Rank { rank: 2, score: 0.8 }));
        assert_eq!(fused[0].sparse, Some(Rank { rank: 2, score: 11.0 }));
        assert!((fused[0].score - 2.0 / 62.0).abs() < 1e-6);
    }

    #[test]
    fn weights_decide_and_ties_go_by_id() {
        let (dense, sparse) = (vec![(id(1), 0.9)], vec![(id(2), 3.0)]);
        assert_eq!(fuse((dense.clone(), 0.5), (sparse.clone(), 1.0), 1)[0].id, id(2));
        assert_eq!(fuse((sparse, 1.0), (dense, 1.0), 1)[0].id, id(1));
        let equal = vec![(id(9), 0.5), (id(4), 0.5)];
        assert_eq!(fuse((equal, 1.0), (vec![], 1.0), 2)[0].id, id(4));
    }
}
