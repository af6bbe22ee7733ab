//! Rows of every form, and what is wrong with bad ones.

use super::*;
use crate::language::template::Role;

fn read(text: &str, form: Option<Form>) -> (Vec<Row>, Option<Error>, Rows) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, text).unwrap();
    let mut rows = Rows::open(&path, form).unwrap();
    let (mut good, mut bad) = (Vec::new(), None);
    for row in rows.by_ref() {
        match row {
            Ok(row) => good.push(row),
            Err(error) => bad = Some(error),
        }
    }
    (good, bad, rows)
}

/// Recordings, system and turns ("u: ..", "a: .."), of the only row.
fn only(text: &str) -> (Vec<String>, Option<String>, Vec<String>) {
    let (rows, error, _) = read(text, None);
    assert!(error.is_none() && rows.len() == 1, "{error:?}");
    let content = rows.into_iter().next().unwrap().content;
    let name = |role| if role == Role::User { "u" } else { "a" };
    let turns = content.conversation.turns.iter().map(|t| format!("{}: {}", name(t.role), t.content)).collect();
    let heard = content.recordings.iter().map(|r| format!("{}+{}", r.audio, r.reverb.as_deref().unwrap_or("")));
    (heard.collect(), content.conversation.system, turns)
}

#[test]
fn our_own_rows() {
    let align = r#"{"file_name": "audio/1.wav", "sample_id": "1", "question": "Where?", "answer": "Left.", "level": 1, "task": "l1"}"#;
    assert_eq!(only(align), (vec!["audio/1.wav+".into()], None, vec!["u: Where?".into(), "a: Left.".into()]));
    let columns = r#""sample_id": "1", "question": "Where?", "option_a": "1", "option_b": "2", "option_c": "3", "option_d": "4", "answer_letter": "B", "answer_text": "2", "level": 1, "task": "l1""#;
    let asked = "u: Where?\nA. 1\nB. 2\nC. 3\nD. 4";
    let sft = format!(
        r#"{{"file_name": "a.wav", {columns}, "reasoning": "r", "response": "<think>r</think><answer>B</answer>"}}"#
    );
    assert_eq!(only(&sft).2, [asked, "a: <think>r</think><answer>B</answer>"]);
    let sapo = format!(r#"{{"file_name": "a.wav", {columns}}}"#);
    assert_eq!(only(&sapo).2, [asked]);
    let text = format!(r#"{{{columns}, "description": "A room."}}"#);
    let (heard, _, turns) = only(&text);
    assert_eq!((heard, turns), (vec![], vec![asked.replace("u: ", "u: A room.\n"), "a: <answer>B</answer>".into()]));
    let chain = format!(
        r#"{{{columns}, "reasoning": "r", "response": "<think>r</think><answer>B</answer>", "description": "A room."}}"#
    );
    assert_eq!(
        only(&chain),
        (vec![], None, vec![asked.replace("u: ", "u: A room.\n"), "a: <think>r</think><answer>B</answer>".into()])
    );
    let open = r#"{"sample_id": "1", "question": "Where?", "answer": "Left.", "level": 1, "task": "l1", "description": "A room."}"#;
    assert_eq!(only(open), (vec![], None, vec!["u: A room.\nWhere?".into(), "a: Left.".into()]));
    let all = [
        (open, Form::Text),
        (align, Form::Align),
        (&sft, Form::Sft),
        (&sapo, Form::Sapo),
        (&text, Form::Text),
        (&chain, Form::Text),
    ];
    for (row, form) in all {
        let (_, _, rows) = read(row, None);
        assert_eq!((rows.form(), rows.unknown().len()), (Some(form), 0));
        assert_eq!(Form::parse(form.name()), Some(form));
    }
}

#[test]
fn letters_that_are_none_or_contradict_the_response_are_refused() {
    let row = |letter: &str, response: &str| {
        let text = format!(
            r#"{{"file_name": "a.wav", "question": "Where?", "option_a": "1", "option_b": "2", "option_c": "3", "option_d": "4", "answer_letter": "{letter}", "response": "{response}"}}"#
        );
        read(&text, None).1.map(|error| error.message().to_string())
    };
    let answer = "<think>A or B?</think><answer>B</answer>";
    assert_eq!([row("B", answer), row("b", answer), row("B", "It is over there.")], [None, None, None]);
    assert!(row("Z", answer).unwrap().contains("answer_letter is \"Z\""));
    assert!(row("C", answer).unwrap().contains("response answers B, answer_letter is C"));
}

#[test]
fn choices_from_which_nothing_can_be_learned_are_refused() {
    let row = |option_d: &str, text: &str, response: &str| {
        let row = serde_json::json!({"file_name": "a.wav", "question": "Where?", "option_a": "here", "option_b": "there",
            "option_c": "nowhere", "option_d": option_d, "answer_letter": "B", "answer_text": text, "response": response});
        read(&row.to_string(), None).1.map(|error| error.message().to_string())
    };
    let answer = "<answer>B</answer>";
    assert_eq!([row("up", "there", answer), row("up", "", answer)], [None, None]);
    for (option_d, text, response, said) in [
        ("here", "there", answer, "options A and D read alike"),
        (" ", "there", answer, "option_d is empty"),
        ("up", "here", answer, "is not option B"),
        ("up", "there", "<answer>A</answer><answer>B</answer>", "several <answer> tags"),
    ] {
        let error = row(option_d, text, response).unwrap_or_default();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn rows_of_llama_factory() {
    // As in the README of its data folder.
    let alpaca =
        r#"{"instruction": "i", "input": "in", "output": "o", "system": "s", "history": [["q1", "a1"], ["q2", "a2"]]}"#;
    let turns = ["u: q1", "a: a1", "u: q2", "a: a2", "u: i\nin", "a: o"];
    assert_eq!(only(alpaca), (vec![], Some("s".into()), turns.map(String::from).to_vec()));
    let plain = r#"{"instruction": "i", "input": "", "output": "o"}"#;
    assert_eq!(only(plain).2, ["u: i", "a: o"]);
    let sharegpt = r#"{"conversations": [{"from": "human", "value": "<audio>\nWhat is it?"}, {"from": "gpt", "value": "A dog."}], "audios": ["a/1.wav"]}"#;
    assert_eq!(only(sharegpt), (vec!["a/1.wav+".into()], None, vec!["u: What is it?".into(), "a: A dog.".into()]));
    let system = r#"{"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "<audio> h"}, {"from": "gpt", "value": "g"}]}"#;
    assert_eq!(only(system), (vec![], Some("s".into()), vec!["u: <audio> h".into(), "a: g".into()]));
}

#[test]
fn rows_of_bat() {
    let one = r#"{"audio_id": "balanced/Y1.wav", "reverb_id": "17DRP/0.npy", "audio_id2": null, "reverb_id2": null, "question_id": 4, "question_type": "B", "question": "Where?", "answer": "left; 2m"}"#;
    assert_eq!(
        only(one),
        (vec!["balanced/Y1.wav+17DRP/0.npy".into()], None, vec!["u: Where?".into(), "a: left; 2m".into()])
    );
    let two = one.replace(r#""audio_id2": null, "reverb_id2": null"#, r#""audio_id2": "b", "reverb_id2": "c""#);
    assert_eq!(only(&two).0, ["balanced/Y1.wav+17DRP/0.npy", "b+c"]);
}

#[test]
fn bad_rows_name_file_line_and_field() {
    let good = r#"{"instruction": "i", "output": "o"}"#;
    let cases = [
        ("{\"x\": 1}", ":1: no form of rows has the fields \"x\""),
        ("{}", ":1: no form of rows has the fields of an empty object"),
        ("[{\"instruction\": \"i\"}]", ":1: "),
        ("instruction,output", ":1: "),
        ("", ": no row in it"),
        ("\n\n", ": no row in it"),
        (&format!("{good}\n{{\"instruction\": 1, \"output\": \"o\"}}"), ":2: as alpaca row: instruction is a number"),
        (&format!("{good}\n\n{{\"instruction\": \"i\"}}"), ":3: as alpaca row: output is missing"),
        (r#"{"instruction": "i", "output": ""}"#, "output is empty"),
        (r#"{"instruction": "i", "output": "o", "history": [["q"]]}"#, "history[0]"),
        (r#"{"instruction": "i", "output": "o", "audios": ["a", "b"]}"#, "audios has 2"),
        (r#"{"instruction": "<audio><audio>", "output": "o", "audios": ["a"]}"#, "<audio> must come once"),
        (r#"{"conversations": [{"from": "human", "value": "h"}]}"#, "end with gpt"),
        (r#"{"conversations": [{"from": "gpt", "value": "h"}]}"#, "conversations[0]"),
        (r#"{"conversations": [{"from": "observation", "value": "h"}]}"#, "observation"),
        (r#"{"conversations": {"from": "human"}}"#, "a list is needed"),
        (r#"{"audio_id": "a", "question": "q"}"#, "answer is missing"),
        (&format!("{good}\n{{\"instruction\": \"{}\"}}", "x".repeat(1 << 20)), ":2: longer than"),
        (&"[".repeat(100_000), ":1: "),
    ];
    for (text, why) in cases {
        let (_, error, _) = read(text, None);
        let message = error.unwrap_or_else(|| panic!("{why}: accepted")).to_string();
        assert!(message.contains("rows.jsonl") && message.contains(why), "{message}");
    }
    let (_, error, _) = read(good, Some(Form::Bat));
    assert!(error.unwrap().message().contains("as bat row: audio_id is missing"));
}

#[test]
fn unknown_fields_are_counted() {
    let text = "{\"instruction\": \"i\", \"output\": \"o\", \"tag\": 1}\n".repeat(3)
        + r#"{"instruction": "i", "output": "o", "id": 2}"#;
    let (rows, error, file) = read(&text, None);
    assert!(rows.len() == 4 && error.is_none());
    assert_eq!(file.unknown().iter().map(|(n, c)| (n.as_str(), *c)).collect::<Vec<_>>(), [("id", 1), ("tag", 3)]);
    assert!(rows[3].place.ends_with("rows.jsonl:4"));
}
