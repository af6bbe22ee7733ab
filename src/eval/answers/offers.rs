//! "Yes, I can help with that!", "No, I can't listen to audio": replies to a request, and no answers to a question.

use super::tokens::{Kind, Tokens};

/// How far behind a reply is looked, in tokens.
const REACH: usize = 48;

/// What offers help behind "yes".
const OFFERS: &[&str] = &[
    "i can help",
    "i can assist",
    "i can certainly help",
    "i can definitely help",
    "i can analyze",
    "i can analyse",
    "i can do that",
    "happy to",
    "able to help",
    "able to assist",
    "assist you",
    "can help",
    "can assist",
    "ready to help",
    "glad to",
    "i could help",
    "i will help",
    "i'll help",
    "i can try to help",
    "i would love to",
    "i'd love to",
    "i can take a look",
];
/// What only is polite.
const COURTESY: &[&str] = &[
    "of",
    "course",
    "sure",
    "certainly",
    "absolutely",
    "no",
    "problem",
    "gladly",
    "thank",
    "thanks",
    "you",
    "hi",
    "hello",
    "definitely",
];
/// What asks for the recording.
const REQUESTS: &[&str] = &[
    "please share",
    "please upload",
    "please provide",
    "please send",
    "please attach",
    "you share",
    "you upload",
    "you provide",
    "you send",
    "you attach",
    "send me",
    "just attach",
    "just upload",
    "just share",
    "just send",
    "attach the",
    "attach it",
    "share the",
    "upload the",
    "provide the audio",
    "i need the audio",
    "i need the recording",
    "i need the clip",
    "i need to hear",
    "please describe",
    "you clarify",
    "please clarify",
    "you describe",
];
/// Who speaks where nothing can be heard.
const MODELS: &[&str] = &[
    "text model",
    "language model",
    "text based",
    "as an ai",
    "i'm an ai",
    "i am an ai",
    "just an ai",
    "only an ai",
    "i'm only a model",
];
/// What cannot be done where nothing can be heard.
const REFUSALS: &[&str] = &[
    "ability to process",
    "listen to",
    "way of hearing",
    "way to hear",
    "way of listening",
    "way to listen",
    "means of hearing",
    "hearing ability",
    "access to",
    "process audio",
    "process sound",
    "hear audio",
    "hear the audio",
    "hear the clip",
    "hear the recording",
    "hear the file",
    "hear your",
    "hear sound",
    "hear sounds",
    "hear this recording",
    "hear this clip",
    "play audio",
    "play the",
    "hear anything",
    "open audio",
    "open the",
];
/// What is asked back behind "not sure".
const UNCLEAR: &[&str] = &[
    "what you",
    "i understand",
    "i follow",
    "i got",
    "about your question",
    "which recording",
    "which clip",
    "which audio",
    "how i can help",
];

/// Words of Chinese that do the same, offers and requests first.
const HAN_OFFERS: &[&str] = &["可以帮", "能帮", "很乐意", "乐意帮", "愿意帮", "帮助您", "帮助你", "帮您", "帮你"];
const HAN_COURTESY: &[&str] = &["当然", "可以", "没问题", "好的", "您好", "的"];
const HAN_REQUESTS: &[&str] = &["请上传", "请提供", "请把", "请将", "请您", "请先", "请发", "发给我", "发送给我"];
const HAN_REFUSALS: &[&str] = &[
    "无法听",
    "不能听",
    "无法直接听",
    "无法处理",
    "不能处理",
    "文本模型",
    "语言模型",
    "没有听觉",
    "无法播放",
    "无法访问",
    "听不了",
];
const HAN_UNCLEAR: &[&str] =
    &["您的意思", "你的意思", "您说的", "你说的", "您指", "你指", "您问", "你问", "您想", "你想"];

/// Whether the reply that ends at the token `last` is one to a request: an offer, a refusal or a question back follows.
pub(super) fn is_to_request(tokens: &Tokens, last: usize) -> bool {
    let end = tokens.all.len().min(last + 1 + REACH);
    let mut sentences: Vec<Vec<usize>> = vec![Vec::new()];
    for at in last + 1..end {
        match tokens.kind(at) {
            Some(Kind::LineEnd | Kind::Mark('.' | '!' | '?' | '。' | ';')) => sentences.push(Vec::new()),
            Some(Kind::Word | Kind::Han) => sentences.last_mut().expect("there is one").push(at),
            _ => {}
        }
    }
    // Of the sentences behind the reply the first one that says something.
    for words in sentences.iter().filter(|words| !words.is_empty()) {
        let words: Vec<String> = words.iter().map(|&at| tokens.lower(at).replace('\u{2019}', "'")).collect();
        let (spaced, glued) = (format!(" {} ", words.join(" ")), words.concat());
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| spaced.contains(&format!(" {phrase} ")));
        let says_han = |phrases: &[&str]| phrases.iter().any(|phrase| glued.contains(phrase));
        let denies =
            [" can't ", " cannot ", " can not ", " unable ", " don't have ", " no ", " not able ", " couldn't "]
                .iter()
                .any(|word| spaced.contains(word));
        if says(OFFERS) || says(REQUESTS) || says(MODELS) || denies && says(REFUSALS) {
            return true;
        }
        if says_han(HAN_OFFERS) || says_han(HAN_REQUESTS) || says_han(HAN_REFUSALS) {
            return true;
        }
        let mut polite = glued.clone();
        HAN_COURTESY.iter().for_each(|word| polite = polite.replace(word, ""));
        if !polite.is_empty() && !words.iter().all(|word| COURTESY.contains(&word.as_str())) {
            return false;
        }
    }
    false
}

/// "Not sure what you mean": the question is unclear, and that is no answer to it.
pub(super) fn is_asked_back(tokens: &Tokens, last: usize) -> bool {
    let words: Vec<String> =
        (last + 1..last + 7).take_while(|&at| tokens.is_word(at)).map(|at| tokens.lower(at)).collect();
    let spaced = format!("{} ", words.join(" "));
    UNCLEAR.iter().any(|phrase| spaced.starts_with(&format!("{phrase} ")))
        || HAN_UNCLEAR.iter().any(|phrase| words.concat().starts_with(phrase))
}
