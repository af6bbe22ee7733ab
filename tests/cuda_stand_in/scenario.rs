//! What the child processes do with the device: everything once, with results that are checked.

use std::ffi::c_void;
use twnm::device::DType;
use twnm::device::cublaslt::{Matmul, Place};
use twnm::device::cuda::{self, Block, Event, Fill, Gpu, Graph, KernelRef};
use twnm::error::{Kind, Result};

const ADD: KernelRef = KernelRef { name: "add", file: "add.cu", source: "the stand-in reads no source" };
const N: usize = 1000;

/// `y += x`, both of `N` floats.
fn add(gpu: &Gpu, y: &Block, x: &Block) -> Result<()> {
    let (mut y, mut x, mut n) = (y.address(), x.address(), N as i32);
    let mut arguments: [*mut c_void; 3] = [(&raw mut y).cast(), (&raw mut x).cast(), (&raw mut n).cast()];
    // SAFETY: the kernel's three parameters; both blocks have `N` floats.
    unsafe { gpu.launch(&ADD, [4, 1, 1], [256, 1, 1], 50 << 10, &mut arguments) }
}

fn upload(gpu: &'static Gpu, values: &[f32]) -> Result<Block> {
    let block = gpu.alloc(size_of_val(values))?;
    gpu.upload(&block, 0, bytemuck::cast_slice(values))?;
    Ok(block)
}

fn download(gpu: &Gpu, block: &Block) -> Result<Vec<f32>> {
    let mut values = vec![0f32; block.bytes() / 4];
    gpu.download(block, 0, bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}

/// Everything once.
pub fn run() -> Result<()> {
    let gpu = cuda::open(0)?;
    assert!(std::ptr::eq(gpu, cuda::open(0)?), "one GPU per ordinal");
    memory_and_launches(gpu)?;
    recording(gpu)?;
    products(gpu)?;
    gpu.synchronize()
}

fn memory_and_launches(gpu: &'static Gpu) -> Result<()> {
    let values: Vec<f32> = (0..N).map(|i| i as f32).collect();
    let x = upload(gpu, &values)?;
    let y = gpu.alloc(N * 4)?;
    gpu.fill(&y, Fill::F32(0.5))?;
    add(gpu, &y, &x)?;
    let sums: Vec<f32> = values.iter().map(|x| x + 0.5).collect();
    assert_eq!(download(gpu, &y)?, sums);

    let z = gpu.alloc(N * 4)?;
    gpu.fill(&z, Fill::Zero)?;
    gpu.copy(&z, 400, &y, 0, 400)?;
    gpu.fill(&x, Fill::Bf16(0x3f80))?;
    let (ones, moved) = (f32::from_bits(0x3f803f80), download(gpu, &z)?);
    assert_eq!(download(gpu, &x)?, vec![ones; N]);
    assert_eq!((&moved[100..200], moved[99], moved[200]), (&sums[..100], 0.0, 0.0));

    // Longer than both staging buffers.
    let long: Vec<f32> = (0..(5 << 19)).map(|i| (i % 8191) as f32).collect();
    let block = gpu.prefetch(bytemuck::cast_slice(&long))?.block()?;
    drop(gpu.prefetch(bytemuck::cast_slice(&values))?);
    let start = Event::record(gpu)?;
    assert_eq!(download(gpu, &block)?, long);
    assert_eq!(start.elapsed_ms(&Event::record(gpu)?)?, 1.5);

    let memory = gpu.memory()?;
    // A block that could not be freed is still used.
    let nothing_fails = std::env::var_os("TWNM_STANDIN_FAIL").is_none();
    assert!(memory.used == (3 * N * 4 + long.len() * 4) as u64 || !nothing_fails);
    assert!(memory.peak >= memory.used && memory.free + memory.used == memory.total);
    Ok(())
}

/// Adds 2 to `y` in every replay, through memory that exists only in the recording, and doubles the input it was
/// recorded with, which is dropped meanwhile.
fn recording(gpu: &'static Gpu) -> Result<()> {
    let (y, x) = (upload(gpu, &[1.0; N])?, upload(gpu, &[10.0; N])?);
    let mut kept = None;
    let graph = Graph::capture(gpu, || {
        let first = gpu.alloc(N * 4)?;
        gpu.fill(&first, Fill::F32(2.0))?;
        add(gpu, &y, &first)?;
        let address = first.address();
        drop(first);
        let second = gpu.alloc(N * 4 - 8)?;
        assert_eq!(second.address(), address, "memory of the recording is used again");
        let third = gpu.alloc(N * 4)?;
        assert_ne!(third.address(), address);
        gpu.copy(&third, 0, &x, 0, N * 4)?;
        add(gpu, &third, &x)?;
        drop(x);
        kept = Some(third);
        Ok(())
    })?;
    assert_eq!(download(gpu, &y)?, [1.0; N], "recorded, not done");
    graph.replay()?;
    graph.replay()?;
    assert_eq!(download(gpu, &y)?, [5.0; N]);
    drop(graph);
    assert_eq!(download(gpu, &kept.expect("the recording set it"))?, [20.0; N], "a result outlives its graph");
    Ok(())
}

/// Products in both storages and all orders of the operands against plain loops.
fn products(gpu: &'static Gpu) -> Result<()> {
    let (m, n, k, batch) = (3, 5, 4, 2);
    let value = |i: usize| ((i * 7 % 11) as f32 - 5.0) * 0.25;
    for (inputs, transpose_a, transpose_b) in [(DType::F32, false, true), (DType::Bf16, true, false)] {
        let (a, b): (Vec<f32>, Vec<f32>) =
            ((0..batch * m * k).map(value).collect(), (0..k * n).map(|i| value(i + 3)).collect());
        let mut expected = vec![0f32; batch * m * n];
        for (i, out) in expected.iter_mut().enumerate() {
            let (which, row, column) = (i / (m * n), i / n % m, i % n);
            let at_a = |l: usize| which * m * k + if transpose_a { l * m + row } else { row * k + l };
            let at_b = |l: usize| if transpose_b { column * k + l } else { l * n + column };
            *out = 1.0 + 2.0 * (0..k).map(|l| a[at_a(l)] * b[at_b(l)]).sum::<f32>();
        }
        let store = |values: &[f32]| match inputs {
            DType::F32 => upload(gpu, values),
            _ => {
                let bits: Vec<u16> = values.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
                let block = gpu.alloc(bits.len() * 2)?;
                gpu.upload(&block, 0, bytemuck::cast_slice(&bits))?;
                Ok(block)
            }
        };
        let (a, b, c) = (store(&a)?, store(&b)?, upload(gpu, &vec![1.0; batch * m * n])?);
        let place = |block| Place { block, offset: 0 };
        let strides = [m * k, 0, m * n];
        let output = DType::F32;
        let matmul =
            Matmul { m, n, k, batch, transpose_a, transpose_b, strides, inputs, output, alpha: 2.0, beta: 1.0 };
        matmul.run(place(&a), place(&b), place(&c))?;
        assert_eq!(download(gpu, &c)?, expected, "{inputs:?}");
        // A second product of the shape asks the library nothing; it overwrites.
        Matmul { beta: 0.0, ..matmul }.run(place(&a), place(&b), place(&c))?;
        let without: Vec<f32> = expected.iter().map(|x| x - 1.0).collect();
        assert_eq!(download(gpu, &c)?, without);
    }
    Ok(())
}

/// What has to be refused, with errors that say why.
pub fn limits() -> Result<()> {
    let gpu = cuda::open(1)?;
    let error = gpu.alloc(1 << 41).err().expect("more than there is");
    for part in ["cuda:1: out of memory: 2199023255552 bytes wanted", "free of 34359738368", "CUDA_ERROR_OUT_OF_MEMORY"]
    {
        assert!(error.message().contains(part), "{error}");
    }
    assert!(gpu.reserve(1 << 41).is_err() && gpu.reserve(1 << 20).is_ok());

    let (block, mut bytes) = (gpu.alloc(4)?, [0u8; 4]);
    let refused = |what: &str, result: Result<()>| {
        let error = result.expect_err(what);
        assert!(error.kind() == Kind::Internal && error.message().contains("while a graph is recorded"), "{error}");
    };
    let broken = Graph::capture(gpu, || {
        refused("upload", gpu.upload(&block, 0, &[0; 4]));
        refused("download", gpu.download(&block, 0, &mut bytes));
        refused("synchronize", gpu.synchronize());
        refused("prefetch", gpu.prefetch(&[0; 4]).map(drop));
        refused("a recording within", Graph::capture(gpu, || Ok(())).map(drop));
        gpu.alloc(1 << 41).map(drop)
    });
    assert!(broken.err().expect("the error of the work").message().contains("out of memory"));
    // The failed recording is over, and an empty block is a block.
    gpu.upload(&block, 0, &[1, 2, 3, 4])?;
    gpu.download(&block, 0, &mut bytes)?;
    assert_eq!(bytes, [1, 2, 3, 4]);
    let empty = gpu.alloc(0)?;
    gpu.upload(&empty, 0, &[])?;
    gpu.fill(&empty, Fill::Zero)?;

    let wrong = KernelRef { name: "none", ..ADD };
    // SAFETY: there is no such kernel.
    let error = unsafe { gpu.launch(&wrong, [1; 3], [32, 1, 1], 0, &mut []) }.unwrap_err();
    assert!(error.message().contains("none of add.cu") && error.message().contains("cuModuleGetFunction"), "{error}");
    let wrong = KernelRef { file: "wrong.cu", source: "#error wrong", ..ADD };
    // SAFETY: it does not compile.
    let error = unsafe { gpu.launch(&wrong, [1; 3], [32, 1, 1], 0, &mut []) }.unwrap_err();
    assert!(error.message().contains("nvrtcCompileProgram: NVRTC_ERROR_COMPILATION"), "{error}");
    assert_eq!(cuda::open(9).err().expect("there are two").kind(), Kind::Unavailable);
    Ok(())
}

/// Prints what is chosen.
pub fn choose() -> Result<()> {
    let ordinal = std::env::var("TWNM_STANDIN_ORDINAL").ok().map(|n| n.parse().unwrap());
    let chosen = cuda::choose(ordinal);
    let (gpu, line) = cuda::auto();
    assert_eq!(line.lines().count(), 1, "{line}");
    match chosen {
        Ok(gpu) => {
            eprintln!("{gpu}");
            assert_eq!(line, gpu.to_string());
            Ok(())
        }
        Err(error) => {
            assert!(ordinal.is_some() || gpu.is_none() && line == format!("host, because {}", error.message()));
            Err(error)
        }
    }
}
