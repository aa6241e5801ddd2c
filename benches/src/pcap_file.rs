//! Capture files, for ports that replay them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// The head of a file of the classic format: magic number (microseconds, little-endian), version
/// 2.4, time zone and accuracy 0, frames of up to 65 535 bytes, `LINKTYPE_ETHERNET`.
const HEAD: [u8; 24] =
    [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];

/// Writes frames to a file, a microsecond apart.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write(path: &Path, frames: impl Iterator<Item = Vec<u8>>) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&HEAD)?;
    for (at, frame) in frames.enumerate() {
        let (at, len) = (at as u32, frame.len() as u32);
        for word in [at / 1_000_000, at % 1_000_000, len, len] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame)?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_head_and_records() {
        let name = format!("sluice-bench-test-{}.pcap", std::process::id());
        let path = std::env::temp_dir().join(name);
        write(&path, [vec![1, 2, 3], vec![4; 60]].into_iter()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes.len(), 24 + 16 + 3 + 16 + 60);
        assert_eq!(bytes[24..40], [0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(bytes[40..43], [1, 2, 3]);
        // The second is a microsecond later.
        assert_eq!(bytes[43..51], [0, 0, 0, 0, 1, 0, 0, 0]);
    }
}
