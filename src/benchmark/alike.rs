//! Whether two names may be names of one sound: families in words.
//!
//! Names come from classes, captions and keywords, so that one sound has many: "barking dog", "puppy yapping". A word
//! belongs to kinds of sound; two kinds are one another's when they are the same, or when they share a group and one of
//! them is a word for all of it (each dog is an animal). Who makes a sound does not tell what it is: a person speaks,
//! walks and sneezes. Words in doubt stand in several kinds, so that the guard errs towards "alike".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// One kind of sound.
struct Kind {
    words: &'static str,
    groups: &'static str,
    /// Whether its words fit every sound of its groups.
    broad: bool,
}

const fn kind(groups: &'static str, words: &'static str) -> Kind {
    Kind { words, groups, broad: false }
}

const fn broad(groups: &'static str, words: &'static str) -> Kind {
    Kind { words, groups, broad: true }
}

/// The kinds of sound, by words in any form.
static KINDS: &[Kind] = &[
    kind("animal", "dog bark puppy hound howl growl whimper yap woof canine"),
    kind("animal", "cat meow kitten purr mew feline"),
    kind(
        "animal bird",
        "rooster cockerel chicken hen cluck poultry fowl duck goose geese quack honk turkey gobble crow",
    ),
    broad(
        "bird",
        "bird chirp tweet twitter robin seagull gull pigeon dove crow raven owl songbird sparrow warble cuckoo parrot \
         woodpecker birdsong coo swallow finch",
    ),
    kind("animal", "bird chirp tweet birdsong seagull gull pigeon owl crow parrot"),
    kind(
        "animal",
        "cow sheep pig goat horse donkey lamb cattle moo bleat oink neigh hoof hooves gallop bull calf livestock herd",
    ),
    broad("animal", "animal wildlife creature pet mammal beast livestock roar"),
    kind("animal", "insect cricket bee cicada mosquito wasp grasshopper locust buzz fly flies chirr bumblebee"),
    kind("animal", "frog toad croak ribbit"),
    kind("animal", "lion elephant monkey wolf whale snake bear"),
    kind("voice", "baby infant toddler cry sob wail newborn whimper"),
    kind("voice", "laugh laughter giggle chuckle chortle"),
    kind(
        "voice crowd",
        "speech voice talk speak spoke spoken conversation conversing chat chatter narrate narration announce announcer \
         announcement lecture discuss babble whisper murmur mumble mutter dialogue interview presenter commentator \
         speaker speech utter discussion vocal say says dialog recite sermon",
    ),
    kind("voice crowd", "shout scream yell cheer holler shriek"),
    kind("voice music", "sing song singer choir chant vocal vocals hum singing opera lullaby voice"),
    broad("crowd", "crowd audience gathering party crowded spectators"),
    kind("crowd", "clap applause applaud ovation"),
    kind("body", "sneez cough sniff sniffle hiccup burp throat clearing fart"),
    kind("body", "snor breath breathe gasp sigh pant yawn respiratory wheeze"),
    kind("body", "eat drink chew sip sipp gulp slurp crunch bite munch gargle swallow eating mastication"),
    kind("body", "tooth teeth toothbrush brush"),
    kind(
        "steps",
        "footstep walk walker step jog stroll tread stomp march heel shoe boot hike stride pace walking runner sprint",
    ),
    kind("door visit", "knock rap tap doorbell"),
    broad("door", "door gate doorway latch slam hinge lock unlock cupboard drawer cabinet"),
    kind("bell visit", "bell chime gong carillon doorbell ring toll church cowbell"),
    kind("bell alarm", "phone telephone ringtone cellphone dial ring"),
    broad("alarm", "alarm alert warning signal"),
    kind("alarm", "beep buzzer bleep timer detector buzz"),
    kind("alarm vehicle", "siren ambulance police wail firetruck"),
    kind("clock", "clock tick tock metronome stopwatch"),
    broad(
        "machine",
        "engine motor machine machinery generator mechanical mechanism idl idle industrial factory equipment",
    ),
    broad("machine electric", "hum drone whir buzz electrical electric appliance electricity"),
    kind(
        "machine vehicle",
        "car truck lorry bus motorcycle motorbike van highway drive automobile scooter horn honk tractor traffic moped \
         roadway tire tyre brake motorway race",
    ),
    broad("vehicle", "vehicle traffic transport transportation motor"),
    kind("machine vehicle", "train tram subway railway locomotive rail metro underground"),
    kind("machine air", "helicopter rotor chopper"),
    kind("machine air", "airplane plane jet aeroplane propeller airliner"),
    broad("air vehicle", "aircraft flight"),
    kind("machine vehicle water", "boat ship ferry sail canoe motorboat"),
    kind("vehicle", "bicycle bike cycle cycling pedal skateboard skate"),
    kind("machine tool", "chainsaw saw sawing"),
    kind("machine tool bang", "drill hammer jackhammer construction nail excavator"),
    broad("tool", "tool workshop grind grinder sander sanding carpentry lathe ratchet wrench"),
    kind("machine", "vacuum cleaner hoover"),
    kind("machine water", "wash washer dishwasher laundry dryer"),
    kind("machine", "fan ventilation ventilator conditioner conditioning hvac"),
    kind(
        "machine",
        "printer copier blender mixer microwave lawnmower mower sewing shaver razor trimmer elevator escalator",
    ),
    kind("click", "keyboard typ typewriter typing type"),
    broad("click", "click clack mouse shutter camera switch snap stapler button"),
    kind("fire", "fire crackl crackle burn flame campfire bonfire fireplace firewood"),
    kind("weather water", "rain drizzle downpour raindrop raining rainfall shower hail"),
    kind("weather bang", "thunder thunderstorm thunderclap lightning"),
    broad("weather", "storm weather thunderstorm tempest hurricane"),
    kind("weather", "wind gust breeze gale windy windstorm"),
    kind("water weather", "sea wave ocean surf beach shore seashore tide"),
    broad(
        "water",
        "water liquid drip drop leak pour stream river flow brook creek waterfall fountain splash faucet sink tap toilet \
         flush bath bathtub pool gurgle bubble trickle boil kettle swim droplet drain dribble puddle sprinkler fill",
    ),
    kind("bang crockery", "glass break shatter smash crash broken"),
    kind(
        "crockery",
        "dish plate cutlery pot pan fork spoon kitchen silverware crockery cup mug glass bottle jar clink",
    ),
    kind("fire", "cook fry frying sizzle grill"),
    kind("metal", "metal metallic clank clang rattle chain jangle jingle key coin tin steel iron"),
    kind(
        "paper",
        "paper page rustle crumple newspaper book cardboard crinkle leaf leaves foliage tear tearing rip plastic wrapper",
    ),
    kind("wood", "wood wooden chop timber axe log twig branch stick plank"),
    kind("friction", "scrape scratch rub squeak creak squeal screech drag zip zipper velcro scrub tape"),
    kind("bang", "gun gunshot gunfire rifle shot shooting pistol"),
    broad("bang", "bang explosion explode blast boom pop thud thump firework fireworks firecracker impact hit"),
    broad(
        "music",
        "music musical melody tune song orchestra orchestral ballad symphony jazz techno reggae blues folk punk classical \
         disco funk trance dubstep electronica hip-hop hiphop instrumental riff soundtrack composition chord rhythm groove \
         edm waltz tango lullaby instrument lo-fi lofi soundscape arpeggio anthem harmony trip-hop",
    ),
    kind("music", "guitar banjo ukulele mandolin sitar lute strum string bass pluck harp"),
    kind("music", "piano keyboard synth synthesizer synthesiser organ harpsichord keys"),
    kind("music", "violin cello viola fiddle string strings bowed"),
    kind("music", "trumpet trombone saxophone sax brass tuba horn"),
    kind("music", "flute clarinet oboe bassoon harmonica accordion bagpipe woodwind"),
    kind("music", "drum percussion cymbal tambourine bongo hi-hat tabla maraca"),
    kind("music", "xylophone marimba glockenspiel vibraphone chime mallet"),
    broad("voice music", "radio television tv broadcast loudspeaker megaphone pa"),
    kind("hiss", "hiss static noise white steam spray whoosh swoosh crackling interference"),
    kind("whistle", "whistle kettle"),
    kind("ball", "ball basketball tennis bounce bowling dribbl football golf billiards dice"),
    kind("friction steps", "swing sweep broom sweeping shovel dig"),
    broad(
        "voice crowd steps vehicle animal body weather water",
        "city market restaurant cafe station playground school mall ambience ambiance atmosphere jungle airport \
         urban domestic household",
    ),
];

/// Who may sound in many ways; alone, a word for all of these.
const PERSONS: &str = "person people human someone somebody man men woman women male female lady gentleman guy child \
     children kid boy girl adult youth teenager toddler guys ladies youngster individual student worker officer farmer teacher neighbour neighbor mother father players player";
static OF_PERSONS: Kind = broad("voice crowd body steps", "");

/// Words that tell nothing about a sound.
const EMPTY: &str = "the a an and or with of in on at to from by into onto over under through while then something sound \
     noise as for is are being be was were loud loudly soft softly quiet quietly slow slowly fast quick quickly steady \
     steadily heavy heavily light lightly low high pitched small large big long short repeated repeatedly continuous \
     continuously constant constantly several two three four many some different various background foreground distance \
     distant together time times another again up down out off away past around inside outside near far up-tempo \
     moderate moderately rapidly gently gentle old new young deep his her their its it each other very one few group \
     couple made playing play played running sounding heard hear hearing make starting going getting moving turned \
     turning against along across between behind before after upbeat calm slow-paced mid-tempo featuring full that night morning evening day summer field-recording \
     nature one odd busy lively strong steady pass passing run stop hit hitting open close being floor street piece";

fn roots_of(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(root).collect()
}

static TABLE: LazyLock<BTreeMap<String, Vec<usize>>> = LazyLock::new(|| {
    let mut table = BTreeMap::<String, Vec<usize>>::new();
    for (i, kind) in KINDS.iter().enumerate() {
        roots_of(kind.words).into_iter().for_each(|word| table.entry(word).or_default().push(i));
    }
    table
});
static NOT_TELLING: LazyLock<BTreeSet<String>> = LazyLock::new(|| roots_of(EMPTY));
static OF_WHOM: LazyLock<BTreeSet<String>> = LazyLock::new(|| roots_of(PERSONS));

/// A word without its endings, so that "dripping", "drips" and "drip" are one. It need not be a word itself.
pub(super) fn root(word: &str) -> String {
    let word = word.to_lowercase();
    let word = word.strip_suffix("'s").unwrap_or(&word);
    let has_vowel = |rest: &str| rest.chars().count() >= 3 && rest.contains(['a', 'e', 'i', 'o', 'u', 'y']);
    let cut = |ending: &str| word.strip_suffix(ending).filter(|rest| has_vowel(rest));
    let bare = match () {
        _ if word.len() > 4 && (word.ends_with("ies") || word.ends_with("ied")) => {
            return format!("{}y", &word[..word.len() - 3]);
        }
        _ if word.ends_with("ss") => return word.to_string(),
        _ => cut("ing").or_else(|| cut("ed")).map(undoubled).or_else(|| cut("s")).unwrap_or(word),
    };
    match bare.strip_suffix('e').filter(|rest| has_vowel(rest)) {
        Some(rest) => rest.to_string(),
        None => bare.to_string(),
    }
}

/// "clapp" as "clap": English doubles a consonant before an ending.
fn undoubled(stem: &str) -> &str {
    let double = ["bb", "dd", "gg", "mm", "nn", "pp", "tt"].iter().any(|pair| stem.ends_with(pair));
    if double { &stem[..stem.len() - 1] } else { stem }
}

/// The words of a text.
pub(super) fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '-').filter(|w| !w.is_empty())
}

/// Whether a word, in any form, names a kind of sound or who makes it.
pub(super) fn is_of_sound(word: &str) -> bool {
    let root = root(word);
    TABLE.contains_key(&root) || OF_WHOM.contains(&root)
}

/// Whether a word, in any form, is one for people.
pub(super) fn is_person(word: &str) -> bool {
    OF_WHOM.contains(&root(word))
}

/// What is known about a sound from words for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kinds {
    kinds: BTreeSet<usize>,
    /// Whether words for persons are all that is known.
    of_persons: bool,
    /// Roots of the words of its names that tell something.
    telling: BTreeSet<String>,
    /// The same of all that others say of it. Two descriptions share words by chance; a name and a description do not.
    said: BTreeSet<String>,
    /// Whether nothing is known for sure: alike to everything.
    open: bool,
}

impl Kinds {
    /// What names of one sound tell.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Kinds {
        Kinds::described(names, [])
    }

    /// What names of one sound tell, and what others say of it.
    pub fn described<'a>(names: impl IntoIterator<Item = &'a str>, said: impl IntoIterator<Item = &'a str>) -> Kinds {
        let mut out = Kinds::default();
        let mut persons = out.add(names);
        out.telling = std::mem::take(&mut out.said);
        persons |= out.add(said);
        out.of_persons = persons && out.kinds.is_empty();
        out
    }

    /// Adds the words of texts to what is said; returns whether one is for persons.
    fn add<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let mut persons = false;
        for root in texts.into_iter().flat_map(words_of).map(root) {
            persons |= OF_WHOM.contains(&root);
            self.kinds.extend(TABLE.get(&root).into_iter().flatten());
            if root.chars().count() >= 3 && !NOT_TELLING.contains(&root) && !OF_WHOM.contains(&root) {
                self.said.insert(root);
            }
        }
        persons
    }

    /// A sound of which nothing is known.
    pub fn open() -> Kinds {
        Kinds { open: true, ..Kinds::default() }
    }

    /// Whether the words name a kind of sound, or persons.
    pub fn is_known(&self) -> bool {
        !self.kinds.is_empty() || self.of_persons
    }

    /// Whether one of the words belongs to a group, such as `music`.
    pub fn is_in(&self, group: &str) -> bool {
        self.kinds.iter().any(|&k| KINDS[k].groups.split(' ').any(|g| g == group))
    }

    /// Whether a sound of one might be called by words for the other. Who cannot tell says yes.
    pub fn is_alike(&self, other: &Kinds) -> bool {
        let names_what_is_said =
            |a: &Kinds, b: &Kinds| a.telling.iter().any(|word| b.telling.contains(word) || b.said.contains(word));
        if self.open || other.open || names_what_is_said(self, other) || names_what_is_said(other, self) {
            return true;
        }
        let all = |k: &Kinds| k.kinds.iter().map(|&i| &KINDS[i]).collect::<Vec<_>>();
        let (mut mine, mut theirs) = (all(self), all(other));
        mine.extend(self.of_persons.then_some(&OF_PERSONS));
        theirs.extend(other.of_persons.then_some(&OF_PERSONS));
        mine.iter().any(|a| theirs.iter().any(|b| std::ptr::eq(*a, *b) || may_be(a, b)))
    }
}

/// Whether one of two kinds is a word for sounds of the other's group.
fn may_be(a: &Kind, b: &Kind) -> bool {
    let shared = a.groups.split(' ').any(|group| b.groups.split(' ').any(|other| other == group));
    shared && (a.broad || b.broad)
}

#[cfg(test)]
#[path = "alike_tests.rs"]
mod tests;
