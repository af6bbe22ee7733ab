//! Reading what scenes mean: the sentences of [`situations`](super::super::situations), word for word but for articles and
//! punctuation, of scripts whose roles the scene's sources play.

use super::super::claims::Claim;
use super::super::situations::{Cast, WORDINGS, casts};
use super::tokens::{Token, tokens};
use super::{Asked, Unreadable};

type Read = Result<[Claim; 4], Unreadable>;

const SIDES: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

/// Every sentence about the scene in tokens, with what it asserts.
fn sentences(asked: &Asked, of: impl Fn(&Cast) -> Vec<(String, Claim)>) -> Vec<(Vec<Token>, Claim)> {
    let all = casts(asked.facts);
    let all = all.iter().flat_map(of);
    all.filter_map(|(text, claim)| Some((tokens(&text)?, claim))).collect()
}

fn read_options(asked: &Asked, known: &[(Vec<Token>, Claim)]) -> Read {
    asked.each(|option| known.iter().find(|(text, _)| text == option).map(|(_, claim)| claim.clone()))
}

pub(super) fn scene_abduction(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "what is most plausible/likely explanation of/for this scene"),
        ((), "what is most plausible/likely explanation of/for what is heard"),
        ((), "what is most? likely/probably going on/happening here?"),
        ((), "what is most? likely/probably happening"),
        ((), "which situation best? explains sounds/scene best?"),
        ((), "taken together what do sounds their places and room tell"),
        ((), "which account/situation fits everything that can be heard"),
        ((), "what would somebody who hears this scene say is happening"),
    ];
    asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let worded = |cast: &Cast, sides, wording| (cast.situation(sides, wording), cast.situation_claim(sides));
    let known = sentences(asked, |cast| {
        SIDES
            .into_iter()
            .flat_map(|sides| (0..WORDINGS).map(move |w| (sides, w)))
            .map(|(s, w)| worded(cast, s, w))
            .collect()
    });
    read_options(asked, &known)
}

pub(super) fn causal_intent(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "what is sound that begins/starts last most? likely/probably for"),
        ((), "follow order of sounds what is last 1 to begin/start meant to do"),
        ((), "what does whoever makes sound that begins/starts last probably? want"),
        ((), "1 sound begins/starts after others why most? likely/probably"),
        ((), "what is most plausible/likely purpose of sound that sets in last"),
        ((), "what is most plausible/likely purpose of sound that begins/starts last"),
    ];
    asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let purpose = |cast: &Cast, [reversed, side]: [bool; 2]| {
        Some((cast.purpose(reversed, side)?.to_string(), cast.purpose_claim(reversed, side)))
    };
    let known = sentences(asked, |cast| SIDES.into_iter().filter_map(|sides| purpose(cast, sides)).collect());
    read_options(asked, &known)
}
