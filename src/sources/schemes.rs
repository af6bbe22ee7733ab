//! Groups that the names of files tell: the naming schemes of public corpora.

use super::arrangement::is_arrangement;
use super::{Domain, file_names};
use regex::Regex;
use std::sync::LazyLock;

/// A naming scheme: where it may be met, and a pattern for the end of a path without extension whose first parenthesis
/// is the group.
struct Scheme {
    corpus: &'static str,
    domains: &'static [Domain],
    pattern: &'static str,
}

const ANY: &[Domain] = &Domain::ALL;
const ENVIRONMENT: &[Domain] = &[Domain::Environment];
const SPEECH: &[Domain] = &[Domain::Speech];
const MUSIC: &[Domain] = &[Domain::Music];

/// The first scheme that fits counts. Every pattern begins at a folder or file name.
const SCHEMES: &[Scheme] = &[
    Scheme { corpus: "Speech Commands", domains: ANY, pattern: r"([0-9a-f]{8})_nohash_\d+" },
    Scheme { corpus: "UrbanSound8K", domains: ANY, pattern: r"(\d+)-\d-\d+-\d+" },
    Scheme {
        corpus: "TAU acoustic scenes",
        domains: ENVIRONMENT,
        pattern: r"([a-z_]+-[a-z]+-\d+)(?:-\d+)+-(?:[a-d]|s\d)",
    },
    Scheme { corpus: "TUT acoustic scenes", domains: ENVIRONMENT, pattern: r"([a-z]\d{3})_\d+_\d+" },
    Scheme { corpus: "DEMAND", domains: ENVIRONMENT, pattern: r"([A-Z]{3,}[^/]*)/ch\d{2}" },
    Scheme { corpus: "AudioSet, DESED", domains: ANY, pattern: r"(Y?[\w-]{11})_\d+\.\d+_\d+\.\d+" },
    Scheme { corpus: "VCTK", domains: ANY, pattern: r"(p\d{3}|s5)_\d{3}(?:_mic\d+)?" },
    Scheme { corpus: "VoxCeleb", domains: ANY, pattern: r"(id\d{5})(?:/[^/]+/|-[\w-]{11}-|_)[^/]+" },
    Scheme { corpus: "TIMIT", domains: ANY, pattern: r"(?i:DR[1-8][/_-]([FM][A-Z]{3}\d)[/_-]S[AIX]\d+(?:\.WAV)?)" },
    Scheme { corpus: "AISHELL", domains: SPEECH, pattern: r"BAC009(S\d{4})W\d{4}" },
    Scheme { corpus: "AISHELL-3", domains: SPEECH, pattern: r"(SSB\d{4})\d{4}" },
    Scheme { corpus: "LJSpeech", domains: ANY, pattern: r"(LJ\d{3})-\d{4}" },
    Scheme { corpus: "RAVDESS", domains: ANY, pattern: r"(?:\d\d-){6}(\d\d)" },
    Scheme { corpus: "CREMA-D", domains: ANY, pattern: r"(1\d{3})_[A-Z]{3}_[A-Z]{3}_[A-Z]{1,2}" },
    Scheme { corpus: "AMI", domains: SPEECH, pattern: r"((?:ES|IS|TS|EN|IB|IN)\d{4})[a-d]\.[^/]*" },
    Scheme { corpus: "CMU ARCTIC", domains: SPEECH, pattern: r"(cmu_us_[a-z]+)_arctic(?:/[^/]+)+" },
    Scheme { corpus: "JVS, EARS", domains: SPEECH, pattern: r"(jvs\d{3}|p\d{3})(?:/[^/]+)+" },
    Scheme {
        corpus: "NSynth",
        domains: ANY,
        pattern: r"([a-z_]+_(?:acoustic|electronic|synthetic)_\d{3})-\d{3}-\d{3}",
    },
    Scheme {
        corpus: "MAESTRO",
        domains: ANY,
        pattern: r"((?i:MIDI-Unprocessed|ORIG-MIDI)_[^/]+?_(?i:MID))--(?i:AUDIO)[^/]*",
    },
    Scheme { corpus: "Slakh", domains: MUSIC, pattern: r"(Track\d{5})(?:/[^/]+)+" },
    Scheme { corpus: "MedleyDB", domains: MUSIC, pattern: r"([^/]+)_(?:MIX|STEM_\d+|RAW_\d+_\d+)" },
    Scheme { corpus: "MoisesDB", domains: MUSIC, pattern: r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/[^/]+)+" },
    Scheme {
        corpus: "MUSDB, DSD100",
        domains: MUSIC,
        pattern: r"([^/]+)/(?:mixture|linear_mixture|mix|bass|drums|other|vocals|accompaniment|instrumental)",
    },
];

/// One microphone or channel of several that heard the same: `door_mic2`, `take3.CH1`.
static CHANNEL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(.+?)[._-](?i:mic|ch|channel)[._-]?\d+$").expect("a pattern of this program"));

static COMPILED: LazyLock<Vec<(&'static Scheme, Regex)>> = LazyLock::new(|| {
    let compiled = |scheme: &'static Scheme| {
        let pattern = format!("(?:^|/)(?:{})$", scheme.pattern);
        (scheme, Regex::new(&pattern).unwrap_or_else(|e| panic!("{}: {e}", scheme.corpus)))
    };
    SCHEMES.iter().map(compiled).collect()
});

/// How the group of a recording is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// Not at all: the file is its own group.
    No,
    /// Within its class: takes of one sound.
    InClass,
    /// A speaker, a recording, a session: the same in another class.
    Everywhere,
    /// One chapter `speaker-chapter` of a speaker whose other chapters are on the same side.
    Chapter,
}

/// What a name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The group.
    pub group: String,
    /// What it means; never [`Known::No`].
    pub known: Known,
}

/// The group of a file by a naming scheme; `parts` are the names of its folders and its own without extension.
/// `None`: nothing is known by its name.
pub fn named(domain: Domain, parts: &[String]) -> Option<Named> {
    let path = parts.join("/");
    let by_scheme = COMPILED.iter().filter(|(scheme, _)| scheme.domains.contains(&domain)).find_map(|(_, regex)| {
        let group = regex.captures(&path)?.get(1)?.as_str();
        // Stems below `train/` are not all of one song.
        (!is_arrangement(group)).then(|| Named { group: group.into(), known: Known::Everywhere })
    });
    by_scheme.or_else(|| by_old_names(domain, parts)).or_else(|| by_repeated_name(domain, parts))
}

/// The rules of the first version: LibriSpeech, LibriTTS, FSDD, and take letters (ESC-50).
fn by_old_names(domain: Domain, parts: &[String]) -> Option<Named> {
    let stem = parts.last()?;
    let group = file_names::group(domain, stem);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let numbered = group.split('-').count() == 2 && group.split('-').all(is_number);
    // `1-30226-A` and its like are numbered recordings of Freesound; `door-A` may be another door elsewhere.
    let known = match domain {
        Domain::Speech if numbered => Known::Chapter,
        Domain::Environment if !numbered => Known::InClass,
        _ => Known::Everywhere,
    };
    (group != *stem).then_some(Named { group, known })
}

/// Speech whose names hold their folder's (WSJ: `011/011c0201`): the folder is the speaker; and channels of one sound.
fn by_repeated_name(domain: Domain, parts: &[String]) -> Option<Named> {
    let (stem, folder) = (parts.last()?, parts.len().checked_sub(2).map(|i| &parts[i]));
    let speaker = folder.filter(|f| {
        let is_code = f.len() >= 3 && f.bytes().any(|b| b.is_ascii_digit()) && !is_arrangement(f);
        domain == Domain::Speech && is_code && stem.len() > f.len() && stem.to_lowercase().contains(&f.to_lowercase())
    });
    if let Some(folder) = speaker {
        return Some(Named { group: folder.clone(), known: Known::Everywhere });
    }
    let base = CHANNEL.captures(stem)?.get(1)?.as_str().to_string();
    Some(Named { group: base, known: Known::InClass })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Domain::*;

    fn group(domain: Domain, path: &str) -> Option<String> {
        let parts: Vec<String> = path.split('/').map(String::from).collect();
        named(domain, &parts).map(|n| n.group)
    }

    /// Names as the corpora have them, with the speaker, recording or session that their documentation says.
    #[test]
    fn public_corpora_are_known_by_their_names() {
        for (domain, path, expected) in [
            (Speech, "wav48_silence_trimmed/p225/p225_001_mic1", "p225"),
            (Speech, "wav48_silence_trimmed/p225/p225_366_mic2", "p225"),
            (Environment, "s5/s5_010_mic1", "s5"),
            (Environment, "audio/fold5/100032-3-0-0", "100032"),
            (Environment, "344-3-5-0", "344"),
            (Environment, "audio/airport-barcelona-0-0-a", "airport-barcelona-0"),
            (Environment, "audio/metro_station-london-1204-45210-s3", "metro_station-london-1204"),
            (Environment, "audio/airport-lisbon-1000-40000-0-a", "airport-lisbon-1000"),
            (Environment, "audio/b020_90_100", "b020"),
            (Environment, "audio/1-100032-A-0", "1-100032"),
            (Environment, "DKITCHEN/ch01", "DKITCHEN"),
            (Environment, "weak/YNR1m7XnHHw8_210.000_220.000", "YNR1m7XnHHw8"),
            (Environment, "Speech/Y00pbt6aJV8Y_350.000_360.000", "Y00pbt6aJV8Y"),
            (Environment, "bird/00f0204f_nohash_3", "00f0204f"),
            (Music, "test/Al James - Schoolboy Facination/mixture", "Al James - Schoolboy Facination"),
            (Music, "Sources/Dev/051 - AM Contra - Heart Peripheral/bass", "051 - AM Contra - Heart Peripheral"),
            (
                Music,
                "2004/MIDI-Unprocessed_SMF_02_R1_2004_01-05_ORIG_MID--AUDIO_02_R1_2004_05_Track05_wav",
                "MIDI-Unprocessed_SMF_02_R1_2004_01-05_ORIG_MID",
            ),
            (
                Music,
                "2015/MIDI-Unprocessed_R1_D1-1-8_mid--AUDIO-from_mp3_05_R1_2015_wav--4",
                "MIDI-Unprocessed_R1_D1-1-8_mid",
            ),
            (Music, "2013/ORIG-MIDI_01_7_6_13_Group__MID--AUDIO_02_R1_2013_wav--2", "ORIG-MIDI_01_7_6_13_Group__MID"),
            (Music, "audio/bass_synthetic_033-022-050", "bass_synthetic_033"),
            (Music, "audio/brass_acoustic_006-055-127", "brass_acoustic_006"),
            (Music, "train/Track00001/stems/S00", "Track00001"),
            (Music, "AClassicEducation_NightOwl/AClassicEducation_NightOwl_MIX", "AClassicEducation_NightOwl"),
            (Music, "a/AClassicEducation_NightOwl_STEM_01", "AClassicEducation_NightOwl"),
            (Speech, "train-clean-100/19/198/19-198-0001", "19-198"),
            (Speech, "train-clean-100/84/121123/84_121123_000007_000001", "84-121123"),
            (Speech, "10010/10283/10010_10283_000001", "10010-10283"),
            (Speech, "recordings/7_jackson_32", "jackson"),
            (Speech, "wav/id10270/5r0dWxy17C8/00001", "id10270"),
            (Speech, "dev/aac/id00012/21Uxsk56VDQ/00001", "id00012"),
            (Speech, "TRAIN/DR1/FCJF0/SA1", "FCJF0"),
            (Speech, "test/dr8/mslb0/sx383.WAV", "mslb0"),
            (Speech, "wsj0/si_tr_s/011/011c0201", "011"),
            (Speech, "wav/train/S0002/BAC009S0002W0122", "S0002"),
            (Speech, "train/wav/SSB0005/SSB00050001", "SSB0005"),
            (Speech, "wavs/LJ001-0001", "LJ001"),
            (Speech, "Actor_12/03-01-05-02-01-01-12", "12"),
            (Speech, "AudioWAV/1001_DFA_ANG_XX", "1001"),
            (Speech, "AudioWAV/1040_ITH_SAD_X", "1040"),
            (Speech, "ES2002a/audio/ES2002a.Headset-0", "ES2002"),
            (Speech, "cmu_us_bdl_arctic/wav/arctic_a0001", "cmu_us_bdl"),
            (Speech, "jvs001/parallel100/wav24kHz16bit/VOICEACTRESS100_001", "jvs001"),
            (Environment, "door/slam3_mic2", "slam3"),
            (Environment, "kitchen/take7.CH4", "take7"),
        ] {
            assert_eq!(group(domain, path).as_deref(), Some(expected), "{path}");
        }
    }

    /// Every file of these is a recording of its own, or nothing is known: GTZAN's excerpts, MUSAN, FSD50K, FMA, Clotho.
    #[test]
    fn other_names_tell_nothing() {
        for (domain, path) in [
            (Music, "genres_original/blues/blues.00000"),
            (Music, "music/fma/music-fma-0000"),
            (Environment, "noise/free-sound/noise-free-sound-0000"),
            (Speech, "speech/librivox/speech-librivox-0000"),
            (Environment, "FSD50K.dev_audio/63"),
            (Music, "fma_small/000/000002"),
            (Environment, "development/Distorted AM Radio noise"),
            (Speech, "clips/common_voice_en_41911"),
            (Environment, "door/door-2"),
            (Environment, "rain/2024-05-01"),
            (Music, "train/mixture"),
            (Music, "other"),
            (Speech, "podcasts/podcasts1"),
        ] {
            assert_eq!(group(domain, path), None, "{path}");
        }
    }
}
