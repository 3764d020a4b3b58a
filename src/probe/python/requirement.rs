//! Parses requirement lines with their environment markers and evaluates the markers; resolves no packages.

use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifier};

/// Lines longer than this are not read.
const LONGEST: usize = 8192;
/// Parentheses deeper than this are not followed.
const DEPTH: u32 = 24;

/// A requirement line in its parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parsed {
    /// The normalised name.
    pub(crate) name: String,
    /// The extras that are asked for, normalised.
    pub(crate) extras: Vec<String>,
    /// The version specifier without spaces and parentheses; empty for any and for addresses.
    pub(crate) specifier: String,
    /// Whether an address stands in the place of the specifier.
    pub(crate) address: bool,
    /// The marker; `Err` where it was not understood.
    marker: Option<Result<Marker, ()>>,
}

/// What markers are evaluated against; what is not known is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct MarkerEnv {
    pub(crate) python_version: Option<String>,
    pub(crate) python_full_version: Option<String>,
    pub(crate) platform_machine: Option<String>,
    pub(crate) pypy: bool,
}

impl MarkerEnv {
    fn value(&self, variable: Variable, extra: &str) -> Option<String> {
        let fixed = |text: &str| Some(text.to_owned());
        match variable {
            Variable::PythonVersion => self.python_version.clone(),
            // PyPy's own version is another number than that of its Python.
            Variable::ImplementationVersion if self.pypy => None,
            Variable::PythonFullVersion | Variable::ImplementationVersion => self.python_full_version.clone(),
            Variable::OsName => fixed("posix"),
            Variable::SysPlatform => fixed("linux"),
            Variable::PlatformSystem => fixed("Linux"),
            Variable::PlatformMachine => self.platform_machine.clone(),
            Variable::ImplementationName => fixed(if self.pypy { "pypy" } else { "cpython" }),
            Variable::PythonImplementation => fixed(if self.pypy { "PyPy" } else { "CPython" }),
            Variable::Extra => fixed(extra),
            Variable::Unknown => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    PythonVersion,
    PythonFullVersion,
    ImplementationVersion,
    OsName,
    SysPlatform,
    PlatformSystem,
    PlatformMachine,
    ImplementationName,
    PythonImplementation,
    Extra,
    /// A variable of the grammar that files do not tell: the kernel's release and version.
    Unknown,
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "python_version" => Self::PythonVersion,
            "python_full_version" => Self::PythonFullVersion,
            "implementation_version" => Self::ImplementationVersion,
            "os_name" | "os.name" => Self::OsName,
            "sys_platform" | "sys.platform" => Self::SysPlatform,
            "platform_system" => Self::PlatformSystem,
            "platform_machine" | "platform.machine" => Self::PlatformMachine,
            "implementation_name" => Self::ImplementationName,
            "platform_python_implementation" | "platform.python_implementation" | "python_implementation" => {
                Self::PythonImplementation
            }
            "extra" => Self::Extra,
            "platform_release" | "platform_version" | "platform.version" | "extras" | "dependency_groups" => {
                Self::Unknown
            }
            _ => return None,
        })
    }

    fn is_version(self) -> bool {
        matches!(self, Self::PythonVersion | Self::PythonFullVersion | Self::ImplementationVersion)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Variable(Variable),
    Text(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Marker {
    And(Vec<Marker>),
    Or(Vec<Marker>),
    Compare { left: Operand, op: String, right: Operand },
}

/// `Foo.Bar_baz` as `foo-bar-baz`.
pub(crate) fn normalise(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.trim().chars() {
        if matches!(c, '-' | '_' | '.') {
            if !out.ends_with('-') {
                out.push('-');
            }
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}

/// Reads a requirement; `None` where its name, extras or specifier do not hold to the grammar.
pub(crate) fn parse(line: &str) -> Option<Parsed> {
    let line = line.trim();
    if line.len() > LONGEST {
        return None;
    }
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !alphanumeric(name.chars().next()) || !alphanumeric(name.chars().last()) {
        return None;
    }
    let mut rest = rest.trim_start();
    let mut extras = Vec::new();
    if let Some(inner) = rest.strip_prefix('[') {
        let (named, after) = inner.split_once(']')?;
        extras = named.split(',').map(normalise).filter(|extra| !extra.is_empty()).collect();
        rest = after.trim_start();
    }
    let address = rest.starts_with('@');
    let (specifier, marker) = if let Some(address) = rest.strip_prefix('@') {
        // An address may hold `;`: the marker is set apart by a space.
        let address = address.trim_start();
        let end = address.find(char::is_whitespace).unwrap_or(address.len());
        let after = address[end..].trim_start();
        (String::new(), after.strip_prefix(';'))
    } else {
        let (specifier, marker) = rest.split_once(';').map_or((rest, None), |(a, b)| (a, Some(b)));
        let specifier = specifier.trim();
        let specifier = match specifier.strip_prefix('(') {
            Some(inner) => inner.strip_suffix(')')?,
            None => specifier,
        };
        let text: String = specifier.chars().filter(|c| !c.is_whitespace()).collect();
        let fits = |part: &str| {
            let version = part.trim_start_matches(['<', '>', '=', '!', '~']);
            let operator = &part[..part.len() - version.len()];
            !version.is_empty() && matches!(operator, "<" | "<=" | ">" | ">=" | "==" | "!=" | "~=" | "===")
        };
        if !text.is_empty() && !text.trim_end_matches(',').split(',').all(fits) {
            return None;
        }
        (text, marker)
    };
    let marker = marker.filter(|text| !text.trim().is_empty()).map(|text| parse_marker(text).ok_or(()));
    Some(Parsed { name: normalise(name), extras, specifier, address, marker })
}

impl Parsed {
    /// The extra that the marker names, the first one.
    pub(crate) fn extra(&self) -> Option<String> {
        match &self.marker {
            Some(Ok(marker)) => marker.extra(),
            _ => None,
        }
    }

    /// Whether the marker holds, `extra` being asked for; `None` where that cannot be told.
    pub(crate) fn applies(&self, env: &MarkerEnv, extra: &str) -> Option<bool> {
        match &self.marker {
            None => Some(true),
            Some(Ok(marker)) => marker.holds(env, extra),
            Some(Err(())) => None,
        }
    }
}

impl Marker {
    fn extra(&self) -> Option<String> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().find_map(Self::extra),
            Self::Compare { left, op, right } => match (left, right) {
                (Operand::Variable(Variable::Extra), Operand::Text(text))
                | (Operand::Text(text), Operand::Variable(Variable::Extra))
                    if op == "==" =>
                {
                    Some(normalise(text))
                }
                _ => None,
            },
        }
    }

    fn holds(&self, env: &MarkerEnv, extra: &str) -> Option<bool> {
        match self {
            Self::And(parts) => {
                let all: Vec<Option<bool>> = parts.iter().map(|part| part.holds(env, extra)).collect();
                if all.contains(&Some(false)) { Some(false) } else { (!all.contains(&None)).then_some(true) }
            }
            Self::Or(parts) => {
                let all: Vec<Option<bool>> = parts.iter().map(|part| part.holds(env, extra)).collect();
                if all.contains(&Some(true)) { Some(true) } else { (!all.contains(&None)).then_some(false) }
            }
            Self::Compare { left, op, right } => {
                let variable = [left, right].into_iter().find_map(|side| match side {
                    Operand::Variable(variable) => Some(*variable),
                    Operand::Text(_) => None,
                })?;
                let text = |side: &Operand| match side {
                    Operand::Variable(variable) => env.value(*variable, extra),
                    Operand::Text(text) if variable == Variable::Extra => Some(normalise(text)),
                    Operand::Text(text) => Some(text.clone()),
                };
                compare(variable, &text(left)?, op, &text(right)?)
            }
        }
    }
}

fn compare(variable: Variable, left: &str, op: &str, right: &str) -> Option<bool> {
    if variable.is_version()
        && let Ok(specifier) = VersionSpecifier::from_str(&format!("{op}{right}"))
    {
        return Some(specifier.contains(&Version::from_str(left).ok()?));
    }
    Some(match op {
        "==" => left == right,
        "!=" => left != right,
        "in" => right.contains(left),
        "not in" => !right.contains(left),
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        _ => return None,
    })
}

struct Reader<'t> {
    rest: &'t str,
}

fn parse_marker(text: &str) -> Option<Marker> {
    let mut reader = Reader { rest: text };
    let marker = reader.either(DEPTH)?;
    reader.rest.trim().is_empty().then_some(marker)
}

impl<'t> Reader<'t> {
    fn keyword(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(word) {
            Some(after) if !after.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                self.rest = after;
                true
            }
            _ => false,
        }
    }

    fn either(&mut self, depth: u32) -> Option<Marker> {
        let mut parts = vec![self.both(depth)?];
        while self.keyword("or") {
            parts.push(self.both(depth)?);
        }
        if parts.len() == 1 { parts.pop() } else { Some(Marker::Or(parts)) }
    }

    fn both(&mut self, depth: u32) -> Option<Marker> {
        let mut parts = vec![self.single(depth)?];
        while self.keyword("and") {
            parts.push(self.single(depth)?);
        }
        if parts.len() == 1 { parts.pop() } else { Some(Marker::And(parts)) }
    }

    fn single(&mut self, depth: u32) -> Option<Marker> {
        if let Some(inner) = self.rest.trim_start().strip_prefix('(') {
            self.rest = inner;
            let marker = self.either(depth.checked_sub(1)?)?;
            self.rest = self.rest.trim_start().strip_prefix(')')?;
            return Some(marker);
        }
        let left = self.operand()?;
        let op = self.operator()?;
        let right = self.operand()?;
        Some(Marker::Compare { left, op, right })
    }

    fn operator(&mut self) -> Option<String> {
        if self.keyword("in") {
            return Some("in".to_owned());
        }
        if self.keyword("not") {
            return self.keyword("in").then(|| "not in".to_owned());
        }
        let rest = self.rest.trim_start();
        let op = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"].into_iter().find(|op| rest.starts_with(op))?;
        self.rest = &rest[op.len()..];
        Some(op.to_owned())
    }

    fn operand(&mut self) -> Option<Operand> {
        let rest = self.rest.trim_start();
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let (text, after) = rest[1..].split_once(quote)?;
            self.rest = after;
            return Some(Operand::Text(text.to_owned()));
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        let (word, after): (&'t str, &'t str) = rest.split_at(end);
        self.rest = after;
        Variable::named(word).map(Operand::Variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn env() -> MarkerEnv {
        MarkerEnv {
            python_version: Some("3.11".into()),
            python_full_version: Some("3.11.7".into()),
            platform_machine: Some("x86_64".into()),
            pypy: false,
        }
    }

    fn applies(marker: &str) -> Option<bool> {
        parse(&format!("x; {marker}")).unwrap().applies(&env(), "")
    }

    #[test]
    fn names_extras_and_specifiers() {
        let line = "Nvidia_cuBLAS.cu12[a, b] (<13.0, >=12.5.3.2) ; extra == \"and_cuda\"";
        let parsed = parse(line).unwrap();
        assert_eq!((parsed.name.as_str(), parsed.specifier.as_str()), ("nvidia-cublas-cu12", "<13.0,>=12.5.3.2"));
        assert_eq!(parsed.extra().as_deref(), Some("and-cuda"));
        assert_eq!(parsed.applies(&env(), "and-cuda"), Some(true));
        assert_eq!(parsed.applies(&env(), ""), Some(false));
        let parsed = parse("keras @ https://example.org/a;b.whl ; os_name == 'nt'").unwrap();
        assert_eq!(parsed.applies(&env(), ""), Some(false));
        assert!(parse("").is_none() && parse("-x").is_none() && parse("a b").is_none() && parse("a[").is_none());
    }

    #[test]
    fn markers_follow_the_grammar() {
        for (marker, wanted) in [
            ("python_version < '3.13'", Some(true)),
            ("python_version < '3.9'", Some(false)),
            ("'3.9' <= python_version", Some(true)),
            ("python_full_version == '3.11.*'", Some(true)),
            ("python_version ~= '3.10'", Some(true)),
            ("python_version in '3.10, 3.11'", Some(true)),
            ("sys_platform != 'win32' and python_version < '3.9' or os_name == 'posix'", Some(true)),
            ("sys_platform != 'win32' and (python_version < '3.9' or os_name == 'nt')", Some(false)),
            ("platform_machine not in 'arm64 aarch64'", Some(true)),
            ("platform_release >= '6'", None),
            ("platform_release >= '6' and os_name == 'nt'", Some(false)),
            ("nonsense == '1'", None),
            ("os_name ==", None),
        ] {
            assert_eq!(applies(marker), wanted, "{marker}");
        }
    }

    /// Requirement lines of installed packages, with the answers of Python's `packaging` 26.3 for the
    /// Pythons named in the test.
    #[test]
    fn answers_agree_with_pythons_own_library() {
        #[derive(serde::Deserialize)]
        struct Row {
            line: String,
            name: String,
            specifier: std::collections::BTreeSet<String>,
            extra: String,
            applies: Vec<bool>,
            bare: Vec<bool>,
        }
        let envs =
            [("3.11.7", "x86_64"), ("3.8.18", "aarch64"), ("3.13.0", "x86_64")].map(|(version, machine)| MarkerEnv {
                python_version: version.rsplit_once('.').map(|(minor, _)| minor.to_owned()),
                python_full_version: Some(version.to_owned()),
                platform_machine: Some(machine.to_owned()),
                pypy: false,
            });
        let rows = include_str!("../../../tests/data/requirements.jsonl");
        let mut faults = Vec::new();
        for row in rows.lines().map(|row| serde_json::from_str::<Row>(row).unwrap()) {
            let Some(parsed) = parse(&row.line) else {
                faults.push(format!("not parsed: {}", row.line));
                continue;
            };
            let specifier: std::collections::BTreeSet<String> =
                parsed.specifier.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            let ours = (
                parsed.name.as_str(),
                specifier,
                parsed.extra().unwrap_or_default(),
                envs.iter().map(|env| parsed.applies(env, &row.extra)).collect::<Vec<_>>(),
                envs.iter().map(|env| parsed.applies(env, "")).collect::<Vec<_>>(),
            );
            let theirs = (
                row.name.as_str(),
                row.specifier,
                row.extra,
                row.applies.into_iter().map(Some).collect::<Vec<_>>(),
                row.bare.into_iter().map(Some).collect::<Vec<_>>(),
            );
            if ours != theirs {
                faults.push(format!("{}\n  ours   {ours:?}\n  theirs {theirs:?}", row.line));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    proptest! {
        #[test]
        fn never_panics(line in "\\PC{0,80}", marker in "[()'\" a-z_.=<>!~0-9é]{0,80}") {
            let _ = parse(&line);
            if let Some(parsed) = parse(&format!("x; {marker}")) {
                let _ = (parsed.applies(&env(), "a"), parsed.extra());
            }
        }

        #[test]
        fn deep_parentheses_end(depth in 0usize..3000) {
            let _ = parse(&format!("x; {}os_name == 'nt'{}", "(".repeat(depth), ")".repeat(depth)));
        }
    }
}
