//! Puts a prediction beside an observation and names each difference; knows no rule but those that the list names.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Places;
use super::build::Built;
use super::describe::Environment;
use super::observe::{Observed, Seen};
use super::predict::{Asked, Predicted};

/// What came of one environment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// What was compared: the description and the program.
    #[serde(default)]
    pub(crate) digest: String,
    /// The day of the comparison.
    pub(crate) day: String,
    /// Python's full version.
    pub(crate) python: String,
    /// TensorFlow's and Keras's versions as imported or, where they do not import, as installed.
    pub(crate) versions: String,
    /// Prediction and observation of `sees_gpu`.
    pub(crate) sees: (String, String),
    /// Prediction and observation of Keras's backend.
    pub(crate) backend: (String, String),
    /// Prediction and observation of `uses_gpu`.
    pub(crate) uses: (String, String),
    /// How far a small model got.
    pub(crate) trained: String,
    /// How many libraries' searches were compared.
    pub(crate) libraries: usize,
    /// Other packages on which the answer hangs, with their versions.
    #[serde(default)]
    pub(crate) beside: Vec<String>,
    /// The database that was used, in words.
    #[serde(default)]
    pub(crate) database: String,
    /// How many modules' files were compared.
    #[serde(default)]
    pub(crate) modules: usize,
    /// How many entries of `sys.path` were compared.
    pub(crate) paths: usize,
    /// The rules on which the verdicts rest.
    pub(crate) because: Vec<String>,
    /// What differs.
    pub(crate) disagreements: Vec<String>,
    /// Why it could not be built or observed.
    pub(crate) fault: Option<String>,
}

impl Outcome {
    /// An environment that could not be built.
    pub(crate) fn not_built(fault: String) -> Self {
        Self { day: today(), fault: Some(fault), ..Self::default() }
    }

    /// Whether it was built, and nothing differs.
    pub(crate) fn agrees(&self) -> bool {
        self.fault.is_none() && self.disagreements.is_empty()
    }

    /// The outcome in one line.
    pub(crate) fn line(&self) -> String {
        format!(
            "sees {}/{}, backend {}/{}, uses {}/{}, {} paths, {} modules, {} libraries {}",
            self.sees.0,
            self.sees.1,
            self.backend.0,
            self.backend.1,
            self.uses.0,
            self.uses.1,
            self.paths,
            self.modules,
            self.libraries,
            self.because.join(" ")
        )
    }
}

fn today() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Days to a civil date, by the usual era arithmetic of the proleptic Gregorian calendar.
    let days = i64::try_from(seconds / 86_400).unwrap_or(0) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// What an outcome holds for: the description and the program.
pub(crate) fn digest(environment: &Environment, program: &str) -> String {
    super::build::digest(&format!("{environment:?}{program}"))
}

/// The outcome that was kept.
pub(crate) fn kept(places: &Places, environment: &Environment) -> Option<Outcome> {
    let path = places.results.join(format!("{}.outcome.json", environment.name));
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// Keeps an outcome for the page, and so that a run that was cut off can go on.
pub(crate) fn save(places: &Places, environment: &Environment, outcome: &Outcome) {
    let path = places.results.join(format!("{}.outcome.json", environment.name));
    std::fs::write(path, serde_json::to_string_pretty(outcome).unwrap()).unwrap();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn rules(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// A path without `.` and `..`, links left alone.
fn tidy(path: &str) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                tidy.pop();
            }
            Component::CurDir => {}
            part => tidy.push(part),
        }
    }
    tidy
}

/// Whether two paths of the inside are the same file, links followed where it is this machine's own file system.
fn same(built: &Built, a: &str, b: &str) -> bool {
    if tidy(a) == tidy(b) {
        return true;
    }
    let real = |path: &str| std::fs::canonicalize(built.outside(Path::new(path))).ok();
    matches!((real(a), real(b)), (Some(a), Some(b)) if a == b)
}

/// All differences.
pub(crate) fn compare(environment: &Environment, built: &Built, observed: &Observed, predicted: &Predicted) -> Outcome {
    let report = &predicted.inside;
    let mut outcome = Outcome { day: today(), ..Outcome::default() };
    let mut wrong = Vec::new();
    let Some(position) = report["facts"]["pythons"].as_array().and_then(|all| {
        all.iter().position(|env| env["path"].as_str().is_some_and(|path| Path::new(path) == built.env))
    }) else {
        outcome.disagreements.push("the program does not find the environment".into());
        return outcome;
    };
    let facts = &report["facts"]["pythons"][position];
    let verdict = report["verdicts"]["environments"]
        .as_array()
        .and_then(|all| all.iter().find(|verdict| verdict["path"] == facts["path"]))
        .cloned()
        .unwrap_or_default();

    outcome.python.clone_from(&observed.tensorflow.version);
    if text(&verdict["python"]) != observed.tensorflow.version && !observed.tensorflow.version.is_empty() {
        wrong.push(format!("Python: {} predicted, {} observed", verdict["python"], observed.tensorflow.version));
    }
    tensorflow(&mut outcome, &mut wrong, &verdict["tensorflow"], &observed.tensorflow);
    keras(environment, &mut outcome, &mut wrong, &verdict["keras"], &observed.keras);
    paths(&mut outcome, &mut wrong, facts, observed, built);
    origins(&mut outcome, &mut wrong, facts, &observed.tensorflow.origins, built);
    libraries(&mut outcome, &mut wrong, facts, observed, built);
    kernels(&mut wrong, report, &observed.tensorflow, built);

    for part in ["tensorflow", "keras"] {
        for rule in rules(&verdict[part]["because"]) {
            if !outcome.because.contains(&rule) {
                outcome.because.push(rule);
            }
        }
    }
    let telling = ["numpy", "protobuf", "jax", "jaxlib", "torch", "tf_keras", "nvidia_cudnn_cu"];
    outcome.beside = built
        .installed
        .iter()
        .filter(|name| {
            telling.iter().any(|telling| name.split_once(' ').is_some_and(|(name, _)| name.starts_with(telling)))
        })
        .map(|name| name.replace('_', "-"))
        .collect();
    let database = &report["database"];
    outcome.database = format!("revision {} of {}", database["revision"], text(&database["date"]));
    expectations(environment, &mut wrong, report, &outcome);
    if let Some(outside) = &predicted.outside {
        from_outside(&mut wrong, report, outside);
    }
    outcome.disagreements = wrong;
    outcome
}

fn tensorflow(outcome: &mut Outcome, wrong: &mut Vec<String>, verdict: &Value, seen: &Seen) {
    let observed = match (&seen.error, seen.gpus) {
        (None, Some(count)) if count > 0 => "yes",
        (Some(_), _) if verdict.is_null() => "-",
        _ => "no",
    };
    let predicted = if verdict.is_null() { "-".to_owned() } else { text(&verdict["sees_gpu"]) };
    if predicted != observed {
        wrong.push(format!(
            "sees_gpu: {predicted} predicted ({}), {observed} observed ({})",
            rules(&verdict["because"]).join(" "),
            seen.error.as_deref().unwrap_or("no error")
        ));
    }
    let version = text(&verdict["version"]);
    // The module writes `2.22.0-rc0` where the distribution's metadata has the normal form.
    if let Some(real) = &seen.tensorflow_version
        && real.replace("-rc", "rc").replace("-dev", ".dev") != version
    {
        wrong.push(format!("TensorFlow's version: {version} predicted, {real} observed"));
    }
    outcome.versions = version;
    outcome.sees = (predicted, observed.to_owned());
}

fn keras(environment: &Environment, outcome: &mut Outcome, wrong: &mut Vec<String>, verdict: &Value, seen: &Seen) {
    // What a stand-in shows: `no` is final, `yes` holds as far as it goes.
    let observed = match (&seen.error, seen.backend.as_deref()) {
        (Some(_), _) if verdict.is_null() => "-",
        (Some(_), _) => "no",
        (None, Some("tensorflow")) if seen.gpus.is_some_and(|count| count > 0) => "yes",
        (None, Some("torch")) if seen.torch_cuda == Some(true) => "yes",
        // JAX's plugin asks more of a driver than the stand-in has; its error is that of the driver, or there is none.
        (None, Some("jax"))
            if seen.jax_error.is_some() || seen.jax_devices.iter().flatten().any(|platform| platform != "cpu") =>
        {
            "yes"
        }
        (None, _) => "no",
    };
    let predicted = if verdict.is_null() { "-".to_owned() } else { text(&verdict["uses_gpu"]) };
    let because = rules(&verdict["because"]);
    let excused = observed == "yes"
        && predicted == "no"
        && environment.beyond.as_ref().is_some_and(|rule| because.contains(rule));
    if predicted != observed && !excused {
        wrong.push(format!(
            "uses_gpu: {predicted} predicted ({}), {observed} observed ({})",
            because.join(" "),
            seen.error.as_deref().or(seen.jax_error.as_deref()).unwrap_or("no error")
        ));
    }
    let backend = text(&verdict["backend"]);
    // A module without a version and a backend is no Keras: that it answers is all there is to foretell.
    let stranger = seen.keras.is_none() && seen.backend.is_none();
    if seen.error.is_none() && !stranger {
        let real = seen.backend.clone().unwrap_or_else(|| "-".into());
        if backend != real {
            wrong.push(format!("Keras's backend: {backend} predicted, {real} observed"));
        }
        let version = text(&verdict["version"]);
        let real = seen.tf_keras_api.clone().or_else(|| seen.keras.clone()).unwrap_or_else(|| "-".into());
        if version != real {
            wrong.push(format!("Keras's version: {version} predicted, {real} observed"));
        }
        outcome.versions = format!("{}, Keras {real}", outcome.versions);
    }
    outcome.backend = (backend, seen.backend.clone().unwrap_or_else(|| "-".into()));
    outcome.uses = (predicted, observed.to_owned());
    outcome.trained = match (seen.trained, &seen.train_error, &seen.weights_on) {
        (Some(true), _, Some(device)) => format!("trained on {device}"),
        (Some(true), _, None) => "trained".into(),
        (Some(false), Some(error), _) if error.contains("cudaGetDevice") => "up to CUDA's runtime".into(),
        (Some(false), Some(error), _) => error.chars().take(90).collect(),
        _ => seen.error.as_deref().unwrap_or("-").chars().take(90).collect(),
    };
}

fn paths(outcome: &mut Outcome, wrong: &mut Vec<String>, facts: &Value, observed: &Observed, built: &Built) {
    if observed.tensorflow.sys_path.is_empty() {
        return;
    }
    // An entry that does not exist imports nothing: interpreters keep some of them (`pythonXY.zip`), others not.
    let exists = |path: &&str| built.outside(Path::new(path)).exists();
    let predicted: Vec<&str> = facts["sys_path"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["path"].as_str())
        .filter(exists)
        .collect();
    let real: Vec<&str> = observed.tensorflow.sys_path.iter().map(String::as_str).filter(exists).collect();
    outcome.paths = real.len();
    let differ = predicted.len() != real.len() || predicted.iter().zip(&real).any(|(a, b)| !same(built, a, b));
    if differ {
        wrong.push(format!("sys.path: {predicted:?} predicted, {real:?} observed"));
    }
}

/// Which files the imports take; that is known where an import fails, too.
fn origins(
    outcome: &mut Outcome,
    wrong: &mut Vec<String>,
    facts: &Value,
    observed: &BTreeMap<String, Option<String>>,
    built: &Built,
) {
    for (name, real) in observed {
        let module = if name == "tensorflow" { &facts[name]["module"] } else { &facts[name.as_str()] };
        let predicted = module["path"].as_str();
        let real = real.as_deref().map(Path::new).map(|file| match file.file_stem() {
            Some(stem) if stem == "__init__" => file.parent().unwrap_or(file),
            _ => file,
        });
        outcome.modules += usize::from(real.is_some());
        let agree = match (predicted, real) {
            (Some(predicted), Some(real)) => same(built, predicted, &real.to_string_lossy()),
            (None, None) => true,
            // A folder without a module in it: the import gives an empty namespace, which is as good as none.
            (None, Some(real)) => built.outside(real).is_dir() && !built.outside(&real.join("__init__.py")).exists(),
            (Some(_), None) => false,
        };
        if !agree {
            wrong.push(format!(
                "import {name}: {} predicted, {} observed",
                predicted.unwrap_or("nothing"),
                real.map_or_else(|| "nothing".to_owned(), |real| real.display().to_string())
            ));
        }
    }
}

fn libraries(outcome: &mut Outcome, wrong: &mut Vec<String>, facts: &Value, observed: &Observed, built: &Built) {
    let tensorflow = &facts["tensorflow"];
    let mut resolved: BTreeMap<&str, &Value> = BTreeMap::new();
    for resolution in tensorflow["libraries"].as_array().into_iter().flatten().chain([&tensorflow["nvml"]]) {
        if let Some(name) = resolution["name"].as_str() {
            resolved.insert(name, &resolution["file"]);
        }
    }
    let mut brought: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in resolved.values() {
        for library in file["value"]["brings"].as_array().into_iter().flatten() {
            if let (Some(name), Some(path)) = (library["name"].as_str(), library["path"].as_str()) {
                brought.entry(name).or_default().push(path);
            }
        }
    }
    for (name, found) in &observed.searches {
        // The driver is the stand-in here and assumed there.
        if name.starts_with("libcuda.so") || name.starts_with("libnvidia-ml.so") {
            continue;
        }
        let Some(file) = resolved.get(name.as_str()) else {
            // What comes along with the libraries that TensorFlow names; whichever is first to need it decides.
            let foretold = brought.get(name.as_str()).into_iter().flatten();
            if let Some(found) = found
                && brought.contains_key(name.as_str())
            {
                outcome.libraries += 1;
                if !foretold.clone().any(|path| same(built, path, found)) {
                    let foretold: Vec<&str> = foretold.copied().collect();
                    wrong.push(format!("{name}, brought along: {} predicted, {found} observed", foretold.join(" or ")));
                }
            }
            continue;
        };
        outcome.libraries += 1;
        let real = file["value"]["path"].as_str();
        let empty = |what: &str| file["value"][what].as_array().is_none_or(Vec::is_empty);
        let whole = empty("missing") && empty("unresolved");
        match (real, found) {
            (Some(predicted), Some(observed)) if whole && same(built, predicted, observed) => {}
            (Some(_), Some(observed)) if !whole => {
                wrong.push(format!("{name}: foretold not to open for what it needs, and {observed} was opened"));
            }
            (None, None) => {}
            // The loader finds the file and gives up over what it needs: a library, or a symbol of one.
            (Some(_), None) if !whole => {}
            (predicted, observed) => wrong.push(format!(
                "{name}: {} predicted, {} observed",
                predicted.unwrap_or("nothing"),
                observed.as_deref().unwrap_or("nothing")
            )),
        }
    }
    // What is mapped is what the searches gave.
    for (name, file) in &resolved {
        let Some(real) = file["value"]["real"].as_str() else { continue };
        for mapped in &observed.tensorflow.mapped {
            let mapped_name = Path::new(mapped).file_name().unwrap_or_default().to_string_lossy();
            if mapped_name == *name && !same(built, real, mapped) && !name.starts_with("libnvidia-ml") {
                wrong.push(format!("{name}: {real} predicted, {mapped} mapped"));
            }
        }
    }
}

/// Which environment each of Jupyter's kernels runs, and whether the one or other without TensorFlow is told.
fn kernels(wrong: &mut Vec<String>, report: &Value, seen: &Seen, built: &Built) {
    let Some(kernels) = &seen.kernels else { return };
    let predicted: Vec<&Value> = report["facts"]["kernels"].as_array().into_iter().flatten().collect();
    let named = |name: &str| predicted.iter().find(|kernel| kernel["name"] == name);
    for (name, kernel) in kernels {
        let env = named(name).and_then(|foretold| foretold["prefix"].as_str());
        let agree = match (env, &kernel.prefix) {
            (Some(path), Some(prefix)) => same(built, path, prefix),
            (None, None) => named(name).is_some(),
            _ => false,
        };
        if !agree {
            wrong.push(format!(
                "the kernel {name}: {} predicted, {} of {} observed",
                env.unwrap_or("nothing"),
                kernel.interpreter,
                kernel.prefix.as_ref().or(kernel.error.as_ref()).map_or("nothing", String::as_str)
            ));
        }
    }
    for name in predicted.iter().map(|kernel| text(&kernel["name"])).filter(|name| !kernels.contains_key(name)) {
        wrong.push(format!("the kernel {name}: predicted, and Jupyter does not find it"));
    }
    let elsewhere = kernels.values().any(|kernel| !kernel.tensorflow);
    let told = report["findings"]
        .as_array()
        .is_some_and(|findings| findings.iter().any(|finding| finding["rule"] == "jupyter-kernel-elsewhere"));
    if elsewhere != told {
        wrong.push(format!("a kernel without TensorFlow: {told} predicted, {elsewhere} observed"));
    }
}

fn expectations(environment: &Environment, wrong: &mut Vec<String>, report: &Value, outcome: &Outcome) {
    let findings: Vec<(String, String)> = report["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|finding| (text(&finding["rule"]), text(&finding["level"])))
        .collect();
    if environment.healthy {
        for (rule, level) in &findings {
            if level != "note" {
                wrong.push(format!("healthy, and yet {rule} at {level}"));
            }
        }
        for (what, verdict) in [("sees_gpu", &outcome.sees.0), ("uses_gpu", &outcome.uses.0)] {
            if verdict == "no" || verdict == "unknown" {
                wrong.push(format!("healthy, and yet {what} is {verdict}"));
            }
        }
    }
    if let Some(cause) = &environment.cause
        && outcome.because.first() != Some(cause)
        && !findings.iter().any(|(rule, _)| rule == cause && outcome.because.is_empty())
    {
        wrong.push(format!("the cause: {} predicted, {cause} is it", outcome.because.join(" ")));
    }
}

/// What `--run-python` says: the same that was observed here, a contradiction exactly where a device was seen that is
/// not on this machine, and no traces.
pub(crate) fn asked(outcome: &mut Outcome, built: &Built, observed: &Observed, asked: &Asked) {
    let env = asked.report["facts"]["pythons"]
        .as_array()
        .and_then(|all| all.iter().find(|env| env["path"].as_str().is_some_and(|path| Path::new(path) == built.env)));
    let seen = env.map(|env| &env["observed"]).cloned().unwrap_or_default();
    let wrong = &mut outcome.disagreements;
    let mut same = |what: &str, asked: &Value, observed: Value| {
        if *asked != observed {
            wrong.push(format!("--run-python: {what} is {asked} there and {observed} here"));
        }
    };
    if observed.tensorflow.error.is_none() {
        same("the number of GPUs", &seen["tensorflow"]["value"]["gpus"], observed.tensorflow.gpus.into());
    }
    if observed.keras.error.is_none() {
        same("Keras's backend", &seen["keras"]["value"]["backend"], observed.keras.backend.clone().into());
    }
    let contradicted = asked.report["findings"]
        .as_array()
        .is_some_and(|findings| findings.iter().any(|finding| finding["rule"] == "prediction-contradicted"));
    same("a contradiction", &contradicted.into(), observed.tensorflow.gpus.is_some_and(|count| count > 0).into());
    if let Some(trace) = asked.traces.first() {
        wrong.push(format!("--run-python left {} traces, such as {}", asked.traces.len(), trace.display()));
    }
}

fn from_outside(wrong: &mut Vec<String>, inside: &Value, outside: &Value) {
    let findings = |report: &Value| -> Vec<(String, String)> {
        report["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|finding| (text(&finding["rule"]), text(&finding["level"])))
            .collect()
    };
    if inside["verdicts"]["environments"] != outside["verdicts"]["environments"] {
        wrong.push(format!(
            "from inside {}, from outside {}",
            inside["verdicts"]["environments"], outside["verdicts"]["environments"]
        ));
    }
    if findings(inside) != findings(outside) {
        wrong.push(format!("from inside {:?}, from outside {:?}", findings(inside), findings(outside)));
    }
}
