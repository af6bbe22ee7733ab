"""Values and gradients of the projector by PyTorch: tests/golden/projector-*.

Usage: python tools/golden/projector.py OUT    (torch, safetensors, numpy)

Written from the description of the model alone: token k covers frames_per_token semantic frames; S is their mean, P a linear
layer of the mean of the spatial frames centred in that time (the nearest where there is none).
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn

# name: kind, d, D, bottleneck, width, frames per token, classes (0: no slots), (samples per frame, first, step), sizes of clips
CASES = {
    "projector-p2": ("p2", 6, 5, 4, 7, 2, 0, (320, 0, 128), [(9, 23), (1, 2), (4, 30)]),
    "projector-p2-slots": ("p2", 10, 4, 8, 6, 4, 3, (320, 448, 1024), [(25, 8), (13, 4), (30, 3)]),
    "projector-p1": ("p1", 5, 3, 4, 6, 1, 0, (640, 448, 1024), [(7, 4), (3, 2)]),
    "projector-p0": ("p0", 4, 6, 5, 3, 3, 2, (320, 10, 100), [(8, 24), (2, 5)]),
}


def mlp(a, b, c):
    return nn.ModuleDict({"up": nn.Linear(a, b), "down": nn.Linear(b, c)})


def run(m, x):
    return m["down"](nn.functional.gelu(m["up"](x)))


class Projector(nn.Module):
    def __init__(self, kind, d, D, bottleneck, width, per_token, classes):
        super().__init__()
        self.kind, self.per_token = kind, per_token
        self.spatial = nn.Linear(D, d)
        if classes:
            self.readout = nn.Linear(9 + classes, d, bias=False)
        if kind == "p1":
            self.towers = nn.ModuleDict({"semantic": mlp(d, bottleneck, width), "spatial": mlp(d, bottleneck, width)})
            return
        inputs = 2 * d
        if kind == "p2":
            names = ["semantic", "coordinates", "room", "absorption", "count", "combined"]
            self.experts = nn.ModuleDict({name: mlp(d, d // 2, d) for name in names})
            self.norm = nn.LayerNorm(6 * d)
            inputs = 6 * d
        self.bottleneck, self.out = nn.Linear(inputs, bottleneck), nn.Linear(bottleneck, width)

    def tokens_of_time(self, semantic, spatial, samples):
        size, first, step = samples
        s, p = [], []
        centres = [first + step * t for t in range(len(spatial))]
        for start in range(0, len(semantic), self.per_token):
            s.append(semantic[start : start + self.per_token].mean(0))
            begin, end = start * size, (start + self.per_token) * size
            inside = [t for t, c in enumerate(centres) if begin <= c < end]
            if not inside:
                inside = [min(range(len(centres)), key=lambda t: abs(2 * centres[t] - begin - end))]
            p.append(spatial[inside].mean(0))
        return torch.stack(s), self.spatial(torch.stack(p))

    def forward(self, semantic, spatial, samples, slots=None, readouts=None):
        s, p = self.tokens_of_time(semantic, spatial, samples)
        if slots is not None:
            s, p = torch.cat([s, self.readout(readouts)]), torch.cat([p, self.spatial(slots)])
        if self.kind == "p1":
            return run(self.towers["semantic"], s) + run(self.towers["spatial"], p)
        if self.kind == "p0":
            x = torch.cat([s, p], -1)
        else:
            seen = {"semantic": s, "combined": s + p}
            x = self.norm(torch.cat([run(m, seen.get(name, p)) for name, m in self.experts.items()], -1))
        return self.out(nn.functional.gelu(self.bottleneck(x)))


def write(folder, case):
    kind, d, D, bottleneck, width, per_token, classes, samples, sizes = case
    torch.manual_seed(sum(map(ord, folder.name)))
    model = Projector(kind, d, D, bottleneck, width, per_token, classes)
    for p in model.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    out = {"samples": torch.tensor([samples] * len(sizes))}
    loss, inputs = 0, []
    for i, (n, t) in enumerate(sizes):
        semantic, spatial = torch.randn(n, d, requires_grad=True), torch.randn(t, D, requires_grad=True)
        slots = readouts = None
        if classes:
            slots, readouts = torch.randn(i + 1, D, requires_grad=True), torch.randn(i + 1, 9 + classes)
            out[f"slots.{i}"], out[f"readouts.{i}"] = slots.detach(), readouts
        y = model(semantic, spatial, samples, slots, readouts)
        seed = torch.randn_like(y)
        loss = loss + (y * seed).sum()
        inputs.append((semantic, spatial, slots))
        out.update({f"semantic.{i}": semantic.detach(), f"spatial.{i}": spatial.detach(),
                    f"tokens.{i}": y.detach(), f"d_tokens.{i}": seed})
    loss.backward()
    for i, (semantic, spatial, slots) in enumerate(inputs):
        out[f"d_semantic.{i}"] = semantic.grad
        out[f"d_spatial.{i}"] = spatial.grad if slots is None else torch.cat([spatial.grad, slots.grad])
    out.update({f"grad.{name}": p.grad for name, p in model.named_parameters()})
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "expected.safetensors")
    save_file({k: v.detach() for k, v in model.named_parameters()}, folder / "model.safetensors")
    config = dict(kind=kind, semantic=d, spatial=D, bottleneck=bottleneck, width=width, frames_per_token=per_token,
                  slots=bool(classes), classes=classes)
    (folder / "config.json").write_text(json.dumps({"model_type": "twnm_projector", "projector": config}, indent=1) + "\n")
    about = {"what": "projector: tokens of clips of several lengths, every gradient of sum(tokens * d_tokens)",
             "by": f"tools/golden/projector.py, torch {torch.__version__}"}
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    for name, case in CASES.items():
        write(pathlib.Path(sys.argv[1]) / name, case)
