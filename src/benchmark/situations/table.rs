//! The sentences. A clause names what the sounds amount to, not their classes, and says nothing about what happened first;
//! a purpose says what the sound that begins last is for, after the other.

/// Sentences of a script.
pub(super) struct Meanings {
    /// Which script.
    pub(super) script: &'static str,
    /// A clause for each side of the first contrast.
    pub(super) first: [&'static str; 2],
    /// What completes it, for each side of the second; `None` where that is [`crate::sim::scripts::Contrast::Ringing`].
    pub(super) second: Option<[&'static str; 2]>,
    /// What the last sound is for: by whether the second role begins first, and the side of the first contrast.
    pub(super) purposes: Option<[[&'static str; 2]; 2]>,
}

/// Of a room in which sounds die away at once, and of one in which they ring on; the same two in all options of a question.
pub(super) const RINGING: &[[&str; 2]] = &[
    ["in a furnished room that swallows every echo", "in a bare room where every sound rings on"],
    ["between carpets and curtains that leave no echo", "between bare walls that throw every sound back"],
    ["with nothing of the room to be heard", "with the whole room answering for a long time"],
];

const fn meanings(
    script: &'static str,
    first: [&'static str; 2],
    second: Option<[&'static str; 2]>,
    purposes: Option<[[&'static str; 2]; 2]>,
) -> Meanings {
    Meanings { script, first, second, purposes }
}

/// One entry for each script.
pub(super) const TABLE: &[Meanings] = &[
    meanings(
        "alarm and voice",
        [
            "a device right beside the listener demands attention while people talk at a distance",
            "somebody right beside the listener talks while a device demands attention at a distance",
        ],
        None,
        Some([
            [
                "to have the listener, from a distance, silence the device that went off beside them",
                "to tell the listener, close by, what to do about the device that went off at a distance",
            ],
            [
                "to remind the listener, close by, that the talk at a distance has lasted long enough",
                "to call away, from a distance, the person who was talking beside the listener",
            ],
        ]),
    ),
    meanings(
        "alarm and steps",
        [
            "somebody is busy where a device demands attention",
            "somebody is busy on the opposite side from a device that demands attention",
        ],
        None,
        Some([
            [
                "to deal with the device that went off on the same side",
                "to get away from the device that went off on the opposite side",
            ],
            [
                "to give away the person who was moving about on the same side",
                "to call over the person who was moving about on the opposite side",
            ],
        ]),
    ),
    meanings(
        "baby and voice",
        [
            "the listener is right beside a little one in need of care while grown-ups are at a distance",
            "a grown-up is right beside the listener while a little one is in need of care at a distance",
        ],
        None,
        Some([
            [
                "to advise, from a distance, what the little one who complained beside the listener may need",
                "to ask the listener, close by, to look after the little one who complained at a distance",
            ],
            [
                "to get help from the listener, close by, after the grown-ups talked at a distance",
                "to call over, from a distance, the grown-up who was talking beside the listener",
            ],
        ]),
    ),
    meanings(
        "baby and steps",
        [
            "somebody is busy where a little one is in need of care",
            "somebody is busy on the opposite side from a little one in need of care",
        ],
        None,
        Some([
            [
                "to look after the little one who complained on the same side",
                "to fetch something for the little one who complained on the opposite side",
            ],
            [
                "to complain to the person who came up on the same side",
                "to call back the person who went off on the opposite side",
            ],
        ]),
    ),
    meanings(
        "bell and steps",
        [
            "somebody moves about where attention is called for",
            "somebody moves about on the opposite side from where attention is called for",
        ],
        None,
        Some([
            [
                "to attend to the call that was given on the same side",
                "to look for somebody who may attend to the call given on the opposite side",
            ],
            [
                "to announce the person who came walking on the same side",
                "to fetch the person who was walking about on the opposite side",
            ],
        ]),
    ),
    meanings(
        "bell and voice",
        [
            "attention is called for on the side on which somebody speaks",
            "attention is called for on the side away from the speaker",
        ],
        Some([
            "with the call close to the listener and the speaker at a distance",
            "with the speaker close to the listener and the call at a distance",
        ]),
        Some([
            [
                "to explain what the call on the same side was about",
                "to answer the call that was given on the opposite side",
            ],
            [
                "to end the speech that was given on the same side",
                "to draw people away from the speech that was given on the opposite side",
            ],
        ]),
    ),
    meanings(
        "bird and engine",
        ["a small animal has fled up above everybody's head", "a small animal has come down near the floor"],
        Some([
            "close to the listener, and a machine runs at a distance",
            "at a distance, and a machine runs close to the listener",
        ]),
        None,
    ),
    meanings(
        "bird and voice",
        [
            "a small animal has its place above everybody's head while people are about",
            "a small animal has its place near the floor while people are about",
        ],
        None,
        Some([
            [
                "to talk to the small animal that called from above everybody's head",
                "to talk to the small animal that called from near the floor",
            ],
            [
                "to answer, from above everybody's head, the person who spoke",
                "to answer, from near the floor, the person who spoke",
            ],
        ]),
    ),
    meanings(
        "clock and voice",
        ["the time is kept high up, above the listener's head", "the time is kept low down, near the floor"],
        Some([
            "close to the listener, while somebody talks at a distance",
            "at a distance, while somebody talks close to the listener",
        ]),
        None,
    ),
    meanings(
        "clock and steps",
        [
            "the time is kept right beside the listener while somebody paces at a distance",
            "somebody paces right beside the listener while the time is kept at a distance",
        ],
        None,
        None,
    ),
    meanings(
        "dog and knock",
        [
            "the guard of the house is at the entrance at which a visitor waits",
            "the guard of the house is on the opposite side from the entrance at which a visitor waits",
        ],
        None,
        Some([
            [
                "to be let in where the guard of the house gave warning",
                "to be let in on the opposite side from where the guard of the house gave warning",
            ],
            [
                "to keep out the visitor who asked to be let in on the same side",
                "to tell the people on this side of the visitor who asked to be let in on the opposite one",
            ],
        ]),
    ),
    meanings(
        "dog and steps",
        [
            "the guard of the house is on the side on which a person moves about",
            "the guard of the house is on the side away from a person who moves about",
        ],
        Some([
            "with the guard close to the listener and the person at a distance",
            "with the person close to the listener and the guard at a distance",
        ]),
        Some([
            [
                "to come over to the guard of the house, who gave warning on the same side",
                "to keep away from the guard of the house, who gave warning on the opposite side",
            ],
            [
                "to challenge the person who came walking on the same side",
                "to call back the person who was walking about on the opposite side",
            ],
        ]),
    ),
    meanings(
        "drip and steps",
        [
            "the listener is right beside a leak while somebody paces at a distance",
            "somebody paces right beside the listener while there is a leak at a distance",
        ],
        None,
        None,
    ),
    meanings(
        "drip and voice",
        [
            "people are in a room into which the wet comes from above",
            "people are in a room in which the wet has reached the floor",
        ],
        None,
        None,
    ),
    meanings(
        "engine and voice",
        [
            "the listener watches a machine at work and is spoken to from behind",
            "the listener faces somebody who speaks and has a machine at work behind them",
        ],
        None,
        Some([
            [
                "to tell the listener, from behind, something about the machine that was started before their eyes",
                "to tell the listener, face to face, something about the machine that was started behind them",
            ],
            [
                "to show before the listener's eyes what was explained to them from behind",
                "to show behind the listener what was explained to them face to face",
            ],
        ]),
    ),
    meanings(
        "knock and voice",
        [
            "somebody speaks at the door at which a visitor waits",
            "somebody speaks on the opposite side from the door at which a visitor waits",
        ],
        None,
        Some([
            [
                "to ask, at the door itself, who wants to be let in there",
                "to call from the opposite side that whoever waits at the door may enter",
            ],
            [
                "to be let in by the person who was speaking at the door itself",
                "to be let in by the person who was speaking on the opposite side",
            ],
        ]),
    ),
    meanings(
        "music and dog",
        [
            "a pet keeps to the side on which people are entertained",
            "a pet keeps to the side away from where people are entertained",
        ],
        None,
        Some([
            [
                "to join in with the tune that was struck up on the same side",
                "to draw people over from the tune that was struck up on the opposite side",
            ],
            [
                "to soothe the pet that complained on the same side",
                "to drown out the pet that complained on the opposite side",
            ],
        ]),
    ),
    meanings(
        "music and voice",
        [
            "the listener is right beside the entertainment while somebody talks at a distance",
            "somebody right beside the listener talks while there is entertainment at a distance",
        ],
        None,
        Some([
            [
                "to ask, from a distance, for another tune than the one that was struck up beside the listener",
                "to tell the listener, close by, something about the tune that was struck up at a distance",
            ],
            [
                "to draw the listener's attention, close by, away from the talk at a distance",
                "to draw attention, from a distance, away from the talk beside the listener",
            ],
        ]),
    ),
    meanings(
        "rain and voice",
        [
            "the listener is right beside the wet weather while the company keeps at a distance",
            "the company is right beside the listener while the wet weather is at a distance",
        ],
        None,
        None,
    ),
    meanings(
        "rain and music",
        [
            "the listener looks out at the wet weather and has the entertainment behind them",
            "the listener looks at the entertainment and has the wet weather behind them",
        ],
        None,
        None,
    ),
    meanings(
        "siren and voice",
        [
            "an emergency is right beside the listener while bystanders talk at a distance",
            "a bystander right beside the listener talks while there is an emergency at a distance",
        ],
        None,
        Some([
            [
                "to call the listener away, from a distance, from the emergency that arose beside them",
                "to explain to the listener, close by, the emergency that arose at a distance",
            ],
            [
                "to clear the way right beside the listener, after the talk at a distance",
                "to clear the way at a distance, after the talk right beside the listener",
            ],
        ]),
    ),
    meanings(
        "siren and dog",
        [
            "an animal is stirred up by an emergency on its own side",
            "an animal is stirred up by an emergency on the opposite side",
        ],
        None,
        Some([
            [
                "to answer the emergency call that was given on the same side",
                "to answer the emergency call that was given on the opposite side",
            ],
            [
                "to clear the way where an animal had given warning",
                "to clear the way on the opposite side from where an animal had given warning",
            ],
        ]),
    ),
    meanings(
        "steps and knock",
        [
            "somebody moves about at the door at which a visitor waits",
            "somebody moves about on the opposite side from the door at which a visitor waits",
        ],
        None,
        Some([
            [
                "to be let in at the door that was walked up to",
                "to be let in by the person who was walking about on the opposite side",
            ],
            [
                "to leave again after nobody answered the visitor's call on the same side",
                "to come from the opposite side and open to the visitor who asked to be let in",
            ],
        ]),
    ),
    meanings(
        "steps and voice",
        [
            "a person passes close by the listener while somebody talks at a distance",
            "somebody talks close by the listener while a person passes at a distance",
        ],
        Some([
            "with the passer-by in front of the listener and the talk behind",
            "with the talk in front of the listener and the passer-by behind",
        ]),
        Some([
            [
                "to call back, from a distance, the person who walked past the listener",
                "to tell the listener, close by, who walked past at a distance",
            ],
            [
                "to come up close to the listener after the talk at a distance",
                "to go about their business at a distance after the talk beside the listener",
            ],
        ]),
    ),
];
