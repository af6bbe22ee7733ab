//! What a script is made of.

/// Who can be heard in a role: stems of class names ([`crate::text::stems`]).
#[derive(Debug, PartialEq)]
pub struct Role {
    /// What the role is called.
    pub name: &'static str,
    /// A class whose name has one of these stems plays it.
    pub stems: &'static [&'static str],
}

impl Role {
    /// Whether a sound with these stems can play the role.
    pub fn fits(&self, stems: &[String]) -> bool {
        stems.iter().any(|s| self.stems.contains(&s.as_str()))
    }
}

/// Two opposite arrangements of the roles; `false` is the first of the two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contrast {
    /// The first role is near and the second far; or the other way round.
    Nearness,
    /// Both come from one direction; or from opposite sides of the listener.
    Direction,
    /// The first role is in front of the listener and the second behind; or the other way round.
    Facing,
    /// The first role is above ear level; or below.
    Height,
    /// Sounds die away at once; or ring on.
    Ringing,
}

/// One script.
#[derive(Debug, PartialEq)]
pub struct Script {
    /// Its id in the truth.
    pub id: &'static str,
    /// The two roles.
    pub roles: [&'static Role; 2],
    /// What may sound beside them, anywhere, all the time.
    pub beside: Option<&'static Role>,
    /// What its scenes differ in.
    pub contrasts: [Contrast; 2],
    /// Whether the first to sound goes on when the second begins; else it stops before.
    pub overlaps: bool,
}
