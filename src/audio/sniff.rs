//! What a file is, from its first bytes; names of files lie.

/// How many bytes [`content`] wants to see.
pub const HEAD: usize = 512;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// RIFF/WAVE, RF64 or BW64 (also a broken one: the WAV reader says what is wrong).
    Wav,
    /// Ogg, with Vorbis or FLAC in it, or what the decoder will name.
    Ogg,
    /// FLAC.
    Flac,
    /// MPEG audio, or an ID3 tag in front of something.
    Mp3,
    /// Nothing in the file.
    Empty,
    /// Something that is not accepted: what it is and what to do about it.
    Other(&'static str, &'static str),
}

/// Recognises `head`, the first [`HEAD`] bytes of a file or all of a shorter one.
pub fn content(head: &[u8]) -> Content {
    use Content::*;
    let starts = |magic: &[u8]| head.starts_with(magic);
    if head.is_empty() {
        return Empty;
    }
    if starts(b"RIFF") || starts(b"RF64") || starts(b"BW64") {
        return Wav;
    }
    if starts(b"OggS") {
        return ogg(head);
    }
    if starts(b"fLaC") {
        return Flac;
    }
    if starts(b"ID3") || is_mpeg_frame(head) {
        return Mp3;
    }
    for (magic, what, hint) in KNOWN {
        if starts(magic) {
            return Other(what, hint);
        }
    }
    if head.len() > 11 && &head[4..8] == b"ftyp" {
        return Other("an MP4 file", "convert it to wav or flac (for example with ffmpeg)");
    }
    let text = String::from_utf8_lossy(head).to_lowercase();
    if text.trim_start().starts_with("<!doctype") || text.trim_start().starts_with("<html") {
        return Other("a web page", "the download failed: fetch the file again");
    }
    Other("not a known audio format", "wav, ogg (Vorbis), flac and mp3 are read; convert it")
}

/// What is in an Ogg file: each of its streams begins with a page of its own, and those come first.
fn ogg(head: &[u8]) -> Content {
    let (mut at, mut other) = (0, None);
    while let Some(page) = head.get(at..at + 27).filter(|page| page.starts_with(b"OggS") && page[5] & 2 != 0) {
        let Some(lacing) = head.get(at + 27..at + 27 + page[26] as usize) else { break };
        let begin = at + 27 + lacing.len();
        let packet = &head[begin..];
        if packet.starts_with(b"\x01vorbis") || packet.starts_with(b"\x7fFLAC") {
            return Content::Ogg;
        }
        let known = OGG_CODECS.iter().find(|(magic, _)| packet.starts_with(magic));
        other = other.or(known.map(|(_, what)| Content::Other(what, CONVERT_OGG)));
        at = begin + lacing.iter().map(|n| *n as usize).sum::<usize>();
        if at > head.len() {
            break;
        }
    }
    other.unwrap_or(Content::Ogg)
}

const CONVERT_OGG: &str = "convert it to wav, for example with `ffmpeg -i FILE out.wav` (channels keep their order)";
/// How the first packet of a stream begins that is not read.
const OGG_CODECS: &[(&[u8], &str)] = &[
    (b"OpusHead", "Opus in Ogg, of which Vorbis and FLAC are read"),
    (b"Speex   ", "Speex in Ogg, of which Vorbis and FLAC are read"),
    (b"CELT    ", "CELT in Ogg, of which Vorbis and FLAC are read"),
    (b"PCM     ", "PCM in Ogg, of which Vorbis and FLAC are read"),
    (b"\x80theora", "a Theora video in Ogg without Vorbis or FLAC sound"),
];

const CONVERT: &str = "convert it to wav or flac";
const KNOWN: &[(&[u8], &str, &str)] = &[
    (b"version https://git-lfs", "a Git-LFS pointer, not the file itself", "run `git lfs pull`"),
    (b"RIFX", "a big-endian RIFX file", CONVERT),
    (b"FORM", "an AIFF file", CONVERT),
    (b"caff", "a CAF file", CONVERT),
    (b".snd", "a Sun AU file", CONVERT),
    (b"wvpk", "a WavPack file", CONVERT),
    (b"NIST_1A", "a NIST SPHERE file", "convert it to wav (for example with sox or sph2pipe)"),
    (b"riff\x2e\x91\xcf\x11", "a Sony Wave64 file", "convert it to wav (RF64 when larger than 4 GiB)"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM file", CONVERT),
    (b"PK\x03\x04", "a zip archive (perhaps a PyTorch or NumPy file)", "unpack it and point to the audio inside"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x80\x02", "a Python pickle", "pickles are never loaded: export the audio as wav"),
    (b"\x80\x04", "a Python pickle", "pickles are never loaded: export the audio as wav"),
    (b"\x93NUMPY", "a NumPy array", "export the audio as wav"),
];

/// A plausible header of an MPEG layer I to III frame: sync, version, layer, bit rate and sample rate set.
fn is_mpeg_frame(head: &[u8]) -> bool {
    let [a, b, c, ..] = *head else { return false };
    a == 0xFF && b & 0xE0 == 0xE0 && b & 0x18 != 0x08 && b & 0x06 != 0 && c & 0xF0 != 0xF0 && c & 0x0C != 0x0C
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_not_the_name() {
        assert_eq!(content(b""), Content::Empty);
        assert_eq!(content(b"RF64\xff\xff\xff\xffWAVE"), Content::Wav);
        assert_eq!(content(b"OggS\0\x02"), Content::Ogg);
        let page = |packet: &[u8]| {
            let mut page = b"OggS\0\x02".to_vec();
            page.resize(26, 0);
            page.extend([1, packet.len() as u8]);
            page.extend(packet);
            page
        };
        assert_eq!(content(&page(b"\x01vorbis\0\0")), Content::Ogg);
        for (packet, name) in [(b"OpusHead\x01\x04", "Opus"), (b"Speex   1.", "Speex")] {
            assert!(
                matches!(content(&page(packet)), Content::Other(what, hint) if what.contains(name) && hint.contains("ffmpeg"))
            );
        }
        // A video with sound, whichever comes first.
        let (video, sound) = (page(b"\x80theora\x03"), page(b"\x01vorbis\0\0"));
        assert_eq!(content(&[&video[..], &sound].concat()), Content::Ogg);
        assert_eq!(content(&[&sound[..], &video].concat()), Content::Ogg);
        assert_eq!(content(&[0xFF, 0xFB, 0x90, 0x64]), Content::Mp3);
        assert!(
            matches!(content(b"version https://git-lfs.github.com/spec/v1"), Content::Other(_, h) if h.contains("lfs"))
        );
        assert!(matches!(content(b"\n<!DOCTYPE html><html>"), Content::Other("a web page", _)));
        assert!(matches!(content(b"\x80\x02}q\0"), Content::Other("a Python pickle", _)));
        assert!(matches!(content(&[0; 64]), Content::Other(_, _)));
        assert!(matches!(content(&[0xFF; 64]), Content::Other(_, _)), "all ones is no MPEG frame");
    }
}
