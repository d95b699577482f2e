// SPDX-License-Identifier: Apache-2.0
//! Directives that say which Python runs and how, for all interpreters or, in
//! `<WSGIInterpreterOptions>`, for some of them.
#![forbid(unsafe_code)]

use super::{Action, Directive, Here, Place, global};
use crate::config::words::{self, Words, text};
use crate::config::{Block, HashSeed, InterpreterOptions, fold_global};

const BOOLEAN: &str = "On|Off";

/// A main-server directive that is On or Off, and may stand in `<WSGIInterpreterOptions>`.
const fn option(
    name: &'static std::ffi::CStr,
    default: &'static str,
    meaning: &'static std::ffi::CStr,
    set: fn(&mut InterpreterOptions, bool),
) -> Directive {
    let action = Action::OptionBoolean(set);
    Directive { name, place: Place::Global, usage: BOOLEAN, default, meaning, action }
}

pub(super) const DIRECTIVES: &[Directive] = &[
    global(
        c"WSGIPythonHome",
        "directory of a virtual environment or a Python installation",
        "the system's Python",
        c"The Python of embedded mode, and of process groups without python-home",
        Action::GlobalText(|global, value| global.python_home = Some(value)),
    ),
    global(
        c"WSGIPythonPath",
        "directory[:directory ...]",
        "none",
        c"Embedded mode: directories put in front of sys.path",
        Action::OptionText(|options, value| {
            options.python_path = Some(value);
            Ok(())
        }),
    ),
    global(
        c"WSGIPythonEggs",
        "directory",
        "none",
        c"Embedded mode: PYTHON_EGG_CACHE",
        Action::GlobalText(|global, value| global.python_eggs = Some(value)),
    ),
    global(
        c"WSGIPythonOptimize",
        "level",
        "0",
        c"Optimisation level, as Python's -O",
        Action::Line(python_optimize),
    ),
    global(
        c"WSGIDontWriteBytecode",
        BOOLEAN,
        "Off",
        c"Whether Python writes no .pyc files, as its -B",
        Action::GlobalBoolean(|global, value| global.dont_write_bytecode = Some(value)),
    ),
    global(
        c"WSGIPythonWarnings",
        "filter",
        "none",
        c"A filter of warnings, as Python's -W; may be repeated",
        Action::GlobalText(|global, value| global.python_warnings.push(value)),
    ),
    global(
        c"WSGIPythonHashSeed",
        "random|0..4294967295",
        "Python's",
        c"Seed of hashes of text, as PYTHONHASHSEED",
        Action::Line(hash_seed),
    ),
    global(
        c"WSGISwitchInterval",
        "seconds",
        "Python's",
        c"sys.setswitchinterval; switch-interval of a process group comes before it",
        Action::OptionText(|options, value| {
            options.switch_interval =
                Some(words::positive_float(&value).map(nanoseconds).ok_or_else(|| {
                    format!(
                        "WSGISwitchInterval must be a positive number of seconds, and not \"{}\"",
                        text(&value)
                    )
                })?);
            Ok(())
        }),
    ),
    global(
        c"WSGIDestroyInterpreter",
        BOOLEAN,
        "On",
        c"Whether Python is finalised when a process ends",
        Action::GlobalBoolean(|global, value| global.destroy_interpreter = Some(value)),
    ),
    option(
        c"WSGIPerInterpreterGIL",
        "Off",
        c"Whether sub-interpreters have a GIL of their own, from Python 3.12 on",
        |options, value| options.own_gil = Some(value),
    ),
    global(
        c"WSGIFreeThreading",
        BOOLEAN,
        "Off",
        c"Accepted; free-threaded builds of Python are not supported",
        Action::Line(free_threading),
    ),
    option(
        c"WSGIRestrictStdin",
        "Off",
        c"Whether sys.stdin raises OSError when it is used",
        |options, value| options.restrict_stdin = Some(value),
    ),
    option(
        c"WSGIRestrictStdout",
        "Off",
        c"Whether sys.stdout raises OSError when it is used",
        |options, value| options.restrict_stdout = Some(value),
    ),
    option(
        c"WSGIRestrictSignal",
        "On",
        c"Whether signal.signal is ignored, with a line in the log",
        |options, value| options.restrict_signal = Some(value),
    ),
    global(
        c"WSGICaseSensitivity",
        BOOLEAN,
        "On",
        c"Off: paths that differ in case are the same script and application group",
        Action::GlobalBoolean(|global, value| global.case_sensitivity = Some(value)),
    ),
    global(
        c"<WSGIInterpreterOptions",
        "[process-group=name] [application-group=name]>",
        "none",
        c"Section: WSGIPythonPath, WSGISwitchInterval, WSGIPerInterpreterGIL, WSGIRestrict* for some interpreters only",
        Action::Section,
    ),
];

fn nanoseconds(seconds: f64) -> u64 {
    // A cast from a float saturates.
    (seconds * 1e9) as u64
}

fn python_optimize(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let word = super::single("WSGIPythonOptimize", "level", line)?;
    let number = words::lenient_integer(&word);
    if number.ignored {
        here.context.warn(format!(
            "WSGIPythonOptimize {} is read as {}: write the number alone",
            text(&word),
            number.value
        ));
    }
    here.global()?.optimize = Some(u8::try_from(number.value.clamp(0, 9)).unwrap_or(0));
    Ok(())
}

fn hash_seed(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let word = super::single("WSGIPythonHashSeed", "random|0..4294967295", line)?;
    let seed = match word.trim_ascii_start() {
        b"random" => HashSeed::Random,
        digits if digits.iter().all(u8::is_ascii_digit) => {
            text(digits).parse().map(HashSeed::Fixed).map_err(|_| wrong_seed(digits))?
        }
        other => return Err(wrong_seed(other)),
    };
    here.global()?.hash_seed = Some(seed);
    Ok(())
}

fn wrong_seed(word: &[u8]) -> String {
    format!(
        "WSGIPythonHashSeed must be \"random\" or an integer in range [0; 4294967295], and not \"{}\"",
        text(word)
    )
}

fn free_threading(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let word = super::single("WSGIFreeThreading", BOOLEAN, line)?;
    let value = words::boolean(&word).ok_or_else(|| {
        format!("WSGIFreeThreading must be one of: Off | On, and not \"{}\"", text(&word))
    })?;
    if value {
        here.context.warn(
            "WSGI0200: WSGIFreeThreading On has no effect: free-threaded builds of Python are not supported"
                .into(),
        );
    }
    let global = here.global()?;
    let block = global.block.and_then(|block| global.blocks.get(block));
    if block.is_some_and(|block| block.application_group.is_some()) {
        here.context.warn(
            "WSGI0201: WSGIFreeThreading is for whole processes, and ignored for one application group"
                .into(),
        );
    }
    Ok(())
}

/// Reads the selectors of `<WSGIInterpreterOptions`.
///
/// # Errors
/// What is wrong and what to write instead.
pub(crate) fn parse_block(line: &[u8]) -> Result<Block, String> {
    let Some(line) = line.trim_ascii_end().strip_suffix(b">") else {
        return Err("<WSGIInterpreterOptions directive missing closing '>'".into());
    };
    let mut block = Block::default();
    let mut words = Words::new(line);
    while let Some(option) = words.option() {
        if option.as_ref().is_err_and(String::is_empty) {
            continue;
        }
        let (name, value) = option.map_err(|word| {
            format!(
                "<WSGIInterpreterOptions> selector \"{word}\" is not of the form name=value: write process-group=name or application-group=name"
            )
        })?;
        let name = name.to_ascii_lowercase();
        let place = match name.as_str() {
            "process-group" => &mut block.process_group,
            "application-group" => &mut block.application_group,
            _ => {
                return Err(format!(
                    "<WSGIInterpreterOptions> has no selector \"{name}\": write process-group=name or application-group=name"
                ));
            }
        };
        if place.is_some() {
            return Err(format!(
                "<WSGIInterpreterOptions> selector {name}= is given more than once"
            ));
        }
        *place = Some(fold_global(&value));
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn seeds() {
        let seed = |value: &str| {
            read(&[&format!("WSGIPythonHashSeed {value}")]).map(|(global, _)| global.hash_seed)
        };
        assert_eq!(seed("random"), Ok(Some(HashSeed::Random)));
        assert_eq!(seed("4294967295"), Ok(Some(HashSeed::Fixed(u32::MAX))));
        for wrong in ["4294967296", "-1", "abc"] {
            assert!(seed(wrong).unwrap_err().contains("random"), "{wrong}");
        }
    }

    #[test]
    fn numbers() {
        let (global, _) = read(&["WSGIPythonOptimize 2x", "WSGISwitchInterval 0.005"]).unwrap();
        assert_eq!((global.optimize, global.warnings.len()), (Some(2), 1));
        assert_eq!(global.options.switch_interval, Some(5_000_000));
        assert!(read(&["WSGISwitchInterval 0"]).is_err());
        assert_eq!(read(&["WSGIPythonOptimize -3"]).unwrap().0.optimize, Some(0));
    }

    #[test]
    fn selectors() {
        let block = parse_block(b" Process-Group=a application-group=%{GLOBAL}>").unwrap();
        assert_eq!(block.process_group.as_deref(), Some(&b"a"[..]));
        assert_eq!(block.application_group.as_deref(), Some(&b""[..]));
        assert_eq!(parse_block(b">").unwrap(), Block::default());
        assert_eq!(
            parse_block(b"process-group=>").unwrap().process_group.as_deref(),
            Some(&b""[..])
        );
        for (line, needle) in [
            ("process-group=a", "missing closing"),
            ("alone>", "name=value"),
            ("other=a>", "no selector \"other\""),
            ("process-group=a PROCESS-GROUP=b>", "more than once"),
        ] {
            let error = parse_block(line.as_bytes()).unwrap_err();
            assert!(error.contains(needle), "{line}: {error}");
        }
    }
}
