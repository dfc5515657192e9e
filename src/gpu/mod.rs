//! The only place that names wgpu and naga: adapters, shaders, memory, and commands as data.
//!
//! Knows bindings, windows and bytes. Must not know what an operation computes, nor anything of graphs or proteins.

pub mod device;
pub mod program;
pub mod recorder;
pub mod shader;
pub mod timing;
pub mod view;

pub use device::Gpu;
pub use recorder::{Command, Cut, Launch, Recorder};
pub use view::{Root, View};
