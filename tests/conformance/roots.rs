//! Makes Debian roots with `debootstrap` and lays environments into them; enters them for nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Places;
use super::build::{Built, FIRST_IMPORT, base_name, own_copy, run, take};
use super::describe::{Environment, Kind};
use super::observe::inside;

/// The Debian mirror that this machine's apt uses; apt may know other archives beside it.
fn mirror() -> Result<String, String> {
    let mut texts = Vec::new();
    for folder in ["/etc/apt", "/etc/apt/sources.list.d"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            texts.extend(std::fs::read_to_string(entry.path()));
        }
    }
    texts
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.trim_start().starts_with('#') && !line.contains("security"))
        .find_map(|line| {
            let address = line.split_whitespace().find(|word| word.starts_with("http"))?;
            address.trim_end_matches('/').ends_with("/debian").then(|| address.to_owned())
        })
        .ok_or_else(|| "apt's configuration names no mirror".to_owned())
}

/// Makes the root of a release, once, and lays the stand-in driver into its default folders.
fn debootstrap(places: &Places, release: &str) -> Result<PathBuf, String> {
    let root = places.roots.join(release);
    if root.join("srv/ready").exists() {
        stand_in(places, &root)?;
        return Ok(root);
    }
    let _ = std::fs::remove_dir_all(&root);
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--include=python3,libgomp1,libstdc++6", release]).arg(&root).arg(mirror()?);
    run(&mut command, Duration::from_mins(30))?;
    stand_in(places, &root)?;
    std::fs::write(root.join("srv/ready"), "").map_err(|error| error.to_string())?;
    Ok(root)
}

/// The stand-in driver of this run, into the root's default folders and its loader's cache.
fn stand_in(places: &Places, root: &Path) -> Result<(), String> {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    for (folder, name) in [(&places.cuda, "libcuda.so.1"), (&places.nvml, "libnvidia-ml.so.1")] {
        std::fs::copy(folder.join(name), libraries.join(name)).map_err(|error| error.to_string())?;
    }
    run(Command::new("chroot").arg(root).arg("ldconfig"), Duration::from_mins(1)).map(|_| ())
}

/// An environment in a Debian root, made by the root's own Python: a copy of its base.
pub(crate) fn make(places: &Places, environment: &Environment) -> Result<Built, String> {
    let root = debootstrap(places, &environment.root)?;
    let answer = run(
        Command::new("chroot")
            .arg(&root)
            .args(["/usr/bin/python3", "-c"])
            .arg("import sys; print('%d.%d' % sys.version_info[:2])"),
        Duration::from_mins(1),
    )?;
    let python = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    let blank = |folder: &Path| {
        let env = folder.join("env");
        Built {
            root: root.clone(),
            site: env.join(format!("lib/python{python}/site-packages")),
            env,
            home: folder.join("home"),
            work: folder.join("work"),
            python: python.clone(),
            standin: Vec::new(),
            installed: Vec::new(),
        }
    };
    let first = environment.steps.first();
    let base = blank(&Path::new("/srv/bases").join(base_name(environment)));
    let ready = base.outside(&base.home).join("ready");
    if !ready.exists() {
        let mut venv = Command::new("chroot");
        venv.arg(&root).args(["/usr/bin/python3", "-m", "venv", "--clear", "--without-pip"]);
        if environment.kind == Kind::SystemSitePackages {
            venv.arg("--system-site-packages");
        }
        venv.arg(&base.env);
        run(&mut venv, Duration::from_mins(5))?;
        for folder in [&base.home, &base.work] {
            std::fs::create_dir_all(base.outside(folder)).map_err(|error| error.to_string())?;
        }
        if let Some(first) = first {
            take(&base, first)?;
        }
        if own_copy(environment) {
            let mut python = inside(environment, &base, &base.env.join("bin/python"), true);
            let _ = run(python.args(["-c", FIRST_IMPORT]), Duration::from_mins(15));
        }
        std::fs::write(ready, "").map_err(|error| error.to_string())?;
    }
    let mut built = blank(&Path::new("/srv").join(&environment.name));
    if !own_copy(environment) {
        (built.env, built.site) = (base.env, base.site);
        return Ok(built);
    }
    let (from, to) = (base.outside(&base.env), built.outside(&built.env));
    std::fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(|error| error.to_string())?;
    run(Command::new("cp").arg("-al").arg(from).arg(to), Duration::from_mins(10))?;
    Ok(built)
}
