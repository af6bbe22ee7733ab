//! What became of a request: the fixed list by which they are counted.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What became of one HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A row that was checked and enters.
    Accepted,
    /// A row that holds by the claims beside it, and is given to be read again without them.
    Reread,
    /// Not JSON but talk.
    Prose,
    /// More than one JSON object.
    SeveralObjects,
    /// JSON that breaks off.
    Truncated,
    /// Faulty JSON.
    NotJson,
    /// JSON without the fields that were asked for, with others, or with others' types.
    WrongFields,
    /// Not four options.
    OptionCount,
    /// A question or option beyond the length that is read.
    TooLong,
    /// Control characters, markup, an address, or the key.
    Unclean,
    /// Two options that say the same.
    DuplicateOptions,
    /// Options that can be told apart by the number of their decimals.
    UnevenNumbers,
    /// Not in a form that can be checked against the scene, and without claims beside it.
    Unreadable,
    /// Claims that are none, or of another kind than was asked for.
    WrongClaims,
    /// Claims that are not what the text says in a form that can be read.
    ClaimsDiffer,
    /// Words that speak to a reader, or that mark an answer.
    Instruction,
    /// A word whose part in the meaning is not known.
    UnknownWord,
    /// Numbers or units that are not those of the claim.
    OtherNumber,
    /// Sounds that are not those of the claim.
    OtherSource,
    /// A negation that the claim has not, or the lack of one.
    OtherNegation,
    /// Sides, an order or a topic that are not those of the claim.
    OtherWording,
    /// Who read the row again without its claims understood others.
    Disagrees,
    /// One option holds, and it is not the key.
    WrongKey,
    /// No option holds, or several, or one is too close to call.
    Ambiguous,
    /// The same question is there already.
    Duplicate,
    /// An answer that is no chat completion.
    NotACompletion,
    /// A longer answer than is read.
    BodyTooLarge,
    /// Too many requests.
    #[serde(rename = "http_429")]
    Http429,
    /// A failure of the server.
    #[serde(rename = "http_5xx")]
    Http5xx,
    /// Any other status than success, redirects among them: they are not followed.
    HttpOther,
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Connection,
}

impl Outcome {
    /// What an HTTP status other than success counts as.
    pub fn of_status(status: u16) -> Outcome {
        match status {
            429 => Outcome::Http429,
            500..600 => Outcome::Http5xx,
            _ => Outcome::HttpOther,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_passing(self) -> bool {
        matches!(self, Outcome::Http429 | Outcome::Http5xx | Outcome::Timeout | Outcome::Connection)
    }

    /// Whether the teacher answered at all.
    pub fn is_answer(self) -> bool {
        !self.is_passing() && self != Outcome::HttpOther
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => f.write_str(&name),
            _ => unreachable!("an outcome is named by a string"),
        }
    }
}
