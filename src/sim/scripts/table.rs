//! The scripts. Every sound occurs in several, so that none tells which script is played.

use super::terms::Contrast::{Direction, Facing, Height, Nearness, Ringing};
use super::terms::{Contrast, Role, Script};

const fn role(name: &'static str, stems: &'static [&'static str]) -> Role {
    Role { name, stems }
}

static ALARM: Role = role("alarm", &["alarm", "beep"]);
static BABY: Role = role("baby", &["baby"]);
static BELL: Role = role("bell", &["bell", "phone", "telephone", "ringtone"]);
static BIRD: Role = role("bird", &["bird", "chirp", "robin", "crow"]);
static CLOCK: Role = role("clock", &["tick"]);
static DOG: Role = role("dog", &["dog", "bark"]);
static DRIP: Role = role("drip", &["drop", "drip"]);
static ENGINE: Role = role("engine", &["engine", "motor", "idl", "vacuum"]);
static KNOCK: Role = role("knock", &["knock"]);
static MUSIC: Role = role("music", &["music", "melody", "song", "guitar", "piano", "violin"]);
static RAIN: Role = role("rain", &["rain"]);
static SIREN: Role = role("siren", &["siren"]);
static STEPS: Role = role("steps", &["footstep", "walk", "step"]);
static VOICE: Role = role("voice", &["speech", "voice", "talk", "speak"]);
static WEATHER: Role = role("weather", &["rain", "wind"]);
static WIND: Role = role("wind", &["wind"]);

const fn script(
    id: &'static str,
    roles: [&'static Role; 2],
    beside: Option<&'static Role>,
    contrasts: [Contrast; 2],
    overlaps: bool,
) -> Script {
    Script { id, roles, beside, contrasts, overlaps }
}

/// All scripts.
pub static SCRIPTS: &[Script] = &[
    script("alarm and voice", [&ALARM, &VOICE], Some(&WEATHER), [Nearness, Ringing], true),
    script("alarm and steps", [&ALARM, &STEPS], Some(&CLOCK), [Direction, Ringing], true),
    script("baby and voice", [&BABY, &VOICE], Some(&CLOCK), [Nearness, Ringing], false),
    script("baby and steps", [&BABY, &STEPS], Some(&RAIN), [Direction, Ringing], false),
    script("bell and steps", [&BELL, &STEPS], Some(&WEATHER), [Direction, Ringing], false),
    script("bell and voice", [&BELL, &VOICE], Some(&CLOCK), [Direction, Nearness], false),
    script("bird and engine", [&BIRD, &ENGINE], Some(&WIND), [Height, Nearness], true),
    script("bird and voice", [&BIRD, &VOICE], Some(&WIND), [Height, Ringing], false),
    script("clock and voice", [&CLOCK, &VOICE], Some(&RAIN), [Height, Nearness], true),
    script("clock and steps", [&CLOCK, &STEPS], Some(&WEATHER), [Nearness, Ringing], true),
    script("dog and knock", [&DOG, &KNOCK], Some(&WEATHER), [Direction, Ringing], false),
    script("dog and steps", [&DOG, &STEPS], Some(&CLOCK), [Direction, Nearness], false),
    script("drip and steps", [&DRIP, &STEPS], Some(&WIND), [Nearness, Ringing], true),
    script("drip and voice", [&DRIP, &VOICE], Some(&MUSIC), [Height, Ringing], true),
    script("engine and voice", [&ENGINE, &VOICE], Some(&DRIP), [Facing, Ringing], true),
    script("knock and voice", [&KNOCK, &VOICE], Some(&WEATHER), [Direction, Ringing], false),
    script("music and dog", [&MUSIC, &DOG], Some(&RAIN), [Direction, Ringing], true),
    script("music and voice", [&MUSIC, &VOICE], Some(&CLOCK), [Nearness, Ringing], false),
    script("rain and voice", [&RAIN, &VOICE], Some(&DOG), [Nearness, Ringing], true),
    script("rain and music", [&RAIN, &MUSIC], Some(&CLOCK), [Facing, Ringing], true),
    script("siren and voice", [&SIREN, &VOICE], Some(&RAIN), [Nearness, Ringing], true),
    script("siren and dog", [&SIREN, &DOG], Some(&WIND), [Direction, Ringing], true),
    script("steps and knock", [&STEPS, &KNOCK], Some(&WEATHER), [Direction, Ringing], false),
    script("steps and voice", [&STEPS, &VOICE], Some(&CLOCK), [Nearness, Facing], false),
];
