//! Finds nvcc and NVRTC: of every toolkit, and of the wheels of every Python environment; starts none.

use crate::facts::Facts;
use crate::host::Host;
use crate::probe::toolkit::library_folders;

use super::Route;

/// A compiler that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Compiler {
    /// [`Route::Nvcc`] or [`Route::Nvrtc`].
    pub route: Route,
    /// The program or library.
    pub path: String,
}

/// Every nvcc and every NVRTC, each file once.
pub fn compilers(host: &Host, facts: &Facts) -> Vec<Compiler> {
    let mut found = Vec::new();
    let mut seen = Vec::new();
    let mut add = |route, path: String| {
        let real = host.real_text(&path);
        if host.is_file(&real) && !seen.contains(&real) {
            seen.push(real);
            found.push(Compiler { route, path });
        }
    };
    for toolkit in &facts.toolkits {
        if let Some(nvcc) = &toolkit.nvcc {
            add(Route::Nvcc, nvcc.clone());
        }
        for folder in library_folders(&toolkit.real, toolkit.kind) {
            libraries(host, &folder).for_each(|path| add(Route::Nvrtc, path));
        }
    }
    let mut places: Vec<&str> = Vec::new();
    for dist in facts.pythons.iter().flat_map(|python| &python.dists) {
        if dist.name.starts_with("nvidia-") && !places.contains(&dist.location.as_str()) {
            places.push(&dist.location);
        }
    }
    for place in places {
        for name in host.names(format!("{place}/nvidia")) {
            let folder = format!("{place}/nvidia/{name}");
            add(Route::Nvcc, format!("{folder}/bin/nvcc"));
            libraries(host, &format!("{folder}/lib")).for_each(|path| add(Route::Nvrtc, path));
        }
    }
    found
}

/// The files of a folder by which programs open NVRTC: `libnvrtc.so.12`, not its parts and not its bare name.
fn libraries(host: &Host, folder: &str) -> impl Iterator<Item = String> {
    let mut names = host.names(folder);
    names.retain(|name| {
        name.strip_prefix("libnvrtc.so.")
            .is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    });
    // The short name is the one that programs ask for; the long one is the same file.
    crate::sort::by_key(&mut names, String::len);
    let folder = folder.to_owned();
    names.into_iter().map(move |name| format!("{folder}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Dist, PythonEnv, Toolkit};
    use crate::probe::testing::Tree;

    #[test]
    fn toolkits_and_wheels_are_searched_and_files_taken_once() {
        let tree = Tree::new();
        tree.program("/usr/local/cuda-12.4/bin/nvcc")
            .write("/usr/local/cuda-12.4/lib64/libnvrtc.so.12.4.127", "")
            .link("libnvrtc.so.12.4.127", "/usr/local/cuda-12.4/lib64/libnvrtc.so.12")
            .link("libnvrtc.so.12", "/usr/local/cuda-12.4/lib64/libnvrtc.so")
            .write("/usr/local/cuda-12.4/lib64/libnvrtc-builtins.so.12.4", "")
            .program("/v/site-packages/nvidia/cu13/bin/nvcc")
            .write("/v/site-packages/nvidia/cu13/lib/libnvrtc.so.13", "")
            .write("/v/site-packages/nvidia/cu13/lib/libnvrtc.alt.so.13", "")
            .write("/v/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "");
        let toolkit = Toolkit {
            real: "/usr/local/cuda-12.4".to_owned(),
            nvcc: Some("/usr/local/cuda-12.4/bin/nvcc".to_owned()),
            ..Toolkit::default()
        };
        let dist =
            |name: &str| Dist { name: name.to_owned(), location: "/v/site-packages".to_owned(), ..Dist::default() };
        let python =
            PythonEnv { dists: vec![dist("nvidia-cuda-nvcc"), dist("nvidia-cuda-nvrtc")], ..PythonEnv::default() };
        let facts = Facts { toolkits: vec![toolkit], pythons: vec![python], ..Facts::default() };
        let found: Vec<String> = compilers(&tree.host(&[]), &facts).into_iter().map(|it| it.path).collect();
        assert_eq!(
            found,
            [
                "/usr/local/cuda-12.4/bin/nvcc",
                "/usr/local/cuda-12.4/lib64/libnvrtc.so.12",
                "/v/site-packages/nvidia/cu13/bin/nvcc",
                "/v/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
                "/v/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
            ]
        );
    }
}
