//! Wordings with gaps: `{x}` stands for what is put in.

use crate::rng::Rng;

/// How often the first wording of a list is taken, in tenths: it is the paper's own (Table 5).
const FIRST_TENTHS: usize = 3;

/// A wording with its gaps filled. Panics for a gap that nothing fills.
#[track_caller]
pub fn fill(wording: &str, gaps: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(wording.len() + 40);
    let mut rest = wording;
    while let Some((before, after)) = rest.split_once('{') {
        let (gap, after) = after.split_once('}').expect("a gap ends");
        let (_, with) =
            gaps.iter().find(|(name, _)| *name == gap).unwrap_or_else(|| panic!("{wording}: what is {gap}?"));
        text.push_str(before);
        text.push_str(with);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// One of the wordings of a question, filled: the first, the paper's own, most often.
#[track_caller]
pub fn ask(rng: &mut Rng, wordings: &[&str], gaps: &[(&str, &str)]) -> String {
    let first = wordings.len() == 1 || rng.below(10) < FIRST_TENTHS;
    let at = if first { 0 } else { 1 + rng.below(wordings.len() - 1) };
    fill(wordings[at], gaps)
}

/// One of several wordings, each as likely, filled.
#[track_caller]
pub fn say(rng: &mut Rng, wordings: &[&str], gaps: &[(&str, &str)]) -> String {
    fill(wordings[rng.below(wordings.len())], gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_and_the_first_wording_is_the_most_frequent() {
        assert_eq!(
            fill("How far {is} the {x}, {x}?", &[("x", "rain {y}"), ("is", "is")]),
            "How far is the rain {y}, rain {y}?"
        );
        let mut rng = Rng::new(1, "wordings", 0);
        let asked: Vec<String> = (0..4000).map(|_| ask(&mut rng, &["a", "b", "c", "d", "e"], &[])).collect();
        let share = |w: &str| asked.iter().filter(|a| *a == w).count() as f64 / 4000.0;
        assert!((share("a") - 0.3).abs() < 0.03 && (share("d") - 0.175).abs() < 0.03);
    }

    #[test]
    #[should_panic(expected = "what is y?")]
    fn an_open_gap_is_a_mistake() {
        fill("{x} {y}", &[("x", "1")]);
    }
}
