//! Files that are more than one recording, or longer than their header knows; recordings of which a stretch is wanted.

use crate::flac::{self, Flac};
use std::path::Path;
use twnm::audio::foa::Convention;
use twnm::audio::{Audio, Stretch, decode, read_foa, read_foa_stretch, wav};
use twnm::error::Kind;
use twnm::rng::Rng;

fn noise(sample_rate: u32, channels: usize, frames: usize) -> Audio {
    let mut rng = Rng::new(8, "joined", frames as u64);
    let samples = (0..channels * frames).map(|_| rng.range(-0.5, 0.5) as f32).collect();
    Audio { sample_rate, channels, samples }
}

fn wav_bytes(audio: &Audio, format: wav::Format) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    wav::write(&folder.path().join("x.wav"), audio, format).unwrap();
    std::fs::read(folder.path().join("x.wav")).unwrap()
}

fn integers(audio: &Audio) -> Vec<Vec<i16>> {
    (0..audio.channels).map(|c| audio.channel(c).iter().map(|x| (x * 32768.0).round() as i16).collect()).collect()
}

#[track_caller]
fn refused(path: &Path, parts: &[&str]) {
    let error = decode::read(path).unwrap_err();
    for part in parts {
        assert!(error.kind() == Kind::Data && error.to_string().contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn joined_files_are_refused_and_metadata_behind_a_recording_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("joined.wav");
    // An odd number of bytes, with its padding and without it.
    let odd = wav_bytes(&noise(16_000, 1, 333), wav::Format::Pcm24);
    let even = wav_bytes(&noise(16_000, 1, 334), wav::Format::Pcm16);
    let chunk = |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_le_bytes()[..], body].concat();
    let recordings: [&[u8]; 5] = [&even, &odd, b"RF64\xff\xff\xff\xffWAVEds64", b"fLaC\0\0\0\x22", b"OggS\0\x02\0\0"];
    for first in [&even[..], &odd, &odd[..odd.len() - 1]] {
        for second in recordings {
            for between in [&[][..], &chunk(b"LIST", b"INFOISFT\x04\0\0\0abc\0"), &[0; 512]] {
                std::fs::write(&path, [first, between, second].concat()).unwrap();
                if between.len() == 512 && !second.starts_with(b"R") {
                    continue;
                }
                refused(&path, &["joined.wav", &format!("begins at byte {}", first.len() + between.len())]);
            }
        }
        let metadata: [Vec<u8>; 6] = [
            chunk(b"id3 ", &[7; 100]),
            [chunk(b"LIST", &[1; 5]), vec![0], chunk(b"bext", &[2; 602])].concat(),
            vec![0; 4096 - 1],
            [&b"TAG"[..], &[b'x'; 125]].concat(),
            b"\0\r\n".to_vec(),
            chunk(b"LIST", &[1; 50])[..30].to_vec(),
        ];
        for rest in metadata {
            std::fs::write(&path, [first, &rest].concat()).unwrap();
            assert!(matches!(decode::read(&path).unwrap().frames(), 333 | 334), "{rest:?}");
        }
    }
    std::fs::write(&path, [&even[..], &chunk(b"data", &[1; 64])].concat()).unwrap();
    refused(&path, &["two data chunks"]);
    // Streams, whose length is not known when they begin.
    let mut streamed = even.clone();
    streamed[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    streamed[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    let many = noise(16_000, 1, 20_000);
    for length in [streamed.len(), streamed.len() - 1] {
        let more = wav_bytes(&many, wav::Format::Pcm16);
        std::fs::write(&path, [&streamed[..length], &more, &more].concat()).unwrap();
        refused(&path, &[&format!("begins at byte {length}")]);
    }
}

#[test]
fn joined_flac_files_are_refused_whatever_the_second_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("joined.flac");
    let fixed = Flac { block: 1024, is_variable: false, declared: (1024, 1024) };
    let first = flac::file(&integers(&noise(16_000, 2, 5000)), fixed);
    for channels in [1, 2, 4] {
        let second = flac::file(&integers(&noise(16_000, channels, 7000)), fixed);
        std::fs::write(&path, [&first[..], &second].concat()).unwrap();
        refused(&path, &["joined.flac", &format!("begins at byte {}", first.len())]);
    }
}

#[test]
fn a_size_that_went_round_or_was_not_known_is_read_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.wav");
    // Two channels of silence, the last frame loud: 2^32 bytes and some, of which the header has the rest.
    let bytes = (1u64 << 32) + 40_000;
    let header = wav_bytes(&Audio::silence(16_000, 2, 10_000), wav::Format::Pcm16)[..44].to_vec();
    let frames = bytes / 4;
    for (declared, extra) in [(40_000u32, 0u64), (40_000, 26), (u32::MAX, 0), (0xFFFF_F000, 0)] {
        let mut header = header.clone();
        header[40..44].copy_from_slice(&declared.to_le_bytes());
        std::fs::write(&path, &header).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        use std::os::unix::fs::FileExt;
        file.write_all_at(&[0xFF, 0x3F, 0xFF, 0x3F], 44 + bytes - 4).unwrap();
        if extra > 0 {
            file.write_all_at(b"LIST\x12\0\0\0INFOISFT\x06\0\0\0name.\0", 44 + bytes).unwrap();
        }
        let last = read_stereo_as_foa(&path, (frames - 16_000) as f64 / 16_000.0);
        assert!(last > 0.4, "{declared:#x}: the end of the file is heard: {last}");
    }
    // Far more than the header says, and no multiple of anything: what it says, with a warning.
    let audio = noise(16_000, 1, 1000);
    let short = [wav_bytes(&audio, wav::Format::F32), vec![0x3C; 100_000]].concat();
    std::fs::write(&path, short).unwrap();
    assert_eq!(decode::read(&path).unwrap().samples, audio.samples);
}

/// The largest sample of a stretch at the end, in which four channels are taken for two times two.
fn read_stereo_as_foa(path: &Path, start_s: f64) -> f32 {
    // The same bytes as half as many frames of four channels.
    let mut header = [0; 44];
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    file.read_exact_at(&mut header, 0).unwrap();
    header[22..24].copy_from_slice(&4u16.to_le_bytes());
    header[32..34].copy_from_slice(&8u16.to_le_bytes());
    file.write_all_at(&header, 0).unwrap();
    let stretch = Stretch { start_s: start_s / 2.0, seconds: 5.0 };
    let heard = read_foa_stretch(path, None, stretch).unwrap().audio;
    heard.samples.iter().fold(0.0, |peak, x| peak.max(x.abs()))
}

#[test]
fn flac_files_whose_header_is_odd_decode_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.flac");
    let audio = noise(16_000, 4, 100_001);
    let samples = integers(&audio);
    for (is_variable, declared) in [
        (false, (4096, 4096)),
        // Unknown or wrong: what encoders of one pass write.
        (false, (0, 4096)),
        (false, (0, 0)),
        (false, (16, 4096)),
        (false, (15, 4096)),
        (true, (16, 4096)),
        (true, (0, 4096)),
        (true, (0, 0)),
        (true, (4096, 4096)),
    ] {
        let bytes = flac::file(&samples, Flac { block: 4096, is_variable, declared });
        let tags = [b"ID3\x04\0\0\0\0\x01\0".to_vec(), vec![0; 128], bytes.clone(), b"TAG".to_vec(), vec![b' '; 125]];
        for bytes in [bytes, tags.concat()] {
            std::fs::write(&path, bytes).unwrap();
            let read = decode::read(&path).unwrap_or_else(|e| panic!("{is_variable} {declared:?}: {e}"));
            assert_eq!((read.channels, read.frames()), (4, 100_001), "{is_variable} {declared:?}");
            for c in 0..4 {
                let same = read.channel(c).iter().zip(&samples[c]).all(|(x, i)| *x == f32::from(*i) / 32768.0);
                assert!(same, "{is_variable} {declared:?}, channel {c}");
            }
        }
    }
}

#[test]
fn a_stretch_has_the_samples_of_the_whole_recording() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let fixed = Flac { block: 1152, is_variable: false, declared: (1152, 1152) };
    let long = noise(16_000, 4, 16_000 * 70 + 7);
    std::fs::write(at("long.flac"), flac::file(&integers(&long), fixed)).unwrap();
    let whole_blocks = Flac { block: 32_000, is_variable: true, declared: (16, 32_000) };
    std::fs::write(at("large-blocks.flac"), flac::file(&integers(&long), whole_blocks)).unwrap();
    for rate in [8_000, 16_000, 44_100, 48_000, 11_127] {
        let audio = noise(rate, 4, 7 * rate as usize + 11);
        wav::write(&at(&format!("{rate}.wav")), &audio, wav::Format::Pcm24).unwrap();
    }
    wav::write(&at("many.wav"), &noise(32_000, 36, 100_000), wav::Format::Pcm16).unwrap();
    let names = ["8000", "16000", "44100", "48000", "11127", "many"].map(|name| format!("{name}.wav"));
    for name in names.iter().map(String::as_str).chain(["long.flac", "large-blocks.flac"]) {
        let whole = read_foa(&at(name), None).unwrap();
        let length = whole.seconds();
        for (start_s, seconds) in
            [(0.0, 1.0), (0.3, 0.5), (2.00003, 1.0), (length - 0.5, 3.0), (length - 0.01, 0.01), (0.0, 120.0)]
        {
            let stretch = Stretch { start_s, seconds };
            let read = read_foa_stretch(&at(name), None, stretch).unwrap();
            let begin = (start_s * 16_000.0).round() as usize;
            let frames = ((seconds * 16_000.0).round() as usize).min(whole.frames() - begin);
            assert_eq!((read.audio.channels, read.audio.frames()), (4, frames), "{name} {stretch:?}");
            assert!((read.recording_s.unwrap() - length).abs() < 1e-3);
            for c in 0..4 {
                for (x, y) in read.audio.channel(c).iter().zip(&whole.channel(c)[begin..]) {
                    assert!((x - y).abs() < 1e-6, "{name} {stretch:?}: {x} and {y}");
                }
            }
        }
        let beyond = Stretch { start_s: length + 1.0, seconds: 1.0 };
        assert_eq!(read_foa_stretch(&at(name), None, beyond).unwrap().audio.frames(), 0, "{name}");
    }
}

#[test]
fn higher_orders_pairs_and_amb_layouts_give_their_first_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let four = noise(16_000, 4, 2000);
    for channels in [6, 9, 11, 16, 18, 25, 27, 36, 38, 49, 64] {
        let mut all = noise(16_000, channels, 2000);
        all.samples[..4 * 2000].copy_from_slice(&four.samples);
        wav::write(&path("high.wav"), &all, wav::Format::F32).unwrap();
        assert_eq!(read_foa(&path("high.wav"), None).unwrap().samples, four.samples, "{channels}");
    }
    // FuMa: W X Y (Z) and more; W is louder by sqrt 2 in AmbiX, and the order is W Y Z X.
    for (channels, has_height) in
        [(3, false), (4, true), (5, false), (6, true), (7, false), (8, true), (11, true), (16, true)]
    {
        let all = noise(16_000, channels, 2000);
        wav::write(&path("layout.amb"), &all, wav::Format::F32).unwrap();
        let read = read_foa(&path("layout.amb"), None).unwrap();
        let expected = [(0, 2f32.sqrt()), (2, 1.0), (3, if has_height { 1.0 } else { 0.0 }), (1, 1.0)];
        for (c, (from, gain)) in expected.into_iter().enumerate() {
            let source = |t: usize| if gain == 0.0 { 0.0 } else { gain * all.channel(from)[t] };
            assert!((0..2000).all(|t| (read.channel(c)[t] - source(t)).abs() < 1e-6), "{channels}, channel {c}");
        }
    }
    // N3D: first-degree channels are sqrt 3 times those of SN3D.
    wav::write(&path("n3d.wav"), &four, wav::Format::F32).unwrap();
    let read = read_foa(&path("n3d.wav"), Some(Convention::N3d)).unwrap();
    for c in 0..4 {
        let gain = if c == 0 { 1.0 } else { 3f32.sqrt() };
        assert!(read.channel(c).iter().zip(four.channel(c)).all(|(x, y)| (x * gain - y).abs() < 1e-6));
    }
}

#[test]
fn tags_of_any_size_around_an_mp3_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tagged.mp3");
    let bare = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audio/sweep.mp3")).unwrap();
    std::fs::write(&path, &bare).unwrap();
    let expected = decode::read(&path).unwrap();
    let tag = |size: u32, footer: bool| {
        let digits = [21, 14, 7, 0].map(|shift| (size >> shift & 0x7F) as u8);
        let mut tag = [b"ID3\x04\0", &[if footer { 0x10 } else { 0 }][..], &digits].concat();
        tag.resize(tag.len() + size as usize + if footer { 10 } else { 0 }, 0xFF);
        tag
    };
    let ape = {
        let mut footer = [&b"APETAGEX"[..], &2000u32.to_le_bytes(), &64u32.to_le_bytes()].concat();
        footer.resize(32, 0);
        [vec![0xFF; 32], footer].concat()
    };
    let id3v1 = [b"TAG".to_vec(), vec![0xFF; 125]].concat();
    for front in
        [Vec::new(), tag(100, false), tag(3 << 20, false), tag(40_000, true), [tag(50, false), tag(60, false)].concat()]
    {
        for back in [Vec::new(), id3v1.clone(), ape.clone(), [ape.clone(), id3v1.clone()].concat()] {
            std::fs::write(&path, [&front[..], &bare, &back].concat()).unwrap();
            assert!(decode::read(&path).unwrap() == expected, "{} and {} bytes of tags", front.len(), back.len());
        }
    }
    std::fs::write(&path, tag(5000, false)).unwrap();
    refused(&path, &["tagged.mp3", "no audio behind it"]);
    std::fs::write(&path, &tag(5000, false)[..3000]).unwrap();
    refused(&path, &["tagged.mp3", "truncated"]);
    std::fs::write(&path, tag(0, false).repeat(100)).unwrap();
    refused(&path, &["more than 16 ID3 tags"]);
    // Joined MP3 files are one stream of frames: all of it is read.
    std::fs::write(&path, [&bare[..], &bare].concat()).unwrap();
    let twice = decode::read(&path).unwrap().frames();
    assert!((2 * expected.frames()..2 * expected.frames() + 4 * 1152).contains(&twice), "{twice}");
}
