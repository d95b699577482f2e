// SPDX-License-Identifier: Apache-2.0
//! `mod_wsgi_python.abi3.so`, which lies beside this library. It is held open from the first time
//! that httpd loads us until httpd ends: httpd goes on with the `mod_wsgi.so` that it has loaded
//! when a new one is installed and httpd is restarted (the library stays mapped), and the two must
//! be of one build.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use once_cell::sync::OnceCell;

use crate::os::library;

/// The Python side's library.
#[derive(Debug)]
pub(crate) struct PythonLibrary {
    /// Where it was.
    path: PathBuf,
    /// The file; None when it could not be opened, and then the path stands for it.
    file: Option<File>,
}

/// Opened once in the life of httpd.
static LIBRARY: OnceCell<PythonLibrary> = OnceCell::new();

impl PythonLibrary {
    /// The library of this httpd.
    pub(crate) fn get() -> &'static Self {
        LIBRARY.get_or_init(|| {
            let folder = library::own_path().and_then(|path| path.parent().map(Path::to_owned));
            let path = folder.unwrap_or_default().join("mod_wsgi_python.abi3.so");
            let file = File::open(&path).ok().filter(|_| Path::new("/proc/self/fd").exists());
            Self { path, file }
        })
    }

    /// Where it was, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// What this process, or one that has the descriptor under another number, is to load.
    pub(crate) fn loadable(&self, number: Option<i32>) -> PathBuf {
        match &self.file {
            Some(file) => format!("/proc/self/fd/{}", number.unwrap_or(file.as_raw_fd())).into(),
            None => self.path.clone(),
        }
    }

    /// Whether another file has taken its place on disk.
    pub(crate) fn is_replaced(&self) -> bool {
        let identity = |data: std::fs::Metadata| (data.dev(), data.ino());
        let held = self.file.as_ref().and_then(|file| file.metadata().ok()).map(identity);
        let found = std::fs::metadata(&self.path).ok().map(identity);
        held.is_some() && found.is_some() && held != found
    }
}
