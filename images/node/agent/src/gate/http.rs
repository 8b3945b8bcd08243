//! The part of HTTP/1.1 (RFC 9112) that a health check needs.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A response; its body is read and dropped.
pub(crate) struct Answer {
    /// The status code.
    pub status: u16,
    /// True if the connection can be used again.
    pub reusable: bool,
}

/// The size limit of a response to a health check.
const LONGEST: usize = 256 << 10;

/// Sends one request.
pub(crate) async fn get<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, path: &str) -> Result<Answer> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    stream.flush().await?;
    let mut read = Vec::with_capacity(1024);
    while read.len() < LONGEST {
        if let Some(answer) = parse(&read) {
            return answer;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Err(Error::new(ErrorKind::InvalidData, "the answer is too long"))
}

/// Returns the response once it is complete.
fn parse(read: &[u8]) -> Option<Result<Answer>> {
    let end = read.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&read[..end]);
    let body = &read[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let Some(status) = status else {
        return Some(Err(Error::new(ErrorKind::InvalidData, "not an HTTP answer")));
    };
    let header = |name: &str| {
        let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let whole = match header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None if header("transfer-encoding").is_some() => body.ends_with(b"0\r\n\r\n"),
        // The body ends with the connection, whose end need not be awaited.
        None => return Some(Ok(Answer { status, reusable: false })),
    };
    let reusable = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    whole.then_some(Ok(Answer { status, reusable }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(u16, bool)> {
        parse(text.as_bytes()).map(|answer| answer.map(|answer| (answer.status, answer.reusable)).unwrap())
    }

    #[test]
    fn an_answer_is_whole_with_its_body() {
        assert_eq!(parsed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"), None);
        assert_eq!(parsed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Some((200, true)));
        let chunked = "HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n";
        assert_eq!(parsed(chunked), None);
        assert_eq!(parsed(&format!("{chunked}0\r\n\r\n")), Some((500, true)));
        assert_eq!(parsed("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), Some((200, false)));
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(parse(b"\x15\x03\x01\r\n\r\n").unwrap().is_err());
    }
}
