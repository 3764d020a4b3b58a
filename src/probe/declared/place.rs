//! Where a byte of a text stands: its line and column.

use crate::facts::Evidence;

/// A file's text with the beginnings of its lines.
#[derive(Debug)]
pub(super) struct Text<'t> {
    pub(super) path: &'t str,
    pub(super) all: &'t str,
    starts: Vec<usize>,
}

impl<'t> Text<'t> {
    pub(super) fn new(path: &'t str, text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, all: text, starts }
    }

    /// What stands at a byte; `says` is what is quoted.
    pub(super) fn at(&self, offset: usize, says: &str) -> Evidence {
        let index = self.starts.partition_point(|&start| start <= offset).saturating_sub(1);
        let start = self.starts.get(index).copied().unwrap_or(0);
        let before = self.all.get(start..offset).unwrap_or_default();
        let column = before.chars().filter(|&c| c != '\u{feff}').count() + 1;
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Evidence::file(self.path, says).line(number(index + 1)).column(number(column))
    }
}
