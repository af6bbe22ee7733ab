//! What the prompt says about each kind of question: examples of questions and options in forms that can be read back.

/// How a kind of question may be written. Words in capitals stand for what the scene offers.
pub(super) struct Form {
    /// What is asked.
    pub task: &'static str,
    /// Wordings of the question.
    pub questions: &'static [&'static str],
    /// Wordings of an option.
    pub options: &'static [&'static str],
    /// What makes an option right, and how far wrong ones keep from it.
    pub rule: &'static str,
}

const PLACE: &str = "right: within 0.5 degrees and 0.03 m; wrong: a direction more than 20 degrees off, or a distance off \
                     by more than a third and 0.5 m";
const GRID: &str = "two facts per option: the right one has both right, two have one of them wrong, one has both wrong";

/// The form of a kind; `None` for kinds of our own that cannot be read back and are not asked for.
pub(super) fn form(kind: &str) -> Option<Form> {
    let (task, questions, options, rule): (_, &[&str], &[&str], _) = match kind {
        "azimuth" => (
            "the azimuth of one named source",
            &[
                "At what azimuth is the LABEL, counted counter-clockwise from the front?",
                "What is the azimuth of the LABEL?",
            ],
            &["123.45°"],
            "right: within 0.5 degrees; all four at least 25 degrees apart",
        ),
        "elevation" => (
            "the elevation of one named source, as a number",
            &["What is the elevation of the LABEL?", "At what elevation is the LABEL?"],
            &["-12.34°"],
            "right: within 0.5 degrees; all four at least 12 degrees apart",
        ),
        "elevation band" => (
            "the elevation of one named source, as a band",
            &["What is the elevation of the LABEL?", "How high is the LABEL, as an angle from ear level?"],
            &["more than 20° above ear level", "less than 20° below ear level"],
            "the four options are the four bands around 20 degrees; the elevation keeps at least 5 degrees from 0 and 20",
        ),
        "distance" => (
            "the distance of one named source",
            &["How far away is the LABEL?", "What is the distance between the listener and the LABEL?"],
            &["2.13 m"],
            "right: within 0.03 m; all four apart by at least a third of the larger one and 0.5 m",
        ),
        "reverberation time" => (
            "the reverberation time of the room",
            &[
                "What is the reverberation time of this room?",
                "How long is the reverberation time (RT60) of this room?",
            ],
            &["0.52 s"],
            "right: within two per cent; all four at least a factor of 1.5 apart",
        ),
        _ => return form_of_contents(kind),
    };
    Some(Form { task, questions, options, rule })
}

fn form_of_contents(kind: &str) -> Option<Form> {
    let (task, questions, options, rule): (_, &[&str], &[&str], _) = match kind {
        "plain count" => (
            "how many sources there are",
            &["How many independent sound sources are audible?", "What is the number of sound sources?"],
            &["two", "three"],
            "four different numbers in words",
        ),
        "count in a region" => (
            "how many sources are in one region (REGION: to the left of the listener, to the right of the listener, in front \
             of the listener, behind the listener, above ear level, below ear level, less than two metres away)",
            &["How many of the audible sound sources are REGION?"],
            &["zero", "one"],
            "four different numbers in words; left and right, front and behind are halves; no source within 10 degrees of \
             the border (5 degrees for ear level, 0.3 m for two metres)",
        ),
        "count and region" => (
            "how many sources there are, and how many of them in one region (REGION: to the left of the listener, to the \
             right of the listener, in front of the listener, behind the listener, above ear level, below ear level)",
            &["Which description of the number and the place of the sound sources is right?"],
            &["three sources, of which one REGION"],
            GRID,
        ),
        "class" => (
            "which of four sounds is heard",
            &["Which of these sounds can be heard?", "Which sound event occurs?"],
            &["LABEL"],
            "one label of the scene, three of labels_for_wrong_options",
        ),
        "transcript" => (
            "what the speaker says",
            &["What does the speaker say?", "Which words are spoken?"],
            &["\"TRANSCRIPT\""],
            "the transcript of the scene and three of transcripts_for_wrong_options, word for word",
        ),
        "room" => (
            "size and walls of the room (SIZE: small, medium, large; WALLS: hard, reflective walls; walls that absorb \
             moderately; soft, absorptive walls)",
            &["Which description fits the room?", "What kind of room is this?"],
            &["a SIZE room with WALLS"],
            GRID,
        ),
        "identity" => (
            "what is at a place",
            &["What sound is coming from the DIRECTION, about 2.1 m away?"],
            &["LABEL"],
            "DIRECTION is one of the eight directions of the data and only this source is there; the right label, those of \
             other sources, and labels_for_wrong_options",
        ),
        "situation" => (
            "what is going on",
            &["What is the most plausible explanation of this scene?", "What is most likely going on here?"],
            &["SITUATION"],
            "the four situations word for word, all four of one group; the one whose places and room are those of the data is \
             right",
        ),
        "purpose" => (
            "what the sound that begins last is for",
            &["What is the sound that begins last most likely for?"],
            &["PURPOSE"],
            "the four purposes word for word, all four of one group; the one whose order and places are those of the data is \
             right",
        ),
        _ => return form_of_relations(kind),
    };
    Some(Form { task, questions, options, rule })
}

fn form_of_relations(kind: &str) -> Option<Form> {
    let (task, questions, options, rule): (_, &[&str], &[&str], _) = match kind {
        "direction and distance" => (
            "which statement binds sound, direction and distance rightly",
            &["Which statement describes content, location and distance correctly?"],
            &["the LABEL at azimuth 123.45°, elevation -12.34°, 2.13 m away"],
            PLACE,
        ),
        "location" => (
            "where one named source is",
            &["Where is the LABEL?", "Where does the LABEL come from?"],
            &["azimuth 123.45°, elevation -12.34°, 2.13 m"],
            PLACE,
        ),
        "closer" => (
            "which of two named sources is closer, and by how much",
            &["Which is closer to the listener, the LABEL or the LABEL, and by how much?"],
            &["the LABEL is closer than the LABEL, by about 1.23 m"],
            "right: the difference of the two distances within 0.03 m; wrong: the wrong one is closer, or the difference is \
             off by at least 0.6 m",
        ),
        "relative direction" => (
            "where one named source is, seen from another",
            &["As the listener hears it, where is the LABEL relative to the LABEL?"],
            &["further to the left and higher up"],
            "the four combinations of left and right, higher up and lower down; left is counter-clockwise; take two sources whose \
             azimuths differ by 15 to 150 degrees and whose elevations by at least 8",
        ),
        _ => return form_of_reasoning(kind),
    };
    Some(Form { task, questions, options, rule })
}

fn form_of_reasoning(kind: &str) -> Option<Form> {
    let (task, questions, options, rule): (_, &[&str], &[&str], _) = match kind {
        "side after a turn" => (
            "on which side one named source is after a turn of 90 or 180 degrees",
            &["The listener turns 90° to the left. Where is the LABEL then?"],
            &["front", "left", "back", "right"],
            "a turn to the left lowers the azimuth; the new azimuth keeps at least 10 degrees from 45, 135, 225 and 315",
        ),
        "azimuth after a turn" => (
            "the azimuth of one named source after a turn",
            &["The listener turns 60° to the right. What is the new azimuth of the LABEL?"],
            &["123.45°"],
            "a turn to the left lowers the azimuth by as much, one to the right raises it; right: within 0.5 degrees; all \
             four at least 25 degrees apart",
        ),
        "two remain" => (
            "what holds when one of three sources is removed",
            &["If the LABEL is removed, which statement remains true?"],
            &["nearest is then the LABEL, highest up the LABEL"],
            "about the two sources that are left",
        ),
        "how many remain" => (
            "how many of two remaining sources are in one region when one of three is removed (REGION: to the left of the \
             listener, to the right of the listener, in front of the listener, behind the listener, above ear level, below \
             ear level), and which of the two is the nearest",
            &["If the LABEL is removed, which statement is true of the rest?"],
            &[
                "one of the two that remain is REGION, and nearest is then the LABEL",
                "none of the two that remain is REGION, and nearest is then the LABEL",
                "both that remain are REGION, and nearest is then the LABEL",
            ],
            GRID,
        ),
        "multi-hop" => (
            "find a source by one property (nearest, farthest, highest up or lowest down), tell its direction",
            &["Which sound is nearest, and where does it come from?"],
            &["the LABEL, from the DIRECTION"],
            "it leads by a fifth of the distance and 0.5 m, or by 10 degrees of elevation; wrong: another source, or another \
             direction",
        ),
        "walls" | "reach" | "mixed" => (
            "what cannot be in this room: three options are true or possible, the right answer is the one that is not",
            &["Which statement is physically impossible given the room?"],
            &[
                "the wall to the left of the listener is about 1.23 m away",
                "the ceiling is about 1.23 m above the listener's ears",
                "a sound could come from 2.34 m away straight in front of the listener",
                "sounds in this room fade by 60 dB within about 0.52 s",
            ],
            "walls are in front of, to the left of, behind or to the right of the listener; true: a wall or a time within two per \
             cent, or a sound clearly inside the room; impossible: a wall at least 0.7 m and a third nearer than a source on \
             its side, a sound at least 0.8 m and 40 per cent beyond the wall, a time off by a factor of at least 2",
        ),
        _ => return None,
    };
    Some(Form { task, questions, options, rule })
}
