//! The parts of HTTP/1.0 and 1.1 (RFC 9112) that health checks and etcd's gateway need.

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

/// Sends a JSON document, and returns the status code and the body of the answer. The connection ends with it.
pub(crate) async fn post<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    path: &str,
    body: &str,
) -> Result<(u16, Vec<u8>)> {
    let head = format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.flush().await?;
    let mut read = Vec::with_capacity(4096);
    stream.take(LONGEST as u64).read_to_end(&mut read).await?;
    let wrong = || Error::new(ErrorKind::InvalidData, "not an HTTP answer");
    let end = read.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(wrong)?;
    let head = String::from_utf8_lossy(&read[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
    Ok((status, read.split_off(end + 4)))
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
    fn the_body_of_an_answer_is_what_follows_its_head() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut here, mut there) = tokio::io::duplex(1024);
            there.write_all(b"HTTP/1.0 503 Service Unavailable\r\nX: 1\r\n\r\n{\"code\":14}").await.unwrap();
            there.shutdown().await.unwrap();
            let (status, body) = post(&mut here, "/v3/maintenance/status", "{}").await.unwrap();
            assert_eq!((status, body.as_slice()), (503, &b"{\"code\":14}"[..]));
        });
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(parse(b"\x15\x03\x01\r\n\r\n").unwrap().is_err());
    }
}
