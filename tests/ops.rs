//! Every case of every op: f64 gradients against central differences, the fast path against the reference.

use twnm::check::{GRADCHECK_LIMIT, gradcheck, parity};

#[test]
fn gradients_of_every_reference_match_central_differences() {
    let mut failures = Vec::new();
    for case in twnm::ops::cases().iter().filter(|c| !c.is_bench) {
        match gradcheck(case) {
            Ok((error, _)) if error <= GRADCHECK_LIMIT => {}
            Ok((error, input)) => failures.push(format!("{}: input {input} is off by {error:.1e}", case.label())),
            Err(message) => failures.push(message),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_fast_path_matches_its_reference() {
    let mut failures = Vec::new();
    for case in &twnm::ops::cases() {
        match parity(case) {
            Ok(p) if p.error <= p.allowed => {}
            Ok(p) => failures.push(format!("{}: error {:.1e}, allowed {:.1e}", case.label(), p.error, p.allowed)),
            Err(message) => failures.push(message),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
