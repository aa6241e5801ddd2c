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

/// Reads the frames of a file of the classic format, of either byte order, with times in micro- or
/// nanoseconds.
///
/// # Errors
///
/// When it cannot be read, is of another format or link type, or ends in the middle of a frame.
pub fn read(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let little = match bytes.first_chunk() {
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => true,
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => false,
        _ => return Err("not a capture file of the classic format (pcap)".to_owned()),
    };
    let word = |at: usize| {
        let word = bytes.get(at..)?.first_chunk::<4>()?;
        Some(if little { u32::from_le_bytes(*word) } else { u32::from_be_bytes(*word) } as usize)
    };
    // The upper bits may tell of a check sequence.
    if word(20).is_none_or(|link| link & 0xffff != 1) {
        return Err("not of Ethernet frames (LINKTYPE_ETHERNET)".to_owned());
    }
    let (mut frames, mut at) = (Vec::new(), HEAD.len());
    while at < bytes.len() {
        let frame = word(at + 8).and_then(|len| bytes.get(at + 16..)?.get(..len));
        let frame = frame.ok_or_else(|| format!("frame {} is cut off", frames.len() + 1))?;
        frames.push(frame.to_vec());
        at += 16 + frame.len();
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let name = format!("sluice-bench-test-read-{}.pcap", std::process::id());
        let path = std::env::temp_dir().join(name);
        let frames = vec![vec![1, 2, 3], vec![4; 60]];
        write(&path, frames.clone().into_iter()).unwrap();
        assert_eq!(read(&path), Ok(frames));
        let mut bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(parse(&bytes[..bytes.len() - 1]).unwrap_err().contains("frame 2 is cut off"));
        assert!(parse(&bytes[..30]).unwrap_err().contains("frame 1 is cut off"));
        bytes[20] = 113;
        assert!(parse(&bytes).unwrap_err().contains("Ethernet"));
        assert!(parse(&[0x0a; 40]).unwrap_err().contains("classic"));
        assert!(parse(&[]).is_err() && read(&path).is_err());
    }

    #[test]
    fn the_other_byte_order_is_read() {
        let mut bytes = vec![0xa1, 0xb2, 0x3c, 0x4d, 0, 2, 0, 4];
        bytes.extend([0; 8]);
        bytes.extend([0, 0, 0xff, 0xff, 0, 0, 0, 1]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 7, 8]);
        assert_eq!(parse(&bytes), Ok(vec![vec![7, 8]]));
    }

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
