//! Where text goes and in what colour; knows nothing of what it says.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

use anstream::adapter::strip_str;
use clap::ColorChoice;

use crate::exit::Exit;
use crate::policy::Faults;

/// The colour that the environment asks for: `NO_COLOR`, then `CLICOLOR_FORCE`, then `CARGO_TERM_COLOR`.
pub(super) fn colour<'e>(env: impl Fn(&str) -> Option<&'e str>) -> ColorChoice {
    if env("NO_COLOR").is_some() {
        ColorChoice::Never
    } else if env("CLICOLOR_FORCE").is_some_and(|force| force != "0") {
        ColorChoice::Always
    } else {
        match env("CARGO_TERM_COLOR") {
            Some("always") => ColorChoice::Always,
            Some("never") => ColorChoice::Never,
            _ => ColorChoice::Auto,
        }
    }
}

/// Which streams take colour, and how wide the terminal is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// The terminal's width, where standard output is one.
    pub(super) width: Option<usize>,
}

impl Paint {
    /// The option wins over the environment, the environment over the terminal.
    pub(super) fn new(option: ColorChoice, env: ColorChoice, term: Option<&str>) -> Self {
        let choice = if option == ColorChoice::Auto { env } else { option };
        let on = |terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && term != Some("dumb"),
        };
        let stdout = io::stdout();
        // Narrower than this nothing can be laid out; wider lines are hard to read.
        let width = stdout
            .is_terminal()
            .then(|| rustix::termios::tcgetwinsize(&stdout).ok())
            .flatten()
            .filter(|size| size.ws_col > 0)
            .map(|size| usize::from(size.ws_col).clamp(40, 120));
        Self { stdout: on(stdout.is_terminal()), stderr: on(io::stderr().is_terminal()), width }
    }
}

/// Where a command's text goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sink<'a> {
    pub(super) paint: Paint,
    /// A second copy.
    pub(super) output: Option<&'a Path>,
}

impl<'a> Sink<'a> {
    /// Writes the text, and gives the exit code that it then ends with.
    pub(super) fn write(&self, text: &str, exit: Exit) -> Result<Exit, Failure> {
        let mut stream = self.begin()?;
        stream.put(text)?;
        Ok(exit)
    }

    /// Begins a text that is written in pieces.
    pub(super) fn begin(&self) -> Result<Stream<'a>, Failure> {
        let file = match self.output {
            Some(path) => {
                let wrong = |error: io::Error| Failure::usage(format!("--output {}: {error}", path.display()));
                Some((path, std::fs::File::create(path).map_err(wrong)?))
            }
            None => None,
        };
        Ok(Stream { paint: self.paint, file, closed: false })
    }
}

/// A text on its way out.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    paint: Paint,
    file: Option<(&'a Path, std::fs::File)>,
    /// Whoever read standard output has seen enough, as `head` does; that changes no verdict.
    closed: bool,
}

impl Stream<'_> {
    /// Writes a piece.
    pub(super) fn put(&mut self, text: &str) -> Result<(), Failure> {
        if let Some((path, file)) = &mut self.file {
            let wrong = |error: io::Error| Failure::incomplete(format!("--output {}: {error}", path.display()));
            file.write_all(plain(text).as_bytes()).map_err(wrong)?;
        }
        if self.closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let text = if self.paint.stdout { Cow::Borrowed(text) } else { plain(text) };
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::incomplete(format!("standard output: {error}"))),
        }
    }
}

/// The text without colour; a text that has none, as all JSON, is not looked at further.
fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\u{1b}') { strip_str(text).to_string().into() } else { text.into() }
}

/// A warning on standard error; nobody is left to tell where that is closed.
pub(super) fn warn(text: &str) {
    let _ = writeln!(io::stderr().lock(), "warning: {}", crate::report::wrap::clean(text));
}

/// Why a command ends early.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    what: What,
}

#[derive(Debug)]
enum What {
    Text(String),
    Policy(Faults),
}

impl Failure {
    /// The command line, or a file that it names, is wrong.
    pub(super) fn usage(text: String) -> Self {
        Self { exit: Exit::Usage, what: What::Text(text) }
    }

    /// The policy is wrong.
    pub(super) fn policy(faults: Faults) -> Self {
        Self { exit: Exit::Usage, what: What::Policy(faults) }
    }

    /// The check did not finish.
    pub(super) fn incomplete(text: String) -> Self {
        Self { exit: Exit::Incomplete, what: What::Text(text) }
    }

    /// Says it.
    pub(super) fn print(&self, to: &mut impl Write, styled: bool) -> io::Result<()> {
        match &self.what {
            What::Policy(faults) => writeln!(to, "{}", faults.render(styled)),
            What::Text(text) => {
                let red = anstyle::AnsiColor::Red.on_default().bold();
                let text = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
                if styled { writeln!(to, "{red}error{red:#}: {text}") } else { writeln!(to, "error: {text}") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_the_colour() {
        let choice = |pairs: &'static [(&str, &'static str)]| {
            colour(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
        };
        assert_eq!(choice(&[]), ColorChoice::Auto);
        assert_eq!(choice(&[("CARGO_TERM_COLOR", "always")]), ColorChoice::Always);
        assert_eq!(choice(&[("CARGO_TERM_COLOR", "always"), ("NO_COLOR", "1")]), ColorChoice::Never);
        assert_eq!(choice(&[("CLICOLOR_FORCE", "1")]), ColorChoice::Always);
        assert_eq!(choice(&[("CLICOLOR_FORCE", "0")]), ColorChoice::Auto);
    }
}
