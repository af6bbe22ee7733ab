//! Any accepted recording by its content: WAV through the own reader; Ogg Vorbis, FLAC and MP3 through symphonia.
//!
//! The decoders are other people's code on hostile input: they run behind `catch_unwind`, shapes are checked
//! before samples are collected, and length and memory are capped. Names of files are not believed. A part of a file is
//! found by the decoder's own search, then cut to the frame.

mod stream;

use super::part::{Part, Reading, Shape, check_length};
use super::sniff::Content;
use super::{Audio, source, wav};
use crate::error::{Context, Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use stream::Stream;

/// At most this share of a recording's packets may be damaged and skipped.
const MAX_DAMAGED: f64 = 0.02;
/// How far in front of a part decoding begins, in seconds: MP3 frames refer to earlier ones, and a search that lands in
/// the last frame of a FLAC file finds no next one.
const LEADS_S: [u64; 2] = [2, 30];

/// Reads a recording by its content, whatever its name: WAV, Ogg Vorbis, FLAC or MP3; at most 64 channels, 1 to 768
/// kHz, 6 hours.
///
/// # Errors
/// `Data` naming the file and what it is when it is nothing of these; `Missing` or `Io` when it cannot be opened.
pub fn read(path: &Path) -> Result<Audio> {
    Ok(read_part(path, |_| Ok(Part::ALL))?.audio)
}

/// The part of a recording that `choose` asks for when it has seen the shape; its errors get the file's name. The samples
/// are those that the whole file has there.
pub(super) fn read_part(path: &Path, choose: impl FnOnce(&Shape) -> Result<Part>) -> Result<Reading> {
    let (_, content) = source::open(path)?;
    match content {
        Content::Wav => wav::read_part(path, choose),
        Content::Empty => Err(Error::data(format!("{}: the file is empty (0 bytes)", path.display()))),
        Content::Other(what, hint) => Err(Error::data(format!("{}: this is {what}", path.display())).hint(hint)),
        Content::Ogg | Content::Flac | Content::Mp3 => {
            let decoded = catch_unwind(AssertUnwindSafe(|| decode(path, choose)));
            let caught = |_| Err(Error::data("the decoder failed on damaged content").hint("convert the file to WAV"));
            decoded.unwrap_or_else(caught).context_with(|| path.display())
        }
    }
}

fn decode(path: &Path, choose: impl FnOnce(&Shape) -> Result<Part>) -> Result<Reading> {
    let mut stream = Stream::open(path, true)?;
    let part = choose(&stream.shape)?;
    if !part.is_all() {
        // An MP3 may go on behind the end that its header declares.
        let known = Shape { frames: stream.shape.frames.filter(|_| !stream.has_padding()), ..stream.shape };
        return excerpt(path, part, known);
    }
    let reading = collect(&mut stream, part).and_then(|reading| stream.verify().map(|()| reading));
    let reading = stream.unless_joined(reading)?;
    // An MP3 that was cut has no other sign of it than the length that its first frame declares.
    let frames = reading.audio.frames() as u64;
    match stream.declared {
        Some(declared) if (frames as f64) < 0.95 * declared as f64 => {
            tracing::warn!("{}: {frames} of {declared} declared frames: truncated?", path.display());
        }
        Some(declared) if stream.has_padding() && frames > declared => {
            tracing::warn!(
                "{}: {frames} frames, of which its header declares {declared}: recordings were joined, all are read",
                path.display()
            );
        }
        _ => {}
    }
    Ok(reading)
}

/// A part, found by the decoder's search where that lands in front of it, else by decoding from the beginning.
fn excerpt(path: &Path, part: Part, known: Shape) -> Result<Reading> {
    if known.frames.is_some_and(|frames| part.begin >= frames) {
        let audio = Audio::silence(known.sample_rate, part.channels.min(known.channels), 0);
        return Ok(Reading { audio, shape: known });
    }
    for lead_s in LEADS_S {
        let mut stream = Stream::open(path, false)?;
        let lead = lead_s * u64::from(stream.shape.sample_rate);
        if part.begin <= lead {
            break;
        }
        if stream.seek(part.begin - lead).is_ok()
            && let Ok(reading) = collect(&mut stream, part)
            && stream.first.is_some_and(|first| first <= part.begin)
            && reading.audio.frames() > 0
        {
            return stream.unless_joined(Ok(reading));
        }
    }
    let mut stream = Stream::open(path, false)?;
    let reading = collect(&mut stream, part);
    stream.unless_joined(reading)
}

/// Decodes the packets of one track as far as the part goes.
fn collect(stream: &mut Stream, part: Part) -> Result<Reading> {
    let mut channels = Vec::<Vec<f32>>::new();
    let (mut at, end) = (0u64, part.begin.saturating_add(part.frames));
    let (mut frames, mut gaps) = (None, Gaps::default());
    while at < end {
        let Some(index) = stream.next_block()? else {
            frames = Some(at);
            break;
        };
        let begun = channels.first().is_some_and(|c| !c.is_empty());
        if channels.is_empty() {
            channels = vec![Vec::new(); stream.block.len().min(part.channels)];
        }
        // Damage leaves gaps in the time stamps, not in the samples.
        let first = if begun { at } else { index };
        if stream.tells_places() {
            gaps.packet(begun, index, stream.block[0].len() as u64);
        }
        let length = stream.block[0].len() as u64;
        at = first + length;
        if at <= part.begin {
            // What is damaged in front of the part is none of its damage.
            stream.forget_damage();
            continue;
        }
        let low = part.begin.saturating_sub(first).min(length) as usize;
        let high = end.saturating_sub(first).min(length) as usize;
        let kept = channels[0].len();
        check_length(channels.len() as u64, stream.shape.sample_rate.into(), (kept + high - low) as u64)?;
        for (c, (all, new)) in channels.iter_mut().zip(&stream.block).enumerate() {
            wav::check_samples(&new[low..high], first as usize + low, c)?;
            all.extend_from_slice(&new[low..high]);
        }
    }
    let (packets, damaged) = (stream.packets, stream.damaged);
    if channels.is_empty() {
        let found = format!("no audio in it ({packets} packets, {damaged} damaged): it is truncated or damaged");
        return Err(Error::data(found).hint("copy the file again"));
    }
    if damaged as f64 > MAX_DAMAGED * packets as f64 {
        return Err(Error::data(format!("{damaged} of {packets} packets are damaged")).hint("copy the file again"));
    }
    gaps.check(channels[0].len() as u64, stream.shape.sample_rate)?;
    if damaged > 0 {
        tracing::warn!("{damaged} of {packets} packets are damaged and were skipped");
    }
    let shape = Shape { frames: frames.or(stream.shape.frames), ..stream.shape };
    let audio = Audio { sample_rate: shape.sample_rate, channels: channels.len(), samples: channels.concat() };
    Ok(Reading { audio, shape })
}

/// Frames that are missing between packets: a decoder looks for the next whole packet behind damage, and says nothing.
#[derive(Default)]
struct Gaps {
    /// Place behind the last packet.
    expected: u64,
    /// Frames that are missing, and the place of the first.
    missing: u64,
    first: u64,
}

impl Gaps {
    /// Takes note of a packet at `place`; `counts` when it does not begin the part.
    fn packet(&mut self, counts: bool, place: u64, frames: u64) {
        let missing = place.saturating_sub(self.expected);
        if counts && missing > 0 {
            self.first = if self.missing == 0 { self.expected } else { self.first };
            self.missing += missing;
        }
        self.expected = place + frames;
    }

    /// Refuses a part of `frames` frames of which too many are missing, and warns of fewer.
    fn check(&self, frames: u64, sample_rate: u32) -> Result<()> {
        let Gaps { missing, first, .. } = *self;
        let at_s = first as f64 / f64::from(sample_rate);
        if missing as f64 > MAX_DAMAGED * (frames + missing) as f64 {
            let message = format!("{missing} of {} frames are missing, the first at {at_s:.2} s", frames + missing);
            return Err(Error::data(format!("{message}: the file is damaged")).hint("copy the file again"));
        }
        if missing > 0 {
            tracing::warn!("{missing} frames are missing, the first at {at_s:.2} s: the file is damaged");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
