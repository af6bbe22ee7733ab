//! The chunk structure of WAV, RF64 and BW64 files: everything before the samples.
//!
//! Sources: Microsoft's RIFF and WAVEFORMATEXTENSIBLE definitions, EBU Tech 3306 (RF64, `ds64`), ITU-R BS.2088
//! (BW64), and the `.amb` convention (WAVE_FORMAT_EXTENSIBLE with the Ambisonic B-format GUIDs, FuMa weights).
//! Every length is checked against the bytes that are there before it is believed.

mod trailer;

use super::foa::Convention;
use super::part::check_format;
use crate::error::{Error, Result};
use std::io::{Read, Seek, SeekFrom};
pub use trailer::{find_header, joined};

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Unsigned bytes around 128 (read only).
    U8,
    /// Signed 16-bit integers.
    I16,
    /// Signed 24-bit integers in 3 bytes.
    I24,
    /// Signed 32-bit integers.
    I32,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl Encoding {
    /// Bytes per sample.
    pub fn bytes(self) -> u64 {
        match self {
            Encoding::U8 => 1,
            Encoding::I16 => 2,
            Encoding::I24 => 3,
            Encoding::I32 | Encoding::F32 => 4,
            Encoding::F64 => 8,
        }
    }
}

/// What the header of a WAV file says, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Sample format.
    pub encoding: Encoding,
    /// 1 to 64.
    pub channels: usize,
    /// Frames per second.
    pub sample_rate: u32,
    /// Whole frames that are in the file.
    pub frames: u64,
    /// Where the first sample lies.
    pub data_start: u64,
    /// `Fuma` when the header carries an Ambisonic B-format GUID.
    pub convention: Option<Convention>,
    /// Whether the header does not know where the samples end: all that follows is taken for samples.
    pub is_unfinished: bool,
    /// Repairs that were made and that the user should know of.
    pub warnings: Vec<String>,
}

/// First two bytes of a sub-format GUID are the format tag; the rest says whose tag it is.
pub const GUID_MICROSOFT: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];
/// The Ambisonic B-format family of sub-formats (`.amb`).
pub const GUID_AMBISONIC: [u8; 14] = [0, 0, 0x21, 0x07, 0xD3, 0x11, 0x86, 0x44, 0xC8, 0xC1, 0xCA, 0, 0, 0];
/// Format tag of integer samples.
pub const TAG_PCM: u16 = 1;
/// Format tag of floating point samples.
pub const TAG_FLOAT: u16 = 3;
/// Format tag that says: look at the sub-format GUID.
pub const TAG_EXTENSIBLE: u16 = 0xFFFE;

/// A file has few chunks; a walk over more is a hostile file's way to waste time.
const MAX_CHUNKS: usize = 1000;
/// Whether a size larger than what is there was written by a program that did not know it yet: most of them write one
/// about the largest that fits a signed or an unsigned number (0xFFFFFFFF, 0xFFFF1000, 0x80000000, 0x7FFFFFFF,
/// 0x7FFFF000), some a round one of billions (2,000,000,000), which no recording has by chance. Any other size may be
/// that of a large recording of which a part was lost.
fn is_placeholder(size: u64) -> bool {
    // A 64-bit size (RF64) is known to who writes it: all of them may be true.
    let Ok(size) = u32::try_from(size) else { return false };
    let is_round = size >= 1_000_000_000 && size.is_multiple_of(1_000_000);
    is_round || size >= 0xFFFF_0000 || (0x7FFF_0000..=0x8000_FFFF).contains(&size)
}

struct Fmt {
    encoding: Encoding,
    channels: u64,
    sample_rate: u64,
    convention: Option<Convention>,
}

/// Parses the header of `reader`, which holds `length` bytes. Errors name the field, not the file.
pub fn parse(reader: &mut (impl Read + Seek), length: u64) -> Result<Header> {
    let mut start = [0; 12];
    read_exact(reader, &mut start, "the RIFF header (12 bytes)")?;
    let wide = match &start[..4] {
        b"RIFF" => false,
        b"RF64" | b"BW64" => true,
        other => return Err(Error::data(format!("the file starts with {}, not RIFF, RF64 or BW64", name(other)))),
    };
    if &start[8..] != b"WAVE" {
        return Err(Error::data(format!("RIFF form is {}, not WAVE", name(&start[8..]))));
    }
    let riff_size = u64::from(u32::from_le_bytes(start[4..8].try_into().expect("four bytes")));
    let mut warnings = Vec::new();
    let (mut fmt, mut wide_data, mut at) = (None, None, 12u64);
    for _ in 0..MAX_CHUNKS {
        if at + 8 > length {
            return Err(no_data(length, fmt.is_some()));
        }
        let mut head = [0; 8];
        reader.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        read_exact(reader, &mut head, "a chunk header")?;
        let mut size = u64::from(u32::from_le_bytes(head[4..].try_into().expect("four bytes")));
        let left = length - at - 8;
        match &head[..4] {
            b"fmt " if fmt.is_some() => return Err(Error::data("two fmt chunks, one is expected")),
            b"fmt " => fmt = Some(read_fmt(reader, size, left)?),
            b"ds64" if wide => wide_data = Some(read_ds64(reader, size, left)?),
            b"data" => {
                let Some(fmt) = fmt else {
                    return Err(Error::data("the data chunk comes before the fmt chunk, so its format is unknown"));
                };
                if wide && size == 0xFFFF_FFFF {
                    size = wide_data.ok_or_else(|| Error::data("RF64 data size is in ds64, which is missing"))?;
                }
                let (bytes, is_unfinished) = data_bytes(reader, at + 8, size, left, riff_size, &mut warnings)?;
                return finish(fmt, at + 8, bytes, is_unfinished, warnings);
            }
            _ => {}
        }
        if size > left {
            return Err(Error::data(format!(
                "chunk {} says {size} bytes, {left} are left: the file is truncated or not a WAV",
                name(&head[..4])
            )));
        }
        at = next_chunk(reader, at + 8 + size, size)?;
    }
    Err(Error::data(format!("more than {MAX_CHUNKS} chunks before the data chunk")))
}

fn no_data(length: u64, has_fmt: bool) -> Error {
    let missing = if has_fmt { "no data chunk" } else { "no fmt and no data chunk" };
    Error::data(format!("{missing} in {length} bytes: the file is truncated")).hint("copy or export the file again")
}

/// Chunks are padded to even length; some writers forget it, which shows as a chunk name right at the end.
fn next_chunk(reader: &mut (impl Read + Seek), end: u64, size: u64) -> Result<u64> {
    if size.is_multiple_of(2) {
        return Ok(end);
    }
    let mut peek = [0; 5];
    reader.seek(SeekFrom::Start(end)).map_err(unreadable)?;
    let got = read_up_to(reader, &mut peek)?;
    let unpadded = got >= 4 && peek[0] != 0 && is_name(&peek[..4]) && !(got == 5 && is_name(&peek[1..5]));
    Ok(if unpadded { end } else { end + 1 })
}

fn read_fmt(reader: &mut impl Read, size: u64, left: u64) -> Result<Fmt> {
    if !(16..=4096).contains(&size) {
        return Err(Error::data(format!("fmt chunk has {size} bytes, 16, 18 or 40 are expected")));
    }
    if size > left {
        return Err(Error::data(format!("fmt chunk has {size} bytes, {left} are left: the file is truncated"))
            .hint("copy or export the file again"));
    }
    let mut fmt = vec![0; size as usize];
    read_exact(reader, &mut fmt, "the fmt chunk")?;
    let u16_at = |at: usize| u16::from_le_bytes([fmt[at], fmt[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([fmt[at], fmt[at + 1], fmt[at + 2], fmt[at + 3]]);
    let (mut tag, channels, sample_rate) = (u16_at(0), u64::from(u16_at(2)), u64::from(u32_at(4)));
    let (block_align, bits) = (u64::from(u16_at(12)), u16_at(14));
    check_format(channels, sample_rate)?;
    let mut convention = None;
    if tag == TAG_EXTENSIBLE {
        if size < 40 {
            return Err(Error::data(format!("fmt chunk has {size} bytes, WAVE_FORMAT_EXTENSIBLE needs 40")));
        }
        tag = u16_at(24);
        if fmt[26..40] == GUID_AMBISONIC {
            convention = Some(Convention::Fuma);
        } else if fmt[26..40] != GUID_MICROSOFT {
            return Err(Error::data("fmt sub-format GUID is unknown").hint("convert the file to PCM or float WAV"));
        }
        let valid = u16_at(18);
        if valid > bits {
            return Err(Error::data(format!("fmt valid bits is {valid}, more than the {bits} bits of the container")));
        }
    }
    let encoding = encoding(tag, bits)?;
    if block_align != channels * encoding.bytes() {
        return Err(Error::data(format!(
            "fmt block align is {block_align}, {channels} channels of {bits} bits make {}",
            channels * encoding.bytes()
        )));
    }
    Ok(Fmt { encoding, channels, sample_rate, convention })
}

fn encoding(tag: u16, bits: u16) -> Result<Encoding> {
    let known = match tag {
        TAG_PCM => "PCM",
        TAG_FLOAT => "float",
        2 | 0x11 => "ADPCM",
        6 => "A-law",
        7 => "mu-law",
        0x55 => "MP3",
        _ => "unknown",
    };
    match (tag, bits) {
        (TAG_PCM, 8) => Ok(Encoding::U8),
        (TAG_PCM, 16) => Ok(Encoding::I16),
        (TAG_PCM, 24) => Ok(Encoding::I24),
        (TAG_PCM, 32) => Ok(Encoding::I32),
        (TAG_FLOAT, 32) => Ok(Encoding::F32),
        (TAG_FLOAT, 64) => Ok(Encoding::F64),
        (TAG_PCM | TAG_FLOAT, _) => Err(Error::data(format!(
            "fmt bits per sample is {bits} for {known}, accepted are PCM 8, 16, 24, 32 and float 32, 64"
        ))),
        _ => Err(Error::data(format!("fmt format tag is {tag:#06x} ({known}), PCM and float are accepted"))
            .hint("convert the file to PCM WAV")),
    }
}

/// The 64-bit data size of an RF64 or BW64 file.
fn read_ds64(reader: &mut impl Read, size: u64, left: u64) -> Result<u64> {
    if size < 24 {
        return Err(Error::data(format!("ds64 chunk has {size} bytes, at least 24 are expected")));
    }
    if size > left {
        return Err(Error::data(format!("ds64 chunk has {size} bytes, {left} are left: the file is truncated"))
            .hint("copy or export the file again"));
    }
    let mut ds64 = [0; 24];
    read_exact(reader, &mut ds64, "the ds64 chunk")?;
    Ok(u64::from_le_bytes(ds64[8..16].try_into().expect("eight bytes")))
}

/// How many bytes of the data chunk are samples, and whether that is all that follows for want of a size: what the header
/// says if it is true, what is there if a recorder was cut before it could say, an error if the header lies.
fn data_bytes(
    reader: &mut (impl Read + Seek),
    start: u64,
    size: u64,
    left: u64,
    riff_size: u64,
    warnings: &mut Vec<String>,
) -> Result<(u64, bool)> {
    if size == 0 && left > 0 {
        let mut next = [0; 8];
        reader.seek(SeekFrom::Start(start)).map_err(unreadable)?;
        let got = read_up_to(reader, &mut next)?;
        let next_size = u64::from(u32::from_le_bytes(next[4..].try_into().expect("four bytes")));
        let chunk_follows = got == 8 && is_name(&next[..4]) && next_size <= left - 8;
        let unfinished = riff_size <= start || is_placeholder(riff_size);
        if chunk_follows && !unfinished {
            return Ok((0, false));
        }
        warnings.push(format!("data size is 0 (the recorder did not finish), the {left} bytes that follow are used"));
        return Ok((left, true));
    }
    if size <= left {
        let bytes = trailer::samples_bytes(reader, start, size, left, warnings)?;
        return Ok((bytes, bytes != size));
    }
    if is_placeholder(size) {
        warnings.push(format!("data size is {size} (unknown when it was written), the {left} bytes there are used"));
        return Ok((left, true));
    }
    Err(Error::data(format!("data size is {size} bytes, the file holds {left} of them: it is truncated"))
        .hint("copy or export the file again"))
}

fn finish(fmt: Fmt, data_start: u64, bytes: u64, is_unfinished: bool, mut warnings: Vec<String>) -> Result<Header> {
    let frame = fmt.channels * fmt.encoding.bytes();
    let (frames, rest) = (bytes / frame, bytes % frame);
    if frames == 0 {
        return Err(Error::data(format!("data holds {bytes} bytes, not one frame of {frame} bytes")));
    }
    if rest != 0 {
        warnings.push(format!("data ends with {rest} bytes of an unfinished frame, which are dropped"));
    }
    Ok(Header {
        encoding: fmt.encoding,
        channels: fmt.channels as usize,
        sample_rate: fmt.sample_rate as u32,
        frames,
        data_start,
        convention: fmt.convention,
        is_unfinished,
        warnings,
    })
}

fn is_name(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| b.is_ascii_alphanumeric() || b" _-".contains(b))
}

fn name(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

fn read_exact(reader: &mut impl Read, bytes: &mut [u8], what: &str) -> Result<()> {
    let got = read_up_to(reader, bytes)?;
    if got < bytes.len() {
        return Err(Error::data(format!("the file ends inside {what}: it is truncated")));
    }
    Ok(())
}

fn read_up_to(reader: &mut impl Read, bytes: &mut [u8]) -> Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match reader.read(&mut bytes[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(e)),
        }
    }
    Ok(got)
}

fn unreadable(e: std::io::Error) -> Error {
    Error::new(crate::error::Kind::Io, format!("reading failed: {e}"))
}
