//! Ops against PyTorch: `golden/ops/expected.safetensors` holds inputs, outputs and gradients computed in float32 by
//! PyTorch 2.11 (names `op.case.tensor`; `dx` is the gradient of `x` for the upstream gradient `dout`).

use std::path::Path;
use twnm::check::relative_l2;
use twnm::ops::attention::{Shape, attention, self_attention};
use twnm::ops::conv1d::conv1d;
use twnm::tape::{Tape, Var};
use twnm::tensor::Tensor;
use twnm::weights::Tensors;

/// What `twnm verify` allows for values of the same precision.
const LIMIT: f64 = 1e-5;

fn open() -> Tensors {
    Tensors::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ops/expected.safetensors")).unwrap()
}

/// A stored tensor with its axes in another order.
fn load(golden: &Tensors, name: &str, order: &[usize]) -> Tensor {
    let (shape, data) = (golden.shape(name).unwrap(), golden.f32(name).unwrap());
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let new: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let value = |mut i: usize| {
        let mut from = 0;
        for (&axis, &extent) in order.iter().zip(&new).rev() {
            from += i % extent * stride(axis);
            i /= extent;
        }
        data[from]
    };
    let values: Vec<f32> = (0..data.len()).map(value).collect();
    Tensor::from_slice(&new, &values)
}

#[track_caller]
fn expect_close(what: &str, actual: &Tensor, expected: &Tensor) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let wide = |t: &Tensor| t.data().iter().map(|&v| v as f64).collect::<Vec<_>>();
    let error = relative_l2(&wide(actual), &wide(expected));
    assert!(error <= LIMIT, "{what}: relative L2 error {error:.1e}");
}

#[test]
fn conv1d_matches_pytorch() {
    let golden = open();
    // PyTorch keeps channels before steps.
    const SWAP: &[usize] = &[0, 2, 1];
    for kind in ["dense", "grouped", "depthwise"] {
        let name = |tensor: &str| format!("conv1d.{kind}.{tensor}");
        let mut tape = Tape::new();
        let x = tape.leaf(load(&golden, &name("x"), SWAP));
        let w = tape.leaf(load(&golden, &name("w"), &[0, 1, 2]));
        let b = tape.leaf(load(&golden, &name("b"), &[0]));
        let y = conv1d(&mut tape, &x, &w, &b, x.shape()[2] / w.shape()[1]);
        expect_close(&name("out"), y.tensor(), &load(&golden, &name("out"), SWAP));
        let grads = tape.backward(&y, load(&golden, &name("dout"), SWAP)).unwrap();
        expect_close(&name("dx"), grads.get(&x).unwrap(), &load(&golden, &name("dx"), SWAP));
        expect_close(&name("dw"), grads.get(&w).unwrap(), &load(&golden, &name("dw"), &[0, 1, 2]));
        expect_close(&name("db"), grads.get(&b).unwrap(), &load(&golden, &name("db"), &[0]));
    }
}

/// A golden of shape [B, heads, N, D] as [B, N, heads D].
fn merged(golden: &Tensors, name: &str) -> Tensor {
    let t = load(golden, name, &[0, 2, 1, 3]);
    let [b, n, h, d] = t.dims("golden");
    t.reshape(&[b, n, h * d])
}

#[test]
fn attention_matches_pytorch() {
    let golden = open();
    for (kind, shape) in [("full", Shape::full(6, 2)), ("causal", Shape::causal(6, 2))] {
        let name = |tensor: &str| format!("attn.{kind}.{tensor}");
        let mut tape = Tape::new();
        let [q, k, v] = ["attn.q", "attn.k", "attn.v"].map(|n| tape.leaf(merged(&golden, n)));
        let y = attention(&mut tape, &q, &k, &v, &shape);
        expect_close(&name("out"), y.tensor(), &merged(&golden, &name("out")));
        let grads = tape.backward(&y, merged(&golden, &name("dout"))).unwrap();
        for (leaf, tensor) in [(&q, "dq"), (&k, "dk"), (&v, "dv")] {
            expect_close(&name(tensor), grads.get(leaf).unwrap(), &merged(&golden, &name(tensor)));
        }
    }
}

#[test]
fn packed_attention_is_attention_on_its_blocks() {
    let golden = open();
    // The goldens' queries serve as q, k and v at once: 6 heads each.
    let q = merged(&golden, "attn.q");
    let wide = q.shape()[2];
    let packed: Vec<f32> = q.data().chunks(wide).flat_map(|row| row.repeat(3)).collect();
    let mut tape = Tape::without_gradients();
    let x = Var::constant(q.clone());
    let apart = attention(&mut tape, &x, &x, &x, &Shape::full(6, 6));
    let packed = Var::constant(Tensor::from_slice(&[q.shape()[0], q.shape()[1], 3 * wide], &packed));
    let together = self_attention(&mut tape, &packed, 6);
    expect_close("self_attention", together.tensor(), apart.tensor());
}
