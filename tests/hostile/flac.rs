//! FLAC files made by hand (RFC 9639): frames of verbatim samples, so that what is decoded is known to the bit.

/// What is odd about a file.
#[derive(Clone, Copy)]
pub struct Flac {
    /// Frames of each block.
    pub block: usize,
    /// Blocks are numbered by their first frame, as in files of blocks that differ.
    pub is_variable: bool,
    /// The smallest and largest block in STREAMINFO.
    pub declared: (u16, u16),
}

/// A file of 16-bit samples at 16 kHz, `[channels][frames]`, without a checksum of the audio.
pub fn file(channels: &[Vec<i16>], flac: Flac) -> Vec<u8> {
    let (frames, n) = (channels[0].len(), channels.len() as u64);
    let mut out = b"fLaC\x80\0\0\x22".to_vec();
    out.extend(flac.declared.0.to_be_bytes());
    out.extend(flac.declared.1.to_be_bytes());
    out.extend([0; 6]);
    // Sample rate 20 bits, channels - 1 in 3, bits - 1 in 5, frames in 36.
    out.extend((16_000u64 << 44 | (n - 1) << 41 | 15 << 36 | frames as u64).to_be_bytes());
    out.extend([0; 16]);
    for (index, start) in (0..frames).step_by(flac.block).enumerate() {
        let length = flac.block.min(frames - start);
        let begin = out.len();
        // Sync and blocking; block size in 16 bits at the end, 16 kHz; independent channels, 16 bits.
        out.extend([0xFF, 0xF8 | u8::from(flac.is_variable), 0x75, (n as u8 - 1) << 4 | 4 << 1]);
        out.extend(coded(if flac.is_variable { start } else { index } as u32));
        out.extend((length as u16 - 1).to_be_bytes());
        out.push(crc(&out[begin..], 8, 0x07) as u8);
        for channel in channels {
            out.push(0b10);
            channel[start..start + length].iter().for_each(|x| out.extend(x.to_be_bytes()));
        }
        out.extend((crc(&out[begin..], 16, 0x8005) as u16).to_be_bytes());
    }
    out
}

/// A number in as few bytes as it needs, in the manner of UTF-8.
fn coded(number: u32) -> Vec<u8> {
    if number < 0x80 {
        return vec![number as u8];
    }
    let rest = (1..6).find(|rest| number >> (6 * rest + 6 - rest) == 0).unwrap();
    let lead = (0xFF00u32 >> (rest + 1)) as u8;
    let mut out = vec![lead | (number >> (6 * rest)) as u8];
    out.extend((0..rest).rev().map(|i| 0x80 | (number >> (6 * i) & 0x3F) as u8));
    out
}

fn crc(bytes: &[u8], bits: u32, polynomial: u32) -> u32 {
    let mut crc = 0u32;
    for byte in bytes {
        crc ^= u32::from(*byte) << (bits - 8);
        for _ in 0..8 {
            let carry = crc >> (bits - 1) & 1;
            crc = (crc << 1) ^ (carry * polynomial);
        }
    }
    crc & ((1 << bits) - 1)
}
