//! Audio files as other programs write them, and as nobody should: decoded right, or refused by name.
//!
//! The files in `tests/golden/audio` were made by libsndfile (`tools/golden/audio.py`).

use std::path::{Path, PathBuf};
use twnm::audio::foa::{Convention, angle_between_deg, from_ambix, gains, unit_vector};
use twnm::audio::{Audio, decode, read_foa, resample, wav};
use twnm::error::Kind;
use twnm::rng::Rng;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audio").join(name)
}

/// Sample (t, c) of the exact golden files.
fn ramp(t: usize, c: usize) -> f32 {
    ((7919 * t + 104_729 * c) % 65_536) as f32 / 32_768.0 - 1.0
}

#[test]
fn lossless_files_of_libsndfile_are_read_exactly() {
    for name in ["ramp.flac", "ramp.rf64.wav", "ramp.wavex.wav", "ramp.double.wav"] {
        let audio = decode::read(&golden(name)).unwrap();
        assert_eq!((audio.channels, audio.frames(), audio.sample_rate), (4, 480, 48_000), "{name}");
        for c in 0..4 {
            for (t, x) in audio.channel(c).iter().enumerate() {
                assert_eq!(*x, ramp(t, c), "{name}: frame {t}, channel {c}");
            }
        }
    }
}

/// Error relative to the signal, in dB, at the best shift of at most `shift` frames.
fn error_db(ours: &[f32], theirs: &[f32], shift: usize) -> (f64, isize) {
    let mut best = (f64::INFINITY, 0);
    for lag in -(shift as isize)..=shift as isize {
        let (mut error, mut signal) = (0.0f64, 1e-12f64);
        for (t, y) in theirs.iter().enumerate() {
            let x = usize::try_from(t as isize + lag).ok().and_then(|i| ours.get(i)).copied().unwrap_or(0.0);
            error += f64::from(x - y).powi(2);
            signal += f64::from(*y).powi(2);
        }
        let db = 10.0 * (error / signal).log10();
        if db < best.0 {
            best = (db, lag);
        }
    }
    best
}

#[test]
fn lossy_files_decode_as_by_libsndfile() {
    for (name, channels, rate) in [("sweep.ogg", 1, 22_050), ("sweep.mp3", 2, 44_100)] {
        let ours = decode::read(&golden(name)).unwrap();
        let theirs = decode::read(&golden(&format!("{name}.decoded.wav"))).unwrap();
        assert_eq!((ours.channels, ours.sample_rate), (channels, rate));
        assert_eq!(ours.frames(), theirs.frames(), "{name}");
        for c in 0..channels {
            let (db, lag) = error_db(ours.channel(c), theirs.channel(c), 3);
            assert!(db < -70.0 && lag == 0, "{name} channel {c}: {db:.1} dB at a shift of {lag}");
        }
    }
}

/// A noise source in AmbiX at 16 kHz.
fn scene(azimuth_deg: f64, elevation_deg: f64) -> Audio {
    let mut rng = Rng::new(4, "hostile scene", 0);
    let noise: Vec<f64> = (0..16_000).map(|_| 0.2 * rng.normal()).collect();
    let gains = gains(unit_vector(azimuth_deg, elevation_deg));
    let samples = gains.iter().flat_map(|g| noise.iter().map(move |x| (g * x) as f32)).collect();
    Audio { sample_rate: 16_000, channels: 4, samples }
}

/// Direction of the mean intensity Re(W * (X, Y, Z)).
fn direction(ambix: &Audio) -> [f64; 3] {
    let with = |c: usize| -> f64 {
        ambix.channel(0).iter().zip(ambix.channel(c)).map(|(w, d)| f64::from(*w) * f64::from(*d)).sum()
    };
    [with(3), with(1), with(2)]
}

#[test]
fn a_scene_is_the_same_through_every_convention_rate_and_format() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let original = scene(-115.0, 30.0);
    let expected = unit_vector(-115.0, 30.0);
    let wide = resample::resample(&original, 48_000).unwrap();
    wav::write(&at("plain.wav"), &original, wav::Format::F32).unwrap();
    wav::write(&at("wide.wav"), &wide, wav::Format::Pcm24).unwrap();
    wav::write_amb(&at("wide.amb"), &wide, wav::Format::Pcm16).unwrap();
    wav::write_amb(&at("renamed.wav"), &wide, wav::Format::F32).unwrap();
    for convention in [Convention::Fuma, Convention::Wxyz] {
        let mut other = wide.clone();
        from_ambix(&mut other, convention);
        wav::write(&at(&format!("{convention}.wav")), &other, wav::Format::F64).unwrap();
    }
    let mut third_order = wide.clone();
    third_order.channels = 16;
    third_order.samples.resize(4 * wide.samples.len(), 0.0);
    wav::write(&at("third.wav"), &third_order, wav::Format::F32).unwrap();
    for (name, convention) in [
        ("plain.wav", None),
        ("wide.wav", Some(Convention::Ambix)),
        ("wide.amb", None),
        ("renamed.wav", None),
        ("fuma.wav", Some(Convention::Fuma)),
        ("wxyz.wav", Some(Convention::Wxyz)),
        ("third.wav", None),
    ] {
        let read = read_foa(&at(name), convention).unwrap();
        assert_eq!((read.channels, read.sample_rate, read.frames()), (4, 16_000, 16_000), "{name}");
        assert!(angle_between_deg(direction(&read), expected) < 0.1, "{name}");
        for c in 0..4 {
            let (db, lag) = error_db(&read.channel(c)[500..15_500], &original.channel(c)[500..15_500], 2);
            assert_eq!(lag, 0, "{name}");
            // White noise up to 8 kHz loses the octave's last few percent twice in the 48 kHz versions.
            assert!(db < -12.0, "{name} channel {c}: {db:.1} dB");
        }
    }
    // The same samples under a wrong convention are another direction: the flag does something.
    let swapped = read_foa(&at("wide.wav"), Some(Convention::Fuma)).unwrap();
    assert!(angle_between_deg(direction(&swapped), expected) > 20.0);
    wav::write(&at("stereo.wav"), &Audio::silence(16_000, 2, 10), wav::Format::F32).unwrap();
    let stereo = read_foa(&at("stereo.wav"), None).unwrap_err();
    assert!(stereo.kind() == Kind::Data && stereo.to_string().contains("channels is 2"), "{stereo}");
}

#[test]
fn what_is_no_recording_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("take 1.wav");
    for (content, expected) in [
        (&b""[..], "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>404", "download failed"),
        (b"PK\x03\x04\x14\0\0\0\x08\0", "zip"),
        (b"\x80\x02ctorch._utils", "pickle"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "truncated"),
        (b"OggS", "take 1.wav"),
        (b"fLaC\0\0\0\x22", "take 1.wav"),
        (b"ID3\x04\0\0\x7f\x7f\x7f\x7f", "take 1.wav"),
        (b"\xff\xfb\x90\x64", "take 1.wav"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = decode::read(&path).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), Kind::Data, "{text}");
        assert!(text.contains(expected) && text.contains("take 1.wav"), "expected `{expected}` in: {text}");
    }
    for (name, hint) in [("ramp.w64", "Wave64"), ("ramp.aiff", "AIFF")] {
        assert!(decode::read(&golden(name)).unwrap_err().to_string().contains(hint));
    }
    assert_eq!(decode::read(&folder.path().join("none.wav")).unwrap_err().kind(), Kind::Missing);
    assert_eq!(decode::read(folder.path()).unwrap_err().kind(), Kind::Data);
}

#[cfg(unix)]
#[test]
fn a_pipe_does_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.wav");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|s| s.success()), "mkfifo is part of every unix");
    assert_eq!(decode::read(&path).unwrap_err().kind(), Kind::Data);
}

#[test]
fn a_sparse_file_with_an_honest_header_is_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    wav::write(&path, &Audio::silence(768_000, 16, 4), wav::Format::Pcm16).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 4 * 32 - 4;
    bytes[at..at + 4].copy_from_slice(&0xF000_0000u32.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0xF000_1000).unwrap();
    let error = decode::read(&path).unwrap_err().to_string();
    assert!(error.contains("frames of 16 channels"), "{error}");
}

/// Makes the checksums of Ogg pages right again, so that damage reaches the Vorbis decoder behind them.
fn fix_ogg_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while at + 27 <= bytes.len() && bytes[at..].starts_with(b"OggS") {
        let body_at = at + 27 + bytes[at + 26] as usize;
        let Some(lacing) = bytes.get(at + 27..body_at) else { return };
        let end = body_at + lacing.iter().map(|&n| n as usize).sum::<usize>();
        let Some(page) = bytes.get_mut(at..end) else { return };
        page[22..26].fill(0);
        let mut crc = 0u32;
        for byte in page.iter() {
            crc ^= u32::from(*byte) << 24;
            for _ in 0..8 {
                crc = if crc >> 31 == 1 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 };
            }
        }
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
}

/// Damaged Ogg, FLAC and MP3 files: decoded or refused, never a panic that escapes, never absurd output.
#[test]
fn mutated_compressed_files_are_decoded_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutated.bin");
    let mut rng = Rng::new(21, "mutate compressed", 0);
    for name in ["sweep.ogg", "ramp.flac", "sweep.mp3"] {
        let original = std::fs::read(golden(name)).unwrap();
        let (mut accepted, mut refused) = (0, 0);
        for _ in 0..500 {
            let mut bytes = original.clone();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len());
                match rng.below(4) {
                    0 => bytes[at] = rng.next_u32() as u8,
                    1 => bytes[at.min(200)] ^= 1 << rng.below(8),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let copy = bytes[at..bytes.len().min(at + 64)].to_vec();
                        bytes.splice(at..at, copy);
                    }
                }
            }
            fix_ogg_checksums(&mut bytes);
            std::fs::write(&path, &bytes).unwrap();
            match decode::read(&path) {
                Ok(audio) => {
                    accepted += 1;
                    assert!((1..=16).contains(&audio.channels) && audio.frames() > 0);
                    assert!(audio.samples.iter().all(|x| x.is_finite()));
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.kind(), Kind::Data, "{error}");
                    assert!(error.to_string().contains("mutated.bin"), "{error}");
                }
            }
        }
        assert!(accepted > 0 && refused > 0, "{name}: {accepted} decoded, {refused} refused");
    }
}
