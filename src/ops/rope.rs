//! Rotary position embedding: pairs of numbers of every head turn by angles that grow with the position.
//!
//! x [B,T,H D], positions I32 [B,T] -> y [B,T,H D]. With i < D/2 and the angle a = position / theta^(2i/D):
//! y[i] = x[i] cos a - x[i + D/2] sin a, y[i + D/2] = x[i + D/2] cos a + x[i] sin a (the halves of a head, as
//! Transformers' `rotate_half`). The backward turns the other way. Cosines and sines come from a [`RopeTable`].

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::slices::{each_vector, get, put};
use crate::device::simd::{Kernel, Simd, dispatch};
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Cosines and sines of every position and pair, f32 [positions, D/2] each.
#[derive(Clone, Debug)]
pub struct RopeTable {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTable {
    /// The table for positions below `positions` and heads of `head_width` numbers (D, even), on the host. Frequencies and
    /// angles are rounded to f32 where Transformers rounds them: 1 / theta^(2i/D), then position times that.
    #[track_caller]
    pub fn new(positions: usize, head_width: usize, theta: f64) -> RopeTable {
        assert!(
            head_width > 0 && head_width.is_multiple_of(2),
            "RopeTable: heads of {head_width} numbers have no halves"
        );
        let half = head_width / 2;
        let frequency = |i: usize| {
            let exponent = (2 * i) as f32 / head_width as f32;
            1.0 / theta.powf(f64::from(exponent)) as f32
        };
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let angles: Vec<f32> = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f)).collect();
        let of = |f: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&a| f(f64::from(a)) as f32).collect();
            Tensor::from_slice(&[positions, half], &values)
        };
        RopeTable { cos: of(f64::cos), sin: of(f64::sin) }
    }
    /// The same table on another device.
    #[track_caller]
    pub fn to(&self, device: Device) -> RopeTable {
        RopeTable { cos: self.cos.to(device), sin: self.sin.to(device) }
    }
    /// How many positions it has.
    pub fn positions(&self) -> usize {
        self.cos.shape()[0]
    }
    /// Numbers per head (D).
    pub fn head_width(&self) -> usize {
        2 * self.cos.shape()[1]
    }
    /// The cosines, f32 [positions, D/2].
    pub fn cos(&self) -> &Tensor {
        &self.cos
    }
    /// The sines, f32 [positions, D/2].
    pub fn sin(&self) -> &Tensor {
        &self.sin
    }
}

/// Turns the `heads` heads of x [B,T,H D] by their positions, I32 [B,T] on the device of x, as is the table. Panics on a
/// position outside the table where positions lie on the host; on a device its row becomes NaN.
#[track_caller]
pub fn rope(tape: &mut Tape, x: &Var, table: &RopeTable, positions: &Tensor, heads: usize) -> Var {
    let [b, t, width] = x.tensor().dims("rope x");
    assert_eq!(width, heads * table.head_width(), "rope: {heads} heads of {} numbers", table.head_width());
    positions.expect_shape("rope positions", &[b, t]);
    if positions.device() == Device::Host {
        let outside = positions.values::<i32>().iter().find(|&&p| p < 0 || p as usize >= table.positions());
        assert!(outside.is_none(), "rope: position {outside:?} in a table of {} positions", table.positions());
    }
    let turn = Turn { table: table.clone(), positions: positions.clone() };
    let (y, id) = (turn.apply(x.tensor(), 1.0), x.id());
    tape.record("rope", &[x], y, move |dy, grads| grads.add(id, turn.apply(dy, -1.0)))
}

struct Turn {
    table: RopeTable,
    positions: Tensor,
}

impl Turn {
    /// The rotation, or with `direction` -1 its inverse.
    fn apply(&self, x: &Tensor, direction: f32) -> Tensor {
        let (mut y, RopeTable { cos, sin }) = (x.like(x.shape()), &self.table);
        let half = cos.shape()[1];
        if x.device() == Device::Host {
            let positions = self.positions.values();
            let (x, cos, sin) = (x.data(), cos.data(), sin.data());
            dispatch(Rotate { x, y: y.data_mut(), cos, sin, positions, half, direction });
            return y;
        }
        let heads = x.len() / (2 * half * self.positions.len()).max(1);
        let n = self.positions.len() * heads * half.div_ceil(4);
        let launch = Launch::elements(n, 256);
        let count = self.table.positions();
        kernels::rope_turn(launch, &mut y, x, cos, sin, &self.positions, heads, half, count, direction, n);
        y
    }
}

struct Rotate<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    positions: &'a [i32],
    half: usize,
    direction: f32,
}

impl Kernel for Rotate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let half = self.half;
        let width = self.x.len() / self.positions.len().max(1);
        let direction = s.splat(self.direction);
        let rows = self.y.chunks_exact_mut(width.max(1)).zip(self.x.chunks_exact(width.max(1)));
        for ((y, x), &position) in rows.zip(self.positions) {
            let at = position as usize * half;
            let (cos, sin) = (&self.cos[at..at + half], &self.sin[at..at + half]);
            for (y, x) in y.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half)) {
                each_vector!(S, half, |at, n| {
                    let (c, turned) = (get(s, cos, at, n), s.mul(direction, get(s, sin, at, n)));
                    let (low, high) = (get(s, x, at, n), get(s, x, half + at, n));
                    put(s, y, at, n, s.fnma(high, turned, s.mul(low, c)));
                    put(s, y, half + at, n, s.fma(low, turned, s.mul(high, c)));
                });
            }
        }
    }
}

#[derive(Clone)]
struct Plain {
    /// The table as f64, [positions, D/2].
    cos: Vec<f64>,
    sin: Vec<f64>,
    positions: Vec<i32>,
    heads: usize,
    half: usize,
}

impl Plain {
    fn turned<R: Real>(&self, x: &[R], direction: f64) -> Vec<R> {
        let (heads, half) = (self.heads, self.half);
        let mut y = vec![R::of(0.0); x.len()];
        for (row, &position) in self.positions.iter().enumerate() {
            for (h, i) in (0..heads).flat_map(|h| (0..half).map(move |i| (h, i))) {
                let (low, angle) = ((row * heads + h) * 2 * half + i, position as usize * half + i);
                let (cos, sin) = (R::of(self.cos[angle]), R::of(direction * self.sin[angle]));
                y[low] = x[low] * cos - x[low + half] * sin;
                y[low + half] = x[low + half] * cos + x[low] * sin;
            }
        }
        y
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        self.turned(inputs[0], 1.0)
    }
    fn backward<R: Real>(&self, _: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        vec![self.turned(dy, -1.0)]
    }
}

/// The cases of this op: halves around the packs of four and the vectors, positions in no order; the width and heads of a
/// decoder of half a billion parameters.
pub fn cases() -> Vec<Case> {
    let case = |b: usize, t: usize, heads: usize, half: usize| {
        let table = RopeTable::new(97, 2 * half, 1e4);
        let positions: Vec<i32> = (0..b * t).map(|i| (i * 31 % 97) as i32).collect();
        let wide = |t: &Tensor| t.data().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (cos, sin) = (wide(table.cos()), wide(table.sin()));
        let plain = Plain { cos, sin, positions: positions.clone(), heads, half };
        let positions = Tensor::from_slice(&[b, t], &positions);
        let name = format!("B {b}, T {t}, {heads} heads of {}", 2 * half);
        Case::new("rope", name, plain, vec![input(&[b, t, heads * 2 * half])], move |tape, v| {
            let device = v[0].tensor().device();
            rope(tape, &v[0], &table.to(device), &positions.to(device), heads)
        })
        .with_bf16()
    };
    let sizes = [(1, 1, 1, 1), (1, 3, 2, 3), (2, 5, 3, 7), (1, 7, 1, 8), (3, 2, 2, 9), (1, 13, 5, 15), (2, 3, 2, 17)];
    let mut all: Vec<Case> = sizes.map(|(b, t, heads, half)| case(b, t, heads, half)).into();
    all.push(case(2, 11, 2, 32));
    all.push(case(1, 512, 14, 32).bench(3.0 * 512.0 * 896.0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_zero_stays_and_a_quarter_turn_swaps_the_halves() {
        // Closed form: the first pair of a head turns by one radian per position.
        let table = RopeTable::new(3, 2, 1e6);
        let x = Var::constant(Tensor::from_slice(&[1, 2, 2], &[3.0, 4.0, 1.0, 0.0]));
        let y = rope(&mut Tape::new(), &x, &table, &Tensor::from_slice(&[1, 2], &[0, 2]), 1);
        let expected = [3.0, 4.0, 2f32.cos(), 2f32.sin()];
        y.data().iter().zip(expected).for_each(|(y, e)| assert!((y - e).abs() < 1e-6, "{y} {e}"));
    }

    #[test]
    #[should_panic(expected = "rope: position Some(3) in a table of 3 positions")]
    fn positions_outside_the_table_are_refused() {
        let x = Var::constant(Tensor::zeros(&[1, 1, 2]));
        rope(&mut Tape::new(), &x, &RopeTable::new(3, 2, 1e4), &Tensor::from_slice(&[1, 1], &[3]), 1);
    }

    #[test]
    fn on_a_device_such_a_row_is_not_a_number() {
        let x = Var::constant(Tensor::zeros(&[1, 2, 2]).to(Device::Emu));
        let positions = Tensor::from_slice(&[1, 2], &[3, 1]).to(Device::Emu);
        let y = rope(&mut Tape::new(), &x, &RopeTable::new(3, 2, 1e4).to(Device::Emu), &positions, 1);
        let y = y.tensor().to_host_f32();
        assert!(y.data()[..2].iter().all(|v| v.is_nan()) && y.data()[2..] == [0.0, 0.0], "{y:?}");
    }
}
