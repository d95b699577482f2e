// SPDX-License-Identifier: Apache-2.0
//! Expansion of `%{…}` in the names of process groups, application groups and callables
//! (spec-config 3). A token is the whole value or it is no token.
#![forbid(unsafe_code)]

/// What a request knows of itself.
pub(crate) trait Source {
    /// ServerName of the matched virtual host.
    fn server(&self) -> Vec<u8>;
    /// Host of the request, ServerName if it has none.
    fn host(&self) -> Vec<u8>;
    /// Port that belongs into a name.
    fn port(&self) -> u16;
    /// Script part of the URL path.
    fn script_name(&self) -> Vec<u8>;
    /// A note, a subprocess variable or an environment variable, in this order.
    fn variable(&self, name: &[u8]) -> Option<Vec<u8>>;
}

/// The name of a process group; not said is "" (embedded mode).
pub(crate) fn process_group(value: Option<&[u8]>, source: &dyn Source) -> Vec<u8> {
    value.map_or_else(Vec::new, |value| expand(value, source))
}

/// The name of an application group; not said is `%{RESOURCE}`.
pub(crate) fn application_group(value: Option<&[u8]>, source: &dyn Source) -> Vec<u8> {
    expand(value.unwrap_or(b"%{RESOURCE}"), source)
}

/// The name of the callable; not said, or any token but `%{ENV:…}`, is `application`.
pub(crate) fn callable(value: Option<&[u8]>, source: &dyn Source) -> Vec<u8> {
    let default = || b"application".to_vec();
    match value {
        None => default(),
        Some(value) => match variable_name(value) {
            Some(name) => source.variable(name).unwrap_or_else(default),
            None if value.starts_with(b"%") => default(),
            None => value.to_vec(),
        },
    }
}

/// The name of a group behind a hook's script, where there is no request to be served yet; not said
/// is the main interpreter, and tokens that need more than the server are no tokens.
pub(crate) fn hook_group(value: Option<&[u8]>, source: &dyn Source) -> Vec<u8> {
    match value {
        None => Vec::new(),
        Some(value @ (b"%{GLOBAL}" | b"%{SERVER}" | b"%{HOST}")) => expand_token(value, source),
        Some(value) => value.to_vec(),
    }
}

fn expand(value: &[u8], source: &dyn Source) -> Vec<u8> {
    match variable_name(value) {
        Some(name) => match source.variable(name) {
            Some(found) if variable_name(&found).is_none() => expand_token(&found, source),
            Some(found) => found,
            None => value.to_vec(),
        },
        None => expand_token(value, source),
    }
}

fn expand_token(value: &[u8], source: &dyn Source) -> Vec<u8> {
    let with_port = |mut name: Vec<u8>| {
        let port = source.port();
        if port != 80 && port != 443 {
            name.extend_from_slice(format!(":{port}").as_bytes());
        }
        name
    };
    match value {
        b"%{GLOBAL}" => Vec::new(),
        b"%{SERVER}" => with_port(source.server()),
        b"%{HOST}" => with_port(source.host()),
        b"%{RESOURCE}" => {
            let mut name = with_port(source.server());
            name.push(b'|');
            name.extend_from_slice(&source.script_name());
            name
        }
        other => other.to_vec(),
    }
}

fn variable_name(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"%{ENV:")?.strip_suffix(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u16);

    impl Source for Fixed {
        fn server(&self) -> Vec<u8> {
            b"example.org".to_vec()
        }
        fn host(&self) -> Vec<u8> {
            b"www.example.org".to_vec()
        }
        fn port(&self) -> u16 {
            self.0
        }
        fn script_name(&self) -> Vec<u8> {
            b"/app".to_vec()
        }
        fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
            match name {
                b"PLAIN" => Some(b"group".to_vec()),
                b"TOKEN" => Some(b"%{SERVER}".to_vec()),
                b"CHAIN" => Some(b"%{ENV:PLAIN}".to_vec()),
                _ => None,
            }
        }
    }

    #[test]
    fn application_groups() {
        for (value, port, name) in [
            (None, 80, "example.org|/app"),
            (None, 8080, "example.org:8080|/app"),
            (Some("%{GLOBAL}"), 80, ""),
            (Some("%{SERVER}"), 443, "example.org"),
            (Some("%{HOST}"), 99, "www.example.org:99"),
            (Some("%{ENV:PLAIN}"), 80, "group"),
            (Some("%{ENV:TOKEN}"), 80, "example.org"),
            (Some("%{ENV:CHAIN}"), 80, "%{ENV:PLAIN}"),
            (Some("%{ENV:NONE}"), 80, "%{ENV:NONE}"),
            (Some("app-%{SERVER}"), 80, "app-%{SERVER}"),
            (Some("%{GROUP}"), 80, "%{GROUP}"),
        ] {
            let found = application_group(value.map(str::as_bytes), &Fixed(port));
            assert_eq!(found, name.as_bytes(), "{value:?}");
        }
    }

    #[test]
    fn process_groups_and_callables() {
        assert_eq!(process_group(None, &Fixed(80)), b"");
        assert_eq!(process_group(Some(b"django"), &Fixed(80)), b"django");
        assert_eq!(callable(None, &Fixed(80)), b"application");
        assert_eq!(callable(Some(b"app"), &Fixed(80)), b"app");
        assert_eq!(callable(Some(b"%{ENV:PLAIN}"), &Fixed(80)), b"group");
        assert_eq!(callable(Some(b"%{SERVER}"), &Fixed(80)), b"application");
        assert_eq!(hook_group(None, &Fixed(80)), b"");
        assert_eq!(hook_group(Some(b"%{HOST}"), &Fixed(80)), b"www.example.org");
        assert_eq!(hook_group(Some(b"%{RESOURCE}"), &Fixed(80)), b"%{RESOURCE}");
        assert_eq!(hook_group(Some(b"%{ENV:PLAIN}"), &Fixed(80)), b"%{ENV:PLAIN}");
    }
}
