// SPDX-License-Identifier: Apache-2.0
//! WSGIScriptAlias and WSGIScriptAliasMatch: parsing and matching (spec-config 1.5 and 4.1).
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::words::{self, Words, text};
use super::{Context, Text, fold_global};

/// Groups of a regular expression that can be referred to, `$0` to `$9`.
pub(crate) const GROUPS: usize = 10;

/// A compiled regular expression.
pub(crate) trait Pattern: fmt::Debug + Send + Sync {
    /// Where the first match and its groups are; None when there is no match.
    fn find(&self, text: &[u8]) -> Option<[Option<Range<usize>>; GROUPS]>;
}

/// One WSGIScriptAlias or WSGIScriptAliasMatch.
#[derive(Debug, Clone)]
pub(crate) struct Alias {
    /// URL path or regular expression, as written.
    pub(crate) location: Text,
    /// The regular expression of a WSGIScriptAliasMatch.
    pub(crate) pattern: Option<Arc<dyn Pattern>>,
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

/// Parses the arguments of a WSGIScriptAlias, or, with a context to compile the regular expression,
/// of a WSGIScriptAliasMatch.
///
/// # Errors
/// What is wrong and what to write instead.
pub(crate) fn parse(line: &[u8], compile: Option<&mut dyn Context>) -> Result<Alias, String> {
    let directive = if compile.is_some() { "WSGIScriptAliasMatch" } else { "WSGIScriptAlias" };
    let mut words = Words::new(line);
    let (Some(location), Some(target)) = (words.next_filled(), words.next_filled()) else {
        return Err(format!(
            "{directive} needs at least two arguments: a URL path and the WSGI script that answers it"
        ));
    };
    let pattern = match compile {
        Some(context) => Some(context.compile(&location)?),
        None => None,
    };
    let mut alias = Alias {
        location: location.into(),
        pattern,
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
                    "invalid name for WSGI {what}: {directive} {name}= needs a value, %{{GLOBAL}} if none is wanted"
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
                    format!("invalid value for authorization flag: {directive} pass-authorization={} must be On or Off", text(&value))
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
    format!("invalid option to WSGI script alias definition: \"{word}\", {hint}")
}

impl Alias {
    /// Whether the script is loaded when the processes start: both groups are known beforehand.
    pub(crate) fn is_preloaded(&self) -> bool {
        let literal = |name: &Option<Text>| {
            name.as_ref().is_some_and(|name| !name.windows(2).any(|pair| pair == b"%{"))
        };
        literal(&self.process_group)
            && literal(&self.application_group)
            && (self.pattern.is_none() || !self.target.contains(&b'$'))
    }

    /// The file for a decoded URL path, if the alias matches it. Any run of slashes matches any run,
    /// and the match ends at a segment boundary; a regular expression matches where it says.
    pub(crate) fn file_for(&self, uri: &[u8]) -> Option<Vec<u8>> {
        let (end, target) = match &self.pattern {
            Some(pattern) => {
                let groups = pattern.find(uri)?;
                let end = groups.first()?.as_ref()?.end;
                if end == 0 {
                    return None;
                }
                (end, substituted(&self.target, uri, &groups))
            }
            None => (matched_length(&self.location, uri)?, self.target.to_vec()),
        };
        // "/" stands for every path, including the one that it starts with.
        let is_root = match self.pattern {
            Some(_) => end == 1 && uri.starts_with(b"/"),
            None => is_root(&self.location),
        };
        let rest = if is_root { uri } else { uri.get(end..)? };
        Some([&target, rest].concat())
    }
}

/// The target with `$0` to `$9` replaced by what the groups matched; a backslash takes the meaning
/// of what is behind it (httpd's rules for AliasMatch).
fn substituted(target: &[u8], uri: &[u8], groups: &[Option<Range<usize>>; GROUPS]) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len() + uri.len());
    let mut bytes = target.iter().peekable();
    while let Some(byte) = bytes.next() {
        let digit = |byte: &&u8| byte.is_ascii_digit().then(|| usize::from(**byte - b'0'));
        match (byte, bytes.peek()) {
            (b'$', Some(next)) if next.is_ascii_digit() => {
                let group = digit(next).and_then(|number| groups.get(number)?.clone());
                out.extend_from_slice(group.and_then(|range| uri.get(range)).unwrap_or_default());
                bytes.next();
            }
            (b'\\', Some(next)) => {
                out.push(**next);
                bytes.next();
            }
            _ => out.push(*byte),
        }
    }
    out
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
        parse(line.as_bytes(), None).unwrap().file_for(uri.as_bytes()).map(|file| text(&file))
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

    /// A pattern of fixed matches.
    #[derive(Debug)]
    struct Found(Vec<Range<usize>>);

    impl Pattern for Found {
        fn find(&self, _text: &[u8]) -> Option<[Option<Range<usize>>; GROUPS]> {
            Some(std::array::from_fn(|index| self.0.get(index).cloned()))
        }
    }

    fn matched(target: &str, uri: &str, groups: &[Range<usize>]) -> Option<String> {
        let mut alias = parse(format!("/re {target}").as_bytes(), None).unwrap();
        alias.pattern = Some(Arc::new(Found(groups.to_vec())));
        alias.file_for(uri.as_bytes()).map(|file| text(&file))
    }

    #[test]
    fn matches_are_substituted_and_the_rest_follows() {
        let groups = [0..6, 1..2];
        assert_eq!(matched("/x/$1.wsgi", "/a/b/c/d", &groups).as_deref(), Some("/x/a.wsgi/d"));
        assert_eq!(matched("/x/$0$9", "/a/b/c/d", &groups).as_deref(), Some("/x//a/b/c/d"));
        assert_eq!(matched(r"/x\$1", "/a", &[0..2, 1..2]).as_deref(), Some("/x$1"));
        assert_eq!(matched("/x", "/a", &[0..0, 0..0]), None);
        assert_eq!(matched("/x", "/a/b", &[0..1, 0..1]).as_deref(), Some("/x/a/b"));
    }

    #[test]
    fn options() {
        let alias = parse(
            b"/a /x process-group=%{GLOBAL} application-group='g' pass-authorization=ON",
            None,
        )
        .unwrap();
        assert_eq!(alias.process_group.as_deref(), Some(&b""[..]));
        assert_eq!(alias.pass_authorization, Some(true));
        assert!(alias.is_preloaded());
        assert!(!parse(b"/a /x process-group=p", None).unwrap().is_preloaded());
        assert!(
            !parse(b"/a /x process-group=p application-group=%{RESOURCE}", None)
                .unwrap()
                .is_preloaded()
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
            let error = parse(line.as_bytes(), None).unwrap_err();
            assert!(error.contains(needle), "{line}: {error}");
        }
    }
}
