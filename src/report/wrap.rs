//! Text for a terminal: lines broken between words, and nothing in them that could steer the terminal.

/// The text with every control character replaced, so that a file's name cannot steer the terminal.
pub fn clean(text: &str) -> String {
    // Marks that turn the direction of text are no control characters, but can hide what a command does.
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Breaks a text between words into lines of at most `width` characters; longer words stay whole.
///
/// The first line loses `used` characters that stand before it.
pub fn lines(text: &str, width: Option<usize>, used: usize, indent: usize) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    let mut column = used;
    for word in text.split(' ') {
        let length = word.chars().count();
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last].push_str(word);
            column += length;
        } else if column + 1 + length <= width {
            lines[last].push(' ');
            lines[last].push_str(word);
            column += 1 + length;
        } else {
            lines.push(word.to_owned());
            column = indent + length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_lose_their_power() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_word_is_lost(text in "[a-z ]{0,80}", width in 1usize..40) {
            let broken = lines(&text, Some(width), 3, 3);
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&broken.join(" ")), words(&text));
            prop_assert!(broken.iter().all(|line| line.chars().count() + 3 <= width || !line.trim().contains(' ')));
        }
    }
}
