//! Patterns of skeletons: tokens in order, `x?` may be missing, `x/y` is one of two.

/// Whether all of some tokens are as a pattern says.
pub(super) fn is_like(tokens: &[String], pattern: &str) -> bool {
    ends(tokens, pattern, 0).contains(&tokens.len())
}

/// Whether all of some tokens are as one of some patterns says.
pub(super) fn is_any(tokens: &[String], patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| is_like(tokens, pattern))
}

/// Whether some tokens are some parts in any order; each part has its patterns.
pub(super) fn in_any_order(tokens: &[String], parts: &[Vec<String>]) -> bool {
    rest_in_any_order(tokens, 0, &parts.iter().collect::<Vec<_>>())
}

fn rest_in_any_order(tokens: &[String], at: usize, parts: &[&Vec<String>]) -> bool {
    if parts.is_empty() {
        return at == tokens.len();
    }
    (0..parts.len()).any(|i| {
        let mut rest = parts.to_vec();
        let part = rest.remove(i);
        part.iter().flat_map(|pattern| ends(tokens, pattern, at)).any(|end| rest_in_any_order(tokens, end, &rest))
    })
}

/// Where a pattern that begins at `at` may end.
fn ends(tokens: &[String], pattern: &str, at: usize) -> Vec<usize> {
    let mut ends = vec![at];
    for element in pattern.split(' ').filter(|e| !e.is_empty()) {
        let (words, optional) = element.strip_suffix('?').map_or((element, false), |words| (words, true));
        let fits = |end: &usize| tokens.get(*end).is_some_and(|token| words.split('/').any(|word| word == token));
        let mut next: Vec<usize> = ends.iter().filter(|end| fits(end)).map(|end| end + 1).collect();
        if optional {
            next.extend(&ends);
        }
        next.sort_unstable();
        next.dedup();
        ends = next;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_texts() {
        let of = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        for (pattern, fits, fails) in [
            ("a b? c", &["a c", "a b c"][..], &["a", "a b", "a c c", "b c"][..]),
            ("a/b c", &["a c", "b c"], &["a b c"]),
            ("x? x", &["x", "x x"], &["x x x"]),
        ] {
            assert!(fits.iter().all(|t| is_like(&of(t), pattern)) && !fails.iter().any(|t| is_like(&of(t), pattern)));
        }
        let parts = [vec!["a b".to_string()], vec!["c".into(), "d e?".into()]];
        for (text, expected) in [("a b c", true), ("d e a b", true), ("d a b", true), ("a c b", false), ("a b", false)]
        {
            assert_eq!(in_any_order(&of(text), &parts), expected, "{text}");
        }
    }
}
