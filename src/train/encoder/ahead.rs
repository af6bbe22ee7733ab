//! Clips on their way to a device: those of the next step travel while it works on the present one.

use super::batch::Clip;
use crate::encoder::{Encoder, Features, InputMode, map_of_scaled, scaled};
use crate::error::Result;
use crate::scene::ClipTruth;
use crate::tensor::{Arriving, Tensor};

/// Clips of one length that a device takes at once.
pub struct Batch {
    /// What is in them.
    pub truths: Vec<ClipTruth>,
    input: Input,
}

enum Input {
    /// [B, 4, L]: the map is made on the device.
    Audio(Arriving),
    /// What the host made: a map that an equaliser changed, or cells.
    Features { map: Arriving, spectrum: Option<Arriving> },
}

impl Batch {
    /// Makes `count` clips, and sends those that follow one another and have one length as a batch of at most `largest`.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn send_all(
        encoder: &Encoder,
        (count, largest): (usize, usize),
        make: impl Fn(usize) -> Result<Clip>,
    ) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        for start in (0..count).step_by(largest) {
            let clips: Vec<Clip> = (start..count.min(start + largest)).map(&make).collect::<Result<_>>()?;
            let equal = clips.chunk_by(|a, b| a.audio.len() == b.audio.len());
            batches.extend(equal.map(|clips| Batch::send(encoder, clips)));
        }
        Ok(batches)
    }

    fn send(encoder: &Encoder, clips: &[Clip]) -> Batch {
        let (config, device) = (&encoder.config, encoder.device());
        let gains: Vec<Option<Vec<f32>>> = clips.iter().map(|clip| clip.gains(config.n_fft)).collect();
        let truths = clips.iter().map(|clip| clip.truth.clone()).collect();
        if config.input == InputMode::Map && gains.iter().all(Option::is_none) {
            let audio: Vec<Tensor> = clips.iter().map(|clip| scaled(&clip.audio)).collect();
            let samples = audio[0].shape()[1];
            let audio = Tensor::stacked(&audio).reshape(&[clips.len(), 4, samples]);
            return Batch { truths, input: Input::Audio(audio.send(device)) };
        }
        let on_host =
            |(clip, gains): (&Clip, &Option<Vec<f32>>)| encoder.features_on_host(&clip.audio, gains.as_deref());
        let Features { map, spectrum } = Features::stacked(clips.iter().zip(&gains).map(on_host).collect());
        let input = Input::Features { map: map.send(device), spectrum: spectrum.map(|s| s.send(device)) };
        Batch { truths, input }
    }

    /// What the encoder is fed, and the truths.
    pub fn arrive(self, encoder: &Encoder) -> (Features, Vec<ClipTruth>) {
        let features = match self.input {
            Input::Features { map, spectrum } => {
                Features { map: map.tensor(), spectrum: spectrum.map(Arriving::tensor) }
            }
            Input::Audio(audio) => {
                let audio = audio.tensor();
                let [clips, _, samples] = audio.dims("audio of a batch");
                let clip = |i: usize| audio.rows(i, 1).reshape(&[4, samples]);
                Features::stacked((0..clips).map(|i| map_of_scaled(&encoder.config, clip(i))).collect())
            }
        };
        (features, self.truths)
    }
}
