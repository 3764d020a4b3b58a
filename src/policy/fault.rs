//! Faults of a policy file: file, line, column, and for the command line the text itself, as rustc shows an error.

use std::ops::Range;
use std::sync::Arc;

use std::fmt;

#[cfg(feature = "cli")]
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One thing that is wrong in a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// Its text; empty where it could not be read.
    pub text: Arc<str>,
    /// The bytes that are wrong; `None` where the whole file is.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Fault {
    /// The line and column of the fault, both counted from 1, the column in characters.
    pub fn position(&self) -> Option<(u32, u32)> {
        let start = self.span.as_ref()?.start;
        let before = self.text.get(..start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position() {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong in the policy files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Faults(pub Vec<Fault>);

#[cfg(feature = "cli")]
impl Faults {
    /// The faults as text for a terminal, with colour where `styled`.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for fault in &self.0 {
            if !out.is_empty() {
                out.push_str("\n\n");
            }
            out.push_str(&render(&renderer, fault));
        }
        out
    }
}

#[cfg(feature = "cli")]
fn render(renderer: &Renderer, fault: &Fault) -> String {
    // A span that does not lie in the text would make the renderer panic.
    let span = fault
        .span
        .clone()
        .filter(|span| span.start <= span.end && fault.text.get(span.clone()).is_some())
        .filter(|_| !fault.text.is_empty());
    let title = Level::ERROR.primary_title(fault.message.as_str());
    let mut groups = match span {
        Some(span) => vec![title.element(
            Snippet::source(&*fault.text).path(fault.file.as_str()).annotation(AnnotationKind::Primary.span(span)),
        )],
        None => vec![title.element(annotate_snippets::Origin::path(fault.file.as_str()))],
    };
    if let Some(help) = &fault.help {
        groups.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
    }
    renderer.render(&groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_span_is_shown_without_panic(text in ".{0,40}(\n.{0,20}){0,3}", start in 0usize..80, length in 0usize..20) {
            let fault = Fault {
                file: "gpu-doctor.toml".to_owned(),
                text: text.into(),
                span: Some(start..start + length),
                message: "wrong".to_owned(),
                help: Some("right".to_owned()),
            };
            #[cfg(feature = "cli")]
            let shown = Faults(vec![fault]).render(false);
            #[cfg(not(feature = "cli"))]
            let shown = Faults(vec![fault]).to_string();
            prop_assert!(shown.contains("gpu-doctor.toml"));
        }
    }
}
