//! What `twnm plan` prints.

use super::shared::say;
use twnm::error::Result;
use twnm::language::decoder::Kept;
use twnm::plan::{Component, Frozen, Plan, PlanInput, gib, line};

/// What of every layer is kept, by name.
pub const KEPT: [(&str, Kept); 3] =
    [("products", Kept::Products), ("attention", Kept::Attention), ("input", Kept::Input)];

/// The largest micro-batches by how weights are stored, in the order of [`KEPT`].
type Fitting = Vec<(&'static str, [usize; 3])>;

/// What fits into so many bytes.
struct Within {
    budget: u64,
    fitting: Fitting,
    /// Tokens of the longest document that fits alone.
    longest: usize,
}

/// A plan with what there is to say about it.
pub struct Answer {
    plan: Plan,
    tokens: usize,
    within: Option<Within>,
    overhead: Vec<Component>,
    assumed: Vec<String>,
}

impl Answer {
    /// The plan of `input`, and what fits into `budget` bytes.
    pub fn new(input: &PlanInput, budget: Option<u64>, assumed: Vec<String>) -> Answer {
        let of = |budget| Within { budget, fitting: fitting(input, budget), longest: input.longest_within(budget) };
        let tokens = input.documents.tokens;
        Answer { plan: input.plan(), tokens, within: budget.map(of), overhead: input.overhead(), assumed }
    }
}

fn fitting(input: &PlanInput, budget: u64) -> Fitting {
    // As it is, and packed: the tables stay.
    let beside = input.frozen_bytes.saturating_sub(input.frozen.linears(&input.decoder));
    let of = |(name, frozen): (&'static str, Frozen)| {
        let frozen_bytes = beside + frozen.linears(&input.decoder);
        let of = |kept| PlanInput { frozen, frozen_bytes, kept, ..input.clone() }.tokens_within(budget);
        (name, KEPT.map(|(_, kept)| of(kept)))
    };
    let now = match input.frozen {
        Frozen::F32 => Some(("f32", Frozen::F32)),
        Frozen::Bf16 => Some(("bf16", Frozen::Bf16)),
        Frozen::Int8 | Frozen::Nf4 => None,
    };
    now.into_iter().chain([("int8", Frozen::Int8), ("nf4", Frozen::Nf4)]).map(of).collect()
}

/// Prints it as tables or as one JSON object.
pub fn show(answer: &Answer, as_json: bool) -> Result<()> {
    if as_json { say(json(answer)) } else { print(answer) }
}

fn json(answer: &Answer) -> serde_json::Value {
    let parts = |all: &[Component]| -> Vec<serde_json::Value> {
        all.iter().map(|c| serde_json::json!({"name": c.name, "bytes": c.bytes})).collect()
    };
    let plan = &answer.plan;
    let mut report = serde_json::json!({
        "total_bytes": plan.total, "tensor_bytes": plan.tensors, "components": parts(&plan.components),
        "overhead_at_most": parts(&answer.overhead), "trained_numbers": plan.trained,
        "cache_bytes_per_token": plan.cache_per_token, "assumed": answer.assumed,
    });
    if let Some(within) = &answer.within {
        report["budget_bytes"] = within.budget.into();
        report["fits"] = (plan.total <= within.budget).into();
        report["longest_document_that_fits"] = within.longest.into();
        let of = |(name, most): &(&str, [usize; 3])| {
            let most: serde_json::Map<String, serde_json::Value> =
                KEPT.iter().zip(most).map(|((kept, _), &n)| (kept.to_string(), n.into())).collect();
            (name.to_string(), most.into())
        };
        report["tokens_that_fit"] = within.fitting.iter().map(of).collect::<serde_json::Map<_, _>>().into();
    }
    report
}

fn print(answer: &Answer) -> Result<()> {
    let plan = &answer.plan;
    for assumed in &answer.assumed {
        say(format_args!("of {assumed}"))?;
    }
    say(plan.table())?;
    say(format_args!(
        "{} numbers are trained; a generation keeps {} bytes per token",
        plan.trained, plan.cache_per_token
    ))?;
    say("\nBeside it in the memory of the process on the host, at most:")?;
    answer.overhead.iter().try_for_each(|c| say(line(c.name, c.bytes)))?;
    let Some(Within { budget, fitting, longest }) = &answer.within else { return Ok(()) };
    let verdict = if plan.total <= *budget { "fits into" } else { "does NOT fit into" };
    say(format_args!("\nThis {verdict} {:.3} GiB. Tokens of the largest micro-batch, by what is kept:", gib(*budget)))?;
    say(format_args!("{:<16}{:>12}{:>12}{:>12}", "frozen weights", KEPT[0].0, KEPT[1].0, KEPT[2].0))?;
    for (name, [products, attention, input]) in fitting {
        say(format_args!("{name:<16}{products:>12}{attention:>12}{input:>12}"))?;
    }
    say(format_args!("in documents of {} tokens; alone the longest that fits as it is has {longest}", answer.tokens))
}
