// SPDX-License-Identifier: Apache-2.0
//! The environment of a daemon process: what the plan has, then `env-file=`, then `env=`. The file is
//! read by the forked child at each start. As root only where nobody else can choose what is read;
//! otherwise as the group's user, who must not get at files of others by way of a link.
#![forbid(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::environment::{self, Variable};
use crate::httpd::c_string;
use crate::os::read_regular_file;

/// An `env-file=`, if there is one, and what was read of it.
#[derive(Debug)]
pub(super) struct Source {
    /// Where.
    path: Option<PathBuf>,
    /// Its variables, once they are read.
    variables: Option<Vec<Variable>>,
}

impl Source {
    /// A file that is not read yet.
    pub(super) fn new(path: Option<&[u8]>) -> Self {
        let path = path.map(|path| PathBuf::from(OsStr::from_bytes(path)));
        Self { path, variables: None }
    }

    /// Reads it as the user that this process still is, if only root could have put there what is
    /// there.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub(super) fn read_if_trusted(&mut self) -> Result<(), String> {
        if let Some(path) = self.path.as_deref().filter(|path| is_trusted(path)) {
            self.variables = Some(read(path)?);
        }
        Ok(())
    }

    /// The variables; reads the file unless that is done.
    ///
    /// # Errors
    /// Why it cannot be read, for the log, with a number.
    pub(super) fn read(self) -> Result<Vec<Variable>, String> {
        match (self.variables, self.path) {
            (Some(variables), _) => Ok(variables),
            (None, Some(path)) => read(&path),
            (None, None) => Ok(Vec::new()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<Variable>, String> {
    let problem = |problem: String| {
        format!("WSGI0326: env-file={} cannot be used: {problem}", path.display())
    };
    let content = read_regular_file(path, environment::MAX_FILE + 1)
        .map_err(|error| problem(error.to_string()))?;
    if content.len() as u64 > environment::MAX_FILE {
        return Err(problem(format!("it is longer than {} bytes", environment::MAX_FILE)));
    }
    environment::file(&content).map_err(problem)
}

/// Whether the file and all directories on the way to it belong to root, can be written by nobody
/// else, and none is a symbolic link.
fn is_trusted(path: &Path) -> bool {
    path.ancestors().all(|part| {
        part.symlink_metadata()
            .is_ok_and(|found| !found.is_symlink() && found.uid() == 0 && found.mode() & 0o022 == 0)
    })
}

/// Whether a variable is there.
pub(super) fn has(environment: &[CString], name: &str) -> bool {
    environment.iter().any(|known| name_of(known.as_bytes()) == name.as_bytes())
}

fn name_of(assignment: &[u8]) -> &[u8] {
    assignment.split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// The environment with further variables; of several with one name the last counts.
pub(super) fn with(base: &[CString], file: Vec<Variable>, said: &[Variable]) -> Vec<CString> {
    let mut environment = base.to_vec();
    for (name, value) in file.iter().chain(said) {
        let assignment = c_string(&[name.as_slice(), b"=", value].concat());
        match environment.iter_mut().find(|known| name_of(known.as_bytes()) == name) {
            Some(known) => *known = assignment,
            None => environment.push(assignment),
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_counts() {
        let base = [c"A=1".into(), c"AB=2".into()];
        let pair = |name: &str, value: &str| (name.into(), value.into());
        let all = with(&base, vec![pair("A", "3"), pair("C", "4")], &[pair("C", "5")]);
        let expected: [CString; 3] = [c"A=3".into(), c"AB=2".into(), c"C=5".into()];
        assert_eq!(all, expected);
        assert!(has(&all, "C") && !has(&all, "D"));
    }

    #[test]
    fn a_file_that_others_could_have_chosen_is_not_trusted() {
        // The directory of temporary files can be written by everybody.
        let file = std::env::temp_dir().join(format!("mod_wsgi-env-{}", std::process::id()));
        std::fs::write(&file, "A=1").unwrap();
        assert!(!is_trusted(&file));
        let mut source = Source::new(Some(file.as_os_str().as_bytes()));
        source.read_if_trusted().unwrap();
        assert!(source.variables.is_none());
        assert_eq!(source.read(), Ok(vec![(b"A".to_vec(), b"1".to_vec())]));
        std::fs::remove_file(&file).unwrap();
        let missing = Source::new(Some(file.as_os_str().as_bytes())).read().unwrap_err();
        assert!(missing.starts_with("WSGI0326: env-file="), "{missing}");
    }
}
