// SPDX-License-Identifier: Apache-2.0
//! The reference of directives and options, conf/reference.md: made from the tables that the module
//! reads configurations with. `make reference` writes it, the test here tells when it is old.
#![forbid(unsafe_code)]

use std::fmt::Write;

use super::daemon_process::OPTIONS;
use super::directive::{Action, DIRECTIVES, Directive, Place};

/// Where a directive may stand, in httpd's words.
fn context(directive: &Directive) -> &'static str {
    match (directive.place, directive.action) {
        (Place::Global, Action::OptionBoolean(_) | Action::OptionText(_)) => {
            "server, `<WSGIInterpreterOptions>`"
        }
        (Place::Global, _) => "server",
        (Place::Server, _) => "server, virtual host",
        (Place::Directory, _) => "server, virtual host, directory",
        (Place::FileInfo, _) => "server, virtual host, directory, .htaccess (FileInfo)",
        (Place::AuthConfig, _) => "directory, .htaccess (AuthConfig)",
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('>', "&gt;")
}

/// The page.
fn page() -> String {
    let mut page = String::from(
        "<!-- SPDX-License-Identifier: Apache-2.0 -->\n\
         <!-- Made by `make reference` from src/config. -->\n\
         # Reference of directives and options\n\n\
         Times are in seconds and sizes in bytes where nothing else is said. \"server\" is outside of \
         all sections; \"directory\" stands for `<Directory>`, `<Location>`, `<Files>` and `<If>`.\n\n\
         ## Directives\n\n\
         | directive | arguments | context | default | meaning |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for directive in DIRECTIVES {
        let name = directive.label();
        let name = if name.starts_with('<') { format!("{name}>") } else { name.to_owned() };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            format_args!("`{name}`"),
            cell(directive.usage),
            context(&directive),
            cell(directive.default),
            cell(&directive.meaning.to_string_lossy()),
        );
    }
    page.push_str(
        "\n## Options of WSGIDaemonProcess\n\n\
         `WSGIDaemonProcess name [option=value ...]`\n\n\
         | option | default | meaning |\n\
         | --- | --- | --- |\n",
    );
    for option in OPTIONS {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} |",
            option.name,
            cell(option.default),
            cell(option.meaning)
        );
    }
    page
}

#[test]
fn the_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/reference.md");
    if std::env::var_os("MOD_WSGI_WRITE_REFERENCE").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page(), "conf/reference.md is old: run make reference");
}
