//! Any accepted recording by its content: WAV through the own reader; Ogg Vorbis, FLAC and MP3 through symphonia.
//!
//! The decoders are other people's code on hostile input: they run behind `catch_unwind`, shapes are checked
//! before samples are collected, and length and memory are capped. Names of files are not believed.

pub(super) use super::sniff::Content;
use super::{Audio, check_shape, sniff, wav};
use crate::error::{Context, Error, Result};
use crate::files;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::common::Limit;
use symphonia::core::errors::Error as DecodeError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

/// At most this share of a recording's packets may be damaged and skipped.
const MAX_DAMAGED: f64 = 0.02;

/// Reads a recording by its content, whatever its name: WAV, Ogg Vorbis, FLAC or MP3; at most 16 channels, 1 to 768
/// kHz, 6 hours.
///
/// # Errors
/// `Data` naming the file and what it is when it is nothing of these; `Missing` or `Io` when it cannot be opened.
pub fn read(path: &Path) -> Result<Audio> {
    match content(path)? {
        Content::Wav => wav::read(path).map(|wav| wav.audio),
        Content::Empty => Err(Error::data(format!("{}: the file is empty (0 bytes)", path.display()))),
        Content::Other(what, hint) => Err(Error::data(format!("{}: this is {what}", path.display())).hint(hint)),
        Content::Ogg | Content::Flac | Content::Mp3 => {
            let decoded = catch_unwind(AssertUnwindSafe(|| decode(path)));
            let caught = |_| Err(Error::data("the decoder failed on damaged content").hint("convert the file to WAV"));
            decoded.unwrap_or_else(caught).context_with(|| path.display())
        }
    }
}

/// What a file is by its first bytes.
pub(super) fn content(path: &Path) -> Result<Content> {
    let file = files::open_regular(path)?;
    let mut head = Vec::new();
    file.take(sniff::HEAD as u64).read_to_end(&mut head).map_err(|e| Error::io("read", path, &e))?;
    Ok(sniff::content(&head))
}

fn decode(path: &Path) -> Result<Audio> {
    let file = files::open_regular(path)?;
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let metadata =
        MetadataOptions::default().limit_tag_bytes(Limit::Maximum(1 << 20)).limit_visual_bytes(Limit::Maximum(1 << 20));
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), metadata)
        .map_err(refused)?;
    let track = format.default_track(TrackType::Audio).ok_or_else(|| Error::data("there is no audio track"))?;
    let track_id = track.id;
    let Some(CodecParameters::Audio(parameters)) = track.codec_params.clone() else {
        return Err(Error::data("the audio codec is not known").hint("Vorbis, FLAC and MP3 are read"));
    };
    let channels = parameters.channels.as_ref().map_or(1, |c| c.count() as u64);
    let rate = u64::from(parameters.sample_rate.unwrap_or(*super::RATES.start()));
    check_shape(channels, rate, 0)?;
    let options = AudioDecoderOptions::default().verify(true);
    let mut decoder = symphonia::default::get_codecs().make_audio_decoder(&parameters, &options).map_err(refused)?;
    let declared = track.num_frames;
    let audio = collect(&mut *format, &mut *decoder, track_id)?;
    if decoder.finalize().verify_ok == Some(false) {
        return Err(Error::data("the checksum of the decoded audio is wrong: the file is damaged"));
    }
    // An MP3 that was cut has no other sign of it than the length that its first frame declares.
    if let Some(frames) = declared.filter(|&n| (audio.frames() as f64) < 0.95 * n as f64) {
        tracing::warn!("{}: {} of {frames} declared frames: truncated?", path.display(), audio.frames());
    }
    Ok(audio)
}

/// Decodes all packets of one track.
fn collect(format: &mut dyn FormatReader, decoder: &mut dyn AudioDecoder, track_id: u32) -> Result<Audio> {
    let (mut channels, mut rate) = (Vec::<Vec<f32>>::new(), 0u32);
    let (mut block, mut packets, mut damaged) = (Vec::<Vec<f32>>::new(), 0u64, 0u64);
    while let Some(packet) = format.next_packet().map_err(refused)? {
        if packet.track_id != track_id {
            continue;
        }
        packets += 1;
        let buffer = match decoder.decode(&packet) {
            Ok(buffer) => buffer,
            Err(DecodeError::DecodeError(_)) => {
                damaged += 1;
                continue;
            }
            Err(e) => return Err(refused(e)),
        };
        buffer.copy_to_vecs_planar(&mut block);
        if block.is_empty() || block[0].is_empty() {
            continue;
        }
        if channels.is_empty() {
            (channels, rate) = (vec![Vec::new(); block.len()], buffer.spec().rate());
        }
        if block.len() != channels.len() || buffer.spec().rate() != rate {
            return Err(Error::data("channels or sample rate change inside the file").hint("convert it to WAV"));
        }
        let frames = channels[0].len();
        check_shape(channels.len() as u64, u64::from(rate), (frames + block[0].len()) as u64)?;
        for (c, (all, new)) in channels.iter_mut().zip(&block).enumerate() {
            wav::check_samples(new, frames, c)?;
            all.extend_from_slice(new);
        }
    }
    if channels.is_empty() {
        let found = format!("no audio in it ({packets} packets, {damaged} damaged): it is truncated or damaged");
        return Err(Error::data(found).hint("copy the file again"));
    }
    if damaged as f64 > MAX_DAMAGED * packets as f64 {
        return Err(Error::data(format!("{damaged} of {packets} packets are damaged")).hint("copy the file again"));
    }
    if damaged > 0 {
        tracing::warn!("{damaged} of {packets} packets are damaged and were skipped");
    }
    Ok(Audio { sample_rate: rate, channels: channels.len(), samples: channels.concat() })
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
