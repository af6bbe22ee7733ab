//! Quotas, shares of kinds, scenes that are asked about once, and that every key is the only truth.

use super::super::facts::Facts;
use super::super::task::quotas;
use super::super::verdict::Verdict;
use super::*;
use crate::sim::config::SceneConfig;
use crate::sim::render::drawn_truth;
use crate::sim::scene::{SceneSampler, SceneSource};
use crate::sources::{Domain, Sources, Split};
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Scenes as `twnm simulate` draws them, half of them from scripts, equally loud, with a word for every speaker.
pub(in crate::benchmark) fn scenes(n: u64) -> Vec<Facts> {
    let sources = Sources::procedural(1);
    let config = SceneConfig { scripts_share: 0.5, ..SceneConfig::default() };
    let sampler = SceneSampler::new(&config, &sources, Split::All, 5).unwrap();
    let facts = |index| {
        let scene = sampler.scene(index).unwrap();
        let steps = |source: &SceneSource| {
            let [from, to] = source.window.unwrap_or([0, scene.frames]);
            (0..50).map(|k| u8::from((from..to).contains(&(1600 * k + 800)))).collect()
        };
        let mut truth = drawn_truth(&scene, &sources, &scene.sources.iter().map(steps).collect::<Vec<_>>());
        let level_db = Some(-10.0 * (scene.sources.len() as f64).log10());
        for track in &mut truth.sources {
            let words = ["nine", "seven", "please close the door", "good morning", "two"];
            let said = (track.domain == Domain::Speech).then(|| words[index as usize % 5].to_string());
            (track.transcript, track.level_db) = (said, level_db);
        }
        truth.snr_db = Some(30.0);
        let room = truth.room.as_mut().unwrap();
        room.t20_s = Some(1.2 * scene.rt60_s);
        room.t20_octaves_s = [500, 1000, 2000].map(|hz| (hz, 1.2 * scene.rt60_s)).into();
        Facts::new(truth)
    };
    (0..n).filter_map(|index| facts(index).ok()).collect()
}

#[test]
fn every_task_has_its_share_and_every_key_is_the_only_truth() {
    let pool = Pool::new(scenes(700));
    let settings = Settings { questions: 2000, seed: 3, ..Settings::default() };
    let made = generate(&pool, settings).unwrap();
    assert!(made.filled.is_empty(), "{:?}", made.filled);
    let again = generate(&pool, settings).unwrap();
    assert_eq!(made.rows, again.rows);
    let mut counts = BTreeMap::<(Task, Letter), usize>::new();
    for row in &made.rows {
        let facts = &pool.scenes[row.scene];
        let verdicts = row.derivation.claims.each_ref().map(|c| c.verdict(facts));
        let letter = row.question.answer_letter.unwrap();
        for (l, v) in Letter::ALL.into_iter().zip(verdicts) {
            assert_eq!(v, if l == letter { Verdict::True } else { Verdict::False }, "{row:?}");
        }
        assert_eq!(row.question.options()[letter.index()], row.question.answer_text.as_deref().unwrap());
        let reasoning = row.derivation.reasoning.as_str();
        assert!((40..=400).contains(&reasoning.chars().count()), "{reasoning}");
        for described in ["text", "description", "prompt", "RTSD", "metadata"] {
            assert!(!reasoning.contains(described), "{reasoning}");
        }
        *counts.entry((row.derivation.task, letter)).or_default() += 1;
    }
    for (task, n) in quotas(2000) {
        for letter in Letter::ALL {
            assert!(counts[&(task, letter)].abs_diff(n / 4) <= 1, "{task:?} {letter}");
        }
    }
    let ids: BTreeSet<&str> = made.rows.iter().map(|r| r.question.sample_id.as_str()).collect();
    assert_eq!((ids.len(), ids.first().unwrap().len()), (2000, 3));
}

#[test]
fn what_a_task_lacks_its_level_gives_and_nothing_is_repeated() {
    let silenced = |scene: Facts| scene.changed(|truth| truth.sources.iter_mut().for_each(|s| s.transcript = None));
    let pool = Pool::new(scenes(60).into_iter().map(silenced).collect());
    let made =
        generate(&pool, Settings { questions: 360, seed: 3, signed_azimuth: true, ..Settings::default() }).unwrap();
    let transcripts = made.filled.iter().find(|(t, ..)| *t == Task::IdentifySpeechTranscript).unwrap();
    assert!(transcripts.1 > 0 && transcripts.2 == 0);
    let of_level = |l| made.rows.iter().filter(|r| r.question.level == l).count();
    assert_eq!((1..=3).map(of_level).collect::<Vec<_>>(), [139, 100, 121]);
    let open = Settings { questions: 100, seed: 3, open: true, ..Settings::default() };
    assert!(generate(&pool, open).unwrap().rows.iter().all(|r| r.derivation.open.is_some()));
    let too_many = Settings { questions: 100_000, seed: 3, signed_azimuth: true, ..Settings::default() };
    assert!(generate(&Pool::new(scenes(2)), too_many).unwrap_err().to_string().contains("too few"));
    assert!(generate(&Pool::new(vec![]), too_many).unwrap_err().to_string().contains("asked about"));
}
