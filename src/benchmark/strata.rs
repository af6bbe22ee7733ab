//! What the scene of a question is like, for results by source count, room, DRR and kind: the lines of `strata.jsonl`.

use super::facts::Facts;
use super::generate::Row;
use super::mono;
use crate::text::strata::Stratum;

/// The line of `row`, which asks about the scene of `facts`.
pub(super) fn stratum(row: &Row, facts: &Facts) -> Stratum {
    let derivation = &row.derivation;
    let ratios = facts.truth.sources.iter().map(|source| source.drr_db);
    let least = |all: Vec<f64>| all.into_iter().reduce(f64::min).filter(|db| db.is_finite());
    let room = facts.truth.room.as_ref();
    Stratum {
        sample_id: derivation.sample_id.clone(),
        scene: derivation.scene.clone(),
        kind: derivation.kind.clone(),
        sources: facts.count(),
        room_size: room.map(|room| room.size.clone()),
        room_finish: room.map(|room| room.finish.clone()),
        drr_db: ratios.collect::<Option<Vec<f64>>>().and_then(least),
        mono: mono::standing(&derivation.claims, facts),
    }
}
