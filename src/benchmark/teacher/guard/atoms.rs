//! Claims taken apart: what is asserted, and of which sound a text must say it.

use super::super::super::claims::Claim;
use super::super::super::facts::Facts;
use super::skeleton::mention;

/// A claim that is no combination of others, and the sound that it is about as texts name it.
#[derive(Clone, Debug)]
pub(super) struct Atom {
    pub subject: String,
    pub claim: Claim,
}

/// The parts of a claim; `None` when a part names a sound that another part is not about.
pub(super) fn atoms(claim: &Claim, facts: &Facts) -> Option<Vec<Atom>> {
    let mut out = Vec::new();
    collect(claim, facts, None, &mut out).then_some(out)
}

fn collect(claim: &Claim, facts: &Facts, absent: Option<&str>, out: &mut Vec<Atom>) -> bool {
    if let Claim::All { of } = claim {
        let label = of.iter().find_map(|part| if let Claim::Present { label } = part { Some(label) } else { None });
        let Some(label) = label else { return of.iter().all(|part| collect(part, facts, absent, out)) };
        // A name that the scene has must be that of the source that the rest is about.
        let own = match facts.called(label)[..] {
            [] => None,
            [only] => Some(only),
            _ => return false,
        };
        let rest = of.iter().filter(|part| !matches!(part, Claim::Present { .. }));
        let is_own = |part: &&Claim| own.is_none_or(|own| part.sources().first().is_none_or(|s| *s == own));
        return { rest.clone() }.all(|part| is_own(&part))
            && rest.count() + 1 == of.len()
            && of
                .iter()
                .filter(|part| !matches!(part, Claim::Present { .. }))
                .all(|part| collect(part, facts, if own.is_none() { Some(label.as_str()) } else { absent }, out));
    }
    if claim.sources().iter().any(|source| *source >= facts.count()) {
        return false;
    }
    let subject = match (absent, claim.sources().first()) {
        (Some(label), _) => mention(facts, label),
        (None, Some(source)) => mention(facts, &facts.labels[*source]),
        (None, None) => String::new(),
    };
    out.push(Atom { subject, claim: claim.clone() });
    true
}
