"""PyTorch peers of `twnm bench kernels` on a GPU: the same work at the same sizes, in every route that PyTorch offers.

  kernels_torch.py [--seconds 120] [--filter NAME] [--list]

Prints one JSON line per measurement as soon as it is there: {"twnm": label, "dtype", "pass", "peer", "us", "error"}; what could
not be measured says so: {"twnm", "dtype", "pass", "peer", "skipped": why}. `twnm` is the label of the case in twnm. Rules: random
normal numbers, three sets of inputs in turn, CUDA graphs where PyTorch can record the work, CUDA events, median of 50 after
warm-up; inputs lie as PyTorch likes them best (channels first for convolutions). `error` is the relative L2 distance to the
same formula in f64 over the first rows, output and gradients, the worst of them.
"""
import argparse, contextlib, json, math, os, sys, time
import torch, torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
SETS, SAMPLES = 3, 50
START = time.monotonic()


class Work:
    """One case: `fn(*args)` on tensors of the given shapes; those in `batched` have copies along the first axis."""

    def __init__(self, twnm, fn, shapes, batched=(0,), scale=None, wide=(), data=(), compiles=True, routes=None, dtypes=("f32", "bf16")):
        self.twnm, self.fn, self.shapes, self.batched = twnm, fn, shapes, batched
        self.scale, self.wide, self.data, self.compiles = scale or {}, wide, data, compiles
        self.routes, self.dtypes = routes, dtypes

    def args(self, dtype, seed):
        g = torch.Generator("cuda").manual_seed(seed)
        make = lambda i, s: torch.randn(s, generator=g, device="cuda") * self.scale.get(i, 1.0)
        return [make(i, s).to(torch.float32 if i in self.wide else dtype) for i, s in enumerate(self.shapes)]


def gradients(fn, args, data, dy=None):
    leaves = [a if i in data else a.detach().requires_grad_() for i, a in enumerate(args)]
    y = fn(*leaves)
    dy = torch.ones_like(y) if dy is None else dy
    return (y, *torch.autograd.grad(y, [a for i, a in enumerate(leaves) if i not in data], dy))


def median_us(calls):
    """Median microseconds of one of `calls`, which are done in turn."""
    side = torch.cuda.Stream(); side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            for call in calls: call()
    torch.cuda.current_stream().wait_stream(side); torch.cuda.synchronize()

    def timed(work):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record(); work(); b.record(); b.synchronize()
        return a.elapsed_time(b) * 1e3

    once = timed(lambda: [call() for call in calls])
    rounds = max(1, min(100, math.ceil(300 / max(once, 0.1))))
    every = lambda: [call() for _ in range(rounds) for call in calls]
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph): every()
        work = graph.replay
    except Exception:
        torch.cuda.synchronize(); work = every
    timed(work)
    samples = sorted(timed(work) for _ in range(SAMPLES))
    return samples[SAMPLES // 2] / (rounds * len(calls))


def distance(a, e):
    e = e.double()
    return ((a.double() - e).norm() / e.norm().clamp_min(1e-300)).item()


def error(work, fn, exact, args, backward, is_compiled=False):
    """The worst distance to f64 over the first rows of what is batched; what is compiled is compiled for whole inputs only,
    and looked at in its output."""
    few = [a[:4] if i in work.batched else a for i, a in enumerate(args)]
    wide = [a.double() for a in few]
    if is_compiled:
        with torch.no_grad(): return distance(fn(*args)[:4], exact(*wide)[:4])
    if not backward:
        with torch.no_grad(): return distance(fn(*few), exact(*wide))
    y = exact(*wide); g = torch.Generator("cuda").manual_seed(9)
    dy = torch.randn(y.shape, generator=g, device="cuda").to(fn(*few).dtype)
    pairs = zip(gradients(fn, few, work.data, dy), gradients(exact, wide, work.data, dy.double()))
    return max(distance(a, e) for a, e in pairs)


def routes(work):
    """Names and functions of what PyTorch can do with the work."""
    if work.routes: return work.routes
    compiled = [("compile", torch.compile(work.fn, dynamic=False))] if work.compiles else []
    return [("eager", work.fn), *compiled]


def say(**line): print(json.dumps(line), flush=True)


def measure(work, dtype_name, args):
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype_name]
    for backward in [False, True][: 1 if len(work.data) == len(work.shapes) else 2]:
        name = dict(twnm=work.twnm, dtype=dtype_name, **{"pass": "forward and backward" if backward else "forward"})
        for peer, fn in routes(work):
            if args.left() < 5: say(**name, peer=peer, skipped="no time left"); continue
            try:
                sets = [work.args(dtype, seed) for seed in range(SETS)]
                if backward:
                    dys = [torch.randn_like(fn(*s)) for s in sets]
                    calls = [lambda s=s, d=d: gradients(fn, s, work.data, d) for s, d in zip(sets, dys)]
                    us = median_us(calls)
                else:
                    with torch.no_grad(): us = median_us([lambda s=s: fn(*s) for s in sets])
                say(**name, peer=peer, us=us, error=error(work, fn, work.fn, sets[0], backward, peer == "compile"))
            except Exception as problem:
                say(**name, peer=peer, skipped=f"{type(problem).__name__}: {str(problem).splitlines()[0][:160] if str(problem) else ''}")
            sets = dys = calls = None
            torch.cuda.empty_cache()


def forced(backend, attention):
    def run(*args):
        with sdpa_kernel(backend): return attention(*args)
    return run


def attention_work(twnm, shapes, attention, batched):
    """Attention in each of PyTorch's backends; the formula itself (f64 too) is the one written out."""
    backends = [("sdpa cudnn", SDPBackend.CUDNN_ATTENTION), ("sdpa flash", SDPBackend.FLASH_ATTENTION), ("sdpa efficient", SDPBackend.EFFICIENT_ATTENTION)]
    exact = forced(SDPBackend.MATH, attention)
    return Work(twnm, exact, shapes, batched, routes=[(name, forced(backend, attention)) for name, backend in backends])


def self_attention(heads):
    def run(qkv):
        b, n, wide = qkv.shape
        q, k, v = qkv.view(b, n, 3, heads, wide // 3 // heads).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, wide // 3)
    return run


def attention(heads_q, heads_kv, causal):
    def run(q, k, v):
        split = lambda x, h: x.view(*x.shape[:2], h, -1).transpose(1, 2)
        gqa = {"enable_gqa": True} if heads_q != heads_kv else {}
        y = F.scaled_dot_product_attention(split(q, heads_q), split(k, heads_kv), split(v, heads_kv), is_causal=causal, **gqa)
        return y.transpose(1, 2).reshape(q.shape)
    return run


def stft(dtype):
    def run(x):
        window = torch.hann_window(256, device=x.device, dtype=x.dtype)
        s = torch.stft(x, 256, 128, 256, window, center=True, pad_mode="reflect", return_complex=True)
        y = torch.view_as_real(s).permute(1, 2, 0, 3).reshape(s.shape[1], s.shape[2], -1)
        return y if x.dtype == torch.float64 else y.to(dtype)
    return run


def works():
    K, H = 1032, 96
    root = lambda n: n ** -0.5
    yield attention_work("self_attention [B 1, N 501, heads 4, D 24, 1032 copies]", [(K, 501, 3 * H)], self_attention(4), (0,))
    yield attention_work("attention [B 1, 1024 x 1024, heads 7/1, D 128, causal, 16 copies]", [(16, 1024, 896)] + 2 * [(16, 1024, 128)], attention(7, 1, True), (0, 1, 2))
    yield attention_work("attention [B 1, 1024 x 1024, heads 4/4, D 64, 16 copies]", 3 * [(16, 1024, 256)], attention(4, 4, False), (0, 1, 2))
    for name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16)]:
        yield Work("stft [C 4, L 160000, n 256, hop 128, 16 copies]", stft(dtype), [(64, 160000)], wide=(0,), data=(0,), compiles=False, dtypes=(name,))
    yield Work("conv1d [B 1, L 501, G 8, 24 -> 24, k 3, 1032 copies]", lambda x, w, b: F.conv1d(x, w, b, padding=1, groups=8), [(K, 192, 501), (192, 24, 3), (192,)], scale={1: root(72)})
    yield Work("conv1d [B 8, L 129, G 8, 12 -> 12, k 5, 501 copies]", lambda x, w, b: F.conv1d(x, w, b, padding=2, groups=8), [(4008, H, 129), (H, 12, 5), (H,)], scale={1: root(60)})
    yield Work("group_norm [N 1, L 501, C 192, groups 8, 1032 copies]", lambda x, w, b: F.group_norm(x, 8, w, b), [(K, 192, 501), (192,), (192,)])
    yield Work("layer_norm [rows 501, C 96, 1032 copies]", lambda x, w, b: F.layer_norm(x, (H,), w, b), [(K * 501, H), (H,), (H,)])
    for twnm, n, k in [("linear [rows 501, 96 -> 288, 1032 copies]", 288, 96), ("linear [rows 501, 96 -> 192, 1032 copies]", 192, 96), ("linear [rows 501, 192 -> 96, 1032 copies]", 96, 192)]:
        yield Work(twnm, F.linear, [(K * 501, k), (n, k), (n,)], scale={1: root(k)})
    yield Work("full_band [N 8, F 129, S 8, 501 copies]", lambda x, w, b: torch.einsum("nfs,sgf->ngs", x, w) + b.t(), [(4008, 129, 8), (8, 129, 129), (8, 129)], scale={1: root(129)})
    yield Work("activation [silu 96192, 1032 copies]", F.silu, [(K, 96192)])
    yield Work("prelu [rows 501, C 96, 1032 copies]", F.prelu, [(K * 501, H), (H,)])
    yield Work("add [48096, 1032 copies]", torch.add, [(K, 48096), (K, 48096)], batched=(0, 1))


def cross_band(args):
    """The frame-local half of a block, from encoder_torch.py: its parameters are weights of modules."""
    from encoder_torch import FreqConv, FullBand
    twnm = "cross_band [N 8, F 129, H 96, G 8, k 5, S 8, 501 copies]"
    torch.manual_seed(0)
    first, full, second = (m.cuda() for m in (FreqConv(96, 5, 8), FullBand(96, 8), FreqConv(96, 5, 8)))
    maps, bias = torch.randn(8, 129, 129, device="cuda") / 129 ** 0.5, torch.zeros(8, 129, device="cuda")
    modules = [first, full, second]
    def run(x):
        for m in modules: m.to(x.dtype)
        return second(full(first(x), maps.to(x.dtype), bias.to(x.dtype)))
    def block(x): return second(full(first(x), maps.to(x.dtype), bias.to(x.dtype)))
    for dtype_name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16)]:
        for m in modules: m.to(dtype)
        with_parameters = [p for m in modules for p in m.parameters()]
        xs = [torch.randn(8, 129, 501, 96, device="cuda").to(dtype) for _ in range(SETS)]
        def both(f, x):
            x = x.detach().requires_grad_(); y = f(x)
            return torch.autograd.grad(y, [x, *with_parameters], y.detach())
        for peer, f in [("eager", block), ("compile", torch.compile(block, dynamic=False))]:
            for backward in (False, True):
                name = dict(twnm=twnm, dtype=dtype_name, peer=peer, **{"pass": "forward and backward" if backward else "forward"})
                if args.left() < 5: say(**name, skipped="no time left"); continue
                try:
                    with contextlib.nullcontext() if backward else torch.no_grad():
                        us = median_us([lambda x=x: both(f, x) if backward else f(x) for x in xs])
                    with torch.no_grad():
                        few = f(xs[0]) if peer == "compile" else block(xs[0][:1])
                        exact = run(xs[0][:1].double())
                        for m in modules: m.to(dtype)
                    say(**name, us=us, error=distance(few[:1], exact))
                except Exception as problem:
                    for m in modules: m.to(dtype)
                    say(**name, skipped=f"{type(problem).__name__}: {str(problem)[:160]}")
                torch.cuda.empty_cache()


def optimizer(args, n=57_200_000):
    """Clipping and AdamW over one flat parameter, as PyTorch's documentation does it; no graph."""
    for peer, options in [("fused", dict(fused=True)), ("foreach", dict(foreach=True))]:
        name = dict(twnm="adamw [57200000, clipped]", dtype="f32", peer=f"{peer} + clip_grad_norm_", **{"pass": "step"})
        if args.left() < 5: say(**name, skipped="no time left"); continue
        try:
            torch.manual_seed(0)
            p = torch.nn.Parameter(torch.randn(n, device="cuda")); p.grad = torch.randn(n, device="cuda"); old = p.detach()[:4096].double()
            opt = torch.optim.AdamW([p], lr=1e-3, weight_decay=0.01, **options)
            norm = p.grad.double().norm(); g = p.grad[:4096].double() / (norm + 1e-6).clamp_min(1.0)
            def step(): torch.nn.utils.clip_grad_norm_([p], 1.0); opt.step()
            step()
            way = -1e-3 * (0.01 * old + g / (g.abs() + 1e-8))
            wrong = distance(p.detach()[:4096].double() - old, way)
            times = []
            for _ in range(SAMPLES + 3):
                a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                a.record(); step(); b.record(); b.synchronize(); times.append(a.elapsed_time(b) * 1e3)
            say(**name, us=sorted(times[3:])[SAMPLES // 2], error=wrong, note="the error is that of the first step's way, rounding of the parameters included")
        except Exception as problem: say(**name, skipped=f"{type(problem).__name__}: {str(problem)[:160]}")
        p = opt = None
        torch.cuda.empty_cache()


def recurrent(args):
    """nn.LSTM (cuDNN) also multiplies its input, which in twnm is a product before: a fifth of the operations, off the critical path."""
    for dtype_name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16)]:
        torch.manual_seed(0)
        net = torch.nn.LSTM(96, 96, batch_first=True).cuda(); exact = torch.nn.LSTM(96, 96, batch_first=True).cuda().double()
        net.to(dtype); exact.load_state_dict({k: v.double() for k, v in net.state_dict().items()})
        xs = [torch.randn(64, 1251, 96, device="cuda").to(dtype) for _ in range(SETS)]
        def both(x):
            x = x.detach().requires_grad_(); y = net(x)[0]
            return torch.autograd.grad(y, [x, *net.parameters()], torch.ones_like(y))
        for backward in (False, True):
            name = dict(twnm="lstm [B 1, T 1251, D 96, 64 copies]", dtype=dtype_name, peer="cudnn nn.LSTM", **{"pass": "forward and backward" if backward else "forward"})
            if args.left() < 5: say(**name, skipped="no time left"); continue
            try:
                with contextlib.nullcontext() if backward else torch.no_grad():
                    us = median_us([lambda x=x: both(x) if backward else net(x)[0] for x in xs])
                with torch.no_grad(): wrong = distance(net(xs[0][:4])[0], exact(xs[0][:4].double())[0])
                say(**name, us=us, error=wrong, note="with the product of its input")
            except Exception as problem: say(**name, skipped=f"{type(problem).__name__}: {str(problem)[:160]}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, default=120, help="begin nothing new after this")
    p.add_argument("--filter", default="", help="only work with this in its label")
    p.add_argument("--list", action="store_true", help="print the labels and end")
    args = p.parse_args()
    args.left = lambda: args.seconds - (time.monotonic() - START)
    others = [("cross_band", cross_band), ("adamw", optimizer), ("lstm", recurrent)]
    if args.list:
        print("\n".join([w.twnm for w in works()]))
        return
    torch.backends.cuda.matmul.allow_tf32 = False; torch.backends.cudnn.allow_tf32 = False
    say(peer="torch", version=torch.__version__, cuda=torch.version.cuda, device=torch.cuda.get_device_name(), tf32=False)
    listed = list(works())
    for work in listed[:3]:
        if args.filter in work.twnm:
            for dtype in work.dtypes: measure(work, dtype, args)
    for name, run in others:
        if args.filter in name: run(args)
    for work in listed[3:]:
        if args.filter in work.twnm:
            for dtype in work.dtypes: measure(work, dtype, args)


if __name__ == "__main__":
    main()
