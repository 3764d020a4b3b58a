//! The rules: what each is called, how much it counts, and its pure check of the facts.
//!
//! A rule reads nothing from the machine; the same facts, rows and options give the same judgment.

use crate::db::Database;
use crate::facts::Facts;
use crate::finding::{Judgment, Level};
use crate::options::{GpuWish, Launch};
use crate::policy::Requires;
use crate::verdict::EnvVerdict;
use crate::view::View;

mod build;
mod compat_package_misused;
mod compute_capability_needs_jit;
mod compute_capability_unsupported;
mod conda_cpu_variant;
mod container_without_gpu;
mod cpu_without_avx;
mod crate_cudnn_mismatch;
mod crate_driver_too_old;
mod crate_ignores_variable;
mod crate_libtorch_mismatch;
mod crate_needs_gpu_at_build;
mod crate_toolkit_unsupported;
mod cuda_compiler_parts_missing;
mod cuda_library_missing;
mod cuda_library_shadowed;
mod cudnn_incomplete;
mod cudnn_major_mismatch;
mod cudnn_missing;
mod cudnn_older_than_built;
mod cudnn_parts_mixed;
mod cudnn_without_code_for_gpu;
mod database_old;
mod declared_versions_conflict;
mod dependency_missing;
mod device_node_inaccessible;
mod driver_below_cuda_floor;
mod driver_branch_ended;
mod driver_library_mismatch;
mod driver_not_loaded;
mod driver_readings_disagree;
mod fabric_manager_missing;
mod gpu_absent;
mod gpu_lost;
mod gpu_memory_failing;
mod gpu_not_targeted_by_toolkit;
mod host_compiler_unsupported;
mod ignore_expired;
mod ignore_unused;
mod jaxlib_mismatch;
mod jupyter_kernel_elsewhere;
mod keras_backend_cpu_only;
mod keras_backend_missing;
mod keras_backend_not_tensorflow;
mod keras_config_invalid;
mod keras_in_another_environment;
mod keras_not_for_tensorflow;
mod keras_outdated;
mod keras_shadowed;
mod kernel;
mod kernel_compile_failed;
mod kernel_launch_failed;
mod kernel_load_failed;
mod kernel_not_run;
mod kernel_timed_out;
mod kernel_wrong_result;
mod legacy_keras_mismatch;
mod legacy_keras_missing;
mod libcuda_missing;
mod libcuda_stub;
mod library_computation_failed;
mod log_level_hides_errors;
mod mig_without_compute_instance;
mod numpy_abi_mismatch;
mod nvidia_wheel_twins;
mod nvml_missing;
mod package_incomplete;
pub(crate) mod prediction_contradicted;
mod protobuf_mismatch;
mod ptx_newer_than_driver;
mod requirement_unmet;
mod source_sets_variable_too_late;
mod tensorflow_cpu_only;
mod tensorflow_distributions_overlap;
mod tensorflow_incomplete;
mod tensorflow_platform_without_gpu;
mod tensorflow_python_unsupported;
mod tensorflow_shadowed;
mod tensorflow_without_cuda_libraries;
#[cfg(test)]
mod testing;
mod toolkit_missing;
mod toolkit_parts_mixed;
mod toolkit_selectors_disagree;
mod toolkit_variable_dead;
mod variable_fatal;
mod visible_devices_hides_all;
mod visible_devices_hides_some;
mod visible_devices_invalid;
mod wsl_driver_shadowed;

/// A family of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// The driver.
    Driver,
    /// What programs are allowed to see.
    Visibility,
    /// The GPU itself.
    Gpu,
    /// CUDA and cuDNN.
    Cuda,
    /// Python packaging.
    Python,
    /// Keras.
    Keras,
    /// The Cargo project.
    Project,
    /// The test kernel.
    Kernel,
    /// The program itself.
    Tool,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name: kebab-case, stable, never reused.
    pub id: &'static str,
    /// Its family.
    pub family: Family,
    /// Its default level.
    pub level: Level,
    /// Where it stands in the chain of causes: a smaller number is nearer to the root.
    pub layer: u8,
    /// One line that says what it looks for.
    pub summary: &'static str,
    /// What it means, why it matters, how to fix it: three headed paragraphs.
    pub docs: &'static str,
    /// The check.
    pub check: fn(&Cx<'_>, &mut Judgment),
}

/// What a rule may look at.
#[derive(Debug)]
pub struct Cx<'a> {
    /// What was read.
    pub facts: &'a Facts,
    /// The database.
    pub db: &'a Database,
    /// Derived views of the facts, shared by rules.
    pub view: &'a View<'a>,
    /// What a machine without a usable GPU means.
    pub gpu: GpuWish,
    /// What the policy requires.
    pub requires: &'a Requires,
    /// Whether the test kernel had to run.
    pub launch: Launch,
    /// The day, `YYYY-MM-DD`.
    pub today: &'a str,
    /// The verdicts on the environments as far as files decide them; only for the rule that comes after them.
    pub predicted: Option<&'a [EnvVerdict]>,
}

/// Layers of causes, the root first.
pub mod layer {
    /// The machine has no GPU, or it is lost.
    pub const DEVICE: u8 = 10;
    /// The driver is not loaded or does not fit itself.
    pub const DRIVER: u8 = 20;
    /// The process may not see the device.
    pub const VISIBILITY: u8 = 30;
    /// The test kernel did not run, and nothing above tells why.
    pub const KERNEL: u8 = 35;
    /// The Python environment cannot import what it should.
    pub const IMPORT: u8 = 40;
    /// The wheel has no GPU support.
    pub const WHEEL: u8 = 50;
    /// The loader does not find the libraries, or the wrong ones.
    pub const LOADER: u8 = 60;
    /// The GPU or driver is too old or too new for the binaries.
    pub const FIT: u8 = 70;
    /// cuDNN does not fit.
    pub const CUDNN: u8 = 80;
    /// XLA lacks its compiler parts.
    pub const XLA: u8 = 90;
    /// Keras.
    pub const KERAS: u8 = 100;
    /// The Cargo project and its toolkit: first what build scripts ask about the GPU and of variables, one behind it the rest.
    pub const PROJECT: u8 = 110;
    /// The program itself.
    pub const TOOL: u8 = 120;
}

/// All rules, by family, then as a reader would ask.
static RULES: &[&Rule] = &[
    &gpu_absent::RULE,
    &driver_not_loaded::RULE,
    &driver_library_mismatch::RULE,
    &driver_below_cuda_floor::RULE,
    &ptx_newer_than_driver::RULE,
    &libcuda_missing::RULE,
    &libcuda_stub::RULE,
    &nvml_missing::RULE,
    &compat_package_misused::RULE,
    &device_node_inaccessible::RULE,
    &container_without_gpu::RULE,
    &gpu_lost::RULE,
    &gpu_memory_failing::RULE,
    &mig_without_compute_instance::RULE,
    &fabric_manager_missing::RULE,
    &wsl_driver_shadowed::RULE,
    &driver_branch_ended::RULE,
    &driver_readings_disagree::RULE,
    &visible_devices_hides_all::RULE,
    &visible_devices_invalid::RULE,
    &visible_devices_hides_some::RULE,
    &compute_capability_unsupported::RULE,
    &compute_capability_needs_jit::RULE,
    &cudnn_without_code_for_gpu::RULE,
    &cuda_library_missing::RULE,
    &cuda_library_shadowed::RULE,
    &cudnn_missing::RULE,
    &cudnn_major_mismatch::RULE,
    &cudnn_older_than_built::RULE,
    &cudnn_incomplete::RULE,
    &cudnn_parts_mixed::RULE,
    &cuda_compiler_parts_missing::RULE,
    &toolkit_missing::RULE,
    &toolkit_selectors_disagree::RULE,
    &toolkit_variable_dead::RULE,
    &toolkit_parts_mixed::RULE,
    &host_compiler_unsupported::RULE,
    &gpu_not_targeted_by_toolkit::RULE,
    &variable_fatal::RULE,
    &tensorflow_cpu_only::RULE,
    &tensorflow_without_cuda_libraries::RULE,
    &tensorflow_shadowed::RULE,
    &tensorflow_distributions_overlap::RULE,
    &tensorflow_incomplete::RULE,
    &dependency_missing::RULE,
    &package_incomplete::RULE,
    &tensorflow_python_unsupported::RULE,
    &tensorflow_platform_without_gpu::RULE,
    &jupyter_kernel_elsewhere::RULE,
    &numpy_abi_mismatch::RULE,
    &protobuf_mismatch::RULE,
    &jaxlib_mismatch::RULE,
    &nvidia_wheel_twins::RULE,
    &conda_cpu_variant::RULE,
    &cpu_without_avx::RULE,
    &log_level_hides_errors::RULE,
    &keras_not_for_tensorflow::RULE,
    &keras_outdated::RULE,
    &keras_in_another_environment::RULE,
    &keras_shadowed::RULE,
    &keras_backend_not_tensorflow::RULE,
    &keras_backend_cpu_only::RULE,
    &keras_backend_missing::RULE,
    &keras_config_invalid::RULE,
    &legacy_keras_missing::RULE,
    &legacy_keras_mismatch::RULE,
    &crate_toolkit_unsupported::RULE,
    &crate_driver_too_old::RULE,
    &crate_needs_gpu_at_build::RULE,
    &crate_ignores_variable::RULE,
    &crate_cudnn_mismatch::RULE,
    &crate_libtorch_mismatch::RULE,
    &requirement_unmet::RULE,
    &declared_versions_conflict::RULE,
    &source_sets_variable_too_late::RULE,
    &kernel_compile_failed::RULE,
    &kernel_load_failed::RULE,
    &kernel_launch_failed::RULE,
    &kernel_wrong_result::RULE,
    &kernel_timed_out::RULE,
    &kernel_not_run::RULE,
    &library_computation_failed::RULE,
    &prediction_contradicted::RULE,
    &database_old::RULE,
    &ignore_expired::RULE,
    &ignore_unused::RULE,
];

/// All rules.
pub fn all() -> &'static [&'static Rule] {
    RULES
}

/// A rule by its name.
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id).copied()
}
