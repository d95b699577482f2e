// SPDX-License-Identifier: Apache-2.0
//! Names of environ entries that travel as one byte. The Python side keeps an interned `str` for
//! each; a name that is not here travels as text.

/// Names by number, starting at number 1 (number 0 means "a name follows as text").
pub const KEYS: &[&str] = &[
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "REQUEST_SCHEME",
    "SERVER_PROTOCOL",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_ADDR",
    "SERVER_SOFTWARE",
    "SERVER_ADMIN",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_USER",
    "AUTH_TYPE",
    "DOCUMENT_ROOT",
    "CONTEXT_PREFIX",
    "CONTEXT_DOCUMENT_ROOT",
    "SCRIPT_FILENAME",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTPS",
    "UNIQUE_ID",
    "REDIRECT_URL",
    "REDIRECT_QUERY_STRING",
    "REDIRECT_STATUS",
    "REDIRECT_REMOTE_USER",
    "HTTP_HOST",
    "HTTP_USER_AGENT",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_ACCEPT_CHARSET",
    "HTTP_AUTHORIZATION",
    "HTTP_CACHE_CONTROL",
    "HTTP_CONNECTION",
    "HTTP_COOKIE",
    "HTTP_DNT",
    "HTTP_EXPECT",
    "HTTP_FORWARDED",
    "HTTP_IF_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_KEEP_ALIVE",
    "HTTP_ORIGIN",
    "HTTP_PRAGMA",
    "HTTP_RANGE",
    "HTTP_REFERER",
    "HTTP_TE",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_UPGRADE",
    "HTTP_UPGRADE_INSECURE_REQUESTS",
    "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
    "HTTP_X_REQUESTED_WITH",
    "HTTP_X_REQUEST_ID",
    "HTTP_SEC_CH_UA",
    "HTTP_SEC_CH_UA_MOBILE",
    "HTTP_SEC_CH_UA_PLATFORM",
    "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_FETCH_MODE",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_SEC_FETCH_USER",
    "mod_wsgi.process_group",
    "mod_wsgi.application_group",
    "mod_wsgi.callable_object",
    "mod_wsgi.request_handler",
    "mod_wsgi.handler_script",
    "mod_wsgi.script_name",
    "mod_wsgi.path_info",
    "mod_wsgi.mount_point",
    "mod_wsgi.listener_host",
    "mod_wsgi.listener_port",
    "mod_wsgi.server_pid",
    "mod_wsgi.request_id",
    "mod_wsgi.connection_id",
];

/// The number of the name, 0 when it has none. A match on constants: for those who know the name
/// when they are compiled, use a `const`.
#[must_use]
pub const fn number(name: &str) -> u8 {
    let name = name.as_bytes();
    let mut index = 0;
    while index < KEYS.len() {
        let key = KEYS[index].as_bytes();
        if key.len() == name.len() {
            let mut at = 0;
            while at < key.len() && key[at] == name[at] {
                at += 1;
            }
            if at == key.len() {
                return (index + 1) as u8;
            }
        }
        index += 1;
    }
    0
}

/// The name with this number.
#[must_use]
pub fn name(number: u8) -> Option<&'static str> {
    KEYS.get(usize::from(number).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_each_others_inverse() {
        assert!(KEYS.len() < 255);
        for key in KEYS {
            assert_eq!(name(number(key)), Some(*key));
        }
        assert_eq!(number("HTTP_X_ELSE"), 0);
        assert_eq!(name(0), None);
        assert_eq!(name(255), None);
    }
}
