//! Rule `kernel-compile-failed`: whether the compilers that were found compile the test kernel.

use super::host_compiler_unsupported::use_compiler;
use super::toolkit_missing::{compiling, selected};
use super::{Cx, Family, Rule, layer};
use crate::db::CrateRow;
use crate::facts::{CompileFailed, Evidence, KernelCompile, LockedCrate, Observed, Source};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::options::Launch;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "kernel-compile-failed",
    family: Family::Kernel,
    level: Level::Deny,
    layer: layer::KERNEL,
    summary: "a CUDA compiler that was found does not compile the test kernel",
    docs: "\
### What it means

An nvcc or an NVRTC on this machine was given the test kernel, which any of them takes, and gave nothing: its host compiler \
is unsupported or missing, a part of the toolkit (`cicc`, `ptxas`, headers, libdevice, NVRTC's built-ins) is missing, it \
lies at a path that a shell reads otherwise, it \
does not know the GPU's architecture, or there is no room for temporary files.

### Why it matters

A build script or a program that uses that compiler fails in the same way. Where the nvcc is the one that this project's \
crates would use, the project does not build. It is a warning where that nvcc works with another host compiler or was \
only too slow, and a note where nothing here would use the compiler.

### How to fix it

The finding has the compiler's own words. Install the toolkit as a whole, tell nvcc which host compiler to use \
(`NVCC_APPEND_FLAGS='-ccbin g++-12'`), or remove the toolkit that is not meant to be used.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    judge(cx, &compiling(cx), out);
}

fn judge(cx: &Cx<'_>, compiling: &[(&LockedCrate, &CrateRow)], out: &mut Judgment) {
    let Some(observed) = &cx.facts.observed else { return };
    if observed.compiles.is_empty() {
        return;
    }
    out.applies();
    // Architectures of one compiler that fail alike are one finding.
    let mut told: Vec<(&KernelCompile, &CompileFailed)> = Vec::new();
    for compile in &observed.compiles {
        let Some(failed) = &compile.failure else { continue };
        let same = |(other, why): &(&KernelCompile, &CompileFailed)| {
            (&other.route, &other.compiler, &other.host_compiler, &why.cause)
                == (&compile.route, &compile.compiler, &compile.host_compiler, &failed.cause)
        };
        if told.iter().any(same) {
            continue;
        }
        told.push((compile, failed));
        let compiler = compile.compiler.as_deref().unwrap_or(&compile.route);
        let arch = compile.arch.as_ref().map_or(String::new(), |arch| format!(" for {arch}"));
        let mut title = format!("{compiler} does not compile the test kernel{arch}");
        if failed.cause != "other" {
            title = format!("{title}: {}", failed.cause.replace('-', " "));
        }
        let mut finding =
            Finding::new(Subject::Machine, title).because(Evidence::new(Source::Run, compiler, &failed.says));
        if let Some(host) = &compile.host_compiler {
            finding = finding.because(Evidence::new(Source::Run, host, "the host compiler"));
        }
        finding = match failed.cause.as_str() {
            "host-compiler-unsupported" => {
                let name = newest(&failed.says);
                finding.run(format!("with {name} installed, tell nvcc to use it"), use_compiler(&name))
            }
            "host-compiler-missing" => finding.run("install a host compiler", "sudo apt install g++"),
            "parts-mixed" | "crashed" => {
                finding.help("install that toolkit again as a whole: its parts are of different releases, or broken")
            }
            "part-missing" | "header-missing" | "libdevice-missing" => {
                finding.help("install that toolkit as a whole, or remove it")
            }
            "path-unsupported" => {
                let root = compiler.rsplitn(3, '/').last().unwrap_or_default();
                finding.run(
                    "nvcc cannot work at a path with `$`, `\"` or backquotes: reach it by a link elsewhere, and build with that",
                    format!("ln -s {} ~/cuda && export CUDA_HOME=~/cuda PATH=~/cuda/bin:\"$PATH\"", crate::shell::word(root)),
                )
            }
            "architecture-unknown" => finding.help("use a toolkit that knows this GPU"),
            "no-temporary-space" => {
                finding.run("give it a temporary folder with room", "export TMPDIR=/path/with/room")
            }
            "timed-out" => finding.help("give it more time, or look what holds it up"),
            _ => finding,
        };
        // What they ask for may be what it stumbles over.
        let flags = ["NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"].into_iter().filter(|_| compile.route == "nvcc");
        for name in flags {
            if let Some(value) = cx.facts.env.get(name).filter(|value| !value.trim().is_empty()) {
                finding = finding.because(Evidence::env(name, value));
                if failed.cause == "other" {
                    finding = finding.run("try it without these options", format!("unset {name}"));
                }
            }
        }
        let used = compile.route == "nvcc"
            && !compiling.is_empty()
            && selected(cx).is_some_and(|toolkit| toolkit.nvcc == compile.compiler);
        out.find(weigh(cx, observed, compile, used, finding));
    }
}

/// The newest host compiler that a toolkit takes, by what its `crt/host_config.h` says of one that it does not: `gcc
/// versions later than 15 are not supported`, `clang version must be less than 21 and greater than 3.2`.
fn newest(says: &str) -> String {
    let number = |before: &str| {
        let rest = says.split_once(before)?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()
    };
    match (number("gcc versions later than "), number("must be less than ")) {
        (Some(last), _) => format!("g++-{last}"),
        (_, Some(next)) => format!("clang++-{}", next.saturating_sub(1)),
        _ => "g++-12".to_owned(),
    }
}

/// How much a failure counts: only the nvcc that this project's crates would use can break its build.
fn weigh(cx: &Cx<'_>, observed: &Observed, compile: &KernelCompile, used: bool, finding: Finding) -> Finding {
    let asked = matches!(cx.launch, Launch::Asked | Launch::Require);
    if !used && !asked {
        return finding.at(Level::Note);
    }
    // Which host compiler a build script takes is not known, and a busy machine is no broken one.
    let works_otherwise = observed.compiles.iter().any(|other| {
        (&other.route, &other.compiler) == (&compile.route, &compile.compiler)
            && other.host_compiler != compile.host_compiler
            && other.failure.is_none()
    });
    let slow = compile.failure.as_ref().is_some_and(|failed| failed.cause == "timed-out");
    if works_otherwise || slow {
        return finding.at(Level::Warn);
    }
    if used { finding.breaks_for(Subject::Project, Break::Builds) } else { finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Observed;
    use crate::rules::testing::{judge, machine};
    use crate::rules::toolkit_missing::tests::{judged, toolkit};

    /// An nvcc that fails with the host compiler that it was told to use.
    fn fails(nvcc: &str, cause: &str) -> KernelCompile {
        KernelCompile {
            route: "nvcc".to_owned(),
            compiler: Some(nvcc.to_owned()),
            host_compiler: Some("c++".to_owned()),
            failure: Some(CompileFailed { cause: cause.to_owned(), ..CompileFailed::default() }),
            ..KernelCompile::default()
        }
    }

    #[test]
    fn options_of_the_environment_are_named() {
        let mut facts = machine();
        facts.env.insert("NVCC_APPEND_FLAGS".to_owned(), "--nonsense".to_owned());
        facts.observed = Some(Observed { compiles: vec![fails("/opt/cuda/bin/nvcc", "other")], ..Observed::default() });
        let found = judge(&RULE, &facts).findings.remove(0);
        assert_eq!(found.title, "/opt/cuda/bin/nvcc does not compile the test kernel");
        assert!(found.help.iter().any(|help| help.command.as_deref() == Some("unset NVCC_APPEND_FLAGS")));
    }

    #[test]
    fn the_newest_host_compiler_that_it_takes_is_proposed() {
        // The words of CUDA 13.0's host_config.h.
        assert_eq!(newest("unsupported GNU version! gcc versions later than 15 are not supported!"), "g++-15");
        let clang =
            "unsupported clang version! clang version must be less than 21 and greater than 3.2 . The nvcc flag";
        assert_eq!(newest(clang), "clang++-20");
        assert_eq!(newest("later than"), "g++-12");
    }

    #[test]
    fn only_the_compiler_that_a_build_would_use_breaks_it() {
        let said = |compiles: Vec<KernelCompile>| {
            let mut facts = machine();
            facts.toolkits = vec![toolkit("/cuda-12.4", "12.4.1"), toolkit("/cuda-11.8", "11.8.0")];
            facts.observed = Some(Observed { compiles, ..Observed::default() });
            let findings = judged(super::judge, &facts).findings;
            findings.into_iter().map(|finding| (finding.level, finding.breaks.len())).collect::<Vec<_>>()
        };
        let used = || fails("/cuda-12.4/bin/nvcc", "host-compiler-unsupported");
        assert_eq!(said(vec![used()]), [(None, 1)]);
        assert_eq!(said(vec![fails("/cuda-11.8/bin/nvcc", "host-compiler-unsupported")]), [(Some(Level::Note), 0)]);
        assert_eq!(said(vec![KernelCompile { route: "nvrtc".to_owned(), ..used() }]), [(Some(Level::Note), 0)]);
        assert_eq!(said(vec![fails("/cuda-12.4/bin/nvcc", "timed-out")]), [(Some(Level::Warn), 0)]);
        // `NVCC_CCBIN` names one with which it works.
        let works = KernelCompile { host_compiler: Some("g++-12".to_owned()), failure: None, ..used() };
        assert_eq!(said(vec![used(), works]), [(Some(Level::Warn), 0)]);
    }

    #[test]
    fn one_compiler_that_fails_alike_is_one_finding() {
        let mut facts = machine();
        assert!(!judge(&RULE, &facts).applied);
        let failed = |arch: &str, cause: &str| KernelCompile {
            route: "nvcc".to_owned(),
            compiler: Some("/usr/local/cuda/bin/nvcc".to_owned()),
            arch: Some(arch.to_owned()),
            failure: Some(CompileFailed {
                stage: "preprocess".to_owned(),
                cause: cause.to_owned(),
                says: "unsupported GNU version!".to_owned(),
            }),
            ..KernelCompile::default()
        };
        let compiles = ["sm_90", "compute_90"].map(|arch| failed(arch, "host-compiler-unsupported"));
        facts.observed = Some(Observed { compiles: compiles.into(), ..Observed::default() });
        let findings = judge(&RULE, &facts).findings;
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].title,
            "/usr/local/cuda/bin/nvcc does not compile the test kernel for sm_90: host compiler unsupported"
        );
        // Nothing here compiles CUDA code.
        assert_eq!(findings[0].level, Some(Level::Note));
    }
}
