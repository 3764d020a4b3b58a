//! Rule `driver-below-cuda-floor`: whether the driver reaches the oldest one that a framework's CUDA major runs on.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::version::Dotted;
use crate::view::{DriverBounds, EnvView};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "driver-below-cuda-floor",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::FIT,
    summary: "the driver is older than the oldest one that this CUDA major runs on",
    docs: "\
### What it means

Within one CUDA major every release runs on any driver from a floor upwards: 450.80.02 for CUDA 11, 525.60.13 for \
CUDA 12, 580.65.06 for CUDA 13 (Linux). The driver here lies below the floor of the CUDA that a framework in this \
environment was built with.

### Why it matters

The GPU is still listed, but the first call into the CUDA runtime fails with \"CUDA driver version is insufficient \
for CUDA runtime version\" (35). A list of devices is therefore no proof that anything runs.

### How to fix it

Update the driver to the floor or beyond; a newer driver runs all older CUDA too. Where the driver cannot be changed, \
install a release of the framework that was built with an older CUDA major, or, on data-center GPUs, NVIDIA's \
`cuda-compat` package of the CUDA that is wanted.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    // On WSL the driver is that of Windows, of which nothing here states the version.
    if !cx.view.has_gpu() || cx.view.is_wsl() || cx.facts.machine.os != "linux" {
        return;
    }
    for env in cx.view.envs() {
        let mut wanted: Vec<(&str, u32, Break)> = Vec::new();
        if env.wants_cuda()
            && let Some(major) = env.cuda_major()
        {
            wanted.push(("TensorFlow", major, Break::TfRuns));
        }
        wanted.extend(other_backend(&env));
        for (who, major, breaks) in wanted {
            judge(cx, &env, who, major, breaks, out);
        }
    }
}

/// The CUDA major of Keras's backend, where that is JAX or `PyTorch` with CUDA.
fn other_backend(env: &EnvView<'_, '_>) -> Option<(&'static str, u32, Break)> {
    env.keras().filter(|_| env.is_keras3())?;
    let major = |text: &str| text.split('.').next().and_then(|major| major.parse().ok());
    match env.backend().name.as_str() {
        "jax" => {
            let plugins = &env.env.jax.as_ref()?.plugins;
            let digits = plugins.keys().find_map(|name| name.strip_prefix("jax-cuda")?.split('-').next())?;
            Some(("JAX", major(digits)?, Break::KerasUses))
        }
        "torch" => Some(("PyTorch", major(env.env.torch.as_ref()?.cuda.value()?)?, Break::KerasUses)),
        _ => None,
    }
}

/// What is known of the driver.
enum Known<'a> {
    Version(Dotted, Evidence),
    Reports(DriverBounds<'a>),
}

impl<'a> Known<'a> {
    fn of(cx: &Cx<'a>, env: &EnvView<'_, '_>) -> Option<Self> {
        let version = cx.view.driver_for(env.env).map(|(version, evidence)| Self::Version(version, evidence));
        version.or_else(|| cx.view.driver_bounds().map(Self::Reports))
    }

    fn reaches(&self, floor: &Dotted) -> Option<bool> {
        match self {
            Self::Version(version, _) => Some(version >= floor),
            Self::Reports(bounds) => bounds.reaches(floor),
        }
    }

    fn evidence(&self) -> Evidence {
        match self {
            Self::Version(_, evidence) => evidence.clone(),
            Self::Reports(bounds) => bounds.evidence.clone(),
        }
    }
}

fn judge(cx: &Cx<'_>, env: &EnvView<'_, '_>, who: &str, cuda: u32, breaks: Break, out: &mut Judgment) {
    out.applies();
    let subject = Subject::Env(env.index);
    // A driver that is not loaded or drives no GPU, or a container without one, explains itself.
    if !cx.view.driver_answers() || super::driver_not_loaded::none_driven(cx) {
        return;
    }
    let Some(driver) = Known::of(cx, env) else {
        return out.unknown(subject, "the version of the driver", Some(breaks));
    };
    let Some((floor, row)) = cx.db.cuda_floor(cuda) else {
        // A newer driver runs all older CUDA: what reaches the oldest floor known is enough for what is older still.
        let oldest = cx.db.cuda_rows().iter().filter_map(|row| row.floor_linux.as_ref()).min();
        let older = cx.db.cuda_rows().iter().all(|row| row.version.number.major() > cuda);
        if !(older && oldest.is_some_and(|oldest| driver.reaches(oldest) == Some(true))) {
            let missing = format!("the oldest driver for CUDA {cuda}, which the database does not know");
            out.unknown(subject, missing, Some(breaks));
        }
        return;
    };
    let title = match (driver.reaches(&floor), &driver) {
        (Some(true), _) => {
            // Before CUDA 11 each minor asks for its own driver, and this is the one for the oldest: only a driver
            // that is enough for a newer family is enough for all of them.
            let newer = cx.db.cuda_rows().iter().filter(|row| row.version.number.major() > cuda);
            let enough = newer.filter_map(|row| row.floor_linux.as_ref()).min();
            if cuda < 11 && enough.is_none_or(|enough| driver.reaches(enough) != Some(true)) {
                out.unknown(subject, format!("which driver this minor of CUDA {cuda} needs"), Some(breaks));
            }
            return;
        }
        (Some(false), Known::Version(driver, _)) => {
            format!("driver {driver} is too old for CUDA {cuda}, which needs {floor} or newer")
        }
        (Some(false), Known::Reports(bounds)) => format!(
            "a driver that reports CUDA {} is too old for CUDA {cuda}, which needs driver {floor} or newer",
            bounds.reports
        ),
        (None, _) => {
            let missing = format!(
                "whether the driver is {floor} or newer, which CUDA {cuda} needs; name it with `--assume driver=VERSION`"
            );
            return out.unknown(subject, missing, Some(breaks));
        }
    };
    let mut finding = Finding::new(subject, title).because(driver.evidence());
    if who == "TensorFlow" {
        finding = finding.because_all(env.tf().and_then(|tf| tf.build.evidence()).cloned());
    } else if let Some(torch) = env.env.torch.as_ref().filter(|_| who == "PyTorch") {
        finding = finding.because_all(torch.cuda.evidence().cloned());
    }
    out.find(
        finding
            .row(Some(row))
            .help(format!("update the driver to {floor} or newer; a newer driver runs all older CUDA too"))
            .help(format!("or install a {who} that was built with an older CUDA major"))
            .so(format!("{who} may list the GPU, but nothing runs on it (CUDA error 35)"))
            .breaks(breaks),
    );
}

/// Whether the driver lies below the floor of TensorFlow's CUDA: then nothing finer needs to be said.
pub(super) fn below(cx: &Cx<'_>, env: &EnvView<'_, '_>) -> bool {
    let floor = env.cuda_major().and_then(|major| cx.db.cuda_floor(major)).map(|(floor, _)| floor);
    let reaches = || Known::of(cx, env)?.reaches(&floor?);
    reaches() == Some(false) && !cx.view.is_wsl()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Assumption, Module, Torch};
    use crate::rules::testing::{bare, found, judge, machine, machine_with_driver, silent, tensorflow, v};

    #[test]
    fn a_driver_below_the_floor_lets_nothing_run() {
        let mut facts = machine_with_driver("470.256.02");
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_90"])];
        let said = judge(&RULE, &facts);
        let title = "driver 470.256.02 is too old for CUDA 12, which needs 525.60.13 or newer";
        assert_eq!(said.findings[0].title, title);
        assert_eq!(said.findings[0].breaks, [(Subject::Env(0), Break::TfRuns)]);
        assert!(said.findings[0].row.is_some());
    }

    #[test]
    fn at_the_floor_it_runs() {
        for driver in ["525.60.13", "535.54.03", "615.1"] {
            let mut facts = machine_with_driver(driver);
            facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_90"])];
            assert!(silent(&RULE, &facts), "{driver}");
        }
        let mut facts = machine();
        facts.pythons = vec![tensorflow("2.3.0", "10.1", &["sm_70", "compute_70"])];
        assert!(silent(&RULE, &facts));
    }

    #[test]
    fn before_cuda_11_each_minor_has_its_own_floor() {
        let with = |driver: &str| {
            let mut facts = machine_with_driver(driver);
            facts.pythons = vec![tensorflow("2.3.0", "10.1", &["sm_70", "compute_70"])];
            facts
        };
        let said = judge(&RULE, &with("390.157"));
        assert_eq!(said.findings[0].title, "driver 390.157 is too old for CUDA 10, which needs 410.48 or newer");
        let said = judge(&RULE, &with("415.27"));
        assert!(said.findings.is_empty());
        assert_eq!(said.unknown[0].missing, "which driver this minor of CUDA 10 needs");
        assert!(silent(&RULE, &with("450.80.02")));
    }

    #[test]
    fn keras_on_torch_asks_for_the_cuda_of_torch() {
        let mut facts = machine();
        let mut env = tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_90"]);
        env.keras = Some(Module { version: Some("3.10.0".to_owned()), ..Module::default() });
        env.keras_config.variable = Some(Evidence::env("KERAS_BACKEND", "torch"));
        env.torch = Some(Torch { module: Some(Module::default()), cuda: found("13.0".to_owned()), ..Torch::default() });
        facts.env.insert("KERAS_BACKEND".to_owned(), "torch".to_owned());
        facts.pythons = vec![env];
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].breaks, [(Subject::Env(0), Break::KerasUses)]);
    }

    /// What is said about TensorFlow with a driver of which only the reported CUDA is known.
    fn told_cuda(reports: &str, built: &str) -> Judgment {
        let mut facts = bare();
        facts.pythons = vec![tensorflow("2.20.0", built, &["sm_80", "compute_90"])];
        for (key, value) in [("gpu", "8.0"), ("cuda", reports)] {
            let evidence = Evidence::new(crate::facts::Source::Option, "--assume", format!("{key}={value}"));
            facts.assumed.push(Assumption { key: key.to_owned(), value: v(value), evidence });
        }
        judge(&RULE, &facts)
    }

    #[test]
    fn the_reported_cuda_tells_as_much_as_the_rows_do() {
        // 12.10 and 99.0 have no row: they are no older than the newest row before them.
        for (reports, built) in
            [("12.1", "12.5.1"), ("12.7", "12.5.1"), ("12.10", "12.5.1"), ("13.0", "13.0"), ("99.0", "13.0")]
        {
            let said = told_cuda(reports, built);
            assert!(said.findings.is_empty() && said.unknown.is_empty(), "{reports}");
        }
        for (reports, built) in [("11.8", "12.5.1"), ("10.2", "12.5.1"), ("12.9", "13.0"), ("10.1", "11.8")] {
            let said = told_cuda(reports, built);
            assert_eq!(said.findings[0].breaks, [(Subject::Env(0), Break::TfRuns)], "{reports}");
            assert!(said.findings[0].title.starts_with(&format!("a driver that reports CUDA {reports} is too old")));
            assert!(said.findings[0].row.is_some());
        }
        // The first drivers of these branches lie below the floor, the later ones do not.
        for (reports, built) in [("12.0", "12.5.1"), ("12", "12.5.1"), ("11.0", "11.8")] {
            let said = told_cuda(reports, built);
            assert!(said.findings.is_empty(), "{reports}");
            assert_eq!(said.unknown[0].breaks, Some(Break::TfRuns), "{reports}");
        }
    }
}
