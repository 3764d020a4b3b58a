//! Rule `protobuf-mismatch`: protobuf does not fit TensorFlow's generated code, or lies outside the range that it requires.

use super::numpy_abi_mismatch::lacks_package;
use super::{Cx, Family, Rule, layer};
use crate::facts::{Dist, Evidence, GeneratedCode, GeneratedStyle};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::version::Dotted;
use crate::view::{EnvView, lower_bound, within};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "protobuf-mismatch",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT + 3,
    summary: "protobuf lies outside the range that TensorFlow requires",
    docs: r"### What it means

TensorFlow holds code that protobuf's compiler generated, and that code needs a runtime which fits it: newer code asks for the version of the runtime at least, code from before imports a module of protobuf 3.20, and that of old releases makes descriptors itself, which protobuf refuses from 4.0 on. Or the installed protobuf lies outside the range that TensorFlow's metadata names. Or `PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION` names a runtime that it does not have: from 4.0 on there is no `cpp`. Or there is none, or only its metadata.

### Why it matters

Code and runtime that do not fit make the import fail: `cannot import name 'runtime_version'`, `Detected incompatible Protobuf Gencode/Runtime versions`, `Descriptors cannot be created directly`. The metadata alone tells less: a runtime that is older than it asks for may still load all the code, which is only a note, and a newer one usually works with noise in the log, which is only a warning.

### How to fix it

Install a protobuf inside the range.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some()) {
        let Some(requirement) = env.requirement("protobuf") else { continue };
        out.applies();
        if lacks_package(cx, &env, requirement, "google.protobuf", out) {
            continue;
        }
        let Some(protobuf) = env.dist("protobuf") else { continue };
        if let Some(finding) = no_runtime(cx, &env, protobuf) {
            out.find(finding);
            continue;
        }
        let inside = within(&protobuf.version, &requirement.specifier);
        let code = env.tf().and_then(|tf| tf.generated.as_ref());
        let fault = code.and_then(|code| Some((code, fault(cx, code, protobuf)?)));
        if fault.is_none() && inside != Some(false) {
            continue;
        }
        let version = env.tf_version_text().unwrap_or_default();
        let is = format!("protobuf {} does not fit TensorFlow {version}", protobuf.version);
        let title = match &fault {
            Some((_, (why, _))) => format!("{is}, {why}"),
            None => format!("{is}, which needs protobuf{}", requirement.specifier),
        };
        // Where its metadata allows what its code does not, the command has to say more.
        let floor = fault.iter().filter(|_| inside != Some(false)).find_map(|(code, _)| code.runtime.as_ref());
        let floor = floor.map_or_else(String::new, |floor| format!(",>={floor}"));
        let wanted = format!("'protobuf{}'", format!("{}{floor}", requirement.specifier).trim_start_matches(','));
        let finding = Finding::new(Subject::Env(env.index), title)
            .because_all(fault.iter().map(|(code, _)| code.evidence.clone()))
            .because(env.requirement_evidence(requirement))
            .because(EnvView::dist_evidence(protobuf))
            .run("install a protobuf that fits", cx.view.install(env.env, &wanted));
        let older = match (lower_bound(&requirement.specifier), protobuf.version.parse::<Dotted>()) {
            (Some(bound), Ok(version)) => version < bound,
            _ => false,
        };
        let finding = match (fault, code) {
            (Some((_, (_, true))), _) => finding.so("`import tensorflow` fails").breaks(Break::TfSees),
            (None, Some(_)) if older => finding.at(Level::Note).so("its generated code loads with it all the same"),
            (None, None) if older => {
                let missing = format!(
                    "whether TensorFlow {version} loads with protobuf {}: it asks for protobuf{}",
                    protobuf.version, requirement.specifier
                );
                out.unknown(Subject::Env(env.index), missing, Some(Break::TfSees));
                finding.at(Level::Warn)
            }
            _ => finding.at(Level::Warn),
        };
        out.find(finding);
    }
}

/// The variable that chooses protobuf's runtime names one that the installed protobuf does not have.
///
/// Source: `google/protobuf/internal/api_implementation.py` from 4 on. `upb` falls back on `python` where it is missing,
/// `cpp` does not; set and empty counts.
fn no_runtime(cx: &Cx<'_>, env: &EnvView<'_, '_>, protobuf: &Dist) -> Option<Finding> {
    let value = cx.facts.env.get(RUNTIME).filter(|value| !matches!(value.as_str(), "python" | "upb"))?;
    protobuf.version.parse::<Dotted>().ok().filter(|version| version.major() >= 4)?;
    let title = format!("{RUNTIME} names a runtime that protobuf {} does not have", protobuf.version);
    let finding = Finding::new(Subject::Env(env.index), title)
        .because(Evidence::env(RUNTIME, value))
        .because(EnvView::dist_evidence(protobuf))
        .run("let protobuf choose it", format!("unset {RUNTIME}"));
    Some(finding.so("`import tensorflow` fails").breaks(Break::TfSees))
}

const RUNTIME: &str = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION";

/// Why generated code does not load with a runtime, and whether that is certain.
fn fault(cx: &Cx<'_>, code: &GeneratedCode, protobuf: &Dist) -> Option<(String, bool)> {
    let version = protobuf.version.parse::<Dotted>().ok()?;
    let set = |name: &str, value: &str| cx.facts.env.get(name).is_some_and(|it| it.eq_ignore_ascii_case(value));
    match (code.style, &code.runtime) {
        (GeneratedStyle::Checks, Some(floor)) => {
            let passes = set("TEMPORARILY_DISABLE_PROTOBUF_VERSION_CHECK", "true") && version.major() >= 5;
            (version < *floor).then(|| (format!("whose code was generated for {floor} or newer"), !passes))
        }
        (GeneratedStyle::Builder, _) => (version.prefix(2) < Dotted::new(&[3, 20]))
            .then(|| ("whose generated code needs 3.20 or newer".to_owned(), true)),
        (GeneratedStyle::Descriptors, _) => {
            // The runtime in plain Python still takes it.
            let plain = cx.facts.env.get(RUNTIME).is_some_and(|runtime| runtime == "python")
                || protobuf.tags.iter().any(|tag| tag.ends_with("-any"));
            (version.major() >= 4).then(|| ("whose generated code needs one older than 4".to_owned(), !plain))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Module, Requirement};
    use crate::rules::testing::{judge, machine, tensorflow, v};

    fn with(style: Option<(GeneratedStyle, Option<&str>)>, asks: &str, protobuf: &str) -> Facts {
        let mut facts = machine();
        let mut env = tensorflow("2.20.0", "12", &[]);
        env.tensorflow.as_mut().unwrap().generated = style.map(|(style, runtime)| GeneratedCode {
            style,
            runtime: runtime.map(v),
            evidence: Evidence::file("tensor_pb2.py", "code"),
        });
        let asked = Requirement { name: "protobuf".to_owned(), specifier: asks.to_owned(), ..Requirement::default() };
        env.dists[0].requires = vec![asked];
        let dist = Dist { name: "protobuf".to_owned(), version: protobuf.to_owned(), ..Dist::default() };
        env.dists.push(dist);
        env.modules.insert("google.protobuf".to_owned(), Module::default());
        facts.pythons = vec![env];
        facts
    }

    fn said(facts: &Facts) -> (Option<Level>, bool, String) {
        let said = judge(&RULE, facts);
        let found = said.findings.first();
        let command = found.and_then(|it| it.help[0].command.clone()).unwrap_or_default();
        (found.map(|it| it.level.unwrap_or(RULE.level)), !said.unknown.is_empty(), command)
    }

    #[test]
    fn generated_code_decides_and_metadata_only_where_that_is_not_known() {
        use GeneratedStyle::{Builder, Checks, Descriptors};
        let deny = Some(Level::Deny);
        for (style, asks, protobuf, level, unknown) in [
            (Some((Checks, Some("5.28.3"))), ">=5.28.0", "5.28.0", deny, false),
            (Some((Checks, Some("5.28.3"))), ">=5.28.0", "5.28.3", None, false),
            (Some((Checks, Some("5.28.3"))), ">=5.28.0", "7.36.2", None, false),
            (Some((Checks, Some("6.31.1"))), "<8.0.0,>=6.31.1", "4.25.9", deny, false),
            (Some((Builder, None)), "<5.0.0dev,>=3.20.3", "3.20.0", Some(Level::Note), false),
            (Some((Builder, None)), "<5.0.0dev,>=3.20.3", "3.19.6", deny, false),
            (Some((Builder, None)), "<5.0.0dev,>=3.20.3", "6.33.0", Some(Level::Warn), false),
            (Some((Descriptors, None)), "<3.20,>=3.9.2", "4.25.3", deny, false),
            (Some((Descriptors, None)), "<3.20,>=3.9.2", "3.20.3", Some(Level::Warn), false),
            (Some((Descriptors, None)), "<3.20,>=3.9.2", "3.19.6", None, false),
            (None, ">=3.20.3", "3.19.6", Some(Level::Warn), true),
            (None, "<5,>=3.20.3", "6.33.0", Some(Level::Warn), false),
        ] {
            let (was, open, _) = said(&with(style, asks, protobuf));
            assert_eq!((was, open), (level, unknown), "{style:?} {protobuf}");
        }
        let command = said(&with(Some((Checks, Some("5.28.3"))), ">=5.28.0", "5.28.0")).2;
        assert!(command.ends_with("install 'protobuf>=5.28.0,>=5.28.3'"), "{command}");
    }

    #[test]
    fn a_variable_or_the_plain_wheel_lets_old_code_through() {
        let mut facts = with(Some((GeneratedStyle::Descriptors, None)), "<3.20,>=3.9.2", "4.25.3");
        facts.pythons[0].dists[1].tags = vec!["py3-none-any".to_owned()];
        assert_eq!(said(&facts).0, Some(Level::Warn));
        facts.pythons[0].dists[1].tags.clear();
        facts.env.insert("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION".to_owned(), "python".to_owned());
        assert_eq!(said(&facts).0, Some(Level::Warn));
        let mut facts = with(Some((GeneratedStyle::Checks, Some("5.28.3"))), ">=5.28.0", "5.28.0");
        facts.env.insert("TEMPORARILY_DISABLE_PROTOBUF_VERSION_CHECK".to_owned(), "true".to_owned());
        assert_eq!(said(&facts).0, Some(Level::Warn));
    }

    #[test]
    fn a_runtime_that_is_not_there_ends_the_import() {
        for (runtime, protobuf, fails) in
            [("cpp", "7.36.2", true), ("", "4.25.3", true), ("UPB", "5.29.3", true), ("upb", "7.36.2", false)]
                .into_iter()
                .chain([("python", "7.36.2", false), ("cpp", "3.20.3", false)])
        {
            let mut facts = with(None, ">=3.9", protobuf);
            facts.env.insert(RUNTIME.to_owned(), runtime.to_owned());
            assert_eq!(said(&facts).0.is_some(), fails, "{runtime} {protobuf}");
        }
    }
}
