//! Faults of data files beneath their lines, as rustc shows an error; the build script does without.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::load::{Fault, floor};

impl Fault {
    /// The fault beneath its line; `text` is the text of the file.
    pub fn render(&self, text: &str) -> String {
        let start = floor(text, self.span.start);
        let end = floor(text, self.span.end).max(start);
        let snippet =
            Snippet::source(text).path(self.file.as_str()).annotation(AnnotationKind::Primary.span(start..end));
        Renderer::plain().render(&[Level::ERROR.primary_title(self.message.as_str()).element(snippet)])
    }
}
