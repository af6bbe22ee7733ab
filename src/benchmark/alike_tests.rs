//! Pairs of names that may, and that cannot, be names of one sound.

use super::*;

fn alike(a: &str, b: &str) -> bool {
    let (a, b) = (Kinds::of([a]), Kinds::of([b]));
    assert_eq!(a.is_alike(&b), b.is_alike(&a));
    a.is_alike(&b)
}

#[test]
fn names_that_may_mean_one_sound() {
    for (a, b) in [
        ("rain", "rain"),
        ("dog barking in the yard", "barking dog"),
        ("puppy yapping", "barking dog"),
        ("man talking", "person speaking"),
        ("woman giving a lecture", "person speaking"),
        ("male voice", "female speech"),
        ("youth speaking slowly", "speech"),
        ("people chatting in a cafe", "conversation"),
        ("crowd", "people talking"),
        ("person", "person speaking"),
        ("man", "cough"),
        ("vehicle passing by", "car driving on a wet street"),
        ("motor running", "idling engine"),
        ("truck idling", "car horn"),
        ("engine idling", "chainsaw"),
        ("animal", "rooster"),
        ("birds chirping", "seagulls"),
        ("hens clucking", "bird"),
        ("music", "piano"),
        ("guitar being strummed", "slow folk song"),
        ("upbeat jazz with a saxophone", "music with drums"),
        ("water drops", "rain"),
        ("waves crashing on a shore", "water flowing"),
        ("stream", "water running from a faucet"),
        ("church bells", "bell"),
        ("phone ringing", "bell"),
        ("alarm", "siren"),
        ("beeping device", "alarm clock"),
        ("thunderstorm", "rain"),
        ("wind blowing", "storm"),
        ("footsteps", "man walking over gravel"),
        ("door slam", "creaking door"),
        ("knocking", "knock on a door"),
        ("glass breaking", "bottle smashing"),
        ("fireworks", "gunshot"),
        ("explosion", "thunder"),
        ("airplane", "aircraft"),
        ("applause", "audience clapping"),
        ("radio", "woman speaking"),
        ("radio", "music"),
        ("electrical hum", "refrigerator motor"),
        ("a zither", "two zithers"),
        ("insects buzzing", "bees"),
        ("keyboard typing", "typewriter"),
    ] {
        assert!(alike(a, b), "{a}, {b}");
    }
}

#[test]
fn names_that_mean_different_sounds() {
    for (a, b) in [
        ("rain", "wind"),
        ("dog barking", "rooster"),
        ("bell", "alarm beep"),
        ("sound of x", "call of y"),
        ("man walking over gravel", "person speaking"),
        ("person sneezing", "person speaking"),
        ("woman laughing", "man coughing"),
        ("church bells", "birds chirping"),
        ("car passing by", "slow piano ballad"),
        ("water flowing", "dog barking"),
        ("thunder", "person speaking"),
        ("clock ticking", "waves crashing"),
        ("keyboard typing", "rain"),
        ("door slamming", "cat meowing"),
        ("fire crackling", "train passing"),
        ("baby crying", "footsteps"),
        ("crickets", "dog barking"),
        ("helicopter", "chainsaw"),
        ("glass breaking", "music"),
        ("person snoring", "phone ringing"),
        ("frog croaking", "rain"),
        ("violin", "drum"),
        ("zither", "vuvuzela"),
        ("person typing on a keyboard", "person speaking"),
    ] {
        assert!(!alike(a, b), "{a}, {b}");
    }
}

#[test]
fn who_knows_nothing_takes_any_name() {
    let rain = Kinds::of(["rain"]);
    assert!(Kinds::open().is_alike(&rain) && rain.is_alike(&Kinds::open()));
    assert!(!Kinds::of(["zither"]).is_known() && rain.is_known());
    // Descriptions share words by chance; a name that one of them has is another matter.
    let typing = Kinds::described(["keyboard typing"], ["Odd business of a gadget"]);
    let frogs = Kinds::described(["frogs"], ["A frog and a gadget"]);
    assert!(!typing.is_alike(&frogs) && typing.is_alike(&Kinds::of(["gadget"])));
    // What captions add is heard as well: who barks in the rain is no wrong answer beside it.
    assert!(Kinds::of(["barking dog", "A dog barks while rain falls"]).is_alike(&rain));
    for word in ["barking", "barks", "barked", "Bark"] {
        assert_eq!(root(word), "bark");
    }
    assert_eq!(
        ["clapping", "waves", "cries", "sneezing", "glasses", "string"].map(root),
        ["clap", "wav", "cry", "sneez", "glass", "string"]
    );
}
