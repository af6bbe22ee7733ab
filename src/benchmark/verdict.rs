//! What a check of a claim says.

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Clearly.
    True,
    /// Clearly not.
    False,
    /// Too close to call: no question may depend on it.
    Unclear,
}
