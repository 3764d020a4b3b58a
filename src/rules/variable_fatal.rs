//! Rule `variable-fatal`: a variable ends Python, TensorFlow's import, its list of devices or XLA by its value.

use super::{Cx, Family, Rule, layer};
use crate::facts::Ends;
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "variable-fatal",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT,
    summary: "A variable is set to something that ends Python, TensorFlow or XLA",
    docs: r"### What it means

A variable of the environment has a value with which programs end:

- `PYTHONHOME` names a folder without the standard library of this Python. Virtual environments honour it too.
- `PYTHONOPTIMIZE` is 2 or more, so that Python drops docstrings, and this TensorFlow (before 2.21) reads one.
- `TF_PLUGGABLE_DEVICE_LIBRARY_PATH` names what is not there, or what is no library.
- `TF_XLA_FLAGS` or `XLA_FLAGS` does not begin with `--`, so that it is taken for the name of a file, and there is none; or a flag in it begins with one hyphen.

Names are looked up from the folder in which this check was started. Which flags XLA knows is not checked.

### Why it matters

Measured in November 2026 with TensorFlow 2.15, 2.20 and 2.21 and Python 3.6 to 3.13:

| variable | what happens |
|---|---|
| `PYTHONHOME` | Python does not start: `No module named 'encodings'` |
| `PYTHONOPTIMIZE` | `import tensorflow` fails with a `TypeError` |
| `TF_PLUGGABLE_DEVICE_LIBRARY_PATH` | `import tensorflow` fails |
| `TF_XLA_FLAGS` | the process is aborted when TensorFlow lists its devices |
| `XLA_FLAGS` | the process is aborted when XLA compiles for the first time, as in `fit` of Keras |

### How to fix it

Unset the variable, or set it to what was meant.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs() {
        for fatal in &env.env.fatal {
            if fatal.ends != Ends::Python && env.tf_alive().is_none() {
                continue;
            }
            out.applies();
            let name = &fatal.evidence.at;
            let finding = Finding::new(Subject::Env(env.index), format!("{name} {}", fatal.what))
                .because(fatal.evidence.clone())
                .run("leave it out", format!("unset {name}"));
            let keras = (env.keras().is_some() || env.env.tf_keras.is_some()) && env.keras_on_tensorflow();
            out.find(match fatal.ends {
                Ends::Python => finding.so("no Python starts in this environment").breaks(Break::Cuda),
                Ends::Import => finding.so("`import tensorflow` fails").breaks(Break::TfSees),
                Ends::Devices => finding
                    .so("a program is aborted as soon as TensorFlow lists its devices")
                    .breaks(Break::TfSees),
                Ends::Compilation if keras => finding
                    .so("Keras compiles with XLA as soon as TensorFlow lists a GPU, so `fit` is aborted while plain TensorFlow operations work")
                    .breaks(Break::KerasUses),
                Ends::Compilation => finding.at(Level::Note).so("only code that XLA compiles is concerned"),
            });
        }
    }
}
