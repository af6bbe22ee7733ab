"""Values of semantic encoders by Transformers: tests/golden/whisper-* and af3-*.

Usage: python tools/golden/semantic.py OUT [NAME ...]    (torch, transformers, safetensors, numpy)

Without names the folders that are committed are made. Weights are random and computed in f32 after they were rounded to
the type in which they are stored. A window is max_source_positions / 50 seconds; audio is noise and tones.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import (AudioFlamingo3Config, AudioFlamingo3ForConditionalGeneration, WhisperConfig,
                          WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperModel)

# name: family, mel bands, width, heads, layers, ffn, positions, type of the weights, seconds, what is kept
CASES = {
    "whisper-short-f16": ("whisper", 128, 48, 2, 3, 80, 1500, torch.float16, 0.1, "parts"),
    "whisper-windows-bf16": ("whisper-lm", 80, 32, 4, 2, 64, 100, torch.bfloat16, 4.7, "all"),
    "af3-windows": ("af3", 128, 32, 4, 2, 64, 100, torch.float32, 4.73, "all"),
}
# Too large to be committed; checked with `twnm verify` when this file changes.
LARGE = {
    "whisper-exact-30": ("whisper", 80, 64, 1, 2, 128, 1500, torch.float32, 30.0, "all"),
    "whisper-47": ("whisper", 80, 96, 6, 2, 96, 1500, torch.float32, 47.0, "all"),
    "whisper-one-sample": ("whisper", 80, 32, 4, 1, 32, 1500, torch.float32, 1 / 16000, "all"),
    "af3-47": ("af3", 128, 96, 6, 2, 96, 1500, torch.float16, 47.0, "all"),
    "af3-short": ("af3", 128, 96, 6, 2, 96, 1500, torch.bfloat16, 0.1, "all"),
}


def audio_of(seconds):
    n = round(16000 * seconds)
    rng = np.random.default_rng(n)
    t = np.arange(n) / 16000
    tone = 0.2 * np.sin(2 * np.pi * (300 + 40 * t) * t) * (np.sin(2 * np.pi * 1.3 * t) > 0)
    return (tone + 0.03 * rng.standard_normal(n) * (1 + np.sin(2 * np.pi * 0.7 * t))).astype(np.float32)


def model_of(family, mel, width, heads, layers, ffn, positions):
    if family == "af3":
        audio = dict(num_mel_bins=mel, hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers,
                     intermediate_size=ffn, max_source_positions=positions)
        text = dict(model_type="qwen2", hidden_size=24, intermediate_size=40, num_attention_heads=2,
                    num_key_value_heads=1, num_hidden_layers=1, vocab_size=100, max_position_embeddings=64)
        return AudioFlamingo3ForConditionalGeneration(AudioFlamingo3Config(audio_config=audio, text_config=text,
                                                                           audio_token_id=99))
    config = WhisperConfig(num_mel_bins=mel, d_model=width, encoder_attention_heads=heads, encoder_layers=layers,
                           encoder_ffn_dim=ffn, max_source_positions=positions, decoder_layers=1, vocab_size=60,
                           decoder_attention_heads=heads, decoder_ffn_dim=16, max_target_positions=16, pad_token_id=0,
                           bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, begin_suppress_tokens=[3],
                           suppress_tokens=[])
    return (WhisperForConditionalGeneration if family == "whisper-lm" else WhisperModel)(config)


def write(folder, case):
    family, mel, width, heads, layers, ffn, positions, dtype, seconds, keep = case
    torch.manual_seed(sum(map(ord, folder.name)))
    model = model_of(family, mel, width, heads, layers, ffn, positions).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "embed_positions" not in name:
                p.add_(torch.randn_like(p) * (0.3 if p.dim() == 1 else 1.5 * p.shape[-1] ** -0.5 * 0.5))
            p.copy_(p.to(dtype).float())
    folder.mkdir(parents=True, exist_ok=True)
    model.to(dtype).save_pretrained(folder)
    model.float()
    extractor = WhisperFeatureExtractor(feature_size=mel, chunk_length=positions / 50 if positions % 50 else positions // 50)
    extractor.save_pretrained(folder)
    audio, window = audio_of(seconds), 320 * positions
    parts = [audio[at : at + window] for at in range(0, len(audio), window)]
    inner = model if family == "whisper" else model.model
    features, outputs, tokens = [], [], []
    for part in parts:
        made = extractor(part, sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
        x, mask = made["input_features"], made["attention_mask"]
        assert mask.sum() == -(-len(part) // 160), (mask.sum(), len(part))
        with torch.no_grad():
            if family == "af3":
                y = inner.audio_tower(x, input_features_mask=mask).last_hidden_state
                kept = inner.get_audio_features(x, mask).pooler_output
            else:
                y = inner.encoder(x).last_hidden_state
                kept = y[0, : -(-len(part) // 320)]
        features.append(x)
        outputs.append(y)
        tokens.append(kept)
    features, outputs, tokens = torch.cat(features), torch.cat(outputs), torch.cat(tokens)
    out = {"audio": torch.from_numpy(audio), "audio_embeds" if family == "af3" else "tokens": tokens}
    if keep == "all":
        out["input_features"] = features
        if family != "af3":
            out["encoder_output"] = outputs
    else:
        out["input_features_first_30_frames"] = features[:, :, :30].contiguous()
        out["input_features_last_4_frames"] = features[:, :, -4:].contiguous()
        out["encoder_output_first_20"] = outputs[:, :20].contiguous()
        out["encoder_output_last_4"] = outputs[:, -4:].contiguous()
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "expected.safetensors")
    about = {"what": f"{family}: values of Transformers on {seconds} s of audio in windows of {positions / 50} s",
             "by": f"tools/golden/semantic.py, torch {torch.__version__}, transformers {transformers.__version__}"}
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    for name in ["generation_config.json"]:
        (folder / name).unlink(missing_ok=True)


if __name__ == "__main__":
    names = sys.argv[2:] or CASES
    for name in names:
        write(pathlib.Path(sys.argv[1]) / name, {**CASES, **LARGE}[name])
