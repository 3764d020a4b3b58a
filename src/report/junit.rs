//! JUnit XML, as Jenkins, GitLab and others read it: a test case for each rule, or for each of many machines.

use std::fmt::Write as _;

use super::item::Item;
use super::{Report, Tool};
use crate::finding::Level;
use crate::rules;

/// How a test case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It passed.
    Passed,
    /// It failed: the message, and everything that is said.
    Failed(String, String),
    /// It was not judged: why.
    Skipped(String),
    /// It passed, and there is something to say.
    Said(String),
    /// It could not be judged, and so fails: why.
    Broken(String),
}

/// A test case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The family of rules, or what is tested.
    pub class: String,
    /// The rule, or the machine.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
}

/// The test cases of one machine: each rule that had something to look at.
pub fn cases(report: &Report<'_>, items: &[Item]) -> Vec<Case> {
    let class = |id: &str| {
        let family = rules::find(id).map_or_else(String::new, |rule| format!("{:?}", rule.family).to_lowercase());
        format!("gpu-doctor.{family}")
    };
    let case = |id: &str, name: String, ending| Case { class: class(id), name, ending };
    let mut cases = Vec::new();
    for item in items {
        let alone = items.iter().filter(|other| other.rule.id == item.rule.id).count() == 1;
        let name = if alone { item.rule.id.to_owned() } else { format!("{}: {}", item.rule.id, item.subject) };
        let ending = match item.level {
            Level::Deny => Ending::Failed(item.title.clone(), item.text()),
            Level::Warn => Ending::Said(format!("warning: {}", item.text())),
            Level::Note => Ending::Said(format!("note: {}", item.text())),
        };
        cases.push(case(item.rule.id, name, ending));
    }
    // Under `--strict` what cannot be told fails the check, and so has to fail here.
    let strict = report.exit_code != 0 && !items.iter().any(|item| item.level == Level::Deny);
    for unknown in &report.outcomes.unknown {
        let said = format!("could not tell: {}", unknown.missing);
        let ending = if strict { Ending::Failed(said.clone(), said) } else { Ending::Skipped(said) };
        cases.push(case(unknown.rule, format!("{}: {}", unknown.rule, unknown.missing), ending));
    }
    for ignored in &report.outcomes.ignored {
        let ending = Ending::Skipped(format!("ignored by the policy: {}", ignored.reason));
        cases.push(case(ignored.rule, ignored.rule.to_owned(), ending));
    }
    cases.extend(report.outcomes.passed.iter().map(|id| case(id, (*id).to_owned(), Ending::Passed)));
    if strict && report.outcomes.unknown.is_empty() {
        let said = "a verdict could not be told".to_owned();
        let ending = Ending::Failed(said.clone(), said);
        cases.push(Case { class: "gpu-doctor".to_owned(), name: "strict".to_owned(), ending });
    }
    cases
}

/// The document with one suite.
pub fn document(suite: &str, cases: &[Case]) -> String {
    let count = |wanted: fn(&Ending) -> bool| cases.iter().filter(|case| wanted(&case.ending)).count();
    let failed = count(|ending| matches!(ending, Ending::Failed(..)));
    let skipped = count(|ending| matches!(ending, Ending::Skipped(_)));
    let broken = count(|ending| matches!(ending, Ending::Broken(_)));
    let (tests, tool) = (cases.len(), Tool::THIS.name);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"{tool}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{broken}\">");
    let _ = writeln!(
        out,
        "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{broken}\" skipped=\"{skipped}\">",
        escape(suite)
    );
    for Case { class, name, ending } in cases {
        let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\"", escape(class), escape(name));
        let _ = match ending {
            Ending::Passed => writeln!(out, "/>"),
            Ending::Failed(message, text) => writeln!(
                out,
                ">\n      <failure type=\"denied\" message=\"{}\">{}</failure>\n    </testcase>",
                escape(message),
                escape(text)
            ),
            Ending::Skipped(why) => {
                writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escape(why))
            }
            Ending::Broken(why) => {
                writeln!(out, ">\n      <error type=\"facts\" message=\"{}\"/>\n    </testcase>", escape(why))
            }
            Ending::Said(text) => {
                writeln!(out, ">\n      <system-out>{}</system-out>\n    </testcase>", escape(text))
            }
        };
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// A text for an element or an attribute; what XML 1.0 cannot hold becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // In an attribute a bare one would become a blank.
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back(name in "\\PC{0,20}", text in "(?s).{0,40}") {
            let case = |ending| Case { class: "c".to_owned(), name: name.clone(), ending };
            let xml = document(&text, &[
                case(Ending::Failed(text.clone(), text.clone())),
                case(Ending::Skipped(text.clone())),
                case(Ending::Said(text.clone())),
                case(Ending::Passed),
            ]);
            let tree = roxmltree::Document::parse(&xml).unwrap();
            let kept: String = text
                .chars()
                .map(|c| if c.is_control() && c != '\n' && c != '\t' || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c })
                .collect();
            let failure = tree.descendants().find(|node| node.has_tag_name("failure")).unwrap();
            prop_assert_eq!(failure.attribute("message"), Some(kept.as_str()));
            prop_assert_eq!(failure.text().unwrap_or_default(), kept.as_str());
            prop_assert_eq!(tree.descendants().filter(|node| node.has_tag_name("testcase")).count(), 4);
        }
    }
}
