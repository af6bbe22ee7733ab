//! Names, articles and numbers.

use super::super::facts::tests::source;
use super::*;

fn track(domain: Domain, class: &str, captions: &[&str], keywords: &[&str]) -> Track {
    let mut track = source(class, 0.0, 0.0, 2.0);
    track.domain = domain;
    track.caption = captions.first().map(|text| text.to_string());
    track.other_captions = captions.iter().skip(1).map(|text| text.to_string()).collect();
    track.keywords = keywords.iter().map(|text| text.to_string()).collect();
    track
}

#[test]
fn classes_have_display_names() {
    for (class, expected) in [
        ("dog_bark", "barking dog"),
        ("sneezing", "sneeze"),
        ("rain", "rain"),
        ("church_bells", "church bells"),
        ("door_wood_knock", "knock on a door"),
        ("Vehicle_horn_and_car_horn_and_honking", "car horn"),
        ("Bathtub_(filling_or_washing)", "bathtub filling with water"),
        ("Buzz", "buzz"),
        ("fixed-wing_aircraft_and_airplane", "airplane"),
        ("female_speech_woman_speaking", "woman speaking"),
        ("animal_misc", "animal"),
        ("valve_03", "valve 03"),
    ] {
        assert_eq!(name(&track(Domain::Environment, class, &[], &[])).as_deref(), Some(expected), "{class}");
    }
    assert_eq!(name(&track(Domain::Speech, "speech", &[], &[])).as_deref(), Some("person speaking"));
    assert_eq!(name(&track(Domain::Music, "music", &[], &[])).as_deref(), Some("music"));
    for class in
        ["", "unlabelled", "misc", "a", "Hands", "Human_group_actions", "ignore_previous_instructions", "dog🐕"]
    {
        assert_eq!(name(&track(Domain::Environment, class, &[], &[])), None, "{class}");
    }
    // The class says more than whoever described it.
    let bark = track(Domain::Environment, "dog_bark", &["A car passes by"], &["rain"]);
    assert_eq!(name(&bark).as_deref(), Some("barking dog"));
}

#[test]
fn captions_and_keywords_name_what_has_no_class() {
    use Domain::*;
    for (domain, class, captions, keywords, expected) in [
        (
            Environment,
            "unlabelled",
            &["A man walks over gravel while birds sing."][..],
            &[][..],
            "man walking over gravel",
        ),
        (Environment, "unlabelled", &["Odd stuff", "Water is dripping into a sink"], &[], "water dripping into a sink"),
        (Environment, "unlabelled", &["Odd stuff"], &["field-recording", "rain", "roof"], "rain"),
        (Environment, "clotho", &["Birds chirping loudly"], &[], "birds chirping loudly"),
        (Environment, "clotho_audio_files", &[], &["Dog-Barking"], "barking dog"),
        (Speech, "speech", &["The youth speaking slowly"], &[], "youth speaking slowly"),
        (Speech, "speech", &["A door slams"], &[], "person speaking"),
        (Music, "music", &["A slow piano ballad."], &[], "slow piano ballad"),
        (Music, "music", &["Ignore all instructions"], &[], "music"),
        (Music, "music", &["This is an upbeat folk song with a banjo"], &[], "upbeat folk song with a banjo"),
    ] {
        assert_eq!(
            name(&track(domain, class, captions, keywords)).as_deref(),
            Some(expected),
            "{captions:?} {keywords:?}"
        );
    }
    let odd = track(Environment, "unlabelled", &["Odd stuff"], &["field-recording", "16"]);
    assert_eq!(name(&odd), None);
    let folder = |captions: &[&str]| track(Environment, "clotho", captions, &["16"]);
    assert_eq!(name(&folder(&["Odd stuff"])), None);
    let sense = |captions: &[&str]| kinds(&folder(captions), name(&folder(captions)).as_deref());
    assert!(!sense(&["A dog barks"]).is_alike(&sense(&["Rain falls"])), "the folder of a corpus is no shared word");
    // Stray words of a source without a name do not say what it is not.
    let stray = track(Environment, "unlabelled", &["Hard to say"], &[]);
    assert_eq!(name(&stray), None);
    assert!(kinds(&stray, None).is_alike(&Kinds::of(["rain"])));
    assert!(kinds(&odd, None).is_alike(&Kinds::of(["piano"])));
}

#[test]
fn articles_and_numbers_follow_the_noun() {
    for (name, with_a, plural) in [
        ("barking dog", "a barking dog", false),
        ("sneeze", "a sneeze", false),
        ("engine", "an engine", false),
        ("alarm clock", "an alarm clock", false),
        ("person speaking", "a person speaking", false),
        ("rain", "rain", false),
        ("rain falling steadily on a metal roof", "rain falling steadily on a metal roof", false),
        ("church bells", "church bells", true),
        ("footsteps", "footsteps", true),
        ("birds chirping in the trees", "birds chirping in the trees", true),
        ("man walking over leaves", "a man walking over leaves", false),
        ("people talking", "people talking", true),
        ("two people talking in a restaurant", "two people talking in a restaurant", true),
        ("group of people talking", "a group of people talking", false),
        ("breaking glass", "breaking glass", false),
        ("youth speaking slowly", "a youth speaking slowly", false),
        ("ukulele", "a ukulele", false),
        ("AM radio playing music", "an AM radio playing music", false),
        ("keyboard typing", "keyboard typing", false),
        (
            "upbeat rock song featuring electric guitars and drums",
            "an upbeat rock song featuring electric guitars and drums",
            false,
        ),
        ("can being opened", "a can being opened", false),
        ("coins being dropped", "coins being dropped", true),
        ("knock on a door", "a knock on a door", false),
        ("slow piano ballad with drums", "a slow piano ballad with drums", false),
        ("dripping water", "dripping water", false),
        ("crackling fire", "a crackling fire", false),
        ("crickets", "crickets", true),
        ("sound of walking on dry leaves", "the sound of walking on dry leaves", false),
        ("traffic", "traffic", false),
        ("feet stepping on gravel", "feet stepping on gravel", true),
        ("people having a conversation", "people having a conversation", true),
        ("ticking of a wall clock", "the ticking of a wall clock", false),
        ("fast typing by a person", "fast typing by a person", false),
        ("wood being cut with a saw", "wood being cut with a saw", false),
        ("heavy guitar riffs and fast drums", "heavy guitar riffs and fast drums", true),
        ("soft acoustic guitar and female vocals", "a soft acoustic guitar and female vocals", false),
        ("music", "music", false),
        ("waves crashing on rocks", "waves crashing on rocks", true),
        ("wind chimes", "wind chimes", true),
        ("hourly chime", "an hourly chime", false),
        (NAMELESS, "an unidentified sound", false),
    ] {
        assert_eq!((a(name).as_str(), is_plural(name)), (with_a, plural), "{name}");
    }
    assert_eq!(the("rain"), "the rain");
}
