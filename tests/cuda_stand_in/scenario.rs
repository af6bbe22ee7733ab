//! What the child processes do with the device: everything once, with results that are checked.

use std::ffi::c_void;
use twnm::device::DType;
use twnm::device::cuda::cublaslt::{Addends, Matmul, Place};
use twnm::device::cuda::{self, Block, Event, Fill, Gpu, Graph, KernelRef};
use twnm::error::{Kind, Result};

const ADD: KernelRef = KernelRef { name: "add", file: "add.cu", source: "the stand-in reads no source" };
const N: usize = 1000;

/// `y += x`, both of `N` floats.
fn add(gpu: &Gpu, y_block: &Block, x_block: &Block) -> Result<()> {
    let (mut y, mut x, mut n) = (y_block.address(), x_block.address(), N as i32);
    let mut arguments: [*mut c_void; 3] = [(&raw mut y).cast(), (&raw mut x).cast(), (&raw mut n).cast()];
    let touched = [y_block, x_block];
    // SAFETY: the kernel's three parameters; both blocks have `N` floats.
    unsafe { gpu.launch(&ADD, [4, 1, 1], [256, 1, 1], 50 << 10, &mut arguments, touched) }
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

/// Everything once. At the end, also after an error, the memory that is kept for later goes back.
pub fn run() -> Result<()> {
    let gpu = cuda::open(0)?;
    assert!(std::ptr::eq(gpu, cuda::open(0)?), "one GPU per ordinal");
    let work = || {
        memory_and_launches(gpu)?;
        batches(gpu)?;
        recording(gpu)?;
        products(gpu)
    };
    work().and(gpu.trim())
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

    // Longer than both halves.
    let long: Vec<f32> = (0..(5 << 19)).map(|i| (i % 8191) as f32).collect();
    let block = upload(gpu, &long)?;
    let start = Event::record(gpu)?;
    assert_eq!(download(gpu, &block)?, long);
    assert_eq!(start.elapsed_ms(&Event::record(gpu)?)?, 1.5);

    let memory = gpu.memory()?;
    // Sizes are rounded up; a block that could not be freed is still used.
    let nothing_fails = std::env::var_os("TWNM_STANDIN_FAIL").is_none();
    assert!(memory.used == (3 * 4096 + long.len() * 4) as u64 || !nothing_fails);
    assert!(memory.peak >= memory.used && memory.free + memory.used + memory.kept == memory.total);

    // What is dropped is used again at once.
    let address = z.address();
    drop(z);
    assert_eq!(gpu.alloc(N * 4 - 100)?.address(), address);
    // Once around the ring of small uploads.
    for i in 0..70u32 {
        gpu.upload(&y, 4 * i as usize, &i.to_le_bytes())?;
    }
    let mut bytes = [0; 4 * 70];
    gpu.download(&y, 0, &mut bytes)?;
    assert!((0..70u32).eq(bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()))));
    Ok(())
}

/// Batches that come beside the work: their memory is used in turns.
fn batches(gpu: &'static Gpu) -> Result<()> {
    let values: Vec<f32> = (0..(3 << 19)).map(|i| (i % 8191) as f32).collect();
    let bytes = bytemuck::cast_slice(&values);
    let (first, second) = (gpu.prefetch(bytes)?.block()?, gpu.prefetch(bytes)?);
    assert_eq!(download(gpu, &first)?, values);
    let address = first.address();
    drop(first);
    let third = gpu.prefetch(&bytes[..bytes.len() - 4])?.block()?;
    assert_eq!(third.address(), address, "memory of the first batch");
    assert_eq!((download(gpu, &second.block()?)?, download(gpu, &third)?.len()), (values.clone(), values.len() - 1));
    drop(gpu.prefetch(bytes)?);
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

/// Graphs keep what they touch, also what is dropped after the recording, and memory of a graph that is dropped during
/// another recording goes home after it.
pub fn keeping() -> Result<()> {
    let gpu = cuda::open(0)?;
    let (y, x, bystander) = (upload(gpu, &[1.0; N])?, upload(gpu, &[10.0; N])?, upload(gpu, &[0.0; N])?);
    let mut earlier = None;
    let graph = Graph::capture(gpu, || {
        let made = gpu.alloc(N * 4)?;
        gpu.copy(&made, 0, &x, 0, N * 4)?;
        add(gpu, &y, &made)?;
        earlier = Some(made);
        Ok(())
    })?;
    let (address, used) = (x.address(), gpu.memory()?.used);
    drop(x);
    assert_eq!(gpu.memory()?.used, used, "the graph holds it");
    let other = upload(gpu, &[-1.0; N])?;
    assert_ne!(other.address(), address);
    graph.replay()?;
    assert_eq!(download(gpu, &y)?, [11.0; N]);

    let earlier = earlier.expect("the recording set it");
    let second = Graph::capture(gpu, || {
        add(gpu, &y, &earlier)?;
        drop((graph, earlier));
        drop(bystander);
        let fresh = gpu.alloc(N * 4)?;
        gpu.fill(&fresh, Fill::F32(0.5))?;
        add(gpu, &y, &fresh)
    })?;
    second.replay()?;
    second.replay()?;
    assert_eq!(download(gpu, &y)?, [11.0 + 2.0 * 10.5; N]);
    drop((second, y, other));
    assert_eq!(gpu.memory()?.used, 0);
    gpu.trim()
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
            *out = column as f32 + 1.0 + 2.0 * (0..k).map(|l| a[at_a(l)] * b[at_b(l)]).sum::<f32>();
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
        let matmul = Matmul { m, n, k, batch, transpose_a, transpose_b, strides, inputs, output, alpha: 2.0 };
        let bias = upload(gpu, &[0.0, 1.0, 2.0, 3.0, 4.0])?;
        let all = Addends { bias: Some(place(&bias)), matrix: Some(place(&c)) };
        assert!(matmul.run(place(&a), place(&b), all, place(&c))?);
        assert_eq!(download(gpu, &c)?, expected, "{inputs:?}");
        // A second product of the shape asks the library nothing; it overwrites.
        let (other, only_bias) =
            (upload(gpu, &[-1.0, 0.0, 1.0, 2.0, 3.0])?, upload(gpu, &vec![f32::NAN; expected.len()])?);
        let addends = Addends { bias: Some(place(&other)), matrix: None };
        assert!(matmul.run(place(&a), place(&b), addends, place(&only_bias))?);
        let less: Vec<f32> = expected.iter().map(|x| x - 2.0).collect();
        assert_eq!(download(gpu, &only_bias)?, less);
        assert!(matmul.run(place(&a), place(&b), Addends::default(), place(&c))?);
        let without: Vec<f32> = expected.iter().enumerate().map(|(i, x)| x - 1.0 - (i % n) as f32).collect();
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
    let error = unsafe { gpu.launch(&wrong, [1; 3], [32, 1, 1], 0, &mut [], []) }.unwrap_err();
    assert!(error.message().contains("none of add.cu") && error.message().contains("cuModuleGetFunction"), "{error}");
    let wrong = KernelRef { file: "wrong.cu", source: "#error wrong", ..ADD };
    // SAFETY: it does not compile.
    let error = unsafe { gpu.launch(&wrong, [1; 3], [32, 1, 1], 0, &mut [], []) }.unwrap_err();
    assert!(error.message().contains("nvrtcCompileProgram: NVRTC_ERROR_COMPILATION"), "{error}");
    assert_eq!(cuda::open(9).err().expect("there are two").kind(), Kind::Unavailable);
    drop((block, empty));
    gpu.trim()
}

/// What is kept for later does not stand in the way: of a megabyte of memory, three quarters are used and dropped in
/// small pieces, then wanted in one.
pub fn pressure() -> Result<()> {
    let gpu = cuda::open(0)?;
    let blocks = (0..12).map(|_| gpu.alloc(1 << 16)).collect::<Result<Vec<_>>>()?;
    drop(blocks);
    assert_eq!(gpu.memory()?.kept, 12 << 16);
    let whole = gpu.alloc(12 << 16)?;
    assert_eq!(gpu.memory()?.kept, 0);
    assert!(gpu.alloc(12 << 16).is_err());
    drop(whole);
    gpu.trim()
}

/// The kernel runs whatever driver and compiler there are, and events have times.
pub fn launch() -> Result<()> {
    let gpu = cuda::open(0)?;
    let (y, x) = (upload(gpu, &[1.0; N])?, upload(gpu, &[2.0; N])?);
    let start = Event::record(gpu)?;
    add(gpu, &y, &x)?;
    assert_eq!(start.elapsed_ms(&Event::record(gpu)?)?, 1.5);
    assert_eq!(download(gpu, &y)?, [3.0; N]);
    Ok(())
}

/// Products that the library has no algorithm for say so and leave the result to the caller's own kernels.
pub fn refused_products() -> Result<()> {
    let gpu = cuda::open(0)?;
    let (a, b, c) = (upload(gpu, &[1.0; 6])?, upload(gpu, &[1.0; 6])?, upload(gpu, &[7.0; 4])?);
    let place = |block| Place { block, offset: 0 };
    let matmul = Matmul {
        m: 2,
        n: 2,
        k: 3,
        batch: 1,
        transpose_a: false,
        transpose_b: false,
        strides: [0; 3],
        inputs: DType::F32,
        output: DType::F32,
        alpha: 1.0,
    };
    for matmul in [matmul, matmul, Matmul { transpose_a: true, ..matmul }] {
        assert!(!matmul.run(place(&a), place(&b), Addends::default(), place(&c))?);
    }
    assert_eq!(download(gpu, &c)?, [7.0; 4]);
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
