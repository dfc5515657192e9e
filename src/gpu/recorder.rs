//! Commands as data: what an operation records, before anything is placed, compiled or run.
//!
//! Knows launches, copies and clears of views; must not know wgpu objects, nor which operation is recording.

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::{Root, View, padded_len};
use crate::tensor::DType;

/// How a binding follows one dimension of the grid: workgroup `w` touches `[w*per_group, (w+1)*per_group)` of `axis`, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Grid dimension 0, 1 or 2.
    pub grid: usize,
    /// The view's axis.
    pub axis: usize,
    /// Extent of the axis that one workgroup touches.
    pub per_group: usize,
}

/// One storage binding of a launch.
#[derive(Debug, Clone)]
pub struct Bind {
    /// The name in the shader.
    pub name: &'static str,
    /// What is bound.
    pub view: View,
    /// Along which grid dimensions the binding may be cut; a dimension that is not named needs the whole view.
    pub cuts: Vec<Cut>,
    /// Whether the kernel writes it.
    pub write: bool,
}

/// One dispatch, which the executor may run in pieces.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The shader file.
    pub source: &'static Source,
    /// The entry point.
    pub entry: &'static str,
    /// Values of `override` constants.
    pub constants: Vec<(&'static str, f64)>,
    /// The uniform block `p`.
    pub uniform: UniformData,
    /// Storage bindings by name.
    pub binds: Vec<Bind>,
    /// Workgroups in each dimension.
    pub groups: [usize; 3],
    /// Floating-point operations, for plans and benchmarks.
    pub flops: f64,
}

impl Launch {
    /// A launch of `groups` workgroups; bindings follow with [`Launch::read`] and [`Launch::write`].
    pub fn new(source: &'static Source, entry: &'static str, uniform: UniformData, groups: [usize; 3]) -> Self {
        Self { source, entry, constants: Vec::new(), uniform, binds: Vec::new(), groups, flops: 0.0 }
    }

    /// Binds a view that the kernel only reads.
    pub fn read(mut self, name: &'static str, view: &View, cuts: &[Cut]) -> Self {
        self.binds.push(Bind { name, view: view.clone(), cuts: cuts.to_vec(), write: false });
        self
    }

    /// Binds a view that the kernel writes (and may read).
    pub fn write(mut self, name: &'static str, view: &View, cuts: &[Cut]) -> Self {
        self.binds.push(Bind { name, view: view.clone(), cuts: cuts.to_vec(), write: true });
        self
    }

    /// Sets an `override` constant.
    pub fn constant(mut self, name: &'static str, value: f64) -> Self {
        self.constants.push((name, value));
        self
    }

    /// States the floating-point operations.
    pub fn flops(mut self, flops: f64) -> Self {
        self.flops = flops;
        self
    }
}

/// Shorthand for a [`Cut`].
pub const fn cut(grid: usize, axis: usize, per_group: usize) -> Cut {
    Cut { grid, axis, per_group }
}

/// What the executor carries out, in order.
#[derive(Debug, Clone)]
pub enum Command {
    /// A dispatch.
    Launch(Box<Launch>),
    /// Fills the memory of a contiguous view with zero bytes.
    Clear(View),
}

/// A command and the node that recorded it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Index of the node in the graph.
    pub node: usize,
    /// The command.
    pub command: Command,
}

/// How large products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// One subgroup a workgroup, values handed round by broadcasts, no barriers: for CPUs. Needs subgroups of at least eight lanes.
    Subgroup,
    /// Tiles in workgroup memory: for GPUs. Runs everywhere.
    Tiled,
    /// Cooperative matrices: operands rounded to half precision, sums in single precision. For adapters that have them, and only where asked
    /// for: products lose 13 of 24 bits.
    Cooperative,
}

impl Family {
    /// All families with their names on the command line.
    pub const NAMES: [(&str, Family); 3] = [("subgroup", Family::Subgroup), ("tiled", Family::Tiled), ("cooperative", Family::Cooperative)];
}

/// Facts about the device that choose kernel variants; part of the plan.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Traits {
    /// A software adapter: barrier-free kernels win there.
    pub cpu: bool,
    /// Lanes of a subgroup, 0 when subgroup operations are missing.
    pub subgroup: u32,
    /// How products are computed.
    pub family: Family,
    /// Edge of the cooperative matrices that the adapter multiplies, 0 when it has none that are of use.
    #[serde(default)]
    pub cooperative: u32,
    /// Largest storage binding in bytes.
    pub max_binding: u64,
    /// Largest buffer in bytes.
    pub max_buffer: u64,
    /// Bytes that one node's workspace should stay within; longer work is chunked.
    pub workspace: u64,
}

/// A sum over the first axis that may wait until something touches where it goes, so that many are one dispatch.
#[derive(Debug, Clone)]
pub struct Late {
    /// `[parts, rows, columns]`, f32; each part's rows follow one another.
    pub parts: View,
    /// `[rows, columns]`, f32 and contiguous.
    pub to: View,
    /// Whether the sum is added to what is there.
    pub add: bool,
}

/// Sums that wait, and the memory of their parts.
#[derive(Debug)]
struct Waiting {
    /// Memory that nothing but whole lists reads: the arena of gradients.
    root: Root,
    carry_out: fn(&mut Recorder, Vec<Late>),
    sums: Vec<Late>,
    /// The root that parts are placed in one after the other, and the elements taken so far.
    shelf: Option<(Root, usize)>,
}

/// Collects what operations record.
#[derive(Debug)]
pub struct Recorder {
    /// What the device is good at.
    pub traits: Traits,
    commands: Vec<Recorded>,
    sizes: Vec<(Root, u64)>,
    next_root: u32,
    node: usize,
    waiting: Option<Waiting>,
}

impl Recorder {
    /// An empty recorder whose temporaries take roots from `next_root` on.
    pub fn new(traits: Traits, next_root: u32) -> Self {
        Self { traits, commands: Vec::new(), sizes: Vec::new(), next_root, node: 0, waiting: None }
    }

    /// Lets sums into `root` wait; `carry_out` records them.
    pub fn wait_for(&mut self, root: Root, carry_out: fn(&mut Recorder, Vec<Late>)) {
        self.waiting = Some(Waiting { root, carry_out, sums: Vec::new(), shelf: None });
    }

    /// States which node records from here on.
    pub fn set_node(&mut self, node: usize) {
        self.node = node;
    }

    /// Records a dispatch. An empty grid is no dispatch.
    pub fn launch(&mut self, launch: Launch) {
        if launch.groups.iter().all(|&n| n > 0) {
            if launch.binds.iter().any(|b| self.awaits(&b.view)) {
                self.settle();
            }
            self.commands.push(Recorded { node: self.node, command: Command::Launch(Box::new(launch)) });
        }
    }

    /// Records the filling of a contiguous view with zeros.
    pub fn clear(&mut self, view: &View) {
        assert!(view.is_contiguous(), "clear of a view that is not contiguous: {view:?}");
        if self.awaits(view) {
            self.settle();
        }
        self.commands.push(Recorded { node: self.node, command: Command::Clear(view.clone()) });
    }

    /// Workspace of the node that is recording: it lives from the first command that names it to the last.
    pub fn temp(&mut self, shape: &[usize], dtype: DType) -> View {
        let root = Root(self.next_root);
        self.next_root += 1;
        self.sizes.push((root, padded_len(shape) as u64 * dtype.size() as u64));
        View::whole(root, shape, dtype)
    }

    /// Workspace for parts of a sum into `to` that is given to [`Recorder::sum_later`] next: beside that of others where the sum may wait.
    pub fn temp_parts(&mut self, shape: &[usize], to: &View) -> View {
        let n = padded_len(shape).next_multiple_of(crate::gpu::view::ARENA_UNIT);
        let most = self.traits.workspace.min(self.traits.max_binding) as usize / DType::F32.size();
        let waits = self.waiting.as_ref().is_some_and(|w| w.root == to.root) && n <= most;
        if !waits {
            return self.temp(shape, DType::F32);
        }
        let full = |w: &Waiting| w.shelf.is_some_and(|(_, taken)| taken + n > most);
        if self.waiting.as_ref().is_some_and(full) {
            self.settle();
        }
        let taken = self.waiting.as_ref().and_then(|w| w.shelf);
        let (root, offset) = taken.unwrap_or_else(|| (self.temp(&[0], DType::F32).root, 0));
        let size = self.sizes.iter_mut().rfind(|(r, _)| *r == root).expect("a root of this recorder");
        size.1 = ((offset + n) * DType::F32.size()) as u64;
        if let Some(waiting) = &mut self.waiting {
            waiting.shelf = Some((root, offset + n));
        }
        View { offset, ..View::whole(root, shape, DType::F32) }
    }

    /// Records a sum now, or before anything touches where it goes.
    pub fn sum_later(&mut self, late: Late) {
        if self.awaits(&late.to) {
            self.settle();
        }
        match &mut self.waiting {
            Some(waiting) if waiting.root == late.to.root => waiting.sums.push(late),
            Some(Waiting { carry_out, .. }) => carry_out(self, vec![late]),
            None => panic!("a sum without anybody to carry it out"),
        }
    }

    /// Whether a sum into a part of `view` waits.
    fn awaits(&self, view: &View) -> bool {
        let Some(waiting) = self.waiting.as_ref().filter(|w| w.root == view.root && !w.sums.is_empty()) else { return false };
        let span = view.full_span();
        let meets = |other: std::ops::Range<usize>| other.start < span.end && span.start < other.end;
        waiting.sums.iter().any(|s| meets(s.to.full_span()))
    }

    /// Records what waits.
    fn settle(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        let (sums, carry_out) = (std::mem::take(&mut waiting.sums), waiting.carry_out);
        waiting.shelf = None;
        carry_out(self, sums);
    }

    /// How many of `rows` rows of workspace, at `bytes` each, one chunk may hold: a multiple of `align`, at least one such multiple.
    pub fn chunk_rows(&self, rows: usize, bytes: usize, align: usize) -> usize {
        self.chunk_rows_within(self.traits.workspace, rows, bytes, align)
    }

    /// The same for a node whose workspace may take `room` bytes.
    pub fn chunk_rows_within(&self, room: u64, rows: usize, bytes: usize, align: usize) -> usize {
        let limit = room.min(self.traits.max_binding) as usize;
        let fit = (limit / bytes.max(1) / align * align).max(align);
        fit.min(rows.next_multiple_of(align))
    }

    /// The commands and the sizes of the temporaries they use.
    pub fn finish(mut self) -> (Vec<Recorded>, Vec<(Root, u64)>) {
        self.settle();
        (self.commands, self.sizes)
    }
}
