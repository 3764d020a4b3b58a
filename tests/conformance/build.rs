//! Makes environments as the list describes them, and the stand-in driver; looks at nothing that they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use super::Places;
use super::describe::{Environment, Kind, Step};
use super::roots;

/// What a base's interpreter runs once, so that the bytecode is there for all that begin with it.
pub(crate) const FIRST_IMPORT: &str = "import keras\nimport tensorflow as tf\ntf.keras";

/// The CUDA that the stand-in driver reports: that of the driver which the list assumes.
pub(crate) const STANDIN_CUDA: &str = "13000";

/// An environment on disk.
#[derive(Clone)]
pub(crate) struct Built {
    /// The root it lives in; `/` for the machine itself.
    pub(crate) root: PathBuf,
    /// Its folder as seen from inside its root.
    pub(crate) env: PathBuf,
    /// Its site-packages, likewise.
    pub(crate) site: PathBuf,
    /// The home folder, likewise.
    pub(crate) home: PathBuf,
    /// The working folder, likewise.
    pub(crate) work: PathBuf,
    /// The minor version of its Python, such as `3.11`.
    pub(crate) python: String,
    /// The stand-in folders on the loader's path; empty in a root, which has them in its default folders.
    pub(crate) standin: Vec<PathBuf>,
    /// Name and version of what is installed.
    pub(crate) installed: Vec<String>,
}

impl Built {
    /// A path of the inside as one of this machine.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        if self.root == Path::new("/") {
            path.to_owned()
        } else {
            self.root.join(path.strip_prefix("/").unwrap_or(path))
        }
    }

    /// A text with its placeholders filled in.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("{env}", &self.env.to_string_lossy())
            .replace("{site}", &self.site.to_string_lossy())
            .replace("{home}", &self.home.to_string_lossy())
            .replace("{work}", &self.work.to_string_lossy())
            .replace("{python}", &self.python)
    }

    /// The variables of a process in this environment; the stand-in is last on the loader's path.
    pub(crate) fn variables(&self, environment: &Environment) -> BTreeMap<String, String> {
        let mut variables: BTreeMap<String, String> = [
            ("PATH", format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.env.display())),
            ("HOME", self.home.to_string_lossy().into_owned()),
            ("PWD", self.work.to_string_lossy().into_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            // The stand-in is the GPU that is assumed, and reports the CUDA that such a driver does.
            ("STANDIN_CC", environment.gpu.clone()),
            ("STANDIN_CUDA", STANDIN_CUDA.to_owned()),
            ("VIRTUAL_ENV", self.env.to_string_lossy().into_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (name, value) in &environment.variables {
            variables.insert(name.clone(), self.fill(value));
        }
        let mut path: Vec<String> = variables.get("LD_LIBRARY_PATH").cloned().into_iter().collect();
        path.extend(self.standin.iter().map(|folder| folder.to_string_lossy().into_owned()));
        if !path.is_empty() {
            variables.insert("LD_LIBRARY_PATH".to_owned(), path.join(":"));
        }
        variables
    }
}

/// Runs a program to its end, at most `limit`; its output, or what went wrong.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Output, String> {
    let text = format!("{command:?}");
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=5", &limit.as_secs().to_string()]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let output = limited.output().map_err(|error| format!("{text}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = said.lines().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect();
    Err(format!("{text}: {}: {}", output.status, tail.join(" / ")))
}

/// Compiles the stand-in driver.
pub(crate) fn stand_ins(places: &Places) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin");
    for (source, soname, folder) in
        [("cuda.c", "libcuda.so.1", &places.cuda), ("nvml.c", "libnvidia-ml.so.1", &places.nvml)]
    {
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-Wall", "-Wextra"]).arg(format!("-Wl,-soname,{soname}"));
        compiler.arg("-o").arg(folder.join(soname)).arg(sources.join(source)).arg("-ldl");
        run(&mut compiler, Duration::from_mins(1)).unwrap();
    }
}

/// Whether a step changes the environment itself, and not only files beside it.
fn touches(step: &Step) -> bool {
    let within = |path: &str| path.starts_with("{site}") || path.starts_with("{env}");
    match step {
        Step::Install { target, .. } => target.as_deref().is_none_or(within),
        Step::Pip { .. } | Step::Uninstall { .. } | Step::Debian { .. } => true,
        Step::Venv { venv: path, .. }
        | Step::Write { write: path, .. }
        | Step::Remove { remove: path }
        | Step::Link { link: path, .. }
        | Step::Copy { to: path, .. }
        | Step::Library { library: path }
        | Step::Folder { folder: path } => within(path),
    }
}

/// Whether an environment needs a copy of its base: where it differs, and where traces are looked for, which another
/// environment that uses the base at the same time would leave.
pub(crate) fn own_copy(environment: &Environment) -> bool {
    environment.run_python || environment.steps.iter().skip(1).any(touches)
}

/// The name of what an environment begins with.
pub(crate) fn base_name(environment: &Environment) -> String {
    digest(&format!("{}{:?}{:?}", environment.python, environment.kind, environment.steps.first()))
}

/// Deletes an environment.
pub(crate) fn remove(places: &Places, environment: &Environment) {
    if environment.root.is_empty() {
        let _ = std::fs::remove_dir_all(places.envs.join(&environment.name));
    } else {
        let _ = std::fs::remove_dir_all(places.roots.join(&environment.root).join("srv").join(&environment.name));
    }
}

/// Deletes what an environment begins with.
pub(crate) fn remove_base(places: &Places, environment: &Environment) {
    let bases = if environment.root.is_empty() {
        places.bases.clone()
    } else {
        places.roots.join(&environment.root).join("srv/bases")
    };
    let _ = std::fs::remove_dir_all(bases.join(base_name(environment)));
}

/// Makes an environment anew.
pub(crate) fn build(places: &Places, environment: &Environment) -> Result<Built, String> {
    remove(places, environment);
    let making = (!environment.root.is_empty()).then(|| MAKING.lock().unwrap());
    let mut built =
        if environment.root.is_empty() { here(places, environment)? } else { roots::make(places, environment)? };
    drop(making);
    for folder in [&built.home, &built.work] {
        std::fs::create_dir_all(built.outside(folder)).unwrap();
    }
    // The first step is in the base.
    for step in environment.steps.iter().skip(1) {
        take(&built, step)?;
    }
    built.installed = installed(&built);
    Ok(built)
}

/// An interpreter of that version: on PATH, or one of pyenv's.
fn interpreter(version: &str) -> Result<PathBuf, String> {
    let name = format!("python{version}");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).map(|folder| folder.join(&name)).collect();
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    for entry in pyenv.and_then(|root| std::fs::read_dir(root.join("versions")).ok()).into_iter().flatten().flatten() {
        places.push(entry.path().join("bin").join(&name));
    }
    // pyenv's own stand-ins on PATH end with an error where no version is chosen.
    let works =
        |path: &PathBuf| Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success());
    places.into_iter().find(works).ok_or_else(|| format!("no {name} is here"))
}

/// Takes another Python for an environment whose own is not here, where another will do.
pub(crate) fn settle(environment: &mut Environment) {
    let wished = std::iter::once(&environment.python).chain(&environment.pythons);
    let python = wished.into_iter().find(|python| interpreter(python).is_ok()).cloned();
    environment.python = python.unwrap_or_else(|| environment.python.clone());
}

fn here(places: &Places, environment: &Environment) -> Result<Built, String> {
    let folder = places.envs.join(&environment.name);
    let env = folder.join("env");
    std::fs::create_dir_all(&folder).unwrap();
    let base = base(places, environment)?;
    let mut built = blank(places, environment, &folder);
    if own_copy(environment) {
        // Hard links: thousands of files in a moment, and with them the bytecode that is there already.
        run(Command::new("cp").arg("-al").arg(base.join("env")).arg(&env), Duration::from_mins(10))?;
    } else {
        let base = blank(places, environment, &base);
        (built.env, built.site) = (base.env, base.site);
    }
    Ok(built)
}

/// An environment of this machine that lies in `folder`, whatever is in it.
fn blank(places: &Places, environment: &Environment, folder: &Path) -> Built {
    let env = folder.join("env");
    Built {
        root: "/".into(),
        site: env.join(format!("lib/python{}/site-packages", environment.python)),
        env,
        home: folder.join("home"),
        work: folder.join("work"),
        python: environment.python.clone(),
        standin: environment
            .standin
            .iter()
            .map(|name| if name == "cuda" { places.cuda.clone() } else { places.nvml.clone() })
            .collect(),
        installed: Vec::new(),
    }
}

/// One base is made at a time: two environments that need the same one must not both make it.
static MAKING: Mutex<()> = Mutex::new(());

/// What several environments begin with: the same Python and the same first installation. Made once, imported once.
fn base(places: &Places, environment: &Environment) -> Result<PathBuf, String> {
    let first = environment.steps.first();
    let folder = places.bases.join(base_name(environment));
    let _making = MAKING.lock().unwrap();
    if folder.join("ready").exists() {
        return Ok(folder);
    }
    let _ = std::fs::remove_dir_all(&folder);
    let built = blank(places, environment, &folder);
    std::fs::create_dir_all(&built.home).unwrap();
    let mut venv = Command::new("uv");
    venv.args(["venv", "--quiet", "--no-project", "--python-preference", "only-system", "--python"]);
    venv.arg(interpreter(&environment.python)?);
    if environment.kind == Kind::SystemSitePackages {
        venv.arg("--system-site-packages");
    }
    run(venv.arg(&built.env), Duration::from_mins(1))?;
    if !built.site.is_dir() {
        return Err(format!("{} is not there", built.site.display()));
    }
    if let Some(first) = first {
        take(&built, first)?;
    }
    if own_copy(environment) {
        let mut python = Command::new(built.env.join("bin/python"));
        python.args(["-c", FIRST_IMPORT]).env("HOME", &built.home);
        // Whether that works is for the observation to say.
        let _ = run(python.env("CUDA_VISIBLE_DEVICES", "-1"), Duration::from_mins(15));
    }
    std::fs::write(folder.join("ready"), "").unwrap();
    Ok(folder)
}

/// A short name for a text, FNV-1a: it has to tell descriptions apart, not to withstand anybody.
pub(crate) fn digest(text: &str) -> String {
    digest_of(text.as_bytes())
}

/// The same for bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// `uv pip` for this environment: into its interpreter here, into its folder in a root.
fn uv(built: &Built, verb: &str, target: Option<&str>) -> Command {
    let mut command = Command::new("uv");
    command.args(["pip", verb, "--quiet"]);
    let inside = built.root != Path::new("/");
    if let Some(target) = target {
        command.args(["--target", &built.outside(Path::new(&built.fill(target))).to_string_lossy()]);
    } else if inside {
        command.arg("--target").arg(built.outside(&built.site));
    }
    if inside || target.is_some() {
        command.args(["--python-version", &built.python]);
    }
    if inside {
        command.args(["--python-platform", "x86_64-manylinux_2_31"]);
    } else {
        command.arg("--python").arg(built.env.join("bin/python"));
    }
    command
}

pub(crate) fn take(built: &Built, step: &Step) -> Result<(), String> {
    let long = Duration::from_mins(15);
    let at = |text: &str| built.outside(Path::new(&built.fill(text)));
    let io = |what: &str, result: std::io::Result<()>| result.map_err(|error| format!("{what}: {error}"));
    let parent = |path: &Path| path.parent().map_or(Ok(()), std::fs::create_dir_all);
    match step {
        Step::Install { install, no_deps, target, for_python } => {
            let mut command = match for_python {
                Some(python) => uv(&Built { python: python.clone(), ..built.clone() }, "install", Some("{site}")),
                None => uv(built, "install", target.as_deref()),
            };
            if install.iter().any(|requirement| requirement.contains("rc") || requirement.contains("dev")) {
                command.args(["--prerelease", "allow"]);
            }
            if *no_deps {
                command.arg("--no-deps");
            }
            run(command.args(install), long)?;
        }
        Step::Venv { venv, install } => {
            let folder = at(venv);
            let mut command = Command::new("uv");
            command.args(["venv", "--quiet", "--no-project", "--python-preference", "only-system", "--python"]);
            run(command.arg(interpreter(&built.python)?).arg(&folder), Duration::from_mins(1))?;
            let mut command = Command::new("uv");
            command.args(["pip", "install", "--quiet", "--python"]).arg(folder.join("bin/python"));
            run(command.args(install), long)?;
        }
        Step::Pip { pip, args } => {
            let python = built.env.join("bin/python");
            run(Command::new(&python).args(["-m", "ensurepip", "--default-pip"]), long)?;
            let mut command = Command::new(&python);
            command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]);
            run(command.args(args).args(pip), long)?;
        }
        Step::Debian { debian } => {
            if built.root == Path::new("/") {
                return Err("Debian packages go into Debian roots only".to_owned());
            }
            let mut command = Command::new("chroot");
            command.arg(&built.root).args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes"]);
            run(command.args(["--quiet", "--no-install-recommends"]).args(debian), long)?;
        }
        Step::Uninstall { uninstall } => {
            run(uv(built, "uninstall", None).args(uninstall), long)?;
        }
        Step::Write { write, text } => {
            let path = at(write);
            io(write, parent(&path))?;
            // A file of a package is a hard link into the installer's cache: never write through it.
            let _ = std::fs::remove_file(&path);
            io(write, std::fs::write(&path, built.fill(text)))?;
        }
        Step::Remove { remove } => {
            let mut found = 0;
            for path in matching(&at(remove)) {
                found += 1;
                let folder = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
                io(remove, if folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) })?;
            }
            if found == 0 {
                return Err(format!("{remove}: nothing to remove"));
            }
        }
        Step::Link { link, to } => {
            let path = at(link);
            io(link, parent(&path))?;
            io(link, std::os::unix::fs::symlink(built.fill(to), &path))?;
        }
        Step::Copy { copy, to } => {
            let path = at(to);
            io(to, parent(&path))?;
            let source = matching(&at(copy)).into_iter().next().ok_or_else(|| format!("{copy}: not there"))?;
            let _ = std::fs::remove_file(&path);
            io(copy, std::fs::copy(source, &path).map(|_| ()))?;
        }
        Step::Library { library } => {
            let path = at(library);
            io(library, parent(&path))?;
            let _ = std::fs::remove_file(&path);
            let soname = path.file_name().unwrap_or_default().to_string_lossy();
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-x", "c", "/dev/null"]).arg(format!("-Wl,-soname,{soname}"));
            run(compiler.arg("-o").arg(&path), Duration::from_mins(1))?;
        }
        Step::Folder { folder } => io(folder, std::fs::create_dir_all(at(folder)))?,
    }
    Ok(())
}

/// The paths that a path with at most one `*`, in its last part, stands for.
fn matching(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((start, end)) = name.split_once('*') else {
        return if path.symlink_metadata().is_ok() { vec![path.to_owned()] } else { Vec::new() };
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(start) && name.ends_with(end)
        })
        .collect();
    paths.sort();
    paths
}

/// Name and version of the distributions that lie in the environment.
fn installed(built: &Built) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(built.outside(&built.site))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(name.strip_suffix(".dist-info")?.replacen('-', " ", 1))
        })
        .collect();
    names.sort();
    names
}
