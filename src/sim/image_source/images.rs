//! The mirror images of one source: positions and wall losses per axis, and the rows that an order or a
//! duration selects.
//!
//! Image p along an axis of length L is at p L + s for even p and p L + (L - s) for odd p; the image room
//! with indices (px, py, pz) has |px| + |py| + |pz| reflections (Allen and Berkley 1979). Everything
//! separates by axis, so an image costs a few additions and one square root.

use crate::sim::room::{Extent, Room};
use std::ops::Range;

/// Extra entries behind the x tables so that vector code may read past a row's end.
pub(crate) const PADDING: usize = 16;

/// Reflection amplitudes of one band: the product of wall losses for index p along each axis,
/// at `[axis][p + reach[axis]]`.
pub(crate) type AxisAmplitudes = [Vec<f32>; 3];

/// What all sources of a room share.
pub(crate) struct Walls {
    /// Indices run from -reach to +reach along each axis.
    pub reach: [usize; 3],
    /// Per band.
    pub amplitudes: Vec<AxisAmplitudes>,
    /// Energy attenuation of air in 1/m, per band.
    pub air_per_m: Vec<f64>,
    /// Dimensions at single precision, as pyroomacoustics keeps them (0.3 um at 4 m).
    pub size_m: [f64; 3],
}

/// Number of hits of the wall at 0 and of the wall at L that image `p` has taken.
pub(crate) fn hits(p: i64) -> (i64, i64) {
    let (half, rest) = (p.abs() / 2, p.abs() % 2);
    if p >= 0 { (half, half + rest) } else { (half + rest, half) }
}

impl Walls {
    /// Tables for `room` whose walls and air are given per band (`air_per_m` as long as `bands`).
    pub fn new(room: &Room, bands: &[[f64; 6]], air_per_m: Vec<f64>) -> Walls {
        let size_m = room.dimensions_m.map(|d| d as f32 as f64);
        let reach = match room.extent {
            Extent::MaxOrder(n) => [n as usize; 3],
            Extent::DurationS(t) => size_m.map(|l| (room.speed_of_sound * t / l).ceil() as usize + 1),
        };
        let amplitudes = bands.iter().map(|walls| {
            std::array::from_fn(|axis| {
                let reflection = [walls[2 * axis], walls[2 * axis + 1]].map(|a| (1.0 - a).sqrt());
                let n = reach[axis] as i64;
                let mut table: Vec<f32> = (-n..=n).map(|p| reflected(reflection, p)).collect();
                table.resize(table.len() + PADDING, 0.0);
                table
            })
        });
        Walls { reach, amplitudes: amplitudes.collect(), air_per_m, size_m }
    }
}

fn reflected(reflection: [f64; 2], p: i64) -> f32 {
    let (low, high) = hits(p);
    let amplitude = reflection[0].powi(low as i32) * reflection[1].powi(high as i32);
    // Far below anything audible, and single precision would slow down on denormal numbers.
    if amplitude < 1e-30 { 0.0 } else { amplitude as f32 }
}

/// One run of images along x: the ranges are indices into the axis tables.
pub(crate) struct Row {
    pub x: Range<usize>,
    pub y: usize,
    pub z: usize,
    /// Squared distance to the run's line, m^2.
    pub yz_squared: f64,
}

/// Image positions of one source relative to the receiver.
pub(crate) struct Images {
    /// Image minus receiver in metres, at `[axis][p + reach]`, ascending; x has [`PADDING`] more.
    pub offset_m: [Vec<f64>; 3],
    reach: [usize; 3],
    /// Squared radius in m^2 within which images are heard; infinite for an order limit.
    radius_squared: f64,
    order: Option<usize>,
}

impl Images {
    /// Images of source `index` of `room`.
    pub fn new(room: &Room, walls: &Walls, index: usize) -> Images {
        let offset_m = std::array::from_fn(|axis| {
            let length = walls.size_m[axis];
            let source = room.sources_m[index][axis] as f32 as f64;
            let n = walls.reach[axis] as i64;
            let image = |p: i64| p as f64 * length + if p % 2 == 0 { source } else { length - source };
            let mut table: Vec<f64> = (-n..=n).map(|p| image(p) - room.receiver_m[axis]).collect();
            table.resize(table.len() + PADDING, 1.0);
            table
        });
        let (order, radius_squared) = match room.extent {
            Extent::MaxOrder(n) => (Some(n as usize), f64::INFINITY),
            Extent::DurationS(t) => {
                // What a delay pushes past the end is not heard (41: no tap reaches back further).
                let rate = room.sample_rate as f64;
                let last_m = ((t * rate).round() + 41.0 - room.delay_samples as f64) / rate * room.speed_of_sound;
                (None, (room.speed_of_sound * t).min(last_m.max(0.0)).powi(2))
            }
        };
        Images { offset_m, reach: walls.reach, radius_squared, order }
    }

    /// Squared distance in m^2 within which images are heard; infinite for an order limit.
    pub fn radius_squared(&self) -> f64 {
        self.radius_squared
    }

    /// Calls `visit` for every row, z outermost, in ascending order.
    pub fn rows(&self, visit: impl FnMut(Row)) {
        match self.order {
            Some(order) => self.rows_by_order(order, visit),
            None => self.rows_by_distance(visit),
        }
    }

    fn rows_by_order(&self, order: usize, mut visit: impl FnMut(Row)) {
        let n = order as i64;
        for pz in -n..=n {
            let left = n - pz.abs();
            let z = (pz + n) as usize;
            let z_squared = self.offset_m[2][z].powi(2);
            for py in -left..=left {
                let width = left - py.abs();
                let y = (py + n) as usize;
                let x = (n - width) as usize..(n + width + 1) as usize;
                visit(Row { x, y, z, yz_squared: z_squared + self.offset_m[1][y].powi(2) });
            }
        }
    }

    fn rows_by_distance(&self, mut visit: impl FnMut(Row)) {
        let table = |axis: usize| &self.offset_m[axis][..2 * self.reach[axis] + 1];
        let (xs, ys, zs) = (table(0), table(1), table(2));
        // Consecutive rows have nearly the same ends, so the ends are walked, not searched for.
        let (mut start, mut end) = (self.reach[0], self.reach[0]);
        for (z, z_m) in zs.iter().enumerate() {
            for (y, y_m) in ys.iter().enumerate() {
                let yz_squared = z_m * z_m + y_m * y_m;
                let limit = self.radius_squared - yz_squared;
                if limit <= 0.0 {
                    continue;
                }
                let before = |x: f64| x < 0.0 && x * x >= limit;
                let inside = |x: f64| x < 0.0 || x * x < limit;
                while start > 0 && !before(xs[start - 1]) {
                    start -= 1;
                }
                while start < xs.len() && before(xs[start]) {
                    start += 1;
                }
                while end < xs.len() && inside(xs[end]) {
                    end += 1;
                }
                while end > 0 && !inside(xs[end - 1]) {
                    end -= 1;
                }
                if start < end {
                    visit(Row { x: start..end, y, z, yz_squared });
                }
            }
        }
    }

    /// Number of images and the largest squared distance in m^2.
    pub fn count_and_farthest(&self) -> (usize, f64) {
        let (mut count, mut farthest) = (0, 0.0f64);
        self.rows(|row| {
            count += row.x.len();
            let ends = [self.offset_m[0][row.x.start], self.offset_m[0][row.x.end - 1]];
            farthest = farthest.max(row.yz_squared + ends[0].powi(2).max(ends[1].powi(2)));
        });
        (count, farthest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(extent: Extent) -> Room {
        let mut room = Room::new([6.0, 5.0, 3.0], [0.2, 0.3, 0.1, 0.4, 0.5, 0.6], 16_000, extent);
        room.receiver_m = [2.7, 2.2, 1.7];
        room.sources_m = vec![[4.1, 1.1, 0.6]];
        room
    }

    #[test]
    fn counts_follow_the_closed_form() {
        for n in [0, 1, 2, 3, 6, 17] {
            let room = room(Extent::MaxOrder(n));
            let images = Images::new(&room, &Walls::new(&room, &room.absorption, vec![0.0]), 0);
            assert_eq!(images.count_and_farthest().0 as f64, room.image_count(), "order {n}");
        }
    }

    #[test]
    fn a_duration_selects_exactly_the_images_within_reach() {
        let room = room(Extent::DurationS(0.08));
        let walls = Walls::new(&room, &room.absorption, vec![0.0]);
        let images = Images::new(&room, &walls, 0);
        let radius = 343.0 * 0.08;
        let mut expected = 0;
        for pz in -30i64..=30 {
            for py in -30i64..=30 {
                for px in -30i64..=30 {
                    let p = [px, py, pz];
                    let squared: f64 = (0..3)
                        .map(|a| {
                            let (l, s) = (walls.size_m[a], room.sources_m[0][a] as f32 as f64);
                            let image = p[a] as f64 * l + if p[a] % 2 == 0 { s } else { l - s };
                            (image - room.receiver_m[a]).powi(2)
                        })
                        .sum();
                    expected += (squared < radius * radius) as usize;
                }
            }
        }
        assert_eq!(images.count_and_farthest().0, expected);
    }

    #[test]
    fn wall_hits_alternate_from_the_wall_that_was_crossed() {
        assert_eq!([-3, -2, -1, 0, 1, 2, 3].map(hits), [(2, 1), (1, 1), (1, 0), (0, 0), (0, 1), (1, 1), (1, 2)]);
    }
}
