//! Chat templates: a conversation as the text that a model was trained on, and what of it users have supplied.
//!
//! A folder's template is a program by somebody else. It runs in Minijinja without access to files (no loader; `include`,
//! `import` and `extends` do not exist), with fuel, a recursion limit and a limit on its output, so that it ends within a
//! tenth of a second, and at worst in a few. Where it puts each content is found by rendering twice, once with markers instead of the contents;
//! a template that changes contents, other than trimming them, is refused: nothing could be said about trust then.

use super::tokenizer::Marks;
use super::{jinja_guard, jinja_values};
use crate::error::{Error, Result};
use crate::files::read_text;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;

/// Largest template, in bytes.
const TEMPLATE_BYTES_MAX: u64 = 128 << 10;
/// Largest tokenizer_config.json, in bytes: those of Llama 3 list 256 tokens in 50 KB.
const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Longest rendered text, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Steps of a template. Qwen3's takes 300 for a turn.
const FUEL: u64 = 200_000;
/// Nested blocks and calls.
const RECURSION_MAX: usize = 100;
/// Most turns of a conversation.
pub const TURNS_MAX: usize = 512;

/// What Qwen2 does, for folders without a template.
pub const CHATML: &str = "{% for message in messages %}\
    {% if loop.first and message.role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}\
    {{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}\
    {% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// What one of the two says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub content: String,
}

/// A conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// What the model is told before; without it templates have a default or nothing.
    pub system: Option<String>,
    /// Turns in order.
    pub turns: Vec<Turn>,
}

/// A rendered conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The whole text.
    pub text: String,
    /// Where the content of the system message stands, in bytes; empty without one.
    pub system: Range<usize>,
    /// Where the content of each turn stands, in bytes; an empty content has an empty range.
    pub turns: Vec<Range<usize>>,
    /// Where the anchor of the audio stands, in bytes.
    pub anchor: Option<Range<usize>>,
}

impl Rendered {
    /// All contents as untrusted text.
    pub fn marks(&self) -> Marks {
        let contents = std::iter::once(&self.system).chain(&self.turns).filter(|range| !range.is_empty());
        Marks { untrusted: contents.cloned().collect(), anchor: self.anchor.clone() }
    }
}

/// A chat template.
pub struct Template {
    source: String,
    /// The file it is from, for messages.
    place: String,
    /// `bos_token` and the like, as the folder gives them.
    tokens: BTreeMap<String, String>,
}

impl Template {
    /// The ChatML of Qwen2.
    pub fn chatml() -> Template {
        Template { source: CHATML.into(), place: "the ChatML template".into(), tokens: BTreeMap::new() }
    }

    /// The template of a folder: `chat_template.jinja`, else `chat_template` in tokenizer_config.json (a text, or several
    /// with names, of which `default` is taken), else [`Template::chatml`].
    ///
    /// # Errors
    /// `Data` naming the file for a template that is too large or is no template.
    pub fn open(folder: &Path) -> Result<Template> {
        let (own, config) = (folder.join("chat_template.jinja"), folder.join("tokenizer_config.json"));
        let settings: Json = match config.exists() {
            true => serde_json::from_slice(&read_text(&config, CONFIG_BYTES_MAX)?)
                .map_err(|e| Error::data(format!("{}: {e}", config.display())))?,
            false => Json::Null,
        };
        let mut template = if own.exists() {
            let bytes = read_text(&own, TEMPLATE_BYTES_MAX)?;
            let source = String::from_utf8(bytes).map_err(|_| Error::data(format!("{}: not UTF-8", own.display())))?;
            Template { source, place: own.display().to_string(), tokens: BTreeMap::new() }
        } else if let Some(found) = settings.get("chat_template").filter(|t| !t.is_null()) {
            let place = format!("{}: chat_template", config.display());
            let source = named(found).map_err(|why| Error::data(format!("{place}: {why}")))?;
            if source.len() as u64 > TEMPLATE_BYTES_MAX {
                return Err(Error::data(format!("{place}: more than {TEMPLATE_BYTES_MAX} bytes")));
            }
            Template { source, place, tokens: BTreeMap::new() }
        } else {
            Template::chatml()
        };
        template.tokens = special_tokens(&settings);
        // A template that is none is reported now, not at the first conversation.
        template.apart(|| template.compile(&environment(), |_| Ok(())))?;
        Ok(template)
    }

    /// Renders a conversation. `anchor` is put in front of the first content of the user (Audio Flamingo's `<sound>` with
    /// a line end after it). `generation` adds what stands before an answer.
    ///
    /// # Errors
    /// `Data` naming the file of the template: where it fails, takes too long, writes too much, or changes contents.
    pub fn render(&self, conversation: &Conversation, anchor: Option<&str>, generation: bool) -> Result<Rendered> {
        let bad = |why: String| Err(Error::data(format!("{}: {why}", self.place)));
        if conversation.turns.len() > TURNS_MAX {
            return bad(format!(
                "a conversation of {} turns, at most {TURNS_MAX} are rendered",
                conversation.turns.len()
            ));
        }
        let first = conversation.turns.iter().position(|turn| turn.role == Role::User);
        let anchor = match (anchor, first) {
            (Some(_), None) => return bad("audio needs a turn of the user".into()),
            (Some(text), Some(turn)) => Some((text, turn)),
            (None, _) => None,
        };
        let contents: Vec<(&str, &str)> = conversation
            .system
            .iter()
            .map(|text| ("system", text.as_str()))
            .chain(conversation.turns.iter().map(|turn| (turn.role.name(), turn.content.as_str())))
            .collect();
        let before = usize::from(conversation.system.is_some());
        let anchored = anchor.map(|(text, turn)| (text, turn + before));
        let text = self.run(messages(&contents, anchored), generation)?;
        // Empty contents stay empty, as templates may leave out their turn.
        let markers: Vec<String> = (0..contents.len()).map(|i| format!("\u{e000}{}\u{e001}", i + 1)).collect();
        let marked: Vec<(&str, &str)> = contents
            .iter()
            .zip(&markers)
            .map(|((role, content), marker)| (*role, if content.is_empty() { "" } else { marker.as_str() }))
            .collect();
        let anchor_marker = anchored.map(|(text, at)| (ANCHOR_MARKER.to_string() + gap(text), at));
        let skeleton =
            self.run(messages(&marked, anchor_marker.as_ref().map(|(m, at)| (m.as_str(), *at))), generation)?;
        let mut wanted = Vec::new();
        for (i, (_, content)) in contents.iter().enumerate() {
            wanted.extend(anchored.filter(|a| a.1 == i).map(|(text, _)| (ANCHOR_MARKER, text)));
            wanted.extend((!content.is_empty()).then_some((markers[i].as_str(), *content)));
        }
        let found = locate(&text, &skeleton, &wanted).map_err(|why| {
            Error::data(format!("{}: {why}", self.place))
                .hint("a template must give every content as it is, in the order of the turns")
        })?;
        Ok(arrange(text, &contents, before, anchored.map(|a| a.1), found))
    }

    /// Runs the template once.
    fn run(&self, messages: Value, generation: bool) -> Result<String> {
        // Transformers gives templates no tools and no documents by these names.
        let none = || Value::from(());
        let given = [
            ("messages", messages),
            ("add_generation_prompt", generation.into()),
            ("tools", none()),
            ("documents", none()),
        ];
        let tokens = self.tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str())));
        let context = Value::from_pairs(given.into_iter().chain(tokens));
        let mut out = Limited(Vec::new());
        let render = |template: &minijinja::Template| template.render_captured_to(context, &mut out).map(|_| ());
        self.apart(|| self.compile(&environment(), render))?;
        String::from_utf8(out.0).map_err(|_| Error::data(format!("{}: gives no UTF-8", self.place)))
    }

    /// Compiles the template and uses it.
    fn compile(
        &self,
        environment: &Environment,
        work: impl FnOnce(&minijinja::Template) -> Result<(), minijinja::Error>,
    ) -> Result<()> {
        let guarded = jinja_guard::guarded(&self.source.replace("\r\n", "\n").replace('\r', "\n"))
            .map_err(|why| Error::data(format!("{}: {why}", self.place)))?;
        let template = environment.template_from_str(&guarded).map_err(|e| self.failure(&e))?;
        work(&template).map_err(|e| self.failure(&e))
    }

    /// Does something on the stack that templates need.
    fn apart(&self, work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
        let place = Path::new(&self.place);
        jinja_guard::with_stack(work).map_err(|e| Error::io("run the chat template", place, &e))?
    }

    fn failure(&self, error: &minijinja::Error) -> Error {
        let what = match error.kind() {
            ErrorKind::OutOfFuel => "takes more steps than a chat template may".to_string(),
            ErrorKind::WriteFailure => format!("writes more than {OUTPUT_BYTES_MAX} bytes"),
            _ => error.to_string().lines().next().unwrap_or_default().chars().take(300).collect(),
        };
        Error::data(format!("{}: the chat template fails: {what}", self.place))
    }
}

/// Stands for the anchor while contents are located.
const ANCHOR_MARKER: &str = "\u{e000}0\u{e001}";

/// What Audio Flamingo 3 has between its anchor and the question, and nothing after ours.
fn gap(anchor: &str) -> &'static str {
    if anchor == "<sound>" { "\n" } else { "" }
}

/// Roles and contents as templates take them, with an anchor before one of the contents. A marker brings its gap along.
fn messages(contents: &[(&str, &str)], anchor: Option<(&str, usize)>) -> Value {
    let full = |(i, (role, content)): (usize, &(&str, &str))| {
        let anchor = anchor.filter(|a| a.1 == i).map_or(String::new(), |(text, _)| text.to_string() + gap(text));
        Value::from_pairs([("role", Value::from(*role)), ("content", Value::from(anchor + content))])
    };
    contents.iter().enumerate().map(full).collect::<Vec<Value>>().into()
}

/// Puts what was located into the form of the conversation.
fn arrange(
    text: String,
    contents: &[(&str, &str)],
    before: usize,
    anchored: Option<usize>,
    found: Vec<Range<usize>>,
) -> Rendered {
    let mut found = found.into_iter();
    let (mut all, mut anchor) = (Vec::new(), None);
    for (i, (_, content)) in contents.iter().enumerate() {
        if anchored == Some(i) {
            anchor = found.next();
        }
        all.push(if content.is_empty() { 0..0 } else { found.next().unwrap_or_default() });
    }
    let turns = all.split_off(before);
    Rendered { text, system: all.pop().unwrap_or_default(), turns, anchor }
}

/// A template, or the default one of several.
fn named(value: &Json) -> Result<String, String> {
    let list = match value {
        Json::String(text) => return Ok(text.clone()),
        Json::Array(list) => list,
        _ => return Err("a text or a list of named templates is needed".into()),
    };
    let name = |entry: &Json| entry.get("name").and_then(Json::as_str).map(str::to_string);
    let default = list.iter().find(|entry| name(entry).as_deref() == Some("default"));
    match default.and_then(|entry| entry.get("template")).and_then(Json::as_str) {
        Some(text) => Ok(text.into()),
        None => {
            let names: Vec<String> = list.iter().take(8).filter_map(name).collect();
            Err(format!("no template of the name \"default\" with a text among {names:?}"))
        }
    }
}

/// The special tokens that templates may name, as texts.
fn special_tokens(settings: &Json) -> BTreeMap<String, String> {
    let names = ["bos_token", "eos_token", "pad_token", "unk_token"];
    let text = |value: &Json| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_string);
    names.iter().filter_map(|name| Some((name.to_string(), text(settings.get(name)?)?))).collect()
}

/// As Transformers sets Jinja up, within limits.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().expect("the syntax of Jinja");
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_formatter(|out, state, value| match value.kind() {
        // As Python prints them.
        ValueKind::None => out.write_str("None").map_err(minijinja::Error::from),
        ValueKind::Bool => {
            out.write_str(if value.is_true() { "True" } else { "False" }).map_err(minijinja::Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    jinja_values::restrict(&mut environment);
    environment.add_filter(jinja_guard::FILTER, jinja_guard::summand);
    let fail = |message: String| minijinja::Error::new(ErrorKind::InvalidOperation, message);
    environment.add_function("raise_exception", move |message: String| -> Result<String, minijinja::Error> {
        Err(fail(message))
    });
    environment.add_function("strftime_now", move |_: String| -> Result<String, minijinja::Error> {
        Err(fail("strftime_now: texts do not depend on the clock here".into()))
    });
    environment
}

/// Takes a rendered text up to its limit.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("too much"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the contents stand in `text`, given the same with markers in their places. `Err` says why that is not clear.
fn locate(text: &str, skeleton: &str, wanted: &[(&str, &str)]) -> Result<Vec<Range<usize>>, String> {
    let (mut pieces, mut rest) = (Vec::new(), skeleton);
    for (marker, content) in wanted {
        let shown: String = content.chars().take(40).collect();
        if skeleton.matches(*marker).count() != 1 {
            return Err(format!("the content {shown:?} does not come once"));
        }
        let (piece, after) = rest.split_once(*marker).ok_or("contents come in another order")?;
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    let mut at = pieces[0].len();
    if !text.starts_with(pieces[0]) {
        return Err("what stands around the contents depends on them".into());
    }
    let mut found = Vec::new();
    for ((_, content), piece) in wanted.iter().zip(&pieces[1..]) {
        let forms = [content, content.trim(), content.trim_start(), content.trim_end()];
        let fits = |form: &&str| text[at..].strip_prefix(form).is_some_and(|rest| rest.starts_with(piece));
        let shown: String = content.chars().take(40).collect();
        let form = forms.into_iter().find(fits).ok_or_else(|| format!("the content {shown:?} is changed"))?;
        found.push(at..at + form.len());
        at += form.len() + piece.len();
    }
    match at == text.len() {
        true => Ok(found),
        false => Err("what stands around the contents depends on them".into()),
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
