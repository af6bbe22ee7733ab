//! `twnm listen`: where the sounds of a recording are, as a table, JSON or picture.

use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};
use twnm::audio::foa::Convention;
use twnm::audio::{Audio, SAMPLE_RATE, read_foa};
use twnm::error::{Context, Error, Result};
use twnm::eval::encoder::predict_clip;
use twnm::eval::listen::{Detections, check_recording};
use twnm::eval::picture::{Marker, Picture};
use twnm::models::{Places, load_encoder};

/// Longest stretch that is heard at once without being asked for: scenes are trained on a few seconds.
const SECONDS_DEFAULT: f64 = 30.0;
/// Longest stretch that can be asked for.
const SECONDS_MAX: f64 = 120.0;

/// Flags of `twnm listen`.
#[derive(ClapArgs)]
pub struct Args {
    /// A First-Order-Ambisonics recording with 4 channels: wav, amb, flac or ogg, any sample rate.
    file: PathBuf,
    /// A run folder, a step-N folder or a model family; without it the default model.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Order and weights of the channels: ambix, fuma or wxyz; without it .amb is fuma and all else ambix.
    #[arg(long)]
    convention: Option<Convention>,
    /// Begin of the stretch to listen to, in seconds.
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    start: f64,
    /// Length of the stretch to listen to, in seconds; without it all, at most 30.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    json: bool,
    /// Draw the scene into this SVG file.
    #[arg(long, value_name = "SVG")]
    plot: Option<PathBuf>,
}

/// Listens and prints.
pub fn run(args: Args) -> Result<()> {
    check_flags(&args)?;
    let audio = read_foa(&args.file, args.convention)?;
    let place = || args.file.display();
    let audio = stretch(&audio, args.start, args.seconds).context_with(place)?;
    let (encoder, _) = load_encoder(args.checkpoint.as_deref(), &Places::of_process())?;
    check_recording(&audio, encoder.config.samples_min()).context_with(place)?;
    let prediction = predict_clip(&encoder, &audio.samples);
    if !prediction.is_finite() {
        return Err(Error::data(format!("{}: the encoder's answer is not finite", place())));
    }
    let heard = Detections::new(&prediction, &encoder.classes);
    if let Some(path) = &args.plot {
        let svg = picture(&args.file, &heard, audio.seconds()).to_svg()?;
        twnm::files::write_bytes_atomic(path, svg.as_bytes()).context_with(|| "--plot")?;
        tracing::info!("picture in {}", path.display());
    }
    match args.json {
        true => println!("{}", serde_json::to_string(&heard).expect("plain data")),
        false => print!("{}", heard.to_text()),
    }
    Ok(())
}

fn check_flags(args: &Args) -> Result<()> {
    if !(args.start.is_finite() && args.start >= 0.0) {
        return Err(Error::usage(format!("--start {}: seconds from the beginning, 0 or more", args.start)));
    }
    match args.seconds {
        Some(s) if !(s > 0.0 && s <= SECONDS_MAX) => {
            Err(Error::usage(format!("--seconds {s}: more than 0 and at most {SECONDS_MAX}")))
        }
        _ => Ok(()),
    }
}

/// The part of the recording that is listened to.
fn stretch(audio: &Audio, start: f64, seconds: Option<f64>) -> Result<Audio> {
    let (frames, rate) = (audio.frames(), f64::from(SAMPLE_RATE));
    let begin = (start * rate).round() as usize;
    if begin > 0 && begin >= frames {
        return Err(Error::usage(format!("--start {start}: the recording is {:.2} s long", audio.seconds())));
    }
    let wanted = (seconds.unwrap_or(SECONDS_DEFAULT) * rate).round() as usize;
    let end = begin.saturating_add(wanted).min(frames);
    if seconds.is_none() && end < frames {
        tracing::warn!(
            "{:.1} s long: only {start:.1} to {:.1} s are listened to; choose others with --start and --seconds",
            audio.seconds(),
            end as f64 / rate
        );
    }
    let samples = (0..audio.channels).flat_map(|c| audio.channel(c)[begin..end].iter().copied()).collect();
    Ok(Audio { sample_rate: audio.sample_rate, channels: audio.channels, samples })
}

fn picture(file: &Path, heard: &Detections, seconds: f64) -> Picture {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let plural = if heard.count == 1 { "" } else { "s" };
    let (surface, absorption) = (heard.room.surface_m2, heard.room.absorption);
    let marker = |s: &twnm::eval::listen::Detection| Marker {
        azimuth_deg: s.azimuth_deg,
        elevation_deg: s.elevation_deg,
        distance_m: s.distance_m,
        label: format!("{} {:.0} %", s.class, 100.0 * s.class_probability),
        existence: s.existence,
    };
    Picture {
        title: name,
        subtitle: format!(
            "{} source{plural} heard in {seconds:.1} s; room: surface {surface:.0} m², mean absorption {absorption:.2}",
            heard.count
        ),
        heard: heard.sources.iter().map(marker).collect(),
        truth: Vec::new(),
    }
}
