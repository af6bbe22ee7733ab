//! Tests of the WAV reader and writer: hound as oracle, headers that lie, and plain mutation.

use super::*;
use crate::rng::Rng;
use std::io::Cursor;

const FORMATS: [Format; 5] = [Format::Pcm16, Format::Pcm24, Format::Pcm32, Format::F32, Format::F64];

fn parse(bytes: &[u8]) -> Result<Taken> {
    parse_part(bytes, Part::ALL)
}

fn parse_part(bytes: &[u8], part: Part) -> Result<Taken> {
    let parsed = read_from(&mut Cursor::new(bytes), bytes.len() as u64, false, |_| Ok(part))?;
    Ok(Taken { audio: parsed.reading.audio, warnings: parsed.warnings })
}

/// What most tests look at.
#[derive(Debug)]
struct Taken {
    audio: Audio,
    warnings: Vec<String>,
}

fn noise(channels: usize, frames: usize, seed: u64) -> Audio {
    let mut rng = Rng::new(seed, "wav test", 0);
    let samples = (0..channels * frames).map(|_| rng.range(-1.0, 1.0) as f32).collect();
    Audio { sample_rate: 24_000, channels, samples }
}

fn bytes_of(audio: &Audio, format: Format) -> Vec<u8> {
    let mut out = header_bytes(audio, format, riff::GUID_MICROSOFT);
    write_samples(&mut out, audio, format).unwrap();
    out
}

/// A file from its parts: chunks in the given order, sizes as they are.
fn riff_file(chunks: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = b"RIFF\0\0\0\0WAVE".to_vec();
    for (name, body) in chunks {
        out.extend(*name);
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(*body);
        out.resize(out.len() + body.len() % 2, 0);
    }
    let size = (out.len() - 8) as u32;
    out[4..8].copy_from_slice(&size.to_le_bytes());
    out
}

fn fmt_chunk(tag: u16, channels: u16, rate: u32, block_align: u16, bits: u16) -> Vec<u8> {
    let mut fmt = Vec::new();
    fmt.extend(tag.to_le_bytes());
    fmt.extend(channels.to_le_bytes());
    fmt.extend(rate.to_le_bytes());
    fmt.extend(rate.wrapping_mul(u32::from(block_align)).to_le_bytes());
    fmt.extend(block_align.to_le_bytes());
    fmt.extend(bits.to_le_bytes());
    fmt
}

fn mono16() -> Vec<u8> {
    fmt_chunk(1, 1, 16_000, 2, 16)
}

fn set_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn every_format_round_trips_within_its_step() {
    for channels in [1, 2, 3, 4, 16] {
        for (format, step) in FORMATS.into_iter().zip([1.0 / 32768.0, 1.0 / 8_388_608.0, 1e-7, 0.0, 0.0]) {
            let audio = noise(channels, 257, channels as u64);
            let back = parse(&bytes_of(&audio, format)).unwrap();
            assert_eq!((back.audio.channels, back.audio.sample_rate, back.audio.frames()), (channels, 24_000, 257));
            assert_eq!(back.warnings, Vec::<String>::new());
            let worst = back.audio.samples.iter().zip(&audio.samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= step, "{format:?} {channels}: {worst}");
        }
    }
}

#[test]
fn hound_reads_what_we_write() {
    for (format, channels) in [(Format::Pcm16, 1), (Format::Pcm24, 4), (Format::Pcm32, 2), (Format::F32, 4)] {
        let audio = noise(channels, 100, 3);
        let ours = parse(&bytes_of(&audio, format)).unwrap().audio;
        let mut reader = hound::WavReader::new(Cursor::new(bytes_of(&audio, format))).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.channels as usize, spec.sample_rate), (channels, 24_000));
        let interleaved: Vec<f32> = match spec.sample_format {
            hound::SampleFormat::Float => reader.samples::<f32>().map(|s| s.unwrap()).collect(),
            hound::SampleFormat::Int => {
                let full = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
                reader.samples::<i32>().map(|s| (f64::from(s.unwrap()) / full) as f32).collect()
            }
        };
        for (i, x) in interleaved.iter().enumerate() {
            assert_eq!(ours.channel(i % channels)[i / channels], *x, "{format:?} sample {i}");
        }
    }
}

#[test]
fn we_read_what_hound_writes() {
    for (bits, sample_format) in [(16u16, hound::SampleFormat::Int), (24, hound::SampleFormat::Int)]
        .into_iter()
        .chain([(8, hound::SampleFormat::Int), (32, hound::SampleFormat::Int), (32, hound::SampleFormat::Float)])
    {
        let spec = hound::WavSpec { channels: 3, sample_rate: 44_100, bits_per_sample: bits, sample_format };
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        let mut rng = Rng::new(9, "hound", u64::from(bits));
        let mut expected = Vec::new();
        for _ in 0..300 {
            if sample_format == hound::SampleFormat::Float {
                expected.push(rng.range(-1.0, 1.0) as f32);
                writer.write_sample(*expected.last().unwrap()).unwrap();
            } else {
                let half = 1i64 << (bits - 1);
                let value = (rng.below(2 * half as usize) as i64 - half) as i32;
                expected.push((f64::from(value) / half as f64) as f32);
                writer.write_sample(value).unwrap();
            }
        }
        writer.finalize().unwrap();
        let audio = parse(file.get_ref()).unwrap().audio;
        assert_eq!((audio.channels, audio.frames(), audio.sample_rate), (3, 100, 44_100));
        for (i, x) in expected.iter().enumerate() {
            assert_eq!(audio.channel(i % 3)[i / 3], *x, "{bits} bits, sample {i}");
        }
    }
}

#[test]
fn an_amb_file_is_fuma_by_guid_and_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let ambix = noise(4, 50, 1);
    let path = folder.path().join("scene.wav");
    write_amb(&path, &ambix, Format::F32).unwrap();
    let mut wav = read(&path).unwrap();
    assert_eq!(wav.convention, Some(Convention::Fuma));
    foa::to_ambix(&mut wav.audio, Convention::Fuma);
    assert!(wav.audio.samples.iter().zip(&ambix.samples).all(|(a, b)| (a - b).abs() < 1e-6));
    let named = folder.path().join("scene.AMB");
    write(&named, &ambix, Format::Pcm16).unwrap();
    assert_eq!(read(&named).unwrap().convention, Some(Convention::Fuma));
}

#[test]
fn chunks_in_any_order_and_odd_sizes_are_walked() {
    let data = [1u8, 0, 2, 0, 3, 0];
    let with = |chunks: &[(&[u8], &[u8])]| parse(&riff_file(chunks)).unwrap();
    let plain = with(&[(b"fmt ", &mono16()), (b"data", &data)]);
    let busy = with(&[
        (b"JUNK", &[0; 28]),
        (b"bext", &[7; 603]),
        (b"fmt ", &mono16()),
        (b"LIST", b"INFOISFT\x05\0\0\0name\0"),
        (b"data", &data),
        (b"iXML", b"<x/>"),
    ]);
    assert_eq!(plain.audio, busy.audio);
    assert_eq!(plain.audio.samples, [1.0 / 32768.0, 2.0 / 32768.0, 3.0 / 32768.0]);
    // A writer that forgot the padding byte after an odd chunk.
    let mut unpadded = riff_file(&[(b"LIST", b"INFOx")]);
    unpadded.pop();
    unpadded.extend(&riff_file(&[(b"fmt ", &mono16()), (b"data", &data)])[12..]);
    assert_eq!(parse(&unpadded).unwrap().audio, plain.audio);
    // An odd number of data bytes: the half sample is dropped, and said.
    let odd = with(&[(b"fmt ", &mono16()), (b"data", &data[..5])]);
    assert_eq!((odd.audio.frames(), odd.warnings.len()), (2, 1));
}

#[test]
fn a_recorder_that_was_cut_is_read_to_the_end() {
    let unknown = [u32::MAX, 0xFFFF_1000, 0x8000_0000, 0x7FFF_FFFF, 0x7FFF_F000, 2_000_000_000];
    let sizes = unknown.into_iter().flat_map(|size| [(size, size), (size.saturating_add(36), size), (0, size)]);
    for (riff_size, data_size) in sizes.chain([(0, 0), (36, 0), (0x7FFF_FFFF, 0)]) {
        let mut file = riff_file(&[(b"fmt ", &mono16()), (b"data", &[5, 0, 6, 0, 7, 0, 8])]);
        file.pop();
        set_u32(&mut file, 4, riff_size);
        set_u32(&mut file, 40, data_size);
        let parsed = parse(&file).unwrap();
        assert_eq!(parsed.audio.frames(), 3, "{riff_size:#x} {data_size:#x}");
        assert!(parsed.warnings[0].contains("data size"), "{:?}", parsed.warnings);
    }
}

#[test]
fn a_truncated_file_is_no_stream() {
    for size in [8u32, 192_000, 1_999_999_999, 0x7FFE_FFFF, 0x8001_0000, 3_123_456_788, 0xFFFE_FFFF] {
        let mut file = riff_file(&[(b"fmt ", &mono16()), (b"data", &[5, 0, 6, 0])]);
        set_u32(&mut file, 4, size.saturating_add(36));
        set_u32(&mut file, 40, size);
        let error = parse(&file).unwrap_err().to_string();
        assert!(error.contains(&format!("data size is {size} bytes, the file holds 4")), "{error}");
    }
}

#[test]
fn rf64_takes_its_size_from_ds64() {
    let wide = |form: &[u8; 4], data_size: u64| {
        let mut ds64 = vec![0u8; 28];
        ds64[8..16].copy_from_slice(&data_size.to_le_bytes());
        let mut file = riff_file(&[(b"ds64", &ds64), (b"fmt ", &mono16()), (b"data", &[1, 0, 2, 0])]);
        file[..4].copy_from_slice(form);
        set_u32(&mut file, 4, u32::MAX);
        let at = file.len() - 8;
        set_u32(&mut file, at, u32::MAX);
        file
    };
    assert_eq!(parse(&wide(b"RF64", 4)).unwrap().audio.frames(), 2);
    assert_eq!(parse(&wide(b"BW64", 2)).unwrap().audio.frames(), 1);
    for lost in [1000, 5_000_000_008, 6_000_000_000, 1 << 40, u64::MAX] {
        let lie = parse(&wide(b"RF64", lost)).unwrap_err().to_string();
        assert!(lie.contains(&format!("data size is {lost}")), "{lie}");
    }
    let mut without = wide(b"RF64", 4);
    without[12..16].copy_from_slice(b"JUNK");
    assert!(parse(&without).unwrap_err().to_string().contains("ds64"));
}

#[test]
fn more_than_4_gib_is_parsed_and_written_as_rf64() {
    // The header alone: a reader that claims five gigabytes of samples behind it.
    let audio = Audio::silence(48_000, 4, 4);
    let mut header = header_bytes(&audio, Format::F64, riff::GUID_MICROSOFT);
    let frames = 150_000_000u64;
    let mut ds64 = vec![0u8; 28];
    ds64[8..16].copy_from_slice(&(frames * 32).to_le_bytes());
    header[..4].copy_from_slice(b"RF64");
    let at = header.len() - 4;
    set_u32(&mut header, at, u32::MAX);
    let mut file = header[..12].to_vec();
    file.extend(b"ds64\x1c\0\0\0");
    file.extend(ds64);
    file.extend(&header[12..]);
    let length = file.len() as u64 + frames * 32;
    let parsed = riff::parse(&mut Cursor::new(&file), length).unwrap();
    assert_eq!((parsed.frames, parsed.channels, parsed.data_start), (frames, 4, file.len() as u64));
}

#[test]
fn headers_that_lie_are_refused_by_field() {
    let with_fmt = |fmt: Vec<u8>| riff_file(&[(b"fmt ", &fmt), (b"data", &[0; 480])]);
    let mut truncated = riff_file(&[(b"fmt ", &mono16()), (b"data", &[0; 100])]);
    truncated.truncate(100);
    let long_chunk = {
        let mut file = riff_file(&[(b"LIST", &[0; 8]), (b"fmt ", &mono16()), (b"data", &[0; 4])]);
        set_u32(&mut file, 16, 1 << 30);
        file
    };
    let mut bad_guid = fmt_chunk(0xFFFE, 1, 16_000, 2, 16);
    bad_guid.extend([22, 0, 16, 0, 0, 0, 0, 0, 1, 0]);
    bad_guid.extend([9; 14]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "empty"),
        (b"RIFF".to_vec(), "RIFF header"),
        (riff_file(&[]), "no fmt and no data chunk"),
        (riff_file(&[(b"fmt ", &mono16())]), "no data chunk"),
        (riff_file(&[(b"fmt ", &mono16()), (b"data", &[])]), "not one frame"),
        (riff_file(&[(b"fmt ", &mono16()), (b"data", &[]), (b"LIST", &[0; 6])]), "not one frame"),
        (riff_file(&[(b"data", &[0; 4]), (b"fmt ", &mono16())]), "before the fmt"),
        (riff_file(&[(b"fmt ", &mono16()), (b"fmt ", &mono16()), (b"data", &[0; 4])]), "two fmt"),
        (with_fmt(fmt_chunk(1, 0, 16_000, 0, 16)), "channels is 0"),
        (with_fmt(fmt_chunk(1, 65, 16_000, 130, 16)), "channels is 65"),
        (with_fmt(fmt_chunk(1, 80, 16_000, 160, 16)), "channels is 80"),
        (with_fmt(fmt_chunk(1, 65_535, 16_000, 65_534, 16)), "channels is 65535"),
        (with_fmt(fmt_chunk(1, 1, 0, 2, 16)), "sample rate is 0"),
        (with_fmt(fmt_chunk(1, 1, 768_001, 2, 16)), "sample rate is 768001"),
        (with_fmt(fmt_chunk(1, 1, u32::MAX, 2, 16)), "sample rate is 4294967295"),
        (with_fmt(fmt_chunk(1, 2, 16_000, 2, 16)), "block align is 2"),
        (with_fmt(fmt_chunk(1, 1, 16_000, 0, 16)), "block align is 0"),
        (with_fmt(fmt_chunk(1, 1, 16_000, 2, 0)), "bits per sample is 0"),
        (with_fmt(fmt_chunk(1, 1, 16_000, 1, 7)), "bits per sample is 7"),
        (with_fmt(fmt_chunk(3, 1, 16_000, 16, 128)), "bits per sample is 128"),
        (with_fmt(fmt_chunk(0x11, 1, 16_000, 256, 4)), "ADPCM"),
        (with_fmt(fmt_chunk(6, 1, 16_000, 1, 8)), "A-law"),
        (with_fmt(fmt_chunk(0xFFFE, 1, 16_000, 2, 16)), "needs 40"),
        (with_fmt(bad_guid), "GUID"),
        (with_fmt(vec![1, 0, 1, 0]), "fmt chunk has 4 bytes"),
        (truncated, "data size is 100 bytes, the file holds 56"),
        (long_chunk, "\"LIST\" says 1073741824 bytes"),
        (b"RIFF\0\0\0\0AVI LIST".to_vec(), "not WAVE"),
        (b"ID3\x04\0\0\0\0\0\0".to_vec(), "MP3"),
        (b"OggS\0\0".to_vec(), "Ogg"),
        (b"version https://git-lfs.github.com/spec/v1\noid".to_vec(), "git lfs pull"),
    ];
    for (bytes, field) in cases {
        let error = parse(&bytes).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Data);
        assert!(error.to_string().contains(field), "expected `{field}` in: {error}");
    }
}

#[test]
fn nan_and_infinity_are_refused_with_frame_and_channel() {
    for (bad, format) in [(f32::NAN, Format::F32), (f32::INFINITY, Format::F64), (-1e30, Format::F32)] {
        let mut audio = noise(2, 5000, 2);
        let mut bytes = bytes_of(&audio, format);
        let size = format.encoding().bytes() as usize;
        let at = bytes.len() - (2 * 5000 - (2 * 4321 + 1)) * size;
        match format {
            Format::F64 => bytes[at..at + 8].copy_from_slice(&f64::from(bad).to_le_bytes()),
            _ => bytes[at..at + 4].copy_from_slice(&bad.to_le_bytes()),
        }
        let message = parse(&bytes).unwrap_err().to_string();
        assert!(message.contains("frame 4321, channel 1"), "{message}");
        // And nothing like it is ever written.
        audio.samples[5000 + 4321] = bad;
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("x.wav"), &audio, format).unwrap_err();
        assert!(error.to_string().contains("frame 4321, channel 1"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    // A double beyond the range of f32 is infinite here.
    let mut bytes = bytes_of(&noise(1, 2, 2), Format::F64);
    let at = bytes.len() - 8;
    bytes[at..].copy_from_slice(&1e300f64.to_le_bytes());
    assert!(parse(&bytes).unwrap_err().to_string().contains("frame 1"));
}

#[test]
fn integers_clip_instead_of_wrapping() {
    let audio = Audio { sample_rate: 8000, channels: 1, samples: vec![1.0, -1.0, 3.0, -3.0] };
    for format in [Format::Pcm16, Format::Pcm24, Format::Pcm32] {
        let back = parse(&bytes_of(&audio, format)).unwrap().audio.samples;
        assert!(back[0] > 0.9999 && back[1] == -1.0 && back[2] > 0.9999 && back[3] == -1.0, "{back:?}");
    }
}

/// A hundred thousand damaged files: bytes changed, cut, doubled, sizes overwritten. None panics, and what is
/// accepted has the shape it claims and no more samples than there are bytes.
#[test]
fn mutated_files_never_panic() {
    let mut extensible = header_bytes(&noise(4, 40, 1), Format::F32, riff::GUID_AMBISONIC);
    write_samples(&mut extensible, &noise(4, 40, 1), Format::F32).unwrap();
    let seeds = [
        bytes_of(&noise(1, 60, 1), Format::Pcm16),
        bytes_of(&noise(2, 30, 2), Format::Pcm24),
        extensible,
        riff_file(&[(b"JUNK", &[0; 28]), (b"fmt ", &mono16()), (b"LIST", &[1; 5]), (b"data", &[3; 64])]),
    ];
    let special = [0u32, 1, 2, 15, 16, 40, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF];
    let mut rng = Rng::new(11, "wav mutation", 0);
    let mut accepted = 0;
    for _ in 0..100_000 {
        let mut bytes = seeds[rng.below(seeds.len())].clone();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len());
            match rng.below(5) {
                0 => bytes[at] = rng.next_u32() as u8,
                1 => bytes[at.min(47)] ^= 1 << rng.below(8),
                2 if at + 4 <= bytes.len() => set_u32(&mut bytes, at & !1, special[rng.below(special.len())]),
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let copy = bytes[at..bytes.len().min(at + 24)].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        if let Ok(parsed) = parse(&bytes) {
            accepted += 1;
            let audio = &parsed.audio;
            assert!((1..=MAX_CHANNELS).contains(&audio.channels) && RATES.contains(&audio.sample_rate));
            assert!(audio.frames() > 0 && audio.samples.len() == audio.channels * audio.frames());
            assert!(audio.samples.len() <= bytes.len() && audio.samples.iter().all(|x| x.is_finite()));
        }
    }
    assert!(accepted > 1000, "{accepted}: the mutations must reach the samples");
}
