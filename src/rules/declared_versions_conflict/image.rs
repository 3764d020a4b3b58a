//! A TensorFlow held against the image that a Dockerfile puts it into: its CUDA and cuDNN, and its C library.

use super::{Asked, TENSORFLOWS, contradictory, elsewhere, specifiers, tensorflow_candidates};
use crate::db::{Database, TensorflowRow};
use crate::facts::{DeclaredBy, DeclaredImage, DeclaredPackage, hides_gpus};
use crate::finding::{Finding, Subject};
use crate::version::Dotted;

impl<'a> Asked<'a> {
    /// A TensorFlow that is put into an image of Python on Alpine: its wheels are for glibc, and it comes as no source.
    pub(super) fn musl(&self, db: &'a Database, name: &str) -> Option<Finding> {
        let image = self.set.image.as_ref().filter(|image| image.name == "python" && !self.set.python.is_empty())?;
        let (version, system) = image.tag.as_deref()?.split_once('-')?;
        let asked = self.of(name);
        if !system.starts_with("alpine") || !asked.iter().any(|package| !package.constraint) || contradictory(&asked) {
            return None;
        }
        let rows: Vec<&TensorflowRow> = db
            .tensorflow_rows()
            .iter()
            .filter(|row| row.package == name && row.platform.starts_with("linux"))
            .collect();
        let candidates = tensorflow_candidates(&asked, &rows)?;
        // What comes may have others.
        if !candidates.iter().all(|candidate| candidate.row.is_some()) {
            return None;
        }
        let wanted = format!("{name}{}", specifiers(&asked).join(","));
        Some(
            Finding::new(Subject::Declared, format!("no {wanted} can be installed on Alpine"))
                .because_all(asked.iter().map(|package| package.evidence.clone()))
                .because(image.evidence.clone())
                .row(candidates.last().and_then(|candidate| candidate.source.clone()))
                .help(format!(
                    "TensorFlow has wheels for glibc only, and Alpine has musl: build on python:{version}-slim"
                ))
                .so("pip finds no distribution, and the build fails"),
        )
    }

    /// The one TensorFlow of a stage that has no CUDA libraries of its own.
    ///
    /// Only where the stage is understood to its last command, and nothing else in it may bring these libraries.
    fn alone(&self) -> Option<&'a DeclaredPackage> {
        if !self.set.complete || self.set.by != DeclaredBy::Stage {
            return None;
        }
        let mine = |package: &&DeclaredPackage| TENSORFLOWS.contains(&package.name.as_str());
        let plain = |package: &DeclaredPackage| {
            !elsewhere(package) && (WITHOUT_CUDA.binary_search(&package.name.as_str()).is_ok() || mine(&package))
        };
        let asked: Vec<&DeclaredPackage> = self.set.packages.iter().filter(mine).collect();
        let [one] = asked.as_slice() else { return None };
        // One for the CPU wants none, and the GPU may be for something else.
        let wants = matches!(one.name.as_str(), "tensorflow" | "tensorflow-gpu");
        let certain = wants && !one.constraint && one.holds == Some(true) && one.extras.is_empty();
        (certain && self.set.packages.iter().all(plain)).then_some(*one)
    }

    /// A TensorFlow held against the CUDA and cuDNN of the image that it is put into, or against their absence
    /// where a service asks for a GPU.
    pub(super) fn image(&self, db: &'a Database) -> Option<Finding> {
        let image = self.set.image.as_ref()?;
        let one = self.alone()?;
        let cuda = ImageCuda::of(image);
        let without = matches!(image.name.as_str(), "debian" | "python" | "ubuntu");
        let gpu = self.set.gpu.as_ref().filter(|_| without);
        if cuda.is_none() && gpu.is_none() {
            return None;
        }
        // It wants none.
        if self.set.variables.iter().any(|variable| hides_gpus(&variable.name, &variable.value)) {
            return None;
        }
        let rows: Vec<&TensorflowRow> = db
            .tensorflow_rows()
            .iter()
            .filter(|row| row.package == one.name && row.platform == "linux-x86_64")
            .collect();
        let mut candidates = tensorflow_candidates(&[one], &rows)?;
        if let Some(python) = self.python_demand() {
            candidates.retain(|candidate| !(python.rules_out)(candidate));
        }
        let mut known = candidates.iter().rev().filter_map(|candidate| candidate.row);
        let newest = known.clone().find(|row| !row.version.any_prerelease()).or_else(|| known.next())?;
        let major = |version: &Option<Dotted>| version.as_ref().map(Dotted::major);
        let wrong = |row: &TensorflowRow| match &cuda {
            Some(cuda) => {
                row.cuda_build
                    && (major(&row.cuda).is_some_and(|major| major != cuda.cuda)
                        || cuda.cudnn.is_some_and(|cudnn| major(&row.cudnn).is_some_and(|major| major != cudnn)))
            }
            // No release so far brings them without being asked; of later ones nothing is known.
            None => true,
        };
        if !candidates.iter().all(|candidate| candidate.row.is_some_and(wrong)) {
            return None;
        }
        let of = |what: &str, version: Option<&Dotted>| version.map(|it| format!("{what} {}", it.major()));
        let needs: Vec<String> =
            [of("CUDA", newest.cuda.as_ref()), of("cuDNN", newest.cudnn.as_ref())].into_iter().flatten().collect();
        let wanted = format!("{}{}", one.name, one.specifier);
        let title = match &cuda {
            Some(ImageCuda { cuda, cudnn: Some(cudnn) }) => {
                format!("no {wanted} uses the CUDA {cuda} and cuDNN {cudnn} of its image")
            }
            Some(ImageCuda { cuda, cudnn: None }) => format!("no {wanted} uses the CUDA {cuda} of its image"),
            None => format!("{wanted} is to use a GPU, and its image has no CUDA libraries"),
        };
        let finding = Finding::new(Subject::Declared, title)
            .because(one.evidence.clone())
            .because(image.evidence.clone())
            .because_all(gpu.cloned())
            .row(Some(newest.row_ref()))
            .so("TensorFlow finds no library that it can open, and sees no GPU in the container");
        // `and-cuda` exists since 2.14.
        let pythons: Vec<&str> = self.set.python.iter().map(|python| python.value.as_str()).collect();
        let with = match db.instead_of_and_cuda(&newest.version, &pythons) {
            None => one.specifier.clone(),
            Some((row, why)) => format!("=={} (with {} {why})", row.version, newest.version),
        };
        let with = format!("let the wheels bring the libraries: tensorflow[and-cuda]{with}");
        let finding = if newest.and_cuda.is_empty() { finding } else { finding.help(with) };
        Some(if needs.is_empty() {
            finding
        } else {
            finding.help(format!(
                "or take an image with {}, which {} {} opens",
                needs.join(" and "),
                newest.package,
                newest.version
            ))
        })
    }
}

/// The majors of CUDA and, where it is known, cuDNN in one of NVIDIA's images.
struct ImageCuda {
    cuda: u32,
    cudnn: Option<u32>,
}

impl ImageCuda {
    /// Of an image with cuDNN: those without it are not made for TensorFlow.
    fn of(image: &DeclaredImage) -> Option<Self> {
        if !matches!(image.name.as_str(), "nvidia/cuda" | "nvcr.io/nvidia/cuda") {
            return None;
        }
        let mut parts = image.tag.as_deref()?.split('-');
        let cuda: Dotted = parts.next()?.parse().ok()?;
        let cudnn = match parts.find_map(|part| part.strip_prefix("cudnn"))? {
            // Without a number since CUDA 12.4.1, which has cuDNN 9 as all of 12 after it.
            "" if cuda.major() == 12 && cuda >= Dotted::new(&[12, 4]) => Some(9),
            // Of others CUDA alone is held against anything.
            "" => None,
            number => Some(number.parse().ok()?),
        };
        Some(Self { cuda: cuda.major(), cudnn })
    }
}

/// Packages that bring no CUDA library, nor does anything that they ask for; sorted.
const WITHOUT_CUDA: &[&str] = &[
    "absl-py",
    "aiohttp",
    "black",
    "boto3",
    "click",
    "fastapi",
    "flask",
    "gunicorn",
    "h5py",
    "httpx",
    "imageio",
    "ipykernel",
    "ipython",
    "jinja2",
    "joblib",
    "jupyter",
    "jupyterlab",
    "keras",
    "loguru",
    "matplotlib",
    "mypy",
    "notebook",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pip",
    "protobuf",
    "pyarrow",
    "pydantic",
    "pytest",
    "python-dotenv",
    "pyyaml",
    "redis",
    "requests",
    "rich",
    "ruff",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "seaborn",
    "setuptools",
    "sqlalchemy",
    "tensorboard",
    "tensorflow-datasets",
    "tf-keras",
    "tqdm",
    "typer",
    "uvicorn",
    "wheel",
];

#[cfg(test)]
mod tests {
    use super::super::RULE;
    use super::super::tests::{said, stage};
    use super::*;
    use crate::facts::{Declared, DeclaredSet, DeclaredVariable, Evidence};
    use crate::rules::testing::bare;

    #[test]
    fn images_without_the_right_libraries() {
        let cudnn8 = "nvidia/cuda:12.2.2-cudnn8-runtime-ubuntu22.04";
        let cudnn9 = "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu22.04";
        assert_eq!(
            said(vec![stage(cudnn8, &["tensorflow==2.18.*", "pandas"])]),
            ["no tensorflow==2.18.* uses the CUDA 12 and cuDNN 8 of its image"]
        );
        assert_eq!(said(vec![stage("nvidia/cuda:11.8.0-cudnn8-devel-ubuntu22.04", &["tensorflow~=2.15.0"])]).len(), 1);
        assert_eq!(
            said(vec![stage("nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04", &["tensorflow==2.20.0"])]),
            ["no tensorflow==2.20.0 uses the CUDA 13 of its image"]
        );
        let old = "nvidia/cuda:11.2.2-cudnn8-runtime-ubuntu18.04";
        assert_eq!(
            said(vec![stage(old, &["tensorflow-gpu==2.1.0", "python ==3.6.*"])]),
            ["no tensorflow-gpu==2.1.0 uses the CUDA 11 and cuDNN 8 of its image"]
        );
        for (image, lines) in [
            (old, &["tensorflow-gpu==2.6.0", "python ==3.6.*"][..]),
            (cudnn8, &["tensorflow==2.15.1"]),
            ("nvidia/cuda:12.3.2-cudnn-runtime-ubuntu22.04", &["tensorflow==2.15.1"]),
            (cudnn8, &["tensorflow[and-cuda]==2.18.*"]),
            (cudnn8, &["tensorflow"]),
            (cudnn8, &["tensorflow>=2.15"]),
            // PyTorch brings cuDNN, and an unknown package may bring PyTorch.
            (cudnn8, &["tensorflow==2.18.*", "torch"]),
            (cudnn8, &["tensorflow==2.18.*", "some-models"]),
            (cudnn8, &["tensorflow-cpu==2.18.*"]),
            (cudnn9, &["tensorflow==2.18.*"]),
            // Without cuDNN it is not made for TensorFlow.
            ("nvidia/cuda:11.8.0-devel-ubuntu22.04", &["tensorflow==2.18.*"]),
            ("example/cuda:11.8.0-cudnn8-devel-ubuntu22.04", &["tensorflow==2.18.*"]),
            ("python:3.11-slim", &["tensorflow==2.18.*"]),
        ] {
            assert_eq!(said(vec![stage(image, lines)]), Vec::<String>::new(), "{image} {lines:?}");
        }
        assert!(said(vec![DeclaredSet { complete: false, ..stage(cudnn8, &["tensorflow==2.18.*"]) }]).is_empty());
        // An image that hides every GPU wants none.
        for (value, told) in [("0", 1), ("", 0), ("-1", 0)] {
            let variable = DeclaredVariable {
                name: "CUDA_VISIBLE_DEVICES".to_owned(),
                value: value.to_owned(),
                ..DeclaredVariable::default()
            };
            let set = DeclaredSet { variables: vec![variable], ..stage(cudnn8, &["tensorflow==2.18.*"]) };
            assert_eq!(said(vec![set]).len(), told, "{value}");
        }
    }

    #[test]
    fn alpine_has_no_wheels() {
        let on = |image: &str, lines: &[&str]| said(vec![stage(image, lines)]);
        assert_eq!(
            on("python:3.11-alpine3.19", &["tensorflow-cpu==2.15.1", "python ==3.11.*"]),
            ["no tensorflow-cpu==2.15.1 can be installed on Alpine"]
        );
        // One cause of two.
        assert_eq!(on("python:3.8-alpine", &["tensorflow==2.18.*", "python ==3.8.*"]).len(), 1);
        for (image, lines) in [
            ("python:3.11-slim", &["tensorflow==2.15.1", "python ==3.11.*"][..]),
            ("python:3.11-alpine", &["tensorflow", "python ==3.11.*"]),
            ("python:3.11-alpine", &["keras==3.3.3", "python ==3.11.*"]),
            // Another Python may have been put there.
            ("python:3.11-alpine", &["tensorflow==2.15.1"]),
            ("example/python:3.11-alpine", &["tensorflow==2.15.1", "python ==3.11.*"]),
        ] {
            assert_eq!(on(image, lines), Vec::<String>::new(), "{image} {lines:?}");
        }
    }

    #[test]
    fn the_extra_is_proposed_where_it_works() {
        let help = |image: &str, lines: &[&str]| {
            let mut facts = bare();
            facts.declared = Some(Declared { sets: vec![stage(image, lines)], ..Declared::default() });
            crate::rules::testing::judge(&RULE, &facts).findings.remove(0).help.remove(0).text
        };
        let (cuda11, cudnn8) =
            ("nvidia/cuda:11.8.0-cudnn8-devel-ubuntu22.04", "nvidia/cuda:12.2.2-cudnn8-runtime-ubuntu22.04");
        for (image, line, wanted) in [
            (cuda11, "tensorflow~=2.15.0", "tensorflow[and-cuda]~=2.15.0"),
            (
                cuda11,
                "tensorflow==2.15.0",
                "tensorflow[and-cuda]==2.15.1 (with 2.15.0 tensorrt-libs 8.6.1, which it asks for, is not on PyPI)",
            ),
            (
                cuda11,
                "tensorflow==2.16.1",
                "tensorflow[and-cuda]==2.16.2 (with 2.16.1 it finds libcudart there and none of the other libraries)",
            ),
            (
                cudnn8,
                "tensorflow==2.21.0",
                "tensorflow[and-cuda]==2.20.0 (with 2.21.0 it does not search the folder nvidia/cusolver/lib)",
            ),
        ] {
            assert_eq!(help(image, &[line]), format!("let the wheels bring the libraries: {wanted}"));
        }
    }

    #[test]
    fn a_service_that_asks_for_a_gpu() {
        let gpu = Some(Evidence::file("/r/compose.yaml", "gpus: all").line(4).column(5));
        let wanted = |lines: &[&str]| said(vec![DeclaredSet { gpu: gpu.clone(), ..stage("python:3.11-slim", lines) }]);
        assert_eq!(
            wanted(&["tensorflow==2.18.*", "numpy<2"]),
            ["tensorflow==2.18.* is to use a GPU, and its image has no CUDA libraries"]
        );
        assert!(wanted(&["tensorflow[and-cuda]==2.18.*"]).is_empty());
        assert!(wanted(&["tensorflow==2.18.*", "torch"]).is_empty());
        // What comes may bring them.
        assert!(wanted(&["tensorflow"]).is_empty());
    }

    #[test]
    fn the_list_of_packages_is_sorted() {
        assert!(WITHOUT_CUDA.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
