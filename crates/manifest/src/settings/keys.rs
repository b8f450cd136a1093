//! The `secretfs.dev/` keys: their names, their values, and what is wrong with them.

use std::time::Duration;

use provider::Invalid;

use super::{AuthShare, FetchWhen, MOST_HELD, Mode, OnDenied, OnRevoked, OnRotate, OnStale, Settings, Start};
use crate::access::{self, AccessUnsafe};
use crate::declaration::SETTINGS;
use crate::text::{nearest, shorten};
use crate::{compose, duration};

/// The prefix of all keys that belong to secretfs.
pub const PREFIX: &str = "secretfs.dev/";

/// `secretfs.dev/` keys that providers read too, from their parameters.
pub const SHARED_WITH_PROVIDERS: [&str; 4] =
    ["secretfs.dev/auth", "secretfs.dev/on-expired", "secretfs.dev/probe", "secretfs.dev/share"];

/// Most older versions that stay beside a file.
const MAX_PREVIOUS: u32 = 10;

impl Settings {
    /// Sets the setting `key` (with or without its prefix) from the `text` in a class or in a volume attribute.
    ///
    /// # Errors
    ///
    /// Every fault of the text, or an unknown key. Lines are lines of `text`. Never empty.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), Vec<Invalid>> {
        let name = key.strip_prefix(PREFIX).unwrap_or(key);
        if !known().any(|known| known == name) {
            return Err(vec![Entry { key, text }.unknown(name)]);
        }
        if name == "files" {
            self.files = compose::read(key, text)?;
            return Ok(());
        }
        if name == "access" {
            self.access = access::read(key, text)?;
            return Ok(());
        }
        self.set_one(key, name, text).map_err(|invalid| vec![invalid])
    }

    /// The fault of settings that do not go together.
    pub(crate) fn contradiction(&self) -> Option<Invalid> {
        let (mode, is_eager) = (self.mode.name(), self.fetch == FetchWhen::Eager);
        let wrong = |key: &str, reason: String, remedy: String| {
            Some(Invalid { key: format!("{PREFIX}{key}"), line: None, reason, remedy })
        };
        if !self.access.is_empty() && self.mode != Mode::Fuse {
            let remedy = format!("write {PREFIX}mode: fuse, or remove the rules");
            return wrong("access", format!("mode {mode} cannot tell containers apart"), remedy);
        }
        if !is_eager && self.mode != Mode::Fuse {
            let reason = format!("mode {mode} shows files with their contents, which are read before");
            return wrong("fetch", reason, format!("write {PREFIX}mode: fuse, or {PREFIX}fetch: eager"));
        }
        if is_eager && self.hold.is_some() {
            let reason = "it is for files that are read when they are opened".to_owned();
            return wrong("hold", reason, format!("write {PREFIX}fetch: on-open, or remove the key"));
        }
        None
    }

    fn set_one(&mut self, key: &str, name: &str, text: &str) -> Result<(), Invalid> {
        let entry = Entry { key, text };
        match name {
            "mode" => self.mode = entry.mode()?,
            "refresh" => self.refresh = Some(entry.positive()?),
            "max-stale" => self.max_stale = entry.duration()?,
            "on-stale" => {
                self.on_stale = entry.choice(&[("keep", OnStale::Keep), ("remove", OnStale::Remove)])?
            }
            "on-denied" => {
                self.on_denied = entry.choice(&[("keep", OnDenied::Keep), ("remove", OnDenied::Remove)])?
            }
            "on-revoked" => {
                let choices = [("remove", OnRevoked::Remove), ("keep", OnRevoked::Keep)];
                self.on_revoked = Some(entry.choice(&choices)?);
            }
            "on-rotate" => self.on_rotate = entry.on_rotate()?,
            "start" => self.start = entry.choice(&[("fresh", Start::Fresh), ("cached", Start::Cached)])?,
            "share" => self.share = Some(entry.share()?),
            // Only providers use these two; here they are only checked.
            "on-expired" => entry.choice(&[("keep", ()), ("remove", ())])?,
            "probe" => entry.choice(&[("batch", ()), ("describe", ())])?,
            "fetch" => {
                self.fetch = entry.choice(&[("eager", FetchWhen::Eager), ("on-open", FetchWhen::OnOpen)])?
            }
            "hold" => self.hold = Some(entry.hold()?),
            "keep-previous" => self.keep_previous = entry.previous()?,
            "auth" => self.auth = Some(entry.name()?),
            "access-unsafe" => {
                let choices = [("refuse", AccessUnsafe::Refuse), ("allow", AccessUnsafe::Allow)];
                self.access_unsafe = entry.choice(&choices)?;
            }
            "overridable" => self.overridable = entry.keys()?.map(str::to_owned).collect(),
            "timeout" => self.timeout = entry.positive()?,
            _ => return Err(entry.unknown(name)),
        }
        Ok(())
    }
}

/// One key and its text.
struct Entry<'a> {
    key: &'a str,
    text: &'a str,
}

impl<'a> Entry<'a> {
    fn refuse(&self, reason: &str, remedy: impl Into<String>) -> Invalid {
        Invalid { key: self.key.to_owned(), line: None, reason: shorten(reason), remedy: remedy.into() }
    }

    fn later(&self, what: &str, remedy: &str) -> Invalid {
        self.refuse(&format!("{what} is not in this version"), remedy)
    }

    fn unknown(&self, name: &str) -> Invalid {
        let remedy = match nearest(name, known()) {
            Some(meant) => format!("did you mean {PREFIX}{meant}?"),
            None => {
                format!("the keys are {}", SETTINGS.iter().map(|key| key.name).collect::<Vec<_>>().join(", "))
            }
        };
        self.refuse("there is no such key", remedy)
    }

    fn duration(&self) -> Result<Duration, Invalid> {
        let refuse = || {
            self.refuse(
                &format!("{:?} is not a duration", self.text),
                "write one such as \"30s\", \"5m\", \"24h\" or \"0\"",
            )
        };
        duration::parse(self.text).ok_or_else(refuse)
    }

    fn positive(&self) -> Result<Duration, Invalid> {
        match self.duration()? {
            Duration::ZERO => {
                Err(self.refuse("it cannot be 0", "write a duration such as \"30s\" or \"5m\""))
            }
            positive => Ok(positive),
        }
    }

    fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Invalid> {
        let chosen = choices.iter().find(|(word, _)| *word == self.text).map(|(_, value)| *value);
        chosen.ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.refuse(
                &format!("{:?} is no choice here", self.text),
                format!("write {}", words.join(" or ")),
            )
        })
    }

    fn mode(&self) -> Result<Mode, Invalid> {
        self.choice(&[(Mode::Tmpfs.name(), Mode::Tmpfs), (Mode::Fuse.name(), Mode::Fuse)])
    }

    fn hold(&self) -> Result<Duration, Invalid> {
        let held = self.positive()?;
        if held <= MOST_HELD {
            return Ok(held);
        }
        let most = MOST_HELD.as_secs();
        Err(self.refuse(
            &format!("{:?} is longer than what is read for who opens a file may stay", self.text),
            format!("write at most \"{most}s\""),
        ))
    }

    fn on_rotate(&self) -> Result<OnRotate, Invalid> {
        if self.text.split_whitespace().next() == Some("signal") {
            return Err(self.later("a signal after a rotation", "write restart-workload, or remove the key"));
        }
        self.choice(&[("none", OnRotate::Nothing), ("restart-workload", OnRotate::RestartWorkload)])
    }

    fn share(&self) -> Result<AuthShare, Invalid> {
        self.choice(&[("service-account", AuthShare::ServiceAccount), ("pod", AuthShare::Pod)])
    }

    fn previous(&self) -> Result<u32, Invalid> {
        let count = self.text.parse().ok().filter(|count| *count <= MAX_PREVIOUS);
        count.ok_or_else(|| {
            let reason = format!("{:?} is not a number of versions", self.text);
            self.refuse(&reason, format!("write a number from \"0\" to \"{MAX_PREVIOUS}\""))
        })
    }

    fn name(&self) -> Result<String, Invalid> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match self.text {
            name if !name.is_empty() && name.chars().all(plain) => Ok(name.to_owned()),
            other => Err(self.refuse(
                &format!("{other:?} is not a login method"),
                "write one such as kubernetes, jwt or approle",
            )),
        }
    }

    /// Keys separated by commas or white space.
    fn keys(&self) -> Result<impl Iterator<Item = &'a str> + use<'a>, Invalid> {
        let keys = || self.text.split(|c: char| c == ',' || c.is_whitespace()).filter(|key| !key.is_empty());
        match keys().find(|key| !may_be_overridden(key)) {
            Some(key) => Err(self.refuse(
                &format!("{key:?} cannot be left to the pod's author"),
                "list parameters such as \"roleName, secretfs.dev/refresh\"",
            )),
            None => Ok(keys()),
        }
    }
}

/// What decides about the pod's author, or about the whole workload, is not left to the pod's author.
const NEVER_OVERRIDDEN: [&str; 4] = ["overridable", "access", "access-unsafe", "on-rotate"];

fn may_be_overridden(key: &str) -> bool {
    let Some(own) = key.strip_prefix(PREFIX) else {
        return !key.contains(['[', ']', '{', '}', '"', '\'', ':']);
    };
    known().any(|known| known == own) && !NEVER_OVERRIDDEN.contains(&own)
}

/// The names of the settings that are declared, without [`PREFIX`].
fn known() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter_map(|key| key.name.strip_prefix(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        match settings.set(key, text) {
            Ok(()) => Ok(settings),
            Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn every_key_sets_its_setting() {
        let default = Settings::default;
        let seconds = Duration::from_secs;
        for (key, text, expected) in [
            ("mode", "tmpfs", default()),
            ("mode", "fuse", Settings { mode: Mode::Fuse, ..default() }),
            ("refresh", "5m", Settings { refresh: Some(seconds(300)), ..default() }),
            ("max-stale", "0", Settings { max_stale: Duration::ZERO, ..default() }),
            ("on-stale", "remove", Settings { on_stale: OnStale::Remove, ..default() }),
            ("on-denied", "remove", Settings { on_denied: OnDenied::Remove, ..default() }),
            ("on-revoked", "keep", Settings { on_revoked: Some(OnRevoked::Keep), ..default() }),
            ("on-rotate", "none", default()),
            ("on-rotate", "restart-workload", Settings { on_rotate: OnRotate::RestartWorkload, ..default() }),
            ("start", "cached", Settings { start: Start::Cached, ..default() }),
            ("share", "pod", Settings { share: Some(AuthShare::Pod), ..default() }),
            ("probe", "describe", default()),
            ("fetch", "eager", default()),
            ("keep-previous", "2", Settings { keep_previous: 2, ..default() }),
            ("auth", "jwt", Settings { auth: Some("jwt".to_owned()), ..default() }),
            ("access-unsafe", "allow", Settings { access_unsafe: AccessUnsafe::Allow, ..default() }),
            ("timeout", "10s", Settings { timeout: seconds(10), ..default() }),
        ] {
            assert_eq!(set(&format!("{PREFIX}{key}"), text), Ok(expected), "{key}");
        }
    }

    #[test]
    fn a_key_that_does_not_exist_names_the_nearest() {
        assert_eq!(
            set("secretfs.dev/refesh", "1m").unwrap_err(),
            "parameter secretfs.dev/refesh: there is no such key; did you mean secretfs.dev/refresh?"
        );
        assert!(set("secretfs.dev/banana", "1").unwrap_err().contains("secretfs.dev/keep-previous"));
    }

    #[test]
    fn a_wrong_value_is_answered_with_a_right_one() {
        for (key, text, example) in [
            ("refresh", "sixty", "30s"),
            ("refresh", "0", "30s"),
            ("refresh", "60", "30s"),
            ("timeout", "0", "30s"),
            ("on-stale", "delete", "keep or remove"),
            ("on-rotate", "SIGHUP", "none or restart-workload"),
            ("start", "Fresh", "fresh or cached"),
            ("share", "none", "service-account or pod"),
            ("probe", "always", "batch or describe"),
            ("fetch", "later", "eager or on-open"),
            ("hold", "301s", "at most \"300s\""),
            ("hold", "0", "30s"),
            ("keep-previous", "-1", "\"0\" to \"10\""),
            ("keep-previous", "11", "\"0\" to \"10\""),
            ("auth", "JWT token", "approle"),
            ("access-unsafe", "yes", "refuse or allow"),
            ("overridable", "secretfs.dev/overridable", "roleName"),
            ("overridable", "secretfs.dev/access", "roleName"),
            ("overridable", "secretfs.dev/on-rotate", "roleName"),
            ("overridable", "[roleName]", "roleName"),
        ] {
            let refusal = set(&format!("{PREFIX}{key}"), text).unwrap_err();
            assert!(refusal.contains(example) && refusal.contains(key), "{refusal}");
        }
    }

    #[test]
    fn what_comes_later_is_refused_by_name() {
        let refusal = set("secretfs.dev/on-rotate", "signal SIGHUP web").unwrap_err();
        assert!(refusal.contains("not in this version") && refusal.contains("on-rotate"), "{refusal}");
    }

    #[test]
    fn files_that_are_read_when_they_are_opened_need_mode_fuse_and_are_held_for_five_minutes_at_most() {
        let with = |pairs: &[(&str, &str)]| {
            let mut settings = Settings::default();
            pairs.iter().for_each(|(key, text)| settings.set(key, text).unwrap());
            settings.contradiction().map(|invalid| invalid.to_string())
        };

        assert_eq!(with(&[("mode", "fuse"), ("fetch", "on-open"), ("hold", "5m")]), None);
        let refused = with(&[("fetch", "on-open")]).unwrap();
        assert!(refused.contains("mode tmpfs") && refused.contains("secretfs.dev/mode: fuse"), "{refused}");
        let refused = with(&[("mode", "fuse"), ("hold", "10s")]).unwrap();
        assert!(refused.contains("secretfs.dev/fetch: on-open"), "{refused}");
    }

    #[test]
    fn overridable_keys_are_listed_with_commas_or_lines() {
        let settings = set("secretfs.dev/overridable", "roleName, objects\nsecretfs.dev/refresh").unwrap();
        assert_eq!(settings.overridable.len(), 3);
        assert!(settings.overridable.contains("secretfs.dev/refresh"));
    }
}
