//! The secret that a TCP client shows.

use std::fmt;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Fewest characters.
const MIN: usize = 32;
/// Most characters.
const MAX: usize = 1024;

/// A token. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<[u8]>);

impl Token {
    /// Reads the file of a token that nobody but root and the user `own_uid` can write, and nobody
    /// but them and the file's group can read.
    ///
    /// # Errors
    ///
    /// Why it cannot be used; never what is in it.
    pub(super) fn read(path: &Path, own_uid: u32) -> Result<Self, String> {
        let meta = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if !meta.is_file() {
            return Err("not a regular file".to_owned());
        }
        if meta.uid() != 0 && meta.uid() != own_uid {
            return Err(format!("it belongs to user {}, and should to root", meta.uid()));
        }
        if meta.mode() & 0o137 != 0 {
            return Err(format!(
                "its mode is {:04o}, and others than its owner and group must not read it, nor \
                 others than its owner write it (0600 or 0640)",
                meta.mode() & 0o7777
            ));
        }
        if meta.len() > (MAX + 2) as u64 {
            return Err(format!("a token has at most {MAX} characters"));
        }
        Self::new(&std::fs::read(path).map_err(|error| error.to_string())?)
    }

    /// The token in a file's bytes: one line.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        let token = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let token = token.strip_suffix(b"\r").unwrap_or(token);
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err("a token is one line of printable characters without spaces".to_owned());
        }
        if !(MIN..=MAX).contains(&token.len()) {
            return Err(format!("a token has {MIN} to {MAX} characters, not {}", token.len()));
        }
        Ok(Self(token.into()))
    }

    /// Is this it? Takes the same time however much of it is right; the length is no secret.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        let differences = |sum, (a, b): (&u8, &u8)| black_box(sum | (a ^ b));
        shown.len() == self.0.len() && self.0.iter().zip(shown).fold(0, differences) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_long_line_is_a_token() {
        let long = "0123456789abcdef0123456789abcdef";
        let token = Token::new(format!("{long}\n").as_bytes()).unwrap();
        assert!(token.is(long.as_bytes()));
        for wrong in
            [&long[1..], "x123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdeg", ""]
        {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert!(!format!("{token:?}").contains("0123"));
        for wrong in
            [&long[1..], "two lines\n0123456789abcdef0123456789abcdef", "", &"x".repeat(1025)]
        {
            assert!(Token::new(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_others_read_is_refused() {
        let path = std::env::temp_dir().join(format!("sluice-token-{}", std::process::id()));
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
        let uid = std::fs::metadata(&path).unwrap().uid();
        let read = |mode: u32| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path, uid)
        };
        assert!(read(0o600).is_ok() && read(0o640).is_ok() && read(0o400).is_ok());
        for mode in [0o644, 0o660, 0o606, 0o755] {
            let reason = read(mode).unwrap_err();
            assert!(reason.contains(&format!("mode is {mode:04o}")), "{reason}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Token::read(&path, uid).is_err());
        assert!(Token::read(&std::env::temp_dir(), uid).is_err());
    }
}
