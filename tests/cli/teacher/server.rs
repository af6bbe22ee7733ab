//! A server that plays a teacher, good or bad, on a port of this machine.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// How many came before it.
    pub number: usize,
    /// Method, path and version.
    pub line: String,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// Body.
    pub body: String,
}

impl Request {
    /// The prompt.
    pub fn prompt(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        body["messages"][0]["content"].as_str().unwrap().to_string()
    }

    /// The scene in the prompt.
    pub fn data(&self) -> Value {
        let prompt = self.prompt();
        let data = prompt.split("\n<data>\n").nth(1).unwrap().split("\n</data>\n").next().unwrap();
        serde_json::from_str(data).unwrap()
    }

    /// A number that depends on the body alone.
    pub fn hash(&self) -> u64 {
        u64::from_le_bytes(blake3::hash(self.body.as_bytes()).as_bytes()[..8].try_into().unwrap())
    }
}

/// What the server does.
pub enum Act {
    /// A chat completion with this text.
    Say(String),
    /// A status, further header lines, a body.
    Answer(u16, String, Vec<u8>),
    /// More bytes are promised than come.
    BreakOff,
    /// So many bytes, whose number is not told.
    Flood(usize),
    /// The connection is closed.
    Close,
    /// Nothing for so long.
    Hang(Duration),
    /// A byte now and then, for so long.
    Drip(Duration),
}

/// A running server. Its threads end with the test program.
pub struct Server {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A server that acts on every request.
    pub fn start(act: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, act) = (requests.clone(), Arc::new(act));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, act) = (seen.clone(), act.clone());
                // A client that is killed or gives up breaks the connection: nothing to do about it.
                std::thread::spawn(move || serve(stream, &seen, &*act).ok());
            }
        });
        Server { port, requests }
    }

    /// The address to give to the program.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// What has come so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, act: &dyn Fn(&Request) -> Act) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
        let (name, value) = header.split_once(':').unwrap();
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => authorization = Some(value.trim().to_string()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = {
        let mut seen = seen.lock().unwrap();
        let body = String::from_utf8(body).unwrap();
        let request = Request { number: seen.len(), line: line.trim().into(), authorization, body };
        seen.push(request.clone());
        request
    };
    perform(stream, act(&request))
}

fn perform(mut stream: TcpStream, act: Act) -> std::io::Result<()> {
    let head = |status: u16, more: &str, length: usize| {
        format!("HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    match act {
        Act::Say(text) => {
            let body = completion(&text);
            stream.write_all(format!("{}{body}", head(200, "", body.len())).as_bytes())
        }
        Act::Answer(status, more, body) => {
            stream.write_all(head(status, &more, body.len()).as_bytes())?;
            stream.write_all(&body)
        }
        Act::BreakOff => stream.write_all(format!("{}{{\"choices\":", head(200, "", 1000)).as_bytes()),
        Act::Flood(bytes) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"choices\":\"")?;
            (0..bytes / 1000).try_for_each(|_| stream.write_all(&[b'x'; 1000]))
        }
        Act::Close => Ok(()),
        Act::Hang(time) => {
            std::thread::sleep(time);
            Ok(())
        }
        Act::Drip(time) => {
            stream.write_all(head(200, "", 1_000_000).as_bytes())?;
            for _ in 0..time.as_millis() / 50 {
                stream.write_all(b" ")?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
    }
}

/// The body of a chat completion.
pub fn completion(text: &str) -> String {
    let message = json!({"role": "assistant", "content": text});
    json!({"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        .to_string()
}
