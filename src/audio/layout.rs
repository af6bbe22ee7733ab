//! Which channels of an Ambisonics file make its first order.

use super::foa::Convention;
use crate::error::{Error, Result};

/// What is taken of a file's channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Channels from the first on.
    pub keep: usize,
    /// What the others are, for a warning.
    pub note: Option<String>,
}

/// The first order in a file of so many channels. ACN order keeps it in front at every order, and so does Furse-Malham
/// (the `.amb` convention: <https://ambisonics.ch/page/b-format-file-format>), whose horizontal files (3, 5, 7 channels)
/// have no Z. Ambisonics players also know a head-locked stereo pair behind the ACN channels, which is not of the scene.
///
/// # Errors
/// `Data` for a number of channels that no Ambisonics file has.
pub fn layout(channels: usize, convention: Convention) -> Result<Layout> {
    let note = match convention {
        Convention::Ambix | Convention::N3d => acn(channels),
        Convention::Fuma | Convention::Wxyz => furse_malham(channels),
    };
    let Some(note) = note else {
        return Err(Error::data(format!("channels is {channels}, First-Order Ambisonics has 4"))
            .hint("export as 4-channel AmbiX (W, Y, Z, X; SN3D) or as a FuMa .amb file"));
    };
    let is_horizontal = matches!(convention, Convention::Fuma | Convention::Wxyz) && matches!(channels, 3 | 5 | 7);
    Ok(Layout { keep: if is_horizontal { 3 } else { 4 }, note: (!note.is_empty()).then_some(note) })
}

/// (order + 1)^2 channels, or those and a pair.
fn acn(channels: usize) -> Option<String> {
    let order = |n: usize| (1..=7usize).find(|order| (order + 1).pow(2) == n);
    match (order(channels), order(channels.wrapping_sub(2))) {
        (Some(1), _) => Some(String::new()),
        (Some(order), _) => {
            Some(format!("Ambisonics of order {order}, the first four channels (first order) are used"))
        }
        (None, Some(order)) => Some(format!(
            "{channels} channels are Ambisonics of order {order} and a head-locked stereo pair: the first four are used"
        )),
        (None, None) => None,
    }
}

fn furse_malham(channels: usize) -> Option<String> {
    Some(match channels {
        3 => "3 channels W, X, Y (horizontal), Z is silent".into(),
        4 => String::new(),
        5 | 7 => format!("{channels} channels are horizontal Ambisonics: W, X, Y are used, Z is silent"),
        6 | 8 | 11 => {
            format!("{channels} channels are Ambisonics of mixed order: the first four (W, X, Y, Z) are used")
        }
        9 | 16 => {
            let order = if channels == 9 { 2 } else { 3 };
            format!("Ambisonics of order {order}, the first four channels (first order) are used")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_and_every_amb_layout_has_its_first_order_in_front() {
        let keep = |channels, convention| layout(channels, convention).map(|l| l.keep).ok();
        for acn in [Convention::Ambix, Convention::N3d] {
            let accepted: Vec<usize> = (1..=70).filter(|&n| keep(n, acn) == Some(4)).collect();
            assert_eq!(accepted, [4, 6, 9, 11, 16, 18, 25, 27, 36, 38, 49, 51, 64, 66]);
        }
        // The table of the .amb convention, with and without height.
        for fuma in [Convention::Fuma, Convention::Wxyz] {
            let with = |n| (1..=70).filter(|&channels| keep(channels, fuma) == Some(n)).collect::<Vec<usize>>();
            assert_eq!((with(3), with(4)), (vec![3, 5, 7], vec![4, 6, 8, 9, 11, 16]));
        }
        assert!(layout(4, Convention::Ambix).unwrap().note.is_none());
        assert!(layout(6, Convention::Ambix).unwrap().note.unwrap().contains("head-locked"));
        assert!(layout(6, Convention::Fuma).unwrap().note.unwrap().contains("mixed"));
    }
}
