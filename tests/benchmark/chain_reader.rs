//! A reader of chains of thought: it sees a chain, the question and the options, not the scene, and takes the option whose
//! words and numbers the chain bears out best.

/// Words and numbers of a text, in lower case; numbers keep their sign, units are dropped.
fn tokens(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '.' || c == '\'';
    let pieces = text.split(|c: char| !is_part(c)).map(|p| p.trim_matches(|c| c == '.' || c == '\''));
    pieces.filter(|p| !p.is_empty() && *p != "-").map(str::to_lowercase).collect()
}

fn number(token: &str) -> Option<f64> {
    token.parse().ok()
}

/// Whether a chain's number may be an option's, rounded: to whole degrees, or to tenths of what is small.
fn is_rounded(said: f64, exact: f64) -> bool {
    (said - exact).abs() <= 0.051 || exact.abs() > 3.0 && said.fract() == 0.0 && (said - exact).abs() <= 0.51
}

/// How much of what is the option's own stands in the chain: pairs of neighbouring words and numbers, the last ones twice
/// as much, for a chain concludes at its end.
fn support(chain: &[String], option: &[String], others: &[&Vec<String>]) -> f64 {
    let has = |from: &[String], token: &String| match number(token) {
        Some(exact) => from.iter().filter_map(|t| number(t)).any(|said| is_rounded(said, exact)),
        None => from.contains(token),
    };
    let end = &chain[chain.len().saturating_sub(option.len() + 4)..];
    let mut sum = 0.0;
    for (i, token) in option.iter().enumerate() {
        let shared = others.iter().filter(|other| other.contains(token)).count() as f64;
        let weight = 1.0 / (1.0 + shared);
        sum += weight * (f64::from(u8::from(has(chain, token))) + f64::from(u8::from(has(end, token))));
        // Two words side by side, in this order.
        if let Some(next) = option.get(i + 1) {
            let pair = chain.windows(2).any(|w| w[0] == *token && w[1] == *next);
            let shared = others.iter().filter(|o| o.windows(2).any(|w| w[0] == *token && w[1] == *next)).count() as f64;
            sum += f64::from(u8::from(pair)) / (1.0 + shared);
        }
    }
    sum / option.len().max(1) as f64
}

/// The option that a chain bears out best, the first of equals.
pub fn choice(chain: &str, options: &[String; 4]) -> usize {
    let (chain, options) = (tokens(chain), options.each_ref().map(|o| tokens(o)));
    // What a chain ends in is its conclusion.
    let ends: Vec<usize> = (0..4).filter(|&i| chain.ends_with(&options[i])).collect();
    if let [only] = ends[..] {
        return only;
    }
    let scores: Vec<f64> = (0..4)
        .map(|i| {
            let others: Vec<&Vec<String>> = (0..4).filter(|j| *j != i).map(|j| &options[j]).collect();
            support(&chain, &options[i], &others)
        })
        .collect();
    (0..4).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

/// A text without names, numbers and quotations: two texts with the same form have the same wording.
pub fn form(text: &str, labels: &[String]) -> String {
    let mut text = text.to_lowercase();
    while let (Some(from), Some(to)) = (text.find('"'), text.rfind('"')) {
        if from == to {
            break;
        }
        text.replace_range(from..=to, "~");
    }
    let mut names: Vec<&String> = labels.iter().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in names {
        text = text.replace(&format!("the {name}"), "the x");
    }
    let directions = ["front-left", "front-right", "rear-left", "rear-right", "front", "rear", "left", "right", "back"];
    for word in directions {
        text = text.replace(word, "way");
    }
    text.chars()
        .map(|c| if c.is_ascii_digit() { '#' } else { c })
        .collect::<String>()
        .replace("##", "#")
        .replace("##", "#")
}
