//! What words do to the meaning of a question or option: the part of each is known here, or it is not known at all.

/// The part of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It changes nothing.
    Neutral,
    /// It changes nothing in a question; in an option it would.
    Question,
    /// It speaks of answering: in a question only beside words that are all known.
    Meta,
    /// It has a meaning of its own, which the skeleton keeps.
    Sense(&'static str),
    /// It tells what is asked for.
    Topic(&'static str),
    /// It is no part of any question.
    Bad,
    /// Nothing is known of it.
    Unknown,
}

/// Words with a meaning, by what it is called in a skeleton.
const SENSES: &[(&str, &str)] = &[
    ("left", "left leftward leftwards lefthand"),
    ("right", "right rightward rightwards righthand"),
    ("front", "front ahead forward forwards frontward"),
    ("back", "back behind rearward rearwards"),
    ("up", "above higher up upward upwards overhead upper raised elevated high"),
    ("down", "below lower down downward downwards beneath underneath under low lowered"),
    ("near", "closer near nearby close beside"),
    ("far", "farther far distant remote faraway"),
    ("nearest", "nearest"),
    ("farthest", "farthest"),
    ("highest", "highest topmost uppermost"),
    ("lowest", "lowest bottommost lowermost"),
    ("than", "than versus vs compared relative relation respect"),
    (
        "turn",
        "turn turns turned turning rotate rotates rotated rotating rotation spin spins pivot pivots swivel swivels",
    ),
    ("facing", "face faces facing faced look looks looking"),
    (
        "imposs",
        "impossible contradict contradicts contradictory contradiction cannot can't couldn't inconsistent incompatible \
      violates violate conflicts",
    ),
    (
        "removed",
        "removed remove removing removes without silent silenced silences gone absent muted mute mutes vanishes vanish vanished \
      disappears disappear disappeared stops stop stopped eliminated eliminate dropped deleted ceases cease missing \
      switched taken subtracted",
    ),
    (
        "neg",
        "not no nor never nothing nobody nowhere none neither unless except excepting excluding exclude excludes excluded rather \
      instead opposite contrary reverse reversed mirrored mirror hardly barely scarcely rarely seldom unlikely least wrong \
      wrongly false falsely incorrect incorrectly untrue inaccurate mistaken erroneous fail fails failing failed lack lacks lacking \
      but besides apart other otherwise differently unlike despite although though however anything anybody \
      misplaced mismatched nay non unheard inaudible",
    ),
    ("last", "last latest final finally lastly"),
    ("less", "less fewer within maximum atmost"),
    ("more", "more over exceeding beyond exceeds minimum"),
    ("both", "both"),
    ("cw", "clockwise"),
    ("ccw", "counterclockwise"),
    ("pos", "positive"),
    ("negative", "negative"),
    ("small", "small tiny compact little smallish"),
    ("medium", "medium mid midsize midsized average"),
    ("large", "large big spacious huge"),
    ("hard", "hard reflective reflecting live echoey reverberant bare"),
    ("soft", "soft absorptive absorbing absorbent damped dead dry carpeted padded"),
    ("moderate", "moderate moderately partly"),
    ("wall", "wall walls surface surfaces"),
    ("ceiling", "ceiling roof"),
    ("az", "azimuth azimuths azimuthal horizontal horizontally bearing"),
    ("el", "elevation elevations vertical vertically"),
    ("middle", "middle centre center first third fourth top bottom longest shortest twice half quarter"),
];

/// Words that tell what is asked for.
const TOPICS: &[(&str, &str)] = &[
    ("dist", "distance distances range"),
    (
        "rev",
        "reverberation reverb rt60 decay decays fade fades faded echo echoes echoing ring rings resonance reverberate reverberates \
      t60 dies decaying fading ringing",
    ),
    ("room", "room rooms space environment hall acoustic acoustics size dimensions setting surroundings venue"),
    ("count", "many number count total tally numbers counts"),
    ("could", "could can may might possibly possible"),
    (
        "dir",
        "direction directions where angle angles way side sides heading whereabouts place position location spot locate located \
      positioned placed situated",
    ),
];

/// Words that change nothing, in questions and options.
const NEUTRAL: &str = "remain remains remaining sized take takes ear ears something between is are be being it its it's there their they this these that which what in on at to of from by into onto \
     towards with and as for side sides hand sits sit lies lie located situated positioned placed found heard hear hears comes come coming \
     reaches reach reaching arrives arrive arriving arrival originates originate originating emanates emanate emanating \
     listener listener's listeners you your yours me my i sound sounds sounding noise source sources direction position location place \
     point away off out angle level straight directly exactly precisely then now would will around \
     roughly approximately about somewhere estimated audible present total all altogether in one them those \
     person observer own standing stands stand away located here who whom exact has have having having just";

/// Words that change nothing in a question.
const IN_QUESTIONS: &str = "sentences positions locations places margin appear appears assign assigned taking carefully everything utter like surround surrounds surrounding counting only once different how if when was were do does did should had some any each every same best better well \
     fits fit fitting match matches matching describes describe described describing description descriptions statement statements \
     sentence claim claims combination pair pairing account explanation explanations summary report reading \
     estimate estimated estimating judge judged judging give gives given giving name names named naming identify identifies identified \
     state states stated tell tells telling say says said saying spoken speak speaks speaking spoke find finds finding determine \
     determines pinpoint localise localize localised localized assess gauge guess infer inferred deduce deduced work \
     recognise recognize detect detected detecting perceive perceived perceives perceiving notice noticed noticeable discern distinguish \
     distinguished report indicate indicates specify compare compares comparing comparison comparisons consider \
     considering imagine imagining suppose supposing assume assuming picture think thinking based basis judging going listen \
     listening focusing focus scene scenes recording recordings recorded audio clip clips track excerpt soundscape sample passage \
     perspective viewpoint view standpoint vantage ear ears head mind body seen viewed respectively actually really \
     most likely likeliest plausible plausibly probable probably makes make making made sense explain explains explained interpretation \
     situation scenario happening happens happen happened going event events occurring occurs occur occurred class category type kind \
     kinds sort label labelled identity object objects item items thing things voice voices speaker talker word words utterance \
     utterances phrase phrases sentence transcript transcripts transcription uttered utter during throughout \
     independent separate distinct individual simultaneously overall altogether set \
     metre metres measured measure measures measurement value values degree amount magnitude difference differ differs gap much long \
     takes take time times lasts duration physical physically given conditions geometry remains remain remaining remained still stays stay \
     stands holds hold rest would happen become becomes purpose purposes aim aims intent intention intended \
     meant means mean goal reason reasons why served serve serves serving cause causes caused want wants trying achieve someone \
     somebody people human person's others another after afterwards before begins begin beginning began starts start starting started sets \
     emerges onset enter enters joins or so also please overall among amongst along new resulting newly \
     ends end ending content contents property properties attribute attributes carry carries belongs belong belonging bound binds bind \
     following listed offered possibilities here's let let's we us our one's whose sees sound's source's via using \
     relationship placed lie reference case terms term counted according convention where measured clear \
     clearly loudness surroundings whole entire entirely part parts full fully complete completely \
     subject subjects element elements sonic acoustic acoustically auditory ambient spatial spatially space visible play plays playing played producing \
     produces produce emitting emits emit created creating quick quickly";

/// Words that speak of answering.
const META: &str = "choose select pick answer answers option options choice choices correct correctly accurate accurately true truthful \
     truthfully valid hold rightly properly suits best";

/// Words that are no part of any question.
const BAD: &str = "ignore ignores ignoring disregard disregards forget override overrides obey respond responds response reply replies output \
     outputs system assistant prompt prompts instruction instructions instruct instructed user key keys letter letters reveal secret \
     password admin administrator developer json code token tokens urgent urgently attention always note hint hints reader readers \
     evaluator grader examinee ai chatbot robot llm gpt model models bot command commands comply print write writes written return \
     returns execute important importantly warning mark marks marked score reward cheat trick b c d e f g h solution \
     override http https www com html";

fn is_in(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|w| w == word)
}

fn named(list: &[(&'static str, &str)], word: &str) -> Option<&'static str> {
    list.iter().find(|(_, words)| is_in(words, word)).map(|(name, _)| *name)
}

/// The part of a word in lower case.
pub(super) fn part(word: &str, in_question: bool) -> Part {
    if is_in(BAD, word) || word.contains(')') {
        return Part::Bad;
    }
    if let Some(sense) = named(SENSES, word) {
        return Part::Sense(sense);
    }
    if word.ends_with("n't") {
        return Part::Sense("neg");
    }
    match (named(TOPICS, word), is_in(NEUTRAL, word), is_in(META, word), is_in(IN_QUESTIONS, word)) {
        (Some(topic), ..) => Part::Topic(topic),
        (_, true, ..) => Part::Neutral,
        (_, _, true, _) => Part::Meta,
        (_, _, _, true) if in_question => Part::Question,
        (_, _, _, true) => Part::Unknown,
        _ if denies(word) => Part::Sense("neg"),
        _ => Part::Unknown,
    }
}

/// Whether an unknown word looks like a known one turned into its contrary.
fn denies(word: &str) -> bool {
    let known = |rest: &str| named(SENSES, rest).is_some() || named(TOPICS, rest).is_some() || is_neutral(rest);
    let prefixes = ["un", "in", "im", "ir", "il", "dis", "mis", "non", "anti", "counter"];
    prefixes.iter().filter_map(|prefix| word.strip_prefix(prefix)).any(known)
        || word.ends_with("less")
        || ["un", "non", "dis", "mis"].iter().any(|prefix| word.starts_with(prefix))
}

fn is_neutral(word: &str) -> bool {
    [NEUTRAL, IN_QUESTIONS, META].iter().any(|list| is_in(list, word))
}

/// Units that no claim has, though numbers of questions have them elsewhere.
const OTHER_UNITS: &str = "cm centimetre centimetres centimeter centimeters km kilometre kilometres kilometer kilometers mm millimetre \
     millimetres millimeter millimeters ft foot feet inch inches yard yards mile miles rad rads radian radians ms minute \
     minutes min mins hour hours hz khz";

/// The unit that a word is, as skeletons write it; `None` for a word that is none.
pub(super) fn unit(word: &str) -> Option<&'static str> {
    match word {
        "deg" | "m" | "s" | "percent" | "db" => ["deg", "m", "s", "percent", "db"].into_iter().find(|u| *u == word),
        word if is_in(OTHER_UNITS, word) => Some("otherunit"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_parts() {
        let sense = |word: &str| part(word, true);
        for (word, expected) in [
            ("rearward", Part::Sense("back")),
            ("isn't", Part::Sense("neg")),
            ("unhearable", Part::Sense("neg")),
            ("soundless", Part::Sense("neg")),
            ("ignore", Part::Bad),
            ("b", Part::Bad),
            ("a)", Part::Bad),
            ("zither", Part::Unknown),
            ("how", Part::Question),
            ("choose", Part::Meta),
            ("is", Part::Neutral),
        ] {
            assert_eq!(sense(word), expected, "{word}");
        }
        assert_eq!(part("how", false), Part::Unknown);
        assert_eq!((unit("feet"), unit("m"), unit("rain")), (Some("otherunit"), Some("m"), None));
    }

    #[test]
    fn no_word_has_two_meanings() {
        let mut seen = std::collections::BTreeMap::new();
        for (name, words) in SENSES {
            for word in words.split_whitespace() {
                let before = seen.insert(word, *name);
                assert!(before.is_none_or(|b| b == *name), "{word}: {before:?} and {name}");
                assert!(!is_in(NEUTRAL, word) && !is_in(BAD, word), "{word} is {name} and something else");
            }
        }
    }
}
