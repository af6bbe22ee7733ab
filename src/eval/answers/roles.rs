//! What the words of an answer do in it: cues of a decision, of a negation, of a hypothesis, in English and Chinese.
//!
//! The grammar (see `decide`) knows roles alone, so that both languages share it.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a word does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// "answer", "solution".
    Answer,
    /// "option", "choice": what a letter may follow.
    Option,
    /// "choose", "pick", "say", "think": what decides.
    Choose,
    /// "is", "equals".
    Is,
    Correct,
    Wrong,
    Not,
    /// "rather than", "except".
    Except,
    /// "rule out", "eliminate".
    Exclude,
    If,
    Would,
    Maybe,
    Whether,
    So,
    But,
    Because,
    Although,
    Or,
    And,
    /// "unable", "unclear": no decision is made.
    Refuse,
    /// "tell", "sure": what a refusal negates.
    Know,
    /// "at first", "I thought": what was held once.
    Initially,
    /// "some", "people": who may say something.
    Others,
    /// "wait", "actually".
    Correction,
    /// "that", "it", "this": what stands for something said before.
    Pronoun,
    /// What may stand between a cue and what it points to.
    Filler,
    /// Everything else.
    Plain,
}

use Role::*;

const ENGLISH: &[(Role, &[&str])] = &[
    (Answer, &["answer", "answers", "solution", "boxed", "conclusion", "verdict"]),
    (Option, &["option", "options", "choice", "choices", "letter", "alternative"]),
    (
        Choose,
        &[
            "choose",
            "chose",
            "chosen",
            "choosing",
            "pick",
            "picked",
            "picking",
            "select",
            "selected",
            "selecting",
            "say",
            "guess",
            "go",
            "going",
            "prefer",
            "vote",
            "lean",
            "leaning",
            "settle",
            "settled",
            "think",
            "believe",
            "answering",
            "suggests",
            "suggest",
            "indicates",
            "indicate",
            "points",
            "gives",
            "yields",
            "supports",
            "leaves",
            "leaving",
            "conclude",
        ],
    ),
    (
        Is,
        &[
            "is",
            "are",
            "was",
            "were",
            "be",
            "been",
            "being",
            "it's",
            "that's",
            "answer's",
            "equals",
            "it\u{2019}s",
            "that\u{2019}s",
        ],
    ),
    (
        Correct,
        &["correct", "right", "best", "true", "better", "valid", "accurate", "fits", "matches", "remains", "wins"],
    ),
    (
        Wrong,
        &[
            "wrong",
            "incorrect",
            "false",
            "impossible",
            "unlikely",
            "implausible",
            "invalid",
            "untrue",
            "mistaken",
            "inconsistent",
            "unsupported",
            "mistake",
            "error",
            "contradicts",
            "contradicted",
            "conflicts",
            "violates",
            "ignores",
            "lacks",
            "opposes",
            "misses",
        ],
    ),
    (
        Not,
        &[
            "not", "never", "cannot", "neither", "nor", "without", "none", "hardly", "doubt", "doubts", "doubtful",
            "deny", "disagree", "against",
        ],
    ),
    (Except, &["than", "instead", "unlike", "except", "excluding", "besides"]),
    (
        Exclude,
        &[
            "exclude",
            "excluded",
            "excludes",
            "eliminate",
            "eliminated",
            "eliminates",
            "eliminating",
            "rule",
            "ruled",
            "rules",
            "ruling",
            "discard",
            "discarded",
            "reject",
            "rejected",
            "dismiss",
            "dismissed",
            "fails",
        ],
    ),
    (
        If,
        &[
            "if",
            "suppose",
            "supposing",
            "assuming",
            "assume",
            "unless",
            "provided",
            "imagine",
            "hypothetically",
            "hypothetical",
        ],
    ),
    (Would, &["would", "could", "i'd", "it'd", "i\u{2019}d"]),
    (Maybe, &["maybe", "perhaps", "possibly", "might", "may", "possible", "can", "plausible", "either", "between"]),
    (Whether, &["whether"]),
    (So, &["so", "therefore", "thus", "hence", "consequently", "accordingly", "finally", "ultimately", "overall"]),
    (But, &["but", "however", "yet", "nevertheless", "nonetheless", "then", "later", "now"]),
    (Because, &["because", "since", "due", "given"]),
    (Although, &["although", "though", "while", "whereas", "despite", "even"]),
    (Or, &["or"]),
    (And, &["and", "both", "plus"]),
    (
        Refuse,
        &[
            "unable",
            "refuse",
            "decline",
            "unclear",
            "unsure",
            "uncertain",
            "insufficient",
            "sorry",
            "ambiguous",
            "undetermined",
        ],
    ),
    (
        Know,
        &[
            "tell",
            "determine",
            "determined",
            "know",
            "known",
            "hear",
            "listen",
            "process",
            "decide",
            "decided",
            "judge",
            "access",
            "identify",
            "sure",
            "certain",
            "clear",
            "enough",
            "confirm",
            "verify",
            "provide",
            "play",
            "figure",
        ],
    ),
    (
        Initially,
        &[
            "initially",
            "originally",
            "tempting",
            "tempted",
            "thought",
            "expected",
            "expecting",
            "anticipated",
            "hoped",
            "assumed",
            "tempts",
            "superficially",
        ],
    ),
    (Others, &["some", "someone", "somebody", "people", "others", "many", "one", "you", "listeners"]),
    (Correction, &["wait", "actually", "correction", "oops", "scratch", "reconsider", "rather", "hmm", "reflection"]),
    (Pronoun, &["that", "this", "it", "which", "these", "those"]),
    (
        Filler,
        &[
            "the",
            "to",
            "my",
            "final",
            "most",
            "likely",
            "probably",
            "definitely",
            "clearly",
            "indeed",
            "with",
            "for",
            "on",
            "only",
            "just",
            "should",
            "must",
            "will",
            "has",
            "have",
            "also",
            "does",
            "do",
            "did",
            "i",
            "we",
            "he",
            "text",
            "textbf",
            "mathrm",
            "as",
            "a",
            "an",
            "of",
            "seems",
            "looks",
            "appears",
            "still",
            "simply",
            "certainly",
            "me",
            "your",
            "our",
            "one's",
            "evidently",
            "obviously",
            "surely",
            "let",
            "us",
            "i'll",
            "i'm",
            "out",
            "got",
        ],
    ),
];

const CHINESE: &[(Role, &[&str])] = &[
    (Answer, &["答案", "结论", "结果"]),
    (Option, &["选项"]),
    (Choose, &["选择", "选", "应选", "我选", "认为", "觉得", "判断为", "倾向于", "我猜", "推断"]),
    (Is, &["是", "为", "就是", "属于", "应为"]),
    (Correct, &["正确", "对", "没错", "最佳", "合理", "最符合", "符合", "成立"]),
    (
        Wrong,
        &[
            "错误",
            "错",
            "不对",
            "不正确",
            "不成立",
            "不符合",
            "不符",
            "不合理",
            "有误",
            "不可能",
            "不行",
            "说不通",
            "不合适",
            "矛盾",
            "冲突",
            "相悖",
            "不吻合",
            "不一致",
            "太远",
            "太近",
            "太响",
            "太弱",
            "太高",
            "太低",
            "太靠前",
            "太靠后",
        ],
    ),
    (
        Not,
        &[
            "不是",
            "不",
            "不能",
            "并非",
            "没有",
            "没",
            "而不是",
            "不会",
            "不在",
            "怀疑",
            "否认",
            "绝非",
            "并不是",
            "不应",
        ],
    ),
    (Except, &["除了", "除"]),
    (Exclude, &["排除", "剔除", "去掉", "否定", "否决"]),
    (If, &["如果", "假如", "若", "假设", "要是", "倘若", "假若", "若是", "除非", "假定", "倘使", "的话"]),
    (Would, &["就会", "将会"]),
    (Maybe, &["可能", "也许", "或许", "大概", "似乎", "要么"]),
    (Whether, &["是否", "是不是", "能否", "对不对"]),
    (So, &["所以", "因此", "因而", "于是", "综上", "综上所述", "总之", "由此", "最终", "故", "由此可见", "可见"]),
    (But, &["但", "但是", "不过", "然而", "而", "而是", "后来", "其实", "实际上", "却", "只是"]),
    (Because, &["因为", "由于", "既然", "鉴于"]),
    (Although, &["虽然", "尽管", "即使", "虽说", "即便"]),
    (Or, &["或", "或者", "还是", "抑或"]),
    (And, &["和", "与", "及", "以及", "跟", "同时"]),
    (
        Refuse,
        &[
            "无法",
            "难以",
            "不确定",
            "不清楚",
            "不知道",
            "没法",
            "不能确定",
            "不能判断",
            "请提供",
            "抱歉",
            "对不起",
            "很难",
            "不好说",
        ],
    ),
    (Know, &["确定", "知道", "听到", "听"]),
    (Initially, &["起初", "最初", "一开始", "乍一看", "原本", "本来", "以为", "乍看", "表面上", "曾"]),
    (Others, &["有人", "有些人", "别人", "他们", "大家", "很多人"]),
    (Correction, &["等等", "更正", "纠正", "等一下", "重新考虑", "说错了"]),
    (Pronoun, &["这", "那", "它", "此"]),
    (
        Filler,
        &[
            "我", "的", "就", "更", "也", "都", "最", "应该", "应", "那么", "则", "正", "便", "一定", "肯定", "必须",
            "只能", "可以", "因", "了", "项", "最有", "很",
        ],
    ),
    (
        Plain,
        &[
            "对于",
            "相对",
            "对话",
            "面对",
            "不错",
            "为了",
            "作为",
            "反对",
            "对应",
            "不同",
            "不仅",
            "没有疑问",
            "毫无疑问",
            "不论",
            "无论",
            "不断",
        ],
    ),
];

/// The words of both tables by what they begin with: English ones whole, Chinese ones by their first character.
struct Dictionary {
    english: HashMap<&'static str, Role>,
    chinese: HashMap<char, Vec<(&'static str, Role)>>,
}

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let english = ENGLISH.iter().flat_map(|(role, words)| words.iter().map(|word| (*word, *role))).collect();
    let mut chinese: HashMap<char, Vec<(&str, Role)>> = HashMap::new();
    for (word, role) in CHINESE.iter().flat_map(|(role, words)| words.iter().map(|word| (*word, *role))) {
        chinese.entry(word.chars().next().expect("no word is empty")).or_default().push((word, role));
    }
    Dictionary { english, chinese }
});

/// What a Latin word does.
pub(super) fn of_word(word: &str) -> Role {
    let lower = word.to_ascii_lowercase();
    if lower.ends_with("n't") || lower.ends_with("n\u{2019}t") {
        return Not;
    }
    DICTIONARY.english.get(lower.as_str()).copied().unwrap_or(Plain)
}

/// The longest known Chinese word that `text` begins with, in bytes, and what it does.
pub(super) fn of_han(text: &str) -> (usize, Role) {
    let Some(first) = text.chars().next() else { return (0, Plain) };
    let known = DICTIONARY.chinese.get(&first).into_iter().flatten();
    let longest = known.filter(|(word, _)| text.starts_with(word)).max_by_key(|(word, _)| word.len());
    longest.map_or((first.len_utf8(), Plain), |(word, role)| (word.len(), *role))
}
