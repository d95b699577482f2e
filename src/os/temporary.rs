// SPDX-License-Identifier: Apache-2.0
//! Temporary files that have no name: what is in them is gone with their descriptor, however the
//! process ends.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Where they are: TMPDIR, or /tmp.
pub(crate) fn folder() -> PathBuf {
    std::env::temp_dir()
}

/// A file in [`folder`] for reading and writing.
///
/// # Errors
/// The folder is missing, may not be written to, or is full.
pub(crate) fn unnamed_file() -> io::Result<File> {
    let folder = folder();
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(&folder) {
        // File systems without such files (NFS, some overlays); EISDIR is of old kernels.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {}
        result => return result,
    }
    let path = folder.join(format!("mod_wsgi.{}", super::random::hexadecimal()));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_file_has_no_name_and_keeps_what_is_written() {
        let file = unnamed_file().unwrap();
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        file.write_all_at(b"body", 0).unwrap();
        let mut read = [0; 4];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"body");
    }
}
