//! The exit codes, the same for every command and every output format.

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Nothing was denied.
    Ok = 0,
    /// The command line or a configuration file is wrong.
    Usage = 2,
    /// At least one finding was denied.
    Denied = 100,
    /// The check did not finish.
    Incomplete = 101,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
