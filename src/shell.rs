//! Words of a shell's command line, for the commands that a report proposes; runs nothing.

use std::borrow::Cow;

/// A text as one word, in quotes where the shell would make something else of it.
///
/// Names of files and folders come from the machine: whoever copies a command must not run what a name says.
pub(crate) fn word(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'+' | b'=' | b':' | b',' | b'@' | b'%')
    };
    let dash = text.starts_with('-');
    if !text.is_empty() && !dash && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    // A word that begins like an option is a file of the working folder.
    let here = if dash { "./" } else { "" };
    Cow::Owned(quoted(&format!("{here}{text}")))
}

/// A text as one word, always in quotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A command that takes an entry out of `LD_LIBRARY_PATH`, whatever else is in it by then.
pub(crate) fn without_entry(entry: &str) -> String {
    let rest = "tr : '\\n' | grep -vxF {} | paste -sd: -".replace("{}", &quoted(entry));
    format!("export LD_LIBRARY_PATH=$(printf %s \"$LD_LIBRARY_PATH\" | {rest})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_quotes_gets_them() {
        assert_eq!(word("/srv/app/.venv/bin/python3.11"), "/srv/app/.venv/bin/python3.11");
        assert_eq!(word("/my venv"), "'/my venv'");
        assert_eq!(word("a;rm -rf ~"), "'a;rm -rf ~'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word("$(x)\n"), "'$(x)\n'");
        assert_eq!(word("-rf"), "'./-rf'");
        assert_eq!(word(""), "''");
        assert_eq!(word("~/x"), "'~/x'");
    }
}
