// SPDX-License-Identifier: Apache-2.0
//! WSGIScriptAlias: its parsing and its matching (spec-config 1.5 and 4.1).
#![forbid(unsafe_code)]

use super::words::{self, Words, text};
use super::{Text, fold_global};

/// One WSGIScriptAlias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alias {
    /// URL path, as written.
    pub(crate) location: Text,
    /// File or directory, as written.
    pub(crate) target: Text,
    /// `process-group=`, with `%{GLOBAL}` as "".
    pub(crate) process_group: Option<Text>,
    /// `application-group=`, with `%{GLOBAL}` as "".
    pub(crate) application_group: Option<Text>,
    /// `callable-object=`, literal.
    pub(crate) callable_object: Option<Text>,
    /// `pass-authorization=`.
    pub(crate) pass_authorization: Option<bool>,
}

/// Parses the arguments of a WSGIScriptAlias.
///
/// # Errors
/// What is wrong and what to write instead.
pub(crate) fn parse(line: &[u8]) -> Result<Alias, String> {
    let mut words = Words::new(line);
    let (Some(location), Some(target)) = (words.next(), words.next()) else {
        return Err("WSGIScriptAlias needs at least two arguments: a URL path and the WSGI script that answers it".into());
    };
    let mut alias = Alias {
        location: location.into(),
        target: target.into(),
        process_group: None,
        application_group: None,
        callable_object: None,
        pass_authorization: None,
    };
    while let Some(option) = words.option() {
        let (name, value) = option.map_err(|word| invalid(&word))?;
        let non_empty = |what: &str| {
            if value.is_empty() {
                Err(format!(
                    "invalid name for WSGI {what}: WSGIScriptAlias {name}= needs a value, %{{GLOBAL}} if none is wanted"
                ))
            } else {
                Ok(())
            }
        };
        match name.as_str() {
            "process-group" => {
                non_empty("process group")?;
                alias.process_group = Some(fold_global(&value));
            }
            "application-group" => {
                non_empty("application group")?;
                alias.application_group = Some(fold_global(&value));
            }
            "callable-object" => {
                non_empty("callable object")?;
                alias.callable_object = Some(value.into());
            }
            "pass-authorization" => {
                alias.pass_authorization = Some(words::boolean(&value).ok_or_else(|| {
                    format!("invalid value for authorization flag: WSGIScriptAlias pass-authorization={} must be On or Off", text(&value))
                })?);
            }
            _ => return Err(invalid(&name)),
        }
    }
    Ok(alias)
}

fn invalid(word: &str) -> String {
    const KNOWN: [&str; 4] =
        ["process-group", "application-group", "callable-object", "pass-authorization"];
    let hint = super::nearest(word, KNOWN.into_iter()).map_or_else(
        || format!("known are {}", KNOWN.join(", ")),
        |name| format!("did you mean {name}=?"),
    );
    format!("invalid option \"{word}\" to WSGI script alias definition: {hint}")
}

impl Alias {
    /// Whether the script is loaded when the processes start: both groups are known beforehand.
    pub(crate) fn is_preloaded(&self) -> bool {
        let literal = |name: &Option<Text>| {
            name.as_ref().is_some_and(|name| !name.windows(2).any(|pair| pair == b"%{"))
        };
        literal(&self.process_group) && literal(&self.application_group)
    }

    /// The file for a decoded URL path, if the alias matches it. Any run of slashes matches any run;
    /// the match ends at a segment boundary.
    pub(crate) fn file_for(&self, uri: &[u8]) -> Option<Vec<u8>> {
        let end = matched_length(&self.location, uri)?;
        // "/" stands for every path, including the one that it starts with.
        let rest = if is_root(&self.location) { uri } else { uri.get(end..)? };
        Some([&self.target, rest].concat())
    }
}

fn is_root(location: &[u8]) -> bool {
    location == b"/"
}

/// How much of the path the location covers; None when it does not match.
fn matched_length(location: &[u8], uri: &[u8]) -> Option<usize> {
    let (mut at, mut uri_at) = (0, 0);
    while at < location.len() {
        if location[at] == b'/' {
            if uri.get(uri_at) != Some(&b'/') {
                return None;
            }
            at += location[at..].iter().take_while(|byte| **byte == b'/').count();
            uri_at += uri[uri_at..].iter().take_while(|byte| **byte == b'/').count();
        } else {
            if uri.get(uri_at) != Some(&location[at]) {
                return None;
            }
            at += 1;
            uri_at += 1;
        }
    }
    let at_boundary = location.ends_with(b"/") || matches!(uri.get(uri_at), None | Some(b'/'));
    at_boundary.then_some(uri_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(line: &str, uri: &str) -> Option<String> {
        parse(line.as_bytes()).unwrap().file_for(uri.as_bytes()).map(|file| text(&file))
    }

    #[test]
    fn matching_ends_at_a_segment() {
        assert_eq!(file("/a /x.wsgi", "/a").as_deref(), Some("/x.wsgi"));
        assert_eq!(file("/a /x.wsgi", "/a/b").as_deref(), Some("/x.wsgi/b"));
        assert_eq!(file("/a /x.wsgi", "/ab"), None);
        assert_eq!(file("/a/ /d/", "/a/b").as_deref(), Some("/d/b"));
        assert_eq!(file("/a/ /d/", "/a"), None);
    }

    #[test]
    fn the_root_matches_everything() {
        assert_eq!(file("/ /x.wsgi", "/").as_deref(), Some("/x.wsgi/"));
        assert_eq!(file("/ /x.wsgi", "/b/c").as_deref(), Some("/x.wsgi/b/c"));
        assert_eq!(file("/ /d/", "/b").as_deref(), Some("/d//b"));
    }

    #[test]
    fn runs_of_slashes_match_runs() {
        assert_eq!(file("/a//b /x", "/a/b/c").as_deref(), Some("/x/c"));
        assert_eq!(file("/a/b /x", "//a///b").as_deref(), Some("/x"));
    }

    #[test]
    fn options() {
        let alias =
            parse(b"/a /x process-group=%{GLOBAL} application-group='g' pass-authorization=ON")
                .unwrap();
        assert_eq!(alias.process_group.as_deref(), Some(&b""[..]));
        assert_eq!(alias.pass_authorization, Some(true));
        assert!(alias.is_preloaded());
        assert!(!parse(b"/a /x process-group=p").unwrap().is_preloaded());
        assert!(
            !parse(b"/a /x process-group=p application-group=%{RESOURCE}").unwrap().is_preloaded()
        );
    }

    #[test]
    fn errors_name_the_word_and_the_remedy() {
        for (line, needle) in [
            ("/a", "two arguments"),
            ("/a /x process-group=", "invalid name"),
            ("/a /x pass-authorization=yes", "On or Off"),
            ("/a /x processgroup=p", "did you mean process-group"),
            ("/a /x stray", "invalid option"),
        ] {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(needle), "{line}: {error}");
        }
    }
}
