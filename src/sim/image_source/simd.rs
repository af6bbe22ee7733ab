//! Which vector instructions this processor has. One portable binary: every kernel has a path for each
//! and chooses at run time.

use std::sync::OnceLock;

/// A set of vector instructions that this processor has been seen to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simd(Level);

/// What a [`Simd`] stands for; only [`Simd::available`] makes one, so that a level is proof of support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Whatever the compilation target guarantees.
    Portable,
    /// AVX2 and FMA.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Avx2,
    /// AVX-512 F, VL, DQ and BW.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Avx512,
}

impl Simd {
    /// The best of this processor; found once.
    pub fn best() -> Simd {
        static BEST: OnceLock<Simd> = OnceLock::new();
        *BEST.get_or_init(|| *Simd::available().last().expect("portable code runs everywhere"))
    }

    /// Everything this processor can run, slowest first.
    pub fn available() -> Vec<Simd> {
        #[allow(unused_mut)]
        let mut found = vec![Simd(Level::Portable)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(Simd(Level::Avx2));
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
            {
                found.push(Simd(Level::Avx512));
            }
        }
        found
    }

    /// The instruction set it stands for.
    pub(crate) fn level(self) -> Level {
        self.0
    }
}

/// Defines a function that runs one `#[inline(always)]` body compiled for each instruction set.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $ty:ty),* $(,)?) = $body:path) => {
        $(#[$meta])*
        $vis fn $name(simd: $crate::sim::image_source::simd::Simd, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
                fn avx512($($arg: $ty),*) {
                    $body($($arg),*)
                }
                use $crate::sim::image_source::simd::Level;
                match simd.level() {
                    // SAFETY: a level above Portable is only made by `available`, which asked the processor.
                    Level::Avx512 => return unsafe { avx512($($arg),*) },
                    Level::Avx2 => return unsafe { avx2($($arg),*) },
                    Level::Portable => {}
                }
            }
            let _ = simd;
            $body($($arg),*)
        }
    };
}
pub(crate) use multiversion;
