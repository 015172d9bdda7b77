//! Hashes of contents.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes as hexadecimal digits, in lower case.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The SHA-256 of bytes in hexadecimal digits.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}

/// The SHA-256 of a file in hexadecimal digits.
///
/// # Errors
/// [`Error::Io`] with the file if it cannot be read.
pub(crate) fn sha256_file(path: &Path) -> Result<String> {
    /// Bytes that are read at a time.
    const PIECE: usize = 256 * 1024;
    let hash = || {
        let mut reader = BufReader::with_capacity(PIECE, Hashing::new(File::open(path)?));
        io::copy(&mut reader, &mut io::sink())?;
        Ok(reader.into_inner().finish().1)
    };
    hash().map_err(|error| Error::io(path, error))
}

/// Computes the SHA-256 of all that is read or written through it.
#[derive(Debug)]
pub(crate) struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    /// What it read from or wrote to, and the hash in hexadecimal digits.
    pub(crate) fn finish(self) -> (T, String) {
        (self.inner, hex(self.hash.finalize()))
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of FIPS 180-4 for one block.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digits_are_two_a_byte() {
        assert_eq!(hex([0, 1, 0x0f, 0x10, 0xab, 0xff]), "00010f10abff");
        assert_eq!(hex([]), "");
        assert_eq!(sha256("abc"), ABC);
    }

    #[test]
    fn what_is_read_and_written_is_hashed() {
        let mut reader = Hashing::new(&b"abc"[..]);
        assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), 3);
        assert_eq!(reader.finish().1, ABC);

        // A writer that accepts one byte at a time: only accepted bytes are hashed, once.
        struct Slow(Vec<u8>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.extend(bytes.first());
                Ok(bytes.len().min(1))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = Hashing::new(Slow(Vec::new()));
        writer.write_all(b"abc").unwrap();
        let (Slow(written), hash) = writer.finish();
        assert_eq!((written.as_slice(), hash.as_str()), (&b"abc"[..], ABC));
    }
}
