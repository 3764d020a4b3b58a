//! Rule `host-compiler-unsupported`: whether the toolkit takes the host compiler that nvcc would use.

use super::toolkit_missing::{compiling, locked_evidence, selected, version};
use super::{Cx, Family, Rule, layer};
use crate::db::CrateRow;
use crate::facts::{Evidence, LockedCrate};
use crate::finding::{Break, Finding, Judgment, Level, RowRef, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "host-compiler-unsupported",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::PROJECT + 1,
    summary: "the host compiler is newer than the CUDA toolkit takes",
    docs: "\
### What it means

nvcc hands the C++ half of a source to a host compiler, gcc or clang, and the toolkit's header `crt/host_config.h` \
refuses compilers beyond a major version. The compiler that nvcc would use here is newer than that.

### Why it matters

Every CUDA source stops with \"unsupported GNU version! gcc versions later than … are not supported\" (or the same \
about clang), or with errors in the standard library's headers.

### How to fix it

Install an older compiler beside the present one and tell nvcc to use it, by `NVCC_APPEND_FLAGS='-ccbin g++-12'`; or \
install a newer toolkit. `NVCC_CCBIN` and `NVCC_PREPEND_FLAGS` do not count where nvcc is called with `-ccbin`, as the \
crate cc calls it: the last option does. `-allow-unsupported-compiler` only silences the check.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    judge(cx, &compiling(cx), out);
}

/// How nvcc is told which host compiler to use, whatever it is called with: of several `-ccbin` it takes the last one,
/// and `NVCC_CCBIN` only without any (seen with nvcc 13.0 and 13.5).
pub(super) fn use_compiler(name: &str) -> String {
    format!("export NVCC_APPEND_FLAGS=\"$NVCC_APPEND_FLAGS -ccbin {name}\"")
}

fn judge(cx: &Cx<'_>, compiling: &[(&LockedCrate, &CrateRow)], out: &mut Judgment) {
    let (Some((locked, _)), Some(toolkit), Some(compiler)) =
        (compiling.first(), selected(cx), cx.facts.compilers.first())
    else {
        return;
    };
    out.applies();
    let clang = compiler.kind == "clang";
    // The toolkit's own header goes before any table.
    let (limit, evidence, row): (Option<u32>, Option<Evidence>, Option<RowRef>) =
        if let Some(limits) = toolkit.host_limits.value() {
            let limit = if clang { limits.clang_max } else { limits.gcc_max };
            (limit, toolkit.host_limits.evidence().cloned(), None)
        } else {
            let row = version(toolkit).and_then(|version| cx.db.cuda(version));
            let limit = row.and_then(|row| if clang { row.clang_max.as_ref() } else { row.gcc_max.as_ref() });
            let evidence = toolkit.readings.first().map(|reading| reading.evidence.clone());
            (limit.map(crate::version::Dotted::major), evidence, row.map(crate::db::CudaRow::row_ref))
        };
    let cuda = version(toolkit).map_or_else(|| toolkit.path.clone(), |version| format!("CUDA {version}"));
    let Some(limit) = limit else { return };
    let Some(found) = compiler.version.value() else {
        let why = compiler.version.unknown().unwrap_or("no file states it");
        let missing = format!("the version of {}, which {cuda} takes up to {limit}: {why}", compiler.path);
        return out.unknown(Subject::Project, missing, Some(Break::Builds));
    };
    if found.major() <= limit {
        return;
    }
    let (name, program) = if clang { ("clang", "clang++") } else { ("gcc", "g++") };
    let title = format!("{name} {found} is too new for {cuda}, which takes {name} up to {limit}");
    let older = format!("{program}-{limit}");
    let mut finding = Finding::new(Subject::Project, title)
        .because_all(compiler.version.evidence().cloned())
        .because(compiler.chosen_by.clone())
        .because_all(evidence)
        .because(locked_evidence(locked))
        .row(row)
        .run(format!("with {older} installed, tell nvcc to use it"), use_compiler(&older))
        .breaks(Break::Builds);
    if let Some(("debian" | "ubuntu", package)) = cx
        .facts
        .machine
        .distribution_id
        .value()
        .map(|id| (id.as_str(), if clang { format!("clang-{limit}") } else { older.clone() }))
    {
        finding = finding.run("to install it", format!("sudo apt install {package}"));
    }
    out.find(finding);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, HostCompiler, HostLimits};
    use crate::rules::testing::{bare, found, v};
    use crate::rules::toolkit_missing::tests::{judged, toolkit};

    fn with_gcc(version: &str) -> Facts {
        let mut facts = bare();
        facts.toolkits = vec![toolkit("/usr/local/cuda-12.4", "12.4.1")];
        facts.compilers = vec![HostCompiler {
            chosen_by: Evidence::env("PATH", "/usr/bin"),
            path: "/usr/bin/g++".to_owned(),
            kind: "gcc".to_owned(),
            version: found(v(version)),
        }];
        facts
    }

    #[test]
    fn a_compiler_beyond_the_limit_is_refused() {
        // By the table.
        let said = judged(judge, &with_gcc("14.2.0"));
        assert_eq!(said.findings[0].breaks, [(Subject::Project, Break::Builds)]);
        assert!(said.findings[0].row.is_some());
        assert!(judged(judge, &with_gcc("13.2.0")).findings.is_empty());
        // The toolkit's own header goes first.
        let mut facts = with_gcc("14.2.0");
        facts.toolkits[0].host_limits = found(HostLimits { gcc_max: Some(14), ..HostLimits::default() });
        assert!(judged(judge, &facts).findings.is_empty());
    }
}
