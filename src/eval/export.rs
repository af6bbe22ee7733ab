//! A benchmark for other people's programs: lm-evaluation-harness and VLMEvalKit, with the published prompt.

use crate::text::prompt::{PROMPT_NAME, prompt};
use crate::text::questions::{EXTENDED, EXTENDED_LEVEL, Question};
use serde_json::{Value, json};

/// A file to write: its name and bytes.
pub type File = (&'static str, Vec<u8>);

/// What pandas, which VLMEvalKit reads tables with, takes for a missing value.
const READ_AS_MISSING: [&str; 10] = ["", "None", "NA", "N/A", "NaN", "nan", "null", "NULL", "n/a", "<NA>"];

/// A level as a row has it.
fn level(question: &Question) -> Value {
    if question.level == EXTENDED_LEVEL { EXTENDED.into() } else { question.level.into() }
}

/// The rows for lm-evaluation-harness and two tasks on them: `twnm_mcq` hears the recordings (`audio` holds the path, the
/// answer's last letter counts), `twnm_mcq_text` compares the likelihoods of the letters without hearing anything.
pub fn lm_eval(questions: &[Question]) -> [File; 3] {
    let row = |q: &Question| {
        let row = json!({"sample_id": q.sample_id, "audio": q.file_name, "prompt": prompt(q), "choices": q.options(),
            "answer": q.answer_letter, "level": level(q), "task": q.task});
        format!("{row}\n")
    };
    let dataset = "dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: twnm_mcq.jsonl\ntest_split: test\n";
    let metadata = format!("metadata:\n  version: 1.0\n  prompt: {PROMPT_NAME}\n");
    let heard = format!(
        "task: twnm_mcq\n{dataset}output_type: generate_until\ndoc_to_text: \"{{{{prompt}}}}\"\ndoc_to_target: \"{{{{answer}}}}\"\n\
         doc_to_audio:\n  - audio\ngeneration_kwargs:\n  until:\n    - \"</s>\"\n  do_sample: false\n  max_gen_toks: 256\n\
         filter_list:\n  - name: letter\n    filter:\n      - function: regex\n        regex_pattern: \"\\\\b([ABCD])\\\\b\"\n        \
         group_select: -1\n      - function: take_first\nmetric_list:\n  - metric: exact_match\n    aggregation: mean\n    \
         higher_is_better: true\n{metadata}"
    );
    let read = format!(
        "task: twnm_mcq_text\n{dataset}output_type: multiple_choice\ndoc_to_text: \"{{{{prompt}}}}\"\n\
         doc_to_choice: [\"A\", \"B\", \"C\", \"D\"]\ndoc_to_target: answer\nmetric_list:\n  - metric: acc\n    \
         aggregation: mean\n    higher_is_better: true\n{metadata}"
    );
    [
        ("twnm_mcq.jsonl", questions.iter().map(row).collect::<String>().into_bytes()),
        ("twnm_mcq.yaml", heard.into_bytes()),
        ("twnm_mcq_text.yaml", read.into_bytes()),
    ]
}

/// The table for VLMEvalKit: `index` counts from 0, `category` is the task, `l2-category` the level.
pub fn vlmeval(questions: &[Question]) -> File {
    let header = [
        "index",
        "question",
        "A",
        "B",
        "C",
        "D",
        "answer",
        "category",
        "l2-category",
        "split",
        "audio_path",
        "sample_id",
    ];
    let mut table = header.join("\t") + "\n";
    for (index, q) in questions.iter().enumerate() {
        let answer = q.answer_letter.map_or(String::new(), |letter| letter.to_string());
        let [a, b, c, d] = q.options().map(String::from);
        let level = match q.level {
            EXTENDED_LEVEL => EXTENDED.to_string(),
            number => format!("level {number}"),
        };
        let split = if q.answer_letter.is_some() { "dev" } else { "test" };
        let cells = [
            index.to_string(),
            q.question.clone(),
            a,
            b,
            c,
            d,
            answer,
            q.task.clone(),
            level,
            split.into(),
            q.file_name.clone(),
            q.sample_id.clone(),
        ];
        table += &(cells.map(|text| cell(&text)).join("\t") + "\n");
    }
    ("twnm_mcq.tsv", table.into_bytes())
}

/// How many questions have an option that pandas takes for a missing one.
pub fn read_as_missing(questions: &[Question]) -> usize {
    questions.iter().filter(|q| q.options().iter().any(|option| READ_AS_MISSING.contains(option))).count()
}

/// A cell of a table; in quotes where it holds a tab, a quote or a line end.
fn cell(text: &str) -> String {
    match text.contains(['\t', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into(),
    }
}

/// The prompts of all questions, for programs of any kind.
pub fn prompts(questions: &[Question]) -> File {
    let row = |q: &Question| {
        format!("{}\n", json!({"sample_id": q.sample_id, "file_name": q.file_name, "prompt": prompt(q)}))
    };
    ("prompts.jsonl", questions.iter().map(row).collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::questions::Letter;

    fn questions() -> [Question; 2] {
        let text = |t: &str| t.to_string();
        let first = Question {
            file_name: text("audio/a.wav"),
            sample_id: text("001"),
            question: text("Who says \"yes\"?"),
            option_a: text("the dog"),
            option_b: text("None"),
            option_c: text("tab\there"),
            option_d: text("nobody"),
            answer_letter: Some(Letter::D),
            answer_text: None,
            level: 2,
            task: text("l2_who"),
        };
        [first.clone(), Question { sample_id: text("002"), answer_letter: None, option_b: text("b"), ..first }]
    }

    #[test]
    fn tables_are_as_pandas_reads_them() {
        let (name, bytes) = vlmeval(&questions());
        let expected = "index\tquestion\tA\tB\tC\tD\tanswer\tcategory\tl2-category\tsplit\taudio_path\tsample_id\n\
             0\t\"Who says \"\"yes\"\"?\"\tthe dog\tNone\t\"tab\there\"\tnobody\tD\tl2_who\tlevel 2\tdev\taudio/a.wav\t001\n\
             1\t\"Who says \"\"yes\"\"?\"\tthe dog\tb\t\"tab\there\"\tnobody\t\tl2_who\tlevel 2\ttest\taudio/a.wav\t002\n";
        assert_eq!((name, String::from_utf8(bytes).unwrap().as_str()), ("twnm_mcq.tsv", expected));
        assert_eq!(read_as_missing(&questions()), 1);
    }

    #[test]
    fn tasks_of_the_harness_name_the_columns_of_their_rows() {
        let [rows, heard, read] = lm_eval(&questions()).map(|(_, bytes)| String::from_utf8(bytes).unwrap());
        let row: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&row["answer"], &row["audio"], &row["choices"][3]),
            (&json!("D"), &json!("audio/a.wav"), &json!("nobody"))
        );
        assert!(row["prompt"].as_str().unwrap().contains("A. the dog\nB. None\n"));
        let expected = "task: twnm_mcq\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: twnm_mcq.jsonl\n\
             test_split: test\noutput_type: generate_until\ndoc_to_text: \"{{prompt}}\"\ndoc_to_target: \"{{answer}}\"\n\
             doc_to_audio:\n  - audio\ngeneration_kwargs:\n  until:\n    - \"</s>\"\n  do_sample: false\n  max_gen_toks: 256\n\
             filter_list:\n  - name: letter\n    filter:\n      - function: regex\n        regex_pattern: \"\\\\b([ABCD])\\\\b\"\n        \
             group_select: -1\n      - function: take_first\nmetric_list:\n  - metric: exact_match\n    aggregation: mean\n    \
             higher_is_better: true\nmetadata:\n  version: 1.0\n  prompt: twnm-mcq-1\n";
        assert_eq!(heard, expected);
        assert!(read.contains("output_type: multiple_choice\n") && read.contains("doc_to_target: answer\n"));
    }
}
