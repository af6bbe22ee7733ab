//! Rows of a table by their numbers, and rows put in the place of others.
//!
//! embedding: table [V,C], ids I32 [..] -> y [..,C] f32, y[n] = table[ids[n]]; dtable[v] = sum of dy[n] over n with
//! ids[n] = v, added from the first n to the last. splice: x [N,C], inserted [M,C], rows I32 [M] -> y [N,C], which is x but
//! y[rows[m]] = inserted[m]; dx is dy without those rows, dinserted is those rows of dy. take: x [N,C], rows I32 [M] -> those rows.
//!
//! Ids and rows lie on the device of the numbers. Where that is the host, what does not fit is refused; on a device an id
//! outside the table gives a row of NaN and adds to no gradient, a row outside x is left out, and rows must be distinct.

mod reference;

pub use reference::cases;

use super::elementwise::stored_as;
use crate::device::Device;
use crate::device::simd::slices::accumulate;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// Rows of table [V,C], f32 or bf16, by ids I32 [N] or [B,T]: [..,C] in f32. Panics on an id outside the table, where
/// ids lie on the host.
#[track_caller]
pub fn embedding(tape: &mut Tape, table: &Var, ids: &Tensor) -> Var {
    let [v, c] = table.tensor().dims("embedding table");
    check_ids("embedding: id", ids, v, "a table");
    let mut shape = ids.shape().to_vec();
    shape.push(c);
    let y = rows_of(table.tensor(), ids, DType::F32).reshape(&shape);
    let (id, ids) = (table.id(), ids.clone());
    tape.record("embedding", &[table], y, move |dy, grads| grads.add(id, scattered(dy, &ids, [v, c])))
}

/// x [N,C] with rows I32 [M], which are distinct, replaced by inserted [M,C], stored as x is.
#[track_caller]
pub fn splice(tape: &mut Tape, x: &Var, inserted: &Var, rows: &Tensor) -> Var {
    let [n, c] = x.tensor().dims("splice x");
    let [m] = rows.dims("splice rows");
    inserted.tensor().expect_shape("splice inserted", &[m, c]);
    assert_eq!(inserted.tensor().dtype(), x.tensor().dtype(), "splice: x and what is inserted are stored alike");
    check_ids("splice: row", rows, n, "a tensor");
    if rows.device() == Device::Host {
        let mut sorted = rows.values::<i32>().to_vec();
        sorted.sort_unstable();
        let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]);
        assert!(twice.is_none(), "splice: row {} is replaced twice", twice.map_or(0, |pair| pair[0]));
    }
    let y = with_rows(x.tensor(), Some(inserted.tensor()), rows);
    let (xid, iid, rows) = (x.id(), inserted.id(), rows.clone());
    tape.record("splice", &[x, inserted], y, move |dy, grads| {
        if xid.is_some() {
            grads.add(xid, with_rows(dy, None, &rows));
        }
        if iid.is_some() {
            grads.add(iid, rows_of(dy, &rows, dy.dtype()));
        }
    })
}

/// Rows I32 [M] of x [N,C], which are distinct: [M,C], stored as x is. Panics on a row outside x, where rows lie on the host.
#[track_caller]
pub fn take(tape: &mut Tape, x: &Var, rows: &Tensor) -> Var {
    let [n, c] = x.tensor().dims("take x");
    let [_] = rows.dims("take rows");
    check_ids("take: row", rows, n, "a tensor");
    let y = rows_of(x.tensor(), rows, x.tensor().dtype());
    let (id, rows) = (x.id(), rows.clone());
    tape.record("take", &[x], y, move |dy, grads| {
        let zeros = Tensor::zeros_on(dy.device(), dy.dtype(), &[n, c]);
        grads.add(id, with_rows(&zeros, Some(dy), &rows));
    })
}

/// Panics on an id outside `0..count`, where ids lie on the host.
#[track_caller]
pub(super) fn check_ids(what: &str, ids: &Tensor, count: usize, of: &str) {
    assert_eq!(ids.dtype(), DType::I32, "{what}s are I32");
    if ids.device() == Device::Host {
        let outside = ids.values::<i32>().iter().find(|&&id| id < 0 || id as usize >= count);
        assert!(outside.is_none(), "{what} {} is outside {of} of {count} rows", outside.unwrap_or(&0));
    }
}

/// Rows of table [V,C] by number, [N,C], stored as `dtype`: f32, or as the table is.
pub(super) fn rows_of(table: &Tensor, ids: &Tensor, dtype: DType) -> Tensor {
    let [v, c] = table.dims("rows of a table");
    let n = ids.len();
    if table.device() == Device::Host {
        let mut y = Tensor::uninit(&[n, c]);
        for (y, &id) in y.data_mut().chunks_exact_mut(c.max(1)).zip(ids.values::<i32>()) {
            let at = id as usize * c;
            match table.dtype() {
                DType::Bf16 => {
                    let row = &table.values::<half::bf16>()[at..at + c];
                    y.iter_mut().zip(row).for_each(|(y, x)| *y = x.to_f32());
                }
                _ => y.copy_from_slice(&table.data()[at..at + c]),
            }
        }
        return stored_as(&y, dtype);
    }
    let mut y = Tensor::uninit_on(table.device(), dtype, &[n, c]);
    let launch = Launch::elements(n * c.div_ceil(4), 256);
    match (table.dtype(), dtype) {
        (DType::Bf16, DType::Bf16) => kernels::embedding_take_bf16(launch, &mut y, table, ids, n, v, c),
        _ => kernels::embedding_rows(launch, &mut y, table, ids, n, v, c),
    }
    y
}

/// x [N,C] with its rows replaced by new [M,C], or by zeros.
pub(super) fn with_rows(x: &Tensor, new: Option<&Tensor>, rows: &Tensor) -> Tensor {
    let [n, c] = x.dims("rows to replace");
    let mut y = x.clone();
    if x.device() != Device::Host {
        y.unshare();
        let launch = Launch::elements(rows.len() * c.div_ceil(4), 256);
        match new {
            Some(new) => kernels::embedding_put(launch, &mut y, new, rows, rows.len(), n, c),
            None => kernels::embedding_clear(launch, &mut y, rows, rows.len(), n, c),
        }
        return y;
    }
    let to = y.data_mut();
    for (m, &row) in rows.values::<i32>().iter().enumerate() {
        let to = &mut to[row as usize * c..][..c];
        match new {
            Some(new) => to.copy_from_slice(&new.data()[m * c..(m + 1) * c]),
            None => to.fill(0.0),
        }
    }
    y
}

/// Sums of rows of dy [N,C] by id: [V,C], from the first row to the last.
fn scattered(dy: &Tensor, ids: &Tensor, [v, c]: [usize; 2]) -> Tensor {
    let mut sums = Tensor::zeros_on(dy.device(), DType::F32, &[v, c]);
    if dy.device() == Device::Host {
        let to = sums.data_mut();
        for (dy, &id) in dy.data().chunks_exact(c.max(1)).zip(ids.values::<i32>()) {
            accumulate(&mut to[id as usize * c..][..c], dy);
        }
    } else {
        kernels::embedding_bwd_f32(Launch::rows(ids.len(), 256), &mut sums, dy, ids, ids.len(), v, c);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "embedding: id 5 is outside a table of 5 rows")]
    fn an_id_outside_the_table_is_refused() {
        embedding(&mut Tape::new(), &Var::constant(Tensor::zeros(&[5, 2])), &Tensor::from_slice(&[2], &[1, 5]));
    }

    #[test]
    #[should_panic(expected = "splice: row 2 is replaced twice")]
    fn a_row_is_replaced_once() {
        let [x, new] = [5, 3].map(|n| Var::constant(Tensor::zeros(&[n, 2])));
        splice(&mut Tape::new(), &x, &new, &Tensor::from_slice(&[3], &[2, 0, 2]));
    }

    #[test]
    fn on_a_device_such_an_id_is_not_a_number_and_adds_to_no_gradient() {
        let mut tape = Tape::new();
        let table = tape.leaf(Tensor::from_slice(&[2, 1], &[3.0, 4.0]).to(Device::Emu));
        let ids = Tensor::from_slice(&[4], &[1, -1, 2, 1]).to(Device::Emu);
        let y = embedding(&mut tape, &table, &ids);
        let got = y.tensor().to_host_f32();
        assert_eq!([got.data()[0], got.data()[3]], [4.0, 4.0]);
        assert!(got.data()[1].is_nan() && got.data()[2].is_nan());
        let seed = Tensor::from_slice(&[4, 1], &[1.0, 10.0, 100.0, 1000.0]).to(Device::Emu);
        let grads = tape.backward(&y, seed).unwrap();
        assert_eq!(grads.get(&table).unwrap().to_host_f32().data(), [0.0, 1001.0]);
    }

    #[test]
    fn a_table_in_bf16_gives_f32_rows() {
        for device in [Device::Host, Device::Emu] {
            let table = Var::constant(Tensor::from_slice(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).to_bf16(device));
            let y = embedding(&mut Tape::new(), &table, &Tensor::from_slice(&[2, 1], &[1, 0]).to(device));
            assert_eq!((y.shape(), y.tensor().dtype()), (&[2, 1, 3][..], DType::F32));
            assert_eq!(y.tensor().to_host_f32().data(), [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
        }
    }
}
