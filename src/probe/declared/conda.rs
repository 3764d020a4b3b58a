//! Reads conda environment files: conda's packages, and those that pip puts on top.

use crate::facts::{DeclaredBy, DeclaredPackage, DeclaredSet, DeclaredVersion};
use crate::probe::python::requirement::normalise;

use super::requirements::{self, Read};
use super::yaml;

/// What an environment file says: conda's part, and what pip is to install.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) conda: DeclaredSet,
    pub(super) pip: Option<Read>,
    /// Whether it says from which channels it comes.
    pub(super) channels: bool,
}

/// Reads an environment file; `None` where it is none.
pub(super) fn read(path: &str, text: &str) -> Result<Option<Environment>, String> {
    let root = yaml::parse(text)?;
    let Some(dependencies) = root.get("dependencies") else { return Ok(None) };
    let mut out = Environment { channels: root.get("channels").is_some(), ..Environment::default() };
    out.conda.by = DeclaredBy::Conda;
    path.clone_into(&mut out.conda.file);
    for entry in dependencies.list() {
        if let Some(says) = entry.text() {
            let Some((name, specifier)) = specification(says) else { continue };
            let evidence = entry.evidence(path, says);
            if name == "python" {
                if !specifier.is_empty() {
                    out.conda.python.push(DeclaredVersion { value: specifier, evidence });
                }
            } else {
                let holds = Some(true);
                out.conda.packages.push(DeclaredPackage {
                    name,
                    specifier,
                    holds,
                    evidence,
                    ..DeclaredPackage::default()
                });
            }
        } else if let Some(list) = entry.get("pip") {
            let read = out.pip.get_or_insert_default();
            for entry in list.list() {
                let Some(says) = entry.text() else { continue };
                let says = says.trim();
                let evidence = entry.evidence(path, says);
                if says.starts_with('-') {
                    let words: Vec<&str> = says.split_whitespace().collect();
                    requirements::options(&words, read, &|says| entry.evidence(path, says));
                } else {
                    match requirements::package(says, &evidence) {
                        Some(package) => read.packages.push(package),
                        None => read.open = true,
                    }
                }
            }
        }
    }
    Ok(Some(out))
}

/// Conda's `channel::name=version=build` as a name and a PEP 440 requirement.
///
/// `None` where it is not understood, as with alternatives.
pub(super) fn specification(text: &str) -> Option<(String, String)> {
    let text = text.trim();
    let text = text.rsplit("::").next().unwrap_or(text);
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || rest.contains(['|', '[', '(']) {
        return None;
    }
    let rest = rest.trim();
    let mut parts = Vec::new();
    // `name 1.2.* build` and `name=1.2=build`: the build says nothing about versions.
    let rest = match rest.split_once(char::is_whitespace) {
        Some((version, _)) if !version.ends_with([',', '=', '<', '>']) => version,
        _ => rest,
    };
    for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "*" && *part != "=*") {
        let digit = part.find(|c: char| c.is_ascii_digit())?;
        let (sign, version) = part.split_at(digit);
        let version = version.split('=').next().unwrap_or_default().trim();
        parts.push(match sign.trim() {
            // Conda's single sign takes everything that begins so.
            "=" | "" if version.ends_with('*') => format!("=={}.*", version.trim_end_matches(['*', '.'])),
            "=" => format!("=={version}.*"),
            "" | "==" => format!("=={version}"),
            sign @ (">=" | "<=" | ">" | "<" | "!=" | "~=") => format!("{sign}{version}"),
            _ => return None,
        });
    }
    Some((normalise(name), parts.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "\
name: app
channels: [conda-forge, nvidia]
dependencies:
  - python=3.8
  - conda-forge::cudatoolkit=11.8=h4ba93d1_12
  - numpy >=1.20,<2
  - pip
  - pip:
      - tensorflow[and-cuda]>=2.18  # GPU
      - -r more.txt
      - -e .
";

    #[test]
    fn conda_and_pip_are_read() {
        let read = read("environment.yml", SAMPLE).unwrap().unwrap();
        let names: Vec<String> =
            read.conda.packages.iter().map(|package| format!("{}{}", package.name, package.specifier)).collect();
        assert_eq!(names, ["cudatoolkit==11.8.*", "numpy>=1.20,<2", "pip"]);
        let python = &read.conda.python[0];
        assert_eq!(
            (python.value.as_str(), python.evidence.line, python.evidence.column),
            ("==3.8.*", Some(4), Some(5))
        );
        let pip = read.pip.unwrap();
        let first = &pip.packages[0];
        assert_eq!(
            (first.specifier.as_str(), first.evidence.line, first.evidence.column),
            (">=2.18", Some(9), Some(9))
        );
        assert!(pip.includes.len() == 1 && pip.open);
        assert!(super::read("x.yml", "a: 1\n").unwrap().is_none() && super::read("x.yml", "a: [").is_err());
    }

    #[test]
    fn specifications_are_translated() {
        for (text, wanted) in [
            ("python=3.8", Some(("python", "==3.8.*"))),
            ("python=3.8.*", Some(("python", "==3.8.*"))),
            ("python==3.8.10", Some(("python", "==3.8.10"))),
            ("tensorflow-gpu=2.10.0=cuda112py39hd320b7a_0", Some(("tensorflow-gpu", "==2.10.0.*"))),
            ("tensorflow 2.10.* *cuda*", Some(("tensorflow", "==2.10.*"))),
            ("tensorflow", Some(("tensorflow", ""))),
            ("python>=3.9, <3.12", Some(("python", ">=3.9,<3.12"))),
            ("python=3.8|3.9", None),
            ("tensorflow[version='>=2']", None),
            ("", None),
        ] {
            let got = specification(text);
            assert_eq!(got.as_ref().map(|(name, version)| (name.as_str(), version.as_str())), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([-a-z:=<>.,*| \\[\\]é0-9]|\n){0,80}", cut in 0..260usize) {
            let _ = specification(&text);
            let _ = read("e", &text);
            let _ = read("e", SAMPLE.get(..cut).unwrap_or(SAMPLE));
        }
    }
}
