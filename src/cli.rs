//! The command line.
/// Runs the program.
pub fn main() -> crate::exit::Exit {
    crate::exit::Exit::Ok
}
