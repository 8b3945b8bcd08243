//! A browser whose headers the tests control.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A browser with or without a cookie.
#[derive(Clone)]
pub(crate) struct Browser {
    /// The server: `127.0.0.1:port`.
    host: String,
    /// The path below which everything is served: `/console-…/`.
    scope: String,
    cookie: Option<String>,
}

/// A response of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
    }
}

impl Browser {
    /// Returns a browser that knows a link.
    pub(crate) fn new(link: &str) -> Self {
        let rest = link.strip_prefix("http://").expect("a URL");
        let (host, path) = rest.split_once('/').expect("a path");
        let scope = path.split('/').next().expect("a scope");
        Browser { host: host.to_owned(), scope: format!("/{scope}/"), cookie: None }
    }

    /// Opens a URL and keeps the cookie.
    pub(crate) async fn open(&mut self, url: &str) -> Answer {
        let path = url.split_once(&self.host).expect("a URL of this host").1.to_owned();
        let answer = self.at(&path).await;
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Posts as the page itself does.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Answer {
        let origin = format!("http://{}", self.host);
        let answer = self.ask("POST", path, &[("origin", &origin)], body).await;
        self.keep(&answer);
        answer
    }

    /// Requests a path below the scope.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&'static str, &str)], body: &str) -> Answer {
        self.send(method, &format!("{}{path}", self.scope), headers, body).await
    }

    /// Requests a path of the server.
    pub(crate) async fn at(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut stream = self.connect(method, path, headers, body).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        parse(&String::from_utf8_lossy(&bytes))
    }

    async fn connect(&self, method: &str, path: &str, headers: &[(&'static str, &str)], body: &str) -> TcpStream {
        let mut text = format!("{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
        let has = |name: &str| headers.iter().any(|(own, _)| *own == name);
        if !has("host") {
            text += &format!("host: {}\r\n", self.host);
        }
        if !has("connection") {
            text += "connection: close\r\n";
        }
        if let Some(cookie) = &self.cookie {
            text += &format!("cookie: {cookie}\r\n");
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(&self.host).await.expect("the console listens");
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.expect("it reads");
        stream
    }

    /// Opens a channel, sends bytes and reads as many.
    pub(crate) async fn channel(&self, path: &str, protocol: &str, bytes: &[u8]) -> Vec<u8> {
        let origin = format!("http://{}", self.host);
        let headers = [
            ("origin", origin.as_str()),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", protocol),
        ];
        let mut stream = self.connect("GET", &format!("{}{path}", self.scope), &headers, "").await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let answer = parse(&String::from_utf8_lossy(&head));
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-protocol").as_deref(), Some(protocol));
        stream.write_all(bytes).await.expect("it is open");
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).await.expect("an echo");
        back
    }
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
    let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Answer { status: status.expect("a status"), headers: lines.filter_map(pair).collect(), body: body.to_owned() }
}
