//! `save`: the running configuration as a file to start from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use config::{Startup, TomlFile};

use super::Started;
use crate::model::Model;

/// Who may read a saved file: owner and group.
const MODE: u32 = 0o640;

/// The text of a file from which the daemon would start with this state.
///
/// # Errors
///
/// It could not be read back, which is a defect.
pub fn text(started: &Started, model: &Model) -> Result<String, String> {
    let text = TomlFile::render(&started.fixed, &model.commands());
    match Startup::parse(&text) {
        Ok(_) => Ok(text),
        Err(problems) => {
            let report = config::report("saved.toml", &text, &problems);
            Err(format!("internal error: the saved text could not be read back:\n{report}"))
        }
    }
}

/// Writes a file as a whole or not at all: under another name, and then in place of what is there,
/// which is kept with `.bak` behind its name. A link is followed. Returns the file written.
///
/// # Errors
///
/// Why not, naming the path; what was there is untouched then.
pub fn write(path: &Path, text: &str) -> Result<PathBuf, String> {
    let failed =
        |what: &str, error: io::Error| format!("cannot write {}: {what}{error}", path.display());
    let path = match fs::canonicalize(path) {
        Ok(real) if !real.is_file() => {
            return Err(format!("cannot write {}: it is not a regular file", path.display()));
        }
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(failed("", error)),
    };
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (new, backup) = (beside(".new"), beside(".bak"));
    let written = written(&new, text).and_then(|()| {
        if path.exists() {
            // The name must not be missing at any moment, so it is not renamed.
            let _ = fs::remove_file(&backup);
            fs::hard_link(&path, &backup)?;
        }
        fs::rename(&new, &path)
    });
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = fs::remove_file(&new);
        return Err(failed("", error));
    }
    if let Some(folder) = path.parent().and_then(|folder| fs::File::open(folder).ok()) {
        // Some file systems cannot; the file is there all the same.
        let _ = folder.sync_all();
    }
    Ok(path)
}

fn written(path: &Path, text: &str) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    // Whatever the mask says.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_the_one_before_is_kept() {
        let folder = std::env::temp_dir().join(format!("sluice-save-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("a.toml"), folder.join("link"));
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        write(&file, "one").unwrap();
        assert!(!folder.join("a.toml.bak").exists());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, MODE);
        std::os::unix::fs::symlink("a.toml", &link).unwrap();
        assert_eq!(write(&link, "two").unwrap(), fs::canonicalize(&file).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((read("a.toml"), read("a.toml.bak")), ("two".to_owned(), "one".to_owned()));
        write(&file, "three").unwrap();
        assert_eq!((read("a.toml"), read("a.toml.bak")), ("three".to_owned(), "two".to_owned()));
        assert!(!folder.join("a.toml.new").exists());
        let error = write(&folder, "x").unwrap_err();
        assert!(error.contains("not a regular file"), "{error}");
        let error = write(&folder.join("no/such.toml"), "x").unwrap_err();
        assert!(error.starts_with("cannot write ") && error.contains("no/such.toml"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
