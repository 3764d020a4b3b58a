//! The program `cargo-gpu-doctor`: hands the command line to the library and ends with its exit code.

fn main() -> std::process::ExitCode {
    gpu_doctor::cli::main().into()
}
