// SPDX-License-Identifier: Apache-2.0
//! SCRIPT_NAME and PATH_INFO from a decoded URL path (spec-config 3.3 and 4.5).
#![forbid(unsafe_code)]

/// The part of the path that names the script: the path without the suffix that equals the path
/// info. A run of slashes in the path stands for any slash of the path info.
pub(crate) fn script_part<'a>(uri: &'a [u8], path_info: &[u8]) -> &'a [u8] {
    if path_info.is_empty() {
        return uri;
    }
    let (mut end, mut info_end) = (uri.len(), path_info.len());
    while end > 0 && info_end > 0 && uri[end - 1] == path_info[info_end - 1] {
        end -= 1;
        info_end -= 1;
        if path_info[info_end] == b'/' {
            while end > 0 && uri[end - 1] == b'/' {
                end -= 1;
            }
        }
    }
    // What differs within a segment belongs to the script: go on to the end of the segment, from
    // the byte that differs, which may be the slash that ends it (as httpd's ap_find_path_info).
    let start = end.saturating_sub(1);
    let rest = uri.get(start..).unwrap_or_default();
    let end = start + rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    uri.get(..end).unwrap_or(uri)
}

/// The path with every run of slashes made one.
pub(crate) fn collapsed(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_part_is_what_is_left_of_the_path_info() {
        for (uri, info, script) in [
            ("/app", "", "/app"),
            ("/app/x/y", "/x/y", "/app"),
            ("/x/y", "/x/y", ""),
            ("/app//x", "/x", "/app"),
            ("/app///x//y", "/x/y", "/app"),
            ("/app/", "/", "/app"),
            ("/", "/", ""),
            ("/appx/y", "/other/y", "/appx"),
            ("/app/", "/extra", "/app"),
            ("/app/x/y", "/extrax/y", "/app"),
            ("/app//x", "/extrax", "/app/"),
        ] {
            let found = script_part(uri.as_bytes(), info.as_bytes());
            assert_eq!(String::from_utf8_lossy(found), script, "{uri} {info}");
        }
    }

    #[test]
    fn runs_of_slashes_collapse() {
        assert_eq!(collapsed(b"//a///b/"), b"/a/b/");
        assert_eq!(collapsed(b""), b"");
    }
}
