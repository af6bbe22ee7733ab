//! What the assembler reports about kernels (`--ptxas-options=-v`): registers, spills, shared memory.

/// What one kernel needs of a multiprocessor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Name of the kernel.
    pub kernel: String,
    /// Registers per thread.
    pub registers: u32,
    /// Bytes per thread that did not fit into registers (the larger of stores and loads).
    pub spill_bytes: u32,
    /// Bytes of stack per thread, for example of arrays with run-time indices.
    pub stack_bytes: u32,
    /// Bytes of static shared memory per block.
    pub shared_bytes: u32,
}

/// Reads the assembler's report; kernels in its order. Lines that are no part of it are skipped.
pub fn parse(log: &str) -> Vec<Resources> {
    let mut all: Vec<Resources> = Vec::new();
    // Device functions that were not inlined report properties too: a line counts for the kernel it names.
    let mut properties_of_kernel = false;
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            let kernel = rest.split('\'').next().unwrap_or("").to_string();
            all.push(Resources { kernel, ..Resources::default() });
            properties_of_kernel = true;
        } else if let Some(rest) = line.split("Function properties for ").nth(1) {
            properties_of_kernel = all.last().is_some_and(|last| last.kernel == rest.trim());
        } else if let Some(last) = all.last_mut() {
            let number = |unit: &str| number_before(line, unit);
            if line.contains("bytes stack frame") && properties_of_kernel {
                last.stack_bytes = number("bytes stack frame").unwrap_or(0);
                last.spill_bytes = number("bytes spill stores").max(number("bytes spill loads")).unwrap_or(0);
            } else if let Some(registers) = number("registers").filter(|_| line.contains("Used ")) {
                last.registers = registers;
                last.shared_bytes = number("bytes smem").unwrap_or(0);
            }
        }
    }
    all
}

/// The whole number in front of `unit` in a line.
fn number_before(line: &str, unit: &str) -> Option<u32> {
    let before = line[..line.find(unit)?].trim_end();
    let start = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |i| i + 1);
    before[start..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let log = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'gemm_bf16' for 'sm_90'
ptxas info    : Function properties for gemm_bf16
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 72 registers, used 1 barriers, 20480 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'spiller' for 'sm_90'
ptxas info    : Function properties for helper
    9 bytes stack frame, 9 bytes spill stores, 9 bytes spill loads
ptxas info    : Function properties for spiller
    1536 bytes stack frame, 536 bytes spill stores, 540 bytes spill loads
ptxas info    : Used 32 registers, 352 bytes cmem[0]
";
        let kernel = |kernel: &str, registers, spill_bytes, stack_bytes, shared_bytes| Resources {
            kernel: kernel.into(),
            registers,
            spill_bytes,
            stack_bytes,
            shared_bytes,
        };
        assert_eq!(parse(log), [kernel("gemm_bf16", 72, 0, 0, 20480), kernel("spiller", 32, 540, 1536, 0)]);
        assert_eq!(parse("warning: Used registers\nbytes stack frame"), []);
    }
}
