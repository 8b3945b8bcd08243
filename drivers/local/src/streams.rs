//! The streams of a command in a machine, for drivers that pass them on themselves.

use std::fs::File;
use std::io::Read;

use kcl_driver_api::{ExecOutput, Result, Stdin, Stdout};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::context::Context as _;
use crate::terminal::Terminal;

/// The streams of one command.
pub struct Streams {
    /// The bytes that the command reads.
    pub input: Input,
    /// The destination of what the command writes.
    pub output: Output,
    /// kcl's own terminal, if the command has one.
    pub terminal: Terminal,
}

impl Streams {
    /// Opens the streams of a command; its input comes in pieces of at most `piece` bytes.
    ///
    /// # Errors
    /// `Host` if a file cannot be duplicated.
    pub fn open(stdin: Stdin, stdout: &Stdout, tty: bool, piece: usize) -> Result<Streams> {
        Ok(Streams { input: Input::open(stdin, piece)?, output: Output::open(stdout)?, terminal: Terminal::join(tty)? })
    }
}

/// The bytes that a command reads, in pieces.
pub struct Input(mpsc::Receiver<Vec<u8>>);

impl Input {
    fn open(stdin: Stdin, piece: usize) -> Result<Input> {
        let (sender, receiver) = mpsc::channel(1);
        match stdin {
            Stdin::Null => {}
            Stdin::Bytes(bytes) => drop(tokio::spawn(async move {
                for chunk in bytes.chunks(piece) {
                    if sender.send(chunk.to_vec()).await.is_err() {
                        return;
                    }
                }
            })),
            Stdin::Inherit => read_pieces(std::io::stdin(), piece, sender),
            Stdin::From(fd) => {
                let fd = fd.try_clone().with_context(|| "duplicate a file descriptor")?;
                read_pieces(File::from(fd), piece, sender);
            }
        }
        Ok(Input(receiver))
    }

    /// Waits for the next piece; none at the end. Loses nothing if it is cancelled.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.recv().await
    }
}

/// Reads in a thread that nothing waits for, as a read from a terminal cannot be cancelled.
fn read_pieces(mut from: impl Read + Send + 'static, piece: usize, sender: mpsc::Sender<Vec<u8>>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; piece];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if sender.blocking_send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
}

/// The destination of what a command writes.
pub struct Output {
    inherit: bool,
    file: Option<tokio::fs::File>,
    captured: ExecOutput,
}

impl Output {
    fn open(stdout: &Stdout) -> Result<Output> {
        let file = match stdout {
            Stdout::To(fd) => {
                let fd = fd.try_clone().with_context(|| "duplicate a file descriptor")?;
                Some(tokio::fs::File::from_std(File::from(fd)))
            }
            Stdout::Capture | Stdout::Inherit => None,
        };
        Ok(Output { inherit: matches!(stdout, Stdout::Inherit), file, captured: ExecOutput::default() })
    }

    /// Passes on or captures bytes of the command's standard output.
    ///
    /// # Errors
    /// `Host` if they cannot be written.
    pub async fn stdout(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.file {
            Some(file) => write(file, bytes).await,
            None if self.inherit => write(&mut tokio::io::stdout(), bytes).await,
            None => {
                self.captured.stdout.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Passes on or captures bytes of the command's standard error.
    ///
    /// # Errors
    /// `Host` if they cannot be written.
    pub async fn stderr(&mut self, bytes: &[u8]) -> Result<()> {
        if self.inherit {
            return write(&mut tokio::io::stderr(), bytes).await;
        }
        self.captured.stderr.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns what was captured, with the command's exit code.
    pub fn end(self, code: i32) -> ExecOutput {
        ExecOutput { code, ..self.captured }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    let written = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    written.await.with_context(|| "pass on what a command writes")
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn input_comes_in_pieces_to_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcde").unwrap();
        file.rewind().unwrap();
        for stdin in [Stdin::Bytes(b"abcde".to_vec()), Stdin::From(Arc::new(file.into()))] {
            let mut input = Input::open(stdin, 2).unwrap();
            let mut read = Vec::new();
            while let Some(piece) = input.next().await {
                assert!(piece.len() <= 2);
                read.extend(piece);
            }
            assert_eq!(read, b"abcde");
        }
    }

    #[tokio::test]
    async fn output_to_a_file_leaves_standard_error_captured() {
        let mut file = tempfile::tempfile().unwrap();
        let mut output = Output::open(&Stdout::To(Arc::new(file.try_clone().unwrap().into()))).unwrap();
        output.stdout(b"out").await.unwrap();
        output.stderr(b"err").await.unwrap();
        let ended = output.end(3);
        assert_eq!((ended.code, &ended.stdout[..], &ended.stderr[..]), (3, &b""[..], &b"err"[..]));
        file.rewind().unwrap();
        let mut written = String::new();
        file.read_to_string(&mut written).unwrap();
        assert_eq!(written, "out");
    }
}
