//! Task ids: the families of the paper's Table 5, and which tasks ask where something is.
//!
//! Benchmarks name their tasks freely; an id is placed by what it contains, and one that is placed nowhere is still
//! scored under its own name.

/// A family of the paper's Table 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name in the paper.
    pub name: &'static str,
    /// 1, 2 or 3.
    pub level: u8,
    /// Whether the answer is a place, or needs one.
    pub is_location: bool,
    /// Task ids that belong to it contain all words of one of these.
    marks: &'static [&'static [&'static str]],
}

const fn family(name: &'static str, level: u8, is_location: bool, marks: &'static [&'static [&'static str]]) -> Family {
    Family { name, level, is_location, marks }
}

/// The families; an id belongs to the first that it fits, so special ones stand before general ones.
pub const FAMILIES: [Family; 18] = [
    family("Attribute Verification", 2, false, &[&["bind"], &["attribute"], &["verif"]]),
    family("Relative Distance", 2, true, &[&["compare", "distance"], &["relative", "distance"]]),
    family("Relative Direction", 2, true, &[&["relative", "direction"]]),
    family("Query Location", 2, true, &[&["query_location"], &["location_given_identity"]]),
    family("Query Identity", 2, true, &[&["query_identity"], &["identity_given_location"]]),
    family("Scene Abduction", 3, false, &[&["abduct"]]),
    family("Causal Intent", 3, false, &[&["causal"]]),
    family("Rotate Observer", 3, true, &[&["rotat"]]),
    family("Source Removal", 3, false, &[&["remov"]]),
    family("Multi-hop Query", 3, true, &[&["multi_hop"], &["multihop"]]),
    family("Physical Consistency", 3, false, &[&["physical"], &["consistency"]]),
    family("Count Objects", 1, false, &[&["count"]]),
    family("Identify Speech Transcript", 1, false, &[&["transcript"]]),
    family("Identify Event Class", 1, false, &[&["class"]]),
    family("Localize Azimuth", 1, true, &[&["azimuth"]]),
    family("Localize Elevation", 1, true, &[&["elevation"]]),
    family("Estimate Distance", 1, true, &[&["distance"]]),
    family("Environment Acoustics", 1, false, &[&["environment"], &["acoustic"], &["reverb"]]),
];

/// The family that a task id fits, whatever its level; `None` for a task of another kind.
pub fn family_of(task: &str) -> Option<&'static Family> {
    let id: String =
        task.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    FAMILIES.iter().find(|f| f.marks.iter().any(|words| words.iter().all(|word| id.contains(word))))
}

/// Whether a task counts under "location": azimuth, elevation, distance, query location, query identity given
/// location, relative distance, relative direction, rotate observer, multi-hop; of tasks outside of the families those
/// whose id contains "direction" or "locali".
pub fn is_location(task: &str) -> bool {
    match family_of(task) {
        Some(family) => family.is_location,
        None => {
            let id = task.to_ascii_lowercase();
            id.contains("direction") || id.contains("locali")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_of_ours_has_its_family_and_level() {
        let tasks = [
            ("l1_count_objects", "Count Objects"),
            ("l1_identify_event_class", "Identify Event Class"),
            ("l1_identify_speech_transcript", "Identify Speech Transcript"),
            ("l1_localize_azimuth", "Localize Azimuth"),
            ("l1_localize_elevation", "Localize Elevation"),
            ("l1_estimate_distance", "Estimate Distance"),
            ("l1_environment_acoustics", "Environment Acoustics"),
            ("l2_bind_identity_location_distance", "Attribute Verification"),
            ("l2_query_location_given_identity", "Query Location"),
            ("l2_query_identity_given_location", "Query Identity"),
            ("l2_compare_object_distances", "Relative Distance"),
            ("l2_relative_direction_between_objects", "Relative Direction"),
            ("l3_scene_abduction", "Scene Abduction"),
            ("l3_causal_intent", "Causal Intent"),
            ("l3_rotate_observer", "Rotate Observer"),
            ("l3_source_removal", "Source Removal"),
            ("l3_multi_hop_query", "Multi-hop Query"),
            ("l3_physical_consistency", "Physical Consistency"),
        ];
        for (task, name) in tasks {
            let family = family_of(task).unwrap();
            assert_eq!((family.name, family.level), (name, task.as_bytes()[1] - b'0'), "{task}");
        }
        let location = tasks.iter().filter(|(task, _)| is_location(task)).count();
        assert_eq!(location, 9, "the nine of the contract");
        assert_eq!(family_of("Relative Direction").unwrap().name, "Relative Direction");
        assert!(family_of("l2_loudness").is_none() && !is_location("l2_loudness") && is_location("l1_direction_deg"));
    }
}
