//! Opens a file or standard input, and undoes gzip and zstd by their magic bytes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use crate::error::{Error, Result};

/// Decoded bytes of an input.
pub(super) type Input = Box<dyn BufRead + Send>;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BOM: &[u8] = &[0xef, 0xbb, 0xbf];
const BUFFER: usize = 64 * 1024;

/// Opens `path` (`-` is standard input), decompresses it and takes a byte order mark off.
pub(super) fn open(path: &Path) -> Result<Input> {
    let raw: Input = if path == Path::new("-") {
        Box::new(BufReader::with_capacity(BUFFER, io::stdin()))
    } else {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        Box::new(BufReader::with_capacity(BUFFER, file))
    };
    decode(raw, path)
}

fn decode(raw: Input, path: &Path) -> Result<Input> {
    let io = |error| Error::io(path, error);
    let (head, raw) = peek(raw, ZSTD.len()).map_err(io)?;
    let plain: Input = if head.starts_with(GZIP) {
        Box::new(BufReader::with_capacity(
            BUFFER,
            Gzip(MultiGzDecoder::new(raw)),
        ))
    } else if head == ZSTD {
        Box::new(BufReader::with_capacity(BUFFER, Zstd::new(raw)))
    } else {
        raw
    };
    let (head, mut plain) = peek(plain, BOM.len()).map_err(io)?;
    if head == BOM {
        plain.consume(BOM.len());
    } else if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(Error::input(
            path,
            None,
            "the file is UTF-16; convert it to UTF-8",
        ));
    }
    Ok(plain)
}

/// Skips white space: gives the number of line feeds in it, and the first byte after it, which stays in the input.
pub(super) fn first_byte(input: &mut Input) -> io::Result<(u64, Option<u8>)> {
    let mut lines = 0;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let blank = chunk.iter().take_while(|byte| byte.is_ascii_whitespace());
        let mut used = 0;
        for byte in blank {
            used += 1;
            lines += u64::from(*byte == b'\n');
        }
        let (first, end) = (chunk.get(used).copied(), chunk.is_empty());
        input.consume(used);
        if first.is_some() || end {
            return Ok((lines, first));
        }
    }
}

/// The first `count` bytes, or fewer at the end of the input, and the input as if nothing had been read.
fn peek(mut input: Input, count: usize) -> io::Result<(Vec<u8>, Input)> {
    let mut head = Vec::with_capacity(count);
    input.by_ref().take(count as u64).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(input);
    Ok((head, Box::new(whole)))
}

/// All members of a gzip file, one after the other.
struct Gzip(MultiGzDecoder<Input>);

impl Read for Gzip {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut_off("gzip"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => damaged("gzip", &error),
            _ => error,
        })
    }
}

/// All frames of a zstd file, one after the other. A frame may ask for a window of at most 128 MiB.
struct Zstd {
    input: Input,
    frame: FrameDecoder,
    in_frame: bool,
}

impl Zstd {
    fn new(input: Input) -> Self {
        Self {
            input,
            frame: FrameDecoder::new(),
            in_frame: false,
        }
    }

    /// Goes to the next frame, over frames of foreign data. False at the end of the input.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(
                        &mut self.input.by_ref().take(u64::from(length)),
                        &mut io::sink(),
                    )?;
                    if skipped < u64::from(length) {
                        return Err(cut_off("zstd"));
                    }
                }
                Err(error) => return Err(zstd_error(&error)),
            }
        }
        Ok(false)
    }

    fn check_sum(&self) -> io::Result<()> {
        match self.frame.get_checksum_from_data() {
            Some(sum) if self.frame.get_calculated_checksum() != Some(sum) => {
                Err(damaged("zstd", &"the checksum differs"))
            }
            _ => Ok(()),
        }
    }
}

impl Read for Zstd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if self.in_frame {
                if self.frame.can_collect() > 0 {
                    return self.frame.read(buf);
                }
                if !self.frame.is_finished() {
                    self.frame
                        .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(|error| zstd_error(&error))?;
                    continue;
                }
                self.check_sum()?;
                self.in_frame = false;
            }
            if !self.next_frame()? {
                return Ok(0);
            }
            self.in_frame = true;
        }
    }
}

fn zstd_error(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::UnexpectedEof
        {
            return cut_off("zstd");
        }
        cause = inner.source();
    }
    damaged("zstd", &error)
}

fn cut_off(format: &str) -> io::Error {
    let text = format!("the {format} data end too early: the file is cut off");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

fn damaged(format: &str, reason: &dyn std::fmt::Display) -> io::Error {
    let text = format!("the {format} data are damaged: {reason}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
