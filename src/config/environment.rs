// SPDX-License-Identifier: Apache-2.0
//! Variables for the environment of daemon processes: what `env=` takes, and the lines of an
//! `env-file=`. The form of such a file is the one that systemd's EnvironmentFile and shells share.
#![forbid(unsafe_code)]

/// A variable: name and value, neither with NUL.
pub(crate) type Variable = (Vec<u8>, Vec<u8>);

/// Longest file that is read, bytes.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// Reads `NAME=VALUE`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn variable(text: &[u8]) -> Result<Variable, String> {
    let Some(sign) = text.iter().position(|byte| *byte == b'=') else {
        return Err("it must be of the form NAME=VALUE".into());
    };
    let (name, value) = text.split_at(sign);
    let value = value.get(1..).unwrap_or_default();
    let is_name = name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if !is_name {
        return Err(format!(
            "\"{}\" is no name of a variable: letters, digits and underscores make one",
            name.escape_ascii()
        ));
    }
    if value.contains(&0) {
        return Err("its value has a NUL in it".into());
    }
    Ok((name.to_vec(), value.to_vec()))
}

/// Reads the lines of a file: `NAME=VALUE`, with or without `export` in front, blank lines, and
/// comments that begin with `#`. A value in single quotes is taken as it is; in double quotes a
/// backslash stands before `"`, `\`, `$` and a back-quote. Nothing is expanded.
///
/// # Errors
/// The number of the first line that is none of these, and why.
pub(crate) fn file(content: &[u8]) -> Result<Vec<Variable>, String> {
    let mut variables = Vec::new();
    for (number, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let line = match line.strip_prefix(b"export") {
            Some(rest) if rest.starts_with(b" ") || rest.starts_with(b"\t") => rest.trim_ascii(),
            _ => line,
        };
        let read = variable(line).and_then(|(name, value)| Ok((name, unquoted(&value)?)));
        variables.push(read.map_err(|problem| format!("line {}: {problem}", number + 1))?);
    }
    Ok(variables)
}

fn unquoted(value: &[u8]) -> Result<Vec<u8>, String> {
    let (quote, inner) = match value {
        [quote @ (b'"' | b'\''), inner @ ..] => (*quote, inner),
        plain => return Ok(plain.to_vec()),
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            byte if byte == quote => {
                return match bytes.next() {
                    None => Ok(out),
                    Some(_) => Err("there is text behind the closing quote".into()),
                };
            }
            b'\\' if quote == b'"' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\' | b'$' | b'`')) => out.push(escaped),
                Some(other) => out.extend([b'\\', other]),
                None => break,
            },
            byte => out.push(byte),
        }
    }
    Err("the closing quote is missing".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Vec<(String, String)>, String> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok(file(content.as_bytes())?.into_iter().map(|(n, v)| (text(n), text(v))).collect())
    }

    #[test]
    fn a_variable_is_a_name_and_any_text() {
        assert_eq!(variable(b"A_1=b=c d"), Ok((b"A_1".to_vec(), b"b=c d".to_vec())));
        assert_eq!(variable(b"EMPTY="), Ok((b"EMPTY".to_vec(), Vec::new())));
        for bad in [&b"A"[..], b"=x", b"1A=x", b"A-B=x", b"A B=x", b"A=\0"] {
            assert!(variable(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_has_lines_comments_and_quotes() {
        let content = "# settings\n\nA=1\n export B = no\n";
        assert_eq!(
            read(content),
            Err(
                "line 4: \"B \" is no name of a variable: letters, digits and underscores make one"
                    .into()
            )
        );
        let content = concat!(
            "# settings\r\n\n",
            "PLAIN=a b # c\r\n",
            "export SINGLE='a \"b\" $C \\n'\n",
            "DOUBLE=\"a \\\"b\\\" \\$C \\n\"\n",
            "exported=1\n",
            "LAST=x",
        );
        let expected = [
            ("PLAIN", "a b # c"),
            ("SINGLE", "a \"b\" $C \\n"),
            ("DOUBLE", "a \"b\" $C \\n"),
            ("exported", "1"),
            ("LAST", "x"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(content).unwrap(), expected);
    }

    #[test]
    fn what_is_no_line_of_that_kind_is_named_by_number() {
        for (content, problem) in [
            ("A=1\nB\n", "line 2: it must be of the form NAME=VALUE"),
            ("A='x", "line 1: the closing quote is missing"),
            ("A=\"x\\", "line 1: the closing quote is missing"),
            ("A='x' y", "line 1: there is text behind the closing quote"),
        ] {
            assert_eq!(read(content), Err(problem.to_owned()));
        }
    }
}
