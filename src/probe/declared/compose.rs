//! Reads compose files: which image or Dockerfile a service runs, whether it asks for a GPU, what it sets.

use std::collections::BTreeSet;

use crate::facts::{DeclaredBy, DeclaredSet, DeclaredVariable, Evidence, hides_gpus};

use super::dockerfile;
use super::yaml::{self, Node};
use crate::sort::Sorted as _;

/// A service.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) set: DeclaredSet,
    /// The Dockerfile that it builds, below the folder of the file, and the stage.
    pub(super) builds: Option<Build>,
    /// Whether it may put more into its container than its image holds.
    pub(super) changed: bool,
}

/// What a service builds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Build {
    pub(super) context: String,
    pub(super) dockerfile: String,
    pub(super) target: Option<String>,
    /// The arguments that it sets.
    pub(super) arguments: BTreeSet<String>,
}

/// The services of a compose file.
pub(super) fn read(path: &str, text: &str) -> Result<Vec<Service>, String> {
    let root = yaml::parse(text)?;
    let services = root.get("services").map(Node::entries).unwrap_or_default();
    Ok(services.iter().filter_map(|(name, service)| Some(one(path, name.text()?, service))).collect())
}

fn one(path: &str, name: &str, service: &Node) -> Service {
    let mut set = DeclaredSet {
        by: DeclaredBy::Service,
        file: path.to_owned(),
        part: Some(name.to_owned()),
        gpu: gpu(path, service),
        ..DeclaredSet::default()
    };
    if let Some(image) = service.get("image")
        && let Some(reference) = image.text().filter(|text| !text.contains('$'))
    {
        set.image = Some(dockerfile::image(reference, image.evidence(path, &format!("image: {reference}"))));
    }
    let environment = service.get("environment");
    let mut variable = |name: &str, value: &str, node: &Node| {
        // A value from elsewhere is none.
        if !value.contains('$') && !name.is_empty() {
            let evidence = node.evidence(path, &format!("{name}={value}"));
            set.variables.push(DeclaredVariable { name: name.to_owned(), value: value.to_owned(), evidence });
        }
    };
    for (name, value) in environment.map(Node::entries).unwrap_or_default() {
        if let (Some(text), Some(set)) = (name.text(), value.text()) {
            variable(text, set, name);
        }
    }
    for entry in environment.map(Node::list).unwrap_or_default() {
        if let Some((name, value)) = entry.text().and_then(|text| text.split_once('=')) {
            variable(name, value, entry);
        }
    }
    Service { set, builds: service.get("build").and_then(build), changed: changed(service) }
}

/// Whether a service may put more into its container than its image holds.
fn changed(service: &Node) -> bool {
    let mentions = |key: &str, words: &[&str]| {
        let Some(node) = service.get(key) else { return false };
        let texts = node.text().into_iter().chain(node.list().iter().filter_map(Node::text));
        let entries = node.entries().iter().filter_map(|(name, _)| name.text());
        let nested = node.list().iter().flat_map(Node::entries).filter_map(|(_, value)| value.text());
        texts.chain(entries).chain(nested).any(|text| words.iter().any(|word| text.contains(word)))
    };
    ["extends", "<<", "volumes_from"].iter().any(|key| service.get(key).is_some())
        || mentions("volumes", &["cuda", "/usr", "/lib", "/opt", "site-packages", "$"])
        || mentions("environment", &["LD_LIBRARY_PATH", "PYTHONPATH"])
        || mentions("command", &["pip", "install", "uv "])
        || mentions("entrypoint", &["pip", "install", "uv "])
}

fn build(node: &Node) -> Option<Build> {
    let plain = |text: &str| (!text.contains('$') && !text.contains("://")).then(|| text.to_owned());
    if let Some(context) = node.text() {
        return Some(Build {
            context: plain(context)?,
            dockerfile: "Dockerfile".to_owned(),
            target: None,
            arguments: BTreeSet::new(),
        });
    }
    if ["dockerfile_inline", "additional_contexts"].iter().any(|key| node.get(key).is_some()) {
        return None;
    }
    let text = |key: &str| node.get(key).map(|node| node.text().and_then(plain));
    let arguments = node.get("args").into_iter().flat_map(|args| {
        let listed = args.list().iter().filter_map(Node::text).map(|text| text.split('=').next().unwrap_or_default());
        listed.chain(args.entries().iter().filter_map(|(name, _)| name.text()))
    });
    Some(Build {
        arguments: arguments.map(str::to_owned).sorted_set(),
        context: text("context").unwrap_or(Some(".".to_owned()))?,
        dockerfile: text("dockerfile").unwrap_or(Some("Dockerfile".to_owned()))?,
        target: match text("target") {
            Some(target) => Some(target?),
            None => None,
        },
    })
}

/// Where a service asks for NVIDIA's GPUs; none where its own variables hide all of them again.
fn gpu(path: &str, service: &Node) -> Option<Evidence> {
    let asked = granted(path, service)?;
    let environment = service.get("environment");
    let entries = environment.map(Node::entries).unwrap_or_default();
    let entries = entries.iter().filter_map(|(name, value)| Some((name.text()?, value.text().unwrap_or_default())));
    let listed = environment.map(Node::list).unwrap_or_default();
    let listed = listed.iter().filter_map(|entry| entry.text()?.split_once('='));
    (!entries.chain(listed).any(|(name, value)| hides_gpus(name, value))).then_some(asked)
}

/// Where a service asks for NVIDIA's GPUs, whatever its variables say.
fn granted(path: &str, service: &Node) -> Option<Evidence> {
    if let Some(runtime) = service.get("runtime").filter(|runtime| runtime.text() == Some("nvidia")) {
        return Some(runtime.evidence(path, "runtime: nvidia"));
    }
    if let Some(gpus) = service.get("gpus") {
        return Some(gpus.evidence(path, &format!("gpus: {}", gpus.text().unwrap_or("…"))));
    }
    let steps = ["deploy", "resources", "reservations", "devices"];
    let devices = steps.iter().try_fold(service, |node, step| node.get(step))?;
    devices.list().iter().find_map(|device| {
        let capabilities = device.get("capabilities")?;
        let other = device.get("driver").and_then(Node::text).is_some_and(|driver| driver != "nvidia");
        let named =
            capabilities.list().iter().find(|one| one.text().is_some_and(|text| matches!(text, "gpu" | "nvidia")))?;
        let none = device.get("count").and_then(Node::text) == Some("0");
        (!other && !none).then(|| named.evidence(path, "capabilities: [gpu]"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "\
services:
  train:
    build:
      context: ./train
      target: gpu
    environment:
      KERAS_BACKEND: jax
      OTHER: ${X}
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: 1
              capabilities: [gpu]
  serve:
    image: tensorflow/tensorflow:2.15.0-gpu
    gpus: all
    environment:
      - CUDA_VISIBLE_DEVICES=0
      - FROM_OUTSIDE
  web:
    build: .
    image: ${REGISTRY}/web
";

    #[test]
    fn services_are_read() {
        let services = read("compose.yaml", SAMPLE).unwrap();
        let [train, serve, web] = services.as_slice() else { panic!("{services:?}") };
        let gpu = train.set.gpu.as_ref().unwrap();
        assert_eq!((gpu.line, gpu.column), (Some(15), Some(30)));
        let build = train.builds.as_ref().unwrap();
        assert_eq!((build.context.as_str(), build.target.as_deref()), ("./train", Some("gpu")));
        assert_eq!(train.set.variables.len(), 1);
        assert_eq!(serve.set.image.as_ref().unwrap().tag.as_deref(), Some("2.15.0-gpu"));
        assert_eq!(serve.set.variables[0].evidence.line, Some(20));
        assert!(serve.set.gpu.is_some() && web.set.gpu.is_none() && web.set.image.is_none() && web.builds.is_some());
    }

    #[test]
    fn a_service_that_hides_its_gpus_wants_none() {
        let wants = |more: &str| {
            read("c", &format!("services:\n  a:\n    image: x\n    runtime: nvidia\n{more}")).unwrap()[0]
                .set
                .gpu
                .is_some()
        };
        assert!(wants("") && wants("    environment: {CUDA_VISIBLE_DEVICES: 0}\n"));
        for more in [
            "    environment: {CUDA_VISIBLE_DEVICES: \"\"}\n",
            "    environment: [CUDA_VISIBLE_DEVICES=-1]\n",
            "    environment: [NVIDIA_VISIBLE_DEVICES=none]\n",
        ] {
            assert!(!wants(more), "{more}");
        }
        let devices = "    deploy: {resources: {reservations: {devices: [{count: 0, capabilities: [gpu]}]}}}\n";
        assert!(read("c", &format!("services:\n  a:\n    image: x\n{devices}")).unwrap()[0].set.gpu.is_none());
    }

    #[test]
    fn what_comes_from_outside_is_not_judged_by_the_image() {
        let builds = |more: &str| {
            let text = format!("services:\n  a:\n    build: .\n    gpus: all\n{more}");
            let service = &read("c", &text).unwrap()[0];
            service.builds.is_some() && !service.changed
        };
        assert!(builds("") && builds("    volumes: [\"./src:/app\"]\n") && builds("    command: python train.py\n"));
        for more in [
            "    volumes: [\"/usr/local/cuda:/usr/local/cuda\"]\n",
            "    volumes: [{type: bind, source: /usr/local/cuda, target: /x}]\n",
            "    environment: {LD_LIBRARY_PATH: /x}\n",
            "    environment: [\"LD_LIBRARY_PATH=/x\"]\n",
            "    command: [\"sh\", \"-c\", \"pip install tensorflow[and-cuda]\"]\n",
            "    extends: {service: b}\n",
        ] {
            assert!(!builds(more), "{more}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([-a-z:$ \\[\\]{}é0-9]|\n|services|build|gpus){0,80}", cut in 0..600usize) {
            let _ = read("c", &text);
            let _ = read("c", SAMPLE.get(..cut).unwrap_or(SAMPLE));
        }
    }
}
