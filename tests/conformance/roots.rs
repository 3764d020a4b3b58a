//! Makes Debian roots with `debootstrap` and lays environments into them; enters them for nothing else.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Places;
use super::build::{Built, run};
use super::describe::Environment;

/// The mirror that this machine's apt uses.
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
            Some(address.to_owned())
        })
        .ok_or_else(|| "apt's configuration names no mirror".to_owned())
}

fn debootstrap(places: &Places, release: &str) -> Result<(), String> {
    let root = places.roots.join(release);
    if root.join("srv/ready").exists() {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(&root);
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--include=python3,libgomp1,libstdc++6", release]).arg(&root).arg(mirror()?);
    run(&mut command, Duration::from_secs(900))?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    for (folder, name) in [(&places.cuda, "libcuda.so.1"), (&places.nvml, "libnvidia-ml.so.1")] {
        std::fs::copy(folder.join(name), libraries.join(name)).map_err(|error| error.to_string())?;
    }
    run(Command::new("chroot").arg(&root).arg("ldconfig"), Duration::from_secs(60))?;
    std::fs::write(root.join("srv/ready"), "").map_err(|error| error.to_string())
}

/// An empty environment in a Debian root, made by the root's own Python.
pub(crate) fn make(places: &Places, environment: &Environment) -> Result<Built, String> {
    debootstrap(places, &environment.root)?;
    let root = places.roots.join(&environment.root);
    let base = Path::new("/srv").join(&environment.name);
    let env = base.join("env");
    let mut venv = Command::new("chroot");
    venv.arg(&root).args(["/usr/bin/python3", "-m", "venv", "--without-pip"]).arg(&env);
    run(&mut venv, Duration::from_secs(120))?;
    let lib = root.join(env.strip_prefix("/").unwrap_or(&env)).join("lib");
    let python = std::fs::read_dir(&lib)
        .map_err(|error| format!("{}: {error}", lib.display()))?
        .flatten()
        .find_map(|entry| entry.file_name().to_string_lossy().strip_prefix("python").map(str::to_owned))
        .ok_or("the environment has no lib/pythonX.Y")?;
    let site = env.join(format!("lib/python{python}/site-packages"));
    Ok(Built {
        root,
        site,
        home: base.join("home"),
        work: base.join("work"),
        env,
        python,
        standin: Vec::new(),
        installed: Vec::new(),
    })
}
