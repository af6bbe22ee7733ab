//! What GPUs can do at most, by name: what measured times are divided by.

/// Ceilings of a GPU, from its data sheet: dense products with f32 sums, and its memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// Multiplications and additions in f32 per second, without tensor cores.
    pub f32_flops: f64,
    /// Multiplications and additions per second of bf16 factors in the tensor cores.
    pub bf16_flops: f64,
    /// Bytes of memory per second.
    pub bytes: f64,
}

/// Parts of names, the longer of two before the shorter: TFLOP/s in f32 and bf16, TB/s. A GeForce sums in f32 at half the
/// rate of its tensor cores. GH200 is a name that holds another's and is not listed.
const TABLE: [(&str, Option<[f64; 3]>); 11] = [
    ("GH200", None),
    ("H200 NVL", Some([60.0, 835.0, 4.8])),
    ("H200", Some([67.0, 989.0, 4.8])),
    ("H100 PCIe", Some([51.0, 756.0, 2.0])),
    ("H100 NVL", Some([60.0, 835.0, 3.9])),
    ("H100", Some([67.0, 989.0, 3.35])),
    ("A100-SXM4-40GB", Some([19.5, 312.0, 1.555])),
    ("A100-PCIE-40GB", Some([19.5, 312.0, 1.555])),
    ("A100", Some([19.5, 312.0, 2.0])),
    ("RTX 5090", Some([104.8, 209.5, 1.792])),
    ("RTX 4090", Some([82.6, 165.2, 1.008])),
];

impl Peaks {
    /// The ceilings of a GPU by the name that its driver gives; `None` for one that is not listed. Laptop versions of a
    /// card share its name and little else.
    pub fn of(name: &str) -> Option<Peaks> {
        let (_, peaks) = TABLE.iter().find(|(part, _)| name.contains(part) && !name.contains("Laptop"))?;
        peaks.map(|[f32, bf16, memory]| Peaks { f32_flops: f32 * 1e12, bf16_flops: bf16 * 1e12, bytes: memory * 1e12 })
    }

    /// The least time for so many operations, in the tensor cores or not, and bytes: the longer of both.
    pub fn seconds(&self, flops: f64, uses_tensor_cores: bool, bytes: f64) -> f64 {
        let rate = if uses_tensor_cores { self.bf16_flops } else { self.f32_flops };
        (flops / rate).max(bytes / self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_drivers_find_their_ceilings() {
        let bytes = |name: &str| Peaks::of(name).map(|peaks| peaks.bytes / 1e12);
        assert_eq!(bytes("NVIDIA H100 80GB HBM3"), Some(3.35));
        assert_eq!(bytes("NVIDIA H100 PCIe"), Some(2.0));
        assert_eq!(bytes("NVIDIA H200"), Some(4.8));
        assert_eq!(bytes("NVIDIA GeForce RTX 5090"), Some(1.792));
        assert_eq!(bytes("NVIDIA GeForce RTX 4090"), Some(1.008));
        assert_eq!(bytes("NVIDIA A100-SXM4-80GB"), Some(2.0));
        for unknown in ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GH200 480GB", "NVIDIA L4", ""] {
            assert_eq!(Peaks::of(unknown), None, "{unknown}");
        }
        let peaks = Peaks::of("NVIDIA H200").unwrap();
        assert!((peaks.seconds(989e12, true, 1.0) - 1.0).abs() < 1e-9);
        assert!((peaks.seconds(1.0, false, 9.6e12) - 2.0).abs() < 1e-9);
    }
}
