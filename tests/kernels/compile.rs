//! Every kernel through NVRTC and the assembler, for every architecture that is named, without a GPU: it compiles, does
//! not spill, stays within shared memory, and uses tensor cores where it should. Without NVRTC this is skipped, with
//! the reason. `TWNM_WRITE_RESOURCES=1` writes `kernels/RESOURCES.md`; it must be up to date for the compiler it names.
//! With `TWNM_KERNELS=changed`, a file that is as the report was written of it is compiled for one architecture only,
//! a different one from file to file, and what the report says of the others is taken from there.

use crate::predicted;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use twnm::device::nvrtc::ptxas::Resources;
use twnm::device::nvrtc::{self, Arch, FLAGS, Nvrtc};
use twnm::kernels::{KERNELS, SOURCES};

/// What an architecture's multiprocessor offers.
struct Limits {
    arch: Arch,
    threads: u32,
    blocks: u32,
    shared_bytes: u32,
}

/// Compute capabilities of the CUDA programming guide. All have 65,536 registers in four parts.
const LIMITS: [Limits; 4] = [
    Limits { arch: Arch { major: 8, minor: 0 }, threads: 2048, blocks: 32, shared_bytes: 164 << 10 },
    Limits { arch: Arch { major: 8, minor: 9 }, threads: 1536, blocks: 24, shared_bytes: 100 << 10 },
    Limits { arch: Arch { major: 9, minor: 0 }, threads: 2048, blocks: 32, shared_bytes: 228 << 10 },
    Limits { arch: Arch { major: 12, minor: 0 }, threads: 1536, blocks: 24, shared_bytes: 100 << 10 },
];

/// Shared memory that a block may have on every architecture above.
const SHARED_BYTES_MAX: u32 = 99 << 10;

/// Kernels that may spill: name, bytes, reason. At most three, none so far.
const MAY_SPILL: &[(&str, u32, &str)] = &[];

/// Kernels whose inner product has to run on tensor cores.
const TENSOR_CORES: &[&str] = &[
    "attention_bwd_dkv_d128_bf16",
    "attention_bwd_dkv_d24_bf16",
    "attention_bwd_dkv_d64_bf16",
    "attention_bwd_dq_d128_bf16",
    "attention_bwd_dq_d24_bf16",
    "attention_bwd_dq_d64_bf16",
    "attention_fwd_d128_bf16",
    "attention_fwd_d24_bf16",
    "attention_fwd_d64_bf16",
    "conv1d_bwd_w_bf16",
    "conv1d_bwd_x_bf16",
    "conv1d_fwd_bf16",
    "cross_band_fwd_bf16",
    "cross_band_inputs_bf16",
    "decode_attention_part_d128_bf16",
    "decode_attention_part_d64_bf16",
    "freq_conv_bwd_bf16",
    "full_band_bwd_w_bf16",
    "full_band_bwd_x_bf16",
    "full_band_fwd_bf16",
    "matmul_bf16",
    "matmul_bf16_f32",
    "matmul_small_bf16",
    "matmul_small_bf16_f32",
];

/// One compiled kernel.
struct Kernel {
    resources: Resources,
    /// Threads of a block at most, from its launch bounds.
    threads: u32,
    uses_tensor_cores: bool,
}

/// Compiles a file and reads off its kernels.
fn compile(nvrtc: &Nvrtc, name: &str, source: &str, arch: Arch) -> Vec<Kernel> {
    let (cubin, ptx) = nvrtc.compile(name, source, arch).unwrap_or_else(|error| panic!("{error}"));
    let kernel = |resources: Resources| {
        let start = ptx.find(&format!(".entry {}(", resources.kernel)).expect("every kernel has an entry");
        let text = &ptx[start..];
        let body = &text[..text[1..].find(".entry ").map_or(text.len(), |end| end + 1)];
        let bounds =
            body.split(".maxntid ").nth(1).and_then(|rest| rest.split([',', '\n']).next()?.trim().parse().ok());
        let uses_tensor_cores = body.contains("mma.sync");
        Kernel { resources, threads: bounds.unwrap_or(1024), uses_tensor_cores }
    };
    cubin.resources().into_iter().map(kernel).collect()
}

/// What is wrong with a kernel, if anything.
fn complaint(kernel: &Kernel, arch: Arch) -> Option<String> {
    let Resources { kernel: name, registers, spill_bytes, stack_bytes, shared_bytes } = &kernel.resources;
    let allowed = MAY_SPILL.iter().find(|(may, ..)| may == name).map_or(0, |(_, bytes, _)| *bytes);
    if *spill_bytes > allowed {
        return Some(format!("{name} for {arch} spills {spill_bytes} bytes ({stack_bytes} of stack)"));
    }
    if *shared_bytes > SHARED_BYTES_MAX {
        return Some(format!("{name} for {arch} has {shared_bytes} bytes of static shared memory"));
    }
    if *registers == 0 || *registers * kernel.threads > 65536 {
        return Some(format!("{name} for {arch} has {registers} registers at {} threads", kernel.threads));
    }
    let needs = TENSOR_CORES.contains(&name.as_str());
    (needs && !kernel.uses_tensor_cores).then(|| format!("{name} for {arch} does not use tensor cores"))
}

/// Share of a multiprocessor's threads that can be resident at once; dynamic shared memory lowers it further.
fn occupancy(kernel: &Kernel, limits: &Limits) -> f64 {
    let warps_of_block = kernel.threads.div_ceil(32);
    // A warp's registers come in units of 256 from one of the four parts.
    let registers_of_warp = (kernel.resources.registers * 32).next_multiple_of(256).max(256);
    let by_registers = 4 * (65536 / 4 / registers_of_warp) / warps_of_block;
    // The system keeps 1 KiB of every block.
    let by_shared = limits.shared_bytes / (kernel.resources.shared_bytes + 1024);
    let by_threads = limits.threads / (warps_of_block * 32);
    let blocks = by_registers.min(by_shared).min(by_threads).min(limits.blocks);
    f64::from(blocks * warps_of_block * 32) / f64::from(limits.threads)
}

/// Says past the test runner's capture what was not checked; `.ci/run` counts these lines.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

fn compiler() -> Option<&'static Nvrtc> {
    nvrtc::open().inspect_err(|error| skipped(&format!("kernels are not compiled: {}", error.message()))).ok()
}

/// What a file's kernels came to: complaints, those on tensor cores, and their rows of the report.
#[derive(Default)]
struct Found {
    complaints: Vec<String>,
    tensor: BTreeSet<String>,
    rows: BTreeMap<(String, String), Vec<String>>,
}

/// What the report says of a kernel on an architecture.
fn cell(kernel: &Kernel, limits: &Limits) -> String {
    let Resources { registers, shared_bytes, .. } = &kernel.resources;
    format!("{registers}, {shared_bytes}, {:.0} %", 100.0 * occupancy(kernel, limits))
}

/// Compiles a file for every architecture, or for the one with index `only`, and takes the others' cells from `report`.
fn examine(nvrtc: &Nvrtc, stem: &str, source: &str, only: Option<usize>, report: &Report) -> Found {
    let (file, declared) = (format!("{stem}.cu"), KERNELS.iter().filter(|kernel| kernel.file == stem).count());
    let mut found = Found::default();
    for (a, limits) in LIMITS.iter().enumerate().filter(|(a, _)| only.is_none_or(|only| only == *a)) {
        let kernels = compile(nvrtc, &file, source, limits.arch);
        assert_eq!(kernels.len(), declared, "{file}: kernels found and declared");
        for kernel in kernels {
            let name = &kernel.resources.kernel;
            if kernel.uses_tensor_cores {
                found.tensor.insert(name.clone());
            }
            found.complaints.extend(complaint(&kernel, limits.arch).map(|text| format!("{file}: {text}")));
            let key = (file.clone(), name.clone());
            if only.is_some() {
                found.complaints.extend(report.complaint(&key, &kernel).map(|text| format!("{file}: {text}")));
            }
            let reported = report.rows.get(&key).filter(|_| only.is_some());
            let row = found.rows.entry(key).or_insert_with(|| reported.cloned().unwrap_or_default());
            row.resize(1 + LIMITS.len(), String::new());
            row[0] = kernel.threads.to_string();
            row[1 + a] = cell(&kernel, limits);
        }
    }
    found
}

/// Every file, on two threads: compiling is most of what the tests of kernels take.
fn examine_all(nvrtc: &Nvrtc, report: &Report) -> Found {
    let may_skip = match std::env::var("TWNM_KERNELS").as_deref() {
        Err(_) => false,
        Ok("changed") => true,
        Ok(other) => panic!("TWNM_KERNELS={other}: changed, or not set for all of them"),
    };
    let (next, all) = (AtomicUsize::new(0), Mutex::new((Found::default(), 0)));
    let work = || {
        while let Some((index, (stem, source))) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| SOURCES.get(i).map(|file| (i, file)))
        {
            let is_known = may_skip && report.is_of(nvrtc.version(), stem, source);
            let found = examine(nvrtc, stem, source, is_known.then_some(index % LIMITS.len()), report);
            let mut all = all.lock().unwrap();
            all.0.complaints.extend(found.complaints);
            all.0.tensor.extend(found.tensor);
            all.0.rows.extend(found.rows);
            all.1 += usize::from(is_known);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let (found, known) = all.into_inner().unwrap();
    if known > 0 {
        println!("{known} of {} files are as the report knows them: one architecture each", SOURCES.len());
    }
    found
}

#[test]
fn kernels_compile_without_spills_and_as_their_report_says() {
    let Some(nvrtc) = compiler() else { return };
    let report = Report::read();
    let Found { mut complaints, tensor, mut rows } = examine_all(nvrtc, &report);
    let names: Vec<&str> = rows.keys().map(|(_, name)| name.as_str()).collect();
    let listed = MAY_SPILL.iter().map(|(name, ..)| *name).chain(TENSOR_CORES.iter().copied());
    complaints.extend(listed.filter(|name| !names.contains(name)).map(|name| format!("{name}: listed, but no kernel")));
    let unlisted = tensor.iter().filter(|name| !TENSOR_CORES.contains(&name.as_str()));
    complaints.extend(unlisted.map(|name| format!("{name} uses tensor cores: list it in TENSOR_CORES")));
    predict(&mut rows, &tensor);
    assert!(complaints.is_empty() && MAY_SPILL.len() <= 3, "{}", complaints.join("\n"));
    report.compare(nvrtc.version(), &rows);
}

/// Appends the predicted times and what they are of.
fn predict(rows: &mut BTreeMap<(String, String), Vec<String>>, tensor: &BTreeSet<String>) {
    let works = predicted::works(tensor);
    for ((_, name), cells) in rows {
        let Some(work) = works.get(name.as_str()) else {
            cells.push("- | - | ".into());
            continue;
        };
        let [slow, fast] = predicted::microseconds(work, tensor.contains(name));
        let (mib, gflop, blocks) = (work.bytes / (1 << 20) as f64, work.flops / 1e9, work.blocks);
        cells.push(format!("{slow:.1} | {fast:.1} | {}: {mib:.1} MiB, {gflop:.2} GFLOP, {blocks} blocks", work.case));
    }
}

/// `kernels/RESOURCES.md` as it lies there.
struct Report {
    text: String,
    /// The cells of a kernel that compiling gives: threads and one per architecture.
    rows: BTreeMap<(String, String), Vec<String>>,
}

impl Report {
    fn path() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/RESOURCES.md")
    }

    fn read() -> Report {
        let text = std::fs::read_to_string(Report::path()).unwrap_or_default();
        let row = |line: &str| {
            let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
            let [file, name, compiled @ ..] = cells.as_slice() else { return None };
            let compiled = compiled.get(..1 + LIMITS.len())?.iter().map(|cell| cell.to_string()).collect();
            Some(((file.to_string(), name.to_string()), compiled))
        };
        let rows = text.lines().filter_map(row).collect();
        Report { text, rows }
    }

    fn compiled_by(version: (u32, u32)) -> String {
        format!("Compiled by NVRTC {}.{}.", version.0, version.1)
    }

    /// The line that says of which source, compiled with which flags, the report is.
    fn source_line(stem: &str, source: &str) -> String {
        let all = [FLAGS.join(" ").as_str(), source].join("\n");
        format!("- {stem}.cu {}\n", blake3::hash(all.as_bytes()).to_hex())
    }

    /// What is wrong with the cells of a kernel that is not compiled for all architectures: each must say what its own
    /// registers and shared memory come to, within the limits.
    fn complaint(&self, key: &(String, String), compiled: &Kernel) -> Option<String> {
        let Some(cells) = self.rows.get(key) else { return Some(format!("{} is not in the report", key.1)) };
        cells[1..].iter().zip(&LIMITS).find_map(|(said, limits)| {
            let numbers: Vec<u32> = said.split(", ").filter_map(|number| number.parse().ok()).collect();
            let [registers, shared_bytes] = numbers[..] else { return Some(format!("{}: {said:?}", key.1)) };
            let resources = Resources { kernel: key.1.clone(), registers, shared_bytes, ..Resources::default() };
            let kernel = Kernel { resources, ..*compiled };
            let is_stale = cell(&kernel, limits) != *said;
            complaint(&kernel, limits.arch).or(is_stale.then(|| format!("{} for {}: {said:?}", key.1, limits.arch)))
        })
    }

    /// Whether the report was written of this source with this compiler.
    fn is_of(&self, version: (u32, u32), stem: &str, source: &str) -> bool {
        self.text.contains(&Report::compiled_by(version)) && self.text.contains(&Report::source_line(stem, source))
    }

    /// Writes the report, or holds it against the committed one when that is of the same compiler.
    fn compare(&self, version: (u32, u32), rows: &BTreeMap<(String, String), Vec<String>>) {
        let compiled_by = Report::compiled_by(version);
        let mut text = format!(
            "# Resources of the kernels\n\n{compiled_by} Per architecture: registers per thread, bytes of static \
             shared memory, share of the\nmultiprocessor's threads that can be resident (before dynamic shared memory). \
             Then the time in\nmicroseconds that a launch takes at least on two GPUs, **predicted, not measured**, for the largest bench case that \
             launches\nit: the longest of bytes of all its tensors over the memory's bandwidth (of few blocks, over that of their \
             multiprocessors),\noperations over the peak (tensor cores for kernels that use them) and attention's exponentials over \
             their rate, both on the\nmultiprocessor with the most blocks. How often the others wait for each other is not in it, \
             nor instructions beside these. No\ncase of that size: no prediction. Written by\n\
             `TWNM_WRITE_RESOURCES=1 cargo test --release --test kernels compile`.\n\n| file | kernel | threads |"
        );
        LIMITS.iter().for_each(|limits| write!(text, " {} |", limits.arch).unwrap());
        text.push_str(" RTX 5090 predicted | H200 predicted | of |\n|---|---|---|---|---|---|---|---|---|---|\n");
        for ((file, name), cells) in rows {
            writeln!(text, "| {file} | {name} | {} |", cells.join(" | ")).unwrap();
        }
        text.push_str("\n## The sources it was written of\n\nBLAKE3 of the compiler's flags and each file with the headers it includes.\n\n");
        SOURCES.iter().for_each(|(stem, source)| text.push_str(&Report::source_line(stem, source)));
        if std::env::var_os("TWNM_WRITE_RESOURCES").is_some() {
            return std::fs::write(Report::path(), text).unwrap();
        }
        if self.text.is_empty() || self.text.contains(&compiled_by) {
            assert!(self.text == text, "kernels/RESOURCES.md is out of date: run with TWNM_WRITE_RESOURCES=1");
        } else {
            let others = "kernels/RESOURCES.md was written with another compiler";
            skipped(&format!("{others} than NVRTC {}.{}", version.0, version.1));
        }
    }
}

const SAMPLES: &str = r#"
extern "C" __global__ void __launch_bounds__(256) plain(float* y, const float* x) {
    __shared__ float tile[2048];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[255 - threadIdx.x];
}
extern "C" __global__ void __launch_bounds__(1024, 2) spiller(float* y, const float* x) {
    float kept[64];
    #pragma unroll
    for (int i = 0; i < 64; i++) kept[i] = x[threadIdx.x + 1024 * i];
    __syncthreads();
    for (int round = 0; round < 4; round++) {
        #pragma unroll
        for (int i = 0; i < 64; i++) kept[i] = kept[i] * kept[(i * 7 + 3) % 64] + x[i];
    }
    #pragma unroll
    for (int i = 0; i < 64; i++) y[threadIdx.x + 1024 * i] = kept[i];
}
extern "C" __global__ void __launch_bounds__(32) tensor(float* y, const unsigned* x) {
    float d[4] = {0, 0, 0, 0};
    const unsigned* a = x + 6 * threadIdx.x;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[4]), "r"(a[5]));
    y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
"#;

/// The checks above notice what they are for.
#[test]
fn a_spill_is_noticed_and_tensor_cores_are_seen() {
    let Some(nvrtc) = compiler() else { return };
    for limits in &LIMITS {
        let kernels = compile(nvrtc, "samples.cu", SAMPLES, limits.arch);
        let of = |name: &str| kernels.iter().find(|k| k.resources.kernel == name).unwrap();
        let (plain, spiller, tensor) = (of("plain"), of("spiller"), of("tensor"));
        assert_eq!((plain.threads, spiller.threads, plain.resources.shared_bytes), (256, 1024, 8192));
        assert_eq!(complaint(plain, limits.arch), None);
        assert_eq!(complaint(tensor, limits.arch), None);
        let text = complaint(spiller, limits.arch).expect("it spills");
        assert!(text.contains("spiller for") && text.contains("spills"), "{text}");
        assert!(tensor.uses_tensor_cores && !plain.uses_tensor_cores && !spiller.uses_tensor_cores);
    }
}

#[test]
fn occupancy_follows_the_scarcest_resource() {
    let kernel = |registers, shared_bytes, threads| Kernel {
        resources: Resources { registers, shared_bytes, ..Resources::default() },
        threads,
        uses_tensor_cores: false,
    };
    let [sm_80, sm_89, ..] = &LIMITS;
    assert_eq!(occupancy(&kernel(32, 0, 256), sm_80), 1.0);
    // 128 registers: 16 warps of 64. 40 KiB and the system's 1: four blocks of 128 threads, and two.
    assert_eq!(occupancy(&kernel(128, 0, 256), sm_80), 0.25);
    assert_eq!(occupancy(&kernel(32, 40 << 10, 128), sm_80), 0.25);
    assert_eq!(occupancy(&kernel(32, 40 << 10, 128), sm_89), 256.0 / 1536.0);
    // Blocks of one warp: their number is limited.
    assert_eq!(occupancy(&kernel(16, 0, 32), sm_89), 0.5);
}
