//! Parts of compressed files against the whole.

use super::*;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audio").join(name)).unwrap()
}

/// Compares parts of a file with what the whole file has there.
#[track_caller]
fn same_as_whole(path: &Path) {
    let whole = read(path).unwrap();
    let (frames, rate) = (whole.frames() as u64, u64::from(whole.sample_rate));
    let places = [0, 1, rate / 3, 3 * rate, 3 * rate + 777, frames / 2, frames.saturating_sub(rate), frames - 5];
    for begin in places.into_iter().filter(|begin| *begin < frames) {
        let wanted = Part { begin, frames: rate / 2, channels: 1 };
        let part = read_part(path, |_| Ok(wanted)).unwrap().audio;
        let expected = &whole.channel(0)[begin as usize..(begin + wanted.frames).min(frames) as usize];
        let differs = part.samples.iter().zip(expected).position(|(x, y)| x != y);
        assert!(
            part.samples == expected,
            "{}: from {begin} of {frames}: {} frames for {}, first difference {differs:?}",
            path.display(),
            part.frames(),
            expected.len()
        );
    }
    let beyond = Part { begin: frames + 10, frames: 10, channels: 1 };
    let reading = read_part(path, |_| Ok(beyond)).unwrap();
    assert_eq!((reading.audio.frames(), reading.shape.frames), (0, Some(frames)));
}

#[test]
fn parts_of_an_mp3_and_an_ogg_have_the_samples_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    let mp3 = golden("sweep.mp3");
    let frames_at = (4..mp3.len()).find(|&at| mp3[at..].starts_with(&mp3[..2])).expect("a frame behind the header's");
    // With the header of the first, whose length is not that of the whole; and frames alone.
    std::fs::write(&path, [&mp3[..], &mp3[frames_at..].repeat(60)].concat()).unwrap();
    same_as_whole(&path);
    std::fs::write(&path, mp3[frames_at..].repeat(60)).unwrap();
    same_as_whole(&path);
    for name in ["sweep.mp3", "sweep.ogg"] {
        std::fs::write(&path, golden(name)).unwrap();
        same_as_whole(&path);
    }
}

#[test]
fn lost_frames_in_the_middle_are_an_error_and_few_of_them_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    for name in ["ramp.flac", "sweep.ogg"] {
        let bytes = golden(name);
        std::fs::write(&path, &bytes).unwrap();
        let whole = read(&path).unwrap().frames() as u64;
        let mut damaged = bytes.clone();
        let middle = bytes.len() / 2..bytes.len() * 3 / 4;
        damaged[middle].iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 37 + 11) as u8);
        std::fs::write(&path, &damaged).unwrap();
        for frames in [u64::MAX, whole] {
            let part = Part { begin: 0, frames, channels: 1 };
            let found = read_part(&path, |_| Ok(part)).map(|reading| reading.audio.frames());
            // The Ogg's damage reaches to its end, which only a length that its header does not have could tell.
            let is_cut = name == "sweep.ogg" && found.as_ref().is_ok_and(|n| (*n as u64) < whole);
            assert!(found.is_err() || is_cut, "{name} {frames}: {found:?}");
        }
    }
    let mut gaps = Gaps::default();
    gaps.packet(false, 1000, 4000);
    gaps.packet(true, 5000, 4000);
    assert!(gaps.check(8000, 16_000).is_ok() && gaps.missing == 0, "a part may begin anywhere");
    gaps.packet(true, 9100, 900);
    assert!(gaps.check(8900, 16_000).is_ok() && gaps.missing == 100, "one in a hundred is a warning");
    gaps.packet(true, 14_000, 1000);
    let error = gaps.check(9900, 16_000).unwrap_err().to_string();
    assert!(error.contains("4100 of 14000 frames are missing, the first at 0.56 s"), "{error}");
}

#[test]
fn vorbis_with_more_than_two_channels_is_refused_not_mixed_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quad.ogg");
    std::fs::write(&path, golden("quad.ogg")).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("4 channels is not read, only mono and stereo") && error.contains("ffmpeg"), "{error}");
}
