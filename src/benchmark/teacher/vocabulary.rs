//! The vocabulary of claims as prompts document it: for each task what an option may assert, with one example.

use super::super::task::Task;

/// The claims of a task.
pub(super) struct Vocabulary {
    /// What their fields mean.
    pub fields: &'static str,
    /// One claim, for an option in the words beside it.
    pub example: [&'static str; 2],
}

/// Fields, an option and its claim.
type Entry = (&'static str, &'static str, &'static str);

/// What an option of this task may assert.
pub(super) fn vocabulary(task: Task) -> Vocabulary {
    let (fields, option, claim) = match task.level() {
        1 => of_perception(task),
        2 => of_integration(task),
        _ => of_reasoning(task),
    };
    Vocabulary { fields, example: [option, claim] }
}

fn of_perception(task: Task) -> Entry {
    match task {
        Task::CountObjects => (
            "count: n sources in region (anywhere, left, right, front, behind, above, below, near; near is less than 2 m away; \
             left and the like are halves seen from the listener). Two counts in one option are all of both: first the one \
             anywhere",
            "three sources, one of which is to the left",
            r#"{"claim":"all","of":[{"claim":"count","region":"anywhere","n":3},{"claim":"count","region":"left","n":1}]}"#,
        ),
        Task::IdentifyEventClass => (
            "present: a sound called label is heard",
            "the barking dog",
            r#"{"claim":"present","label":"barking dog"}"#,
        ),
        Task::IdentifySpeechTranscript => (
            "says: the source with this number says text",
            "\"good morning\"",
            r#"{"claim":"says","source":0,"text":"good morning"}"#,
        ),
        Task::LocalizeAzimuth => (
            "azimuth: of the source with this number, in degrees counter-clockwise from the front, 0 to 360; 90 is left. turn_deg is 0",
            "about 30.00° to the right",
            r#"{"claim":"azimuth","source":0,"deg":330.0,"turn_deg":0.0}"#,
        ),
        Task::LocalizeElevation => (
            "elevation: of the source with this number, up positive. elevation_within: from low_deg to high_deg, 5 degrees inside \
             what the option says: above ear level is 5 to 90, below it -90 to -5, at it -5 to 5; more than 30 above is 35 to 90; \
             10 to 30 below is -25 to -15",
            "12.00° below ear level",
            r#"{"claim":"elevation","source":0,"deg":-12.0}"#,
        ),
        Task::EstimateDistance => (
            "distance: of the source with this number, in metres",
            "2.13 metres",
            r#"{"claim":"distance","source":0,"m":2.13}"#,
        ),
        Task::EnvironmentAcoustics => (
            "reverberation_time: in seconds; or all of room_size (small, medium, large) and room_finish (reflective, moderate, \
             absorptive)",
            "a small room with hard walls",
            r#"{"claim":"all","of":[{"claim":"room_size","size":"small"},{"claim":"room_finish","finish":"reflective"}]}"#,
        ),
        _ => unreachable!("a task of another level"),
    }
}

fn of_integration(task: Task) -> Entry {
    match task {
        Task::BindIdentityLocationDistance | Task::QueryLocation => (
            "all of direction (azimuth_deg counter-clockwise from the front, 0 to 360, and elevation_deg, up positive) and distance \
             (m) of the source with this number; for a direction word sector in place of direction, with centre_deg (0 front, \
             45 front-left, 90 left, and so on), width_deg 45 and turn_deg 0",
            "the rain at azimuth 90.00°, elevation -5.00°, 2.13 m away",
            r#"{"claim":"all","of":[{"claim":"direction","source":0,"azimuth_deg":90.0,"elevation_deg":-5.0},{"claim":"distance","source":0,"m":2.13}]}"#,
        ),
        Task::QueryIdentity => (
            "called: the source at the place asked about is called label. Who knows its number gives it as source in all four \
             options, who does not gives 0",
            "the rain",
            r#"{"claim":"called","source":0,"label":"rain"}"#,
        ),
        Task::CompareDistances => (
            "closer_by: source a is closer than source b by m metres. Who is farther is b",
            "source 1 is farther away than source 0, by 1.23 m",
            r#"{"claim":"closer_by","a":0,"b":1,"m":1.23}"#,
        ),
        Task::RelativeDirection => (
            "all of beside (source a is to the left of source b, else to the right; facing is true where the listener has turned to \
             b) and above (source a is higher than source b, else lower); a is asked about, b is the reference",
            "to the right and higher up",
            r#"{"claim":"all","of":[{"claim":"beside","a":0,"b":1,"left":false,"facing":false},{"claim":"above","a":0,"b":1,"higher":true}]}"#,
        ),
        _ => unreachable!("a task of another level"),
    }
}

fn of_reasoning(task: Task) -> Entry {
    match task {
        Task::SceneAbduction | Task::CausalIntent => {
            ("the sentences of the data say themselves what they assert: leave out the field claims", "", "")
        }
        Task::RotateObserver => (
            "sector of the source with this number after the turn: centre_deg 0 front, 90 left, 180 back, 270 right, width_deg 90; \
             or azimuth: deg after the turn. turn_deg is how far the listener has turned to the left; a turn to the right is \
             negative",
            "on the left (after a turn of 90° to the right)",
            r#"{"claim":"sector","source":0,"centre_deg":90.0,"width_deg":90.0,"turn_deg":-90.0}"#,
        ),
        Task::SourceRemoval => (
            "all of two: stands_out (source is the nearest, farthest, highest or lowest, what, of all but the source without, which is \
             the removed one), remain (n sources in region, without that one)",
            "one of the two is to the left, and nearest is the rain",
            r#"{"claim":"all","of":[{"claim":"remain","region":"left","n":1,"without":2},{"claim":"stands_out","source":0,"what":"nearest","without":2}]}"#,
        ),
        Task::MultiHopQuery => (
            "all of stands_out (source is what: nearest, farthest, highest or lowest; without is null) and sector of the same source, \
             with centre_deg (0 front, 45 front-left, 90 left, and so on), width_deg 45 and turn_deg 0",
            "the rain, from the front-left",
            r#"{"claim":"all","of":[{"claim":"stands_out","source":0,"what":"nearest","without":null},{"claim":"sector","source":0,"centre_deg":45.0,"width_deg":45.0,"turn_deg":0.0}]}"#,
        ),
        Task::PhysicalConsistency => (
            "not, because the question asks for what cannot be: of wall (side front, left, back, right or up for the ceiling; m metres \
             from the listener), of reach (a sound could come from m metres on this side) or of reverberation_time (s)",
            "the wall to the left is 1.23 m away",
            r#"{"claim":"not","of":{"claim":"wall","side":"left","m":1.23}}"#,
        ),
        _ => unreachable!("a task of another level"),
    }
}

/// Whether options of this task are sentences of ours, without claims beside them.
pub(super) fn is_told_by_us(task: Task) -> bool {
    matches!(task, Task::SceneAbduction | Task::CausalIntent)
}

#[cfg(test)]
mod tests {
    use super::super::super::claims::Claim;
    use super::*;

    #[test]
    fn every_example_is_a_claim() {
        for task in Task::ALL.into_iter().filter(|task| !is_told_by_us(*task)) {
            let claim = vocabulary(task).example[1];
            assert!(serde_json::from_str::<Claim>(claim).is_ok(), "{claim}");
        }
    }
}
