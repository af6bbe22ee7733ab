//! What the names of recordings tell: groups that stay together in a split, speakers, spoken digits.

use super::Domain;

/// What stays together in a split: for speech the speaker and chapter (`198-209-0000` and LibriTTS'
/// `198_209_000001_000000` are `198-209`) or the speaker of `7_jackson_32`; for music the file; otherwise the
/// name up to a trailing take letter (`1-30226-A`, and ESC-50's `1-30226-A-0`, are `1-30226`).
pub fn group(domain: Domain, stem: &str) -> String {
    match domain {
        Domain::Speech => speaker_and_chapter(stem).unwrap_or_else(|| without_take(stem)),
        Domain::Music => stem.to_string(),
        Domain::Environment => without_take(stem),
    }
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit())
}

fn speaker_and_chapter(stem: &str) -> Option<String> {
    if let Some((_, speaker)) = spoken_digit(stem) {
        return Some(speaker.to_string());
    }
    let dashed: Vec<&str> = stem.split('-').collect();
    let joined: Vec<&str> = stem.split('_').collect();
    match (&dashed[..], &joined[..]) {
        ([speaker, chapter, n], _) | (_, [speaker, chapter, n, ..])
            if is_number(speaker) && is_number(chapter) && is_number(n) =>
        {
            Some(format!("{speaker}-{chapter}"))
        }
        _ => None,
    }
}

/// Digit and speaker of a name `<digit>_<speaker>_<n>`.
pub fn spoken_digit(stem: &str) -> Option<(usize, &str)> {
    let (digit, rest) = stem.split_once('_')?;
    let (speaker, n) = rest.rsplit_once('_')?;
    let digit = digit.parse().ok().filter(|d| *d < 10 && digit.len() == 1)?;
    (is_number(n) && !speaker.is_empty() && !is_number(speaker.split('_').next()?)).then_some((digit, speaker))
}

fn without_take(stem: &str) -> String {
    let is_take = |part: &str| part.len() == 1 && part.as_bytes()[0].is_ascii_uppercase();
    match stem.rsplit_once('-') {
        Some((name, take)) if is_take(take) && !name.is_empty() => name.to_string(),
        Some((rest, target)) if is_number(target) => match rest.rsplit_once('-') {
            Some((name, take)) if is_take(take) && !name.is_empty() => name.to_string(),
            _ => stem.to_string(),
        },
        _ => stem.to_string(),
    }
}
