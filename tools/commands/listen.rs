//! `twnm listen`: where the sounds of a recording are, as a table, JSON or picture.

use super::shared::{say, say_text};
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};
use twnm::audio::foa::Convention;
use twnm::audio::{Audio, Stretch, read_foa_stretch};
use twnm::error::{Context, Error, Number, Result};
use twnm::eval::encoder::predict_clip;
use twnm::eval::listen::{Detections, check_recording};
use twnm::eval::picture::{Marker, Picture};
use twnm::files;
use twnm::models::{Places, load_encoder};

/// Longest stretch that is heard at once without being asked for: scenes are trained on a few seconds.
const SECONDS_DEFAULT: f64 = 30.0;
/// Longest stretch that can be asked for.
const SECONDS_MAX: f64 = 120.0;

/// Flags of `twnm listen`.
#[derive(ClapArgs)]
pub struct Args {
    /// A First-Order-Ambisonics recording: wav, amb, flac or ogg, any sample rate, hours long if need be. Of higher orders
    /// the first is used. What a microphone's capsules give (A-format) must be converted to B-format by its own program.
    file: PathBuf,
    /// A run folder, a step-N folder or a model family; without it the default model.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Order and weights of the channels: ambix (ACN, SN3D), n3d (ACN, N3D), fuma or wxyz (W, X, Y, Z, SN3D); without it
    /// .amb is fuma and all else ambix.
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
    let (encoder, folder) = load_encoder(args.checkpoint.as_deref(), &Places::of_process())?;
    if let Some(plot) = &args.plot {
        check_outside(plot, &folder).context_with(|| "--plot")?;
    }
    let audio = stretch(&args)?;
    let place = || args.file.display();
    check_recording(&audio, encoder.config.samples_min()).context_with(place)?;
    let prediction = predict_clip(&encoder, &audio.samples);
    if !prediction.is_finite() {
        return Err(Error::data(format!("{}: the encoder's answer is not finite", place())));
    }
    let heard = Detections::new(&prediction, &encoder.classes);
    if let Some(path) = &args.plot {
        let svg = picture(&args.file, &heard, audio.seconds()).to_svg()?;
        files::write_bytes_atomic(path, svg.as_bytes()).context_with(|| "--plot")?;
        tracing::info!("picture in {}", path.display());
    }
    match args.json {
        true => say(serde_json::to_string(&heard).expect("plain data")),
        false => say_text(heard.to_text()),
    }
}

fn check_flags(args: &Args) -> Result<()> {
    if !(args.start.is_finite() && args.start >= 0.0) {
        return Err(Error::usage(format!("--start {}: seconds from the beginning, 0 or more", Number(args.start))));
    }
    match args.seconds {
        Some(s) if !(s > 0.0 && s <= SECONDS_MAX) => {
            Err(Error::usage(format!("--seconds {}: more than 0 and at most {SECONDS_MAX}", Number(s))))
        }
        _ => Ok(()),
    }?;
    let Some(plot) = &args.plot else { return Ok(()) };
    files::check_apart(plot, &[&args.file]).and_then(|()| files::check_output(plot)).context_with(|| "--plot")
}

/// Refuses a picture among the files of the model, which it might replace.
fn check_outside(plot: &Path, model: &Path) -> Result<()> {
    let (Ok(model), Ok(existing)) = (model.canonicalize(), plot.canonicalize()) else { return Ok(()) };
    if existing.starts_with(&model) {
        let message = format!("{} belongs to the model {}", plot.display(), model.display());
        return Err(Error::usage(message).hint("give the picture another name"));
    }
    Ok(())
}

/// The part of the recording that is listened to; nothing else of it is read.
fn stretch(args: &Args) -> Result<Audio> {
    let (start_s, limit) = (args.start, args.seconds.unwrap_or(SECONDS_DEFAULT));
    // A little more, to tell whether the recording goes on.
    let more_s = if args.seconds.is_none() { 1.0 } else { 0.0 };
    let stretch = Stretch { start_s, seconds: limit + more_s };
    let excerpt = read_foa_stretch(&args.file, args.convention, stretch)?;
    let (mut audio, end_s) = (excerpt.audio, start_s + limit);
    if audio.frames() == 0 && start_s > 0.0 {
        let long = excerpt.recording_s.map_or("shorter".into(), |s| format!("{s:.2} s long"));
        return Err(Error::usage(format!("--start {}: {} is {long}", Number(start_s), args.file.display())));
    }
    if args.seconds.is_none() && audio.seconds() > limit {
        let long = excerpt.recording_s.map_or("longer".into(), |s| format!("{s:.1} s long"));
        tracing::warn!(
            "{long}: only {start_s:.1} to {end_s:.1} s are listened to; choose others with --start and --seconds"
        );
        audio.keep_frames((limit * f64::from(audio.sample_rate)).round() as usize);
    }
    Ok(audio)
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
