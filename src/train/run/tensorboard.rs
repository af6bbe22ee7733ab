//! TensorBoard event files: records framed by length and masked CRC-32C, holding hand-encoded `Event` messages.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// An event file of this session. Every session writes its own, which begins by discarding the steps after the
/// checkpoint it continues from; TensorBoard reads all of them as one run.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// A new file in `folder` for a session that continues after `first_step`.
    pub fn create(folder: &Path, first_step: u64) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Names sort by time, also for sessions within one second.
        let name = format!("events.out.tfevents.{:010}.{:09}.twnm", now.as_secs(), now.subsec_nanos());
        let path = folder.join(name);
        let file = File::options().create_new(true).write(true).open(&path);
        let mut events = EventFile { file: file.map_err(|e| Error::io("create", &path, &e))?, path };
        let mut version = event(now.as_secs_f64(), 0);
        bytes_field(&mut version, 3, b"brain.Event:2");
        events.write(&version)?;
        if first_step > 0 {
            // SessionLog { status: START }: earlier events of later steps are dropped by readers.
            let mut start = event(now.as_secs_f64(), first_step + 1);
            bytes_field(&mut start, 7, &[0x08, 0x01]);
            events.write(&start)?;
        }
        Ok(events)
    }

    /// Appends scalars of `step`.
    pub fn append(&mut self, unix_s: f64, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for &(name, value) in values {
            let mut entry = Vec::new();
            bytes_field(&mut entry, 1, name.as_bytes());
            entry.push(2 << 3 | 5);
            entry.extend((value as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &entry);
        }
        let mut message = event(unix_s, step);
        bytes_field(&mut message, 5, &summary);
        self.write(&message)
    }

    fn write(&mut self, message: &[u8]) -> Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        let crc = |bytes: &[u8]| masked_crc32c(bytes).to_le_bytes();
        let record = [&length[..], &crc(&length), message, &crc(message)].concat();
        self.file.write_all(&record).map_err(|e| Error::io("write", &self.path, &e))
    }
}

/// An `Event` with wall time (field 1, double) and step (field 2, varint).
fn event(unix_s: f64, step: u64) -> Vec<u8> {
    let mut message = vec![1 << 3 | 1];
    message.extend(unix_s.to_le_bytes());
    message.push(2 << 3);
    varint(&mut message, step);
    message
}

fn bytes_field(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// The masked checksum of the record format: rotated, so that checksums of checksums stay good.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), reflected polynomial 0x82F63B78.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut value, mut bit) = (i as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &b| TABLE[(crc as u8 ^ b) as usize] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_the_published_vectors() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn an_event_has_the_bytes_protobuf_gives_it() {
        // Event(wall_time=1.5, step=300, summary={tag: "a", simple_value: 2.0}) as protoc encodes it.
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 0).unwrap();
        events.append(1.5, 300, &[("a", 2.0)]).unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let first = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 16;
        let record = &bytes[first..];
        let message = [
            &[0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0xac, 0x02, 0x2a, 0x0a][..],
            &[0x0a, 0x08, 0x0a, 0x01, b'a', 0x15, 0, 0, 0, 0x40],
        ]
        .concat();
        assert_eq!(record[..8], (message.len() as u64).to_le_bytes());
        assert_eq!(record[12..record.len() - 4], message);
        assert_eq!(record[record.len() - 4..], masked_crc32c(&message).to_le_bytes());
    }
}
