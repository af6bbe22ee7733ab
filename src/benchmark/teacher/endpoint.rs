//! Where the teacher is asked: a URL without its secrets, and what of it may be shown.

use super::secret::Key;
use crate::error::{Error, Result};

/// A URL to which questions are posted.
pub struct Endpoint {
    /// With its query, without user and password.
    url: String,
    /// Without any of these.
    shown: String,
    /// User and password, as the header `Authorization` wants them.
    basic: Option<String>,
    host: String,
    is_encrypted: bool,
}

impl Endpoint {
    /// Reads the URL of an OpenAI-compatible server: with or without `/v1`, with or without `/chat/completions`.
    ///
    /// # Errors
    /// `Usage`; the message shows nothing of the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Endpoint> {
        let bad = || {
            Error::usage("--teacher: not a URL of the form http(s)://HOST[:PORT][/PATH]")
                .hint("for a server on this machine, for example --teacher http://127.0.0.1:8000/v1")
        };
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(bad)?;
        let scheme = scheme.to_lowercase();
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        let shown = format!("{scheme}://{place}{}", completions(path));
        let query = query.map(|q| format!("?{q}")).unwrap_or_default();
        let url = format!("{shown}{query}");
        let uri: ureq::http::Uri = url.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(bad)?.to_string();
        if !["http", "https"].contains(&scheme.as_str()) {
            return Err(bad());
        }
        let basic = user.map(|user| format!("Basic {}", base64(&decoded(user))));
        Ok(Endpoint { url, shown, basic, host, is_encrypted: scheme == "https" })
    }

    /// Where requests go. It may hold secrets: never print it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What the header `Authorization` says: the key, else user and password of the URL.
    pub(super) fn authorization(&self, key: Option<&Key>) -> Option<String> {
        key.map(Key::bearer).or_else(|| self.basic.clone())
    }

    /// The URL without user, password and query.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether the server is on this machine.
    pub fn is_local(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether others on the way can read along.
    pub fn is_open(&self) -> bool {
        !self.is_encrypted && !self.is_local()
    }
}

/// The path of chat completions.
fn completions(path: &str) -> String {
    let path = path.trim_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_version = last.strip_prefix('v').is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
    let parts = match path {
        "" => vec!["v1", "chat/completions"],
        path if path.ends_with("chat/completions") => vec![path],
        path if is_version => vec![path, "chat/completions"],
        path => vec![path, "v1", "chat/completions"],
    };
    format!("/{}", parts.join("/"))
}

/// Percent signs decoded, as user and password may have them.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code =
            bytes.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | group.get(i).copied().unwrap_or(0) as u32);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63] as char;
            out.push(if i <= group.len() { digit } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_url_leads_to_chat_completions() {
        let forms = [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/chat/completions"),
            ("HTTPS://api.example.org/v1/", "https://api.example.org/v1/chat/completions"),
            ("https://api.example.org/v1/chat/completions", "https://api.example.org/v1/chat/completions"),
            ("https://example.org/openai", "https://example.org/openai/v1/chat/completions"),
            ("https://example.org/api/v3beta", "https://example.org/api/v3beta/chat/completions"),
        ];
        for (url, expected) in forms {
            assert_eq!(Endpoint::parse(url).unwrap().url(), expected, "{url}");
        }
        for bad in ["127.0.0.1:8000", "ftp://example.org", "http://", "http:///v1", "http://a b/", "file:///etc"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_of_the_url_are_sent_and_not_shown() {
        let endpoint = Endpoint::parse("https://Aladdin:open%20sesame@example.org/v1?api-version=7#x").unwrap();
        assert_eq!(endpoint.shown(), "https://example.org/v1/chat/completions");
        assert_eq!(endpoint.url(), "https://example.org/v1/chat/completions?api-version=7");
        // The example of RFC 7617.
        assert_eq!(endpoint.authorization(None).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let error = Endpoint::parse("gopher://user:secret@example.org").err().unwrap();
        assert!(!error.to_string().contains("secret"));
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        let open = |url: &str| Endpoint::parse(url).unwrap().is_open();
        assert_eq!(
            [open("http://example.org"), open("http://[::1]:80"), open("https://example.org")],
            [true, false, false]
        );
    }
}
