//! What stands behind the samples of a WAV file: other chunks, padding, a second recording, or more samples than the
//! header knows of.

use super::{is_name, is_placeholder, read_up_to, unreadable};
use crate::error::{Error, Result};
use std::io::{Read, Seek, SeekFrom};

/// Chunks that are walked; a hostile file may have millions, of which none matters.
const MAX_CHUNKS: usize = 1000;
/// How far a second header is looked for in what is no chunk.
const SEARCH: usize = 1 << 16;
/// How much may follow samples whose 32-bit size went round: metadata, not recordings.
const METADATA_MAX: u64 = 1 << 20;

/// What is met behind the samples.
#[derive(Debug, PartialEq)]
enum Follows {
    /// Chunks, padding or a tag: nothing of the recording.
    Metadata,
    /// Another file, at this byte.
    Recording(u64),
    /// Something else, so that the header may not tell the whole length.
    Unknown,
}

/// The bytes of samples of a data chunk that says `size` of the `left` bytes from `start` to the end of the file: more
/// than it says when a size that did not fit went round, with a warning.
pub fn samples_bytes(
    reader: &mut (impl Read + Seek),
    start: u64,
    size: u64,
    left: u64,
    warnings: &mut Vec<String>,
) -> Result<u64> {
    match behind(reader, start + size, start + left, size)? {
        Follows::Metadata => Ok(size),
        Follows::Recording(at) => Err(joined(at)),
        Follows::Unknown => {
            let rest = left - size;
            let past_wrap = rest % (1 << 32);
            if rest >= 1 << 32 && past_wrap <= METADATA_MAX {
                let bytes = left - past_wrap;
                warnings.push(format!("data size is {size}, which went round at 4 GiB: {bytes} bytes are used"));
                return Ok(bytes);
            }
            if is_placeholder(size) {
                warnings.push(format!("data size is {size} (unknown when it was written), all {left} bytes are used"));
                return Ok(left);
            }
            warnings.push(format!(
                "data size is {size} bytes, {rest} bytes that are no chunk follow and are not read: if the recording \
                 is longer than what is heard, its header must be repaired"
            ));
            Ok(size)
        }
    }
}

/// The error for a file that is several: `at` is the byte where the next one begins.
pub fn joined(at: u64) -> Error {
    Error::data(format!("another recording begins at byte {at}: whole files were joined, not their samples"))
        .hint("split the file there, or join the recordings anew with an audio program")
}

/// Where in `bytes` the header of a WAV file begins.
pub fn find_header(bytes: &[u8]) -> Option<usize> {
    bytes.windows(16).position(is_header)
}

/// "RIFF", a size, "WAVE" and the name of a chunk: samples are that by chance once in 2^70 places.
fn is_header(bytes: &[u8]) -> bool {
    let forms: [&[u8]; 3] = [b"RIFF", b"RF64", b"BW64"];
    bytes.len() >= 16 && forms.contains(&&bytes[..4]) && &bytes[8..12] == b"WAVE" && is_name(&bytes[12..16])
}

/// Looks at what stands between `at`, where `size` bytes of samples end, and `end`, where the file does.
fn behind(reader: &mut (impl Read + Seek), mut at: u64, end: u64, size: u64) -> Result<Follows> {
    let mut may_lack_padding = size % 2 == 1;
    for _ in 0..MAX_CHUNKS {
        let mut head = [0; 9];
        reader.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let got = read_up_to(reader, &mut head)?;
        // Some writers forget the byte that makes a chunk even.
        let skip = usize::from(may_lack_padding && got > 0 && (head[0] == 0 || !is_name(&head[..4])));
        at += skip as u64;
        if got < skip + 8 {
            return Ok(Follows::Metadata);
        }
        let (name, size) = (&head[skip..skip + 4], &head[skip + 4..skip + 8]);
        let others: [&[u8]; 8] = [b"RIFF", b"RF64", b"BW64", b"RIFX", b"fLaC", b"OggS", b"FORM", b"caff"];
        if others.contains(&name) {
            return Ok(Follows::Recording(at));
        }
        if name == b"data" {
            return Err(Error::data("two data chunks, one is expected")
                .hint("the file was put together from parts; export it again"));
        }
        if !is_name(name) {
            return unknown(reader, at, end);
        }
        let size = u64::from(u32::from_le_bytes(size.try_into().expect("four bytes")));
        if size > end - at - 8 {
            // Metadata that was cut: the samples are all there.
            return Ok(Follows::Metadata);
        }
        (at, may_lack_padding) = (at + 8 + size, size % 2 == 1);
    }
    Ok(Follows::Metadata)
}

/// No chunk at `at`: zeros that fill a block of the disk, a tag of an MP3 program, a second header behind them, or samples.
fn unknown(reader: &mut (impl Read + Seek), at: u64, end: u64) -> Result<Follows> {
    let mut bytes = vec![0; SEARCH.min((end - at) as usize)];
    reader.seek(SeekFrom::Start(at)).map_err(unreadable)?;
    let got = read_up_to(reader, &mut bytes)?;
    bytes.truncate(got);
    if let Some(offset) = find_header(&bytes) {
        return Ok(Follows::Recording(at + offset as u64));
    }
    let is_whole = got as u64 == end - at;
    let is_tag = bytes.starts_with(b"TAG") && got == 128 || bytes.starts_with(b"ID3") || bytes.starts_with(b"APETAGEX");
    let is_padding = is_whole && bytes.iter().all(|b| *b == 0);
    Ok(if is_tag || is_padding { Follows::Metadata } else { Follows::Unknown })
}
