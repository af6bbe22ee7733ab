//! WAV files: a strict reader (WAV, RF64, BW64, AMB) and a writer.
//!
//! Read: PCM 8, 16, 24, 32, float 32, 64, 1 to 64 channels, plain or WAVE_FORMAT_EXTENSIBLE. A header that
//! lies is an error that names the field; files of recorders that were cut before the length was written are
//! read to their end with a warning. NaN, infinities and absurd magnitudes are refused with the frame.
//! A part of a file is read by seeking to it: what is in front of it costs neither time nor memory.

use super::foa::{self, Convention};
use super::part::{Part, Reading, Shape, check_length};
use super::riff::{self, Encoding, Header};
use super::{Audio, MAX_CHANNELS, MAX_MAGNITUDE, RATES};
use crate::error::{Context, Error, Result};
use crate::files;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A WAV file as read.
#[derive(Clone, Debug, PartialEq)]
pub struct Wav {
    /// The samples, in the file's own channel order and weights.
    pub audio: Audio,
    /// `Fuma` for `.amb` files (by GUID or by name), else nothing is known.
    pub convention: Option<Convention>,
}

/// Sample formats that [`write`] can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 16-bit integers; values outside [-1, 1) are clipped, with a warning.
    Pcm16,
    /// 24-bit integers; clipped likewise.
    Pcm24,
    /// 32-bit integers; clipped likewise.
    Pcm32,
    /// Single precision: exact.
    F32,
    /// Double precision: exact.
    F64,
}

impl Format {
    fn encoding(self) -> Encoding {
        match self {
            Format::Pcm16 => Encoding::I16,
            Format::Pcm24 => Encoding::I24,
            Format::Pcm32 => Encoding::I32,
            Format::F32 => Encoding::F32,
            Format::F64 => Encoding::F64,
        }
    }
}

/// Reads a WAV, RF64, BW64 or AMB file. Memory is taken only after the header agrees with the length of the file.
///
/// # Errors
/// `Data` naming file and field for content that is not acceptable; `Missing` or `Io` when it cannot be opened.
pub fn read(path: &Path) -> Result<Wav> {
    let reading = read_part(path, |_| Ok(Part::ALL))?;
    Ok(Wav { audio: reading.audio, convention: reading.shape.convention })
}

/// The part of a file that `choose` asks for when it has seen the shape; its errors get the file's name.
pub(super) fn read_part(path: &Path, choose: impl FnOnce(&Shape) -> Result<Part>) -> Result<Reading> {
    let file = files::open_regular(path)?;
    let length = file.metadata().map_err(|e| Error::io("read", path, &e))?.len();
    let is_amb = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("amb"));
    let mut reader = std::io::BufReader::new(file);
    let parsed = read_from(&mut reader, length, is_amb, choose).context_with(|| path.display())?;
    for warning in parsed.warnings {
        tracing::warn!("{}: {warning}", path.display());
    }
    Ok(parsed.reading)
}

/// A file as parsed from a reader, with the warnings that [`read_part`] prints.
#[derive(Debug)]
struct Parsed {
    reading: Reading,
    warnings: Vec<String>,
}

/// [`read_part`] from anything seekable that holds `length` bytes; `is_amb`: it is FuMa by its name.
fn read_from(
    reader: &mut (impl Read + Seek),
    length: u64,
    is_amb: bool,
    choose: impl FnOnce(&Shape) -> Result<Part>,
) -> Result<Parsed> {
    let mut head = Vec::new();
    reader.take(super::sniff::HEAD as u64).read_to_end(&mut head).map_err(io)?;
    match super::sniff::content(&head) {
        super::sniff::Content::Wav => {}
        super::sniff::Content::Empty => return Err(Error::data("the file is empty (0 bytes)")),
        super::sniff::Content::Ogg => return Err(misnamed("an Ogg file")),
        super::sniff::Content::Flac => return Err(misnamed("a FLAC file")),
        super::sniff::Content::Mp3 => return Err(misnamed("an MP3 file")),
        super::sniff::Content::Other(what, hint) => return Err(Error::data(format!("this is {what}")).hint(hint)),
    }
    reader.seek(SeekFrom::Start(0)).map_err(io)?;
    let header = riff::parse(reader, length)?;
    let shape = Shape {
        channels: header.channels,
        sample_rate: header.sample_rate,
        frames: Some(header.frames),
        convention: if is_amb { Some(Convention::Fuma) } else { header.convention },
    };
    let wanted = choose(&shape)?;
    let begin = wanted.begin.min(header.frames);
    let part = Part {
        begin,
        frames: wanted.frames.min(header.frames - begin),
        channels: wanted.channels.min(header.channels),
    };
    check_length(part.channels as u64, header.sample_rate.into(), part.frames)?;
    let frame = header.encoding.bytes() * header.channels as u64;
    reader.seek(SeekFrom::Start(header.data_start + begin * frame)).map_err(io)?;
    let samples = read_samples(reader, &header, part)?;
    let audio = Audio { sample_rate: header.sample_rate, channels: part.channels, samples };
    Ok(Parsed { reading: Reading { audio, shape }, warnings: header.warnings })
}

fn misnamed(what: &str) -> Error {
    Error::data(format!("this is {what}, not a WAV")).hint("give it its own extension, or convert it to WAV")
}

fn io(e: std::io::Error) -> Error {
    Error::new(crate::error::Kind::Io, format!("reading failed: {e}"))
}

fn read_samples(reader: &mut impl Read, header: &Header, part: Part) -> Result<Vec<f32>> {
    match header.encoding {
        Encoding::U8 => deinterleave(reader, header, part, |[b]: [u8; 1]| (f32::from(b) - 128.0) / 128.0),
        Encoding::I16 => deinterleave(reader, header, part, |b| f32::from(i16::from_le_bytes(b)) / 32768.0),
        Encoding::I24 => deinterleave(reader, header, part, |[a, b, c]: [u8; 3]| {
            (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 / 8_388_608.0
        }),
        Encoding::I32 => deinterleave(reader, header, part, |b| i32::from_le_bytes(b) as f32 / 2_147_483_648.0),
        Encoding::F32 => deinterleave(reader, header, part, f32::from_le_bytes),
        Encoding::F64 => deinterleave(reader, header, part, |b| f64::from_le_bytes(b) as f32),
    }
}

/// Reads interleaved frames block by block and decodes them into channel-major order; `reader` stands at the first.
fn deinterleave<const B: usize>(
    reader: &mut impl Read,
    header: &Header,
    part: Part,
    decode: impl Fn([u8; B]) -> f32,
) -> Result<Vec<f32>> {
    const BLOCK: usize = 4096;
    let (channels, frames) = (header.channels, part.frames as usize);
    let mut samples = Vec::new();
    let need = part.channels * frames;
    samples.try_reserve_exact(need).map_err(|_| Error::data(format!("{need} samples do not fit into memory")))?;
    samples.resize(need, 0.0f32);
    let mut block = vec![0; BLOCK.min(frames) * channels * B];
    let mut joint = Joint::new(header, part);
    for start in (0..frames).step_by(BLOCK) {
        let here = BLOCK.min(frames - start);
        let bytes = &mut block[..here * channels * B];
        let first = part.begin as usize + start;
        reader.read_exact(bytes).map_err(|e| {
            Error::data(format!("data ends in frames {first} to {}: {e}", first + here)).hint("copy the file again")
        })?;
        joint.look(bytes)?;
        for c in 0..part.channels {
            let out = &mut samples[c * frames + start..][..here];
            for (x, frame) in out.iter_mut().zip(bytes.chunks_exact(channels * B)) {
                *x = decode(frame[c * B..(c + 1) * B].try_into().expect("B bytes"));
            }
            check_samples(out, first, c)?;
        }
    }
    Ok(samples)
}

/// Looks for a second header among samples that end where the file does because their length is not known: streams of
/// a recorder that were appended to one file.
struct Joint {
    is_looking: bool,
    /// Byte of the file at which `seen` begins.
    at: u64,
    /// The end of the block before, then this one.
    seen: Vec<u8>,
}

impl Joint {
    fn new(header: &Header, part: Part) -> Joint {
        let at = header.data_start + part.begin * header.encoding.bytes() * header.channels as u64;
        Joint { is_looking: header.is_unfinished, at, seen: Vec::new() }
    }

    fn look(&mut self, block: &[u8]) -> Result<()> {
        if !self.is_looking {
            return Ok(());
        }
        let done = self.seen.len().saturating_sub(15);
        self.seen.drain(..done);
        self.at += done as u64;
        self.seen.extend_from_slice(block);
        match riff::find_header(&self.seen) {
            Some(offset) => Err(riff::joined(self.at + offset as u64)),
            None => Ok(()),
        }
    }
}

/// Refuses what is no sound, with the frame and channel: NaN, infinite, or too large to be squared twice.
pub(super) fn check_samples(samples: &[f32], first_frame: usize, channel: usize) -> Result<()> {
    // One branch-free pass: a NaN fails the comparison as well.
    if samples.iter().all(|x| x.abs() <= MAX_MAGNITUDE) {
        return Ok(());
    }
    let at = samples.iter().position(|x| x.is_nan() || x.abs() > MAX_MAGNITUDE).expect("one fails");
    let (value, frame) = (samples[at], first_frame + at);
    Err(Error::data(format!("sample at frame {frame}, channel {channel} is {value}, not a finite amplitude"))
        .hint("the file is damaged or was made by a program that diverged; export it again"))
}

/// Writes a WAV file, atomically: plain for up to 2 channels of 16 bits or floats, WAVE_FORMAT_EXTENSIBLE without
/// speaker positions otherwise, RF64 above 4 GiB.
///
/// # Errors
/// `Data` for samples that are NaN or infinite, and nothing is written; `Io` naming the file.
#[track_caller]
pub fn write(path: &Path, audio: &Audio, format: Format) -> Result<()> {
    write_with(path, audio, format, riff::GUID_MICROSOFT)
}

/// Writes a four-channel AmbiX signal as a FuMa `.amb` file (W, X, Y, Z; W scaled by 1/sqrt 2; Ambisonic B-format
/// GUID), atomically.
///
/// # Errors
/// As [`write`].
#[track_caller]
pub fn write_amb(path: &Path, ambix: &Audio, format: Format) -> Result<()> {
    let mut fuma = ambix.clone();
    foa::from_ambix(&mut fuma, Convention::Fuma);
    write_with(path, &fuma, format, riff::GUID_AMBISONIC)
}

#[track_caller]
fn write_with(path: &Path, audio: &Audio, format: Format, guid: [u8; 14]) -> Result<()> {
    assert!((1..=MAX_CHANNELS).contains(&audio.channels), "{} channels", audio.channels);
    assert!(RATES.contains(&audio.sample_rate), "{} Hz", audio.sample_rate);
    assert_eq!(audio.samples.len() % audio.channels, 0, "samples are [channels, frames]");
    for c in 0..audio.channels {
        check_samples(audio.channel(c), 0, c).context_with(|| format!("writing {}", path.display()))?;
    }
    let clipped = match format {
        Format::F32 | Format::F64 => 0,
        _ => audio.samples.iter().filter(|x| x.abs() > 1.0).count(),
    };
    if clipped > 0 {
        tracing::warn!("{}: {clipped} samples beyond full scale were clipped", path.display());
    }
    files::write_atomic(path, |out| {
        out.write_all(&header_bytes(audio, format, guid))?;
        write_samples(out, audio, format)
    })
}

fn header_bytes(audio: &Audio, format: Format, guid: [u8; 14]) -> Vec<u8> {
    let encoding = format.encoding();
    let is_float = matches!(format, Format::F32 | Format::F64);
    let tag = if is_float { riff::TAG_FLOAT } else { riff::TAG_PCM };
    let bits = (8 * encoding.bytes()) as u16;
    let block_align = audio.channels as u64 * encoding.bytes();
    let data = audio.frames() as u64 * block_align;
    let extensible = audio.channels > 2 || (!is_float && bits > 16) || guid != riff::GUID_MICROSOFT;

    let mut fmt = Vec::with_capacity(40);
    fmt.extend((if extensible { riff::TAG_EXTENSIBLE } else { tag }).to_le_bytes());
    fmt.extend((audio.channels as u16).to_le_bytes());
    fmt.extend(audio.sample_rate.to_le_bytes());
    fmt.extend((audio.sample_rate.saturating_mul(block_align as u32)).to_le_bytes());
    fmt.extend((block_align as u16).to_le_bytes());
    fmt.extend(bits.to_le_bytes());
    if extensible {
        fmt.extend(22u16.to_le_bytes());
        fmt.extend(bits.to_le_bytes());
        fmt.extend(0u32.to_le_bytes());
        fmt.extend(tag.to_le_bytes());
        fmt.extend(guid);
    } else if is_float {
        fmt.extend(0u16.to_le_bytes());
    }

    let mut chunks = Vec::new();
    let wide = data + 128 > u64::from(u32::MAX);
    let after_form = |chunks: &[u8]| 4 + chunks.len() as u64 + 8 + data + data % 2;
    let mut push = |name: &[u8; 4], body: &[u8]| {
        chunks.extend(name);
        chunks.extend((body.len() as u32).to_le_bytes());
        chunks.extend(body);
    };
    push(b"fmt ", &fmt);
    if is_float {
        push(b"fact", &(audio.frames().min(u32::MAX as usize) as u32).to_le_bytes());
    }
    let mut out = Vec::with_capacity(128);
    if wide {
        let mut ds64 = Vec::with_capacity(28);
        ds64.extend((after_form(&chunks) + 36).to_le_bytes());
        ds64.extend(data.to_le_bytes());
        ds64.extend((audio.frames() as u64).to_le_bytes());
        ds64.extend(0u32.to_le_bytes());
        out.extend(b"RF64\xff\xff\xff\xffWAVEds64");
        out.extend((ds64.len() as u32).to_le_bytes());
        out.extend(ds64);
    } else {
        out.extend(b"RIFF");
        out.extend((after_form(&chunks) as u32).to_le_bytes());
        out.extend(b"WAVE");
    }
    out.extend(chunks);
    out.extend(b"data");
    out.extend((if wide { u32::MAX } else { data as u32 }).to_le_bytes());
    out
}

fn write_samples(out: &mut impl Write, audio: &Audio, format: Format) -> std::io::Result<()> {
    let scaled = |x: f32, full: f64| (f64::from(x) * full).round().clamp(-full, full - 1.0);
    match format {
        Format::Pcm16 => interleave(out, audio, |x| (scaled(x, 32768.0) as i16).to_le_bytes()),
        Format::Pcm24 => interleave(out, audio, |x| {
            let [a, b, c, _] = (scaled(x, 8_388_608.0) as i32).to_le_bytes();
            [a, b, c]
        }),
        Format::Pcm32 => interleave(out, audio, |x| (scaled(x, 2_147_483_648.0) as i32).to_le_bytes()),
        Format::F32 => interleave(out, audio, f32::to_le_bytes),
        Format::F64 => interleave(out, audio, |x| f64::from(x).to_le_bytes()),
    }
}

fn interleave<const B: usize>(
    out: &mut impl Write,
    audio: &Audio,
    encode: impl Fn(f32) -> [u8; B],
) -> std::io::Result<()> {
    let frames = audio.frames();
    let mut block = Vec::with_capacity(4096 * audio.channels * B);
    for start in (0..frames).step_by(4096) {
        block.clear();
        for t in start..frames.min(start + 4096) {
            for c in 0..audio.channels {
                block.extend(encode(audio.samples[c * frames + t]));
            }
        }
        out.write_all(&block)?;
    }
    if (frames * audio.channels * B) % 2 == 1 {
        out.write_all(&[0])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
