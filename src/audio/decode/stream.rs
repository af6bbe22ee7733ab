//! One file in the hands of the decoders: packets in, blocks of frames with their place in the recording out.

use super::super::part::{Shape, check_format};
use super::super::riff;
use super::super::source::{self, Watch};
use crate::error::{Error, Result};
use std::path::Path;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP3, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::common::Limit;
use symphonia::core::errors::Error as DecodeError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::Timestamp;

/// A file that is being decoded.
pub struct Stream {
    /// What its header says.
    pub shape: Shape,
    /// The length that its header declares or lets guess, in frames.
    pub declared: Option<u64>,
    /// The frames of the last packet, by channel.
    pub block: Vec<Vec<f32>>,
    /// Place of the first frame that was decoded since the beginning or the last search.
    pub first: Option<u64>,
    /// Packets that were read, with the damaged ones.
    pub packets: u64,
    /// Packets that could not be decoded.
    pub damaged: u64,
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    /// Time stamp of the first frame of the file, once it was decoded.
    origin: Option<i64>,
    is_mp3: bool,
    /// MP3 by LAME: frames of the recording, and how many follow that only fill up its last packet.
    padding: Option<(i64, i64)>,
    watch: Watch,
}

impl Stream {
    /// Opens a file; `verify` has the decoder compute the checksum that [`Self::verify`] compares.
    pub fn open(path: &Path, verify: bool) -> Result<Stream> {
        let (source, _) = source::open(path)?;
        let watch = source.watch();
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let metadata = MetadataOptions::default()
            .limit_tag_bytes(Limit::Maximum(1 << 20))
            .limit_visual_bytes(Limit::Maximum(1 << 20));
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), metadata)
            .map_err(refused)?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| Error::data("there is no audio track"))?;
        let Some(CodecParameters::Audio(parameters)) = track.codec_params.clone() else {
            return Err(Error::data("the audio codec is not known").hint("Vorbis, FLAC and MP3 are read"));
        };
        let (Some(channels), Some(rate)) = (parameters.channels.as_ref(), parameters.sample_rate) else {
            return Err(Error::data("its header does not tell channels and sample rate").hint("convert it to WAV"));
        };
        let (channels, rate) = (channels.count() as u64, u64::from(rate));
        check_format(channels, rate)?;
        if parameters.codec == CODEC_ID_VORBIS && channels > 2 {
            // The decoder mixes their channels up in most of the encoder's modes, without an error.
            let message = format!("Ogg Vorbis with {channels} channels is not read, only mono and stereo");
            return Err(Error::data(message).hint("convert it, for example with `ffmpeg -i in.ogg out.flac`"));
        }
        // The decoder's own trimming ends an MP3 where its bit rate lets guess, whatever follows.
        let is_mp3 = parameters.codec == CODEC_ID_MP3;
        let options = AudioDecoderOptions::default().verify(verify).gapless(!is_mp3);
        let decoder = symphonia::default::get_codecs().make_audio_decoder(&parameters, &options).map_err(refused)?;
        let padding = match (track.num_frames, track.padding) {
            (Some(frames), Some(padding)) if is_mp3 => Some((frames as i64, i64::from(padding))),
            _ => None,
        };
        let (channels, sample_rate) = (channels as usize, rate as u32);
        // Without LAME's mark the length of an MP3 may be a guess.
        let frames = track.num_frames.filter(|_| !is_mp3 || padding.is_some());
        Ok(Stream {
            shape: Shape { channels, sample_rate, frames, convention: None },
            declared: track.num_frames,
            block: Vec::new(),
            first: None,
            packets: 0,
            damaged: 0,
            track_id: track.id,
            format,
            decoder,
            origin: is_mp3.then_some(0),
            is_mp3,
            padding,
            watch,
        })
    }

    /// Whether the time stamps say where in the recording a packet belongs, also behind lost ones: an MP3's are counted.
    pub fn tells_places(&self) -> bool {
        !self.is_mp3
    }

    /// Whether the header tells the recording from what fills up its last packet, and so where it ends.
    pub fn has_padding(&self) -> bool {
        self.padding.is_some()
    }

    /// Begins a new count of packets.
    pub fn forget_damage(&mut self) {
        (self.packets, self.damaged) = (0, 0);
    }

    /// Goes to a packet in front of frame `at`, as far as the decoder finds it: the places of the blocks will tell.
    pub fn seek(&mut self, at: u64) -> Result<()> {
        // The time stamps of an Ogg stream that was cut out of a longer one begin somewhere.
        while self.origin.is_none() && self.next_block()?.is_some() {}
        let stamp = self.origin.unwrap_or(0).saturating_add_unsigned(at);
        let to = SeekTo::Timestamp { ts: Timestamp::from(stamp), track_id: self.track_id };
        self.format.seek(SeekMode::Accurate, to).map_err(refused)?;
        self.decoder.reset();
        self.first = None;
        self.forget_damage();
        Ok(())
    }

    /// Decodes the next packet into `block` and says the place of its first frame; nothing at the end.
    pub fn next_block(&mut self) -> Result<Option<u64>> {
        loop {
            let Some(packet) = self.format.next_packet().map_err(refused)? else { return Ok(None) };
            if packet.track_id != self.track_id {
                continue;
            }
            self.packets += 1;
            let buffer = match self.decoder.decode(&packet) {
                Ok(buffer) => buffer,
                Err(DecodeError::DecodeError(_)) => {
                    self.damaged += 1;
                    continue;
                }
                Err(e) => return Err(refused(e)),
            };
            buffer.copy_to_vecs_planar(&mut self.block);
            let (channels, rate) = (self.block.len(), buffer.spec().rate());
            let stamp = match self.is_mp3 {
                true => self.trim(packet.pts.get()),
                false => packet.pts.get().saturating_add_unsigned(packet.trim_start.get()),
            };
            if self.block.first().is_none_or(Vec::is_empty) {
                continue;
            }
            if (channels, rate) != (self.shape.channels, self.shape.sample_rate) {
                return Err(Error::data("channels or sample rate change inside the file").hint("convert it to WAV"));
            }
            let place = stamp - *self.origin.get_or_insert(stamp);
            let place = u64::try_from(place).unwrap_or(0);
            self.first.get_or_insert(place);
            return Ok(Some(place));
        }
    }

    /// Takes what the encoder put in front of an MP3 and behind it out of the block whose first frame has this time
    /// stamp, and says the place of the first frame that is left. What follows the end is another recording.
    fn trim(&mut self, stamp: i64) -> i64 {
        let length = self.block.first().map_or(0, Vec::len) as i64;
        let mut cut = |from: i64, to: i64| {
            let place = |at: i64| at.saturating_sub(stamp).clamp(0, length) as usize;
            self.block.iter_mut().for_each(|channel| drop(channel.drain(place(from)..place(to))));
        };
        let Some((frames, padding)) = self.padding else {
            cut(i64::MIN, 0);
            return stamp.max(0);
        };
        cut(frames, frames + padding);
        cut(i64::MIN, 0);
        let stamp = stamp.max(0);
        if stamp < frames { stamp } else { frames.max(stamp - padding) }
    }

    /// Compares the checksum of what was decoded with that of the header, if there is one.
    pub fn verify(&mut self) -> Result<()> {
        if self.decoder.finalize().verify_ok == Some(false) {
            return Err(Error::data("the checksum of the decoded audio is wrong: the file is damaged"));
        }
        Ok(())
    }

    /// `outcome`, unless a second file was met behind the first: then that is what is wrong.
    pub fn unless_joined<T>(&self, outcome: Result<T>) -> Result<T> {
        match self.watch.second() {
            Some(at) => Err(riff::joined(at)),
            None => outcome,
        }
    }
}

fn refused(e: DecodeError) -> Error {
    let error = match e {
        DecodeError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::data("the file ends too early: it is truncated")
        }
        DecodeError::IoError(e) => Error::data(format!("reading failed: {e}")),
        DecodeError::ResetRequired => Error::data("several recordings are chained in one file"),
        DecodeError::Unsupported(what) => Error::data(format!("not supported: {what}")),
        other => Error::data(other.to_string()),
    };
    error.hint("convert or export the file again, for example as WAV")
}
