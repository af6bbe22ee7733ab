"""Recreates tests/golden/audio with libsndfile (pip install soundfile numpy): files as other programs write them."""

import sys

import numpy as np
import soundfile as sf

out = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/audio"


def sweep(rate, seconds, low, high):
    t = np.arange(int(rate * seconds)) / rate
    return 0.5 * np.sin(2 * np.pi * (low * t + (high - low) * t**2 / (2 * seconds)))


# Lossy codecs: the file and what libsndfile (libvorbis, mpg123) decodes from it.
for name, rate, channels in [("sweep.ogg", 22050, 1), ("sweep.mp3", 44100, 2)]:
    signal = np.stack([sweep(rate, 0.25, 200 + 300 * c, 4000) for c in range(channels)], axis=1)
    sf.write(f"{out}/{name}", signal, rate)
    decoded, _ = sf.read(f"{out}/{name}", dtype="float32", always_2d=True)
    sf.write(f"{out}/{name}.decoded.wav", decoded, rate, subtype="PCM_16")

# Four channels, which many decoders of Vorbis get wrong.
tones = 0.5 * np.sin(2 * np.pi * 440 * np.arange(1600) / 16000)
quad = np.stack([gain * tones for gain in (1, 0.5, -0.25, 0.75)], axis=1)
sf.write(f"{out}/quad.ogg", quad, 16000, format="OGG", subtype="VORBIS")

# Exact formats: sample (t, c) is ((7919 t + 104729 c) mod 65536 - 32768) / 32768.
t, c = np.arange(480)[:, None], np.arange(4)[None, :]
ramp = ((7919 * t + 104729 * c) % 65536 - 32768) / 32768
sf.write(f"{out}/ramp.flac", ramp, 48000, subtype="PCM_16")
sf.write(f"{out}/ramp.rf64.wav", ramp, 48000, format="RF64", subtype="PCM_24")
sf.write(f"{out}/ramp.wavex.wav", ramp, 48000, format="WAVEX", subtype="FLOAT")
sf.write(f"{out}/ramp.double.wav", ramp, 48000, format="WAV", subtype="DOUBLE")
sf.write(f"{out}/ramp.w64", ramp[:8], 48000, format="W64", subtype="PCM_16")
sf.write(f"{out}/ramp.aiff", ramp[:8], 48000, format="AIFF", subtype="PCM_16")
