//! What a careful person would grant about names of sounds: judged word by word, apart from the library's table.

/// What a sound tells of, what somebody who goes there wants, and which sounds bear it out: surely, or perhaps.
struct Meaning {
    situation: &'static str,
    aim: &'static str,
    heard: &'static [&'static str],
    perhaps: &'static [&'static str],
}

const fn meaning(
    situation: &'static str,
    aim: &'static str,
    heard: &'static [&'static str],
    perhaps: &'static [&'static str],
) -> Meaning {
    Meaning { situation, aim, heard, perhaps }
}

const MEANINGS: &[Meaning] = &[
    meaning("a pet is guarding its home", "calm the pet", &["dog", "bark"], &["cat", "animal"]),
    meaning(
        "a hungry animal begs for food",
        "fill the animal's bowl",
        &["cat"],
        &["dog", "cow", "pig", "sheep", "rooster", "bird", "animal"],
    ),
    meaning("a farm is waking up", "feed the poultry", &["rooster"], &["cow", "pig", "sheep", "animal", "bird", "dog"]),
    meaning(
        "small singers greet the morning",
        "watch the small singers",
        &["bird", "chirp", "chirping"],
        &["rooster", "cricket", "insect", "animal"],
    ),
    meaning("livestock waits in a stable", "feed the livestock", &["cow", "sheep", "pig"], &["animal", "rooster"]),
    meaning(
        "some wild creature is close",
        "see what creature it is",
        &["animal"],
        &["dog", "cat", "bird", "chirping", "cow", "pig", "sheep", "rooster", "insect", "cricket"],
    ),
    meaning(
        "it is a warm summer evening",
        "chase the insects away",
        &["insect", "cricket", "bee"],
        &["animal", "bird"],
    ),
    meaning("an infant needs care", "comfort the infant", &["baby"], &["cry", "crying"]),
    meaning("somebody has caught a cold", "offer a handkerchief", &["sneeze", "sneezing", "coughing"], &["snoring"]),
    meaning("somebody heard a good joke", "share the joke", &["laughing", "laughter"], &["speech"]),
    meaning("somebody is asleep", "wake the sleeper", &["snoring", "breathing"], &["sneezing"]),
    meaning("a performance has just ended", "congratulate the performers", &["clapping"], &["music", "guitar"]),
    meaning("somebody is passing by", "meet the passer-by", &["footstep"], &["door", "knock", "knocking"]),
    meaning(
        "somebody has something to say",
        "join the conversation",
        &["speech", "voice", "speaking"],
        &["baby", "telephone", "laughing", "laughter"],
    ),
    meaning("a tune is being played", "turn the tune down", &["music"], &["guitar", "telephone", "clapping"]),
    meaning("a musician is practising", "praise the musician", &["guitar"], &["music"]),
    meaning(
        "a visitor wants to come in",
        "let the visitor in",
        &["knock", "knocking", "doorbell"],
        &["door", "bell", "footstep"],
    ),
    meaning("somebody enters or leaves", "close the entrance", &["door"], &["footstep", "knock", "knocking"]),
    meaning(
        "people are being called together",
        "see why people are called together",
        &["bell"],
        &["alarm", "siren", "telephone", "clock", "knock", "knocking", "doorbell"],
    ),
    meaning("a caller is waiting", "answer the caller", &["telephone"], &["bell", "alarm", "doorbell"]),
    meaning(
        "a warning device has gone off",
        "switch the warning device off",
        &["alarm", "beep"],
        &["siren", "bell", "clock", "telephone", "horn"],
    ),
    meaning(
        "rescuers are on their way",
        "make way for the rescuers",
        &["siren"],
        &["alarm", "horn", "engine", "helicopter"],
    ),
    meaning("time is being kept", "read the time", &["clock", "tick"], &["bell", "alarm"]),
    meaning(
        "a machine is kept running",
        "stop the machine",
        &["engine"],
        &["car", "train", "helicopter", "airplane", "chainsaw", "saw", "vacuum", "washing", "drill"],
    ),
    meaning(
        "vehicles are on a road",
        "see whether the road is free",
        &["car", "horn", "traffic"],
        &["engine", "siren", "train"],
    ),
    meaning("passengers are carried on rails", "board the carriage", &["train"], &["engine"]),
    meaning("a rotor craft hovers", "wave to the pilot", &["helicopter"], &["engine", "airplane"]),
    meaning("a flight is passing", "look up at the flight", &["airplane"], &["engine", "helicopter"]),
    meaning("wood is being cut", "stop the cutting", &["chainsaw", "saw"], &["engine", "drill", "hammer"]),
    meaning(
        "something is being built",
        "inspect the building work",
        &["hammer", "drill", "construction"],
        &["saw", "chainsaw", "engine", "knock", "knocking"],
    ),
    meaning("a household is being cleaned", "help with the cleaning", &["vacuum", "washing"], &["engine", "water"]),
    meaning("somebody works at a computer", "look at the screen", &["keyboard", "typing", "mouse"], &[]),
    meaning("logs are burning", "warm the hands", &["fire", "crackling"], &["firework"]),
    meaning(
        "wet weather has set in",
        "check whether a window is open to the wet weather",
        &["rain"],
        &["thunderstorm", "wind", "water"],
    ),
    meaning("a storm is coming", "unplug the aerial before the storm", &["thunderstorm"], &["wind", "rain"]),
    meaning("a gale is rising", "tie things down against the gale", &["wind"], &["thunderstorm", "rain", "sea"]),
    meaning("breakers roll onto a beach", "go for a swim", &["sea", "wave"], &["water", "wind"]),
    meaning("something leaks or overflows", "find the leak", &["water", "drop", "toilet"], &["rain", "washing"]),
    meaning("something has been smashed", "sweep up the pieces", &["glass"], &["slam", "firework"]),
    meaning(
        "something has gone off with a bang",
        "find out what went off",
        &["firework", "gun", "explosion"],
        &["thunderstorm", "slam", "glass"],
    ),
    meaning("somebody is having a meal", "sit down to the meal", &["drinking", "eating"], &["snoring"]),
];

/// Names that are used for each other, or of which the first takes in the second.
const SAME: &[(&str, &[&str])] = &[
    ("animal", &["dog", "cat", "bird", "chirping", "cow", "sheep", "pig", "rooster", "cricket", "insect"]),
    ("engine", &["car", "helicopter", "airplane", "train", "chainsaw"]),
    ("water", &["rain", "sea", "toilet"]),
    ("drop", &["rain"]),
    ("music", &["guitar", "piano"]),
    ("alarm", &["beep"]),
    ("speech", &["voice", "talking", "speaking"]),
    ("thunderstorm", &["thunder"]),
    ("bird", &["chirping", "chirp"]),
];

fn words(label: &str) -> Vec<&str> {
    // Who does it, and how it is told, is not what sounds.
    let telling = label.split(' ').filter(|w| !["a", "being", "on", "person"].contains(w));
    telling.map(|w| w.strip_suffix('s').filter(|bare| !bare.ends_with('s')).unwrap_or(w)).collect()
}

fn has(label: &str, any: &[&str]) -> bool {
    words(label).iter().any(|w| any.contains(w))
}

/// Whether a sound called `own` might also be called `other`.
pub fn may_be_called(own: &str, other: &str) -> bool {
    let (a, b) = (words(own), words(other));
    let shared = a.iter().any(|w| b.contains(w));
    let takes_in = |wide: &[&str], narrow: &[&str]| {
        SAME.iter().any(|(w, n)| wide.contains(w) && n.iter().any(|x| narrow.contains(x)))
    };
    shared || takes_in(&a, &b) || takes_in(&b, &a)
}

/// Whether sounds bear something out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Borne {
    Out,
    Perhaps,
    Not,
}

fn borne(labels: &[&str], meaning: &Meaning) -> Borne {
    if labels.iter().any(|l| has(l, meaning.heard)) {
        return Borne::Out;
    }
    // A sound that no meaning knows may tell of anything.
    let known = |l: &str| MEANINGS.iter().any(|m| has(l, m.heard) || has(l, m.perhaps));
    let open = labels.iter().any(|l| !known(l) || has(l, meaning.perhaps));
    if open { Borne::Perhaps } else { Borne::Not }
}

/// Whether sounds bear out that a situation goes on. `Err` for one that is unknown here.
pub fn tells(situation: &str, labels: &[&str]) -> Result<Borne, String> {
    let meaning = MEANINGS.iter().find(|m| m.situation == situation);
    meaning.map(|m| borne(labels, m)).ok_or(format!("unknown situation {situation:?}"))
}

/// Whether somebody with this aim would go to a sound.
pub fn draws(aim: &str, label: &str) -> Result<Borne, String> {
    let meaning = MEANINGS.iter().find(|m| m.aim == aim);
    meaning.map(|m| borne(&[label], m)).ok_or(format!("unknown aim {aim:?}"))
}

/// The aim that a question states.
pub fn aim_in(question: &str) -> Result<&'static str, String> {
    let found: Vec<&str> = MEANINGS.iter().map(|m| m.aim).filter(|aim| question.contains(aim)).collect();
    match found[..] {
        [aim] => Ok(aim),
        _ => Err(format!("{} aims in {question:?}", found.len())),
    }
}
