//! The smallest model that this library trains: y = w x + b, fitted to points of a line.
//!
//! A [`Builder`] collects parameters, a [`Forward`] binds them to a tape, `gradients` walks the tape back into a flat
//! buffer, and the optimizer moves all parameters at once. Run it with `cargo run --example train_a_line`.

use twnm::error::Result;
use twnm::nn::{Builder, Forward, layers::Linear};
use twnm::ops::{adamw::AdamW, arrange::reshape, elementwise, matmul::matmul};
use twnm::optim::{Cosine, Optimizer};
use twnm::rng::Rng;
use twnm::tape::{Tape, Var};
use twnm::tensor::Tensor;

fn main() -> Result<()> {
    const POINTS: usize = 64;
    let mut rng = Rng::new(1, "points", 0);
    let x: Vec<f32> = (0..POINTS).map(|_| rng.range(-1.0, 1.0) as f32).collect();
    let minus_y: Vec<f32> = x.iter().map(|x| -(2.0 * x - 0.5)).collect();
    let (x, minus_y) = (Tensor::from_slice(&[POINTS, 1], &x), Tensor::from_slice(&[POINTS, 1], &minus_y));

    let mut builder = Builder::new();
    let line = Linear::new(&mut builder, "line", 1, 1);
    let mut params = builder.finish(7);
    let mut optimizer = Optimizer::new(&params, AdamW::default(), 0.0, 1.0);
    let schedule = Cosine { peak: 0.1, warmup_ratio: 0.1, total: 200 };
    for step in 0..schedule.total {
        let mut c = Forward::new(Tape::new(), &params);
        let y = line.forward(&mut c, &Var::constant(x.clone()));
        let error = elementwise::add(&mut c.tape, &y, &Var::constant(minus_y.clone()));
        let row = reshape(&mut c.tape, &error, &[1, 1, POINTS]);
        let column = reshape(&mut c.tape, &error, &[1, POINTS, 1]);
        let squares = matmul(&mut c.tape, &row, &column);
        let loss = elementwise::scale(&mut c.tape, &squares, 1.0 / POINTS as f32);
        let mut gradient = Tensor::zeros(&[params.flat_len()]);
        let value = loss.tensor().item();
        c.gradients(&loss, &mut gradient)?;
        optimizer.step(&mut params, &gradient, schedule.rate(step));
        if step % 50 == 49 {
            println!("step {:3}  loss {value:.6}", step + 1);
        }
    }
    let fitted: Vec<f32> = params.ids().map(|id| params.tensor(id).item()).collect();
    println!("w = {:.3} (2), b = {:.3} (-0.5)", fitted[0], fitted[1]);
    Ok(())
}
