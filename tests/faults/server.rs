//! A server whose answers follow from the requests alone. It bills every call, and misbehaves when a test asks for it.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc::Sender},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::trial::Event;

/// A key that must never be written anywhere.
pub(crate) const CANARY: &str = "sk-canary-7d1e09b3c4";
/// Tokens of a call, read and written.
pub(crate) const TOKENS: (u64, u64) = (10, 2);

/// What is done with a call instead of answering it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Hang,
    Reset,
    HalfABody,
    InvalidJson,
    Page,
    Storm,
    Error500,
    /// It is answered, a few bytes at a time.
    Drip,
}

#[derive(Default)]
struct State {
    /// All calls, also those that were not answered.
    calls: u64,
    plan: BTreeMap<u64, Fault>,
    /// From this call on the key is not accepted.
    expired_from: Option<u64>,
    refused_from: Option<u64>,
    /// Receives a message when a call of a session has come, which is then never answered.
    tell: Option<(u64, Sender<Event>)>,
    /// Calls that are paid, the session and the call: those that were answered whole, or were cut short by a kill.
    bill: Vec<(u64, String)>,
}

#[derive(Clone)]
pub(crate) struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        let serving = server.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let server = serving.clone();
                thread::spawn(move || server.serve(connection));
            }
        });
        server
    }

    /// Its address for one session of a worker: calls that come late are billed to the session that made them.
    pub(crate) fn url(&self, session: u64) -> String {
        format!("{}/{session}/v1", self.address)
    }

    pub(crate) fn plan(&self, faults: impl IntoIterator<Item = (u64, Fault)>) {
        self.state.lock().unwrap().plan = faults.into_iter().collect();
    }

    pub(crate) fn expire_from(&self, call: Option<u64>) {
        self.state.lock().unwrap().expired_from = call;
    }

    /// Refuses calls from one on, each for itself.
    pub(crate) fn refuse_from(&self, call: Option<u64>) {
        self.state.lock().unwrap().refused_from = call;
    }

    /// Lets the n-th call from now on hang, and reports it.
    pub(crate) fn tell(&self, whom: Option<(u64, Sender<Event>)>) {
        let mut state = self.state.lock().unwrap();
        let calls = state.calls;
        state.tell = whom.map(|(more, whom)| (calls + more, whom));
    }

    pub(crate) fn bill(&self) -> Vec<(u64, String)> {
        self.state.lock().unwrap().bill.clone()
    }

    fn serve(&self, mut connection: TcpStream) {
        let _ = connection.set_nodelay(true);
        // It ends with the other side.
        while let Ok(true) = self.call(&mut connection) {}
    }

    /// Whether there may be another call.
    fn call(&self, connection: &mut TcpStream) -> io::Result<bool> {
        let mut first = [0];
        if connection.read(&mut first)? == 0 {
            return Ok(false);
        }
        let (fault, expired, refused, tell) = {
            let mut state = self.state.lock().unwrap();
            state.calls += 1;
            let calls = state.calls;
            let tell = state.tell.take_if(|(at, _)| *at == calls);
            let expired = state.expired_from.is_some_and(|from| calls >= from);
            let fault = state.plan.get(&calls).filter(|_| tell.is_none());
            let refused = state.refused_from.is_some_and(|from| calls >= from);
            (fault.copied(), expired, refused, tell)
        };
        if fault == Some(Fault::Reset) {
            // What was not read makes a reset of it.
            return Ok(false);
        }
        let (head, body) = request(first[0], connection)?;
        let key = format!("authorization: bearer {CANARY}");
        if expired || !head.contains(&key) {
            let words = format!("Incorrect API key provided: {CANARY}.");
            let error = json!({"error": {"message": words, "code": "invalid_api_key"}});
            return write(connection, "401 Unauthorized", "", &error.to_string());
        }
        if refused {
            let words = format!("Not with the key {CANARY}.");
            let error = json!({"error": {"message": words}});
            return write(connection, "400 Bad Request", "", &error.to_string());
        }
        match fault {
            Some(Fault::Page) => {
                return write(connection, "200 OK", "", "<html>Come back soon.</html>");
            }
            Some(Fault::Storm) => {
                return write(connection, "429 Slow Down", "retry-after: 2\r\n", "{}");
            }
            Some(Fault::Error500) => return write(connection, "500 Oh", "", "{}"),
            _ => {}
        }
        let session = head
            .split('/')
            .nth(1)
            .and_then(|number| number.parse().ok());
        let (id, said) = answer(&body);
        let is_spoilt = matches!(
            fault,
            Some(Fault::Hang | Fault::HalfABody | Fault::InvalidJson)
        );
        if !is_spoilt {
            let bill = (session.expect("a session"), id);
            self.state.lock().unwrap().bill.push(bill);
        }
        if let Some((_, whom)) = tell {
            let _ = whom.send(Event::Called);
            return hang(connection);
        }
        match fault {
            Some(Fault::Hang) => hang(connection),
            Some(Fault::HalfABody) => {
                let half = &said[..said.len() / 2];
                let length = said.len();
                write!(
                    connection,
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{half}"
                )?;
                connection.shutdown(Shutdown::Both)?;
                Ok(false)
            }
            Some(Fault::InvalidJson) => write(connection, "200 OK", "", &said[1..]),
            Some(Fault::Drip) => {
                write!(
                    connection,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                    said.len()
                )?;
                for piece in said.as_bytes().chunks(16) {
                    connection.write_all(piece)?;
                    thread::sleep(Duration::from_millis(5));
                }
                Ok(true)
            }
            _ => write(connection, "200 OK", "", &said),
        }
    }
}

/// Head, in small letters, and body.
fn request(first: u8, connection: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let (mut bytes, mut chunk) = (vec![first], [0; 8192]);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Ok((head, bytes[end + 4..].to_vec()));
            }
        }
        match connection.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

fn write(connection: &mut TcpStream, status: &str, more: &str, body: &str) -> io::Result<bool> {
    let length = body.len();
    let whole = format!("HTTP/1.1 {status}\r\n{more}content-length: {length}\r\n\r\n{body}");
    connection.write_all(whole.as_bytes())?;
    Ok(true)
}

fn hang(connection: &mut TcpStream) -> io::Result<bool> {
    connection.read_to_end(&mut Vec::new())?;
    Ok(false)
}

/// What makes a call: its messages and its seed.
pub(crate) fn id<'a>(contents: impl Iterator<Item = &'a str>, seed: u64) -> String {
    let mut hash = blake3::Hasher::new();
    for content in contents {
        hash.update(content.as_bytes()).update(&[0]);
    }
    hash.update(&seed.to_le_bytes()).finalize().to_hex()[..16].to_owned()
}

/// The call and the body of its answer.
fn answer(body: &[u8]) -> (String, String) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    let contents: Vec<&str> = messages
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    let id = id(contents.iter().copied(), body["seed"].as_u64().unwrap());
    let number = u64::from_str_radix(&id[..8], 16).unwrap();
    let text = if contents
        .iter()
        .any(|content| content.contains("Verdict: TIE"))
    {
        format!(
            "Verdict: {}",
            ["A", "B", "A", "B", "TIE"][number as usize % 5]
        )
    } else {
        // Few enough that some pairs are duplicates.
        format!("What about number {}?", number % 24)
    };
    let said = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": TOKENS.0, "completion_tokens": TOKENS.1, "total_tokens": TOKENS.0 + TOKENS.1},
    });
    (id, said.to_string())
}
