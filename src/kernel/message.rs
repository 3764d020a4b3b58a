//! Reads what a failed compiler printed: the line that tells something, and the one cause that it comes down to.

use super::Cause;

/// Programs and libraries that nvcc and NVRTC consist of.
const PARTS: [&str; 7] = ["cicc", "ptxas", "fatbinary", "cudafe++", "nvlink", "bin2c", "libnvrtc-builtins"];

/// Whether a line is only a step on the way to the one that tells something.
fn is_noise(line: &str) -> bool {
    let noise =
        ["in file included from", "from ", "compilation terminated", "note:", "warning:", "failed to preprocess"];
    let lower = line.trim_start().to_lowercase();
    lower.is_empty()
        || noise.iter().any(|word| lower.starts_with(word))
        || lower.contains(" warning:")
        || lower.contains(": note:")
        || lower.contains(": warning ")
        || lower.contains("failed to preprocess host compiler")
}

/// Whether a line says that something failed.
fn tells(line: &str) -> bool {
    const WORDS: [&str; 9] = [
        "error",
        "fatal",
        "not found",
        "no such file",
        "cannot ",
        "could not",
        "no space left",
        "read-only file system",
        "permission denied",
    ];
    let lower = line.to_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
}

/// The first line that tells something, else the first that is no noise, else the first.
pub(super) fn first_useful(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !is_noise(line));
    let line = lines
        .clone()
        .find(|line| tells(line))
        .or_else(|| lines.next())
        .or_else(|| text.lines().find(|line| !line.trim().is_empty()))
        .unwrap_or("it printed nothing");
    let line = line.trim();
    let mut short: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
    if line.chars().count() > 300 {
        short.push('…');
    }
    short
}

/// The cause behind what nvcc and the programs that it starts print.
///
/// `ccbin` is the host compiler that it was told to use.
pub(super) fn cause(text: &str, ccbin: Option<&str>) -> Cause {
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["no space left on device", "read-only file system", "disk quota exceeded"])
        || lower.contains("could not open output file '/tmp/")
        || lower.contains("cannot create temporary")
    {
        return Cause::NoTemporarySpace;
    }
    if has(&[
        "unsupported gnu version",
        "unsupported clang version",
        "unsupported grace clang version",
        "unsupported hos clang version",
        "unsupported microsoft visual studio",
        "unsupported pgi configuration",
        "unsupported nvhpc",
        "unsupported host compiler",
        "host compiler targets unsupported os",
        "unsupported icc configuration",
    ]) {
        return Cause::HostCompilerUnsupported;
    }
    if has(&[
        "unsupported gpu architecture",
        "is not defined for option 'gpu-name'",
        "is not defined for option 'gpu-architecture'",
        "is not defined for option 'gpu-code'",
        "invalid value for --gpu-architecture",
    ]) {
        return Cause::ArchitectureUnknown;
    }
    // An older ptxas than the compiler that wrote the PTX.
    if has(&["unsupported .version"]) {
        return Cause::PartsMixed;
    }
    if has(&["segmentation fault", "died due to signal", "core dumped"]) {
        return Cause::Crashed;
    }
    if has(&["libdevice"]) {
        return Cause::LibdeviceMissing;
    }
    // What the shell says of a program that nvcc wanted to start.
    let gone = |line: &str| {
        line.contains(": not found") || line.contains("command not found") || line.contains("no such file or directory")
    };
    if lower.lines().any(|line| (gone(line) && !line.contains("error")) && PARTS.iter().any(|part| line.contains(part)))
        || lower.contains("failed to open libnvrtc-builtins")
    {
        return Cause::PartMissing;
    }
    if lower.lines().any(|line| {
        line.contains("cannot open source file")
            || (line.contains("fatal error") && gone(line) && !line.contains("cannot execute"))
    }) {
        return Cause::HeaderMissing;
    }
    let named = ccbin.is_some_and(|name| lower.lines().any(|line| gone(line) && line.contains(&name.to_lowercase())));
    let usual = ["gcc", "g++", "c++", "cc1plus", "clang", "clang++"];
    if named
        || lower
            .lines()
            .any(|line| gone(line) && line.split([' ', ':', '\'', '`', '/']).any(|word| usual.contains(&word)))
        || lower.contains("failed to preprocess host compiler properties")
    {
        return Cause::HostCompilerMissing;
    }
    if lower.contains("permission denied") && lower.contains("/tmp") {
        return Cause::NoTemporarySpace;
    }
    Cause::Other
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // What nvcc 13.5 and NVRTC 13.5 printed when these parts were taken away, shortened.
    #[test]
    fn what_compilers_print_comes_down_to_one_cause() {
        let cases: &[(&str, Cause, &str)] = &[
            (
                "ptxas /tmp/a.ptx, line 9; fatal   : Unsupported .version 9.5; current version is '9.0'",
                Cause::PartsMixed,
                "ptxas /tmp/a.ptx, line 9; fatal   : Unsupported .version 9.5; current version is '9.0'",
            ),
            (
                "nvcc error   : 'ptxas' died due to signal 11 (Invalid memory reference)",
                Cause::Crashed,
                "nvcc error   : 'ptxas' died due to signal 11 (Invalid memory reference)",
            ),
            (
                "nvcc fatal   : Unsupported gpu architecture 'compute_20'",
                Cause::ArchitectureUnknown,
                "nvcc fatal   : Unsupported gpu architecture 'compute_20'",
            ),
            (
                "nosuchc++: No such file or directory\nnvcc fatal   : Failed to preprocess host compiler properties.",
                Cause::HostCompilerMissing,
                "nosuchc++: No such file or directory",
            ),
            (
                "sh: 1: /usr/local/cuda/bin/../nvvm/bin/cicc: not found",
                Cause::PartMissing,
                "sh: 1: /usr/local/cuda/bin/../nvvm/bin/cicc: not found",
            ),
            ("sh: 1: ptxas: not found", Cause::PartMissing, "sh: 1: ptxas: not found"),
            ("sh: line 1: cudafe++: command not found", Cause::PartMissing, "sh: line 1: cudafe++: command not found"),
            (
                "In file included from <command-line>:\n/x/include/cuda_runtime.h:82:10: fatal error: crt/host_config.h: \
                 No such file or directory\n   82 | #include \"crt/host_config.h\"\ncompilation terminated.",
                Cause::HeaderMissing,
                "/x/include/cuda_runtime.h:82:10: fatal error: crt/host_config.h: No such file or directory",
            ),
            (
                "<command-line>: warning: \"__GNUC__\" redefined\n<built-in>: note: this is the location\n\
                 In file included from /x/include/cuda_runtime.h:82,\n                 from <command-line>:\n\
                 /x/include/crt/host_config.h:137:2: error: #error -- unsupported GNU version! gcc versions later than \
                 16 are not supported!",
                Cause::HostCompilerUnsupported,
                "/x/include/crt/host_config.h:137:2: error: #error -- unsupported GNU version! gcc versions later than \
                 16 are not supported!",
            ),
            (
                "<built-in>: fatal error: when writing output to all.cpp4.ii: No space left on device",
                Cause::NoTemporarySpace,
                "<built-in>: fatal error: when writing output to all.cpp4.ii: No space left on device",
            ),
            (
                "nvrtc: error: failed to open libnvrtc-builtins.so.13.5.\n  Make sure that it is installed correctly.",
                Cause::PartMissing,
                "nvrtc: error: failed to open libnvrtc-builtins.so.13.5.",
            ),
            (
                "nvrtc: error: invalid value for --gpu-architecture (-arch)",
                Cause::ArchitectureUnknown,
                "nvrtc: error: invalid value for --gpu-architecture (-arch)",
            ),
            (
                "nvcc fatal   : Path to libdevice library not specified",
                Cause::LibdeviceMissing,
                "nvcc fatal   : Path to libdevice library not specified",
            ),
            (
                "gcc: fatal error: cannot execute 'cc1plus': execvp: No such file or directory",
                Cause::HostCompilerMissing,
                "gcc: fatal error: cannot execute 'cc1plus': execvp: No such file or directory",
            ),
            ("", Cause::Other, "it printed nothing"),
        ];
        for (text, want, line) in cases {
            assert_eq!(cause(text, Some("nosuchc++")), *want, "{text}");
            assert_eq!(first_useful(text), *line);
        }
    }

    proptest! {
        #[test]
        fn no_message_panics(text in "(\\PC|\n){0,80}") {
            let _ = (cause(&text, Some("é")), first_useful(&text));
        }
    }
}
