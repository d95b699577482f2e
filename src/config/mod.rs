// SPDX-License-Identifier: Apache-2.0
//! The configuration: as said (one value a directive, None where nothing was said), merged, and
//! resolved (spec-config 1 to 3). Pure: httpd hands lines in and keeps the records.
#![forbid(unsafe_code)]

pub(crate) mod alias;
pub(crate) mod body_spool;
pub(crate) mod daemon_process;
pub(crate) mod directive;
pub(crate) mod environment;
pub(crate) mod lint;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod proxies;
#[cfg(test)]
mod reference;
pub(crate) mod script;
pub(crate) mod words;

use std::sync::Arc;

use alias::{Alias, Pattern};
use daemon_process::{Account, DaemonProcess};
pub(crate) use options::{Block, HashSeed, InterpreterOptions};
use proxies::{Subnet, TrustedHeader};
use script::{HandlerScript, HookScript};

/// A configured value, shared between the records that inherit it.
pub(crate) type Text = Arc<[u8]>;

/// What a directive may ask of, and tell to, the one who reads the configuration.
pub(crate) trait Context {
    /// The user that `name` or `#uid` names.
    ///
    /// # Errors
    /// A text that names the user that does not exist.
    fn user(&self, name: &[u8]) -> Result<Account, String>;
    /// The id of the group that `name` or `#gid` names.
    ///
    /// # Errors
    /// A text that names the group that does not exist.
    fn group(&self, name: &[u8]) -> Result<u32, String>;
    /// Whether this process may do what only root may.
    fn is_root(&self) -> bool;
    /// An absolute path for one relative to ServerRoot, if it can be made.
    fn server_root_relative(&self, path: &[u8]) -> Option<Text>;
    /// Compiles a regular expression as httpd's directives have them.
    ///
    /// # Errors
    /// A text that quotes it.
    fn compile(&self, pattern: &[u8]) -> Result<Arc<dyn Pattern>, String>;
    /// File and line of the directive, in parentheses, for messages; may be "".
    fn place(&self) -> String;
    /// Remembers a warning, with the place in the configuration.
    fn warn(&mut self, text: String);
    /// Remembers what is to be told once, and is no reason to worry.
    fn notice(&mut self, text: String);
}

/// WSGIMapHEADToGET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapHead {
    /// The application always sees GET.
    On,
    /// It sees what was sent.
    Off,
    /// It sees GET where a filter would change the body.
    Auto,
}

/// Settings that may stand in a server, a virtual host or a directory section; `None` inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scoped {
    /// WSGIProcessGroup.
    pub(crate) process_group: Option<Text>,
    /// WSGIApplicationGroup.
    pub(crate) application_group: Option<Text>,
    /// WSGICallableObject.
    pub(crate) callable_object: Option<Text>,
    /// WSGIRestrictProcess, with `%{GLOBAL}` as "".
    pub(crate) restrict_process: Option<Arc<[Text]>>,
    /// WSGIHandlerScript; inherited by name.
    pub(crate) handler_scripts: Arc<Vec<HandlerScript>>,
    /// WSGIDispatchScript.
    pub(crate) dispatch_script: Option<Arc<HookScript>>,
    /// WSGIAccessScript; directories only.
    pub(crate) access_script: Option<Arc<HookScript>>,
    /// WSGIAuthUserScript; directories only.
    pub(crate) auth_user_script: Option<Arc<HookScript>>,
    /// WSGIAuthGroupScript; directories only.
    pub(crate) auth_group_script: Option<Arc<HookScript>>,
    /// WSGIPassAuthorization.
    pub(crate) pass_authorization: Option<bool>,
    /// WSGIScriptReloading.
    pub(crate) script_reloading: Option<bool>,
    /// WSGIErrorOverride.
    pub(crate) error_override: Option<bool>,
    /// WSGIChunkedRequest.
    pub(crate) chunked_request: Option<bool>,
    /// WSGIMapHEADToGET.
    pub(crate) map_head_to_get: Option<MapHead>,
    /// WSGIIgnoreActivity.
    pub(crate) ignore_activity: Option<bool>,
    /// WSGIEnableSendfile.
    pub(crate) enable_sendfile: Option<bool>,
    /// WSGIPassApacheRequest.
    pub(crate) pass_apache_request: Option<bool>,
    /// WSGITrustedProxyHeaders.
    pub(crate) trusted_proxy_headers: Option<Arc<[TrustedHeader]>>,
    /// WSGITrustedProxies; None is everyone.
    pub(crate) trusted_proxies: Option<Arc<[Subnet]>>,
}

impl Scoped {
    /// The settings of `self`, completed by those of the section around it.
    pub(crate) fn or(&self, base: &Self) -> Self {
        fn either<T: ?Sized>(own: &Option<Arc<T>>, base: &Option<Arc<T>>) -> Option<Arc<T>> {
            own.as_ref().or(base.as_ref()).cloned()
        }
        Self {
            process_group: either(&self.process_group, &base.process_group),
            application_group: either(&self.application_group, &base.application_group),
            callable_object: either(&self.callable_object, &base.callable_object),
            restrict_process: either(&self.restrict_process, &base.restrict_process),
            handler_scripts: self.handlers_or(base),
            dispatch_script: either(&self.dispatch_script, &base.dispatch_script),
            access_script: either(&self.access_script, &base.access_script),
            auth_user_script: either(&self.auth_user_script, &base.auth_user_script),
            auth_group_script: either(&self.auth_group_script, &base.auth_group_script),
            pass_authorization: self.pass_authorization.or(base.pass_authorization),
            script_reloading: self.script_reloading.or(base.script_reloading),
            error_override: self.error_override.or(base.error_override),
            chunked_request: self.chunked_request.or(base.chunked_request),
            map_head_to_get: self.map_head_to_get.or(base.map_head_to_get),
            ignore_activity: self.ignore_activity.or(base.ignore_activity),
            enable_sendfile: self.enable_sendfile.or(base.enable_sendfile),
            pass_apache_request: self.pass_apache_request.or(base.pass_apache_request),
            trusted_proxy_headers: either(&self.trusted_proxy_headers, &base.trusted_proxy_headers),
            trusted_proxies: either(&self.trusted_proxies, &base.trusted_proxies),
        }
    }

    fn handlers_or(&self, base: &Self) -> Arc<Vec<HandlerScript>> {
        if self.handler_scripts.is_empty() {
            return Arc::clone(&base.handler_scripts);
        }
        if base.handler_scripts.is_empty() {
            return Arc::clone(&self.handler_scripts);
        }
        let inherited =
            base.handler_scripts.iter().filter(|handler| self.handler(&handler.name).is_none());
        Arc::new(self.handler_scripts.iter().chain(inherited).cloned().collect())
    }

    /// The handler script of this name.
    pub(crate) fn handler(&self, name: &[u8]) -> Option<&HandlerScript> {
        self.handler_scripts.iter().find(|handler| &*handler.name == name)
    }
}

/// The record of a server or virtual host.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerConfig {
    /// Settings that directory sections may override.
    pub(crate) scoped: Scoped,
    /// WSGIScriptAlias and WSGIScriptAliasMatch, in order; those of a virtual host stand before those of the server.
    pub(crate) aliases: Arc<Vec<Alias>>,
}

impl ServerConfig {
    /// The record of a virtual host inside this server.
    pub(crate) fn merged(&self, virtual_host: &Self) -> Self {
        let aliases = if virtual_host.aliases.is_empty() {
            Arc::clone(&self.aliases)
        } else {
            Arc::new(virtual_host.aliases.iter().chain(self.aliases.iter()).cloned().collect())
        };
        Self { scoped: virtual_host.scoped.or(&self.scoped), aliases }
    }
}

/// What holds for the whole of httpd, and what is collected from all of its servers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Global {
    /// WSGIPythonHome.
    pub(crate) python_home: Option<Text>,
    /// WSGIPythonEggs.
    pub(crate) python_eggs: Option<Text>,
    /// WSGIPythonOptimize; above 0 it counts.
    pub(crate) optimize: Option<u8>,
    /// WSGIDontWriteBytecode.
    pub(crate) dont_write_bytecode: Option<bool>,
    /// WSGIPythonWarnings, in order.
    pub(crate) python_warnings: Vec<Text>,
    /// WSGIPythonHashSeed.
    pub(crate) hash_seed: Option<HashSeed>,
    /// WSGIDestroyInterpreter.
    pub(crate) destroy_interpreter: Option<bool>,
    /// WSGICaseSensitivity.
    pub(crate) case_sensitivity: Option<bool>,
    /// WSGISlowRequests, microseconds; 0 is off.
    pub(crate) slow_requests: u64,
    /// WSGIServerMetrics.
    pub(crate) server_metrics: bool,
    /// Options of all interpreters.
    pub(crate) options: InterpreterOptions,
    /// `<WSGIInterpreterOptions>`, in order.
    pub(crate) blocks: Vec<Block>,
    /// The one that is being read.
    pub(crate) block: Option<usize>,
    /// WSGIRestrictEmbedded.
    pub(crate) restrict_embedded: Option<bool>,
    /// Whether something but requests needs Python in httpd's children: hooks, scripts to import.
    pub(crate) needs_embedded: bool,
    /// WSGISocketPrefix, made absolute.
    pub(crate) socket_prefix: Option<Text>,
    /// WSGIDaemonProcess, in order.
    pub(crate) groups: Vec<Group>,
    /// Scripts to load when processes start, in order.
    pub(crate) preloads: Vec<Preload>,
    /// Where process groups are named; `%{GLOBAL}` is not kept.
    pub(crate) references: Vec<Reference>,
    /// Whether requests choose groups whose names nobody can know beforehand.
    pub(crate) is_dynamic: bool,
    /// Scripts, and where they are named.
    pub(crate) scripts: Vec<(Text, String)>,
    /// What to tell once the log is open.
    pub(crate) warnings: Vec<String>,
    /// As `warnings`, but no reason to worry.
    pub(crate) notices: Vec<String>,
}

/// A place that names a process group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The group.
    pub(crate) name: Text,
    /// In which server.
    pub(crate) host: Host,
    /// File and line, for messages.
    pub(crate) place: String,
}

/// Which virtual host a directive stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Number that tells servers apart.
    pub(crate) identity: usize,
    /// Whether it is a `<VirtualHost>`.
    pub(crate) is_virtual: bool,
    /// ServerName, as far as it was said before the directive.
    pub(crate) name: Option<Vec<u8>>,
}

/// A process group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Its WSGIDaemonProcess.
    pub(crate) process: DaemonProcess,
    /// Where that stands.
    pub(crate) host: Host,
    /// File and line, for messages.
    pub(crate) place: String,
}

/// A script to load when processes start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preload {
    /// The script.
    pub(crate) script: Text,
    /// Process group; "" is embedded mode.
    pub(crate) process_group: Text,
    /// Application group; "" is the main interpreter.
    pub(crate) application_group: Text,
    /// Whether a WSGIImportScript says so, and not an alias.
    pub(crate) is_import: bool,
}

impl Global {
    /// Adds a process group.
    ///
    /// # Errors
    /// When there is another group of that name. The same line again, as a copied virtual host has
    /// it, is the same group and only warned of.
    pub(crate) fn add_group(
        &mut self,
        process: DaemonProcess,
        host: Host,
        place: String,
    ) -> Result<Option<String>, String> {
        if let Some(known) = self.group(&process.name) {
            let name = words::text(&process.name);
            if known.process == process && known.host.identity != host.identity {
                return Ok(Some(format!(
                    "WSGIDaemonProcess {name} stands in another virtual host already, with the same options: both are one process group"
                )));
            }
            return Err(format!(
                "name duplicates previous WSGI daemon definition: WSGIDaemonProcess {name} is defined already, give this one another name or remove it"
            ));
        }
        self.groups.push(Group { process, host, place });
        Ok(None)
    }

    /// The group of this name.
    pub(crate) fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.iter().find(|group| &*group.process.name == name)
    }

    /// Adds a script to load at start, if its group is known and may be used from `host`.
    ///
    /// # Errors
    /// When the group is not defined before, or belongs to a virtual host of another name.
    pub(crate) fn add_preload(&mut self, preload: Preload, host: &Host) -> Result<(), String> {
        if !preload.process_group.is_empty() {
            let name = words::text(&preload.process_group);
            let Some(group) = self.group(&preload.process_group) else {
                let hint = nearest(
                    &name,
                    self.groups.iter().map(|group| words::text(&group.process.name)),
                )
                .map_or_else(String::new, |near| format!(", did you mean {near}?"));
                return Err(format!(
                    "WSGI process group not yet configured: WSGIDaemonProcess {name} must stand before this line{hint}"
                ));
            };
            if group.host.is_virtual && group.host.identity != host.identity {
                match (&group.host.name, &host.name) {
                    (None, None) => {}
                    (Some(one), Some(other)) if one == other => {}
                    (Some(_), Some(_)) => {
                        return Err(format!(
                            "WSGI process group not accessible: {name} is defined in a virtual host of another ServerName, move its WSGIDaemonProcess out of it"
                        ));
                    }
                    _ => {
                        return Err(format!(
                            "WSGI process group not matchable: {name} is defined in a virtual host, and only one of the two has a ServerName yet: put ServerName first in both"
                        ));
                    }
                }
            }
        }
        self.preloads.push(preload);
        Ok(())
    }

    /// Whether requests may be run inside httpd children.
    pub(crate) fn allows_embedded(&self) -> bool {
        self.restrict_embedded != Some(true)
    }

    /// Options of the `<WSGIInterpreterOptions>` that is being read, or of all interpreters.
    pub(crate) fn options_here(&mut self) -> &mut InterpreterOptions {
        match self.block.and_then(|block| self.blocks.get_mut(block)) {
            Some(block) => &mut block.options,
            None => &mut self.options,
        }
    }

    /// Remembers that a process group is named.
    pub(crate) fn refer_to_group(&mut self, name: &[u8], host: Host, place: String) {
        if name.starts_with(b"%") {
            self.is_dynamic = true;
        } else if !name.is_empty() {
            self.references.push(Reference { name: name.into(), host, place });
        }
    }

    /// Remembers what is to be told, once.
    pub(crate) fn notice(&mut self, text: String) {
        if !self.notices.contains(&text) {
            self.notices.push(text);
        }
    }
}

/// Makes `%{GLOBAL}` the empty name that it stands for.
pub(crate) fn fold_global(name: &[u8]) -> Text {
    if name == b"%{GLOBAL}" { Text::from(&b""[..]) } else { name.into() }
}

/// The candidate that is most like a misspelt name, if any is alike.
pub(crate) fn nearest<T: AsRef<str>>(name: &str, candidates: impl Iterator<Item = T>) -> Option<T> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| {
            (
                distance(&name.to_ascii_lowercase(), &candidate.as_ref().to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, left) in one.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (right, above) in other.iter().zip(row.iter().skip(1)) {
            before = (diagonal + usize::from(left != *right)).min(above + 1).min(before + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accounts that exist in tests.
    #[derive(Debug, Default)]
    pub(crate) struct Fixed {
        /// What was warned of.
        pub(crate) warnings: Vec<String>,
        /// What was told.
        pub(crate) notices: Vec<String>,
    }

    /// A pattern that matches everything.
    #[derive(Debug)]
    struct Anything;

    impl Pattern for Anything {
        fn find(&self, text: &[u8]) -> Option<[Option<std::ops::Range<usize>>; alias::GROUPS]> {
            Some(std::array::from_fn(|index| (index == 0).then_some(0..text.len())))
        }
    }

    impl Context for Fixed {
        fn user(&self, name: &[u8]) -> Result<Account, String> {
            match name {
                b"root" => Ok(Account { name: c"root".into(), uid: 0 }),
                b"www-data" | b"#33" => Ok(Account { name: c"www-data".into(), uid: 33 }),
                _ => Err(format!("there is no user {}", words::text(name))),
            }
        }

        fn group(&self, name: &[u8]) -> Result<u32, String> {
            if name == b"www-data" {
                Ok(33)
            } else {
                Err(format!("there is no group {}", words::text(name)))
            }
        }

        fn is_root(&self) -> bool {
            false
        }

        fn server_root_relative(&self, path: &[u8]) -> Option<Text> {
            Some([b"/root/", path].concat().into())
        }

        fn compile(&self, pattern: &[u8]) -> Result<Arc<dyn Pattern>, String> {
            if pattern.contains(&b'(') && !pattern.contains(&b')') {
                return Err(format!("cannot compile {}", words::text(pattern)));
            }
            Ok(Arc::new(Anything))
        }

        fn place(&self) -> String {
            String::new()
        }

        fn warn(&mut self, text: String) {
            self.warnings.push(text);
        }

        fn notice(&mut self, text: String) {
            self.notices.push(text);
        }
    }

    fn host(identity: usize, name: Option<&str>) -> Host {
        Host {
            identity,
            is_virtual: identity != 0,
            name: name.map(|name| name.as_bytes().to_vec()),
        }
    }

    fn group(global: &mut Global, line: &str, host: Host) -> Result<Option<String>, String> {
        let process = daemon_process::parse(line.as_bytes(), &mut Fixed::default()).unwrap();
        global.add_group(process, host, String::new())
    }

    #[test]
    fn a_section_overrides_what_it_says_only() {
        let base = Scoped {
            process_group: Some((*b"a").into()),
            script_reloading: Some(false),
            ..Scoped::default()
        };
        let inner = Scoped { process_group: Some((*b"b").into()), ..Scoped::default() };
        let merged = inner.or(&base);
        assert_eq!(merged.process_group.as_deref(), Some(&b"b"[..]));
        assert_eq!(merged.script_reloading, Some(false));
        assert_eq!(merged.pass_authorization, None);
    }

    #[test]
    fn handler_scripts_are_inherited_by_name() {
        let scoped = |lines: &[&str]| Scoped {
            handler_scripts: Arc::new(
                lines.iter().map(|line| script::parse_handler(line.as_bytes()).unwrap()).collect(),
            ),
            ..Scoped::default()
        };
        let merged = scoped(&["a /inner"]).or(&scoped(&["a /outer", "b /outer"]));
        assert_eq!(merged.handler(b"a").map(|handler| &*handler.script), Some(&b"/inner"[..]));
        assert_eq!(merged.handler(b"b").map(|handler| &*handler.script), Some(&b"/outer"[..]));
        assert!(merged.handler(b"A").is_none());
    }

    #[test]
    fn aliases_of_a_virtual_host_come_first() {
        let alias = |line: &str| Arc::new(vec![alias::parse(line.as_bytes(), None).unwrap()]);
        let base = ServerConfig { aliases: alias("/ /base"), ..ServerConfig::default() };
        let virtual_host = ServerConfig { aliases: alias("/ /host"), ..ServerConfig::default() };
        let merged = base.merged(&virtual_host);
        let targets: Vec<_> =
            merged.aliases.iter().map(|alias| words::text(&alias.target)).collect();
        assert_eq!(targets, ["/host", "/base"]);
    }

    #[test]
    fn a_group_is_defined_once_but_may_be_repeated_in_a_copied_host() {
        let mut global = Global::default();
        assert_eq!(group(&mut global, "g threads=2", host(1, Some("x"))), Ok(None));
        assert!(group(&mut global, "g threads=2", host(2, Some("x"))).unwrap().is_some());
        assert!(group(&mut global, "g threads=3", host(2, Some("x"))).is_err());
        assert!(group(&mut global, "g threads=2", host(1, Some("x"))).is_err());
        assert_eq!(global.groups.len(), 1);
    }

    #[test]
    fn preloads_need_a_group_that_is_known_and_visible() {
        let mut global = Global::default();
        group(&mut global, "django", host(1, Some("a"))).unwrap();
        let preload = |group: &str| Preload {
            script: (*b"/x").into(),
            process_group: group.as_bytes().into(),
            application_group: (*b"").into(),
            is_import: false,
        };
        let mut add = |name: &str, host: Host| global.add_preload(preload(name), &host);
        assert!(add("djagno", host(1, Some("a"))).unwrap_err().contains("did you mean django?"));
        assert!(add("django", host(2, Some("b"))).unwrap_err().contains("not accessible"));
        assert!(add("django", host(2, None)).unwrap_err().contains("not matchable"));
        assert_eq!(add("django", host(2, Some("a"))), Ok(()));
        assert_eq!(add("", host(2, None)), Ok(()));
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = || ["threads", "processes", "python-home"].into_iter();
        assert_eq!(nearest("thread", names()), Some("threads"));
        assert_eq!(nearest("Python-Home", names()), Some("python-home"));
        assert_eq!(nearest("colour", names()), None);
    }
}
