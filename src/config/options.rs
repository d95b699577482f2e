// SPDX-License-Identifier: Apache-2.0
//! Options of interpreters: those of all, those of a `<WSGIInterpreterOptions>`, and which of the
//! latter hold for a process group (spec-config 1.5).
#![forbid(unsafe_code)]

use mod_wsgi_protocol::settings::Layer;

use super::{Global, Text};

/// WSGIPythonHashSeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashSeed {
    /// Another one in each process.
    Random,
    /// This one.
    Fixed(u32),
}

impl HashSeed {
    /// As PYTHONHASHSEED has it.
    pub(crate) fn variable(self) -> String {
        match self {
            Self::Random => "random".into(),
            Self::Fixed(seed) => seed.to_string(),
        }
    }
}

/// Options that all interpreters can have, or some; None is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InterpreterOptions {
    /// WSGIPythonPath.
    pub(crate) python_path: Option<Text>,
    /// WSGISwitchInterval, nanoseconds.
    pub(crate) switch_interval: Option<u64>,
    /// WSGIPerInterpreterGIL.
    pub(crate) own_gil: Option<bool>,
    /// WSGIRestrictStdin.
    pub(crate) restrict_stdin: Option<bool>,
    /// WSGIRestrictStdout.
    pub(crate) restrict_stdout: Option<bool>,
    /// WSGIRestrictSignal.
    pub(crate) restrict_signal: Option<bool>,
}

/// A `<WSGIInterpreterOptions>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Process group that it holds for, "" is embedded mode; None is all.
    pub(crate) process_group: Option<Text>,
    /// Application group that it holds for; None is all.
    pub(crate) application_group: Option<Text>,
    /// What it says.
    pub(crate) options: InterpreterOptions,
}

impl Block {
    fn specificity(&self) -> u8 {
        u8::from(self.process_group.is_some()) + u8::from(self.application_group.is_some())
    }
}

impl Global {
    /// The options that blocks set in a process group, the most specific last, and of two that are
    /// alike the later one.
    pub(crate) fn layers(&self, process_group: &[u8]) -> Vec<Layer> {
        let mut blocks: Vec<&Block> = self
            .blocks
            .iter()
            .filter(|block| {
                block.process_group.as_deref().is_none_or(|group| group == process_group)
            })
            .collect();
        blocks.sort_by_key(|block| block.specificity());
        let bytes = |text: &Text| text.to_vec();
        blocks
            .into_iter()
            .map(|block| Layer {
                application_group: block.application_group.as_ref().map(bytes),
                python_path: block.options.python_path.as_ref().map(bytes),
                switch_interval: block.options.switch_interval,
                own_gil: block.options.own_gil,
                restrict_stdin: block.options.restrict_stdin,
                restrict_stdout: block.options.restrict_stdout,
                restrict_signal: block.options.restrict_signal,
            })
            .collect()
    }

    /// What goes into PYTHONHASHSEED.
    pub(crate) fn hash_seed_variable(&self) -> Option<String> {
        self.hash_seed.map(HashSeed::variable)
    }

    /// Options of Python's command line that the configuration asks for.
    pub(crate) fn python_arguments(&self) -> Vec<Vec<u8>> {
        let mut arguments = Vec::new();
        for _ in 0..self.optimize.unwrap_or(0) {
            arguments.push(b"-O".to_vec());
        }
        if self.dont_write_bytecode == Some(true) {
            arguments.push(b"-B".to_vec());
        }
        for filter in &self.python_warnings {
            arguments.push(b"-W".to_vec());
            arguments.push(filter.to_vec());
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(process_group: Option<&str>, application_group: Option<&str>, path: &str) -> Block {
        let text = |text: &str| Text::from(text.as_bytes());
        Block {
            process_group: process_group.map(text),
            application_group: application_group.map(text),
            options: InterpreterOptions {
                python_path: Some(text(path)),
                ..InterpreterOptions::default()
            },
        }
    }

    #[test]
    fn the_most_specific_block_is_last() {
        let global = Global {
            blocks: vec![
                block(Some("g"), Some("a"), "both"),
                block(None, Some("a"), "application"),
                block(Some("g"), None, "process"),
                block(Some("other"), None, "other"),
                block(None, None, "all"),
            ],
            ..Global::default()
        };
        let paths = |group: &[u8]| {
            let layers = global.layers(group).into_iter();
            layers
                .map(|layer| String::from_utf8(layer.python_path.unwrap()).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(b"g"), ["all", "application", "process", "both"]);
        assert_eq!(paths(b""), ["all", "application"]);
    }

    #[test]
    fn options_of_the_command_line() {
        let global = Global {
            optimize: Some(2),
            dont_write_bytecode: Some(true),
            python_warnings: vec![(*b"error").into(), (*b"ignore").into()],
            ..Global::default()
        };
        let arguments = global.python_arguments().concat();
        assert_eq!(arguments, b"-O-O-B-Werror-Wignore");
    }
}
