//! Takes names of users and hosts, GPU ids and secrets out of facts before they are shown; keeps their structure.

use std::collections::HashMap;

use serde_json::Value;

use super::{Facts, Probed, Trouble};

/// What stands in the place of a user's name.
const USER: &str = "user";
/// What stands in the place of a secret.
const SECRET: &str = "[secret]";
/// Keys whose values are words of the schema, never names of people.
const SCHEMA_KEYS: &[&str] = &[
    "state",
    "source",
    "schema",
    "recorded",
    "os",
    "arch",
    "key",
    "stage",
    "cause",
    "by",
    "does",
    "compute_mode",
    "route",
];
/// Names that are parts of every machine: as words they give nobody away, and replacing them
/// would change what the paths mean. In a home folder they are replaced all the same.
const COMMON: &[&str] = &[
    "root",
    "user",
    "ubuntu",
    "debian",
    "admin",
    "nvidia",
    "cuda",
    "python",
    "python3",
    "conda",
    "jovyan",
    "lib",
    "bin",
    "usr",
    "opt",
    "home",
    "local",
    "share",
    "src",
    "app",
    "work",
    "data",
    "srv",
    "tmp",
    "var",
    "etc",
    "dev",
    "proc",
    "sys",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "jupyter",
    "docker",
    "vagrant",
    "runner",
    "linux",
    "localhost",
];
/// Beginnings of well-known access tokens.
const TOKENS: &[&str] =
    &["ghp_", "gho_", "ghs_", "ghu_", "github_pat_", "glpat-", "hf_", "sk-", "xoxb-", "xoxp-", "pypi-", "AKIA", "ASIA"];

/// Replaces the user's name and home folder, GPU ids and secrets in all strings of the facts.
///
/// The same name gets the same replacement everywhere, so what is said about paths still holds. GPU ids become
/// numbers by the order in which they appear, and an id that begins with another one still does: what a rule
/// makes of `CUDA_VISIBLE_DEVICES` stays the same, and nothing leads back to the ids.
pub fn redact(facts: &mut Facts) {
    redact_names(facts, &[]);
}

/// [`redact`], and replaces more names, such as that of the host, by `host`.
pub fn redact_names(facts: &mut Facts, hosts: &[&str]) {
    let mut names = Names {
        user: facts.machine.user.name.clone().filter(|name| telling(name)),
        home: facts.machine.user.home.clone().filter(|home| home.matches('/').count() >= 2 && home != "/root"),
        hosts: hosts.iter().filter(|name| telling(name)).map(|name| (*name).to_owned()).collect(),
        homes: Vec::new(),
    };
    if let Some(own) = names.home.as_deref().or(facts.env.get("HOME").map(String::as_str)).and_then(owner) {
        names.homes.push(own.to_owned());
    }
    if facts.machine.user.name.as_deref().is_some_and(|name| name != "root") {
        facts.machine.user.name = Some(USER.to_owned());
    }
    if let Probed::Found { value, .. } = &mut facts.driver.xids {
        for xid in value.iter_mut() {
            xid.says = without_process(&xid.says);
        }
    }
    let mut document = crate::json::value(&*facts).unwrap_or_default();
    walk(&mut document, None, &mut |text| names.clean(text));
    // Ids come last, and are all collected before the first is replaced: a short one may stand before the long one
    // that begins with it, or behind it.
    let mut ids = Vec::new();
    walk(&mut document, None, &mut |text| {
        replace_ids(text, |id| {
            ids.push(id.to_ascii_lowercase());
            None
        })
    });
    let stand_ins = number(ids);
    walk(&mut document, None, &mut |text| replace_ids(text, |id| stand_ins.get(&id.to_ascii_lowercase()).cloned()));
    if let Some(user) = document.pointer_mut("/env/USER").filter(|user| user.as_str() != Some("root")) {
        *user = Value::String(USER.to_owned());
    }
    // Only that it is set tells anything.
    if let Some(address) = document.pointer_mut("/env/KUBERNETES_SERVICE_HOST") {
        *address = Value::String("set".to_owned());
    }
    // By way of a text: a second way to read all facts, out of values, would make the program half a megabyte larger.
    if let Ok(redacted) = serde_json::from_slice(document.to_string().as_bytes()) {
        *facts = redacted;
    } else {
        // A name that was also a word of the schema: better no facts than someone's name.
        *facts = Facts { schema: facts.schema, recorded: facts.recorded.clone(), ..Facts::default() };
        let why = "the facts could not be redacted".to_owned();
        facts.troubles.push(Trouble { at: "redaction".to_owned(), why });
    }
}

/// An error report of the driver without the name of the process, which may be anybody's.
fn without_process(says: &str) -> String {
    let Some((before, rest)) = says.split_once("name=") else { return says.to_owned() };
    let end = rest.find(", ").unwrap_or(rest.len());
    let name = if rest.starts_with("<unknown>") { "<unknown>" } else { "process" };
    format!("{before}name={name}{}", &rest[end..])
}

/// Whether a name tells who or what it is, and can be replaced as a word without harm.
fn telling(name: &str) -> bool {
    name.len() >= 2 && !COMMON.contains(&name) && !name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The folder's name in `/home/ada` or `/Users/ada`.
fn owner(home: &str) -> Option<&str> {
    ["/home/", "/Users/"]
        .iter()
        .find_map(|base| home.strip_prefix(base)?.split('/').next().filter(|name| !name.is_empty()))
}

/// What is replaced.
struct Names {
    user: Option<String>,
    home: Option<String>,
    hosts: Vec<String>,
    /// Owners of home folders in the order in which they are met.
    homes: Vec<String>,
}

impl Names {
    /// The replacement for the owner of a home folder: `user`, `user2`, …
    fn stand_in(&mut self, name: &str) -> String {
        let index = self.homes.iter().position(|known| known == name).unwrap_or_else(|| {
            self.homes.push(name.to_owned());
            self.homes.len() - 1
        });
        if index == 0 { USER.to_owned() } else { format!("{USER}{}", index + 1) }
    }

    fn clean(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        // A home folder elsewhere than under /home, where no rule would know it.
        if let Some(home) = self.home.clone().filter(|home| owner(home).is_none()) {
            text = replace_words(&text, &home, "/home/user");
        }
        for base in ["/home/", "/Users/"] {
            text = self.homes_under(&text, base);
        }
        if let Some(name) = self.user.clone() {
            text = replace_words(&text, &name, USER);
        }
        for name in self.hosts.clone() {
            text = replace_words(&text, &name, "host");
        }
        hide_secrets(&text)
    }

    /// Replaces the part after each `/home/`.
    fn homes_under(&mut self, text: &str, base: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(base) {
            let (before, after) = rest.split_at(at + base.len());
            out.push_str(before);
            let end = after.find(ends_component).unwrap_or(after.len());
            // A sentence's full stop is no part of a name.
            let (name, tail) = after.split_at(after[..end].trim_end_matches('.').len());
            if name.is_empty() || name == "linuxbrew" || name == USER {
                out.push_str(name);
            } else {
                out.push_str(&self.stand_in(name));
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

/// Whether a character ends a component of a path in running text.
fn ends_component(c: char) -> bool {
    c == '/' || is_stop(c)
}

/// Whether a character separates paths and words in running text.
fn is_stop(c: char) -> bool {
    c.is_whitespace() || matches!(c, ':' | ';' | ',' | '"' | '\'' | '`' | '(' | ')' | '=' | '@')
}

fn walk(value: &mut Value, key: Option<&str>, clean: &mut dyn FnMut(&str) -> String) {
    match value {
        Value::String(text) => {
            if !key.is_some_and(|key| SCHEMA_KEYS.contains(&key)) {
                let clean = clean(text);
                if clean != *text {
                    *text = clean;
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, key, clean)),
        // Keys stay: they are words of the schema or names of variables.
        Value::Object(fields) => {
            // A tagged enum and an enum of words both lie under `kind`; free text never does.
            fields.iter_mut().filter(|(key, _)| *key != "kind").for_each(|(key, item)| walk(item, Some(key), clean));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces a name where it is a whole component of a path or a whole word.
fn replace_words(text: &str, name: &str, by: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, found) = rest.split_at(at);
        let after = &found[name.len()..];
        let last = before.chars().next_back().or_else(|| out.chars().next_back());
        // A sentence's full stop is no part of a name.
        let mut next = after.chars();
        let joined = match next.next() {
            Some('.') => next.next().is_some_and(word),
            Some(c) => word(c),
            None => false,
        };
        out.push_str(before);
        out.push_str(if last.is_some_and(word) || joined { name } else { by });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A stand-in for each id: its number by the order in which the ids appear, behind the stand-in of the longest other
/// id with which it begins. As all numbers have the same width, one stand-in begins with another one exactly where
/// the ids do.
fn number(ids: Vec<String>) -> HashMap<String, String> {
    let mut numbers = HashMap::new();
    for id in ids {
        let next = numbers.len() + 1;
        numbers.entry(id).or_insert(next);
    }
    // Sorted, an id comes behind all with which it begins, and nothing but their descendants stands between.
    let mut sorted: Vec<_> = numbers.into_iter().collect();
    crate::sort::plain(&mut sorted);
    let mut begun: Vec<(String, String)> = Vec::new();
    let mut stand_ins = HashMap::new();
    for (id, number) in sorted {
        while begun.last().is_some_and(|(shorter, _)| !id.starts_with(shorter.as_str())) {
            begun.pop();
        }
        let stand_in =
            begun.last().map_or_else(|| format!("{number:08}"), |(_, shorter)| format!("{shorter}-{number:08}"));
        stand_ins.insert(id.clone(), stand_in.clone());
        begun.push((id, stand_in));
    }
    stand_ins
}

/// Shows every GPU and MIG id of a text, without its `GPU-` or `MIG-`, to `replace`, and puts there what it gives.
fn replace_ids(text: &str, mut replace: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let next = ["GPU-", "MIG-"].iter().filter_map(|mark| rest.find(mark)).min();
        let Some(at) = next else { break };
        let (before, after) = rest.split_at(at + 4);
        out.push_str(before);
        rest = after;
        // `MIG-GPU-…` is looked at again from its second mark.
        if after.starts_with("GPU-") || after.starts_with("MIG-") {
            continue;
        }
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(after.len());
        let id;
        (id, rest) = after.split_at(end);
        let replaced = if is_id(id) { replace(id) } else { None };
        out.push_str(replaced.as_deref().unwrap_or(id));
    }
    out.push_str(rest);
    out
}

/// Whether this may be an id or the beginning of one, rather than a word such as that of `GPU-accelerated`.
///
/// The empty beginning, which fits every id, stays as it is.
fn is_id(text: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    !text.is_empty() && (text.bytes().any(|byte| byte.is_ascii_digit()) || text.bytes().all(hexadecimal))
}

/// Replaces access tokens and the passwords of addresses.
fn hide_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(is_secret_stop) {
        let (body, stop) = match word.char_indices().next_back() {
            Some((at, c)) if is_secret_stop(c) => word.split_at(at),
            _ => (word, ""),
        };
        let token = TOKENS.iter().any(|start| body.strip_prefix(start).is_some_and(|rest| rest.len() >= 12));
        out.push_str(if token { SECRET } else { body });
        out.push_str(stop);
    }
    hide_passwords(&out)
}

fn is_secret_stop(c: char) -> bool {
    c == '/' || is_stop(c)
}

/// Replaces what stands before the `@` of an address: `https://name:word@host`.
fn hide_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len());
        let authority = &after[..end];
        rest = match authority.rfind('@') {
            Some(sign) => {
                out.push_str(SECRET);
                &after[sign..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;
    use crate::facts::{Evidence, PciDevice, Probed, ProcGpu, Reading, ToolkitSelector};
    use crate::finding::Finding;
    use crate::options::GpuWish;
    use crate::verdict::judge;
    use proptest::prelude::*;

    fn facts(name: &str, home: &str) -> Facts {
        let mut facts = Facts::default();
        facts.machine.user.name = Some(name.to_owned());
        facts.machine.user.home = Some(home.to_owned());
        facts.env.insert("HOME".to_owned(), home.to_owned());
        facts.env.insert("USER".to_owned(), name.to_owned());
        facts
    }

    fn say(facts: &mut Facts, text: &str) {
        facts.machine.tegra = Some(Evidence::file(text, text));
    }

    fn said(facts: &Facts) -> &str {
        &facts.machine.tegra.as_ref().unwrap().says
    }

    #[test]
    fn processes_of_error_reports_have_no_names() {
        for (says, wanted) in [
            ("pid=4242, name=secret-project, Ch 00000008, MMU Fault", "pid=4242, name=process, Ch 00000008, MMU Fault"),
            (
                "pid='<unknown>', name=<unknown>, GPU has fallen off",
                "pid='<unknown>', name=<unknown>, GPU has fallen off",
            ),
            ("name=x", "name=process"),
            ("GPU has fallen off the bus.", "GPU has fallen off the bus."),
        ] {
            let mut facts = Facts::default();
            let xid = crate::facts::Xid { says: says.to_owned(), ..crate::facts::Xid::default() };
            facts.driver.xids = Probed::found(vec![xid], Evidence::default());
            redact(&mut facts);
            assert_eq!(facts.driver.xids.value().unwrap()[0].says, wanted);
        }
    }

    #[test]
    fn names_go_and_paths_stay_consistent() {
        let mut facts = facts("ada", "/home/ada");
        facts.env.insert("LD_LIBRARY_PATH".to_owned(), "/home/ada/lib:/scratch/ada/x:/home/bob/lib".to_owned());
        facts.env.insert("CUDA_HOME".to_owned(), "/opt/adage/ada.d".to_owned());
        facts.selectors.push(ToolkitSelector {
            name: "CUDA_HOME".to_owned(),
            value: "/home/ada/cuda".to_owned(),
            toolkit: None,
        });
        say(&mut facts, "owner ada of /home/ada. On turing, by ada");
        redact_names(&mut facts, &["turing"]);
        assert_eq!(facts.env["LD_LIBRARY_PATH"], "/home/user/lib:/scratch/user/x:/home/user2/lib");
        assert_eq!(facts.env["CUDA_HOME"], "/opt/adage/ada.d");
        assert_eq!((facts.env["HOME"].as_str(), facts.env["USER"].as_str()), ("/home/user", "user"));
        assert_eq!(facts.selectors[0].value, "/home/user/cuda");
        assert_eq!(said(&facts), "owner user of /home/user. On host, by user");
        let text = serde_json::to_string(&facts).unwrap();
        assert!(!text.contains("ada/") && !text.contains("bob") && !text.contains("turing"));
        let once = facts.clone();
        redact(&mut facts);
        assert_eq!(facts, once);
    }

    #[test]
    fn common_names_change_no_system_paths() {
        let mut facts = facts("nvidia", "/home/nvidia");
        say(&mut facts, "/usr/lib/nvidia/libcuda.so /home/nvidia/x");
        redact(&mut facts);
        assert_eq!(said(&facts), "/usr/lib/nvidia/libcuda.so /home/user/x");
        let mut root = self::facts("root", "/root");
        say(&mut root, "/root/.keras/keras.json");
        redact(&mut root);
        assert_eq!(said(&root), "/root/.keras/keras.json");
        assert_eq!(root.env["USER"], "root");
    }

    #[test]
    fn a_home_elsewhere_is_replaced_too() {
        let mut facts = facts("ada", "/nfs/people/ada");
        say(&mut facts, "/nfs/people/ada/.keras:/nfs/people/adam");
        redact(&mut facts);
        assert_eq!(said(&facts), "/home/user/.keras:/nfs/people/adam");
    }

    #[test]
    fn a_name_that_is_a_word_of_the_schema_breaks_nothing() {
        for name in ["found", "file", "driver", "system", "12.4", "cache", "gpu"] {
            let mut facts = facts(name, &format!("/home/{name}"));
            facts.driver.loaded = Probed::found(true, Evidence::file("/sys", "x"));
            let version = "12.4".parse().unwrap();
            facts.driver.kernel.push(Reading { value: version, evidence: Evidence::file("/sys", "x") });
            facts.driver.libcuda.file = Probed::Absent;
            let before = facts.driver.clone();
            redact(&mut facts);
            assert_eq!(facts.driver, before, "{name}");
        }
    }

    #[test]
    fn ids_are_numbered_and_secrets_go() {
        let mut facts = facts("ada", "/home/ada");
        let uuid = "GPU-8f6d2a1c-1111-2222-3333-444455556666";
        facts.driver.gpus.push(ProcGpu { uuid: Some(uuid.to_owned()), ..ProcGpu::default() });
        facts.env.insert("CUDA_VISIBLE_DEVICES".to_owned(), format!("{uuid},MIG-{uuid}/1/0,0,GPU-8F6D,GPU-9"));
        say(&mut facts, "https://bob:word@host/x hf_abcdefghijklmnop ok=sk-0123456789abcdef GPU-accelerated");
        redact(&mut facts);
        let now = facts.driver.gpus[0].uuid.clone().unwrap();
        let short = now.get(..12).unwrap();
        assert!(now.len() == 21 && short.starts_with("GPU-0000000"), "{now}");
        let visible = &facts.env["CUDA_VISIBLE_DEVICES"];
        let (first, wrong) = visible.rsplit_once(',').unwrap();
        assert_eq!(first, format!("{now},MIG-{now}/1/0,0,{short}"));
        assert!(wrong.starts_with("GPU-0000000") && wrong.len() == 12 && wrong != short, "{wrong}");
        assert_eq!(said(&facts), "https://[secret]@host/x [secret] ok=[secret] GPU-accelerated");
        let once = facts.clone();
        redact(&mut facts);
        assert_eq!(facts, once);
    }

    /// A machine with these GPUs, on which the variable has this value.
    fn seen(uuids: &[String], visible: &str) -> Facts {
        let mut facts = facts("ada", "/home/ada");
        facts.driver.loaded = Probed::found(true, Evidence::file("/proc/modules", "nvidia"));
        for (index, uuid) in uuids.iter().enumerate() {
            let address = format!("0000:0{index}:00.0");
            facts.pci.push(PciDevice {
                address: address.clone(),
                vendor: PciDevice::NVIDIA.to_owned(),
                device: "0x2330".to_owned(),
                class: "0x030200".to_owned(),
                ..PciDevice::default()
            });
            facts.driver.gpus.push(ProcGpu { address, uuid: Some(uuid.clone()), ..ProcGpu::default() });
        }
        facts.env.insert("CUDA_VISIBLE_DEVICES".to_owned(), visible.to_owned());
        facts
    }

    /// Rules with their levels and what they break, and what could not be told.
    fn judged(facts: &Facts) -> Vec<String> {
        let outcomes = judge(facts, Database::embedded(), GpuWish::Required, "2026-11-23");
        let level = |finding: &Finding| finding.level.map(|level| format!("{level:?}"));
        let findings =
            outcomes.findings.iter().map(|(rule, it)| format!("{} {:?} {:?}", rule.id, level(it), it.breaks));
        let unknown = outcomes.unknown.iter().map(|it| format!("{} {:?}", it.0, it.1.breaks));
        findings.chain(unknown).collect()
    }

    #[test]
    fn a_wrong_id_stays_wrong() {
        let uuid = "GPU-8f6d2a1c-1111-2222-3333-444455556666".to_owned();
        for (visible, wrong) in [("GPU-8f6d2a1c-9", true), ("GPU-8f6d2a1d", true), ("GPU-8F6D2", false)] {
            let mut facts = seen(std::slice::from_ref(&uuid), visible);
            let before = judged(&facts);
            assert_eq!(before.iter().any(|it| it.starts_with("visible-devices-invalid")), wrong, "{before:?}");
            redact(&mut facts);
            assert_eq!(judged(&facts), before, "{visible}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_text_is_survived(name in "\\PC{0,8}", home in "(/[a-zé.]{0,4}){0,4}", text in "(GPU-|MIG-|/home/|://|@|é|a|\\PC){0,30}") {
            let mut facts = facts(&name, &home);
            say(&mut facts, &text);
            facts.schema = 7;
            redact_names(&mut facts, &[&text]);
            prop_assert!(facts.machine.tegra.is_some());
        }

        #[test]
        fn redacted_facts_are_judged_alike(
            uuids in proptest::collection::vec("GPU-[0-1a]{3}-[0-1]{2}", 1..4),
            entries in proptest::collection::vec((0_usize..6, 0_usize..10, "[01aA-]{0,4}", 0_usize..5), 1..4),
        ) {
            let entry = |(of, cut, wrong, kind): &(usize, usize, String, usize)| {
                let uuid = uuids.get(of % uuids.len()).cloned().unwrap_or_default();
                let head: String = uuid.chars().take(4 + cut).collect();
                match kind {
                    0 => uuid,
                    1 => head,
                    2 => format!("GPU-{wrong}"),
                    3 => head.replace('a', "A") + wrong,
                    _ => of.to_string(),
                }
            };
            let visible = entries.iter().map(entry).collect::<Vec<_>>().join(",");
            let facts = seen(&uuids, &visible);
            let mut redacted = facts.clone();
            redact(&mut redacted);
            prop_assert_eq!(judged(&redacted), judged(&facts), "{} of {:?}", visible, uuids);
            let text = serde_json::to_string(&redacted).unwrap();
            prop_assert!(uuids.iter().all(|uuid| !text.contains(uuid.as_str())));
            let mut again = facts.clone();
            redact(&mut again);
            prop_assert_eq!(&again, &redacted);
            redact(&mut again);
            prop_assert_eq!(again, redacted);
        }
    }
}
