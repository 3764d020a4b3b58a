//! Annotations for GitHub Actions: workflow commands, of which no part can be mistaken for another command.

use std::fmt::Write as _;

use super::item::Item;
use super::wrap::clean;
use crate::finding::Level;

/// The annotations, the worst first as findings are, then a line that sums them up; `troubles` say why the check fails
/// where no finding does.
pub fn annotations(items: &[Item], troubles: &[&str]) -> String {
    let mut out = String::new();
    for item in items {
        let command = match item.level {
            Level::Deny => "error",
            Level::Warn => "warning",
            Level::Note => "notice",
        };
        let column = item.place.column.map_or_else(String::new, |column| format!(",col={column}"));
        let text: Vec<String> = item.text().lines().map(clean).collect();
        let _ = writeln!(
            out,
            "::{command} file={},line={}{column},title={}::{}",
            property(&item.place.file),
            item.place.line,
            property(&format!("gpu-doctor: {}", item.rule.id)),
            data(&text.join("\n")),
        );
    }
    for text in troubles {
        let _ = writeln!(out, "::error title=gpu-doctor::{}", data(text));
    }
    let count = |level: Level| items.iter().filter(|item| item.level == level).count();
    let (denied, warned, notes) = (count(Level::Deny), count(Level::Warn), count(Level::Note));
    let _ = writeln!(out, "gpu-doctor: {denied} denied, {warned} warned, {notes} noted");
    out
}

/// The text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::item::Place;
    use proptest::prelude::*;

    fn item(title: &str, file: &str) -> Item {
        Item {
            rule: crate::rules::find("gpu-absent").unwrap(),
            level: Level::Deny,
            title: title.to_owned(),
            subject: "machine".to_owned(),
            details: vec!["100 %".to_owned()],
            help: vec![("do".to_owned(), Some("a\nb".to_owned()))],
            place: Place { file: file.to_owned(), line: 3, column: Some(5) },
            machines: Vec::new(),
        }
    }

    #[test]
    fn parts_are_escaped() {
        assert_eq!(
            annotations(&[item("a: b, c", "a,b:c%.toml")], &[]),
            "::error file=a%2Cb%3Ac%25.toml,line=3,col=5,title=gpu-doctor%3A gpu-absent::a: b, c%0A100 %25%0Ahelp: do: a%0Ab\n\
             gpu-doctor: 1 denied, 0 warned, 0 noted\n"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_a_line_of_its_own(title in "(?s).{0,30}(\r?\n::error::x)?", file in "(?s).{0,20}(\n::x)?") {
            let said = annotations(&[item(&title, &file)], &[title.as_str()]);
            prop_assert_eq!(said.split(['\n', '\r']).filter(|line| !line.is_empty()).count(), 3);
        }
    }
}
