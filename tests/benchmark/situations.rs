//! What a careful person would grant about situations and purposes: sentence by sentence, in conditions of its own,
//! apart from the library's scripts.
//!
//! `near x`, `far x`, `front x`, `behind x`, `high x`, `low x`: where the sound is; `same x y`, `opposite x y`: seen from the
//! listener; `last x`: of all sounds it begins last; `dry`, `live`: how long sounds last.

/// Sounds by their names' words.
const SOUNDS: &[(&str, &[&str])] = &[
    ("alarm", &["alarm", "beep"]),
    ("baby", &["baby"]),
    ("bell", &["bell", "phone", "telephone", "ringtone"]),
    ("bird", &["bird", "chirp", "chirping", "robin", "crow"]),
    ("clock", &["tick", "ticking"]),
    ("dog", &["dog", "bark", "barking"]),
    ("drip", &["drop", "drip", "dripping"]),
    ("engine", &["engine", "motor", "idling", "vacuum"]),
    ("knock", &["knock", "knocking"]),
    ("music", &["music", "melody", "song", "guitar", "piano", "violin"]),
    ("rain", &["rain"]),
    ("siren", &["siren"]),
    ("steps", &["footstep", "walk", "walking", "step"]),
    ("voice", &["speech", "voice", "talking", "speaking"]),
];

/// Ends of situations that are about the room alone.
const ROOMS: &[(&str, &str)] = &[
    ("in a furnished room that swallows every echo", "dry"),
    ("in a bare room where every sound rings on", "live"),
    ("between carpets and curtains that leave no echo", "dry"),
    ("between bare walls that throw every sound back", "live"),
    ("with nothing of the room to be heard", "dry"),
    ("with the whole room answering for a long time", "live"),
];

/// Beginnings of situations, and ends that belong to one beginning.
const SITUATIONS: &[(&str, &str)] = &[
    ("a device right beside the listener demands attention while people talk at a distance", "near alarm, far voice"),
    (
        "somebody right beside the listener talks while a device demands attention at a distance",
        "far alarm, near voice",
    ),
    ("somebody is busy where a device demands attention", "same alarm steps"),
    ("somebody is busy on the opposite side from a device that demands attention", "opposite alarm steps"),
    (
        "the listener is right beside a little one in need of care while grown-ups are at a distance",
        "near baby, far voice",
    ),
    (
        "a grown-up is right beside the listener while a little one is in need of care at a distance",
        "near voice, far baby",
    ),
    ("somebody is busy where a little one is in need of care", "same baby steps"),
    ("somebody is busy on the opposite side from a little one in need of care", "opposite baby steps"),
    ("somebody moves about where attention is called for", "same bell steps"),
    ("somebody moves about on the opposite side from where attention is called for", "opposite bell steps"),
    ("attention is called for on the side on which somebody speaks", "same bell voice"),
    ("attention is called for on the side away from the speaker", "opposite bell voice"),
    ("with the call close to the listener and the speaker at a distance", "near bell, far voice"),
    ("with the speaker close to the listener and the call at a distance", "far bell, near voice"),
    ("a small animal has fled up above everybody's head", "high bird, any engine"),
    ("a small animal has come down near the floor", "low bird, any engine"),
    ("close to the listener, and a machine runs at a distance", "near bird, far engine"),
    ("at a distance, and a machine runs close to the listener", "far bird, near engine"),
    ("a small animal has its place above everybody's head while people are about", "high bird, any voice"),
    ("a small animal has its place near the floor while people are about", "low bird, any voice"),
    ("the time is kept high up, above the listener's head", "high clock"),
    ("the time is kept low down, near the floor", "low clock"),
    ("close to the listener, while somebody talks at a distance", "near clock, far voice"),
    ("at a distance, while somebody talks close to the listener", "far clock, near voice"),
    ("the time is kept right beside the listener while somebody paces at a distance", "near clock, far steps"),
    ("somebody paces right beside the listener while the time is kept at a distance", "far clock, near steps"),
    ("the guard of the house is at the entrance at which a visitor waits", "same dog knock"),
    ("the guard of the house is on the opposite side from the entrance at which a visitor waits", "opposite dog knock"),
    ("the guard of the house is on the side on which a person moves about", "same dog steps"),
    ("the guard of the house is on the side away from a person who moves about", "opposite dog steps"),
    ("with the guard close to the listener and the person at a distance", "near dog, far steps"),
    ("with the person close to the listener and the guard at a distance", "far dog, near steps"),
    ("the listener is right beside a leak while somebody paces at a distance", "near drip, far steps"),
    ("somebody paces right beside the listener while there is a leak at a distance", "far drip, near steps"),
    ("people are in a room into which the wet comes from above", "high drip, any voice"),
    ("people are in a room in which the wet has reached the floor", "low drip, any voice"),
    ("the listener watches a machine at work and is spoken to from behind", "front engine, behind voice"),
    ("the listener faces somebody who speaks and has a machine at work behind them", "behind engine, front voice"),
    ("somebody speaks at the door at which a visitor waits", "same voice knock"),
    ("somebody speaks on the opposite side from the door at which a visitor waits", "opposite voice knock"),
    ("a pet keeps to the side on which people are entertained", "same dog music"),
    ("a pet keeps to the side away from where people are entertained", "opposite dog music"),
    ("the listener is right beside the entertainment while somebody talks at a distance", "near music, far voice"),
    ("somebody right beside the listener talks while there is entertainment at a distance", "far music, near voice"),
    ("the listener is right beside the wet weather while the company keeps at a distance", "near rain, far voice"),
    ("the company is right beside the listener while the wet weather is at a distance", "far rain, near voice"),
    ("the listener looks out at the wet weather and has the entertainment behind them", "front rain, behind music"),
    ("the listener looks at the entertainment and has the wet weather behind them", "behind rain, front music"),
    ("an emergency is right beside the listener while bystanders talk at a distance", "near siren, far voice"),
    ("a bystander right beside the listener talks while there is an emergency at a distance", "far siren, near voice"),
    ("an animal is stirred up by an emergency on its own side", "same dog siren"),
    ("an animal is stirred up by an emergency on the opposite side", "opposite dog siren"),
    ("somebody moves about at the door at which a visitor waits", "same steps knock"),
    ("somebody moves about on the opposite side from the door at which a visitor waits", "opposite steps knock"),
    ("a person passes close by the listener while somebody talks at a distance", "near steps, far voice"),
    ("somebody talks close by the listener while a person passes at a distance", "far steps, near voice"),
    ("with the passer-by in front of the listener and the talk behind", "front steps, behind voice"),
    ("with the talk in front of the listener and the passer-by behind", "behind steps, front voice"),
];

/// What the sound that begins last is for.
const PURPOSES: &[(&str, &str)] = &[
    (
        "to have the listener, from a distance, silence the device that went off beside them",
        "last voice, far voice, near alarm",
    ),
    (
        "to tell the listener, close by, what to do about the device that went off at a distance",
        "last voice, near voice, far alarm",
    ),
    (
        "to remind the listener, close by, that the talk at a distance has lasted long enough",
        "last alarm, near alarm, far voice",
    ),
    (
        "to call away, from a distance, the person who was talking beside the listener",
        "last alarm, far alarm, near voice",
    ),
    ("to deal with the device that went off on the same side", "last steps, same steps alarm"),
    ("to get away from the device that went off on the opposite side", "last steps, opposite steps alarm"),
    ("to give away the person who was moving about on the same side", "last alarm, same steps alarm"),
    ("to call over the person who was moving about on the opposite side", "last alarm, opposite steps alarm"),
    (
        "to advise, from a distance, what the little one who complained beside the listener may need",
        "last voice, far voice, near baby",
    ),
    (
        "to ask the listener, close by, to look after the little one who complained at a distance",
        "last voice, near voice, far baby",
    ),
    (
        "to get help from the listener, close by, after the grown-ups talked at a distance",
        "last baby, near baby, far voice",
    ),
    (
        "to call over, from a distance, the grown-up who was talking beside the listener",
        "last baby, far baby, near voice",
    ),
    ("to look after the little one who complained on the same side", "last steps, same steps baby"),
    ("to fetch something for the little one who complained on the opposite side", "last steps, opposite steps baby"),
    ("to complain to the person who came up on the same side", "last baby, same baby steps"),
    ("to call back the person who went off on the opposite side", "last baby, opposite baby steps"),
    ("to attend to the call that was given on the same side", "last steps, same steps bell"),
    ("to look for somebody who may attend to the call given on the opposite side", "last steps, opposite steps bell"),
    ("to announce the person who came walking on the same side", "last bell, same steps bell"),
    ("to fetch the person who was walking about on the opposite side", "last bell, opposite steps bell"),
    ("to explain what the call on the same side was about", "last voice, same voice bell"),
    ("to answer the call that was given on the opposite side", "last voice, opposite voice bell"),
    ("to end the speech that was given on the same side", "last bell, same bell voice"),
    ("to draw people away from the speech that was given on the opposite side", "last bell, opposite bell voice"),
    ("to talk to the small animal that called from above everybody's head", "last voice, high bird"),
    ("to talk to the small animal that called from near the floor", "last voice, low bird"),
    ("to answer, from above everybody's head, the person who spoke", "last bird, high bird, any voice"),
    ("to answer, from near the floor, the person who spoke", "last bird, low bird, any voice"),
    ("to be let in where the guard of the house gave warning", "last knock, same knock dog"),
    (
        "to be let in on the opposite side from where the guard of the house gave warning",
        "last knock, opposite knock dog",
    ),
    ("to keep out the visitor who asked to be let in on the same side", "last dog, same dog knock"),
    (
        "to tell the people on this side of the visitor who asked to be let in on the opposite one",
        "last dog, opposite dog knock",
    ),
    ("to come over to the guard of the house, who gave warning on the same side", "last steps, same steps dog"),
    (
        "to keep away from the guard of the house, who gave warning on the opposite side",
        "last steps, opposite steps dog",
    ),
    ("to challenge the person who came walking on the same side", "last dog, same dog steps"),
    ("to call back the person who was walking about on the opposite side", "last dog, opposite dog steps"),
    (
        "to tell the listener, from behind, something about the machine that was started before their eyes",
        "last voice, behind voice, front engine",
    ),
    (
        "to tell the listener, face to face, something about the machine that was started behind them",
        "last voice, front voice, behind engine",
    ),
    (
        "to show before the listener's eyes what was explained to them from behind",
        "last engine, front engine, behind voice",
    ),
    ("to show behind the listener what was explained to them face to face", "last engine, behind engine, front voice"),
    ("to ask, at the door itself, who wants to be let in there", "last voice, same voice knock"),
    ("to call from the opposite side that whoever waits at the door may enter", "last voice, opposite voice knock"),
    ("to be let in by the person who was speaking at the door itself", "last knock, same voice knock"),
    ("to be let in by the person who was speaking on the opposite side", "last knock, opposite voice knock"),
    ("to join in with the tune that was struck up on the same side", "last dog, same dog music"),
    ("to draw people over from the tune that was struck up on the opposite side", "last dog, opposite dog music"),
    ("to soothe the pet that complained on the same side", "last music, same dog music"),
    ("to drown out the pet that complained on the opposite side", "last music, opposite dog music"),
    (
        "to ask, from a distance, for another tune than the one that was struck up beside the listener",
        "last voice, far voice, near music",
    ),
    (
        "to tell the listener, close by, something about the tune that was struck up at a distance",
        "last voice, near voice, far music",
    ),
    (
        "to draw the listener's attention, close by, away from the talk at a distance",
        "last music, near music, far voice",
    ),
    ("to draw attention, from a distance, away from the talk beside the listener", "last music, far music, near voice"),
    (
        "to call the listener away, from a distance, from the emergency that arose beside them",
        "last voice, far voice, near siren",
    ),
    (
        "to explain to the listener, close by, the emergency that arose at a distance",
        "last voice, near voice, far siren",
    ),
    ("to clear the way right beside the listener, after the talk at a distance", "last siren, near siren, far voice"),
    ("to clear the way at a distance, after the talk right beside the listener", "last siren, far siren, near voice"),
    ("to answer the emergency call that was given on the same side", "last dog, same dog siren"),
    ("to answer the emergency call that was given on the opposite side", "last dog, opposite dog siren"),
    ("to clear the way where an animal had given warning", "last siren, same dog siren"),
    ("to clear the way on the opposite side from where an animal had given warning", "last siren, opposite dog siren"),
    ("to be let in at the door that was walked up to", "last knock, same knock steps"),
    ("to be let in by the person who was walking about on the opposite side", "last knock, opposite knock steps"),
    ("to leave again after nobody answered the visitor's call on the same side", "last steps, same steps knock"),
    (
        "to come from the opposite side and open to the visitor who asked to be let in",
        "last steps, opposite steps knock",
    ),
    ("to call back, from a distance, the person who walked past the listener", "last voice, far voice, near steps"),
    ("to tell the listener, close by, who walked past at a distance", "last voice, near voice, far steps"),
    ("to come up close to the listener after the talk at a distance", "last steps, near steps, far voice"),
    (
        "to go about their business at a distance after the talk beside the listener",
        "last steps, far steps, near voice",
    ),
];

/// The words by which a sound of a condition is named.
pub fn sound(name: &str) -> &'static [&'static str] {
    SOUNDS.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no sound is called {name}")).1
}

/// The conditions of a situation.
pub fn situation(option: &str) -> Result<Vec<&'static str>, String> {
    let known =
        |text: &str| SITUATIONS.iter().chain(ROOMS).find(|(t, _)| *t == text).map(|(_, conditions)| *conditions);
    let (beginning, conditions) = SITUATIONS
        .iter()
        .find(|(text, _)| option.strip_prefix(text).is_some_and(|rest| rest.starts_with(", ")))
        .ok_or(format!("unknown situation {option:?}"))?;
    let end = &option[beginning.len() + 2..];
    Ok(conditions.split(", ").chain(known(end).ok_or(format!("unknown end {end:?}"))?.split(", ")).collect())
}

/// The conditions of a purpose.
pub fn purpose(option: &str) -> Result<Vec<&'static str>, String> {
    let found = PURPOSES.iter().find(|(text, _)| *text == option);
    found.map(|(_, conditions)| conditions.split(", ").collect()).ok_or(format!("unknown purpose {option:?}"))
}
