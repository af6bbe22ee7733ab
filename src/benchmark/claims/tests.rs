//! Claims at their margins.

use super::super::facts::tests::{facts, source};
use super::Verdict::*;
use super::*;

fn scene() -> Facts {
    let mut speech = source("speech", 200.0 - 360.0, -20.0, 4.0);
    speech.transcript = Some("Seven, please!".into());
    facts(vec![source("dog_bark", 30.0, 15.0, 1.0), speech, source("rain", 100.0, 2.0, 2.5)])
}

#[test]
fn claims_about_places_keep_their_margins() {
    let scene = scene();
    let azimuth = |deg, turn_deg| Claim::Azimuth { source: 0, deg, turn_deg }.verdict(&scene);
    assert_eq!(
        [azimuth(30.5, 0.0), azimuth(45.0, 0.0), azimuth(300.0, 90.0), azimuth(60.0, 0.0)],
        [True, Unclear, True, False]
    );
    let distance = |m| Claim::Distance { source: 1, m }.verdict(&scene);
    assert_eq!([distance(4.01), distance(4.5), distance(5.5)], [True, Unclear, False]);
    let sector =
        |source, centre_deg, turn_deg| Claim::Sector { source, centre_deg, width_deg: 90.0, turn_deg }.verdict(&scene);
    assert_eq!([sector(0, 0.0, 0.0), sector(1, 180.0, 0.0), sector(1, 0.0, 0.0)], [True, True, False]);
    assert_eq!(sector(0, 270.0, 90.0), True);
    assert_eq!(sector(0, 0.0, -10.0), Unclear);
    let beside = |a, b, left| Claim::Beside { a, b, left, facing: true }.verdict(&scene);
    assert_eq!([beside(2, 0, true), beside(0, 2, true), beside(1, 0, true)], [True, False, Unclear]);
    let out = |source, what, without| Claim::StandsOut { source, what, without }.verdict(&scene);
    assert_eq!(out(0, Extreme::Nearest, None), True);
    assert_eq!(out(2, Extreme::Nearest, Some(0)), True);
    assert_eq!(out(0, Extreme::Nearest, Some(0)), False);
    assert_eq!(out(1, Extreme::Lowest, None), True);
    // 20 degrees at 1 m are 0.34 m, 10 degrees at 4 m are 0.69 m: which one is higher?
    let steep = facts(vec![source("dog_bark", 0.0, 20.0, 1.0), source("rain", 90.0, 10.0, 4.0)]);
    assert_eq!(Claim::Above { a: 0, b: 1, higher: true }.verdict(&steep), Unclear);
    assert_eq!(Claim::StandsOut { source: 1, what: Extreme::Highest, without: None }.verdict(&steep), Unclear);
    let overhead = facts(vec![source("dog_bark", 30.0, 80.0, 1.0)]);
    let at = Claim::Azimuth { source: 0, deg: 30.0, turn_deg: 0.0 };
    assert_eq!(at.verdict(&overhead), Unclear, "an azimuth says little overhead");
    assert_eq!(Claim::CloserBy { a: 0, b: 1, m: 3.0 }.verdict(&scene), True);
    assert_eq!(Claim::CloserBy { a: 1, b: 0, m: 3.0 }.verdict(&scene), False);
    assert_eq!(Claim::Distance { source: 7, m: 1.0 }.verdict(&scene), False);
}

#[test]
fn claims_about_contents_counts_and_rooms() {
    let scene = scene();
    let count = |region, n| Claim::Count { region, n }.verdict(&scene);
    assert_eq!([count(Region::Anywhere, 3), count(Region::Left, 2), count(Region::Right, 1)], [True, True, True]);
    assert_eq!([count(Region::Above, 2), count(Region::Near, 1), count(Region::Near, 2)], [Unclear, True, False]);
    // 6 degrees from the middle of the rear, left and right mean nothing.
    let rear = facts(vec![source("rain", -174.0, 0.0, 3.0)]);
    let left = Claim::Count { region: Region::Left, n: 0 };
    assert_eq!((left.verdict(&rear), plain("Too late, Anna!")), (Unclear, "two late anna".into()));
    let says = |text: &str| Claim::Says { source: 1, text: text.into() }.verdict(&scene);
    assert_eq!([says("seven please"), says("seven"), says("sevenths"), says("nine")], [True, Unclear, False, False]);
    let size = |size: &str| Claim::RoomSize { size: size.into() }.verdict(&scene);
    assert_eq!([size("small"), size("large")], [True, False]);
    let both = |a: usize, m: f64| {
        let called = Claim::Called { source: 0, label: "barking dog".into() };
        Claim::both(called, Claim::Distance { source: a, m }).verdict(&scene)
    };
    assert_eq!([both(0, 1.0), both(0, 1.2), both(0, 3.0)], [True, Unclear, False]);
    let pair = |deg, m| Claim::both(Claim::Elevation { source: 0, deg }, Claim::Wall { side: Side::Up, m });
    let (printed, read) = (pair(-0.004, 1.115), pair(0.0, 1.11));
    let turned = |deg| Claim::Azimuth { source: 0, deg, turn_deg: 0.0 };
    assert_eq!(turned(359.996).as_printed(), turned(0.0));
    assert_eq!(Claim::Not { of: Box::new(printed) }.as_printed(), Claim::Not { of: Box::new(read) });
    // Measured 0.9 s: what is heard, not the 0.6 s of Eyring's formula.
    let fades = |s| Claim::ReverberationTime { s }.verdict(&scene);
    assert_eq!([fades(0.9), fades(1.1), fades(0.6)], [True, Unclear, False]);
    let finish = |scene: &Facts, finish: &str| Claim::RoomFinish { finish: finish.into() }.verdict(scene);
    assert_eq!([finish(&scene, "reflective"), finish(&scene, "moderate")], [True, False]);
    let border = scene.changed(|truth| truth.room.as_mut().unwrap().absorption = 0.19);
    assert_eq!([finish(&border, "reflective"), finish(&border, "moderate")], [Unclear, Unclear]);
    let text = serde_json::to_string(&Claim::Wall { side: Side::Up, m: 0.4 }).unwrap();
    assert_eq!(text, r#"{"claim":"wall","side":"up","m":0.4}"#);
}

#[test]
fn claims_about_what_cannot_be() {
    // The room is 4 x 4.5 x 2.7 m, the listener at (2, 2, 1.7); the speech is 3.5 m behind, outside of it.
    let scene = scene();
    let wall = |side, m| Claim::Wall { side, m }.verdict(&scene);
    // The rain is 2.46 m to the left: a wall 1.5 m away would stand before it, one at 2.1 m is merely wrong.
    assert_eq!([wall(Side::Left, 2.5), wall(Side::Left, 2.1), wall(Side::Left, 1.5)], [True, Unclear, False]);
    assert_eq!([wall(Side::Right, 2.0), wall(Side::Right, 1.0)], [True, Unclear], "no sound is that far to the right");
    let reach = |side, m| Claim::Reach { side, m }.verdict(&scene);
    assert_eq!([reach(Side::Up, 0.7), reach(Side::Up, 1.2), reach(Side::Up, 1.8)], [True, Unclear, False]);
    assert_eq!([reach(Side::Front, 1.7), reach(Side::Front, 2.5), reach(Side::Front, 2.8)], [True, Unclear, False]);
    let remain = |n, without| Claim::Remain { region: Region::Left, n, without }.verdict(&scene);
    assert_eq!([remain(2, 1), remain(1, 0), remain(1, 1), remain(1, 7)], [True, True, False, False]);
}

#[test]
fn claims_about_situations() {
    let scene = scene();
    let near = |source, near| Claim::Near { source, near }.verdict(&scene);
    assert_eq!(
        [near(0, true), near(1, false), near(1, true), near(2, false), near(2, true)],
        [True, True, False, Unclear, False]
    );
    let together = |a, b, together| Claim::Together { a, b, together }.verdict(&scene);
    // 70 degrees apart, and 169.
    assert_eq!([together(0, 2, true), together(0, 2, false), together(0, 1, false)], [Unclear, False, True]);
    let rings = |rings| Claim::Rings { rings }.verdict(&scene);
    assert_eq!([rings(true), rings(false)], [True, False]);
    let plays = |source, role: &str| Claim::Plays { source, role: role.into() }.verdict(&scene);
    assert_eq!([plays(0, "dog"), plays(2, "dog"), plays(0, "nobody")], [True, False, False]);
    let last = |scene: &Facts| [0, 1, 2].map(|source| Claim::BeginsLast { source }.verdict(scene));
    assert_eq!(last(&scene), [Unclear, Unclear, Unclear]);
    let scene = scene.changed(|truth| truth.sources[1].active_s = vec![[1.2, 1.4], [2.0, 5.0]]);
    assert_eq!(last(&scene), [False, True, False]);
}
