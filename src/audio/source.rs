//! A file as the decoders see it: without tags of MP3 programs around the audio, with a STREAMINFO of FLAC that they
//! accept, and watched for a second FLAC file behind the first.

use super::sniff::{self, Content};
use crate::error::{Error, Result};
use crate::files;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use symphonia::core::io::MediaSource;

/// Tags in front of the audio; more of them are a hostile file's way to waste time.
const MAX_TAGS: usize = 16;
/// An opened file, without its tags.
pub struct Source {
    file: File,
    /// Where the audio begins in the file, and where it ends.
    range: std::ops::Range<u64>,
    /// Position in the file.
    at: u64,
    /// Bytes that are given in place of those in the file, from this position on.
    patch: (u64, [u8; 4]),
    /// FLAC in Ogg has the mark inside; a bare FLAC file has one, at its beginning.
    is_flac: bool,
    watch: Watch,
}

/// Where a second FLAC file begins; 0 when none was met.
#[derive(Clone, Default)]
pub struct Watch {
    second: Arc<AtomicU64>,
    /// The last bytes that were read, and the position after them.
    tail: (u64, Vec<u8>),
}

impl Watch {
    /// The byte of the file where a second FLAC file was met among those that were read.
    pub fn second(&self) -> Option<u64> {
        Some(self.second.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    fn look(&mut self, at: u64, bytes: &[u8]) {
        let (end, mut seen) = std::mem::take(&mut self.tail);
        if end != at {
            seen.clear();
        }
        let first = at - seen.len() as u64;
        seen.extend_from_slice(bytes);
        // The mark of the file itself is at the very beginning and never here.
        if let Some(offset) = seen.windows(8).position(is_flac) {
            self.second.store(first + offset as u64, Ordering::Relaxed);
        }
        let keep = seen.len().saturating_sub(7);
        self.tail = (at + bytes.len() as u64, seen.split_off(keep));
    }
}

/// Opens a file and says what is in it by the first bytes behind its tags.
///
/// # Errors
/// `Data` for a tag that is longer than the file or has nothing behind it; those of [`files::open_regular`]. The file is
/// named.
pub fn open(path: &Path) -> Result<(Source, Content)> {
    let mut file = files::open_regular(path)?;
    let io = |e: std::io::Error| Error::io("read", path, &e);
    let mut end = file.metadata().map_err(io)?.len();
    let mut begin = 0;
    for _ in 0..MAX_TAGS {
        let head = read_at(&mut file, begin, sniff::HEAD).map_err(io)?;
        let Some(tag) = id3_bytes(&head) else {
            let content = match sniff::content(&head) {
                Content::Wav if begin > 0 => {
                    Content::Other("a WAV file behind an ID3 tag", "remove the tag, or convert the file")
                }
                Content::Empty if begin > 0 => {
                    let what = format!("{}: an ID3 tag of {begin} bytes and no audio behind it", path.display());
                    return Err(Error::data(what).hint("copy the file again"));
                }
                // A tag is often shorter than it should be, with rests of an older one behind it.
                Content::Other(..) if begin > 0 => Content::Mp3,
                content => content,
            };
            end = without_tags(&mut file, begin..end).map_err(io)?;
            let patch = if content == Content::Flac { repair(&mut file, begin).map_err(io)? } else { None };
            let patch = patch.map_or((u64::MAX, [0; 4]), |bytes| (begin + 8, bytes));
            let at = file.seek(SeekFrom::Start(begin)).map_err(io)?;
            return Ok((
                Source {
                    file,
                    range: begin..end,
                    at,
                    patch,
                    is_flac: content == Content::Flac,
                    watch: Watch::default(),
                },
                content,
            ));
        };
        begin += tag;
        if begin > end {
            let what = format!("{}: the ID3 tag says {tag} bytes, the file has {end}", path.display());
            return Err(Error::data(what + ": it is truncated").hint("copy the file again"));
        }
    }
    Err(Error::data(format!("{}: more than {MAX_TAGS} ID3 tags in front of the audio", path.display())))
}

impl Source {
    /// What sees a second FLAC file.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

/// The mark of a FLAC file, then its block STREAMINFO of 34 bytes, which may be the last of its metadata.
fn is_flac(head: &[u8]) -> bool {
    head.starts_with(b"fLaC") && head[4] & 0x7F == 0 && head[5..8] == [0, 0, 34]
}

fn read_at(file: &mut File, at: u64, bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The length of an ID3v2 tag with its header and footer, if one begins here (id3.org, "ID3v2.4.0 main structure", 3.1).
fn id3_bytes(head: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', major, minor, flags, a, b, c, d, ..] = *head else { return None };
    if major == 0xFF || minor == 0xFF || [a, b, c, d].iter().any(|byte| *byte > 0x7F) {
        return None;
    }
    let size = [a, b, c, d].iter().fold(0u64, |size, byte| size << 7 | u64::from(*byte));
    Some(size + 10 + if flags & 0x10 != 0 { 10 } else { 0 })
}

/// Where the audio ends: in front of an ID3v1 tag (128 bytes that begin with "TAG") and an APE tag, whose footer of 32
/// bytes says its length.
fn without_tags(file: &mut File, range: std::ops::Range<u64>) -> std::io::Result<u64> {
    let mut end = range.end;
    if end >= range.start + 128 && read_at(file, end - 128, 3)? == b"TAG" {
        end -= 128;
    }
    if end >= range.start + 32 {
        let footer = read_at(file, end - 32, 32)?;
        if footer.starts_with(b"APETAGEX") {
            let word = |at: usize| u32::from_le_bytes(footer[at..at + 4].try_into().expect("four bytes"));
            // The length counts the footer, not the header, which the highest bit of the flags announces.
            let tag = u64::from(word(12)) + if word(20) >> 31 == 1 { 32 } else { 0 };
            if tag >= 32 && end - range.start >= tag {
                end -= tag;
            }
        }
    }
    Ok(end)
}

/// Smallest and largest block of a FLAC file as the decoder wants them, 16 bits each, when STREAMINFO says something
/// else. Encoders write 0 for unknown; and a stream of fixed blocks has one size, which the decoder takes from both.
/// (RFC 9639, 8.2 and 9.1.)
fn repair(file: &mut File, begin: u64) -> std::io::Result<Option<[u8; 4]>> {
    let mut at = begin + 4;
    let head = read_at(file, begin, 12)?;
    if head.len() < 12 || !is_flac(&head[..8]) {
        return Ok(None);
    }
    let (min, max) = (u16::from_be_bytes([head[8], head[9]]), u16::from_be_bytes([head[10], head[11]]));
    // The first frame is behind the metadata, of which a file has few blocks.
    for _ in 0..1000 {
        let block = read_at(file, at, 4)?;
        let [kind, a, b, c] = block[..] else { return Ok(None) };
        at += 4 + u64::from(u32::from_be_bytes([0, a, b, c]));
        if kind & 0x80 != 0 {
            break;
        }
    }
    let frame = read_at(file, at, 8)?;
    let [0xFF, second, sizes, _, ..] = frame[..] else { return Ok(None) };
    let is_fixed = second & 1 == 0;
    let max = if max >= 16 { max } else { first_block(sizes >> 4, &frame).filter(|_| is_fixed).unwrap_or(u16::MAX) };
    let repaired = match is_fixed {
        true => (max, max),
        // Equal sizes would say that the blocks are fixed.
        false => (if (16..max).contains(&min) { min } else { 16 }, max.max(17)),
    };
    let [a, b] = repaired.0.to_be_bytes();
    let [c, d] = repaired.1.to_be_bytes();
    Ok(((min, max) != repaired).then_some([a, b, c, d]))
}

/// The block size of the first frame (RFC 9639, 9.1.1): a code, or a number behind the frame's own, which is 0.
fn first_block(code: u8, frame: &[u8]) -> Option<u16> {
    match code {
        1 => Some(192),
        2..=5 => Some(576 << (code - 2)),
        6 => Some(u16::from(*frame.get(5)?) + 1),
        7 => u16::from_be_bytes([*frame.get(5)?, *frame.get(6)?]).checked_add(1),
        8..=15 => Some(256 << (code - 8)),
        _ => None,
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.range.end.saturating_sub(self.at);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = self.file.read(&mut buffer[..wanted])?;
        for (i, byte) in self.patch.1.iter().enumerate() {
            if let Some(offset) = self.patch.0.checked_add(i as u64).and_then(|p| p.checked_sub(self.at))
                && let Some(place) = buffer[..got].get_mut(offset as usize)
            {
                *place = *byte;
            }
        }
        if self.is_flac {
            // The first eight bytes are the mark of this file.
            let skip = (self.range.start + 8).saturating_sub(self.at).min(got as u64) as usize;
            self.watch.look(self.at + skip as u64, &buffer[skip..got]);
        }
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
        let (base, offset) = match to {
            SeekFrom::Start(offset) => (self.range.start, i64::try_from(offset).map_err(|_| invalid())?),
            SeekFrom::End(offset) => (self.range.end, offset),
            SeekFrom::Current(offset) => (self.at, offset),
        };
        let at = base.checked_add_signed(offset).filter(|at| *at >= self.range.start).ok_or_else(invalid)?;
        self.at = self.file.seek(SeekFrom::Start(at))?;
        Ok(self.at - self.range.start)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.range.end - self.range.start)
    }
}
